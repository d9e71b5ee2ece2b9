//! What must not be seen is not shown.

use strata_testkit::need;

use super::{Lab, needs};

#[test]
fn values_that_look_like_secrets_are_masked_until_revealed() {
    need!(needs());
    let lab = Lab::start();
    let note = "note: values that look like secrets are shown as *****; --reveal shows them\n";
    let made = ["create", "--network", "none", "--name", "db", "-e", "DB_PASSWORD=hunter2", "-e", "PLAIN=seen"];
    lab.machine.strata([&made[..], &["-e", "URL=pg://me:hunter2@h", "box", "x", "--token", "hunter2"]].concat()).ok();
    for line in ["inspect db", "container inspect db", "inspect -f {{.Config.Env}}{{.Args}} db", "ps -a --no-trunc"] {
        let shown = lab.strata(line);
        assert!(!shown.out.contains("hunter2") && shown.out.contains("*****"), "{line}: {}", shown.out);
        assert_eq!(shown.err, note, "{line}");
        let revealed = lab.strata(&line.replacen(" -", " --reveal -", 1).replace("inspect db", "inspect --reveal db"));
        assert!(revealed.out.contains("hunter2"), "{line}: {}", revealed.out);
        assert_eq!(revealed.err, "", "{line}");
    }
    // Who does not look at them hears nothing of them.
    let plain = lab.strata("inspect -f {{.Name}} db");
    assert_eq!((plain.out.as_str(), plain.err.as_str()), ("/db\n", ""));
    // Programs get the real values, and so do images made of the container; they are masked there as well.
    lab.strata("commit db made").ok();
    assert!(lab.strata("run --rm --network none --entrypoint env made").ok().contains("DB_PASSWORD=hunter2\n"));
    assert!(!lab.strata("image inspect made").out.contains("hunter2"));
    assert!(!lab.strata("history --no-trunc made").out.contains("hunter2"));
    assert!(lab.strata("image inspect --reveal made").out.contains("hunter2"));
    lab.strata("rm db").ok();
    lab.is_clean();
}

#[test]
fn a_secret_is_a_file_in_memory_and_found_nowhere_else() {
    need!(needs());
    let lab = Lab::start();
    const VALUE: &str = "correct-horse-battery-staple";
    let created = lab.machine.strata_with_input(["secret", "create", "-l", "of=db", "db.pass", "-"], VALUE.as_bytes());
    let id = created.ok().trim().to_owned();
    assert_eq!(id.len(), 25, "{id}");
    let script = "stat -c '%n %a %u:%g' /run/secrets/* /etc/pw; stat -f -c %T /run/secrets; cat /run/secrets/db.pass /etc/pw; \
                  echo x > /run/secrets/db.pass || echo read-only; rm /run/secrets/db.pass || echo kept; sleep 1000";
    let secrets =
        ["--secret", "db.pass,uid=1000", "--secret", &format!("source={},target=/etc/pw,mode=0400", &id[..8])];
    let words = ["run", "-d", "--network", "none", "--name", "holder", "--log-driver", "none"];
    lab.machine.strata([&words[..], &secrets, &["box", "sh", "-c", "cat /etc/pw; sleep 1000"]].concat()).ok();
    let seen = lab.machine.strata(["exec", "holder", "sh", "-c", script.trim_end_matches("; sleep 1000")]);
    let expected = format!("/run/secrets/db.pass 444 1000:0\n/etc/pw 400 0:0\ntmpfs\n{VALUE}{VALUE}read-only\nkept\n");
    assert_eq!(seen.out, expected, "{}", seen.err);
    // What is kept on the disk and what is shown has no trace of the value.
    lab.strata("commit holder made").ok();
    lab.strata("stop -t 0 holder").ok();
    lab.strata("commit holder made-again").ok();
    for line in [
        "inspect --reveal holder made",
        "secret inspect db.pass",
        "secret ls",
        "history --no-trunc made",
        "logs holder",
    ] {
        let shown = lab.strata(line);
        assert!(!shown.out.contains(VALUE) && !shown.err.contains(VALUE), "{line}: {shown:?}");
    }
    let found =
        lab.machine.sh(&format!("grep -rl --exclude-dir=secrets {VALUE} {} /run", lab.machine.root().display()));
    assert_eq!(found.out, "");
    assert!(!lab.strata("diff holder").out.contains("secrets"));
    let made =
        lab.machine.strata(["run", "--rm", "--network", "none", "made", "sh", "-c", "ls -a /run/secrets; cat /etc/pw"]);
    assert!(!made.out.contains(VALUE), "{made:?}");
    // It stays as long as it is needed.
    assert_eq!(lab.strata("secret rm db.pass").fails(1), "strata: secret db.pass is in use by holder\n");
    lab.strata("rm holder").ok();
    assert_eq!(lab.strata("secret rm db.pass").ok(), "db.pass\n");
    assert_eq!(lab.strata("secret rm db.pass").fails(1), "strata: secret db.pass not found\n");
    let left = lab.machine.sh(&format!("grep -rl {VALUE} {} /run", lab.machine.root().display()));
    assert_eq!(left.out, "");
}

#[test]
fn secrets_are_made_listed_and_refused_as_dockers() {
    need!(needs());
    let lab = Lab::start();
    let file = lab.machine.dir().join("value");
    std::fs::write(&file, "x").unwrap();
    let from_file = format!("secret create -l a=b one {}", file.display());
    lab.strata(&from_file).ok();
    assert_eq!(lab.strata(&from_file).fails(1), "strata: secret one already exists\n");
    assert_eq!(lab.strata("secret ls --format {{.Name}}:{{.Labels}} -f label=a").ok(), "one:a=b\n");
    assert_eq!(lab.strata("secret inspect -f {{.Spec.Name}}:{{.Spec.Labels.a}} one").ok(), "one:b\n");
    let mode = lab
        .machine
        .sh(&format!("stat -c '%a' {0}/secrets {0}/secrets/one {0}/secrets/one/value", lab.machine.root().display()));
    assert_eq!(mode.ok(), "700\n700\n600\n");
    for (line, why) in [
        ("secret create two", "from a file, or from standard input"),
        ("secret create ../two /etc/hostname", "invalid secret name"),
        ("secret create two /absent", "no such file or directory"),
        ("secret create two /dev/null", "secret data must be larger than 0"),
        ("create --network none --secret absent box", "secret absent not found"),
        ("create --network none --secret one,target=../x box", "invalid secret target"),
        ("create --network none --secret one --secret one box", "two secrets have the target /run/secrets/one"),
        ("run --rm --network none --secret one,type=env box", "secrets are files"),
    ] {
        let ran = lab.strata(line);
        assert!(ran.code != 0 && ran.err.contains(why), "{line}: {ran:?}");
    }
    lab.strata("secret rm one").ok();
    lab.is_clean();
}
