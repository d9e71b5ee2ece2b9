//! Which way leads to a registry: proxies, certificates, aliases.

use std::process::Command;

use strata_testkit::mock_registry::MockRegistry;
use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host, need};

use crate::small;

/// `registries.conf` for a test.
fn conf(machine: &Machine, text: &str) -> std::path::PathBuf {
    let path = machine.dir().join("registries.conf");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn proxies_come_from_the_environment() {
    need!(host::root());
    let proxy = MockRegistry::start();
    proxy.put_image("app", "1", &small("a"));
    let url = format!("http://{}", proxy.host());
    let pull = |name: &str, value: &str, none: &str| {
        let machine = Machine::start();
        let conf = conf(&machine, "[[registry]]\nlocation = 'far.invalid:5000'\ninsecure = true\n");
        let mut command = machine.strata_command(["pull", "-q", "far.invalid:5000/app:1"]);
        command.env("CONTAINERS_REGISTRIES_CONF", conf).env(name, value).env("no_proxy", none);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY"] {
        let before = proxy.count("GET", "http://far.invalid:5000/v2/");
        assert_eq!(pull(name, &url, "").0, Some(0), "{name}");
        assert!(proxy.count("GET", "http://far.invalid:5000/v2/") > before, "{name}");
    }
    let before = proxy.seen().len();
    let (code, error) = pull("http_proxy", &url, "other.invalid,far.invalid");
    assert!(code == Some(1) && error.contains("far.invalid"), "{error}");
    assert_eq!(proxy.seen().len(), before, "a host that needs no proxy was asked for there");
    let (code, error) = pull("http_proxy", "http://me:secret@127.0.0.1:1", "");
    assert!(code == Some(1) && !error.contains("secret"), "{error}");
}

#[test]
fn a_registry_with_a_certificate_of_its_own_is_trusted_by_its_folder() {
    need!(host::root(), host::program("docker-registry"), host::program("openssl"), host::program("busybox"));
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = (dir.path().join("ca.crt"), dir.path().join("ca.key"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    assert!(openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate).output().unwrap().status.success());
    let registry = Registry::start_tls(&certificate, &key);
    let machine = Machine::start();
    let name = format!("{}/app:1", registry.host());
    crate::load(&machine, &small("a"), &name);
    let error = machine.strata(["push", &name]).fails(1);
    assert!(error.contains("certificate"), "{error}");
    // A copy of /etc, which only this machine sees.
    let folder = format!("etc/docker/certs.d/{}", registry.host());
    let script = format!(
        "cp -a /etc etc && mkdir -p {folder} && cp {} {folder}/ca.crt && mount --bind etc /etc",
        certificate.display()
    );
    machine.sh(&script).ok();
    machine.strata(["push", "-q", &name]).ok();
    machine.strata(["rmi", &name]).ok();
    machine.strata(["pull", "-q", &name]).ok();
}

#[test]
fn a_short_name_may_be_an_alias() {
    need!(host::root());
    let machine = Machine::start();
    let registry = MockRegistry::start();
    registry.put_image("far/database", "latest", &small("a"));
    registry.put_image("far/database", "2", &small("b"));
    let conf = conf(&machine, &format!("[aliases]\n'db' = '{}/far/database'\n", registry.host()));
    let strata = |args: &[&str]| {
        let mut command = machine.strata_command(args);
        command.env("CONTAINERS_REGISTRIES_CONF", &conf).env("http_proxy", "http://127.0.0.1:1");
        strata_testkit::machine::Ran::from(command.output().unwrap())
    };
    let full = format!("{}/far/database", registry.host());
    let pulled = strata(&["pull", "db"]);
    assert!(pulled.err.contains(&format!("Resolved \"db\" as an alias of {full}")), "{pulled:?}");
    assert!(pulled.ok().ends_with(&format!("Status: Downloaded newer image for {full}:latest\n{full}:latest\n")));
    assert_eq!(strata(&["pull", "-q", "db:2"]).ok(), format!("{full}:2\n"));
    // It is here now: nobody is asked.
    let before = registry.seen().len();
    assert_eq!(strata(&["create", "--network", "none", "db:2", "true"]).code, 0);
    assert_eq!(registry.seen().len(), before);
    // Who writes the registry means it.
    assert!(strata(&["pull", "docker.io/library/db"]).fails(1).contains("docker.io"));
}
