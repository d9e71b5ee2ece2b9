//! Options before the verb.

use std::ffi::OsString;

use clap::{Args as _, FromArgMatches as _};

use crate::argv;

/// What may stand between `strata` and the verb.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Globals {
    /// Location of client config files (default "~/.docker")
    #[arg(long)]
    pub config: Option<OsString>,
    /// Enable debug mode
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Set the logging level ("debug", "info", "warn", "error", "fatal")
    #[arg(short = 'l', long, default_value = "warn")]
    pub log_level: String,
    /// Directory of all persistent data (default "/var/lib/strata")
    #[arg(long)]
    pub root: Option<OsString>,
    /// Directory of data that need not survive a reboot
    #[arg(long)]
    pub run_dir: Option<OsString>,
    /// Storage driver to use ("strata info" lists them; the best that works here by default)
    #[arg(long)]
    pub storage_driver: Option<String>,
    /// Print version information and quit
    #[arg(short = 'v', long)]
    pub version: bool,
}

/// The name of the command that has the global options; verbs have another.
pub const COMMAND: &str = "strata OPTIONS";

/// The definitions of the global options, on a command of their own.
pub fn command() -> clap::Command {
    crate::verb::adapt(Globals::augment_args(clap::Command::new(COMMAND)))
}

/// Parses the options before the verb; returns them and the words from the verb on.
pub fn parse(mut words: Vec<OsString>) -> Result<(Globals, Vec<OsString>), clap::Error> {
    let command = command();
    let rest = words.split_off(argv::first_operand(&command, &words));
    if words.is_empty() {
        let defaults = Globals { log_level: String::from("warn"), ..Globals::default() };
        return Ok((defaults, rest));
    }
    let matches = command.try_get_matches_from(std::iter::once(OsString::from("strata")).chain(words))?;
    Ok((Globals::from_arg_matches(&matches)?, rest))
}
