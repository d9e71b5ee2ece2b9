//! Images into archives and back.

use crate::bench::Bench;
use crate::bench::arena::REGISTRY;
use crate::bench::engine::Engine;
use crate::bench::measure::{Entry, interleaved};
use crate::bench::report::{Cost, Table};
use crate::shell::Done;

const PEERS: &[&str] = &["docker", "podman"];

pub(super) fn save(bench: &Bench) -> Done<Table> {
    let mut entries = Vec::new();
    for engine in bench.docker_like() {
        bench.arena.setup(&engine.pull("tomcat"))?;
        let file = archive(bench, engine);
        entries.push(Entry::new(engine.name, save_to(engine, &file)).before(format!("rm -f {file}")));
    }
    let timings = interleaved(&bench.arena, bench.rounds(1, 3), &entries)?;
    let targets = vec![timings.target(Cost::Wall, 0.3, PEERS), timings.target(Cost::Cpu, 0.3, PEERS)];
    let bytes = bench.arena.setup(&format!("stat -c %s {}", archive(bench, &bench.engines[0])))?;
    let bytes: f64 = bytes.trim().parse().map_err(|_| format!("no size: {bytes}"))?;
    let note = format!("A tomcat image of three layers into an archive of {:.0} MB.", bytes / 1e6);
    Ok(Table { title: "Save", note, body: timings.markdown(), targets })
}

pub(super) fn load(bench: &Bench) -> Done<Table> {
    let mut entries = Vec::new();
    for engine in bench.docker_like() {
        let file = archive(bench, engine);
        bench.arena.setup(&format!(
            "[ -f {file} ] || {{ {} && {}; }}",
            engine.pull("tomcat"),
            save_to(engine, &file)
        ))?;
        let load = format!("{} load -q -i {file}", engine.command);
        entries.push(Entry::new(engine.name, load).before(engine.forget_images()));
    }
    let timings = interleaved(&bench.arena, bench.rounds(0, 3), &entries)?;
    let targets = vec![timings.target(Cost::Wall, 0.3, PEERS), timings.target(Cost::Cpu, 0.3, PEERS)];
    let note = "The archive that each engine wrote itself, into a store without images.".to_owned();
    Ok(Table { title: "Load", note, body: timings.markdown(), targets })
}

fn save_to(engine: &Engine, file: &str) -> String {
    format!("{} save -o {file} {REGISTRY}/tomcat:latest", engine.command)
}

fn archive(bench: &Bench, engine: &Engine) -> String {
    bench.arena.store(&format!("{}.tar", engine.name)).display().to_string()
}
