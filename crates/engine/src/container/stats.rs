//! What containers use, moment by moment.

use std::path::Path;

use crate::container::Known;
use crate::{Engine, Result};

/// Nanoseconds in a clock tick, as the kernel shows it to every program (`USER_HZ`).
const TICK_NS: u64 = 10_000_000;

/// What a container used until a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// CPU time of the container so far.
    pub cpu_ns: u64,
    /// CPU time of the whole host so far, idle time included.
    pub host_cpu_ns: u64,
    /// How many CPUs the host has.
    pub cpus: u64,
    /// Memory, without what can be given back at once.
    pub memory_bytes: u64,
    /// How much it may have; all of the host's without a limit.
    pub memory_max_bytes: u64,
    /// Came in over its network.
    pub received_bytes: u64,
    /// Went out.
    pub sent_bytes: u64,
    /// Read from disks.
    pub read_bytes: u64,
    /// Written to disks.
    pub written_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
}

impl Sample {
    /// How many percent of a CPU it used since an earlier moment, by Docker's formula.
    pub fn cpu_percent_since(&self, earlier: &Self) -> f64 {
        let own = self.cpu_ns.saturating_sub(earlier.cpu_ns) as f64;
        let all = self.host_cpu_ns.saturating_sub(earlier.host_cpu_ns) as f64;
        if all > 0.0 { own / all * self.cpus as f64 * 100.0 } else { 0.0 }
    }

    /// How many percent of the memory it may have.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_max_bytes == 0 { 0.0 } else { self.memory_bytes as f64 / self.memory_max_bytes as f64 * 100.0 }
    }
}

impl Engine {
    /// What a container uses; nothing if it does not run.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn sample(&self, known: &Known) -> Result<Option<Sample>> {
        let process = self.process(known.id());
        let Some((state, usage)) = process.usage()? else { return Ok(None) };
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let (host_cpu_ns, cpus) = host_cpu(&read(Path::new("/proc/stat")));
        let memory = host_memory(&read(Path::new("/proc/meminfo")));
        let (received_bytes, sent_bytes) = network(&read(Path::new(&format!("/proc/{}/net/dev", state.pid))));
        let mut disks = [usage.read_bytes, usage.written_bytes];
        if disks[0].is_none() {
            // Its group does not count that: what the processes that live count themselves.
            let pids = process.pids().unwrap_or_default();
            let each = pids.iter().map(|pid| disk(&read(Path::new(&format!("/proc/{pid}/io")))));
            let (read, written) = each.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            disks = [Some(read), Some(written)];
        }
        Ok(Some(Sample {
            cpu_ns: usage.cpu_ns,
            host_cpu_ns,
            cpus,
            memory_bytes: usage.memory_bytes,
            memory_max_bytes: usage.memory_max_bytes.map_or(memory, |limit| limit.min(memory)),
            received_bytes,
            sent_bytes,
            read_bytes: disks[0].unwrap_or(0),
            written_bytes: disks[1].unwrap_or(0),
            pids: usage.pids,
        }))
    }
}

/// proc_stat(5): the first line sums up all CPUs; the eight first numbers are all their time.
fn host_cpu(stat: &str) -> (u64, u64) {
    let all = stat.lines().next().unwrap_or_default();
    let ticks: u64 = all.split_ascii_whitespace().skip(1).take(8).filter_map(|number| number.parse::<u64>().ok()).sum();
    let single =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    (ticks.saturating_mul(TICK_NS), stat.lines().filter(single).count() as u64)
}

fn host_memory(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    total.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// What came and went over all interfaces but loopback.
fn network(dev: &str) -> (u64, u64) {
    let interfaces = dev.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    interfaces.fold((0, 0), |(received, sent), (_, numbers)| {
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect();
        (received + numbers.first().unwrap_or(&0), sent + numbers.get(8).unwrap_or(&0))
    })
}

fn disk(io: &str) -> (u64, u64) {
    let after = |name: &str| -> u64 {
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    (after("read_bytes:"), after("write_bytes:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_files_are_read() {
        let stat = "cpu  10 0 10 80 0 0 0 0 5 5\ncpu0 5 0 5 40 0 0 0 0 0 0\ncpu1 5 0 5 40 0 0 0 0 0 0\nintr 1\n";
        assert_eq!(host_cpu(stat), (1_000_000_000, 2));
        assert_eq!(host_memory("MemTotal:     2048 kB\nMemFree: 1 kB\n"), 2 << 20);
        let dev = "Inter-| Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n  eth0: 100 1 0 0 0 0 0 0 50 1 0 0 0 0 0 0\n";
        assert_eq!(network(dev), (100, 50));
        assert_eq!(disk("rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n"), (4096, 8192));
    }

    #[test]
    fn percents_are_dockers() {
        let earlier = Sample { cpu_ns: 100, host_cpu_ns: 1000, ..Sample::default() };
        let now = Sample {
            cpu_ns: 600,
            host_cpu_ns: 3000,
            cpus: 2,
            memory_bytes: 1,
            memory_max_bytes: 4,
            ..Sample::default()
        };
        assert_eq!((now.cpu_percent_since(&earlier), now.memory_percent()), (50.0, 25.0));
        assert_eq!(now.cpu_percent_since(&now), 0.0);
    }
}
