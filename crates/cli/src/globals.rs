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
    if let Some((globals, count)) = plain(&words) {
        return Ok((globals, words.split_off(count)));
    }
    let command = command();
    let rest = words.split_off(argv::first_operand(&command, &words));
    let matches = command.try_get_matches_from(std::iter::once(OsString::from("strata")).chain(words))?;
    Ok((Globals::from_arg_matches(&matches)?, rest))
}

/// The options before the verb, and how many words they are, if they are written as they mostly are: none, or long ones, each
/// once, with words as values. Everything else is the parser's, whose making costs a command as much as opening the store.
fn plain(words: &[OsString]) -> Option<(Globals, usize)> {
    let mut globals = Globals { log_level: String::from("warn"), ..Globals::default() };
    let mut count = 0;
    loop {
        let name = words.get(count)?.to_str()?;
        if !name.starts_with('-') && !name.is_empty() {
            return Some((globals, count));
        }
        let value =
            words.get(count + 1).filter(|value| !value.is_empty() && !value.as_encoded_bytes().starts_with(b"-"))?;
        let place = match name {
            "--root" => &mut globals.root,
            "--run-dir" => &mut globals.run_dir,
            "--config" => &mut globals.config,
            _ => return None,
        };
        if place.replace(value.clone()).is_some() {
            return None;
        }
        count += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the parser makes of the same words.
    fn parsed(words: &[OsString]) -> Option<(Globals, usize)> {
        let command = command();
        let count = argv::first_operand(&command, words);
        let all = std::iter::once(OsString::from("strata")).chain(words[..count].iter().cloned());
        Some((Globals::from_arg_matches(&command.try_get_matches_from(all).ok()?).ok()?, count))
    }

    #[test]
    fn what_is_read_without_the_parser_is_what_it_reads() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in [
            "run",
            "run --root x",
            "--root /a run -it debian",
            "--run-dir r --root x ps",
            "--config c --run-dir r --root x ps -a",
            "--root help images",
        ] {
            let words = words(line);
            let plain = plain(&words).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(format!("{plain:?}"), format!("{:?}", parsed(&words).unwrap()), "{line}");
        }
        for line in ["", "-D run", "--root", "--root x", "--root -x run", "--root=x run", "--root  run", "-- run"]
            .into_iter()
            .chain(["--root a --root b run", "--debug run", "--log-level debug run", "--help", "- run", "--rot x run"])
        {
            assert!(plain(&words(line)).is_none(), "{line}");
        }
    }
}
