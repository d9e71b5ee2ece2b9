//! The benchmark page.

use crate::bench::Bench;
use crate::bench::measure::{Series, Timings, median, processors, ratio};

/// A measured row of the page.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) note: String,
    /// Markdown.
    pub(crate) body: String,
    pub(crate) targets: Vec<Target>,
}

/// What a row is to reach, and what it reached.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) what: String,
    pub(crate) at_most: f64,
    /// None if what it is compared with is not installed.
    pub(crate) measured: Option<f64>,
}

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cost {
    Wall,
    Cpu,
}

impl Cost {
    fn of(self, series: &Series) -> &[f64] {
        match self {
            Self::Wall => &series.wall_s,
            Self::Cpu => &series.cpu_s,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Wall => "wall",
            Self::Cpu => "CPU",
        }
    }
}

impl Timings {
    /// Ours divided by the best of those named.
    pub(crate) fn target(&self, cost: Cost, at_most: f64, peers: &[&str]) -> Target {
        let peers: Vec<&Series> = self.series.iter().filter(|series| peers.contains(&series.name.as_str())).collect();
        let best = peers.into_iter().min_by(|a, b| median(cost.of(a)).total_cmp(&median(cost.of(b))));
        let name = best.map_or("a peer that is not here", |best| &best.name);
        let measured = best.zip(self.series.first()).map(|(best, ours)| ratio(cost.of(ours), cost.of(best)));
        Target { what: format!("{} ÷ that of {name}", cost.name()), at_most, measured }
    }

    /// The table of all contenders.
    pub(crate) fn markdown(&self) -> String {
        let Some(ours) = self.series.first() else { return String::new() };
        let mut text = format!("Median of {} (smallest – largest).", ours.wall_s.len());
        text.push_str(&format!(" Other work had {:.0} % of the machine meanwhile.", self.others * 100.0));
        for name in &self.failed {
            text.push_str(&format!(" {name} failed and is left out."));
        }
        text.push_str("\n\n| | wall | CPU | ours ÷ it, wall | ours ÷ it, CPU |\n|---|---|---|---|---|\n");
        for series in &self.series {
            text.push_str(&format!(
                "| {} | {} ({} – {}) | {} | {:.2} | {:.2} |\n",
                series.name,
                time(median(&series.wall_s)),
                time(series.wall_s.iter().copied().fold(f64::INFINITY, f64::min)),
                time(series.wall_s.iter().copied().fold(0.0, f64::max)),
                time(median(&series.cpu_s)),
                ratio(&ours.wall_s, &series.wall_s),
                ratio(&ours.cpu_s, &series.cpu_s),
            ));
        }
        text
    }
}

/// One row as Markdown.
pub(crate) fn table(table: &Table) -> String {
    format!("## {}\n\n{}\n\n{}", table.title, table.note, table.body)
}

/// What was to be reached.
pub(crate) fn targets(tables: &[Table]) -> String {
    let mut text = "| target | at most | measured | |\n|---|---|---|---|\n".to_owned();
    for (table, target) in tables.iter().flat_map(|table| table.targets.iter().map(move |target| (table, target))) {
        let (measured, verdict) = match target.measured {
            Some(measured) if measured <= target.at_most => (format!("{measured:.2}"), "reached"),
            Some(measured) => (format!("{measured:.2}"), "**missed**"),
            None => ("–".to_owned(), "not measured"),
        };
        text.push_str(&format!("| {}: {} | {} | {measured} | {verdict} |\n", table.title, target.what, target.at_most));
    }
    text
}

/// The whole page; what could not be measured is named, with the reason.
pub(crate) fn page(tables: &[Table], failed: &[String], bench: &Bench) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions: Vec<String> =
        bench.engines.iter().map(|engine| format!("{} ({})", engine.name, engine.version)).collect();
    let mut rows: Vec<String> = tables.iter().map(table).collect();
    if !failed.is_empty() {
        rows.push(format!("## Not measured\n\n- {}", failed.join("\n- ")));
    }
    format!(
        "# Benchmarks\n\n\
         Written by one call of `cargo xtask bench`; do not edit. Commands take turns, each begun by a shell that \
         waits in its namespaces and control groups already. CPU is that of a control group with the command, its daemons and \
         its containers (the registry is outside), stores lie on a fresh ext4 on a loop device {}. Ratios \
         are the median of those of each round: below 1 means that strata needs less. Each table says how much other work \
         the machine had: wall times of a few milliseconds mean little on a busy one, processor time does.\n\n\
         - Machine: Linux {}, {} processors\n- Engines: {}\n\n## Targets\n\n{}\n{}\n",
        if bench.arena.is_direct { "that writes past the cache, as a disk does" } else { "whose file is cached" },
        kernel.trim(),
        processors(),
        versions.join("; "),
        targets(tables),
        rows.join("\n").trim_end()
    )
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_measured_against_the_best_of_its_peers() {
        let series =
            |name: &str, wall: f64| Series { name: name.to_owned(), wall_s: vec![wall; 3], cpu_s: vec![1.0; 3] };
        let timings =
            Timings { series: vec![series("strata", 1.0), series("a", 4.0), series("b", 5.0)], ..Timings::default() };
        let check = |peers: &[&str], expected: Option<f64>| {
            assert_eq!(timings.target(Cost::Wall, 0.3, peers).measured, expected);
        };
        check(&["a", "b"], Some(0.25));
        check(&["b"], Some(0.2));
        check(&["c"], None);
    }
}
