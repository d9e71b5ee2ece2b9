//! RUN: a container on what there is, whose changes become a layer.

use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use strata_dockerfile::{Heredoc, Run};
use strata_engine::container::{ContainerConfig, HostConfig};
use strata_engine::network::EndpointWish;
use strata_engine::workbench::{StepDone, StepMount, StepRequest, StepSource, StepStreams};
use strata_types::config::RunConfig;
use strata_types::{DiffId, Platform, Watch};

use crate::error::Problem;

/// What `hostname` says in every RUN, as with BuildKit: a name of the host's would end up in layers.
const HOSTNAME: &str = "buildkitsandbox";
/// A variable without a value is none.
const UNSET_HOSTNAME: &str = "HOSTNAME";
/// Where a script that stands in the Dockerfile is.
const SCRIPTS: &str = "/dev/pipes";

/// What RUN runs.
pub(crate) struct Command {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// A script with its own interpreter, and its path.
    pub(crate) script: Option<(String, String)>,
}

impl Command {
    /// From the instruction; heredocs are the shell's, or scripts.
    pub(crate) fn of(run: &Run, config: &RunConfig) -> Self {
        let command = &run.command;
        if command.exec {
            return Self { words: command.words.clone(), script: None };
        }
        let mut line = command.words.join(" ");
        let mut script = None;
        let alone = || Heredoc::parse(line.trim()).ok().flatten();
        match &command.heredocs[..] {
            [] => {}
            [heredoc] if alone().is_some() => {
                let text = heredoc.text();
                if text.starts_with("#!") {
                    line = format!("{SCRIPTS}/{}", heredoc.name);
                    script = Some((line.clone(), text));
                } else {
                    line = text;
                }
            }
            heredocs => {
                for heredoc in heredocs {
                    line.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
                }
            }
        }
        Self { words: config.line_shell().into_iter().chain([line]).collect(), script }
    }

    /// As messages show it.
    pub(crate) fn shown(&self) -> String {
        self.words.join(" ")
    }
}

/// How a command runs.
pub(crate) struct Setting<'a> {
    /// What it stands on.
    pub(crate) layers: &'a [DiffId],
    /// The image's config.
    pub(crate) config: &'a RunConfig,
    /// The variables it sees.
    pub(crate) env: Vec<String>,
    /// What `hostname` says, if it was given.
    pub(crate) hostname: Option<&'a str>,
    /// The network.
    pub(crate) network: &'a str,
    /// It may do what root may.
    pub(crate) insecure: bool,
    /// Limits and the like.
    pub(crate) host: &'a HostConfig,
    /// What else is mounted.
    pub(crate) mounts: Vec<StepMount>,
    /// No time in its layer is later.
    pub(crate) newest: Option<strata_layer::Time>,
    /// What its programs are for.
    pub(crate) platform: Platform,
}

/// Runs a command; what it writes goes to `output`, with whether it is an error stream.
pub(crate) fn run(
    bench: &strata_engine::workbench::Workbench<'_>,
    command: &Command,
    setting: Setting<'_>,
    output: &(dyn Fn(bool, &[u8]) + Sync),
    watch: &dyn Watch,
) -> Result<StepDone, Problem> {
    let Setting { layers, config, env, hostname, network, insecure, host, mut mounts, newest, platform } = setting;
    let mut host = host.clone();
    let networks = connect(&mut host, network)?;
    if insecure {
        host.privileged = true;
        (host.masked_paths, host.readonly_paths) = (None, None);
    }
    // Kept open until the program has ended: it is read by its path.
    let script = command.script.as_ref().map(|(path, text)| script_mount(path, text)).transpose()?;
    mounts.extend(script.iter().map(|(mount, _)| mount.clone()));
    // A container is told what its host is called; a step is not: it would end up in layers.
    let env = [UNSET_HOSTNAME.to_owned()].into_iter().chain(env).collect();
    let config = ContainerConfig {
        hostname: hostname.unwrap_or(HOSTNAME).to_owned(),
        run: RunConfig {
            user: config.user.clone(),
            env,
            cmd: Some(command.words.clone()),
            working_dir: config.working_dir.clone(),
            ..RunConfig::default()
        },
        ..ContainerConfig::default()
    };
    let request = StepRequest { layers, config, host, networks, mounts, newest, platform };
    let failed = |act| move |errno: rustix::io::Errno| Problem::System { act, source: errno.into() };
    let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    std::thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, &|bytes| output(false, bytes)));
        scope.spawn(|| pass_on(stderr, &|bytes| output(true, bytes)));
        let streams = StepStreams { stdout: stdout_end.as_fd(), stderr: stderr_end.as_fd() };
        let done = bench.run(request, streams, watch);
        drop((stdout_end, stderr_end));
        Ok(done?)
    })
}

