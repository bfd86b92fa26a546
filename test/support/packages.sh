#!/usr/bin/env bash
# Installs the Debian packages whose commands are missing: packages.sh command=package...
# A command with a slash in it is looked up as a file. Nothing missing: nothing is called, not even apt-get.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
missing=()
for pair in "$@"; do
  [[ $pair == ?*=?* ]] || { echo "usage: packages.sh command=package..." >&2; exit 2; }
  command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
done
((${#missing[@]})) || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
if ! command -v apt-get >/dev/null; then
  echo "missing, please install (Debian's names): ${missing[*]}" >&2
  exit 1
fi
if ((EUID)); then
  echo "missing packages; as root: apt-get update && apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
{
  apt-get update -q &&
    apt-get install -y -q --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"
} >"$log" 2>&1 </dev/null || {
  tail -20 "$log" >&2
  echo "could not install: ${missing[*]}" >&2
  exit 1
}
