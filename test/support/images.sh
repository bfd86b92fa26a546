#!/usr/bin/env bash
# Imports small images, made of this machine's own files (no registry is asked): images.sh <docker-host> [names...]
# Names: busybox (no GNU tools), toolbox (GNU tools, shell), postgres, mariadb, redis (each starts like the public image of
# its name: an entrypoint that makes the data directory), sqlite, rsync and web (the toolbox with these; web: curl and
# busybox's httpd), node (the toolbox with this checkout's Node and ldd, for the Dockerfile), systemd (Debian). VOLBAK_TEST_IMAGE_CACHE
# names a directory that keeps the packed tars, so that a second engine has them at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
unset DOCKER_CONTEXT DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH
host=${1:?usage: images.sh <docker-host> [names...]}
shift
(($#)) || set -- busybox toolbox
recipe=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cache=${VOLBAK_TEST_IMAGE_CACHE:-$scratch/cache}
mkdir -p "$cache"

# An empty root directory with merged /bin and /sbin, and users for `id` and `su`.
skeleton() {
  mkdir -p "$1"/{usr/bin,tmp,etc,root}
  chmod 1777 "$1/tmp"
  ln -s usr/bin "$1/bin"
  ln -s usr/bin "$1/sbin"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$1/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
}

# Copies programs, and the shared libraries that ldd names, into a root directory.
pack() {
  local root=$1 program real library
  shift
  for program in "$@"; do
    real=$(readlink -f "$(type -P "$program")")
    cp "$real" "$root/usr/bin/$program"
    ldd "$real" 2>/dev/null | grep -o '/[^ ]*\.so[^ ]*' | while read -r library; do
      mkdir -p "$root$(dirname "$library")"
      [[ -e $root$library ]] || cp -L "$library" "$root$library"
    done || true
  done
}

root_of_busybox() {
  "$here/packages.sh" busybox=busybox-static
  skeleton "$1"
  pack "$1" busybox
  local applet
  for applet in $(busybox --list); do
    [[ $applet == busybox ]] || ln -s busybox "$1/usr/bin/$applet"
  done
}

root_of_toolbox() {
  "$here/packages.sh" zstd=zstd bzip2=bzip2 xz=xz-utils getfattr=attr getfacl=acl
  skeleton "$1"
  pack_tools "$1"
}

pack_tools() {
  pack "$1" sh bash tar find xargs sort zstd gzip bzip2 xz sync stat getfattr setfattr getfacl setfacl sha256sum md5sum \
    cat sleep ls mkdir rmdir mknod mkfifo chmod chown chgrp cp mv rm ln readlink realpath head tail wc cmp diff dd touch \
    truncate env id grep sed cut tr seq test printf echo true false date df du tee basename dirname mount umount timeout \
    uname hostname base64 od mktemp shuf
}

root_of_postgres() {
  "$here/packages.sh" debootstrap=debootstrap
  debootstrap --variant=minbase --include=postgresql bookworm "$1" >"$scratch/debootstrap.log" 2>&1 </dev/null || {
    tail -5 "$scratch/debootstrap.log" >&2
    return 1
  }
  rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale} "$1"/dev/*
  entrypoint "$1" <<'EOF'
if [ "$1" = postgres ] && [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /run/postgresql
  chown postgres:postgres "$PGDATA" /run/postgresql
  chmod 0700 "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
[ "$1" != postgres ] || [ -s "$PGDATA/PG_VERSION" ] || initdb -D "$PGDATA" -U postgres -A trust >/dev/null
exec "$@"
EOF
}

# The script that a container of the image begins with; its text is standard input.
entrypoint() {
  mkdir -p "$1/usr/local/bin"
  { printf '#!/bin/sh\nset -e\n'; cat; } >"$1/usr/local/bin/docker-entrypoint.sh"
  chmod 755 "$1/usr/local/bin/docker-entrypoint.sh"
}

# Only programs, no Debian package that would start a server on this machine.
root_of_mariadb() {
  "$here/packages.sh" mariadbd=mariadb-server-core mariadb-dump=mariadb-client setpriv=util-linux
  skeleton "$1"
  pack_tools "$1"
  pack "$1" mariadbd mariadb mariadb-dump mariadb-admin my_print_defaults resolveip setpriv
  ln -s bin "$1/usr/sbin"
  mkdir -p "$1/usr/share" "$1/usr/lib/mysql/plugin" "$1/run/mysqld" "$1/var/lib/mysql"
  cp -a /usr/share/mysql "$1/usr/share/"
  rm -rf "$1"/usr/share/mysql/*/
  cp -a /usr/share/mysql/{charsets,english} "$1/usr/share/mysql/"
  cp -L "$(type -P mariadb-install-db)" "$1/usr/bin/mariadb-install-db"
  echo 'mysql:x:999:999:mysql:/var/lib/mysql:/bin/false' >>"$1/etc/passwd"
  echo 'mysql:x:999:' >>"$1/etc/group"
  entrypoint "$1" <<'EOF'
if [ "$1" = mariadbd ]; then
  chown mysql:mysql /var/lib/mysql /run/mysqld
  if [ ! -d /var/lib/mysql/mysql ]; then
    mariadb-install-db --user=mysql --datadir=/var/lib/mysql --auth-root-authentication-method=normal --skip-test-db >/dev/null
  fi
  exec "$@" --user=mysql --datadir=/var/lib/mysql --socket=/run/mysqld/mysqld.sock
fi
exec "$@"
EOF
}

# The server is the same program as redis-check-rdb, under another name.
root_of_redis() {
  "$here/packages.sh" redis-cli=redis-tools
  skeleton "$1"
  pack_tools "$1"
  pack "$1" redis-cli redis-check-rdb
  cp "$1/usr/bin/redis-check-rdb" "$1/usr/bin/redis-server"
  mkdir "$1/data"
}

root_of_sqlite() {
  "$here/packages.sh" sqlite3=sqlite3
  root_of_toolbox "$1"
  pack "$1" sqlite3
}

root_of_rsync() {
  "$here/packages.sh" rsync=rsync
  root_of_toolbox "$1"
  pack "$1" rsync
}

root_of_web() {
  "$here/packages.sh" busybox=busybox-static curl=curl
  root_of_toolbox "$1"
  pack "$1" busybox curl
  ln -s busybox "$1/usr/bin/httpd"
}

root_of_systemd() {
  "$here/packages.sh" debootstrap=debootstrap
  debootstrap --variant=minbase --include=systemd,systemd-sysv,procps,libstdc++6 bookworm "$1" >"$scratch/debootstrap.log" 2>&1 </dev/null || {
    tail -5 "$scratch/debootstrap.log" >&2
    return 1
  }
  rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/{doc,man,locale} "$1"/dev/*
}

root_of_node() {
  root_of_toolbox "$1"
  local node=$here/../../node_modules/node/bin/node
  [[ -x $node ]] || node=$(type -P node)
  cp -L "$node" "$1/usr/bin/node"
  cp -L "$(type -P ldd)" "$1/usr/bin/ldd"
  ldd "$node" | grep -o '/[^ ]*\.so[^ ]*' | while read -r library; do
    mkdir -p "$1$(dirname "$library")"
    [[ -e $1$library ]] || cp -L "$library" "$1$library"
  done
}

for name in "$@"; do
  case $name in
  busybox | toolbox | sqlite | rsync | web) tag=$name:latest changes=(-c 'ENV PATH=/usr/bin' -c 'CMD ["sh"]') ;;
  systemd) tag=systemd:local changes=(-c 'CMD ["/sbin/init"]') ;;
  node) tag=node:local changes=(-c 'ENV PATH=/usr/bin' -c 'CMD ["node"]') ;;
  postgres)
    tag=postgres:15
    changes=(-c 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin' -c 'ENV PGDATA=/var/lib/postgresql/data'
      -c 'VOLUME /var/lib/postgresql/data' -c 'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]' -c 'CMD ["postgres"]')
    ;;
  mariadb)
    tag=mariadb:10.11
    changes=(-c 'ENV PATH=/usr/bin' -c 'VOLUME /var/lib/mysql' -c 'ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]'
      -c 'CMD ["mariadbd"]')
    ;;
  redis)
    tag=redis:7
    changes=(-c 'ENV PATH=/usr/bin' -c 'VOLUME /data' -c 'WORKDIR /data' -c 'CMD ["redis-server"]')
    ;;
  *) echo "images.sh: no recipe for $name" >&2; exit 2 ;;
  esac
  docker -H "$host" image inspect "$tag" >/dev/null 2>&1 && continue
  packed=$cache/$name-$recipe.tar
  if [[ ! -f $packed ]]; then
    "root_of_$name" "$scratch/$name"
    tar -C "$scratch/$name" --sort=name --numeric-owner --xattrs --xattrs-include='*' -cf "$packed.$$" .
    mv "$packed.$$" "$packed"
    rm -rf "${scratch:?}/$name"
  fi
  docker -H "$host" import "${changes[@]}" "$packed" "$tag" >/dev/null
done
