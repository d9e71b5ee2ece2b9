//! Where a command's own words begin, as Docker's option parser (pflag) sees it.
//!
//! Clap takes options anywhere. Docker's `run`, `create`, `exec` and `top` stop at the first word that is no option: in
//! `strata run debian ls -l`, `-l` belongs to `ls`. The same holds for options before the verb.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use clap::{Arg, Command};

/// The index of the first word that is neither an option of `command` nor an option's value; `words.len()` if all are.
/// A `--` counts as that word.
pub fn first_operand(command: &Command, words: &[OsString]) -> usize {
    let mut index = 0;
    while let Some(word) = words.get(index) {
        let width = match word.as_bytes() {
            [] | b"-" | b"--" => return index,
            [b'-', b'-', long @ ..] => long_width(command, long),
            [b'-', shorts @ ..] => shorts_width(command, shorts),
            _ => return index,
        };
        index += width;
    }
    index.min(words.len())
}

/// Puts `--` before the first operand, so that clap leaves everything from there on alone.
pub fn end_options_at_first_operand(command: &Command, words: &mut Vec<OsString>) {
    let index = first_operand(command, words);
    if index < words.len() && words[index] != "--" {
        words.insert(index, OsString::from("--"));
    }
}

fn long_width(command: &Command, long: &[u8]) -> usize {
    if long.contains(&b'=') {
        return 1;
    }
    let is_it = |name: &str| name.as_bytes() == long;
    let named = |arg: &&Arg| {
        arg.get_long().is_some_and(is_it) || arg.get_all_aliases().is_some_and(|all| all.into_iter().any(is_it))
    };
    1 + usize::from(command.get_arguments().find(named).is_some_and(needs_value))
}

fn shorts_width(command: &Command, shorts: &[u8]) -> usize {
    for (position, &short) in shorts.iter().enumerate() {
        let named = |arg: &&Arg| arg.get_short() == Some(char::from(short));
        if command.get_arguments().find(named).is_some_and(needs_value) {
            // The rest of the cluster is the value; without a rest it is the next word.
            return 1 + usize::from(position + 1 == shorts.len());
        }
    }
    1
}

/// Whether an option takes the next word as its value, when it has none after `=`.
pub fn needs_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use clap::ArgAction;

    use super::*;

    fn check(line: &str, expected: &str) {
        let command = Command::new("run")
            .arg(Arg::new("it").short('i').long("interactive").action(ArgAction::SetTrue))
            .arg(Arg::new("name").short('n').long("name").alias("called").action(ArgAction::Set));
        let mut words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        end_options_at_first_operand(&command, &mut words);
        assert_eq!(words.join(OsStr::new(" ")), OsString::from(expected), "{line}");
    }

    #[test]
    fn options_end_at_the_first_operand() {
        check("-i debian ls -l", "-i -- debian ls -l");
        check("--name x debian -i", "--name x -- debian -i");
        check("--name=x debian -i", "--name=x -- debian -i");
        check("--called x debian -i", "--called x -- debian -i");
        check("-in x debian -i", "-in x -- debian -i");
        check("-inx debian -i", "-inx -- debian -i");
        check("-- debian -- x", "-- debian -- x");
        check("debian -- x", "-- debian -- x");
        check("--unknown debian", "--unknown -- debian");
        check("-i", "-i");
        check("--name", "--name");
    }
}
