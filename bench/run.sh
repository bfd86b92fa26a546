#!/usr/bin/env bash
# npm run bench: prepares the machine, starts a private engine, measures, prints a table, writes bench/results.md.
#   npm run bench -- [--runs 5] [--large] [--keep-results <file>]      --large: memory on about 10 GB, too (needs 30 GB)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
test/support/packages.sh dockerd=docker.io docker=docker.io iptables=iptables zstd=zstd busybox=busybox-static xz=xz-utils \
  bzip2=bzip2 setfattr=attr setfacl=acl
# `npm run` puts node_modules/.bin first on PATH; `npm ci` removes the node in there and needs the other one.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  PATH=$(tr : '\n' <<<"$PATH" | grep -v '/node_modules/\.bin$' | paste -sd :) npm ci --no-progress </dev/null
fi
PATH=$PWD/node_modules/.bin:$PATH npm run --silent build </dev/null

work=$(mktemp -d "${TMPDIR:-/tmp}/volbak-bench-XXXXXX")
cleanup() {
  local status=$?
  trap - EXIT INT TERM
  test/support/engines.sh stop "$work/e" && rm -rf "$work" || echo "left behind: $work" >&2
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
echo "starting a private engine ..." >&2
host=$(test/support/engines.sh start "$work/e" a)
test/support/images.sh "$host" toolbox
node_modules/node/bin/node --disable-warning=ExperimentalWarning bench/main.ts "$host" "$work" "$@"
