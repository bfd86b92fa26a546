#!/usr/bin/env bash
# Two private Docker Engines, "a" and "b", beside whatever else runs on this machine.
#   engines.sh start <dir> [a]   prints their two URLs, one a line; with "a" starts only that one
#   engines.sh start <dir> bridge   starts only "a", with a network of its own in which containers can have bridges
#   engines.sh stop <dir>        ends every process of theirs and unmounts what is below <dir>; <dir> can be removed then
# Each has its own mount and host name spaces, so its own name, identity (/etc/docker/key.json) and /run/docker.sock.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
unset DOCKER_HOST DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH
usage() { echo "usage: engines.sh start|stop <dir> [a|bridge]" >&2; exit 2; }
(($# == 2)) || [[ $# == 3 && $1 == start && $3 =~ ^(a|bridge)$ ]] || usage
verb=$1 dir=$(realpath -m "$2") only=${3:-} own_network=() network='--bridge=none --iptables=false --ip-forward=false'
if [[ $only == bridge ]]; then
  only=a own_network=(--net) network='--bip=10.231.0.1/24 --default-address-pool=base=10.232.0.0/16,size=24'
fi

answers() { timeout 10 docker -H "unix://$1/docker.sock" version >/dev/null 2>&1; }

# Processes of the engine in $1: in its mount name space, and with its directory in their command line.
own_processes() {
  local space p
  space=$(cat "$1/namespace" 2>/dev/null) || return 0
  for p in /proc/[0-9]*; do
    [[ $(readlink "$p/ns/mnt" 2>/dev/null) == "$space" ]] || continue
    tr '\0' ' ' 2>/dev/null <"$p/cmdline" | grep -qF -- "$1/" && echo "${p#/proc/}"
  done
  return 0
}

# The processes given and everything below them: a container outlives its shim.
with_children() {
  local queue=("$@") p
  while ((${#queue[@]})); do
    p=${queue[0]} queue=("${queue[@]:1}")
    echo "$p"
    for child in $(cat "/proc/$p/task/"*/children 2>/dev/null); do queue+=("$child"); done
  done
}

running() { [[ -r /proc/$1/stat ]] && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }

# A paused container whose engine is gone does not even die of SIGKILL before it is thawed.
thaw() {
  local p line
  for p in "$@"; do
    while IFS= read -r line; do
      case $line in
      *:freezer:/?*) echo THAWED >"/sys/fs/cgroup/freezer/${line#*:freezer:/}/freezer.state" ;;
      0::/?*) echo 0 >"/sys/fs/cgroup/${line#0::/}/cgroup.freeze" ;;
      esac 2>/dev/null || true
    done < <(cat "/proc/$p/cgroup" 2>/dev/null)
  done
}

# Waits until none of the processes runs: gone <tenths of a second> <pid>...
gone() {
  local tries=$1 p left
  shift
  while :; do
    left=0
    for p in "$@"; do running "$p" && left=1; done
    ((left)) || return 0
    ((tries-- > 0)) || return 1
    sleep 0.1
  done
}

start_one() {
  local home=$dir/$1
  answers "$home" && return 0
  mkdir -p "$home/etc" "$home/run"
  rm -f "$home/pid" "$home/namespace" "$home/docker.sock" "$home/run/docker.sock"
  # shellcheck disable=SC2016
  setsid unshare --mount --uts "${own_network[@]}" sh -c '
    set -e
    hostname "host-$2"
    mount --bind "$1/etc" /etc/docker
    mount --bind "$1/run" /run
    if [ ! -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -d /sys/fs/cgroup/memory ]; then
      mount -t tmpfs -o mode=755 cgroups /sys/fs/cgroup
      for c in $(awk "!/^#/ && \$4 == 1 { print \$1 }" /proc/cgroups); do
        mkdir "/sys/fs/cgroup/$c"
        mount -t cgroup -o "$c" "$c" "/sys/fs/cgroup/$c" || rmdir "/sys/fs/cgroup/$c"
      done
    fi
    readlink /proc/$$/ns/mnt >"$1/namespace"
    ip link set lo up
    # shellcheck disable=SC2086
    exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
      -H unix:///run/docker.sock -H "unix://$1/docker.sock" $3' sh "$home" "$1" "$network" >"$home/log" 2>&1 </dev/null &
  local pid=$! n
  for ((n = 0; n < 300; n++)); do
    answers "$home" && return 0
    running "$pid" || break
    sleep 0.1
  done
  tail -5 "$home/log" >&2
  echo "engine $1 did not start; its log: $home/log" >&2
  return 1
}

stop_one() {
  local home=$dir/$1 all=() p ids
  mapfile -t all < <(own_processes "$home")
  ((${#all[@]})) || return 0
  if answers "$home"; then
    ids=$(timeout 20 docker -H "unix://$home/docker.sock" ps -aq 2>/dev/null || true)
    # shellcheck disable=SC2086
    [[ -z $ids ]] || timeout 60 docker -H "unix://$home/docker.sock" rm -f $ids >/dev/null 2>&1 || true
  fi
  for p in "${all[@]}"; do
    [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$p/cmdline") == dockerd* ]] || continue
    kill -TERM "$p" 2>/dev/null || true
    gone 150 "${all[@]}" || true # it ends containerd and the shims with it
  done
  mapfile -t all < <(with_children $(own_processes "$home"))
  ((${#all[@]})) || return 0
  kill -KILL "${all[@]}" 2>/dev/null || true
  thaw "${all[@]}"
  gone 100 "${all[@]}" || { echo "processes of engine $1 that do not end: ${all[*]}" >&2; return 1; }
}

# Undoes the escapes of mountinfo (\040 for a space, and so on).
unmount_below() {
  local points=() point n
  mapfile -t points < <(awk '{ print $5 }' /proc/self/mountinfo)
  for ((n = ${#points[@]} - 1; n >= 0; n--)); do
    point=$(printf '%b' "${points[n]//\\/\\0}")
    [[ $point == "$dir"/* ]] || continue
    umount "$point" 2>/dev/null || umount -l "$point"
  done
}

both() {
  local a b failed=0
  "$1" a & a=$!
  "$1" b & b=$!
  wait "$a" || failed=1
  wait "$b" || failed=1
  return $failed
}

case $verb in
start)
  ((EUID == 0)) || { echo "engines.sh: Docker Engines for the tests are started as root; run the tests as root" >&2; exit 1; }
  # containerd makes sockets below this directory, and a socket's path has at most 107 bytes
  ((${#dir} <= 60)) || { echo "engines.sh: the path of the directory is too long: $dir" >&2; exit 1; }
  "$here/packages.sh" dockerd=docker.io docker=docker.io iptables=iptables ip=iproute2
  mkdir -p "$dir" /etc/docker
  if [[ -n $only ]]; then start_one "$only"; else both start_one; fi
  echo "unix://$dir/a/docker.sock"
  [[ -n $only ]] || echo "unix://$dir/b/docker.sock"
  ;;
stop)
  both stop_one || exit 1
  unmount_below
  ;;
*) usage ;;
esac
