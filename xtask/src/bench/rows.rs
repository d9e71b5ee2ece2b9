//! What is measured.

use crate::base;
use crate::bench::arena::{Arena, REGISTRY};
use crate::bench::engine::Engine;
use crate::bench::measure::{Entry, Table, interleaved};
use crate::bench::memory;
use crate::shell::{Done, workspace};

/// A row of the page: its name on the command line and how it is measured.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) measure: fn(&Arena, &[Engine]) -> Done<Table>,
}

pub(crate) const ALL: &[Row] = &[
    Row { name: "pull", measure: pull },
    Row { name: "run", measure: run },
    Row { name: "commit-small", measure: commit_small },
    Row { name: "commit-big", measure: commit_big },
    Row { name: "save", measure: save },
    Row { name: "load", measure: load },
    Row { name: "memory", measure: memory::measure },
];

fn pull(arena: &Arena, engines: &[Engine]) -> Done<Table> {
    let mut entries: Vec<Entry> = engines
        .iter()
        .map(|engine| Entry::new(engine.name, engine.pull("golang")).before(engine.forget_images()))
        .collect();
    let blobs = format!("{}/blobs", arena.dir().display());
    arena.setup(&format!(
        "set -e; mkdir -p {blobs}; cd {blobs}; for d in $(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json, \
         application/vnd.docker.distribution.manifest.v2+json' http://{REGISTRY}/v2/golang/manifests/latest | tr ',' '\\n' | \
         tr -d ' {{}}[]' | grep -o 'sha256:[0-9a-f]*' | tail -n +2); do \
         curl -sf -o ${{d#sha256:}} http://{REGISTRY}/v2/golang/blobs/$d; done"
    ))?;
    let out = arena.store("tar");
    let tar = format!("mkdir -p {0} && for b in {blobs}/*; do tar -C {0} -xzf $b; done", out.display());
    entries.push(Entry::new("tar xzf (no network, no digests)", tar).before(format!("rm -rf {}", out.display())));
    let series = interleaved(arena, 3, &entries)?;
    let note =
        "An image with build-essential and Go on a Debian base, from a registry on loopback into an empty store.";
    Ok(Table { title: "Cold pull".to_owned(), note: note.to_owned(), series })
}

fn run(arena: &Arena, engines: &[Engine]) -> Done<Table> {
    for engine in engines {
        arena.setup(&engine.pull("debian"))?;
    }
    let mut entries: Vec<Entry> =
        engines.iter().map(|engine| Entry::new(engine.name, engine.run_true("debian"))).collect();
    entries.extend(floors(arena)?);
    let series = interleaved(arena, 20, &entries)?;
    let note = "`run --rm --network none debian true`, warm. crun runs a ready bundle whose overlay is mounted for it; the floor \
                is a C program that makes the namespaces, the overlay and the mounts, executes and waits, without and with \
                four v1 control groups.";
    Ok(Table { title: "Run `true`".to_owned(), note: note.to_owned(), series })
}

/// crun with a prepared bundle, and the least the kernel asks for.
fn floors(arena: &Arena) -> Done<Vec<Entry>> {
    let (dir, bundle) = (arena.dir().display(), arena.store("bundle").display().to_string());
    let source = workspace().join("xtask/bench/floor-run.c");
    arena.setup(&format!(
        "set -e; gcc -O2 -o {dir}/floor-run {}; mkdir -p {bundle}/lower {bundle}/rootfs {bundle}/u {bundle}/w; \
         tar -xf {} -C {bundle}/lower; cd {bundle}; crun spec; \
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

fn commit_small(arena: &Arena, engines: &[Engine]) -> Done<Table> {
    let series = commit(arena, engines, 10, "echo changed > /etc/motd")?;
    let note = "A container in which one small file was changed.";
    Ok(Table { title: "Commit, one changed file".to_owned(), note: note.to_owned(), series })
}

fn commit_big(arena: &Arena, engines: &[Engine]) -> Done<Table> {
    // 20,000 files of 1 to 49 KiB, slices of one block of random bytes: they do not compress to nothing.
    let script = "mkdir /big; head -c 1100000 /dev/urandom > /r; perl -e 'open R,q(</r); read R,$r,1100000; \
                  for $d (0..199){mkdir qq(/big/$d); for $f (0..99){ $n=$d*100+$f; open F,qq(>/big/$d/$f); \
                  print F $n, substr($r, ($n*53)%1000000, 1024+(($n*7919)%49)*1024); close F }}'; rm /r";
    let series = commit(arena, engines, 3, script)?;
    let note = "A container in which 20,000 files with 513 MB were written.";
    Ok(Table { title: "Commit, 20,000 files".to_owned(), note: note.to_owned(), series })
}

fn commit(arena: &Arena, engines: &[Engine], runs: usize, change: &str) -> Done<Vec<crate::bench::measure::Series>> {
    let mut entries = Vec::new();
    let script = arena.dir().join("change.sh");
    std::fs::write(&script, change).map_err(|error| format!("cannot write {}: {error}", script.display()))?;
    let with_commit = engines.iter().filter(|engine| engine.name != "containerd");
    for engine in with_commit {
        let command = &engine.command;
        arena.setup(&engine.pull("debian"))?;
        arena.setup(&format!(
            "{command} rm -f bench >/dev/null 2>&1; {command} run -i --name bench --network none {REGISTRY}/debian sh < {}",
            script.display()
        ))?;
        let commit = format!("{command} commit bench bench-image");
        entries.push(Entry::new(engine.name, commit).after(format!("{command} rmi -f bench-image")));
    }
    let series = interleaved(arena, runs, &entries);
    for engine in engines.iter().filter(|engine| engine.name != "containerd") {
        arena.setup(&format!("{} rm -f bench", engine.command))?;
    }
    series
}

fn save(arena: &Arena, engines: &[Engine]) -> Done<Table> {
    let mut entries = Vec::new();
    for engine in engines.iter().filter(|engine| engine.name != "containerd") {
        arena.setup(&engine.pull("tomcat"))?;
        let file = archive(arena, engine);
        let save = format!("{} save -o {file} {REGISTRY}/tomcat:latest", engine.command);
        entries.push(Entry::new(engine.name, save).before(format!("rm -f {file}")));
    }
    let series = interleaved(arena, 3, &entries)?;
    let note = "A tomcat image of three layers into an archive.";
    Ok(Table { title: "Save".to_owned(), note: note.to_owned(), series })
}

fn load(arena: &Arena, engines: &[Engine]) -> Done<Table> {
    let mut entries = Vec::new();
    for engine in engines.iter().filter(|engine| engine.name != "containerd") {
        let (command, file) = (&engine.command, archive(arena, engine));
        arena.setup(&format!(
            "{}; rm -f {file}; {command} save -o {file} {REGISTRY}/tomcat:latest",
            engine.pull("tomcat")
        ))?;
        entries.push(Entry::new(engine.name, format!("{command} load -q -i {file}")).before(engine.forget_images()));
    }
    let series = interleaved(arena, 3, &entries)?;
    let note = "The archive each engine wrote itself, into an empty store.";
    Ok(Table { title: "Load".to_owned(), note: note.to_owned(), series })
}

fn archive(arena: &Arena, engine: &Engine) -> String {
    arena.store(&format!("{}.tar", engine.name)).display().to_string()
}
