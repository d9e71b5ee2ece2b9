//! What a running detached container costs in memory besides its own program.

use std::time::Duration;

use crate::bench::Bench;
use crate::bench::arena::{Arena, REGISTRY};
use crate::bench::engine::Engine;
use crate::bench::report::{Table, Target};
use crate::shell::Done;

/// Enough that what all share is spread thin, few enough to start quickly.
const CONTAINERS: usize = 10;
/// A container that nothing has happened to for so long is idle.
const IDLE: Duration = Duration::from_secs(3);
/// What runs here without belonging to an engine, and the containers' own program.
const NOT_COUNTED: &[&str] = &["sleep", "sh", "sed", "tr", "cat", "docker-registry"];

struct Cost {
    standing_mb: f64,
    first_mb: f64,
    each_mb: f64,
}

pub(super) fn measure(bench: &Bench) -> Done<Table> {
    let mut body = "| | first container | each of ten | without containers |\n|---|---|---|---|\n".to_owned();
    let mut ours = None;
    for engine in bench.docker_like() {
        let Cost { standing_mb, first_mb, each_mb } = of(bench, engine)?;
        ours.get_or_insert((first_mb, each_mb));
        body.push_str(&format!("| {} | {first_mb:.2} MB | {each_mb:.2} MB | {standing_mb:.1} MB |\n", engine.name));
    }
    let targets = vec![
        Target { what: "MB for a single container".to_owned(), at_most: 1.0, measured: ours.map(|ours| ours.0) },
        Target { what: "MB for each of ten".to_owned(), at_most: 1.0, measured: ours.map(|ours| ours.1) },
    ];
    let note = "Proportional set size (PSS) of everything but the containers' own programs, `sleep`: the growth with the first \
                detached container, idle for three seconds, the growth with ten divided by ten, and what stands without any (daemons).";
    Ok(Table { title: "Memory of an idle container", note: note.to_owned(), body, targets })
}

fn of(bench: &Bench, engine: &Engine) -> Done<Cost> {
    let (arena, command) = (&bench.arena, &engine.command);
    arena.setup(&engine.pull("debian"))?;
    let before = processes(arena)?;
    let start = |number: usize| {
        let run = format!("run -d --name idle{number} --network none {REGISTRY}/debian:latest sleep 86400");
        arena.setup(&format!("{command} {run}"))
    };
    start(0)?;
    strata_sys::clock::pause(IDLE);
    let with_one = processes(arena)?;
    (1..CONTAINERS).try_for_each(|number| start(number).map(drop))?;
    strata_sys::clock::pause(IDLE);
    let with_all = processes(arena)?;
    arena.setup(&format!("{command} rm -f $(seq -f 'idle%g' 0 {})", CONTAINERS - 1))?;
    let total = |of: &[Process]| of.iter().map(|process| process.pss_kb).sum::<f64>();
    let of_engine = |process: &&Process| process.words.contains(&format!("bench-{}", engine.name));
    Ok(Cost {
        standing_mb: before.iter().filter(of_engine).fold(0.0, |sum, process| sum + process.pss_kb) / 1e3,
        first_mb: (total(&with_one) - total(&before)) / 1e3,
        each_mb: (total(&with_all) - total(&before)) / 1e3 / CONTAINERS as f64,
    })
}

struct Process {
    words: String,
    pss_kb: f64,
}

/// The arena's processes with their proportional set size (proc_pid_smaps_rollup in proc(5)).
fn processes(arena: &Arena) -> Done<Vec<Process>> {
    let script = "for p in /proc/[0-9]*; do c=$(cat $p/comm 2>/dev/null) || continue; \
                  k=$(sed -n 's/^Pss: *\\([0-9]*\\) kB/\\1/p' $p/smaps_rollup 2>/dev/null); \
                  echo \"$c\t${k:-0}\t$(tr '\\0\\n' '  ' <$p/cmdline 2>/dev/null)\"; done";
    let listing = arena.setup(script)?;
    let process = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let (name, kb, words) = (fields.next()?, fields.next()?, fields.next()?);
        (!NOT_COUNTED.contains(&name)).then(|| Process { words: words.to_owned(), pss_kb: kb.parse().unwrap_or(0.0) })
    };
    Ok(listing.lines().filter_map(process).collect())
}
