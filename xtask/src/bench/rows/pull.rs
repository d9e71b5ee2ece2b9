//! Cold pull.

use crate::bench::Bench;
use crate::bench::arena::REGISTRY;
use crate::bench::measure::{Entry, interleaved};
use crate::bench::report::{Cost, Table};
use crate::shell::Done;

const PEERS: &[&str] = &["docker", "podman", "containerd"];

pub(super) fn measure(bench: &Bench) -> Done<Table> {
    let arena = &bench.arena;
    let entry = |engine: &crate::bench::engine::Engine| {
        Entry::new(engine.name, engine.pull("golang")).before(engine.forget_images())
    };
    let mut entries: Vec<Entry> = bench.engines.iter().map(entry).collect();
    // The layers as files, for tar. Having read them, the registry has them in memory from the first round on.
    let blobs = arena.dir().join("blobs");
    let blobs = blobs.display();
    arena.setup(&format!(
        "set -e; mkdir -p {blobs}; cd {blobs}; for d in $(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json, \
         application/vnd.docker.distribution.manifest.v2+json' http://{REGISTRY}/v2/golang/manifests/latest | tr ',' '\\n' | \
         tr -d ' {{}}[]' | grep -o 'sha256:[0-9a-f]*' | tail -n +2); do \
         [ -f ${{d#sha256:}} ] || curl -sf -o ${{d#sha256:}} http://{REGISTRY}/v2/golang/blobs/$d; done"
    ))?;
    let out = arena.store("tar");
    let tar = format!("mkdir -p {0} && for b in {blobs}/*; do tar -C {0} -xzf $b; done", out.display());
    entries.push(Entry::new("tar xzf (no network, no digests)", tar).before(format!("rm -rf {}", out.display())));
    let timings = interleaved(arena, bench.rounds(0, 5), &entries)?;
    let sizes =
        arena.setup(&format!("cd {blobs}; ls | wc -l; cat * | wc -c; for b in *; do gzip -dc $b; done | wc -c"))?;
    let sizes: Vec<f64> = sizes.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let [layers, compressed, plain] = sizes[..] else { return Err("cannot tell the size of the layers".to_owned()) };
    let note = format!(
        "An image with build-essential and Go on a Debian base ({layers} layers, {:.0} MB compressed, {:.0} MB of tar), pushed by \
         strata, from a registry on loopback into a store without images.",
        compressed / 1e6,
        plain / 1e6
    );
    let targets = vec![timings.target(Cost::Wall, 0.25, PEERS), timings.target(Cost::Cpu, 0.3, PEERS)];
    Ok(Table { title: "Cold pull", note, body: timings.markdown(), targets })
}
