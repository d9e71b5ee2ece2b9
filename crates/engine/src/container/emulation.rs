//! Images for other processors: whether this machine runs them, and by what.

use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use strata_runtime::Emulator;
use strata_sys::{probe, user_namespace};
use strata_types::Platform;
use strata_types::ids::IdMaps;

use crate::container::{ContainerError, HostConfig, check};
use crate::{Engine, Result};

/// Where distributions install qemu.
const DIRS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];

/// The rules of the whole machine, if somebody mounted them.
const RULES: &str = "/proc/sys/fs/binfmt_misc";

/// Who runs the programs of a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    /// The processor, or an emulator that the machine's owner registered for everybody.
    Here,
    /// An emulator that a container has to bring.
    By(Emulator),
    /// Nobody; this would have to be installed.
    Lacks(String),
}

impl Engine {
    /// The platform of an image, if it is another than this machine's.
    pub(crate) fn foreign(&self, platform: Platform) -> Option<Platform> {
        let says_nothing = platform.architecture.is_empty();
        (!says_nothing && self.platform().rank(&platform).is_none()).then_some(platform)
    }

    /// Whether programs of a platform run here, as they are or emulated.
    pub fn can_run(&self, platform: &Platform) -> bool {
        !matches!(self.runs(platform), Runs::Lacks(_))
    }

    /// Who runs the programs of a platform.
    pub(crate) fn runs(&self, platform: &Platform) -> Runs {
        let architecture = platform.architecture.as_str();
        if self.platform().rank(platform).is_some() || is_registered(architecture) {
            return Runs::Here;
        }
        let Some(name) = Emulator::name(architecture) else {
            return Runs::Lacks(format!("an emulator for {architecture}"));
        };
        let named = |name: String| DIRS.iter().map(move |dir| Path::new(dir).join(&name));
        let mut programs = named(format!("{name}-static")).chain(named(name.clone()));
        match programs.find(|program| is_static(program)) {
            Some(program) => Runs::By(Emulator { architecture: architecture.to_owned(), program, passed_in: false }),
            None => Runs::Lacks(format!("{name}-static")),
        }
    }

    /// The emulator that a container needs, and the user namespace it has to have for that; its own if it has one.
    pub(crate) fn emulation(
        &self,
        platform: Option<&Platform>,
        host: &HostConfig,
        users: Option<&IdMaps>,
    ) -> Result<(Option<Emulator>, Option<IdMaps>)> {
        let Some(Runs::By(emulator)) = platform.map(|platform| self.runs(platform)) else {
            return Ok((None, users.cloned()));
        };
        if check::runtime(&host.runtime)?.is_some() {
            let sentence = format!(
                "programs for {} are emulated by the native runtime only, not with --runtime; {REGISTER}",
                emulator.architecture
            );
            return Err(ContainerError::invalid(sentence));
        }
        if obstacle(host).is_some() {
            return Ok((Some(Emulator { passed_in: true, ..emulator }), users.cloned()));
        }
        let own = || user_namespace::is_initial().then(IdMaps::identity);
        Ok((Some(emulator), users.cloned().or_else(own)))
    }

    /// Says that nobody runs the programs of an image, or only those that a container begins with.
    pub fn foreign_warning(&self, platform: &Platform, host: &HostConfig) -> Option<String> {
        let native = self.platform();
        let what = match self.runs(platform) {
            Runs::Here => return None,
            Runs::By(_) => {
                let obstacle = obstacle(host)?;
                return Some(format!(
                    "The requested image's platform ({platform}) does not match the detected host platform ({native}): the \
                     program that the container begins with is emulated, not those that it executes, because of {obstacle}; \
                     {REGISTER}"
                ));
            }
            Runs::Lacks(what) => what,
        };
        Some(format!(
            "The requested image's platform ({platform}) does not match the detected host platform ({native}), and \
             {what} is not here: install the package `qemu-user-static`"
        ))
    }
}

