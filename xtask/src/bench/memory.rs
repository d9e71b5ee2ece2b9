//! What a running detached container costs in memory besides its own program.

use std::collections::BTreeMap;

use crate::bench::arena::{Arena, REGISTRY};
use crate::bench::engine::Engine;
use crate::bench::measure::{Series, Table};
use crate::shell::Done;

/// Enough that what all share is spread thin, few enough to start quickly.
const CONTAINERS: usize = 10;

/// Starts idle containers and divides the growth of all other processes' PSS by their number. Given in MB, as `wall`.
pub(crate) fn measure(arena: &Arena, engines: &[Engine]) -> Done<Table> {
    let mut series = Vec::new();
    for engine in engines.iter().filter(|engine| engine.name != "containerd") {
        let command = &engine.command;
        arena.setup(&engine.pull("debian"))?;
        let before = pss_kb(arena)?;
        for number in 0..CONTAINERS {
            let run = format!("run -d --name idle{number} --network none {REGISTRY}/debian:latest sleep 86400");
            arena.setup(&format!("{command} {run}"))?;
        }
        let after = pss_kb(arena)?;
        arena.setup(&format!("{command} rm -f $(seq -f 'idle%g' 0 {})", CONTAINERS - 1))?;
        let per_container_mb = (after - before) / CONTAINERS as f64 / 1e3;
        series.push(Series { name: engine.name.to_owned(), wall_s: vec![per_container_mb], cpu_s: vec![] });
    }
    let note = format!(
        "Growth of the proportional set size of everything but the containers' own programs with {CONTAINERS} idle containers, \
         in MB for each. Daemons that stand anyway are not counted."
    );
    Ok(Table { title: "Memory of an idle container".to_owned(), note, series })
}

/// The proportional set size of the arena's processes other than the containers' `sleep`, in kB.
fn pss_kb(arena: &Arena) -> Done<f64> {
    let script = "for p in /proc/[0-9]*; do c=$(cat $p/comm 2>/dev/null) || continue; \
                  k=$(sed -n 's/^Pss: *\\([0-9]*\\) kB/\\1/p' $p/smaps_rollup 2>/dev/null); echo \"$c ${k:-0}\"; done";
    let listing = arena.setup(script)?;
    let mut by_name: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, kb) in listing.lines().filter_map(|line| line.rsplit_once(' ')) {
        *by_name.entry(name).or_default() += kb.parse::<f64>().unwrap_or(0.0);
    }
    let own_tools = ["sleep", "sh", "sed", "cat", "docker-registry"];
    Ok(by_name.iter().filter(|(name, _)| !own_tools.contains(name)).map(|(_, kb)| kb).sum())
}
