//! How steps are shown: on a terminal, and as BuildKit's documents.

use serde_json::Value;
use strata_testkit::host;
use strata_testkit::{Machine, need};

use super::{build, machine, need_all};

const FILE: &str = "FROM base\nRUN echo out; echo err >&2; printf half\nRUN echo two\n";

fn documents(err: &str) -> Vec<Value> {
    err.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a base64 that is not ours reads.
fn decoded(machine: &Machine, data: &str) -> String {
    let mut command = machine.command("busybox");
    command.args(["base64", "-d"]);
    strata_testkit::machine::feed(command, data.as_bytes()).ok()
}

#[test]
fn raw_documents_tell_each_step_and_all_it_writes() {
    need_all!();
    let machine = machine(&[]);
    let ran = build(&machine, FILE, &["--progress", "rawjson", "-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let all = documents(&ran.err);
    let steps: Vec<&Value> = all.iter().filter_map(|document| document.get("vertexes")?.get(0)).collect();
    let names = |ended: bool| -> Vec<&str> {
        let fits = |step: &&&Value| step.get("completed").is_some() == ended && step.get("started").is_some();
        steps.iter().filter(fits).map(|step| step["name"].as_str().unwrap()).collect()
    };
    let expected = [
        "[1/3] FROM base",
        "[2/3] RUN echo out; echo err >&2; printf half",
        "[3/3] RUN echo two",
        "exporting to image",
    ];
    assert_eq!((names(false), names(true)), (expected.to_vec(), expected.to_vec()));
    let step = steps.iter().find(|step| step["name"] == expected[1]).unwrap();
    let written = |stream: u64| -> String {
        let logs = all.iter().filter_map(|document| document.get("logs")?.get(0));
        let of = logs.filter(|log| log["vertex"] == step["digest"] && log["stream"] == stream);
        of.map(|log| decoded(&machine, log["data"].as_str().unwrap())).collect()
    };
    assert_eq!((written(1).as_str(), written(2).as_str()), ("out\nhalf", "err\n"));
    let again = documents(&build(&machine, FILE, &["--progress", "rawjson"]).err);
    let cached = again.iter().filter(|document| document["vertexes"][0]["cached"] == true).count();
    assert_eq!(cached, 2);
    let failed = build(&machine, "FROM base\nRUN exit 3\n", &["--progress", "rawjson"]).fails(1);
    assert!(documents(&failed).iter().any(|document| document["vertexes"][0]["error"] == "failed"), "{failed}");
    assert!(failed.ends_with("did not complete successfully: exit code: 3\n"), "{failed}");
}

/// What a terminal shows at the end: lines, after all movements of the cursor.
fn screen(written: &str) -> Vec<String> {
    let (mut lines, mut row): (Vec<String>, usize) = (vec![String::new()], 0);
    let mut rest = written;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let (number, what) = (rest[1..end].parse().unwrap_or(0), &rest[end..=end]);
                rest = &rest[end + 1..];
                match what {
                    "A" => row -= number,
                    "K" => lines[row].clear(),
                    "J" => lines.truncate(row + 1),
                    other => panic!("{other}"),
                }
            }
            '\n' => {
                row += 1;
                if row == lines.len() {
                    lines.push(String::new());
                }
            }
            '\r' => {}
            c => lines[row].push(c),
        }
    }
    lines
}

#[test]
fn a_terminal_shows_the_steps_in_place() {
    need_all!();
    need!(host::program("script"));
    let machine = machine(&[]);
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    // The second step waits until its output was drawn.
    let file = "FROM base\nRUN echo first\nRUN i=0; echo seen; until [ -e /look/drawn ] || [ $((i=i+1)) = 600 ]; do usleep 20000; done; [ -e /look/drawn ]\n";
    std::fs::write(
        machine.dir().join("ctx/Dockerfile"),
        file.replace("RUN i=0", "RUN --mount=type=cache,id=look,target=/look i=0"),
    )
    .unwrap();
    let line = format!(
        "stty cols 80 rows 24 2> /dev/null; {} --root {} build --network none -t app ctx",
        host::strata().display(),
        machine.root().display()
    );
    let mut child = machine
        .command("script")
        .args(["-qefc", &line, "typescript"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let drawn = machine
        .sh("i=0; until grep -aq '=> => # seen' typescript || [ $((i=i+1)) = 600 ]; do sleep 0.05; done; \
                            for dir in store/build/caches/*/0; do touch $dir/drawn; done");
    assert!(child.wait().unwrap().success(), "{}", drawn.err);
    let typescript = String::from_utf8(std::fs::read(machine.dir().join("typescript")).unwrap()).unwrap();
    let (_, written) = typescript.split_once('\n').unwrap();
    let written = written.split("\nScript done").next().unwrap();
    let shown = screen(written);
    let without_times: Vec<String> = shown
        .iter()
        .map(|line| {
            line.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | 's' | ' ')).to_owned()
        })
        .filter(|line| !line.is_empty())
        .collect();
    assert!(without_times[0].starts_with("[+] Building ") && without_times[0].ends_with("(4/4) FINISHED"), "{shown:?}");
    assert_eq!(without_times[1], " => [1/3] FROM base");
    assert_eq!(without_times[2], " => [2/3] RUN echo first");
    assert!(without_times[3].starts_with(" => [3/3] RUN --mount=type=cache,id=look"), "{shown:?}");
    assert_eq!(without_times[4], " => exporting to image");
    assert_eq!(without_times.len(), 5, "what a step wrote is gone when it has ended: {shown:?}");
}
