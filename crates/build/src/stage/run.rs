//! RUN, as an instruction of a stage.

use strata_dockerfile::Run;

use super::StageRun;
use crate::error::Problem;
use crate::key::Key;
use crate::run::{Command, Setting, run};

impl StageRun<'_> {
    pub(super) fn run(&mut self, original: &str, instruction: &Run) -> Result<(), Problem> {
        let build = self.build;
        let command = Command::of(instruction, self.config());
        let env = self.environment();
        let network = match instruction.network.as_str() {
            "default" => build.request.network.clone(),
            own => own.to_owned(),
        };
        let (layers, config) = (self.state.base.layers.clone(), self.config().clone());
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
            build.epoch_into(&mut key);
            Ok(key)
        };
        let work = |number| {
            let mut all = env.clone();
            all.extend(build.globals.proxies().map(|(name, value)| format!("{name}={value}")));
            let setting = Setting {
                layers: &layers,
                config: &config,
                env: all,
                network: &network,
                insecure: instruction.insecure,
                host: &build.request.host,
                mounts: Vec::new(),
                newest: build.newest(),
            };
            let output = |is_stderr, bytes: &[u8]| build.observer.output(number, is_stderr, bytes);
            let done = run(build.bench, &command, setting, &output, build)?;
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
        let env = &self.config().env;
        let arguments = self.state.scope.visible(env).map(|(name, value)| format!("{name}={value}"));
        env.iter().cloned().chain(arguments).collect()
    }

    /// The arguments as histories show them before a command: `|2 a=1 b=2 `.
    fn shown_arguments(&self) -> String {
        let scope = &self.state.scope;
        let value = |name: &str| scope.lookup(&self.config().env, name).unwrap_or_default();
        let shown: Vec<String> = scope.arguments.iter().map(|(name, _)| format!("{name}={}", value(name))).collect();
        if shown.is_empty() { String::new() } else { format!("|{} {} ", shown.len(), shown.join(" ")) }
    }
}

/// An instruction on one line.
pub(super) fn shown(original: &str) -> String {
    original.split_whitespace().collect::<Vec<_>>().join(" ")
}
