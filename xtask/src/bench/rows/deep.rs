//! Deep images: how long a walk takes, and what a chain of commits costs.

use std::process::Command;

use strata_testkit::image::{Compression, Image};

use crate::base;
use crate::bench::Bench;
use crate::bench::arena::REGISTRY;
use crate::bench::measure::{Entry, Took, interleaved, median, once};
use crate::bench::report::{Cost, Table, Target};
use crate::shell::{Done, run};

/// How many layers the images have whose trees are walked.
const DEPTHS: [usize; 2] = [120, 14];
/// At which depths of the chain it is looked what the next steps cost.
const STATIONS: [usize; 4] = [20, 100, 500, 1000];
/// How many steps are looked at there.
const STEPS: usize = 10;

/// The same tree in 14 and in 120 layers, walked with empty caches.
pub(super) fn walk(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let mut entries = Vec::new();
    for engine in bench.docker_like().filter(|engine| ["strata", "docker"].contains(&engine.name)) {
        for depth in DEPTHS {
            let archive = arena.dir().join(format!("deep{depth}.tar"));
            if !archive.is_file() {
                split(bench, depth, &archive)?;
            }
            let command = &engine.command;
            arena.setup(&format!("{command} load -q -i {}", archive.display()))?;
            let walk = format!("{command} run --rm --network none deep:{depth} find / -xdev -ls >/dev/null");
            let name = format!("{}, {depth} layers", engine.name);
            entries.push(Entry::new(&name, walk).before("sync; echo 3 >/proc/sys/vm/drop_caches"));
        }
    }
    let timings = interleaved(arena, bench.rounds(1, 5), &entries)?;
    let targets = vec![timings.target(Cost::Wall, 1.5, &["strata, 14 layers"])];
    let note = "The Debian base, its files dealt out to so many layers: `run --rm --network none find / -xdev -ls` with empty caches."
        .to_owned();
    Ok(Table { title: "Cold walk of deep images", note, body: timings.markdown(), targets })
}

/// Makes an archive of the base whose files are dealt out to `depth` layers.
fn split(bench: &Bench, depth: usize, archive: &std::path::Path) -> Done {
    let dir = bench.arena.dir().join("split");
    let io = |error: std::io::Error| format!("cannot split the base: {error}");
    let _old = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(dir.join("root")).map_err(io)?;
    run(Command::new("tar").arg("-xf").arg(base::debian()?).arg("-C").arg(dir.join("root")))?;
    let listed = crate::shell::output(
        Command::new("find")
            .args([".", "-mindepth", "1", "(", "-type", "f", "-o", "-type", "l", "-o", "-type", "d", "-empty", ")"])
            .current_dir(dir.join("root")),
    )?;
    let names: Vec<&str> = listed.lines().collect();
    let mut image = Image::new();
    for part in 0..depth {
        let list = dir.join("list");
        let own: String = names.iter().skip(part).step_by(depth).map(|name| format!("{name}\n")).collect();
        std::fs::write(&list, own).map_err(io)?;
        let mut tar = Command::new("tar");
        tar.args(["--create", "--numeric-owner", "--no-recursion", "--file", "-", "--files-from"]).arg(&list);
        let made = tar.current_dir(dir.join("root")).output().map_err(io)?;
        if !made.status.success() {
            return Err(format!("tar failed: {}", String::from_utf8_lossy(&made.stderr)));
        }
        image = image.layer(made.stdout, Compression::Plain);
    }
    std::fs::write(archive, image.docker_archive(&format!("deep:{depth}"))).map_err(io)?;
    std::fs::remove_dir_all(&dir).map_err(io)
}

/// What the last steps to a depth took: `run`, and `commit` with `rm`.
struct Station {
    runs: Vec<Took>,
    commits: Vec<Took>,
}

/// A thousand commits, each on top of the one before.
pub(super) fn chain(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let store = arena.store("chain");
    let strata = format!("{} --root {}", bench.program.display(), store.display());
    arena.setup(&format!("{strata} pull -q {REGISTRY}/debian && {strata} tag {REGISTRY}/debian chain"))?;
    let change = |number: usize| {
        format!(
            "{strata} run --name bench-c --network none chain sh -c 'echo {number} >/root/{number}; echo {number} >/etc/motd'"
        )
    };
    let commit = format!("{strata} commit bench-c chain && {strata} rm bench-c");
    let (mut depth, mut stations) = (1, Vec::new());
    for station in STATIONS {
        let quick = station - STEPS - depth;
        arena.setup(&format!(
            "set -e; for i in $(seq {quick}); do {strata} run --name bench-c --network none chain sh -c \"echo $i >/root/{station}-$i; echo $i >/etc/motd\"; \
             {commit}; done >/dev/null"
        ))?;
        let (mut runs, mut commits) = (Vec::new(), Vec::new());
        for step in 0..STEPS {
            runs.push(once(arena, &Entry::new("run", change(station + step)))?);
            commits.push(once(arena, &Entry::new("commit", &*commit))?);
        }
        depth = station;
        stations.push(Station { runs, commits });
    }
    arena.setup(&format!("rm -rf {}", store.display()))?;
    let of = |tooks: &[Took], cost: fn(&Took) -> f64| median(&tooks.iter().map(cost).collect::<Vec<_>>());
    let mut body = String::from(
        "| layers | run, wall | run, CPU | commit and rm, wall | commit and rm, CPU |\n|---|---|---|---|---|\n",
    );
    for (station, Station { runs, commits }) in STATIONS.iter().zip(&stations) {
        let ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
        body.push_str(&format!(
            "| {station} | {} | {} | {} | {} |\n",
            ms(of(runs, |took| took.wall_s)),
            ms(of(runs, |took| took.cpu_s)),
            ms(of(commits, |took| took.wall_s)),
            ms(of(commits, |took| took.cpu_s))
        ));
    }
    let growth = |what: &str, pick: fn(&Station) -> &Vec<Took>| {
        let cost = |station: Option<&Station>| station.map(|station| of(pick(station), |took| took.cpu_s));
        let measured = cost(stations.last()).zip(cost(stations.first())).map(|(last, first)| last / first);
        Target { what: format!("CPU of a {what} at the thousandth ÷ at the twentieth"), at_most: 4.0, measured }
    };
    let targets = vec![growth("run", |station| &station.runs), growth("commit", |station| &station.commits)];
    let note = format!(
        "A thousand times `run`, `commit` and `rm`, each on the image of the one before; the median of the {STEPS} steps that lead to each depth."
    );
    Ok(Table { title: "A chain of commits", note, body, targets })
}
