//! `strata info`: display system-wide information.

use serde_json::{Value as Json, json};
use strata_engine::system::Info;

use crate::format::template::{Template, Value};
use crate::format::{self, size};
use crate::verb::prelude::*;

/// What `strata info` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Display system-wide information";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let info = session.engine()?.info()?;
        let text = match self.format.as_deref() {
            None | Some("") => plain(&info),
            Some("json") => format!("{}\n", document(&info, session)),
            Some(format) => {
                let info = Value::typed("system.dockerInfo", &document(&info, session));
                format::document(Template::parse(format), &info)?
            }
        };
        session.out.write_all(text.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

fn plain(info: &Info) -> String {
    let Info { running, paused, stopped, .. } = info;
    let host = &info.host;
    let mut lines = vec![
        format!("Containers: {}", running + paused + stopped),
        format!(" Running: {running}"),
        format!(" Paused: {paused}"),
        format!(" Stopped: {stopped}"),
        format!("Images: {}", info.images),
        format!("Server Version: {}", env!("CARGO_PKG_VERSION")),
        format!("Storage Driver: {}", info.driver),
        format!(" Backing Filesystem: {}", info.filesystem),
        format!(" Integrity: {}", info.integrity),
        format!(" Container Size: {}", size_limit(info)),
        format!(" Free Space: {}", size::human(info.free_bytes)),
    ];
    for driver in &info.drivers {
        let state = driver.missing.as_deref().unwrap_or("works here");
        lines.push(format!(" {}: {state}", driver.name));
    }
    lines.extend([
        String::from("Logging Driver: json-file"),
        String::from("Cgroup Driver: cgroupfs"),
        format!("Cgroup Version: {}", host.cgroup_version),
        String::from("Runtimes: strata"),
        String::from("Default Runtime: strata"),
        String::from("Security Options:"),
        String::from(" seccomp"),
        String::from("  Profile: builtin"),
        format!("Kernel Version: {}", host.kernel),
        format!("Operating System: {}", host.operating_system),
        String::from("OSType: linux"),
        format!("Architecture: {}", host.machine),
        format!("CPUs: {}", host.cpus),
        format!("Total Memory: {}", size::binary(host.memory_bytes)),
        format!("Name: {}", host.name),
        format!("Root Dir: {}", info.root.display()),
    ]);
    lines.join("\n") + "\n"
}

/// What becomes of `--storage-opt size=`.
fn size_limit(info: &Info) -> String {
    info.no_limit.as_ref().map_or_else(|| "can be limited".to_owned(), |reason| format!("cannot be limited: {reason}"))
}

/// The same in the words of Docker's `/info`, but for what only a daemon has.
fn document(info: &Info, session: &Session) -> Json {
    let host = &info.host;
    let status = json!([
        ["Backing Filesystem", info.filesystem],
        ["Integrity", info.integrity],
        ["Container Size", size_limit(info)],
        ["Free Space", size::human(info.free_bytes)]
    ]);
    let plugins = json!({
        "Volume": ["local"], "Network": ["bridge", "host", "macvlan", "null"], "Authorization": null,
        "Log": ["journald", "json-file", "local"],
    });
    let swarm = json!({
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "",
        "RemoteManagers": null,
    });
    json!({
        "Containers": info.running + info.paused + info.stopped,
        "ContainersRunning": info.running, "ContainersPaused": info.paused, "ContainersStopped": info.stopped,
        "Images": info.images, "Driver": info.driver, "DriverStatus": status,
        "LoggingDriver": "json-file", "CgroupDriver": "cgroupfs", "CgroupVersion": host.cgroup_version.to_string(),
        "KernelVersion": host.kernel, "OperatingSystem": host.operating_system, "OSType": "linux",
        "Architecture": host.machine, "NCPU": host.cpus, "MemTotal": host.memory_bytes,
        "DockerRootDir": info.root, "Name": host.name, "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Runtimes": {"strata": {}}, "DefaultRuntime": "strata", "SecurityOptions": ["name=seccomp,profile=builtin"],
        "Plugins": plugins, "Swarm": swarm, "IndexServerAddress": "https://index.docker.io/v1/", "Isolation": "",
        "Labels": [], "Warnings": [], "ExperimentalBuild": false, "Debug": session.globals.debug,
        "SystemTime": session.now().to_string(),
        // Nothing that could be restarted is between a container and its shim.
        "LiveRestoreEnabled": true,
    })
}
