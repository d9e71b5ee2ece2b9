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

/// Prepares a build on a terminal of so many columns; what it shows is in `typescript`.
fn on_terminal(machine: &Machine, columns: &str, words: &[&str]) -> std::process::Command {
    let (program, root) = (host::strata(), machine.root());
    let line = format!(
        "stty cols {columns} rows 24 2> /dev/null; exec {} --root {} build --network none {}",
        program.display(),
        root.display(),
        words.join(" ")
    );
    let mut command = machine.command("script");
    command.args(["-qefc", &line, "typescript"]).stdout(std::process::Stdio::null());
    command
}

/// What was written to the terminal.
fn written(machine: &Machine) -> String {
    let typescript = String::from_utf8(std::fs::read(machine.dir().join("typescript")).unwrap()).unwrap();
    let (_, written) = typescript.split_once('\n').unwrap();
    written.split("\nScript done").next().unwrap().to_owned()
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
    let mut child = on_terminal(&machine, "80", &["-t", "app", "ctx"]).spawn().unwrap();
    let drawn = machine
        .sh("i=0; until grep -aq '=> => # seen' typescript || [ $((i=i+1)) = 600 ]; do sleep 0.05; done; \
                            for dir in store/build/caches/*/0; do touch $dir/drawn; done");
    assert!(child.wait().unwrap().success(), "{}", drawn.err);
    let shown = screen(&written(&machine));
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

#[test]
fn nothing_is_coloured_and_nothing_is_wider_than_the_terminal() {
    need_all!();
    need!(host::program("script"));
    let machine = machine(&[]);
    let wait = "i=0; until [ -e /look/drawn ] || [ $((i=i+1)) = 600 ]; do usleep 20000; done; [ -e /look/drawn ]";
    let print =
        r"printf '\033[1;31mred and long enough to be cut\033[0m\n\033]0;title\007\n日本語日本語日本語日本語日本語\n'";
    let file = format!("FROM base\nRUN --mount=type=cache,id=look,target=/look {print}; {wait}; rm /look/drawn\n");
    super::write(&machine, "Dockerfile", &file);
    for no_color in ["", "1"] {
        machine.sh("rm -f typescript").ok();
        let mut command = on_terminal(&machine, "30", &["--no-cache", "-t", "app", "ctx"]);
        let mut child = command.env("NO_COLOR", no_color).spawn().unwrap();
        let drawn = machine
            .sh("i=0; until grep -aq '=> => # red' typescript || [ $((i=i+1)) = 600 ]; do usleep 50000; done; \
                                for dir in store/build/caches/*/0; do touch $dir/drawn; done");
        assert!(child.wait().unwrap().success(), "{}", drawn.err);
        let written = written(&machine);
        for (at, _) in written.match_indices('\x1b') {
            let end = written[at..].find(|c: char| c.is_ascii_alphabetic()).unwrap();
            assert!(["A", "K", "J"].contains(&&written[at + end..=at + end]), "{written:?}");
        }
        let lines =
            written.split(['\n', '\r']).map(|line| line.trim_start_matches("\x1b[2K").trim_start_matches("\x1b[J"));
        let wide = |c: char| c >= '\u{1100}';
        let too_wide: Vec<&str> = lines
            .filter(|line| !line.contains('\x1b') && line.chars().map(|c| 1 + usize::from(wide(c))).sum::<usize>() > 31)
            .collect();
        assert_eq!(too_wide, Vec::<&str>::new(), "{written:?}");
        assert!(
            written.contains(" => => # red and long enough …") && written.contains(" => => # 日本語日本語"),
            "{written:?}"
        );
    }
}

#[test]
fn a_key_that_interrupts_ends_a_build_and_what_was_done_is_kept() {
    need_all!();
    need!(host::program("script"));
    let machine = machine(&[]);
    let file =
        "FROM base\nRUN echo done > /done\nRUN --mount=type=cache,id=look,target=/look touch /look/begun; sleep 1000\n";
    super::write(&machine, "Dockerfile", file);
    for mode in ["auto", "tty", "plain", "quiet", "rawjson"] {
        let mut command = on_terminal(&machine, "80", &["--progress", mode, "ctx"]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        let begun = machine.sh("i=0; until ls store/build/caches/*/0/begun > /dev/null 2>&1 || [ $((i=i+1)) = 600 ]; do usleep 50000; done; \
                                rm store/build/caches/*/0/begun");
        assert_eq!(begun.code, 0, "{mode}: {}", begun.err);
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"\x03").unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{mode}");
        let written = written(&machine);
        assert!(written.trim_end().ends_with("strata: failed to solve: cancelled"), "{mode}: {written:?}");
        assert!(!written.contains("--------------------"), "it is no line's fault: {written:?}");
        match mode {
            "auto" | "tty" => assert!(written.contains(" => CANCELED [3/3] RUN --mount"), "{written:?}"),
            "plain" => assert!(written.contains("#3 CANCELED"), "{written:?}"),
            "rawjson" => assert!(written.contains("\"error\":\"context canceled\""), "{written:?}"),
            _ => {}
        }
        let left = machine.sh("busybox ps | grep '[s]leep 1000'; ls -A store/containers store/ingest store/trash store/leases 2> /dev/null | grep -v : ");
        assert_eq!(left.out.trim(), "", "{mode}");
    }
    machine.strata(["check"]).ok();
    super::write(&machine, "Dockerfile", &file.replace("; sleep 1000", ""));
    let again = machine.strata(["build", "--network", "none", "ctx"]);
    assert!(again.err.contains("RUN echo done > /done\n#2 CACHED"), "{}", again.err);
}
