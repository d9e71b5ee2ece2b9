//! How a process goes into a group by itself.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use super::{Cgroup, Layout, open, write_once};

/// The doors of a group, held open for a process that has one thread and enters by itself.
///
/// In version 1 that is the way that costs nothing: whoever moves another process, or one with threads, waits 8 to 20 ms
/// until the kernel is sure that nobody forks (`cgroup_procs_write_start`). It also works for a process that may not open
/// the files, since it counts who opened them.
#[derive(Debug, Default)]
pub struct Entrance(Vec<File>);

impl Cgroup {
    /// Opens the doors of version 1. There are none in version 2, where a process starts in its group ([`Self::start_in`]).
    ///
    /// # Errors
    /// Those of open(2).
    pub fn entrance(&self) -> io::Result<Entrance> {
        let dirs = self.dirs.iter().filter(|_| self.layout == Layout::V1);
        dirs.map(|(_, dir)| open(dir, "tasks")).collect::<io::Result<_>>().map(Entrance)
    }
}

impl Entrance {
    /// Moves this process, which has one thread, into the group.
    ///
    /// # Errors
    /// Those of write(2), such as `InvalidInput` for a cpuset that is empty.
    pub fn pass(self) -> io::Result<()> {
        // Zero is whoever writes, whatever its number is elsewhere.
        self.0.iter().try_for_each(|door| write_once(door.as_fd(), "0"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    #[test]
    fn whoever_passes_is_in_the_group_of_every_hierarchy() {
        let name = format!("entrance-{}", std::process::id());
        let (group, _) = Cgroup::create(&name, &Limits::default(), None).unwrap();
        let controllers: Vec<&str> = group.dirs().map(|(controller, _)| controller).collect();
        let entrance = group.entrance().unwrap();
        // The kernel moves a thread; this program has more than one.
        let seen = std::thread::spawn(|| {
            entrance.pass().unwrap();
            std::fs::read_to_string("/proc/thread-self/cgroup").unwrap()
        });
        let seen = seen.join().unwrap();
        group.remove().unwrap();
        if group.layout() != Layout::V1 || controllers.is_empty() {
            println!("skipped: no control groups of version 1");
            return;
        }
        for controller in controllers {
            let in_group = |line: &str| {
                let (_, rest) = line.split_once(':').unwrap();
                let (names, path) = rest.split_once(':').unwrap();
                names.split(',').any(|name| name == controller) && path.ends_with(&format!("/strata/{name}"))
            };
            assert!(seen.lines().any(in_group), "{controller}: {seen}");
        }
    }
}
