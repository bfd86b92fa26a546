#!/usr/bin/env bash
# Builds the Dockerfile without a registry, as image volbak:local: volbak-image.sh <docker-host> [rebuild]
# Its bases are made of this machine's own files; npm takes packages out of this machine's cache, and asks its registry
# for what is not in there. What was built is kept in VOLBAK_TEST_IMAGE_CACHE until a file of it changes; `rebuild`
# builds in any case.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH DOCKER_BUILDKIT=0
unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH
host=${1:?usage: volbak-image.sh <docker-host> [rebuild]} verb=${2:-}
engine() { docker -H "$host" "$@"; }

cd "$root"
inputs=(Dockerfile .dockerignore LICENSE bin package.json package-lock.json recipes schema src tsconfig.build.json tsconfig.json
  test/support/images.sh test/support/volbak-image.sh)
state=$(find "${inputs[@]}" -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
there=$(engine image inspect -f '{{index .Config.Labels "io.volbak.test-state"}}' volbak:local 2>/dev/null || true)
[[ $there == "$state" && $verb != rebuild ]] && exit 0

cache=${VOLBAK_TEST_IMAGE_CACHE:-$root/.cache/images}
mkdir -p "$cache"
packed=$cache/volbak-image-$state.tar
if [[ -f $packed && $verb != rebuild ]]; then
  engine load --quiet --input "$packed" >/dev/null
  exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
VOLBAK_TEST_IMAGE_CACHE=$cache "$here/images.sh" "$host" node

# The base for building: with npm, its cache, and the certificates that this machine trusts.
npm=$(dirname "$(dirname "$(readlink -f "$(type -P npm)")")")
mkdir -p "$scratch/usr/lib/node_modules" "$scratch/etc/ssl/certs" "$scratch/npm-cache"
cp -a "$npm" "$scratch/usr/lib/node_modules/npm"
mkdir -p "$scratch/usr/bin"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$scratch/usr/bin/npm"
certificates=/etc/ssl/certs/ca-certificates.crt
[[ ! -f $certificates ]] || cp -L "$certificates" "$scratch$certificates"
packages=$(npm config get cache 2>/dev/null)/_cacache
[[ ! -d $packages ]] || cp -a "$packages" "$scratch/npm-cache/"
cat >"$scratch/Dockerfile" <<END
FROM node:local
COPY usr /usr
COPY etc /etc
COPY npm-cache /npm-cache
ENV npm_config_cache=/npm-cache npm_config_prefer_offline=true npm_config_update_notifier=false \\
  NODE_EXTRA_CA_CERTS=$certificates
END
engine build --quiet --tag volbak-build:local "$scratch" >/dev/null
engine build --network host --build-arg NODE_BUILD=volbak-build:local --build-arg BASE=node:local \
  --label "io.volbak.test-state=$state" --tag volbak:local . >"$scratch/log" 2>&1 || {
  tail -30 "$scratch/log" >&2
  exit 1
}
engine image rm volbak-build:local >/dev/null 2>&1 || true
engine image prune --force >/dev/null
rm -f "$cache"/volbak-image-*.tar
engine save --output "$packed.$$" volbak:local
mv "$packed.$$" "$packed"
