//! From words to a verb, from its result to words and an exit code.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::mem::ManuallyDrop;

use tracing::level_filters::LevelFilter;

use crate::exit::{Exit, Failure, Result};
use crate::session::Session;
use crate::verb::{self, Entry};
use crate::{absent, argv, globals, help, hint, log, usage};

/// Runs the program on the words after its name.
pub fn run(words: Vec<OsString>, session: &mut Session) -> Exit {
    let exit = match decide(words, session) {
        Ok(exit) => exit,
        Err((failure, usual)) => tell(&failure, usual, session),
    };
    match session.out.flush() {
        Err(error) if exit == Exit::SUCCESS => tell(&Failure::from(error), Exit::FAILURE, session),
        _ => exit,
    }
}

/// Prints what a failure has to say; returns the code to end with.
pub(crate) fn tell(failure: &Failure, usual: Exit, session: &mut Session) -> Exit {
    // What was printed so far comes first; that it may fail changes nothing any more.
    if session.out.flush().is_err() && failure.error.is_none() {
        return failure.exit.unwrap_or(usual);
    }
    let demanded = hint::exit(failure);
    if demanded != Some(Exit::BROKEN_PIPE)
        && let Some(message) = failure.message()
    {
        let hints = failure.hints.iter().map(String::as_str).chain(hint::of(failure));
        let lines: String = hints.map(|line| format!("hint: {line}\n")).collect();
        // Nobody can be told that telling failed.
        drop(write!(session.err, "strata: {message}\n{lines}"));
    }
    failure.exit.or(demanded).unwrap_or(usual)
}

/// The result of a verb; a failure comes with the verb's usual exit code.
type Outcome = Result<Exit, (Failure, Exit)>;

fn decide(words: Vec<OsString>, session: &mut Session) -> Outcome {
    let asks_help = words.first().is_some_and(|word| word == "--help" || word == "-h");
    if asks_help {
        return print(session, &help::program(columns(session)));
    }
    let (globals, mut words) = match globals::parse(words.clone()) {
        Ok(parsed) => parsed,
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            return print(session, &help::program(columns(session)));
        }
        Err(error) => {
            let sentence =
                usage::option_error(&error, &globals::command(), &words).unwrap_or_else(|| error.to_string());
            return misuse(session, &format!("{sentence}\nSee 'strata --help'.\n"), Exit::ENGINE);
        }
    };
    session.globals = globals;
    if let Some(entry) = verb::called(&words) {
        session.expect_starts(entry.starts, &words);
    }
    start_log(&session.globals).map_err(|failure| (failure, Exit::FAILURE))?;
    if session.globals.version {
        return print(session, &format!("strata version {}\n", crate::verb::version::LONG));
    }
    if words.first().is_some_and(|word| word == "help") {
        words.remove(0);
        words.push(OsString::from("--help"));
        return decide(words, session);
    }
    let Some(name) = words.first().map(|word| word.to_string_lossy().into_owned()) else {
        return misuse(session, &help::program(columns(session)), Exit::SUCCESS);
    };
    words.remove(0);
    if name == "runtime" {
        return runtime(words, session);
    }
    if let Some(&(name, about)) = verb::MANAGEMENT.iter().find(|(management, _)| *management == name) {
        return manage(name, about, words, session);
    }
    match verb::find(&name) {
        Some(entry) => call(entry, format!("strata {name}"), words, session),
        None => misuse(session, &usage::no_command(&name), Exit::FAILURE),
    }
}

/// What the crates beneath have to say is told from the level asked for.
fn start_log(globals: &globals::Globals) -> Result<()> {
    let level = match globals.log_level.to_lowercase().as_str() {
        _ if globals.debug => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "info" => LevelFilter::INFO,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        other => return Err(Failure::new(format!("unable to parse logging level: {other}"))),
    };
    log::start(level);
    Ok(())
}

