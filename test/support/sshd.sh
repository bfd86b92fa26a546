#!/usr/bin/env bash
# OpenSSH with SFTP on loopback; host key, client key and known_hosts are made in <dir>.
#   sshd.sh start <dir> <port>
#   sshd.sh stop <dir>
set -euo pipefail
verb=${1:?start or stop} dir=${2:?directory}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
case $verb in
start)
  port=${3:?port}
  [[ -x /usr/sbin/sshd ]] || "$here/packages.sh" sshd=openssh-server ssh-keygen=openssh-client >&2
  mkdir -p "$dir" /run/sshd && chmod 700 "$dir"
  [[ -f $dir/host ]] || ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
  [[ -f $dir/id ]] || ssh-keygen -q -t ed25519 -N '' -f "$dir/id"
  cp "$dir/id.pub" "$dir/authorized_keys"
  echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$dir/host.pub")" >"$dir/known_hosts"
  cat >"$dir/config" <<C
ListenAddress 127.0.0.1:$port
HostKey $dir/host
PidFile $dir/pid
AuthorizedKeysFile $dir/authorized_keys
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
UsePAM no
MaxStartups 100
Subsystem sftp internal-sftp
C
  /usr/sbin/sshd -f "$dir/config"
  for _ in $(seq 50); do [[ -s $dir/pid ]] && break; sleep 0.1; done ;;
stop)
  [[ -s $dir/pid ]] || exit 0
  pid=$(cat "$dir/pid")
  # Sessions under way are its children: they end with it.
  pkill -P "$pid" 2>/dev/null || true
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done ;;
*) echo "usage: sshd.sh start|stop <dir> [port]" >&2; exit 2 ;;
esac
