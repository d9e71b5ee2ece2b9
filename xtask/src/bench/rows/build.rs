//! `build`: steps without and with what is remembered, a large context, stages at once. BuildKit is docker's where its
//! client has it; podman builds with buildah's code, buildah itself is taken where it is installed.

use strata_testkit::host;

use crate::bench::Bench;
use crate::bench::arena::REGISTRY;
use crate::bench::engine::Engine;
use crate::bench::measure::{Entry, interleaved};
use crate::bench::report::{Cost, Table};
use crate::shell::Done;

/// Ten steps of the usual kinds.
const TEN: &str = "\
FROM 127.0.0.1:5000/debian:latest
ENV A=1
WORKDIR /app
COPY src /app/src
RUN mkdir -p /app/out && cat src/* > out/all
RUN cp -a /usr/share/doc /app/doc
RUN useradd -m app
RUN for i in 1 2 3 4 5 6 7 8 9; do head -c 1000000 /dev/zero > /app/out/z$i; done
RUN rm -rf /app/doc/a*
RUN echo done > /app/done
";

/// How many files the large context has.
const FILES: u32 = 20_000;

/// What keeps a processor busy for a while, in a shell.
const WORK: &str = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";

/// A builder: its name, and what stands before and after `build` and its options.
struct Builder {
    name: String,
    command: String,
    options: &'static str,
}

impl Builder {
    /// Builds a context that lies beside the stores.
    fn build(&self, bench: &Bench, context: &str, options: &str) -> String {
        let Self { command, options: own, .. } = self;
        let dir = context_dir(bench, context);
        format!("{command} build -q {own} {options} --network none -t bench-{context} {dir} >/dev/null")
    }
}

/// All that are installed; ours is the first.
fn builders(bench: &Bench) -> Vec<Builder> {
    let of = |engine: &Engine| match engine.name {
        "docker" => vec![
            Builder {
                name: "docker (BuildKit)".to_owned(),
                command: format!("DOCKER_BUILDKIT=1 {}", engine.command),
                options: "",
            },
            Builder {
                name: "docker (legacy)".to_owned(),
                command: format!("DOCKER_BUILDKIT=0 {}", engine.command),
                options: "",
            },
        ],
        "podman" => vec![Builder {
            name: "podman (buildah)".to_owned(),
            command: engine.command.clone(),
            options: "--layers --tls-verify=false",
        }],
        name => vec![Builder { name: name.to_owned(), command: engine.command.clone(), options: "" }],
    };
    let mut all: Vec<Builder> = bench.docker_like().flat_map(of).collect();
    if host::find_program("buildah").is_some() {
        let command = format!("buildah --root {} --runroot /run/bench-buildah", bench.arena.store("buildah").display());
        all.push(Builder { name: "buildah".to_owned(), command, options: "--layers --tls-verify=false" });
    }
    all
}

fn context_dir(bench: &Bench, context: &str) -> String {
    bench.arena.dir().join("contexts").join(context).display().to_string()
}

/// Makes a context, and has the base image everywhere.
fn prepare(bench: &Bench, context: &str, dockerfile: &str, files: &str) -> Done {
    for engine in bench.docker_like() {
        bench.arena.setup(&engine.pull("debian"))?;
    }
    let dir = context_dir(bench, context);
    let text = dockerfile.replace("127.0.0.1:5000", REGISTRY);
    bench
        .arena
        .setup(&format!("set -e; rm -rf {dir}; mkdir -p {dir}; cd {dir}; cat > Dockerfile <<'END'\n{text}END\n{files}"))
        .map(drop)
}

const SMALL_FILES: &str = "mkdir src; for i in $(seq 50); do echo line $i > src/f$i; done";

pub(super) fn ten(bench: &Bench) -> Done<Table> {
    prepare(bench, "ten", TEN, SMALL_FILES)?;
    let entry = |builder: &Builder| Entry::new(&builder.name, builder.build(bench, "ten", "--no-cache"));
    let entries: Vec<Entry> = builders(bench).iter().map(entry).collect();
    let timings = interleaved(&bench.arena, bench.rounds(1, 5), &entries)?;
    let note = "`build --no-cache --network none` of ten steps on debian: a COPY of 50 files and six RUN, of which one copies \
                and one removes some thousand files.";
    let targets = vec![timings.target(Cost::Wall, 0.4, &["docker (BuildKit)"])];
    Ok(Table { title: "Build ten steps", note: note.to_owned(), body: timings.markdown(), targets })
}

pub(super) fn cached(bench: &Bench) -> Done<Table> {
    prepare(bench, "cached", TEN, SMALL_FILES)?;
    let entry = |builder: &Builder| Entry::new(&builder.name, builder.build(bench, "cached", ""));
    let entries: Vec<Entry> = builders(bench).iter().map(entry).collect();
    let timings = interleaved(&bench.arena, bench.rounds(2, 10), &entries)?;
    let note = "The same ten steps, all of them remembered.";
    let targets = vec![
        timings.target(Cost::Wall, 0.1, &["docker (BuildKit)"]),
        timings.target(Cost::Wall, 0.5, &["docker (legacy)"]),
    ];
    Ok(Table { title: "Build from memory", note: note.to_owned(), body: timings.markdown(), targets })
}

pub(super) fn context(bench: &Bench) -> Done<Table> {
    let files = format!(
        "for d in $(seq 0 199); do mkdir d$d; for f in $(seq {}); do echo $d $f > d$d/f$f; done; done",
        FILES / 200
    );
    prepare(bench, "context", "FROM 127.0.0.1:5000/debian:latest\nCOPY . /src\n", &files)?;
    let changed = context_dir(bench, "context");
    let entry = |builder: &Builder| {
        let change = format!("date +%s.%N > {changed}/d7/f7");
        Entry::new(&builder.name, builder.build(bench, "context", "")).before(change)
    };
    let entries: Vec<Entry> = builders(bench).iter().map(entry).collect();
    let timings = interleaved(&bench.arena, bench.rounds(1, 5), &entries)?;
    let note = "`COPY . /src` of 20,000 small files, one of which has changed since the build before.";
    let targets = vec![timings.target(Cost::Wall, 0.3, &["docker (BuildKit)"])];
    Ok(Table { title: "Build with a large context", note: note.to_owned(), body: timings.markdown(), targets })
}

pub(super) fn stages(bench: &Bench) -> Done<Table> {
    let stage =
        |name: &str| format!("FROM 127.0.0.1:5000/debian:latest AS {name}\nRUN {WORK}; echo {name} > /{name}\n");
    let names = ["one", "two", "three", "four"];
    let copies: String = names.iter().map(|name| format!("COPY --from={name} /{name} /\n")).collect();
    let four: String = names.iter().map(|name| stage(name)).collect();
    prepare(bench, "stages", &format!("{four}FROM scratch\n{copies}"), "")?;
    prepare(bench, "single", &format!("{}FROM scratch\nCOPY --from=one /one /\n", stage("one")), "")?;
    let builders = builders(bench);
    let entry = |builder: &Builder| Entry::new(&builder.name, builder.build(bench, "stages", "--no-cache"));
    let mut entries: Vec<Entry> = builders.iter().map(entry).collect();
    if let Some(ours) = builders.first() {
        entries.push(Entry::new("one stage", ours.build(bench, "single", "--no-cache")));
    }
    let timings = interleaved(&bench.arena, bench.rounds(1, 5), &entries)?;
    let note = "Four stages that do not need each other, each with a shell that counts, and a fifth that copies a file of each; \
                beside our own build of one of them. With two processors four take twice as long as one at best.";
    Ok(Table { title: "Build four stages", note: note.to_owned(), body: timings.markdown(), targets: Vec::new() })
}
