//! Commits of little and of much.

use crate::bench::Bench;
use crate::bench::arena::REGISTRY;
use crate::bench::measure::{Entry, Rounds, Timings, interleaved};
use crate::bench::report::{Cost, Table};
use crate::shell::Done;

pub(super) fn small(bench: &Bench) -> Done<Table> {
    let timings = commit(bench, bench.rounds(1, 10), "echo changed > /etc/motd")?;
    let targets = vec![timings.target(Cost::Wall, 0.25, &["docker"])];
    let note = "A container in which one small file was changed.".to_owned();
    Ok(Table { title: "Commit, one changed file", note, body: timings.markdown(), targets })
}

pub(super) fn big(bench: &Bench) -> Done<Table> {
    // 20,000 files of 1 to 49 KiB, slices of one block of random bytes: they do not compress to nothing.
    let script = "mkdir /big; head -c 1100000 /dev/urandom > /r; perl -e 'open R,q(</r); read R,$r,1100000; \
                  for $d (0..199){mkdir qq(/big/$d); for $f (0..99){ $n=$d*100+$f; open F,qq(>/big/$d/$f); \
                  print F $n, substr($r, ($n*53)%1000000, 1024+(($n*7919)%49)*1024); close F }}'; rm /r";
    let timings = commit(bench, bench.rounds(0, 3), script)?;
    let targets = vec![timings.target(Cost::Wall, 0.2, &["docker"]), timings.target(Cost::Cpu, 0.2, &["docker"])];
    let note = "A container in which 20,000 files with 513 MB were written.".to_owned();
    Ok(Table { title: "Commit, 20,000 files", note, body: timings.markdown(), targets })
}

/// What a checkpoint costs: ours of a container that runs, theirs the nearest thing they have.
pub(super) fn snapshot(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let script = arena.dir().join("hundred.sh");
    let change =
        "mkdir /c; i=0; while [ $i -lt 100 ]; do head -c 5000 /dev/urandom > /c/$i; i=$((i+1)); done; sleep 100000";
    std::fs::write(&script, change).map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let mut entries = Vec::new();
    for engine in bench.docker_like() {
        let command = &engine.command;
        arena.setup(&engine.pull("debian"))?;
        arena.setup(&format!(
            "{command} rm -f bench >/dev/null 2>&1; {command} run -d --name bench --network none -v {}:/change.sh:ro \
             {REGISTRY}/debian sh /change.sh",
            script.display()
        ))?;
        arena.wait_for(&format!("{command} exec bench test -s /c/99"))?;
        entries.push(if engine.name == "strata" {
            Entry::new(engine.name, format!("{command} snapshot bench now"))
                .after(format!("{command} snapshot rm bench:now"))
        } else {
            let commit = format!("{command} commit bench bench-image");
            Entry::new(engine.name, commit).after(format!("{command} rmi -f bench-image"))
        });
    }
    arena.setup(&format!("sync -f {}", arena.store("").display()))?;
    let timings = interleaved(arena, bench.rounds(1, 10), &entries)?;
    for engine in bench.docker_like() {
        arena.setup(&format!("{} rm -f bench", engine.command))?;
    }
    let targets = vec![timings.target(Cost::Wall, 0.2, &["docker"])];
    let note = "A running container in which 100 files were changed; the others have only `commit`.".to_owned();
    Ok(Table { title: "Snapshot of a running container, 100 changed files", note, body: timings.markdown(), targets })
}

/// Ten containers forked from a snapshot of one that runs, beside the start of one.
pub(super) fn forks(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let command = &bench.engines.first().ok_or("no engine")?.command;
    arena.setup(&bench.engines.first().ok_or("no engine")?.pull("debian"))?;
    // The files are not made by the container's own program: a fork starts that anew, and the one beside it must do the same.
    let change = "mkdir /c; i=0; while [ $i -lt 100 ]; do head -c 5000 /dev/urandom > /c/$i; i=$((i+1)); done";
    arena.setup(&format!(
        "{command} rm -f origin one >/dev/null 2>&1; {command} run -d --name origin --network none {REGISTRY}/debian \
         sleep 100000 && {command} create --name one --network none {REGISTRY}/debian sleep 100000"
    ))?;
    arena.setup(&format!("{command} exec origin sh -c '{change}' && {command} snapshot origin now"))?;
    let names: Vec<String> = (0..10).map(|number| format!("fork{number}")).collect();
    let names = names.join(" ");
    let entries = [
        Entry::new("fork of ten", format!("{command} fork origin:now {names}"))
            .after(format!("{command} rm -f {names}")),
        Entry::new("start of one", format!("{command} start one")).after(format!("{command} kill one")),
    ];
    let timings = interleaved(arena, bench.rounds(1, 10), &entries)?;
    arena.setup(&format!("{command} rm -f origin one"))?;
    let targets = vec![timings.target(Cost::Wall, 10.0, &["start of one"])];
    let note =
        "Ten containers are made and started from a snapshot with 100 changed files; one that is there is started.";
    Ok(Table { title: "Forks", note: note.to_owned(), body: timings.markdown(), targets })
}

fn commit(bench: &Bench, rounds: Rounds, change: &str) -> Done<Timings> {
    let arena = &bench.arena;
    let script = arena.dir().join("change.sh");
    std::fs::write(&script, change).map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let mut entries = Vec::new();
    for engine in bench.docker_like() {
        let command = &engine.command;
        arena.setup(&engine.pull("debian"))?;
        arena.setup(&format!(
            "{command} rm -f bench >/dev/null 2>&1; {command} run -i --name bench --network none {REGISTRY}/debian sh < {}",
            script.display()
        ))?;
        let commit = format!("{command} commit bench bench-image");
        entries.push(Entry::new(engine.name, commit).after(format!("{command} rmi -f bench-image")));
    }
    let timings = interleaved(arena, rounds, &entries);
    for engine in bench.docker_like() {
        arena.setup(&format!("{} rm -f bench", engine.command))?;
    }
    timings
}
