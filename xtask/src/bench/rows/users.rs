//! `run --userns auto` beside a run without it, on an image of more than a gigabyte.

use crate::bench::Bench;
use crate::bench::measure::{Entry, interleaved};
use crate::bench::report::{Cost, Table};
use crate::shell::Done;

pub(super) fn measure(bench: &Bench) -> Done<Table> {
    let ours = bench.engines.first().ok_or("no engine")?;
    let arena = &bench.arena;
    arena.setup(&ours.pull("golang"))?;
    let plain = ours.run_true("golang");
    let mapped = plain.replacen(" run --rm ", " run --rm --userns auto ", 1);
    let used = format!("du -sm {} | cut -f1", arena.store("strata").display());
    let used_mb = || -> Done<i64> { arena.setup(&used)?.trim().parse().map_err(|_| "du says no number".to_owned()) };
    // The first of either kind mounts the layers.
    arena.setup(&plain)?;
    let before = used_mb()?;
    arena.setup(&mapped)?;
    let grown = used_mb()? - before;
    let entries = [Entry::new("with --userns auto", mapped), Entry::new("without", plain)];
    let timings = interleaved(arena, bench.rounds(2, 20), &entries)?;
    let note = format!(
        "The image that is pulled above: `run --rm --network none true` with the container's users mapped to others, and \
         without. The first run with mapped users made the store grow by {grown} MB."
    );
    let targets = vec![timings.target(Cost::Wall, 1.2, &["without"]), timings.target(Cost::Cpu, 1.2, &["without"])];
    Ok(Table { title: "Run with a user namespace", note, body: timings.markdown(), targets })
}
