//! What is printed, and the exit code, for calls that never reach a verb.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::*;

/// A writer whose text can be read afterwards.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Runs a line of words: the exit code, stdout, stderr.
fn strata(line: &str) -> (u8, String, String) {
    let (out, err) = (Paper::default(), Paper::default());
    let mut session = Session::fixed(
        Box::new(out.clone()),
        Box::new(err.clone()),
        BTreeMap::new(),
        PathBuf::from("/"),
        jiff::Timestamp::UNIX_EPOCH,
    );
    let exit = run(line.split_whitespace().map(OsString::from).collect(), &mut session);
    (exit.code(), out.text(), err.text())
}

fn refused(line: &str, code: u8, text: &str) {
    assert_eq!(strata(line), (code, String::new(), text.to_owned()), "{line}");
}

/// A wrong option, as Docker says it.
fn wrong_option(line: &str, sentence: &str, path: &str) {
    refused(line, 125, &format!("{sentence}\nSee '{path} --help'.\n"));
}

#[test]
fn wrong_options_end_with_125_in_dockers_words() {
    wrong_option("pull --foo a", "unknown flag: --foo", "strata pull");
    wrong_option("run --foo=x debian", "unknown flag: --foo", "strata run");
    wrong_option("images -z", "unknown shorthand flag: 'z' in -z", "strata images");
    wrong_option("images -qz", "unknown shorthand flag: 'z' in -z", "strata images");
    wrong_option("run --name", "flag needs an argument: --name", "strata run");
    wrong_option("run --net", "flag needs an argument: --net", "strata run");
    wrong_option("run --network", "flag needs an argument: --network", "strata run");
    wrong_option("ps -f", "flag needs an argument: 'f' in -f", "strata ps");
    wrong_option("ps --filter", "flag needs an argument: --filter", "strata ps");
    wrong_option("image ls --foo", "unknown flag: --foo", "strata image ls");
    wrong_option("image --foo", "unknown flag: --foo", "strata image");
    wrong_option("--foo", "unknown flag: --foo", "strata");
    let no_daemon = "there is no daemon to connect to";
    wrong_option("-H tcp://x ps", &format!("unknown shorthand flag: 'H' in -H ({no_daemon})"), "strata");
    wrong_option("--context=x ps", &format!("unknown flag: --context ({no_daemon})"), "strata");
    wrong_option("ps -H", "unknown shorthand flag: 'H' in -H", "strata ps");
    let gpus = "it needs a vendor's runtime: `--runtime` and `--device` may do";
    wrong_option("run --gpus all x", &format!("unknown flag: --gpus ({gpus})"), "strata run");
    let not_bool = r#"strconv.ParseBool: parsing "x": invalid syntax"#;
    wrong_option(
        "run -it=x debian",
        &format!(r#"invalid argument "x" for "-t, --tty" flag: {not_bool}"#),
        "strata run",
    );
    let not_int = r#"strconv.ParseInt: parsing "x": invalid syntax"#;
    wrong_option("ps -n x", &format!(r#"invalid argument "x" for "-n, --last" flag: {not_int}"#), "strata ps");
}

#[test]
fn wrong_numbers_of_words_end_with_1_and_the_usage() {
    let pull = "\"strata pull\" requires exactly 1 argument.\nSee 'strata pull --help'.\n\nUsage:  strata pull \
                [OPTIONS] NAME[:TAG|@DIGEST]\n\nDownload an image from a registry\n";
    refused("pull", 1, pull);
    refused("pull a b", 1, pull);
    let starts = |line: &str, sentence: &str| {
        let (code, _, err) = strata(line);
        assert_eq!((code, err.lines().next()), (1, Some(sentence)), "{line}");
    };
    starts("tag a", "\"strata tag\" requires exactly 2 arguments.");
    starts("run", "\"strata run\" requires at least 1 argument.");
    starts("images a b", "\"strata images\" requires at most 1 argument.");
    starts("image ls a b", "\"strata image ls\" requires at most 1 argument.");
    starts("ps a", "\"strata ps\" accepts no arguments.");
}

#[test]
fn unknown_commands_are_named() {
    refused("foo", 1, "strata: 'foo' is not a strata command.\nSee 'strata --help'\n");
    let compose = "strata: 'compose' is not a strata command (it is a program of its own, which needs Docker's API).";
    refused("compose up", 1, &format!("{compose}\nSee 'strata --help'\n"));
    let (code, out, err) = strata("image foo");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("\nUsage:  strata image COMMAND\n"), "{err}");
    refused("-l foo ps", 1, "strata: unable to parse logging level: foo\n");
}

#[test]
fn help_is_data() {
    for line in ["--help", "-h", "help", "--root /x --help", "-D -h"] {
        let (code, out, err) = strata(line);
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
        assert!(out.starts_with("\nUsage:  strata [OPTIONS] COMMAND\n"), "{line}: {out}");
    }
    let (_, once, _) = strata("image ls --help");
    assert!(once.starts_with("\nUsage:  strata image ls [OPTIONS]"), "{once}");
    for line in ["image ls -h", "help image ls", "image ls -q --help a b c"] {
        assert_eq!(strata(line), (0, once.clone(), String::new()), "{line}");
    }
}

#[test]
fn a_version_is_a_line() {
    for line in ["--version", "-v"] {
        let (code, out, err) = strata(line);
        assert_eq!((code, err.as_str()), (0, ""));
        let expected = format!("strata version {}, build ", env!("CARGO_PKG_VERSION"));
        assert!(out.starts_with(&expected) && out.lines().count() == 1, "{out}");
    }
}

#[test]
fn options_after_the_image_belong_to_its_program() {
    let entry = verb::find("run").unwrap();
    let command = (entry.command)();
    let mut words: Vec<OsString> =
        ["-it", "--rm=false", "-e", "-x", "debian", "ls", "-l", "--rm"].iter().map(OsString::from).collect();
    argv::end_options_at_first_operand(&command, &mut words);
    let matches = command.try_get_matches_from(std::iter::once(OsString::from("run")).chain(words)).unwrap();
    assert!(matches.get_flag("tty") && matches.get_flag("interactive") && !matches.get_flag("rm"));
}

#[test]
fn every_verb_has_sound_definitions() {
    for entry in verb::ENTRIES {
        let command = (entry.command)();
        command.clone().debug_assert();
        let undescribed: Vec<_> =
            command.get_arguments().filter(|arg| arg.get_help().is_none() && !arg.is_hide_set()).collect();
        assert!(undescribed.is_empty(), "{}: {undescribed:?}", entry.name);
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let sentence_end = help.ends_with('.') && !help.contains('\n');
            assert!(!sentence_end, "{} --{:?}: help texts have no period", entry.name, arg.get_long());
        }
        assert!(!entry.about.ends_with('.'), "{}", entry.name);
    }
}

#[test]
fn what_people_are_used_to_is_answered_in_words() {
    refused(
        "buildx bake -f x.hcl",
        1,
        "strata: 'bake' is not a strata buildx command\nhint: there is no `bake` here: say `strata build` for each of its targets\n",
    );
    refused(
        "builder create --use",
        1,
        "strata: 'create' is not a strata builder command\n\
         hint: there is one builder, this program itself: it need not be created\n",
    );
}

#[test]
fn whoever_says_nothing_is_told_on_stderr_what_could_be_said() {
    for words in ["", "volume", "image"] {
        let (_, help, _) = strata(&format!("{words} --help"));
        assert_eq!(strata(words), (0, String::new(), help), "{words}");
    }
}
