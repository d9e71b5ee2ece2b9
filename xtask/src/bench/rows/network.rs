//! Containers on the default bridge with a published port: one run, and a hundred that stay.

use std::time::Duration;

use crate::bench::Bench;
use crate::bench::arena::{Arena, REGISTRY};
use crate::bench::measure::{Entry, interleaved, median};
use crate::bench::report::{Cost, Table, Target};
use crate::bench::rows::run::floors;
use crate::shell::Done;

/// So many containers at once.
const CONTAINERS: usize = 100;
/// So often they are started, because the machine's speed changes while one series lasts.
const SERIES: usize = 3;
/// A shim that nothing has happened to for so long has given memory back.
const IDLE: Duration = Duration::from_secs(3);

/// `run --rm -p PORT:80 IMAGE true`, beside others and the least that the kernel asks for without any network.
pub(super) fn measure(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let mut entries = Vec::new();
    for (number, engine) in bench.docker_like().enumerate() {
        arena.setup(&engine.pull("debian"))?;
        let (command, port) = (&engine.command, 18080 + number);
        entries.push(Entry::new(engine.name, format!("{command} run --rm -p {port}:80 {REGISTRY}/debian:latest true")));
    }
    entries.extend(floors(arena)?.into_iter().filter(|entry| entry.name != "crun"));
    let timings = interleaved(arena, bench.rounds(2, 20), &entries)?;
    let note = "`run --rm -p PORT:80 debian true` on the default bridge, warm. The floor has a network namespace of its own, but \
                nothing in it: no bridge, no pair of interfaces, no rules. Docker is told to make no rules either, its ports are \
                published by a process each.";
    let targets = vec![timings.target(Cost::Cpu, 2.5, &["floor"]), timings.target(Cost::Wall, 0.1, &["docker"])];
    Ok(Table { title: "Run with a published port", note: note.to_owned(), body: timings.markdown(), targets })
}

/// A hundred containers, one after the other, several times: what each costs to start, and how much memory it has when it is
/// idle.
pub(super) fn hundred(bench: &Bench) -> Done<Table> {
    let (arena, ours) = (&bench.arena, bench.engines.first().ok_or("no engine")?);
    arena.setup(&ours.pull("debian"))?;
    let series = (0..bench.rounds(0, SERIES).measured).map(|_| one_hundred(arena, &ours.command));
    let series = series.collect::<Done<Vec<Hundred>>>()?;
    let middle = |of: fn(&Hundred) -> f64| median(&series.iter().map(of).collect::<Vec<f64>>());
    let (first, all, last) = (middle(|one| one.first_ms), middle(|one| median(&one.cpu_ms)), middle(|one| one.last_ms));
    let (each_mb, idle_ms) = (middle(|one| one.each_mb), middle(|one| one.idle_ms));
    let mut body = "| | first ten | all | last ten |\n|---|---|---|---|\n".to_owned();
    body.push_str(&format!("| CPU of `run -d -p` and its shim | {first:.1} ms | {all:.1} ms | {last:.1} ms |\n\n"));
    body.push_str(&format!(
        "A shim has {each_mb:.2} MB (PSS); all of them together used {idle_ms:.1} ms of the processor in three seconds. \
         Last ten ÷ first ten, series by series: {}.\n",
        series.iter().map(|one| format!("{:.2}", one.trend())).collect::<Vec<String>>().join(", ")
    ));
    let trend = Some(middle(Hundred::trend));
    let targets = vec![
        Target { what: "CPU of the last ten ÷ the first ten".to_owned(), at_most: 1.15, measured: trend },
        Target { what: "MB for each".to_owned(), at_most: 1.0, measured: Some(each_mb) },
    ];
    let note = "A hundred idle containers on the default bridge with a published port each, started one after the other; middle of \
                several such series."
        .to_owned();
    Ok(Table { title: "A hundred containers", note, body, targets })
}

/// What one series of containers needed.
#[derive(Clone, Debug)]
struct Hundred {
    /// Of each container's start, in order.
    cpu_ms: Vec<f64>,
    first_ms: f64,
    last_ms: f64,
    each_mb: f64,
    /// Of all shims together, in [`IDLE`].
    idle_ms: f64,
}

impl Hundred {
    fn trend(&self) -> f64 {
        self.last_ms / self.first_ms
    }
}

/// Starts a hundred containers, looks at them, and removes them.
fn one_hundred(arena: &Arena, command: &str) -> Done<Hundred> {
    let start = |number: usize| {
        let port = 20000 + number;
        let run = format!("run -d --name many{number} -p {port}:80 {REGISTRY}/debian:latest sleep 86400");
        arena.setup(&format!("{command} {run}")).map(drop)
    };
    // The first one makes what all share.
    start(CONTAINERS)?;
    let mut cpu_ms = Vec::new();
    for number in 0..CONTAINERS {
        let before = arena.cpu_s();
        start(number)?;
        cpu_ms.push((arena.cpu_s() - before) * 1e3);
    }
    strata_sys::clock::pause(IDLE);
    let each_mb = shims_kb(arena)? / 1e3 / (CONTAINERS + 1) as f64;
    let before = arena.cpu_s();
    strata_sys::clock::pause(IDLE);
    let idle_ms = (arena.cpu_s() - before) * 1e3;
    arena.setup(&format!("{command} rm -f $(seq -f 'many%g' 0 {CONTAINERS})"))?;
    let (first_ms, last_ms) = (median(&cpu_ms[..10]), median(&cpu_ms[CONTAINERS - 10..]));
    Ok(Hundred { cpu_ms, first_ms, last_ms, each_mb, idle_ms })
}

/// What all shims have together (proc_pid_smaps_rollup in proc(5)); one that has ended and waits to be reaped has nothing.
fn shims_kb(arena: &Arena) -> Done<f64> {
    let script = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm 2>/dev/null)\" != strata-shim ] || \
                  sed -n 's/^Pss: *\\([0-9]*\\) kB/\\1/p' $p/smaps_rollup 2>/dev/null; done; :";
    Ok(arena.setup(script)?.lines().filter_map(|line| line.parse::<f64>().ok()).sum())
}
