//! The engines that are compared, each with its own store on the arena's filesystem.

use std::path::Path;

use strata_testkit::host;

use crate::bench::arena::{Arena, REGISTRY};
use crate::shell::Done;

/// An engine with Docker's words, or nearly.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    /// The command with its global options.
    pub(crate) command: String,
    pub(crate) version: String,
}

impl Engine {
    /// Empties its store of images.
    pub(crate) fn forget_images(&self) -> String {
        let command = &self.command;
        match self.name {
            "containerd" => format!(
                "{command} images ls -q | xargs -r {command} images rm --sync >/dev/null 2>&1; \
                 {command} content ls -q | xargs -r {command} content rm >/dev/null 2>&1; :"
            ),
            // A cache of builds keeps the layers that it stands on, and the next pull would find them.
            "docker" => format!("{command} system prune -af >/dev/null"),
            _ => format!("{command} images -q | sort -u | xargs -r {command} rmi -f >/dev/null 2>&1; :"),
        }
    }

    pub(crate) fn pull(&self, image: &str) -> String {
        let command = &self.command;
        match self.name {
            "containerd" => format!("{command} images pull --plain-http {REGISTRY}/{image}:latest"),
            "podman" => format!("{command} pull -q --tls-verify=false {REGISTRY}/{image}:latest"),
            _ => format!("{command} pull -q {REGISTRY}/{image}:latest"),
        }
    }

    /// `run --rm --network none IMAGE true` in its own words.
    pub(crate) fn run_true(&self, image: &str) -> String {
        let command = &self.command;
        match self.name {
            "containerd" => format!("{command} run --rm {REGISTRY}/{image}:latest bench true"),
            _ => format!("{command} run --rm --network none {REGISTRY}/{image}:latest true"),
        }
    }
}

/// Starts what is installed. The first is always ours.
pub(crate) fn start_all(arena: &Arena, program: &Path) -> Done<Vec<Engine>> {
    let ours = format!("{} --root {}", program.display(), arena.store("strata").display());
    let mut engines = vec![engine(arena, "strata", ours, "version --format '{{.Client.Version}}'")?];
    if host::find_program("podman").is_some() {
        let store = arena.store("podman");
        let command =
            format!("podman --root {} --runroot /run/bench-podman --cgroup-manager cgroupfs", store.display());
        engines.push(engine(arena, "podman", command, "--version")?);
    }
    if host::find_program("containerd").is_some() {
        engines.push(containerd(arena)?);
    }
    if host::find_program("dockerd").is_some() {
        engines.push(docker(arena)?);
    }
    Ok(engines)
}

fn containerd(arena: &Arena) -> Done<Engine> {
    let socket = "/run/bench-containerd.sock";
    arena.daemon(
        &format!("containerd --root {} --state /run/bench-containerd -a {socket}", arena.store("containerd").display()),
        "containerd.log",
    )?;
    let command = format!("ctr -a {socket} -n bench");
    arena.wait_for(&format!("{command} version >/dev/null 2>&1"))?;
    engine(arena, "containerd", command, "--version")
}

fn docker(arena: &Arena) -> Done<Engine> {
    let socket = "unix:///run/bench-docker.sock";
    arena.daemon(
        &format!(
            "dockerd -H {socket} --data-root {} --exec-root /run/bench-docker -p /run/bench-docker.pid \
             --iptables=false --storage-driver overlay2 --insecure-registry {REGISTRY}",
            arena.store("docker").display()
        ),
        "dockerd.log",
    )?;
    let client = ["/usr/bin/docker", "docker"].into_iter().find(|path| host::find_program(path).is_some());
    let command = format!("{} -H {socket}", client.unwrap_or("docker"));
    arena.wait_for(&format!("{command} version >/dev/null 2>&1"))?;
    engine(arena, "docker", command, "version --format '{{.Server.Version}}'")
}

fn engine(arena: &Arena, name: &'static str, command: String, version: &str) -> Done<Engine> {
    let version = arena.setup(&format!("{command} {version}"))?.trim().to_owned();
    Ok(Engine { name, command, version })
}
