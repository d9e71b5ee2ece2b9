//! The images that are measured, made once from Debian packages and kept in a registry's folder below `target/`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use strata_testkit::Machine;

use crate::base;
use crate::shell::{self, Done, workspace};

/// A loopback port for the time of making them.
const ADDRESS: &str = "127.0.0.1:5077";

/// What an image stands on, and the packages of each further layer.
struct Recipe {
    name: &'static str,
    base: fn() -> Done<PathBuf>,
    layers: &'static [&'static str],
}

const IMAGES: &[Recipe] = &[
    Recipe { name: "debian", base: base::debian, layers: &[] },
    Recipe {
        name: "tomcat",
        base: base::debian,
        layers: &["default-jre-headless", "tomcat10 tomcat10-docs tomcat10-examples"],
    },
    Recipe {
        name: "golang",
        base: base::debian,
        layers: &["build-essential git ca-certificates pkg-config", "golang"],
    },
    // The same and other things on the base with its security updates, installed in another order.
    Recipe { name: "debian-up", base: base::debian_updated, layers: &[] },
    Recipe {
        name: "tomcat-up",
        base: base::debian_updated,
        layers: &["tomcat10 tomcat10-docs tomcat10-examples default-jre-headless"],
    },
    Recipe { name: "share-a", base: base::debian, layers: &["python3", "git", "g++", "perl curl vim"] },
    Recipe { name: "share-b", base: base::debian_updated, layers: &["vim curl perl", "g++ python3 git"] },
];

/// The names of all images.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    IMAGES.iter().map(|recipe| recipe.name)
}

/// Where the registry keeps them.
pub(crate) fn registry_dir() -> PathBuf {
    workspace().join("target/bench/registry")
}

/// Makes those that are not there.
pub(crate) fn make(program: &Path) -> Done {
    // The tag is what comes last.
    let is_there = |name: &str| {
        let tags = registry_dir().join("docker/registry/v2/repositories").join(name).join("_manifests/tags");
        tags.join("latest/current/link").is_file()
    };
    let missing: Vec<&Recipe> = IMAGES.iter().filter(|recipe| !is_there(recipe.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    std::fs::create_dir_all(registry_dir()).map_err(|error| format!("cannot make a registry folder: {error}"))?;
    let machine = Machine::start();
    let mut registry = serve(&machine)?;
    let made = missing.into_iter().try_for_each(|recipe| {
        let tar = (recipe.base)()?;
        make_image(&machine, program, &tar, recipe.name, recipe.layers)
    });
    let _ended = registry.kill();
    let _reaped = registry.wait();
    made
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