/// What helps where a container cannot have rules of its own.
const REGISTER: &str = "register qemu with the machine, as the packages `qemu-user-static` and `binfmt-support` do";

/// Why a container cannot tell the kernel of an emulator: this is older, or something needs the machine's own user namespace.
fn obstacle(host: &HostConfig) -> Option<&'static str> {
    if !probe::private_binfmt() {
        return Some("a kernel before Linux 6.7");
    }
    if !user_namespace::is_initial() {
        return None;
    }
    match host {
        HostConfig { privileged: true, .. } => Some("--privileged"),
        HostConfig { pid_mode, .. } if pid_mode == "host" => Some("--pid host"),
        HostConfig { pid_mode, .. } if pid_mode.starts_with("container:") => Some("another container's process ids"),
        HostConfig { ipc_mode, .. } if ipc_mode == "host" => Some("--ipc host"),
        HostConfig { ipc_mode, .. } if ipc_mode.starts_with("container:") => Some("another container's IPC namespace"),
        HostConfig { network_mode, .. } if network_mode.starts_with("container:") => {
            Some("another container's network")
        }
        _ => None,
    }
}

/// Whether the machine itself runs such programs in every container: by a rule whose emulator is open already.
fn is_registered(architecture: &str) -> bool {
    let Ok(rules) = std::fs::read_dir(RULES) else { return false };
    let paths = rules.filter_map(|rule| Some(rule.ok()?.path()));
    let named = paths.filter(|path: &PathBuf| !path.ends_with("register") && !path.ends_with("status"));
    named.filter_map(|path| std::fs::read_to_string(path).ok()).any(|rule| is_rule_for(architecture, &rule))
}

/// Reads a rule as the kernel prints it.
fn is_rule_for(architecture: &str, rule: &str) -> bool {
    let field = |name: &str| rule.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let hex = field("magic ").unwrap_or_default().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let header: Vec<u8> = hex.chunks(2).filter_map(byte).collect();
    rule.lines().next() == Some("enabled")
        && field("flags:").is_some_and(|flags| flags.contains('F'))
        && field("offset ") == Some("0")
        && Emulator::is_header_of(architecture, &header)
}

/// Whether a program of this machine's needs nothing beside itself: an ELF file of 64 bits without an interpreter
/// (elf(5)). Whatever else it is, the kernel would not find its libraries in a container.
fn is_static(path: &Path) -> bool {
    const INTERPRETER: [u8; 4] = 3_u32.to_le_bytes();
    const PROGRAM_HEADERS_MAX: u16 = 64;
    let read = || -> std::io::Result<bool> {
        let mut file = std::fs::File::open(path)?;
        let mut header = [0; 64];
        file.read_exact(&mut header)?;
        let offset = u64::from_le_bytes(header[32..40].try_into().expect("eight bytes"));
        let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let (size, count) = (number(54), number(56));
        let mut kind = [0; 4];
        for index in 0..count.min(PROGRAM_HEADERS_MAX) {
            file.read_exact_at(&mut kind, offset + u64::from(index) * u64::from(size))?;
            if kind == INTERPRETER {
                return Ok(false);
            }
        }
        Ok(header.starts_with(b"\x7fELF\x02"))
    };
    read().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_rules_are_read() {
        let rule = |flags: &str| {
            format!(
                "enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: {flags}\noffset 0\n\
                 magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
            )
        };
        assert!(is_rule_for("arm64", &rule("POCF")));
        assert!(!is_rule_for("arm", &rule("POCF")));
        // Its emulator would be looked for in the container.
        assert!(!is_rule_for("arm64", &rule("OC")));
        assert!(!is_rule_for("arm64", &rule("F").replace("enabled", "disabled")));
        assert!(!is_rule_for("arm64", "enabled\nextension .exe\n"));
    }

    #[test]
    fn what_is_no_program_is_not_static() {
        assert!(!is_static(Path::new("/proc/self/status")));
        assert!(!is_static(Path::new("/nothing")));
        assert!(!is_static(Path::new("/bin/sh")));
    }
}
