#!/usr/bin/env bash
# npm test: prepares the machine, builds, and runs all tests. Arguments go to vitest: npm test -- test/e2e/backup
# The last line is "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Whatever goes wrong before there is a result (no package, no build) is a failure, told by the same last line.
summary='0 passed, 1 failed, 0 skipped' work=
finish() {
  local status=$? left
  trap - EXIT INT TERM
  for left in "$work"/volbak-e2e-*/; do
    [[ -n $work && -d $left ]] && test/support/engines.sh stop "$left" || true
  done
  for left in "$work"/volbak-stores-*/; do
    [[ -n $work && -d $left ]] || continue
    test/support/ceph.sh stop "$left/ceph" || true
    test/support/sshd.sh stop "$left/sshd" || true
  done
  [[ -z $work ]] || rm -rf "$work" || true
  echo "$summary"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

test/support/packages.sh dockerd=docker.io docker=docker.io iptables=iptables jq=jq zstd=zstd setfattr=attr setfacl=acl \
  busybox=busybox-static sqlite3=sqlite3 bzip2=bzip2 xz=xz-utils age=age perl=perl \
  sshd=openssh-server ssh-keygen=openssh-client openssl=openssl ceph-mon=ceph-mon ceph-osd=ceph-osd radosgw=radosgw \
  ceph=ceph-common python3=python3 mkfs.ext4=e2fsprogs losetup=mount uuidgen=uuid-runtime curl=curl

# `npm run` puts node_modules/.bin first on PATH; `npm ci` removes the node in there and needs the other one.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  PATH=$(tr : '\n' <<<"$PATH" | grep -v '/node_modules/\.bin$' | paste -sd :) npm ci --no-progress </dev/null
fi
node=$PWD/node_modules/node/bin/node
PATH=$PWD/node_modules/.bin:$PATH
npm run --silent build </dev/null

work=$(mktemp -d "${TMPDIR:-/tmp}/volbak-npm-test-XXXXXX")
export VOLBAK_TEST_DIR=$work VOLBAK_TEST_SUMMARY=$work/summary
status=0
"$node" node_modules/vitest/vitest.mjs run --reporter=default --reporter=./test/reporter.ts "$@" </dev/null || status=$?

read -r passed _ failed _ skipped _ <<<"$(cat "$VOLBAK_TEST_SUMMARY" 2>/dev/null || echo 0 passed, 0 failed, 0 skipped)"
if ((passed + failed == 0)); then
  echo "no test ran" >&2
  ((status)) || status=1
fi
# What fails outside of the run itself (the end of a global setup, no result at all) is a failure, too.
if ((status && failed == 0)); then failed=1; fi
if ((failed && status == 0)); then status=1; fi
summary="$passed passed, $failed failed, $skipped skipped"
exit "$status"
