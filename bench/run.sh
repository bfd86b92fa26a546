#!/usr/bin/env bash
# npm run bench: prepares the machine, starts a private engine, measures, prints a table, writes bench/results.md.
#   npm run bench -- [--runs 5] [--gigabytes 1.3] [--only name,...] [--large] [--growth] [--million] [--stores] [--migrate] [--daemon]
#   --only: sets of data (tree, database, small, media), cases (first, unchanged, restore, single, export, archive, changed,
#     byte, added, touched, renamed) or both (tree-first); first comes always
#   --large: 10 GB, one round (needs 50 GB); --million: 1,000,000 small files,
#     one round; --growth: how time grows with bytes and files, one round
#   --daemon: what `volbak daemon` costs, idle and with 1,000 jobs at once; with --only daemon that alone
#   --stores: S3 (Ceph) and SFTP (OpenSSH) on this machine
#   --migrate: from this engine to a second one beside tar, how long containers stand still, and drills beside restores
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
test/support/packages.sh dockerd=docker.io docker=docker.io iptables=iptables zstd=zstd busybox=busybox-static xz=xz-utils \
  bzip2=bzip2 setfattr=attr setfacl=acl restic=restic borg=borgbackup
# `npm run` puts node_modules/.bin first on PATH; `npm ci` removes the node in there and needs the other one.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  PATH=$(tr : '\n' <<<"$PATH" | grep -v '/node_modules/\.bin$' | paste -sd :) npm ci --no-progress </dev/null
fi
PATH=$PWD/node_modules/.bin:$PATH npm run --silent build </dev/null

work=$(mktemp -d "${TMPDIR:-/tmp}/volbak-bench-XXXXXX")
cleanup() {
  local status=$?
  trap - EXIT INT TERM
  test/support/ceph.sh stop "$work/ceph" || true
  test/support/sshd.sh stop "$work/sshd" || true
  test/support/engines.sh stop "$work/e" && rm -rf "$work" || echo "left behind: $work" >&2
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
only=a
[[ " $* " != *" --migrate "* ]] || only=
echo "starting private engines ..." >&2
mapfile -t hosts < <(test/support/engines.sh start "$work/e" ${only:+"$only"})
host=${hosts[0]} BENCH_OTHER=${hosts[1]:-}
export BENCH_OTHER
for engine in "${hosts[@]}"; do test/support/images.sh "$engine" toolbox; done
if [[ " $* " == *" --stores "* ]]; then
  echo "starting Ceph's S3 gateway and an sshd ..." >&2
  BENCH_S3=$(test/support/ceph.sh start "$work/ceph" 18480 18789)
  BENCH_SSHD=$work/sshd BENCH_SSH_PORT=18022
  test/support/sshd.sh start "$BENCH_SSHD" "$BENCH_SSH_PORT"
  export BENCH_S3 BENCH_SSHD BENCH_SSH_PORT
fi
node_modules/node/bin/node --disable-warning=ExperimentalWarning bench/main.ts "$host" "$work" "$@"
