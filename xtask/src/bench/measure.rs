//! Interleaved timing of several commands.

use std::time::{Duration, Instant};

use crate::bench::arena::Arena;
use crate::shell::Done;

/// How long the kernel may take to take a network namespace down: several grace periods.
const NAMESPACE_GONE: Duration = Duration::from_millis(250);

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

/// What all contenders of a row needed; ours is the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timings {
    pub(crate) series: Vec<Series>,
    /// Those that failed, with what they said.
    pub(crate) failed: Vec<String>,
    /// Which part of the machine's processors other work had, the registry's included, while commands ran.
    pub(crate) others: f64,
}

/// How often everything is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounds {
    /// Rounds that do not count.
    pub(crate) warm_up: usize,
    pub(crate) measured: usize,
}

/// Lets the contenders take turns. One that fails is out; if it is ours, that is an error.
pub(crate) fn interleaved(arena: &Arena, rounds: Rounds, entries: &[Entry]) -> Done<Timings> {
    let mut timings = Timings::default();
    let mut running: Vec<(&Entry, Series)> =
        entries.iter().map(|entry| (entry, Series { name: entry.name.clone(), ..Series::default() })).collect();
    let (mut wall_s, mut others_s) = (0.0, 0.0);
    for round in 0..rounds.warm_up + rounds.measured {
        let mut still_running = Vec::new();
        for (at, (entry, mut series)) in running.into_iter().enumerate() {
            match once(arena, entry) {
                Ok(took) => {
                    if round >= rounds.warm_up {
                        series.wall_s.push(took.wall_s);
                        series.cpu_s.push(took.cpu_s);
                        wall_s += took.wall_s;
                        others_s += (took.machine_s - took.cpu_s).max(0.0);
                    }
                    still_running.push((entry, series));
                }
                Err(why) if at == 0 => return Err(why),
                Err(why) => {
                    eprintln!("{} is left out: {why}", entry.name);
                    timings.failed.push(entry.name.clone());
                }
            }
        }
        running = still_running;
    }
    timings.series = running.into_iter().map(|(_, series)| series).collect();
    timings.others = others_s / wall_s / processors() as f64;
    Ok(timings)
}

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    machine_s: f64,
}

/// Measures one run, after the machine has come to rest.
pub(crate) fn once(arena: &Arena, entry: &Entry) -> Done<Took> {
    if !entry.before.is_empty() {
        arena.setup(&entry.before).map_err(|why| format!("before {}: {why}", entry.name))?;
    }
    // What others have left to be written is not to be waited for by who syncs.
    arena.setup(&format!("sync -f {}", arena.store("").display()))?;
    arena.wait_until_still();
    // Nor is what the kernel still does for the one before: it takes a network namespace down behind its last process, and
    // whoever makes one meanwhile may have to wait for it.
    strata_sys::clock::pause(NAMESPACE_GONE);
    let command = arena.stand_by(&entry.timed)?;
    let (cpu, machine, start) = (arena.cpu_s(), machine_s(), Instant::now());
    // Its output ends with the command, and the end of its input is the line it waits for.
    let output = command.wait_with_output().map_err(|error| format!("cannot run {}: {error}", entry.name))?;
    let (wall_s, cpu_s, machine_s) = (start.elapsed().as_secs_f64(), arena.cpu_s() - cpu, machine_s() - machine);
    if !output.status.success() {
        return Err(format!("{}: {}", entry.name, String::from_utf8_lossy(&output.stderr)));
    }
    if !entry.after.is_empty() {
        arena.setup(&entry.after).map_err(|why| format!("after {}: {why}", entry.name))?;
    }
    Ok(Took { wall_s, cpu_s, machine_s })
}

/// What the whole machine's processors have worked, and what its host took from them, in seconds (proc(5)).
fn machine_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> =
        stat.lines().next().unwrap_or("").split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal
    let busy: f64 =
        ticks.iter().take(8).enumerate().filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum();
    busy / rustix::param::clock_ticks_per_second() as f64
}

/// How many processors there are.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_that_of_the_sorted_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_taken_run_by_run() {
        // One slow moment of the machine slows both of a round.
        assert_eq!(ratio(&[1.0, 10.0, 1.0], &[2.0, 20.0, 2.0]), 0.5);
    }
}
