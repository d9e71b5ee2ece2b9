//! The options that limit what programs take: of `run`, `create`, `update` and, as far as it has them, `build`.

use strata_engine::container::Resources;

use crate::opts;
use crate::opts::number::NanoCpus;

/// What every program can be limited to, also those of builds.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Limits {
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    pub cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int")]
    pub cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short = 'c', long, value_name = "int")]
    pub cpu_shares: Option<i64>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short = 'm', long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub memory: Option<u64>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = memory_swap)]
    pub memory_swap: Option<i64>,
}

/// What a container can be limited to, from its beginning and later.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ContainerLimits {
    /// What every program can be.
    #[command(flatten)]
    pub usual: Limits,
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16")]
    pub blkio_weight: Option<u16>,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_name = "int")]
    pub cpu_rt_period: Option<i64>,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_name = "int")]
    pub cpu_rt_runtime: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = opts::number::cpus)]
    pub cpus: Option<NanoCpus>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub memory_reservation: Option<u64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int")]
    pub pids_limit: Option<i64>,
}

impl Limits {
    /// As the engine takes them.
    pub fn resources(&self) -> Resources {
        Resources {
            cpu_period: self.cpu_period.unwrap_or(0),
            cpu_quota: self.cpu_quota.unwrap_or(0),
            cpu_shares: self.cpu_shares.unwrap_or(0),
            cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
            memory: self.memory.map_or(0, signed),
            memory_swap: self.memory_swap.unwrap_or(0),
            ..Resources::default()
        }
    }

    /// Whether the person gave any of them, be it 0.
    fn is_any_given(&self) -> bool {
        let Self { cpu_period, cpu_quota, cpu_shares, cpuset_cpus, cpuset_mems, memory, memory_swap } = self;
        [cpu_period, cpu_quota, cpu_shares, memory_swap].iter().any(|number| number.is_some())
            || [cpuset_cpus, cpuset_mems].iter().any(|text| text.is_some())
            || memory.is_some()
    }
}

impl ContainerLimits {
    /// As the engine takes them.
    pub fn resources(&self) -> Resources {
        Resources {
            blkio_weight: self.blkio_weight.unwrap_or(0),
            cpu_realtime_period: self.cpu_rt_period.unwrap_or(0),
            cpu_realtime_runtime: self.cpu_rt_runtime.unwrap_or(0),
            memory_reservation: self.memory_reservation.map_or(0, signed),
            nano_cpus: self.cpus.map_or(0, |cpus| cpus.0),
            pids_limit: self.pids_limit,
            ..self.usual.resources()
        }
    }

    /// Whether the person gave any of them, be it 0.
    pub fn is_any_given(&self) -> bool {
        let Self { usual, blkio_weight, cpu_rt_period, cpu_rt_runtime, cpus, memory_reservation, pids_limit } = self;
        [cpu_rt_period, cpu_rt_runtime, pids_limit].iter().any(|number| number.is_some())
            || usual.is_any_given()
            || blkio_weight.is_some()
            || cpus.is_some()
            || memory_reservation.is_some()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// `--memory-swap`: bytes, or -1 for no limit.
fn memory_swap(text: &str) -> opts::Result<i64> {
    Ok(opts::size::bytes_or_unlimited(text)?.map_or(-1, signed))
}
