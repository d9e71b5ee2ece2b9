//! Interleaved timing of several commands.

use std::time::Instant;

use crate::bench::arena::Arena;
use crate::shell::Done;

/// One contender: what is timed, and what is done before and after without being timed.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) before: String,
    pub(crate) timed: String,
    pub(crate) after: String,
}

impl Entry {
    pub(crate) fn new(name: &str, timed: impl Into<String>) -> Self {
        Self { name: name.to_owned(), before: String::new(), timed: timed.into(), after: String::new() }
    }

    pub(crate) fn before(mut self, script: impl Into<String>) -> Self {
        self.before = script.into();
        self
    }

    pub(crate) fn after(mut self, script: impl Into<String>) -> Self {
        self.after = script.into();
        self
    }
}

/// What one contender needed, run by run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) wall_s: Vec<f64>,
    pub(crate) cpu_s: Vec<f64>,
}

/// A measured row of the benchmark page.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) note: String,
    pub(crate) series: Vec<Series>,
}

/// Runs every contender once to warm up and then `runs` times in turn.
pub(crate) fn interleaved(arena: &Arena, runs: usize, entries: &[Entry]) -> Done<Vec<Series>> {
    let mut series: Vec<Series> =
        entries.iter().map(|entry| Series { name: entry.name.clone(), ..Series::default() }).collect();
    for round in 0..=runs {
        for (entry, series) in entries.iter().zip(&mut series) {
            if !entry.before.is_empty() {
                arena.setup(&entry.before).map_err(|why| format!("before {}: {why}", entry.name))?;
                rustix::fs::sync();
            }
            let mut command = arena.charged(&entry.timed);
            let (cpu, start) = (arena.cpu_s(), Instant::now());
            let output = command.output().map_err(|error| format!("cannot run {}: {error}", entry.name))?;
            let (wall_s, cpu_s) = (start.elapsed().as_secs_f64(), arena.cpu_s() - cpu);
            if !output.status.success() {
                return Err(format!("{}: {}", entry.name, String::from_utf8_lossy(&output.stderr)));
            }
            if !entry.after.is_empty() {
                arena.setup(&entry.after).map_err(|why| format!("after {}: {why}", entry.name))?;
            }
            if round > 0 {
                series.wall_s.push(wall_s);
                series.cpu_s.push(cpu_s);
            }
        }
    }
    Ok(series)
}

/// The middle value; NaN for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The middle of the ratios run by run.
pub(crate) fn ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(a, b)| a / b).collect();
    median(&ratios)
}
