//! `login` and `logout`: a registry with passwords, one with tokens, a credential helper.

use std::os::unix::fs::PermissionsExt as _;

use strata_testkit::machine::{Ran, feed};
use strata_testkit::mock_registry::{Door, MockRegistry};
use strata_testkit::registry::{PASSWORD, Registry, USER};
use strata_testkit::{Machine, host, need};

use crate::{load, small};

/// Logs in with the password on standard input.
fn login(machine: &Machine, user: &str, password: &str, host: &str) -> Ran {
    machine.strata_with_input(["login", "-u", user, "--password-stdin", host], format!("{password}\n").as_bytes())
}

#[test]
fn only_who_knows_the_password_may_push_and_pull() {
    need!(host::root(), host::program("docker-registry"), host::program("busybox"));
    let machine = Machine::isolated();
    let registry = Registry::start_locked_in(&machine);
    let (host, name) = (registry.host(), format!("{}/app:1", registry.host()));
    load(&machine, &small("a"), &name);

    let error = machine.strata(["push", &name]).fails(1);
    assert!(error.contains("denied") || error.contains("no basic auth credentials"), "{error}");
    let error = login(&machine, USER, "wrong", &host).fails(1);
    assert!(error.contains("unauthorized"), "{error}");
    assert!(!machine.dir().join(".docker/config.json").exists(), "a wrong password was kept");
    let error = machine.strata(["login", "--password-stdin", &host]).fails(1);
    assert!(error.contains("Must provide --username with --password-stdin"), "{error}");
    let error = machine.strata(["login", "-u", USER, &host]).fails(1);
    assert!(error.contains("non TTY device"), "{error}");

    let out = login(&machine, USER, PASSWORD, &host).ok();
    assert_eq!(out, "Login Succeeded\n");
    let config = machine.dir().join(".docker/config.json");
    assert_eq!(std::fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains(&host) && !text.contains(PASSWORD), "{text}");
    machine.strata(["push", "-q", &name]).ok();
    machine.strata(["rmi", &name]).ok();
    machine.strata(["pull", "-q", &name]).ok();

    let out = machine.strata(["logout", &host]).ok();
    assert_eq!(out, format!("Removing login credentials for {host}\n"));
    assert_eq!(machine.strata(["logout", &host]).ok(), out, "as Docker says it, whoever was logged in");
    assert!(!std::fs::read_to_string(&config).unwrap().contains(&host));
    machine.strata(["rmi", &name]).ok();
    let error = machine.strata(["pull", &name]).fails(1);
    assert!(error.contains("pull access denied") || error.contains("no basic auth credentials"), "{error}");
}

#[test]
fn a_registry_may_give_tokens() {
    need!(host::root());
    let machine = Machine::start();
    let registry = MockRegistry::start();
    registry.set_door(Door::Bearer(Some((USER.to_owned(), PASSWORD.to_owned()))));
    let (host, name) = (registry.host(), format!("{}/app:1", registry.host()));
    registry.put_image("app", "1", &small("a"));
    let error = machine.strata(["pull", &name]).fails(1);
    assert!(error.contains("pull access denied"), "{error}");
    let error = login(&machine, USER, "wrong", &host).fails(1);
    assert!(error.contains("incorrect username or password"), "{error}");
    login(&machine, USER, PASSWORD, &host).ok();
    machine.strata(["pull", "-q", &name]).ok();
    let pushed = format!("{host}/other:1");
    machine.strata(["tag", &name, &pushed]).ok();
    machine.strata(["push", "-q", &pushed]).ok();
    assert!(registry.manifest("other", "1").is_some());
    machine.strata(["logout", &host]).ok();
    machine.strata(["rmi", &name, &pushed]).ok();
    machine.strata(["pull", &name]).fails(1);
}

/// A helper as docker-credential-helpers describes them: it keeps one secret in a file.
const HELPER: &str = r#"#!/bin/sh
echo "$1" >> "$HOME/helper-calls"
case $1 in
  store) cat > "$HOME/secret" ;;
  get) cat > /dev/null; [ -s "$HOME/secret" ] && cat "$HOME/secret" || { echo "credentials not found in native keychain"; exit 1; } ;;
  erase) cat > /dev/null; rm -f "$HOME/secret" ;;
esac
"#;

#[test]
fn a_credential_helper_keeps_the_secret_in_place_of_the_file() {
    need!(host::root(), host::program("docker-registry"), host::program("busybox"));
    let machine = Machine::isolated();
    let registry = Registry::start_locked_in(&machine);
    let (host, name) = (registry.host(), format!("{}/app:1", registry.host()));
    load(&machine, &small("a"), &name);
    let (bin, config) = (machine.dir().join("bin"), machine.dir().join(".docker"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&config).unwrap();
    let helper = bin.join("docker-credential-test");
    std::fs::write(&helper, HELPER).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(config.join("config.json"), r#"{"credsStore": "test", "HttpHeaders": {"X": "kept"}}"#).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let strata = |args: &[&str], input: &str| {
        let mut command = machine.strata_command(args);
        command.env("PATH", &path);
        feed(command, input.as_bytes())
    };
    let logged_in = strata(&["login", "-u", USER, "--password-stdin", &host], PASSWORD);
    assert_eq!((logged_in.code, &*logged_in.out), (0, "Login Succeeded\n"), "{}", logged_in.err);
    assert!(!logged_in.err.contains("unencrypted"), "{}", logged_in.err);
    let secret = std::fs::read_to_string(machine.dir().join("secret")).unwrap();
    assert!(secret.contains(PASSWORD) && secret.contains(&host), "{secret}");
    let text = std::fs::read_to_string(config.join("config.json")).unwrap();
    assert!(!text.contains("\"auth\"") && text.contains("kept"), "{text}");
    strata(&["push", "-q", &name], "").ok();
    strata(&["logout", &host], "").ok();
    assert!(!machine.dir().join("secret").exists());
    strata(&["push", "-q", &name], "").fails(1);
    let calls = std::fs::read_to_string(machine.dir().join("helper-calls")).unwrap();
    assert!(["store", "get", "erase"].iter().all(|call| calls.lines().any(|line| line == *call)), "{calls}");
}
