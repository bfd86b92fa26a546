#!/usr/bin/env bash
# npm run demo: volbak's main job on real files, each command shown as it runs. Removes again all that it made,
# also where it fails or is interrupted. Environment: DOCKER_HOST (as docker reads it), VOLBAK_DEMO_PRIVATE=1 to start
# an engine of its own even where one answers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
. demo/show.sh
. demo/engine.sh

container=demo-db volume=demo-db-data label=volbak-demo
work= private= had_image= image= made=0 step='the preparation'

forget_all() {
  [[ -n $(docker ps -aq --filter "label=$label" 2>/dev/null) ]] &&
    docker rm -f $(docker ps -aq --filter "label=$label") >/dev/null
  [[ -n $(docker volume ls -q --filter "label=$label" 2>/dev/null) ]] &&
    docker volume rm $(docker volume ls -q --filter "label=$label") >/dev/null
  return 0
}

finish() {
  local status=$?
  trap - EXIT INT TERM
  if ((made)); then
    ((status)) || title 'Cleaning up'
    forget_all || true
    [[ -z $image || -n $had_image || -n $private ]] || docker rmi "$image" >/dev/null 2>&1 || true
  fi
  if [[ -n $private ]] && ! test/support/engines.sh stop "$private"; then
    echo "The private engine in $private did not stop." >&2
    status=1
  fi
  [[ -z $work ]] || rm -rf "$work" || status=1
  if ((status == 0)); then
    say "Removed: the container, the volume, the repository${private:+, the private engine}."
    printf '\n%s\n' "${bold}The demo succeeded: every file came back as it was.${plain}"
  elif ((status == 130 || status == 143)); then
    echo "Interrupted in $step; what the demo made is removed again." >&2
  else
    echo "The demo FAILED in $step (exit $status); what it printed last says why. What it made is removed again." >&2
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cat <<'TEXT'
This is volbak on real files: back up a container's volume, delete it, restore it, and prove that nothing is lost.
Lines that begin with $ are commands, as you would type them.
TEXT

title '1. Getting ready'
prepare_engine
step='installing packages'
test/support/packages.sh jq=jq zstd=zstd getfattr=attr
prepare_node
work=$(mktemp -d "${TMPDIR:-/tmp}/volbak-demo-XXXXXX")
choose_engine
export PATH=$root/bin:$PATH XDG_STATE_HOME=$work/state XDG_CACHE_HOME=$work/cache NO_COLOR=1
unset VOLBAK_CONFIG VOLBAK_HELPER_IMAGE VOLBAK_PASSPHRASE VOLBAK_PASSPHRASE_FILE
for kind in container volume; do
  name=${!kind}
  docker "$kind" inspect "$name" >/dev/null 2>&1 || continue
  [[ $(docker "$kind" ls ${kind:+$([[ $kind == container ]] && echo -a)} -q --filter "label=$label" --filter "name=^/?$name\$") ]] && continue
  echo "The engine has a $kind named $name that this demo did not make. Rename it, or run with VOLBAK_DEMO_PRIVATE=1." >&2
  exit 1
done
made=1
forget_all # of a demo that was killed

title '2. A helper image'
step='making the helper image'
say 'volbak reads and writes volumes in short-lived containers. They need an image with GNU tar. Where no registry'
say "answers, volbak makes one of this machine's own tools; it takes a second."
docker image inspect "volbak-helper:$(jq -r .version package.json)" >/dev/null 2>&1 && had_image=1
if [[ -n $private ]]; then show volbak helper build; else show volbak helper; fi
image=$(volbak --quiet --json helper | jq -r .image)
[[ $image == volbak-helper:* ]] || had_image=1

title '3. A container with a volume of real files'
step='making the container'
show docker volume create --label "$label" "$volume"
show docker run -d --name "$container" --label "$label" --network none -v "$volume:/var/lib/demo" "$image" sleep 3600
find /usr/share -xdev \( -type f -o -type l \) -size -512k -print0 | LC_ALL=C sort -z | sed -zn 1,4000p >"$work/names"
say "Copying $(tr -cd '\0' <"$work/names" | wc -c) files from /usr/share into it ..."
tar -C / -c --no-recursion --null --verbatim-files-from -T "$work/names" -f - 2>"$work/tar-messages" |
  docker exec -i "$container" tar -x -C /var/lib/demo -f - || { cat "$work/tar-messages" >&2; exit 1; }
show docker exec "$container" ls /var/lib/demo/usr/share

title '4. Back it up'
step='the first backup'
say 'The repository is a directory here. Everything in it is zstd frames of one ordinary tar.'
export VOLBAK_REPO=$work/repository
echo '$ export VOLBAK_REPO='"$VOLBAK_REPO"
show volbak backup "$container"

title '5. Look at it'
step='looking at the snapshot'
show volbak snapshots
show volbak show "$container"
say 'The files of the snapshot; the first ten lines:'
show_head 10 volbak ls "$container"

title '6. Back up again, after touching one file'
step='the second backup'
one=$(volbak --quiet --json ls "$container" | jq -r '[.[] | select(.type == "file" and .path)][0].path')
show docker exec "$container" touch "/var/lib/demo/${one#./}"
show volbak backup "$container"
say 'What was stored already is not stored again: only the new time of that file, in a few kB with its list of files.'
stored=$(volbak --quiet --json snapshots | jq '.[1].volumes[0].storedBytes')
first=$(volbak --quiet --json snapshots | jq '.[0].volumes[0].storedBytes')
((stored * 20 < first)) || { echo "The second backup stored $stored bytes, the first $first." >&2; exit 1; }
show volbak diff "$(volbak --quiet --json snapshots | jq -r '.[0].id')" latest

title '7. Delete the container and its volume'
step='deleting the container'
say 'First a plain tar of the volume, made without volbak, to compare with later.'
pack() {
  docker run --rm --network none --label "$label" -v "$volume:/data:ro" "$image" \
    tar -c --sort=name --format=pax --pax-option=delete=atime,delete=ctime,exthdr.name=%d/PaxHeaders/%f --xattrs --acls --numeric-owner -C /data .
}
pack >"$work/before.tar"
show docker rm -f "$container"
show docker volume rm "$volume"

title '8. Restore it'
step='the restore'
say 'Into a fresh volume of the same name; --verify reads all of it again and compares its digest with the snapshot.'
show volbak restore "$container" --verify

title '9. Compare'
step='comparing'
pack >"$work/after.tar"
show_in "$work" cmp before.tar after.tar
say "Byte for byte the same tar: names, contents, owners, modes, times ($(wc -c <"$work/after.tar") bytes)."

title '10. Restore it without volbak'
step='the restore by hand'
say 'If volbak is ever not at hand: a shell script does it with sh, jq, zstd and tar.'
id=$(volbak --quiet --json show "$container" | jq -r .id)
show recipes/restore-without-volbak.sh "$VOLBAK_REPO" "$id" "$volume" "$work/by-hand"
mkdir "$work/before"
tar -xf "$work/before.tar" -C "$work/before"
show_in "$work" diff -r --no-dereference before by-hand
say 'No difference.'
if ((EUID == 0)); then
  digest=$(volbak --quiet --json show "$container" | jq -r '.volumes[0].digest')
  show recipes/digest.sh "$work/by-hand"
  [[ $(recipes/digest.sh "$work/by-hand") == "$digest" ]] || { echo "The snapshot's digest is $digest." >&2; exit 1; }
  say "That is the snapshot's digest, computed by a shell script of its own."
else
  say 'As root the owners would be restored, too, and recipes/digest.sh would print the digest of the snapshot.'
fi

title '11. Check the repository'
step='the verification'
show volbak verify
