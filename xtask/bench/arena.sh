#!/bin/sh
# The bench's arena: arena.sh DIR GROUP STORE_BYTES [cached]
#
# Namespaces of their own (mounts, processes, network, names, control groups) with an ext4 at DIR/store, in a control
# group GROUP of every hierarchy. The store's loop device goes past the cache of its file, unless that is asked for or
# cannot be. Prints `ready direct` or `ready cached`, and lives until its standard input ends: also when whoever started it is
# killed. Then it ends all that runs inside and removes DIR and the groups.
set -eu
dir=$1 group=$2 store_bytes=$3 store=${4:-direct}
trap '' HUP INT TERM
# One bench at a time: the groups' names are fixed, so that what a killed one left is found.
exec 9>"/tmp/$group.lock"
flock -n 9 || { echo "another bench is running" && exit 1; }

# One line per hierarchy: the options it is mounted with, where it is, where its group is.
hierarchies() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo "v2 /sys/fs/cgroup /sys/fs/cgroup/$group"
    return
  fi
  # The v2 tree of a hybrid stays out: crun refuses it.
  while IFS=: read -r _ controllers _; do
    at=/sys/fs/cgroup/${controllers#name=}
    case $controllers in '') continue ;; name=*) controllers=none,$controllers ;; esac
    [ ! -d "$at" ] || echo "$controllers $at $at/$group"
  done </proc/self/cgroup
}

clean() {
  rm -rf "$dir"
  hierarchies | while read -r _ _ at; do
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      [ -d "$at" ] || break
      find "$at" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.2
    done
  done
}

clean
mkdir -p "$dir/store"
truncate -s "$store_bytes" "$dir/store.img"
mkfs.ext4 -q -F "$dir/store.img"
hierarchies | while read -r _ from at; do
  [ "$from" != /sys/fs/cgroup ] || echo +cpu >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || :
  mkdir -p "$at"
  for file in cpuset.cpus cpuset.mems; do
    [ ! -f "$from/$file" ] || [ ! -f "$at/$file" ] || cat "$from/$file" >"$at/$file"
  done
  [ ! -f "$at/memory.use_hierarchy" ] || echo 1 >"$at/memory.use_hierarchy" 2>/dev/null || :
  # Before all other work: what else goes on is to slow the bench down as little as can be.
  [ ! -f "$at/cpu.shares" ] || echo 262144 >"$at/cpu.shares"
  [ ! -f "$at/cpu.weight" ] || echo 10000 >"$at/cpu.weight"
done

# Inside, each hierarchy is mounted anew with the group as its root, so that engines make theirs below it.
# shellcheck disable=SC2016
inside='
set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mount -o loop "$dir/store.img" "$dir/store"
loop=$(findmnt -n -o SOURCE "$dir/store")
[ "$store" = direct ] && losetup --direct-io=on "$loop" 2>/dev/null || store=cached
ip link set lo up
umount -R -l /sys/fs/cgroup
if [ "${mounts#v2 }" != "$mounts" ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  for c in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control; done
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  echo "$mounts" | while read -r options from _; do
    mkdir -p "$from"
    mount -t cgroup -o "$options" cgroup "$from"
  done
fi
echo "ready $store"
exec cat
'
(
  mounts=$(hierarchies)
  export dir inside mounts store
  hierarchies | while read -r _ _ at; do echo "$at"; done >"$dir/groups"
  while read -r at; do echo 0 >"$at/cgroup.procs"; done <"$dir/groups"
  # With version 2, a group that has processes of its own cannot hand controllers down.
  if [ "${mounts#v2 }" != "$mounts" ]; then mkdir "${mounts##* }/commands"; export leaf="${mounts##* }/commands/cgroup.procs"; fi
  # shellcheck disable=SC2016
  exec unshare --cgroup sh -c '
    [ -z "${leaf:-}" ] || echo 0 >"$leaf"
    exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc --net --uts sh -c "eval \"\$inside\""'
) || :
clean
