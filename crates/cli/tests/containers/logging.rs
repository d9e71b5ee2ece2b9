//! Log drivers.

use std::os::unix::net::UnixDatagram;

use strata_testkit::need;

use super::{Lab, needs};

#[test]
fn a_flood_leaves_so_many_files_of_such_a_size() {
    need!(needs());
    let lab = Lab::start();
    let options = "--log-opt max-size=100k --log-opt max-file=3 --log-opt compress=true";
    let words: Vec<&str> = "run -d --network none --name flood".split(' ').chain(options.split(' ')).collect();
    let id = lab.machine.strata([words.as_slice(), &["box", "seq", "60000"]].concat()).ok();
    assert_eq!(lab.strata("wait flood").ok(), "0\n");
    let dir = lab.machine.root().join("containers").join(id.trim());
    let mut files: Vec<(String, u64)> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len()))
        .filter(|(name, _)| name.starts_with("log"))
        .collect();
    files.sort();
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["log.json", "log.json.1.gz", "log.json.2.gz"]);
    assert!(files.iter().all(|(_, size)| *size <= 100_000), "{files:?}");
    let out = lab.strata("logs flood").ok();
    let first: u32 = out.lines().next().unwrap().parse().unwrap();
    let expected: String = (first..=60_000).map(|number| format!("{number}\n")).collect();
    assert!(out == expected && first > 30_000, "the end of the flood is there without gaps, from {first}");
    assert_eq!(lab.strata("logs --tail 2 flood").ok(), "59999\n60000\n");
    lab.strata("rm flood").ok();
    lab.is_clean();
}

#[test]
fn local_and_none_and_details() {
    need!(needs());
    let lab = Lab::start();
    let run = |options: &str| {
        let words: Vec<&str> = "run --network none --name one".split(' ').chain(options.split(' ')).collect();
        lab.machine.strata([words.as_slice(), &["box", "sh", "-c", "echo out; echo err >&2"]].concat()).ok();
    };
    run("--log-driver local");
    let ran = lab.strata("logs one");
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("out\n", "err\n"));
    lab.strata("rm one").ok();
    run("--log-driver none");
    assert_eq!(lab.strata("logs one").fails(1), "strata: configured logging driver does not support reading\n");
    lab.strata("rm one").ok();
    run("-l color=blue -e SIZE=big --log-opt labels=color --log-opt env=SIZE --log-opt tag={{.Name}}/{{.ImageName}}");
    assert_eq!(lab.strata("logs --details one").out, "SIZE=big,color=blue,tag=one/box out\n");
    lab.strata("rm one").ok();
    run("-l color=blue -l shape=round -e SIZE=big -e OTHER=x --log-opt labels-regex=^col --log-opt env-regex=I.E");
    assert_eq!(lab.strata("logs --details one").out, "SIZE=big,color=blue out\n");
    lab.strata("rm one").ok();
    let wrong = ["run", "--rm", "--network", "none", "--log-opt", "labels-regex=(", "box", "true"];
    assert!(lab.machine.strata(wrong).fails(125).contains("error parsing regexp"));
    lab.is_clean();
}

#[test]
fn the_journal_gets_lines_with_fields_and_logs_can_be_read() {
    need!(needs());
    let lab = Lab::start();
    // Without a journal it cannot be started.
    let words = ["run", "--rm", "--network", "none", "--log-driver", "journald", "box", "true"];
    assert!(lab.machine.strata(words).fails(125).contains("journald is not enabled on this host"));
    // The machine's /run is its own: seen from here through its first process.
    let socket = lab.machine.dir().join("journal");
    let journal = UnixDatagram::bind(&socket).unwrap();
    let place = "/run/systemd/journal";
    lab.machine.sh(&format!("mkdir -p {place} && ln -s {} {place}/socket", socket.display())).ok();
    let words = ["run", "--network", "none", "--name", "web", "--log-driver", "journald", "-l", "a.b=c", "--log-opt"];
    let script = ["labels=a.b", "box", "sh", "-c", "echo out; echo err >&2"];
    lab.machine.strata([words.as_slice(), &script].concat()).ok();
    let mut buffer = [0; 4096];
    let mut heard = || {
        let read = journal.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..read].to_vec()).unwrap()
    };
    let mut both = [heard(), heard()];
    both.sort_by_key(|text| text.contains("MESSAGE=err"));
    for line in ["A_B=c\n", "CONTAINER_NAME=web\n", "IMAGE_NAME=box\n", "PRIORITY=6\n", "MESSAGE=out\n"] {
        assert!(both[0].contains(line), "{line}: {}", both[0]);
    }
    assert!(both[1].contains("PRIORITY=3\nMESSAGE=err\n"), "{}", both[1]);
    assert_eq!(lab.strata("logs web").out, "out\n");
    lab.strata("rm web").ok();
    lab.is_clean();
}

#[test]
fn a_log_that_does_not_hold_up_its_program_has_all_of_it_when_it_is_quick() {
    need!(needs());
    let lab = Lab::start();
    let options = "--log-opt mode=non-blocking --log-opt max-buffer-size=4m";
    let words: Vec<&str> = "run --network none --name all".split(' ').chain(options.split(' ')).collect();
    let script = "seq 20000; echo err >&2; printf rest";
    let ran = lab.machine.strata([words.as_slice(), &["box", "sh", "-c", script]].concat());
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect::<String>() + "rest";
    assert!(ran.code == 0 && ran.out == expected, "{}", ran.err);
    let kept = lab.strata("logs all");
    assert!(kept.out == expected && kept.err == "err\n", "{} of {} bytes", kept.out.len(), expected.len());
    // The next run is kept as well.
    lab.strata("start -a all").ok();
    assert_eq!(lab.strata("logs --tail 1 all").out, "rest");
    lab.strata("rm all").ok();
    lab.is_clean();
}

#[test]
fn a_full_journal_holds_up_nobody_if_that_is_wished() {
    need!(needs());
    let lab = Lab::start();
    // A journal that nobody reads.
    let socket = lab.machine.dir().join("journal");
    let journal = UnixDatagram::bind(&socket).unwrap();
    let place = "/run/systemd/journal";
    lab.machine.sh(&format!("mkdir -p {place} && ln -s {} {place}/socket", socket.display())).ok();
    let words = "run -d --network none --name free --log-driver journald --log-opt mode=non-blocking --log-opt max-buffer-size=2k";
    let words: Vec<&str> = words.split(' ').chain(["box", "seq", "2000"]).collect();
    lab.machine.strata(words).ok();
    // Each line would wait for seconds.
    assert_eq!(lab.strata("wait free").ok(), "0\n");
    assert!(journal.recv(&mut [0; 4096]).is_ok(), "what fits is there");
    drop(journal);
    lab.strata("rm free").ok();
    lab.is_clean();
}
