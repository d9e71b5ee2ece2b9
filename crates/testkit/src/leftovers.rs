//! What test runs that were killed left behind: a machine's processes and mounts end with it, its folder and the control
//! groups of its containers do not. The next run removes them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use strata_sys::lock::{Mode, take};

/// What the folders of machines begin with.
pub(crate) const PREFIX: &str = "strata-machine-";
/// Who makes a folder locks it at once, and a container's control groups have processes at once: what has had neither for
/// so long has nobody.
const FRESH: Duration = Duration::from_secs(600);

/// Makes a folder for a machine, and the lock that says that somebody has it: it ends with this process.
pub(crate) fn folder() -> (tempfile::TempDir, File) {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(|| {
        sweep_folders(&std::env::temp_dir());
        sweep_groups(Path::new("/sys/fs/cgroup"));
    });
    let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().unwrap();
    let lock = File::open(dir.path()).unwrap();
    assert!(take(&lock, Mode::Exclusive).unwrap(), "somebody took the folder for an old one");
    (dir, lock)
}

/// Removes the control groups of containers that have ended, whose directories are in a store.
pub(crate) fn remove_groups_of(store: &Path) {
    let Ok(containers) = std::fs::read_dir(store.join("containers")) else { return };
    let groups = groups(Path::new("/sys/fs/cgroup"));
    for container in containers.flatten() {
        for group in &groups {
            remove_group(&group.join(container.file_name()));
        }
    }
}

/// Removes the folders that nobody has.
fn sweep_folders(home: &Path) {
    let entries = std::fs::read_dir(home).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for path in folders.map(|entry| entry.path()).filter(|path| is_old(path)) {
        // The lock is held until all is gone.
        if let Ok(lock) = File::open(&path)
            && take(&lock, Mode::Exclusive).unwrap_or(false)
        {
            // Another run may be at it, too.
            let _gone = strata_sys::durable::remove(&path);
        }
    }
}

/// Removes the control groups in which nobody is any more; of those with processes the kernel takes care.
fn sweep_groups(root: &Path) {
    for group in groups(root) {
        for entry in std::fs::read_dir(&group).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_group = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_group && is_old(&path) {
                remove_group(&path);
            }
        }
    }
}

/// The groups above those of containers, one in each hierarchy.
fn groups(root: &Path) -> Vec<PathBuf> {
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let found = hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join("strata"));
    found.filter(|group| group.join("cgroup.procs").exists()).collect()
}

fn remove_group(path: &Path) {
    // It may be gone, or have processes still.
    let _removed = std::fs::remove_dir(path);
}

fn is_old(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age > FRESH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::FileTimes;

    fn age(path: &Path) {
        let old = SystemTime::now() - 2 * FRESH;
        File::open(path).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
    }

    #[test]
    fn folders_are_removed_that_are_old_and_that_nobody_has() {
        let home = tempfile::tempdir().unwrap();
        let [left, held, fresh, other] =
            [format!("{PREFIX}left"), format!("{PREFIX}held"), format!("{PREFIX}fresh"), "other".to_owned()]
                .map(|name| home.path().join(name));
        for path in [&left, &held, &fresh, &other] {
            std::fs::create_dir_all(path.join("store/containers")).unwrap();
        }
        [&left, &held, &other].into_iter().for_each(|path| age(path));
        let lock = File::open(&held).unwrap();
        assert!(take(&lock, Mode::Exclusive).unwrap());
        sweep_folders(home.path());
        assert_eq!([&left, &held, &fresh, &other].map(|path| path.exists()), [false, true, true, true]);
    }

    #[test]
    fn groups_are_removed_that_are_old() {
        let root = tempfile::tempdir().unwrap();
        let parent = root.path().join("pids/strata");
        std::fs::create_dir_all(&parent).unwrap();
        std::fs::write(parent.join("cgroup.procs"), "").unwrap();
        let [old, fresh] = ["old", "fresh"].map(|name| parent.join(name));
        for group in [&old, &fresh] {
            std::fs::create_dir(group).unwrap();
        }
        age(&old);
        sweep_groups(root.path());
        assert_eq!([&old, &fresh].map(|path| path.exists()), [false, true]);
    }
}
