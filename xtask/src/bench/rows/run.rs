//! `run --rm IMAGE true`, beside the least that others and the kernel ask for.

use crate::base;
use crate::bench::Bench;
use crate::bench::arena::Arena;
use crate::bench::measure::{Entry, interleaved};
use crate::bench::report::{Cost, Table};
use crate::shell::{Done, workspace};

pub(super) fn measure(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    for engine in &bench.engines {
        arena.setup(&engine.pull("debian"))?;
    }
    let mut entries: Vec<Entry> =
        bench.engines.iter().map(|engine| Entry::new(engine.name, engine.run_true("debian"))).collect();
    entries.extend(floors(arena)?);
    let timings = interleaved(arena, bench.rounds(2, 20), &entries)?;
    let note = "`run --rm --network none debian true`, warm. crun runs a ready bundle whose overlay is mounted for it; the floor \
                is a C program that makes the namespaces, the overlay and the mounts, executes and waits, without and with \
                four v1 control groups.";
    let targets = vec![
        timings.target(Cost::Wall, 0.6, &["crun"]),
        timings.target(Cost::Cpu, 0.5, &["crun"]),
        timings.target(Cost::Wall, 0.1, &["docker"]),
        timings.target(Cost::Cpu, 2.5, &["floor"]),
    ];
    Ok(Table { title: "Run `true`", note: note.to_owned(), body: timings.markdown(), targets })
}

/// crun with a prepared bundle, and the least the kernel asks for.
pub(super) fn floors(arena: &Arena) -> Done<Vec<Entry>> {
    let (dir, bundle) = (arena.dir().display(), arena.store("bundle").display().to_string());
    let source = workspace().join("xtask/bench/floor-run.c");
    arena.setup(&format!(
        "set -e; gcc -O2 -o {dir}/floor-run {}; mkdir -p {bundle}/lower {bundle}/rootfs {bundle}/u {bundle}/w; \
         tar -xf {} -C {bundle}/lower; cd {bundle}; rm -f config.json; crun spec; \
         sed -i 's/\"terminal\": true/\"terminal\": false/; s/\"readonly\": true/\"readonly\": false/; s/\"sh\"/\"true\"/' config.json",
        source.display(),
        base::debian()?.display()
    ))?;
    let overlay = format!(
        "mount -t overlay -o lowerdir={bundle}/lower,upperdir={bundle}/u,workdir={bundle}/w overlay {bundle}/rootfs"
    );
    let floor = format!("{dir}/floor-run -n");
    Ok(vec![
        Entry::new("crun", format!("{overlay} && cd {bundle} && crun run b; r=$?; umount {bundle}/rootfs; exit $r")),
        Entry::new("floor", format!("{floor} {bundle}/lower {bundle}/fl true")),
        Entry::new("floor with cgroups", format!("{floor} -c {bundle}/lower {bundle}/fl true")),
    ])
}
