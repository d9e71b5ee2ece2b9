//! `cargo xtask demo`: the whole way on a real image, as a person would type it.

use std::path::{Path, PathBuf};
use std::process::Command;

use strata_testkit::registry::Registry;
use strata_testkit::{Machine, host};

use crate::shell::{self, Done};
use crate::{base, build, packages};

/// Shows everything once, in namespaces and a folder of its own that are gone afterwards.
pub(crate) fn run() -> Done {
    host::root().map_err(|_| "the demo makes mounts: please run it as root".to_owned())?;
    packages::install(packages::DEMO)?;
    let program = build::release()?;
    let tar = base::debian()?;
    let stage = Stage::new(program);
    stage.publish(&tar)?;
    stage.pull_and_look()?;
    stage.change_and_commit()?;
    stage.push_and_come_back()?;
    what_next(&stage.program);
    Ok(())
}

struct Stage {
    machine: Machine,
    registry: Registry,
    program: PathBuf,
    image: String,
}

impl Stage {
    fn new(program: PathBuf) -> Self {
        let registry = Registry::start();
        let image = format!("{}/debian", registry.host());
        Self { machine: Machine::start(), registry, program, image }
    }

    fn strata(&self, root: &str, args: &[&str]) -> Command {
        let mut command = self.machine.command(&self.program);
        command.arg("--root").arg(self.machine.dir().join(root)).args(args);
        command.stdin(std::process::Stdio::inherit());
        command
    }

    /// Prints a command as one would type it and runs it.
    fn show(&self, args: &[&str]) -> Done {
        println!("\n$ strata {}", args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" "));
        shell::run(&mut self.strata("store", args))
    }

    /// Runs a command that is expected to fail with `code`.
    fn show_failing(&self, args: &[&str], code: i32) -> Done {
        println!("\n$ strata {}", args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" "));
        let status = self.strata("store", args).status().map_err(|error| format!("cannot run strata: {error}"))?;
        if status.code() == Some(code) { Ok(()) } else { Err(format!("expected exit code {code}, got {status}")) }
    }

    /// The registry gets the base image from another store, so that ours starts empty.
    fn publish(&self, tar: &Path) -> Done {
        say(&format!("A Debian base image made from packages is served by a registry at {}.", self.registry.host()));
        let tar = tar.display().to_string();
        let import = ["import", "-c", "CMD [\"bash\"]", "-m", "made by mmdebstrap", &tar, &self.image];
        shell::run(self.strata("publisher", &import).stdout(std::process::Stdio::null()))?;
        shell::run(self.strata("publisher", &["push", "--quiet", &self.image]).stdout(std::process::Stdio::null()))
    }

    fn pull_and_look(&self) -> Done {
        say("What would a pull fetch, and does it fit?");
        self.show(&["pull", "--plan", &self.image])?;
        say("Pull it and look.");
        self.show(&["pull", &self.image])?;
        self.show(&["images"])?;
        say("There is no vim in it (exit code 127: command not found).");
        self.show_failing(&["run", "--rm", "--network", "none", &self.image, "vim", "--version"], 127)
    }

    fn change_and_commit(&self) -> Done {
        say("Install vim in a container. It writes into its own layer; the image stays as it is.");
        let install = "apt-get update -q=2 && apt-get install -q=2 -y --no-install-recommends vim >/dev/null 2>&1 \
                       && apt-get clean && rm -rf /var/lib/apt/lists/*";
        self.show(&["run", "--name", "editor", "--network", "host", &self.image, "sh", "-c", install])?;
        say("What did that change? (the first lines)");
        let diff = self.strata("store", &["diff", "editor"]).output().map_err(|error| error.to_string())?;
        println!("\n$ strata diff editor | head -12");
        String::from_utf8_lossy(&diff.stdout).lines().take(12).for_each(|line| println!("{line}"));
        say("Keep the change as a new layer.");
        let vim = self.vim();
        self.show(&["commit", "-m", "add vim", "-a", "A. Newcomer <newcomer@example.org>", "editor", &vim])?;
        self.show(&["history", &vim])?;
        let layers = "{{.Author}}: {{.Comment}}{{range .RootFS.Layers}}\n  layer {{.}}{{end}}";
        self.show(&["inspect", "--format", layers, &vim])?;
        say("Both images share the base layer: it is on this disk once.");
        self.show(&["system", "df", "-v"])
    }

    fn push_and_come_back(&self) -> Done {
        let vim = self.vim();
        say("Push it: only the new layer travels.");
        self.show(&["push", &vim])?;
        say("Remove everything.");
        self.show(&["rm", "editor"])?;
        self.show(&["rmi", &vim, &self.image])?;
        self.show(&["images", "--all"])?;
        self.show(&["check"])?;
        say("Pull it back and run vim.");
        self.show(&["pull", &vim])?;
        self.show(&["run", "--rm", "--network", "none", &vim, "sh", "-c", "vim --version | head -2"])
    }

    fn vim(&self) -> String {
        format!("{}-vim", self.image)
    }
}

fn say(text: &str) {
    println!("\n# {text}");
}

fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if arg.chars().all(plain) { arg.to_owned() } else { format!("'{}'", arg.replace('\n', "\\n")) }
}

fn what_next(program: &Path) {
    let program = program.display();
    println!(
        "\nThat was the whole way. To go on:\n  \
         {program} pull IMAGE        from any registry; `strata login` for private ones\n  \
         {program} run -it IMAGE sh  a shell in a container of your own\n  \
         {program} --help            the words are those you know from Docker\n  \
         docs/tutorial.md            what layers are, seen with your own eyes\n  \
         cargo xtask dist            the binary with man pages and completions, to install"
    );
}
