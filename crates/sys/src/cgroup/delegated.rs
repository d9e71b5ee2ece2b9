//! Groups of version 2 that belong to somebody who is not root, as systemd's `user@.service` has them.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD};

use super::read;

/// The group, as a path below `root`, under which somebody who is not root may make groups: the highest above this process's
/// own that they may write to and that has no process of its own (one that has cannot hand controllers down, cgroups(7)).
pub(super) fn group(root: &Path) -> Option<String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?.trim_end();
    let below_root = |group: &&Path| !group.as_os_str().is_empty();
    let usable = |group: &&Path| is_writable(&root.join(group));
    let highest = Path::new(own).ancestors().take_while(below_root).take_while(usable);
    let empty = |group: &&Path| read(&root.join(group), "cgroup.procs").is_ok_and(|pids| pids.is_empty());
    let found = highest.filter(empty).last()?;
    Some(format!("/{}", found.display()))
}

/// Groups can be made in it, and processes moved within it: both is asked of the highest group that is concerned.
fn is_writable(dir: &Path) -> bool {
    let writable = |path: &Path| rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    writable(dir) && writable(&dir.join("cgroup.procs")) && writable(&dir.join("cgroup.subtree_control"))
}