fn pass_on(from: OwnedFd, to: &dyn Fn(&[u8])) {
    const BUFFER_BYTES: usize = 32 << 10;
    let mut from = std::fs::File::from(from);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => to(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::debug!(%error, "the rest of a step's output is lost");
                return;
            }
        }
    }
}

/// Puts the host's part right for a network; says where to connect.
fn connect(host: &mut HostConfig, network: &str) -> Result<Vec<EndpointWish>, Problem> {
    let mode = match network {
        "" | "default" | "bridge" => "bridge",
        "none" | "host" => network,
        other if other.starts_with("container:") => return Err(Problem::Network(other.to_owned())),
        other => other,
    };
    mode.clone_into(&mut host.network_mode);
    if matches!(mode, "none" | "host") {
        return Ok(Vec::new());
    }
    Ok(vec![EndpointWish { network: mode.to_owned(), ..EndpointWish::default() }])
}

/// A script as a file that only this process has.
fn script_mount(path: &str, text: &str) -> Result<(StepMount, OwnedFd), Problem> {
    let (source, file) = in_memory(text.as_bytes())?;
    let source = StepSource::Secret { source, uid: 0, gid: 0, mode: 0o755 };
    Ok((StepMount { target: path.to_owned(), read_only: true, source }, file))
}

/// A file in memory with these bytes, and the path by which others read it as long as it is open.
pub(crate) fn in_memory(bytes: &[u8]) -> Result<(std::path::PathBuf, OwnedFd), Problem> {
    let failed = |source: io::Error| Problem::System { act: "make a file in memory", source };
    let file = rustix::fs::memfd_create("strata-build", MemfdFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).map_err(|errno| failed(errno.into()))?;
        rest = &rest[written..];
    }
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Ok((path.into(), file))
}

#[cfg(test)]
mod tests {
    use strata_dockerfile::{Dockerfile, Instruction};

    use super::*;

    fn check(text: &str, words: &[&str], script: Option<&str>) {
        let file = Dockerfile::parse(&format!("FROM x\n{text}\n")).unwrap();
        let Instruction::Run(run) = &file.stages[0].steps[0].instruction else { panic!("no RUN") };
        let command = Command::of(run, &RunConfig::default());
        assert_eq!(command.words, words);
        assert_eq!(command.script.as_ref().map(|(_, text)| text.as_str()), script);
    }

    #[test]
    fn commands_are_lists_lines_or_heredocs() {
        check(r#"RUN ["a", "b c"]"#, &["a", "b c"], None);
        check("RUN a b", &["/bin/sh", "-c", "a b"], None);
        check("RUN <<EOF\na\nb\nEOF", &["/bin/sh", "-c", "a\nb\n"], None);
        check("RUN cat <<A > x\n1\nA", &["/bin/sh", "-c", "cat <<A > x\n1\nA"], None);
        check("RUN <<EOF\n#!/bin/python\nx\nEOF", &["/bin/sh", "-c", "/dev/pipes/EOF"], Some("#!/bin/python\nx\n"));
    }
}
