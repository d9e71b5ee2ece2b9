//! `strata runtime update`: change what a container may use.

use std::io::Read as _;

use strata_types::runtime_spec::Resources;

use super::runtime;
use crate::opts::size;
use crate::verb::prelude::*;

/// What `strata runtime update` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File with the resources in JSON, "-" for standard input
    #[arg(short = 'r', long, value_name = "path")]
    pub resources: Option<String>,
    /// Relative weight of disk time, 10 to 1000
    #[arg(long)]
    pub blkio_weight: Option<u16>,
    /// Microseconds of CPU time in a period
    #[arg(long)]
    pub cpu_quota: Option<i64>,
    /// The period
    #[arg(long)]
    pub cpu_period: Option<u64>,
    /// Relative weight of CPU time
    #[arg(long)]
    pub cpu_share: Option<u64>,
    /// Which CPUs
    #[arg(long)]
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes
    #[arg(long)]
    pub cpuset_mems: Option<String>,
    /// Memory
    #[arg(long)]
    pub memory: Option<String>,
    /// Memory that is left to it under pressure
    #[arg(long)]
    pub memory_reservation: Option<String>,
    /// Memory and swap together, "-1" for no limit
    #[arg(long)]
    pub memory_swap: Option<String>,
    /// Processes at most
    #[arg(long)]
    pub pids_limit: Option<i64>,
    /// The container's id
    pub id: String,
}

impl Verb for Args {
    const ABOUT: &str = "Change what a container may use";
    const USAGE: &str = "[OPTIONS] ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let mut resources = match self.resources.as_deref() {
            Some("-") => {
                let mut text = Vec::new();
                std::io::stdin().read_to_end(&mut text)?;
                serde_json::from_slice(&text)?
            }
            Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
            None => Resources::default(),
        };
        self.change(&mut resources)?;
        runtime::open(session)?.update(&self.id, &resources)?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    fn change(&self, resources: &mut Resources) -> Result<()> {
        let set = |place: &mut Option<i64>, text: &Option<String>| -> Result<()> {
            if let Some(text) = text {
                *place = Some(bytes(text)?);
            }
            Ok(())
        };
        set(&mut resources.memory.limit, &self.memory)?;
        set(&mut resources.memory.reservation, &self.memory_reservation)?;
        set(&mut resources.memory.swap, &self.memory_swap)?;
        let cpu = &mut resources.cpu;
        cpu.quota = self.cpu_quota.or(cpu.quota);
        cpu.period = self.cpu_period.or(cpu.period);
        cpu.shares = self.cpu_share.or(cpu.shares);
        for (place, list) in [(&mut cpu.cpus, &self.cpuset_cpus), (&mut cpu.mems, &self.cpuset_mems)] {
            if let Some(list) = list {
                place.clone_from(list);
            }
        }
        resources.pids.limit = self.pids_limit.or(resources.pids.limit);
        resources.block_io.weight = self.blkio_weight.or(resources.block_io.weight);
        Ok(())
    }
}

/// `-1`, or a size.
fn bytes(text: &str) -> Result<i64> {
    Ok(size::bytes_or_unlimited(text)?.map_or(Ok(-1), i64::try_from)?)
}
