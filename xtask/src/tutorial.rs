//! Runs the commands of the tutorial and compares what they print with what it says.
//!
//! In a fenced block marked `console`, a line that starts with `$ ` is a command for the shell, and the lines up to the
//! next one are what it prints. A line `...` stands for any lines. Ids, sizes, dates and ages are compared by shape.
//! The Chinese tutorial must have the same blocks as the English one.

use std::path::PathBuf;

use regex::Regex;
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host};

use crate::shell::{Done, workspace};
use crate::{base, build, packages};

/// What to do with outputs that differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Fail and show them.
    Compare,
    /// Rewrite the tutorials.
    Bless,
}

const ENGLISH: &str = "docs/tutorial.md";
const CHINESE: &str = "docs/tutorial.zh-CN.md";
/// How the text calls the registry; the real one has a port of its own.
const REGISTRY: &str = "localhost:5000";

/// Runs the tutorial from its first command to its last in one machine.
pub(crate) fn run(mode: Mode) -> Done {
    host::root().map_err(|_| "the tutorial makes mounts: please run it as root".to_owned())?;
    packages::install(packages::DEMO)?;
    let english = read(ENGLISH)?;
    let chinese = read(CHINESE)?;
    let room = Room::new()?;
    let mut wrong = Vec::new();
    let blessed: Vec<String> = blocks(&english).map(|block| room.replay(block, &mut wrong)).collect();
    if mode == Mode::Bless {
        write(ENGLISH, &with_blocks(&english, &blessed))?;
        return write(CHINESE, &with_blocks(&chinese, &blessed));
    }
    if !blocks(&english).eq(blocks(&chinese)) {
        wrong.push(format!("the commands and outputs of {CHINESE} are not those of {ENGLISH}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n\n")) }
}

/// Where the commands run: a machine with the program on the path and a registry that has the base image.
struct Room {
    machine: Machine,
    registry: Registry,
    path: String,
}

impl Room {
    fn new() -> Done<Self> {
        let program = build::release()?;
        let tar = base::debian()?;
        let machine = Machine::start();
        let registry = Registry::start();
        let dir = program.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
        let path = format!("{dir}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        let room = Self { machine, registry, path };
        let seed = format!(
            "set -e; strata --root \"$HOME/seed\" import -c 'CMD [\"bash\"]' - {REGISTRY}/debian < {tar}\n\
             strata --root \"$HOME/seed\" push -q {REGISTRY}/debian",
            tar = tar.display()
        );
        let (code, printed) = room.sh(&seed);
        if code == 0 { Ok(room) } else { Err(format!("cannot publish the base image: {printed}")) }
    }

    fn sh(&self, script: &str) -> (i32, String) {
        let mut command = self.machine.command("sh");
        // One pipe for both streams keeps the order in which a person would see the lines.
        command.args(["-c", &format!("exec 2>&1\n{}", script.replace(REGISTRY, &self.registry.host()))]);
        command.env("PATH", &self.path).env("STRATA_ROOT", self.machine.root());
        let ran = strata_testkit::machine::feed(command, b"");
        (ran.code, ran.out.replace(&self.registry.host(), REGISTRY))
    }

    /// Runs a block's commands and gives the block as it really is.
    fn replay(&self, block: &str, wrong: &mut Vec<String>) -> String {
        let mut real = String::new();
        for step in steps(block) {
            let (_, printed) = self.sh(&step.command);
            real.push_str(&format!("$ {}\n", step.command));
            if matches(&step.expected, &printed) {
                real.push_str(&step.expected);
            } else {
                real.push_str(&printed);
                wrong.push(format!("$ {}\nexpected:\n{}printed:\n{printed}", step.command, step.expected));
            }
        }
        real
    }
}

struct Step {
    command: String,
    expected: String,
}

fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step { command: command.to_owned(), expected: String::new() }),
            // A command goes on after a backslash at the end of its line.
            (None, Some(step)) if step.expected.is_empty() && step.command.ends_with('\\') => {
                step.command.push_str(&format!("\n{line}"));
            }
            (None, Some(step)) => step.expected.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    steps
}

const FENCE: &str = "```console\n";

fn blocks(text: &str) -> impl Iterator<Item = &str> {
    text.split(FENCE).skip(1).filter_map(|rest| rest.split_once("```\n")).map(|(block, _)| block)
}

fn with_blocks(text: &str, blocks: &[String]) -> String {
    let mut parts = text.split(FENCE);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for (part, block) in parts.zip(blocks) {
        let rest = part.split_once("```\n").map_or("", |(_, rest)| rest);
        whole.push_str(&format!("{FENCE}{block}```\n{rest}"));
    }
    whole
}

/// Whether the printed lines are the expected ones, by shape.
fn matches(expected: &str, printed: &str) -> bool {
    let shapes = Shapes::new();
    let expected: Vec<String> = expected.lines().map(|line| shapes.of(line)).collect();
    let printed: Vec<String> = printed.lines().map(|line| shapes.of(line)).collect();
    lines_match(&expected, &printed)
}

fn lines_match(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((dots, rest)) if dots == "..." => (0..=printed.len()).any(|skip| lines_match(rest, &printed[skip..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, others)| first == line && lines_match(rest, others))
        }
    }
}

/// What differs from run to run, each with a word that stands for it.
struct Shapes(Vec<(Regex, &'static str)>);

impl Shapes {
    fn new() -> Self {
        let shapes = [
            (r"\b[0-9a-f]{64}\b", "DIGEST"),
            (r"\b[0-9a-f]{12}\b", "ID"),
            (r"\b\d+(\.\d+)?(e[+-]\d+)? ?(B|kB|MB|GB|KiB|MiB|GiB)\b", "SIZE"),
            (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d)?( [A-Z]+)?Z?", "TIME"),
            (
                r"\b(Less than a second|About a minute|About an hour|\d+ (second|minute|hour|day|week|month|year)s?)( ago)?",
                "AGE",
            ),
            (r"\b[a-z]+_[a-z]+\b", "NAME"),
            (r"\b[A-Z][a-z]{2} +\d+ +\d\d:\d\d\b", "TIME"),
            (r"\b\d+\.\d+\b", "VERSION"),
            (r"\b\d{3,}\b", "NUMBER"),
            (r"\s+", " "),
        ];
        Self(shapes.map(|(shape, word)| (Regex::new(shape).expect("a constant pattern"), word)).into())
    }

    fn of(&self, line: &str) -> String {
        let shape = |text: String, (shape, word): &(Regex, &str)| shape.replace_all(&text, *word).into_owned();
        self.0.iter().fold(line.trim_end().to_owned(), shape)
    }
}

fn file(name: &str) -> PathBuf {
    workspace().join(name)
}

fn read(name: &str) -> Done<String> {
    std::fs::read_to_string(file(name)).map_err(|error| format!("cannot read {name}: {error}"))
}

fn write(name: &str, text: &str) -> Done {
    std::fs::write(file(name), text).map_err(|error| format!("cannot write {name}: {error}"))
}
