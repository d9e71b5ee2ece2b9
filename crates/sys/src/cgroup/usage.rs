//! What a group uses now.

use std::path::Path;

use super::{Cgroup, Layout, read};

/// What a group has used, and uses now. What the host does not count is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time so far.
    pub cpu_ns: u64,
    /// Memory, without what can be given back at once.
    pub memory_bytes: u64,
    /// How much memory it may have; none for no limit.
    pub memory_max_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Read from disks so far; none where that is not counted.
    pub read_bytes: Option<u64>,
    /// Written to disks so far.
    pub written_bytes: Option<u64>,
}

impl Cgroup {
    /// What it uses.
    pub fn usage(&self) -> Usage {
        match self.layout {
            Layout::V1 => self.usage_v1(),
            Layout::V2 => self.controller("").map(usage_v2).unwrap_or_default(),
            Layout::None => Usage::default(),
        }
    }

    fn usage_v1(&self) -> Usage {
        /// What version 1 shows for no limit: the largest number of bytes in whole pages.
        const UNLIMITED: u64 = 1 << 62;
        let text = |controller: &str, file: &str| {
            self.controller(controller).and_then(|dir| read(dir, file).ok()).unwrap_or_default()
        };
        let number = |controller: &str, file: &str| text(controller, file).trim().parse::<u64>().ok();
        // Controllers that share a hierarchy are known by the first one's name.
        let cpu = number("cpuacct", "cpuacct.usage").or_else(|| number("cpu", "cpuacct.usage"));
        let cache = after(&text("memory", "memory.stat"), "total_inactive_file ").unwrap_or(0);
        let disks = text("blkio", "blkio.throttle.io_service_bytes_recursive");
        let disk = |act: &str| {
            let lines = disks.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            lines.filter(|words| words.get(1) == Some(&act)).filter_map(|words| words.get(2)?.parse::<u64>().ok()).sum()
        };
        let has_disks = self.controller("blkio").is_some();
        Usage {
            cpu_ns: cpu.unwrap_or(0),
            memory_bytes: number("memory", "memory.usage_in_bytes").unwrap_or(0).saturating_sub(cache),
            memory_max_bytes: number("memory", "memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED),
            pids: number("pids", "pids.current").unwrap_or(0),
            read_bytes: has_disks.then(|| disk("Read")),
            written_bytes: has_disks.then(|| disk("Write")),
        }
    }
}

fn usage_v2(dir: &Path) -> Usage {
    let text = |file: &str| read(dir, file).unwrap_or_default();
    let number = |file: &str| text(file).trim().parse::<u64>().ok();
    let cache = after(&text("memory.stat"), "inactive_file ").unwrap_or(0);
    let disks = read(dir, "io.stat").ok();
    let disk = |name: &str| {
        let words = disks.as_deref().map(|text| text.split_ascii_whitespace());
        words.map(|words| words.filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok()).sum())
    };
    Usage {
        cpu_ns: after(&text("cpu.stat"), "usage_usec ").unwrap_or(0).saturating_mul(1000),
        memory_bytes: number("memory.current").unwrap_or(0).saturating_sub(cache),
        memory_max_bytes: number("memory.max"),
        pids: number("pids.current").unwrap_or(0),
        read_bytes: disk("rbytes="),
        written_bytes: disk("wbytes="),
    }
}

/// The number behind a word at the beginning of a line.
fn after(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)).and_then(|number| number.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
            ("memory.current", "5000\n"),
            ("memory.max", "max\n"),
            ("memory.stat", "anon 4000\ninactive_file 900\nactive_file 1\n"),
            ("pids.current", "3\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=1\n8:16 rbytes=5 wbytes=0 rios=1 wios=0\n"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let expected = Usage {
            cpu_ns: 1_500_000,
            memory_bytes: 4100,
            memory_max_bytes: None,
            pids: 3,
            read_bytes: Some(15),
            written_bytes: Some(20),
        };
        assert_eq!(usage_v2(dir.path()), expected);
    }

    #[test]
    fn version_1_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cpuacct.usage", "77\n"),
            ("memory.usage_in_bytes", "5000\n"),
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n"),
            ("pids.current", "2\n"),
            ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 10\n8:0 Write 4\n8:16 Read 1\nTotal 15\n"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        let dirs = ["memory", "cpu", "pids", "blkio"].map(|controller| (controller, dir.path().to_owned()));
        let usage = Cgroup { layout: Layout::V1, dirs: dirs.into() }.usage();
        let expected = Usage {
            cpu_ns: 77,
            memory_bytes: 4000,
            memory_max_bytes: None,
            pids: 2,
            read_bytes: Some(11),
            written_bytes: Some(4),
        };
        assert_eq!(usage, expected);
    }
}
