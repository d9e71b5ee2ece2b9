//! The words after `run` as they mostly are, read without the parser: making it, for a hundred options, costs a command as
//! much as its other work in this process.

use std::ffi::OsString;

use crate::opts;
use crate::verb::container_options::ContainerOptions;
use crate::verb::run::Args;

/// What the parser makes of these words, if they are the usual options, each with a value that is right, then an image and
/// its command. Everything else, and what is wrong, is the parser's.
pub fn run(words: &[OsString]) -> Option<Args> {
    let mut args = unasked();
    let mut words = words.iter().map(|word| word.to_str());
    loop {
        let word = words.next()??;
        let Some(option) = word.strip_prefix('-') else {
            args.image = Some(word).filter(|word| !word.is_empty())?.to_owned();
            args.command = words.map(|word| word.map(str::to_owned)).collect::<Option<_>>()?;
            return Some(args);
        };
        let (name, value) = match option.strip_prefix('-').map(|long| long.split_once('=')) {
            Some(Some((name, value))) => (format!("-{name}"), Some(value)),
            _ => (option.to_owned(), None),
        };
        if value.is_none() && set_flag(&mut args, &name) {
            continue;
        }
        let value = match value {
            Some(value) => value,
            None => words.next()??,
        };
        set_value(&mut args.options, &name, Some(value).filter(|value| !value.is_empty())?)?;
    }
}

/// What is so when no option is given.
fn unasked() -> Args {
    let options =
        ContainerOptions { memory_swappiness: Some(-1), restart: "no".to_owned(), ..ContainerOptions::default() };
    Args {
        options,
        detach: false,
        detach_keys: None,
        pull: "missing".to_owned(),
        sig_proxy: true,
        image: String::new(),
        command: Vec::new(),
    }
}

/// Sets options without values, by their names without the first dash; no if there are others among them.
fn set_flag(args: &mut Args, name: &str) -> bool {
    match name {
        "-rm" => args.options.rm = true,
        "-detach" => args.detach = true,
        "-interactive" => args.options.interactive = true,
        "-tty" => args.options.tty = true,
        "-init" => args.options.init = true,
        "-read-only" => args.options.read_only = true,
        letters if !letters.is_empty() && letters.bytes().all(|letter| b"dit".contains(&letter)) => {
            args.detach |= letters.contains('d');
            args.options.interactive |= letters.contains('i');
            args.options.tty |= letters.contains('t');
        }
        _ => return false,
    }
    true
}

/// Sets an option with a value; none if it is not one of these, or the value is wrong.
fn set_value(options: &mut ContainerOptions, name: &str, value: &str) -> Option<()> {
    let text = || Some(value.to_owned());
    match name {
        "-network" | "-net" => options.network.push(opts::network::parse(value).ok()?),
        "-name" => options.name = text(),
        "e" | "-env" => options.env.push(opts::environment::parse(value).ok()?),
        "v" | "-volume" => options.volume.push(value.to_owned()),
        "p" | "-publish" => options.publish.push(opts::port::parse(value).ok()?),
        "w" | "-workdir" => options.workdir = text(),
        "u" | "-user" => options.user = text(),
        "h" | "-hostname" => options.hostname = text(),
        "-entrypoint" => options.entrypoint = text(),
        "-userns" => options.userns = text(),
        "-ipc" => options.ipc = text(),
        "-pid" => options.pid = text(),
        "-cap-add" => options.cap_add.push(value.to_owned()),
        "-cap-drop" => options.cap_drop.push(value.to_owned()),
        "-security-opt" => options.security_opt.push(value.to_owned()),
        "-tmpfs" => options.tmpfs.push(value.to_owned()),
        "-env-file" => options.env_file.push(value.to_owned()),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;
    use proptest::prelude::*;

    use super::*;
    use crate::{argv, verb};

    /// What the parser makes of the same words.
    fn parsed(words: &[OsString]) -> Option<Args> {
        let mut command = (verb::find("run").unwrap().command)();
        let mut words = words.to_vec();
        argv::end_options_at_first_operand(&command, &mut words);
        let all = std::iter::once(OsString::from("run")).chain(words);
        Args::from_arg_matches(&command.try_get_matches_from_mut(all).ok()?).ok()
    }

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_usual_words_need_no_parser() {
        for line in [
            "debian",
            "--rm --network none debian true",
            "-it --rm debian sh -c --rm",
            "-d -p 8080:80 -p 127.0.0.1:1:2/udp --name=web -e A=b=c -e HOME nginx",
            "-v /a:/b:ro --volume=x:/y -w /b -u 1:2 --hostname h --entrypoint /bin/sh debian -x",
            "--read-only --init -tid --net host --network name=a,alias=b debian",
            "--name x --name y -w - debian",
            "--userns auto --ipc private --pid host --cap-add ALL --cap-drop=MKNOD --security-opt a=b debian",
            "--tmpfs /t:size=1m --env-file f debian",
        ] {
            let words = words(line);
            let plain = run(&words).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(format!("{plain:?}"), format!("{:?}", parsed(&words).unwrap()), "{line}");
        }
        for line in
            ["", "--rm", "--help", "-x debian", "-- debian", "-p nonsense debian", "--rm=true debian", "-e= debian"]
                .into_iter()
                .chain([
                    "--memory 1g debian",
                    "-eA=b debian",
                    "--network  debian",
                    "--name",
                    "- debian",
                    "-e =x debian",
                ])
        {
            assert!(run(&words(line)).is_none(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_parser_reads(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "--rm", "-d", "-it", "-i", "-t", "-dx", "--init", "--read-only", "--tty", "--network", "--net", "none",
                    "--network=host", "--name", "--name=x", "-e", "A=b", "--env", "--env=A", "-v", "/a:/b", "-p", "80",
                    "--publish=1:2", "-w", "/w", "-u", "-h", "--hostname=", "--entrypoint", "debian", "sh", "-c", "--",
                    "", "-", "=", "--=x", "--cap-add", "--tmpfs=/t", "--memory", "1g", "--pull", "always", "--help",
                ]),
                0..7,
            ),
        ) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            if let Some(plain) = run(&words) {
                prop_assert_eq!(format!("{plain:?}"), format!("{:?}", parsed(&words).unwrap()));
            }
        }
    }
}
