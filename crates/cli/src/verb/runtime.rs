//! `strata runtime`: an OCI runtime's command line, for podman, docker, containerd and whoever calls runc or crun.
//! What stands before its verbs, and how failures are told.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};
use strata_runtime::oci::{Runtime, Systemd};

use crate::argv;
use crate::exit::{Failure, Result};
use crate::session::Session;

/// What may stand between `runtime` and its verb.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Globals {
    /// Directory of what is known about containers (default "/run/strata-runtime")
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// File to which failures and warnings are added
    #[arg(long)]
    pub log: Option<PathBuf>,
    /// How they are written: "text" or "json"
    #[arg(long, default_value = "text")]
    pub log_format: String,
    /// Write what only developers want to know, too
    #[arg(long)]
    pub debug: bool,
    /// Have systemd make control groups: a scope for each container
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Whether the caller is not root ("true", "false", "auto"); found out anyway
    #[arg(long, hide = true)]
    pub rootless: Option<String>,
    /// Where criu is; checkpoints are not offered
    #[arg(long, hide = true)]
    pub criu: Option<String>,
    /// Print the version
    #[arg(short = 'v', long)]
    pub version: bool,
    /// Print this help
    #[arg(short = 'h', long = "help", id = "asked", hide = true)]
    pub help: bool,
}

/// The definitions of these options.
pub fn command() -> clap::Command {
    let command = Globals::augment_args(clap::Command::new("runtime"));
    command.disable_help_flag(true).disable_version_flag(true).args_override_self(true)
}

/// Parses the options before the verb; returns them and the words from the verb on.
pub fn parse(mut words: Vec<OsString>) -> Result<(Globals, Vec<OsString>), clap::Error> {
    let command = command();
    let rest = words.split_off(argv::first_operand(&command, &words));
    let matches = command.try_get_matches_from(std::iter::once(OsString::from("runtime")).chain(words))?;
    Ok((Globals::from_arg_matches(&matches)?, rest))
}

/// What `--version` prints.
pub fn version() -> String {
    format!("strata-runtime version {}\nspec: {}\n", crate::verb::version::LONG, strata_types::runtime_spec::VERSION)
}

/// The runtime that the session is about.
pub(super) fn open(session: &Session) -> Result<Runtime> {
    let usual = || match session.variable("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() && is_person(session) => PathBuf::from(dir).join("strata-runtime"),
        _ => PathBuf::from("/run/strata-runtime"),
    };
    let root = session.runtime.root.clone().unwrap_or_else(usual);
    // Hooks and the container's process have other working directories.
    let systemd = Systemd {
        system_bus: session.variable("DBUS_SYSTEM_BUS_ADDRESS"),
        session_bus: session.variable("DBUS_SESSION_BUS_ADDRESS"),
        runtime_dir: session.variable("XDG_RUNTIME_DIR"),
    };
    Ok(Runtime::new(&std::path::absolute(root)?).with_systemd(systemd, session.runtime.systemd_cgroup))
}

/// Whether `/run` is somebody else's. Somebody who has become root in a user namespace (podman's) is still themselves; root
/// in a system that lives in one says so.
fn is_person(session: &Session) -> bool {
    let in_own_users =
        || !strata_sys::user_namespace::is_initial() && session.variable("USER").as_deref() != Some("root");
    !rustix::process::geteuid().is_root() || in_own_users()
}

/// First thing in verbs whose process becomes the container's: nobody in there must reach this program's file
/// (CVE-2019-5736). It may begin anew with this.
pub(super) fn seal() -> Result<()> {
    Ok(strata_sys::process::seal_own_program().map_err(std::io::Error::from)?)
}

/// Tells of a failure: in the log if there is one, and on standard error.
pub fn tell(failure: &Failure, session: &mut Session) {
    let Some(message) = failure.message() else { return };
    log("error", &message, session);
    if session.runtime.log.is_some() {
        // Nobody can be told that telling failed.
        drop(writeln!(session.err, "{message}"));
    }
}

/// Tells of what went wrong without harm.
pub(super) fn warn(message: &str, session: &mut Session) {
    log("warning", message, session);
}

/// A line of the log, as logrus writes it, whose readers expect it so.
fn log(level: &str, message: &str, session: &mut Session) {
    let time = session.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let quoted = serde_json::Value::from(message).to_string();
    let mut line = String::new();
    let written = match session.runtime.log_format.as_str() {
        "json" => writeln!(line, r#"{{"level":"{level}","msg":{quoted},"time":"{time}"}}"#),
        _ => writeln!(line, r#"time="{time}" level={level} msg={quoted}"#),
    };
    debug_assert!(written.is_ok(), "a string takes everything");
    let file = session.runtime.log.as_ref();
    let opened = file.map(|path| std::fs::OpenOptions::new().create(true).append(true).open(path));
    match opened {
        Some(Ok(mut file)) => drop(file.write_all(line.as_bytes())),
        _ => drop(session.err.write_all(line.as_bytes())),
    }
}