/// Runs a verb of a management command.
fn manage(name: &str, about: &str, mut words: Vec<OsString>, session: &mut Session) -> Outcome {
    let path = format!("strata {name}");
    let Some(word) = words.first().map(|word| word.to_string_lossy().into_owned()) else {
        return misuse(session, &help::management(name, about), Exit::SUCCESS);
    };
    let fallback = verb::fallback_in(name).filter(|_| verb::find_in(name, &word).is_none());
    match (word.as_str(), fallback) {
        ("--help" | "-h", _) => print(session, &help::management(name, about)),
        (_, Some(entry)) => call(entry, path, words, session),
        (flag, None) if flag.starts_with('-') => {
            let sentence = match flag.strip_prefix("--") {
                Some(long) => format!("unknown flag: --{long}"),
                None => format!("unknown shorthand flag: {:?} in {flag}", flag.chars().nth(1).unwrap_or('-')),
            };
            misuse(session, &format!("{sentence}\nSee '{path} --help'.\n"), Exit::ENGINE)
        }
        (verb, None) => match verb::find_in(name, verb) {
            Some(entry) => {
                words.remove(0);
                call(entry, format!("{path} {verb}"), words, session)
            }
            None => match absent::command(name, verb) {
                Some(failure) => Err((failure, Exit::FAILURE)),
                None => misuse(session, &help::management(name, about), Exit::FAILURE),
            },
        },
    }
}

/// Runs a verb of the runtime: its failures are told as callers of runc expect them.
fn runtime(words: Vec<OsString>, session: &mut Session) -> Outcome {
    let (globals, mut words) = match verb::runtime::parse(words.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let command = verb::runtime::command();
            let sentence = usage::option_error(&error, &command, &words).unwrap_or_else(|| error.to_string());
            return misuse(session, &format!("{sentence}\nSee 'strata runtime --help'.\n"), Exit::FAILURE);
        }
    };
    session.runtime = globals;
    if session.runtime.version {
        return print(session, &verb::runtime::version());
    }
    let about = verb::MANAGEMENT.iter().find(|(name, _)| *name == "runtime").map_or("", |(_, about)| about);
    let word = words.first().map(|word| word.to_string_lossy().into_owned());
    let help = session.runtime.help || word.as_deref().is_none_or(|word| word == "help");
    match word.as_deref().and_then(|word| verb::find_in("runtime", word)) {
        _ if help => print(session, &help::management("runtime", about)),
        Some(entry) => {
            let name = words.remove(0).to_string_lossy().into_owned();
            match call(entry, format!("strata runtime {name}"), words, session) {
                Err((failure, usual)) if failure.error.is_some() => {
                    verb::runtime::tell(&failure, session);
                    Ok(failure.exit.unwrap_or(usual))
                }
                other => other,
            }
        }
        None => misuse(session, &help::management("runtime", about), Exit::FAILURE),
    }
}

/// Parses a verb's words and runs it.
fn call(entry: &Entry, path: String, mut words: Vec<OsString>, session: &mut Session) -> Outcome {
    let failed = |failure| (failure, Exit::with(entry.failure_code));
    session.invoked_as.clone_from(&path);
    if let Some(done) = (entry.run_plainly)(&words, session) {
        return done.map_err(failed);
    }
    // Nobody takes it apart: the program ends with the verb.
    let mut command = ManuallyDrop::new((entry.command)());
    if entry.options_end_at_name {
        argv::end_options_at_first_operand(&command, &mut words);
    }
    let all = std::iter::once(OsString::from(entry.name)).chain(words.iter().cloned());
    match command.try_get_matches_from_mut(all) {
        Ok(matches) => (entry.run)(&matches, session).map_err(failed),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            let text = help::verb(entry, &command, &path, columns(session));
            print(session, &text)
        }
        Err(error) => {
            let wrong = usage::misuse(&error, &command, &path, entry, &words);
            misuse(session, &wrong.text, wrong.exit)
        }
    }
}

fn misuse(session: &mut Session, text: &str, exit: Exit) -> Outcome {
    session.err.write_all(text.as_bytes()).map_err(io_failure)?;
    Ok(exit)
}

fn print(session: &mut Session, text: &str) -> Outcome {
    session.out.write_all(text.as_bytes()).map_err(io_failure)?;
    Ok(Exit::SUCCESS)
}

fn io_failure(error: io::Error) -> (Failure, Exit) {
    (Failure::from(error), Exit::FAILURE)
}

/// How wide help may be: the terminal's width, 80 columns elsewhere, as Docker does.
fn columns(session: &Session) -> usize {
    session.terminal_size().map_or(80, |(columns, _)| usize::from(columns))
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
