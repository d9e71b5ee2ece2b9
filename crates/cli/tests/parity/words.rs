//! Refusals word for word: what Docker 26 says to the same words, and the code it ends with.

use strata_testkit::image::Image;
use strata_testkit::{Machine, host, need};

/// `$ WORDS`, then the code and what is said on standard error, without whose words they are. The words are said to a
/// container `up`, a container `made` that has the volume `used`, an image `box` and a network `blue`; there is a Dockerfile.
const REFUSALS: &str = include_str!("../golden/docker-refusals.txt");

#[test]
fn refusals_are_dockers_word_for_word() {
    need!(host::root(), host::program("nsenter"), host::program("busybox"));
    let machine = Machine::isolated();
    let prepare = |words: &str| machine.strata(words.split(' ')).ok();
    machine.strata_with_input(["load", "-q"], &Image::busybox().docker_archive("box:latest")).ok();
    prepare("network create --subnet 10.91.0.0/24 blue");
    std::fs::write(machine.dir().join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    let ids = [
        prepare("run -d --network none --name up box sleep 1000"),
        prepare("create --network none --name made -v used:/used box true"),
    ];
    let mut differences = Vec::new();
    for refusal in REFUSALS.trim().trim_start_matches("$ ").split("\n\n$ ") {
        let (words, expected) = refusal.split_once('\n').unwrap();
        let ran = machine.strata(split(words));
        let said = ids.iter().fold(sentences(&ran.err), |said, id| said.replace(id.trim(), "ID"));
        let said = format!("{} {said}", ran.code);
        if said != expected || !ran.out.is_empty() {
            differences.push(format!("{words}\n  docker {expected}\n  strata {said}{}", ran.out));
        }
    }
    prepare("rm -f up");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// The words of a line; what stands between single quotes is a word, or a part of one.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, piece) in line.split('\'').enumerate() {
        let mut parts = if index % 2 == 0 { piece.split(' ').collect() } else { vec![piece] }.into_iter();
        words.last_mut().unwrap().push_str(parts.next().unwrap());
        words.extend(parts.map(str::to_owned));
    }
    words
}

/// What was said, without who says it, advice and where help is.
fn sentences(said: &str) -> String {
    let is_said = |line: &&str| !line.starts_with("hint: ") && !line.starts_with("See '");
    let bare = |line: &str| line.trim_start_matches("strata: ").trim_end_matches('.').to_owned();
    said.lines().filter(is_said).map(bare).collect::<Vec<_>>().join("\n").trim().to_owned()
}
