//! `-v HOST:CONTAINER[:MODE]` and `--tmpfs PATH[:OPTIONS]`.

use std::path::PathBuf;

use super::mount::{Bind, Mount, Propagation, Recursive, Source, Tmpfs, Volume, check_target, check_volume_name};
use super::{Invalid, Refusal, Result, size};

/// Parses the value of `-v`. What has no form is refused by Docker's command line, what makes no sense by its daemon.
pub fn parse(text: &str) -> std::result::Result<Mount, Refusal> {
    if text.is_empty() {
        return Err(Refusal::Alone(Invalid::new("invalid empty volume spec")));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let broken = |why: &str| Err(Refusal::Alone(Invalid(format!("invalid spec: {text}: {why}"))));
    if parts.iter().any(|part| part.is_empty()) {
        return broken("empty section between colons");
    }
    let (source, target, mode) = match parts[..] {
        [target] => ("", target, ""),
        [_, mode] if Mode::parse(mode).is_some() => {
            return Err(Invalid(format!("invalid volume specification: '{text}'")).into());
        }
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return broken("too many colons"),
    };
    let Some(mode) = Mode::parse(mode) else {
        return Err(Invalid(format!("invalid mode: {mode}")).into());
    };
    let is_path = source.starts_with(['/', '.']);
    let kind = if is_path { "bind" } else { "volume" };
    check_target(target).map_err(|cause| {
        Invalid(format!("invalid volume specification: '{text}': invalid mount config for type {kind:?}: {cause}"))
    })?;
    let source = if is_path {
        let path = PathBuf::from(source);
        Source::Bind(Bind { path, propagation: mode.propagation, recursive: Recursive::Enabled, create: true })
    } else {
        let name = (!source.is_empty()).then(|| source.to_owned());
        name.as_deref().map_or(Ok(()), check_volume_name)?;
        Source::Volume(Volume { name, empty: mode.empty, ..Volume::default() })
    };
    Ok(Mount { target: target.to_owned(), read_only: mode.read_only, source })
}

/// Parses the value of `--tmpfs`.
pub fn parse_tmpfs(text: &str) -> Result<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    check_target(target)?;
    let mut tmpfs = Tmpfs::default();
    let mut read_only = false;
    for option in options.split(',').filter(|_| !options.is_empty()) {
        match option.split_once('=') {
            None if option == "ro" => read_only = true,
            None if option == "rw" => read_only = false,
            // Percentages and what does not parse are left to the kernel.
            Some(("size", value)) if size::bytes(value).is_ok() => tmpfs.size_bytes = size::bytes(value).ok(),
            Some(("mode", value)) if u32::from_str_radix(value, 8).is_ok() => {
                tmpfs.mode = u32::from_str_radix(value, 8).ok();
            }
            None if strata_runtime::is_word_for_memory(option) => tmpfs.options.push(option.to_owned()),
            Some((key, _)) if KEYS.contains(&key) => tmpfs.options.push(option.to_owned()),
            Some((unknown, _)) => return Err(Invalid(format!("invalid tmpfs option {unknown:?}"))),
            None => return Err(Invalid(format!("invalid tmpfs option {option:?}"))),
        }
    }
    Ok(Mount { target: target.to_owned(), read_only, source: Source::Tmpfs(tmpfs) })
}

/// Options of tmpfs(5) that have a value.
const KEYS: [&str; 7] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// The third part of `-v`: at most one word of each kind.
#[derive(Default)]
struct Mode {
    read_only: bool,
    empty: bool,
    propagation: Option<Propagation>,
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        let mut mode = Self::default();
        let mut seen = [false; 5];
        for word in text.split(',').filter(|_| !text.is_empty()) {
            let kind = match word {
                "ro" | "rw" => {
                    mode.read_only = word == "ro";
                    0
                }
                // Labels for SELinux, which strata does not set.
                "z" | "Z" => 1,
                "nocopy" => {
                    mode.empty = true;
                    2
                }
                "consistent" | "cached" | "delegated" => 3,
                _ => {
                    mode.propagation = Some(Propagation::parse(word)?);
                    4
                }
            };
            if std::mem::replace(&mut seen[kind], true) {
                return None;
            }
        }
        Some(mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, sentence: &str) {
        assert_eq!(parse(text).expect_err(text).to_string(), sentence, "{text}");
    }

    #[test]
    fn paths_are_bound_and_names_are_volumes() {
        let mount = parse("./src:/app:ro,rslave").unwrap();
        let propagation = Some(Propagation::RecursiveSlave);
        let bind = Bind { path: "./src".into(), propagation, recursive: Recursive::Enabled, create: true };
        assert_eq!(mount, Mount { target: "/app".into(), read_only: true, source: Source::Bind(bind) });

        let volume = Volume { name: Some("data".into()), empty: true, ..Volume::default() };
        let expected = Mount { target: "/d".into(), read_only: false, source: Source::Volume(volume) };
        assert_eq!(parse("data:/d:nocopy").unwrap(), expected);
        assert_eq!(parse("/d").unwrap().source, Source::Volume(Volume::default()));
    }

    #[test]
    fn refusals_are_dockers_words() {
        refused("", "invalid empty volume spec");
        refused("/tmp:/x:zz", "invalid mode: zz");
        refused("/tmp:/x:ro,rw", "invalid mode: ro,rw");
        refused(":/x", "invalid spec: :/x: empty section between colons");
        refused("/tmp:", "invalid spec: /tmp:: empty section between colons");
        refused("/a:/b:/c:/d", "invalid spec: /a:/b:/c:/d: too many colons");
        refused("/foo:rw", "invalid volume specification: '/foo:rw'");
        let root = "invalid mount config for type \"bind\": invalid specification: destination can't be '/'";
        refused("/tmp:/", &format!("invalid volume specification: '/tmp:/': {root}"));
        let short = "volume name is too short, names should be at least two alphanumeric characters";
        refused("a:/x:ro", &format!("create a: {short}"));
    }

    #[test]
    fn tmpfs_takes_mount_options() {
        let mount = parse_tmpfs("/run:rw,noexec,size=64k,mode=755").unwrap();
        let tmpfs = Tmpfs { size_bytes: Some(65536), mode: Some(0o755), options: vec!["noexec".into()] };
        assert_eq!(mount, Mount { target: "/run".into(), read_only: false, source: Source::Tmpfs(tmpfs) });
        let refused = |text: &str| parse_tmpfs(text).unwrap_err().to_string();
        assert_eq!(refused("/x:exec,nope=1"), "invalid tmpfs option \"nope\"");
        assert_eq!(refused("/x:,exec"), "invalid tmpfs option \"\"");
        assert_eq!(parse_tmpfs("x").unwrap_err().to_string(), "invalid mount path: 'x' mount path must be absolute");
    }
}
