# shellcheck shell=bash
# What the demo needs: installed packages, a build, and a Docker Engine, found or started.

# `npm run` puts node_modules/.bin first on PATH; `npm ci` removes the node in there and needs the other one.
prepare_node() {
  local path
  path=$(tr : '\n' <<<"$PATH" | grep -v '/node_modules/\.bin$' | paste -sd :)
  step='installing dependencies'
  if [[ ! -x node_modules/node/bin/node || ! node_modules/.package-lock.json -nt package-lock.json ]]; then
    say 'Installing dependencies into node_modules ...'
    typed npm ci
    PATH=$path npm ci --no-progress --loglevel=error </dev/null
  fi
  step='building'
  typed npm run build
  PATH=$root/node_modules/.bin:$path npm run --silent build </dev/null
}

engine_answers() { timeout 20 docker version >/dev/null 2>&1; }

# Debian 12 has the docker command in docker.io, later ones in docker-cli; without root the user has to do it.
prepare_engine() {
  step='finding a Docker Engine'
  if [[ -z ${VOLBAK_DEMO_PRIVATE:-} ]] && command -v docker >/dev/null && engine_answers; then return 0; fi
  ((EUID)) || return 0
  cat >&2 <<TEXT
No Docker Engine answers at ${DOCKER_HOST:-the default place}, and starting a private one needs root. Either
  - run the demo as root, for example: sudo npm run demo
  - or install Docker and use it yourself; on Debian and Ubuntu: sudo apt-get install docker.io jq zstd
    then, to be allowed to use it: sudo usermod -aG docker $(id -un), and log in anew
  - or name an engine that you may use: DOCKER_HOST=ssh://user@host npm run demo
TEXT
  exit 1
}

choose_engine() {
  if [[ -z ${VOLBAK_DEMO_PRIVATE:-} ]]; then
    if ! command -v docker >/dev/null && [[ -S /var/run/docker.sock || -n ${DOCKER_HOST:-} ]]; then
      test/support/packages.sh docker=docker.io
    fi
    if command -v docker >/dev/null && engine_answers; then
      say "Using the Docker Engine that answers at ${DOCKER_HOST:-the default place}, version $(docker version -f '{{.Server.Version}}')."
      return 0
    fi
  fi
  step='starting a private Docker Engine'
  say 'No Docker Engine is in use here: starting a private one, which is removed at the end.'
  private=$work/e
  DOCKER_HOST=$(test/support/engines.sh start "$private" a)
  export DOCKER_HOST
  unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH
  echo '$ export DOCKER_HOST='"$DOCKER_HOST"
}
