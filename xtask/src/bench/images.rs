//! The images that are measured, made once from Debian packages and kept in a registry's folder below `target/`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use strata_testkit::Machine;

use crate::base;
use crate::shell::{self, Done, workspace};

/// A loopback port for the time of making them.
const ADDRESS: &str = "127.0.0.1:5077";

/// What each image adds to the one before it: name, and the packages of each further layer.
const IMAGES: &[(&str, &[&str])] = &[
    ("debian", &[]),
    ("tomcat", &["default-jre-headless", "tomcat10 tomcat10-docs tomcat10-examples"]),
    ("golang", &["build-essential git ca-certificates pkg-config", "golang"]),
];

/// Where the registry keeps them.
pub(crate) fn registry_dir() -> PathBuf {
    workspace().join("target/bench/registry")
}

/// Makes those that are not there.
pub(crate) fn make(program: &Path) -> Done {
    let done = registry_dir().join("complete");
    if done.is_file() {
        return Ok(());
    }
    let tar = base::debian()?;
    std::fs::create_dir_all(registry_dir()).map_err(|error| format!("cannot make a registry folder: {error}"))?;
    let machine = Machine::start();
    let mut registry = serve(&machine)?;
    let made = IMAGES.iter().try_for_each(|(name, layers)| make_image(&machine, program, &tar, name, layers));
    let _ended = registry.kill();
    let _reaped = registry.wait();
    made?;
    std::fs::write(&done, "").map_err(|error| format!("cannot write {}: {error}", done.display()))
}

fn make_image(machine: &Machine, program: &Path, tar: &Path, name: &str, layers: &[&str]) -> Done {
    eprintln!("Making the image `{name}`");
    let strata = format!("{} --root {}", program.display(), machine.root().display());
    let apt = "export DEBIAN_FRONTEND=noninteractive; mkdir -p /usr/share/man/man1; apt-get update -q && \
               apt-get install -qy --no-install-recommends";
    let clean = "apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin";
    let mut script = format!("set -e\n{strata} import -c 'CMD [\"bash\"]' {} {ADDRESS}/{name}\n", tar.display());
    for packages in layers {
        script.push_str(&format!(
            "{strata} run --name layer --network host {ADDRESS}/{name} sh -c '{apt} {packages} && {clean}'\n\
             {strata} commit layer {ADDRESS}/{name}\n{strata} rm layer\n"
        ));
    }
    script.push_str(&format!("{strata} push -q {ADDRESS}/{name}\n"));
    shell::output(machine.command("sh").args(["-c", &script])).map(drop)
}

fn serve(machine: &Machine) -> Done<Child> {
    let config = machine.dir().join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
         storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: '{ADDRESS}' }}\n",
        registry_dir().display()
    );
    std::fs::write(&config, text).map_err(|error| format!("cannot write {}: {error}", config.display()))?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("cannot start docker-registry: {error}"))
}
