//! RUN, as an instruction of a stage.

use strata_dockerfile::Run;
use strata_engine::container::HostConfig;
use strata_types::Platform;

use super::StageRun;
use super::hide::Hiding;
use super::mounts::Given;
use crate::error::Problem;
use crate::graph::Build;
use crate::key::Key;
use crate::run::{Command, Setting, run};

/// The argument that names the host of every RUN.
const HOSTNAME_ARGUMENT: &str = "BUILDKIT_SANDBOX_HOSTNAME";

impl StageRun<'_> {
    pub(super) fn run(&mut self, original: &str, instruction: &Run) -> Result<(), Problem> {
        let build = self.build;
        if instruction.insecure && !build.request.allow_insecure {
            return Err(Problem::Insecure);
        }
        if let Some(name) = instruction.required_devices.first() {
            return Err(Problem::Device(name.clone()));
        }
        let command = Command::of(instruction, self.config());
        let env = self.environment();
        let wishes = self.mounts(&instruction.mounts)?;
        let network = match instruction.network.as_str() {
            "default" => build.request.network.clone(),
            own => own.to_owned(),
        };
        let (layers, config) = (self.state.base.layers.clone(), self.config().clone());
        let platform = self.state.base.config.platform();
        let hostname = build.plan.globals.given(HOSTNAME_ARGUMENT).filter(|name| !name.is_empty());
        let key = || {
            let mut key = Key::of("run");
            key.layers(&layers);
            key.parts("word", &command.words);
            key.parts("script", command.script.iter().map(|(_, text)| text));
            key.parts("variable", &env);
            key.part("user", &config.user);
            key.part("directory", &config.working_dir);
            key.part("network", &network);
            key.part("security", if instruction.insecure { "insecure" } else { "sandbox" });
            key.parts("hostname", hostname);
            if platform != build.native {
                key.part("platform", platform.to_string());
            }
            wishes.iter().try_for_each(|wish| wish.read_into(&mut key, build))?;
            build.epoch_into(&mut key);
            Ok(key)
        };
        let work = |number| {
            warn_of_emulation(build, number, &platform, instruction.insecure);
            let mut given = Given::default();
            wishes.iter().try_for_each(|wish| wish.give(build, &mut given))?;
            let mut all = env.clone();
            all.append(&mut given.env);
            all.extend(build.plan.globals.proxies().map(|(name, value)| format!("{name}={value}")));
            let setting = Setting {
                layers: &layers,
                config: &config,
                env: all,
                hostname,
                network: &network,
                insecure: instruction.insecure,
                host: &build.request.host,
                mounts: std::mem::take(&mut given.mounts),
                newest: build.newest(),
                platform: platform.clone(),
            };
            let output = |is_stderr, bytes: &[u8]| build.observer.output(number, is_stderr, bytes);
            let hiding = Hiding::new(&given.hidden, &output);
            let done = run(build.bench, &command, setting, &|is_stderr, bytes| hiding.write(is_stderr, bytes), build);
            hiding.finish();
            let done = done?;
            match done.exit_code {
                0 => Ok(done.layer),
                code => Err(Problem::Exit { command: command.shown(), code }),
            }
        };
        let layer = self.change(&shown(original), &[&key], &work)?;
        let text = format!("RUN {}{} # buildkit", self.shown_arguments(), command.shown());
        self.tell(text, layer);
        Ok(())
    }

    /// The variables that a program sees: the image's, and arguments they do not hide.
    fn environment(&self) -> Vec<String> {
        self.state.scope.environment(&self.config().env)
    }

    /// The arguments as histories show them before a command: `|2 a=1 b=2 `.
    fn shown_arguments(&self) -> String {
        let scope = &self.state.scope;
        let value = |name: &str| scope.lookup(&self.config().env, name).unwrap_or_default();
        let shown: Vec<String> = scope.arguments.iter().map(|(name, _)| format!("{name}={}", value(name))).collect();
        if shown.is_empty() { String::new() } else { format!("|{} {} ", shown.len(), shown.join(" ")) }
    }
}

/// Says how far programs for another processor run.
fn warn_of_emulation(build: &Build<'_>, number: usize, platform: &Platform, privileged: bool) {
    if *platform != build.native {
        let host = HostConfig { privileged, ..build.request.host.clone() };
        let warning = build.bench.engine().foreign_warning(platform, &host);
        warning.iter().for_each(|warning| build.observer.status(number, warning));
    }
}

/// An instruction on one line.
pub(super) fn shown(original: &str) -> String {
    original.split_whitespace().collect::<Vec<_>>().join(" ")
}
