#!/usr/bin/env bash
# A one-node Ceph with its S3 gateway, all data in memory: a real S3 server for the tests.
#   ceph.sh start <dir> <port> <monitor port>    prints the endpoint; keys volbak / volbaksecret
#   ceph.sh stop <dir>                           ends what start began, and waits for it
#   ceph.sh gateway <dir> <port> [name]          starts a gateway again, or one more under another name
#   ceph.sh admin <dir> <args…>                  radosgw-admin of that cluster
set -euo pipefail
verb=${1:?start, stop or admin} dir=${2:?directory}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

stop() {
  local file pid
  for file in "$dir"/run/*.pid; do
    [[ -s $file ]] || continue
    pid=$(tr -d '\n' <"$file")
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
}

admin() { timeout 60 radosgw-admin -c "$dir/ceph.conf" "$@"; }

configure() {
  local port=$1 monitor=$2
  cat >"$dir/ceph.conf" <<C
[global]
fsid = $(uuidgen)
mon host = v1:127.0.0.1:$monitor
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 8589934592
run dir = $dir/run
admin socket = $dir/run/\$name.asok
log file = $dir/\$name.log
pid file = $dir/run/\$name.pid
keyring = $dir/keyring
public network = 127.0.0.0/8
public addr = 127.0.0.1
[mon.a]
host = localhost
mon data = $dir/mon
[osd.0]
host = localhost
osd data = $dir/osd
[client]
rgw data = $dir/rgw
C
}

start() {
  local port=$1 monitor=$2 osd conf fsid
  "$here/packages.sh" ceph-mon=ceph-mon ceph-osd=ceph-osd radosgw=radosgw ceph=ceph-common uuidgen=uuid-runtime curl=curl >&2
  rm -rf "$dir" && mkdir -p "$dir"/{mon,osd,rgw,run}
  configure "$port" "$monitor"
  conf="$dir/ceph.conf" osd=$(uuidgen)
  fsid=$(sed -n 's/^fsid = //p' "$conf")
  ceph-authtool --create-keyring "$dir/keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$dir/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  monmaptool --create --addv a "[v1:127.0.0.1:$monitor]" --fsid "$fsid" "$dir/monmap"
  ceph-mon -c "$conf" --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
  ceph-mon -c "$conf" -i a --setuser root --setgroup root
  timeout 60 ceph -c "$conf" osd new "$osd"
  ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$osd"
  ceph-osd -c "$conf" -i 0
  gateway "$port"
  admin user create --uid=volbak --display-name=volbak --access-key=volbak --secret-key=volbaksecret
}

gateway() {
  radosgw -c "$dir/ceph.conf" -n "client.${2:-rgw}" --rgw-frontends="beast endpoint=127.0.0.1:$1" --setuser root --setgroup root
  for _ in $(seq 240); do curl -fs -o /dev/null "http://127.0.0.1:$1" && return; sleep 0.25; done
  echo "the S3 gateway does not answer" >&2
  return 1
}

case $verb in
start)
  # Two clusters that start at the same moment disturb each other now and then (the OSD crashes): try again.
  for try in 1 2 3; do
    # A process of its own: `set -e` does not hold within a condition.
    if bash "$0" start-once "$dir" "${3:?port}" "${4:?monitor port}" >"$dir.log" 2>&1 </dev/null; then
      echo "http://127.0.0.1:$3"
      exit 0
    fi
    stop
    sleep "$try"
  done
  tail -5 "$dir.log" >&2
  exit 1 ;;
start-once) start "${3:?port}" "${4:?monitor port}" ;;
gateway) gateway "${3:?port}" "${4:-}" >>"$dir.log" 2>&1 ;;
stop) stop ;;
admin) shift 2; admin "$@" ;;
*) echo "usage: ceph.sh start|stop|gateway|admin <dir> …" >&2; exit 2 ;;
esac
