//! `strata update`: update configuration of one or more containers.

use strata_engine::container::{LimitsChange, Resources};

use crate::container::request;
use crate::operands;
use crate::opts;
use crate::opts::number::NanoCpus;
use crate::verb::prelude::*;

/// What `strata update` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)
    #[arg(long, value_name = "uint16")]
    pub blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    pub cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int")]
    pub cpu_quota: Option<i64>,
    /// Limit the CPU real-time period in microseconds
    #[arg(long, value_name = "int")]
    pub cpu_rt_period: Option<i64>,
    /// Limit the CPU real-time runtime in microseconds
    #[arg(long, value_name = "int")]
    pub cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short = 'c', long, value_name = "int")]
    pub cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal", value_parser = opts::number::cpus)]
    pub cpus: Option<NanoCpus>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long)]
    pub cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short = 'm', long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub memory: Option<u64>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub memory_reservation: Option<u64>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", value_parser = memory_swap)]
    pub memory_swap: Option<i64>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int")]
    pub pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long)]
    pub restart: Option<String>,
    /// The containers
    #[arg(required = true)]
    pub containers: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Update configuration of one or more containers";
    const USAGE: &str = "[OPTIONS] CONTAINER [CONTAINER...]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let restart_policy = self.restart.as_deref().map(request::restart_policy).transpose()?;
        let change = LimitsChange { resources: self.resources(), restart_policy };
        if change == LimitsChange::default() {
            return Err(Failure::new("you must provide one or more flags when using this command"));
        }
        let engine = session.engine()?;
        operands::each(session, &self.containers, |session, name| {
            let known = engine.container(name)?;
            let warnings = engine.update_container(&known, &change).map_err(|error| {
                let why = Failure::from(error).message().unwrap_or_default();
                Failure::new(format!("Cannot update container {}: {why}", known.id()))
            })?;
            for warning in warnings {
                writeln!(session.err, "WARNING: {warning}")?;
            }
            Ok(writeln!(session.out, "{name}")?)
        })
    }
}

impl Args {
    fn resources(&self) -> Resources {
        let bytes = |size: Option<u64>| size.map_or(0, |size| i64::try_from(size).unwrap_or(i64::MAX));
        Resources {
            blkio_weight: self.blkio_weight.unwrap_or(0),
            cpu_period: self.cpu_period.unwrap_or(0),
            cpu_quota: self.cpu_quota.unwrap_or(0),
            cpu_realtime_period: self.cpu_rt_period.unwrap_or(0),
            cpu_realtime_runtime: self.cpu_rt_runtime.unwrap_or(0),
            cpu_shares: self.cpu_shares.unwrap_or(0),
            nano_cpus: self.cpus.map_or(0, |cpus| cpus.0),
            cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
            cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
            memory: bytes(self.memory),
            memory_reservation: bytes(self.memory_reservation),
            memory_swap: self.memory_swap.unwrap_or(0),
            pids_limit: self.pids_limit,
            ..Resources::default()
        }
    }
}

fn memory_swap(text: &str) -> opts::Result<i64> {
    let size = opts::size::bytes_or_unlimited(text)?;
    Ok(size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)))
}
