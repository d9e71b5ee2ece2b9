//! The benchmark page.

use std::path::Path;

use crate::bench::engine::Engine;
use crate::bench::measure::{Table, median, ratio};

/// One table as Markdown.
pub(crate) fn table(table: &Table) -> String {
    let timed = table.series.iter().any(|series| !series.cpu_s.is_empty());
    let mut text = format!("## {}\n\n{}\n\n", table.title, table.note);
    if !timed {
        text.push_str("| | MB |\n|---|---|\n");
        for series in &table.series {
            text.push_str(&format!("| {} | {:.2} |\n", series.name, median(&series.wall_s)));
        }
        return text + "\n";
    }
    let runs = table.series.first().map_or(0, |series| series.wall_s.len());
    text.push_str(&format!("Median of {runs} (smallest – largest).\n\n"));
    text.push_str("| | wall | CPU | ours ÷ it, wall | ours ÷ it, CPU |\n|---|---|---|---|---|\n");
    let Some(ours) = table.series.first() else { return text };
    for series in &table.series {
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
    text + "\n"
}

/// The whole page.
pub(crate) fn page(tables: &[Table], engines: &[Engine], program: &Path) -> String {
    let line = |command: &str, args: &[&str]| {
        let output = std::process::Command::new(command).args(args).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let versions: Vec<String> = engines.iter().map(|engine| format!("{} {}", engine.name, engine.version)).collect();
    let size = std::fs::metadata(program).map_or(0, |metadata| metadata.len());
    let mut text = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`; do not edit. Commands take turns, one round warms up, CPU is that of a control group \
         with the command, its daemons and containers (the registry is outside), stores lie on a fresh loop-mounted ext4. \
         Ratios are run by run: below 1 means that strata needs less.\n\n\
         - Machine: Linux {}, {} processors\n- Engines: {}\n- The release binary: {:.1} MB, static\n\n",
        line("uname", &["-r"]),
        std::thread::available_parallelism().map_or(0, usize::from),
        versions.join("; "),
        size as f64 / 1e6,
    );
    tables.iter().for_each(|one| text.push_str(&table(one)));
    text.trim_end().to_owned() + "\n"
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}
