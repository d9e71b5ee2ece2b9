//! Credentials that an image would show: told at build, commit and push.

use strata_testkit::registry::Registry;
use strata_testkit::{host, need};

use super::{build, machine, need_all, write};

const HINT: &str =
    "hint: give it with --secret, to the build or to the container; --allow-secrets if it is meant to be seen\n";

fn warnings(err: &str) -> Vec<&str> {
    err.lines()
        .filter_map(|line| line.strip_prefix("warning: the image shows what looks like a credential: "))
        .collect()
}

#[test]
fn credentials_in_an_image_are_told_at_build_commit_and_push() {
    need_all!();
    let machine = machine(&[("public.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n")]);
    // In parts, so that nobody who searches the tree finds one.
    let key = ["-----BEGIN", "OPENSSH PRIVATE", "KEY-----\nb3Blbn\n"].join(" ");
    let token = format!("ghp{}", "_".to_owned() + &"aB3".repeat(12));
    write(&machine, "deploy", &key);
    let file = format!(
        "FROM base\nARG WHERE=https://me:hunter2@host/x\nENV NOTHING=much UPLOAD={token} DB_PASSWD=x\nCOPY deploy public.pem /keys/\n\
         RUN echo {token} > /dev/null\n"
    );
    let ran = build(&machine, &file, &["-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        warnings(&ran.err),
        [
            "variable UPLOAD (GitHub token)",
            "argument WHERE (URL with a password), in its history",
            "step RUN (GitHub token), in its history",
            "file /keys/deploy (private key)",
        ],
        "{}",
        ran.err
    );
    assert!(ran.err.contains("(ENV \"DB_PASSWD\")"), "the check of the Dockerfile says it: {}", ran.err);
    assert!(ran.err.ends_with(HINT), "{}", ran.err);
    let silent = build(&machine, &file, &["--no-cache", "--allow-secrets"]);
    assert_eq!((silent.code, warnings(&silent.err).len()), (0, 0), "{}", silent.err);
    assert!(!silent.err.contains("SecretsUsedInArgOrEnv"), "{}", silent.err);

    // In a file that a container wrote, too.
    machine.strata(["create", "--name", "box", "base"]).ok();
    machine.strata(["cp", "ctx/deploy", "box:/root/id"]).ok();
    let committed = machine.strata(["commit", "box", "kept"]);
    assert_eq!(warnings(&committed.err), ["file /root/id (private key)"], "{}", committed.err);
    assert!(committed.ok().starts_with("sha256:"));
    assert_eq!(machine.strata(["commit", "--allow-secrets", "box", "kept"]).err, "");
    // It is told once, and what takes long to read is left to the push.
    machine.strata(["create", "--name", "next", "kept"]).ok();
    machine.strata(["cp", "ctx/public.pem", "next:/root/public.pem"]).ok();
    assert_eq!(machine.strata(["commit", "next", "later"]).err, "");
    std::fs::File::create(machine.dir().join("large")).unwrap().set_len(33 << 20).unwrap();
    machine.strata(["cp", "large", "box:/root/large"]).ok();
    assert_eq!(machine.strata(["commit", "box", "kept"]).err, "");
    assert_eq!(warnings(&build(&machine, "FROM base\nCOPY public.pem /\n", &[]).err).len(), 0);

    need!(host::program("docker-registry"));
    let registry = Registry::start_in(&machine);
    let name = format!("{}/kept:1", registry.host());
    machine.strata(["tag", "kept", &name]).ok();
    let pushed = machine.strata(["push", &name]);
    assert_eq!((pushed.code, warnings(&pushed.err)), (0, vec!["file /root/id (private key)"]), "{}", pushed.err);
    assert_eq!(warnings(&machine.strata(["push", "--allow-secrets", &name]).err).len(), 0);
    // A build from memory that is pushed is told of again.
    let name = format!("{}/app:1", registry.host());
    let pushed = build(&machine, &file, &["-t", &name, "--push"]);
    assert_eq!((pushed.code, warnings(&pushed.err).len()), (0, 4), "{}", pushed.err);
}
