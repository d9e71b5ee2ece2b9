//! Docker's seccomp profiles: which of a profile's rules hold for a container, and the compiled filter, kept for the next
//! one. `default.json` is Docker's default profile, for the architectures we know.

mod profile;

use std::path::Path;

use strata_sys::caps::CapSet;
use strata_sys::seccomp::{Arch, Filter, Flags, Program};
use strata_types::Digest;

use crate::spec::{Process, Seccomp};
use crate::{Error, oci};

/// The default profile.
const DEFAULT: &str = include_str!("default.json");
/// Changes when the same profile compiles to something else.
const COMPILER: &str = "2";

/// The filter for a process; none if it is unconfined. Compiled filters are kept in `<run dir>/seccomp`, by a hash of all
/// that goes into them.
pub(crate) fn filter(process: &Process, run_dir: &Path) -> Result<Option<Program>, Error> {
    let profile = match &process.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => DEFAULT,
        Seccomp::Profile(text) => text,
    };
    let Some(native) = Arch::NATIVE else {
        return Err(Error::Unsupported(
            "no system call tables for this architecture: use seccomp=unconfined".to_owned(),
        ));
    };
    let caps = process.capabilities.bounding;
    let kernel = kernel_version();
    let file = cache_dir(run_dir).join(key(profile, caps, kernel));
    if let Ok(bytes) = std::fs::read(&file)
        && let Some(program) = Program::from_bytes(&bytes)
    {
        return Ok(Some(program));
    }
    let resolved = profile::resolve(profile, native, caps, kernel)?;
    if resolved.asks() {
        let why = "SCMP_ACT_NOTIFY needs somebody who listens: only `strata runtime` takes it";
        return Err(Error::SeccompProfile(why.to_owned()));
    }
    let program = compile(&resolved)?;
    if let Err(error) = keep(run_dir, &file, &program) {
        tracing::debug!(%error, "the compiled filter is not kept");
    }
    Ok(Some(program))
}

/// The filter of a bundle; none if it would filter nothing.
pub(crate) fn of_bundle(document: &serde_json::Value) -> Result<Option<oci::Filter>, oci::Error> {
    let native = Arch::NATIVE.ok_or_else(|| {
        Error::Unsupported("no system call tables for this architecture: leave out seccomp".to_owned())
    })?;
    let names = document.get("flags").and_then(serde_json::Value::as_array).into_iter().flatten();
    let names = names.map(|name| name.as_str().unwrap_or_default());
    let flags = Flags::from_names(names)
        .ok_or_else(|| Error::SeccompProfile(format!("unknown flags {}", document["flags"])))?;
    let named =
        |name: &str| document.get(name).and_then(serde_json::Value::as_str).is_some_and(|text| !text.is_empty());
    let resolved = profile::resolve(&document.to_string(), native, CapSet::EMPTY, kernel_version())?;
    let refuse = |why: &str| Err(Error::SeccompProfile(why.to_owned()).into());
    match (resolved.asks(), named("listenerPath"), named("listenerMetadata")) {
        (true, false, _) => return refuse("SCMP_ACT_NOTIFY needs a listenerPath"),
        (_, false, true) => return refuse("listenerMetadata needs a listenerPath"),
        _ => {}
    }
    Ok(Some(oci::Filter { program: compile(&resolved)?, flags, asks: resolved.asks() }))
}

/// The rules that hold for a process, in the form of the OCI runtime specification; none if it is unconfined.
pub(crate) fn document(process: &Process) -> Result<Option<serde_json::Value>, Error> {
    let profile = match &process.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => DEFAULT,
        Seccomp::Profile(text) => text,
    };
    let Some(native) = Arch::NATIVE else { return Ok(None) };
    let filter = profile::resolve(profile, native, process.capabilities.bounding, kernel_version())?;
    Ok(Some(profile::document(&filter)))
}

fn compile(filter: &Filter) -> Result<Program, Error> {
    strata_sys::seccomp::compile(filter)
        .ok_or_else(|| Error::SeccompProfile("it is too long for the kernel".to_owned()))
}

fn key(profile: &str, caps: CapSet, (major, minor): (u32, u32)) -> String {
    let mut hasher = strata_types::Hasher::sha256();
    hasher.update(format!("{COMPILER} {:x} {major}.{minor} ", caps.bits()).as_bytes());
    hasher.update(profile.as_bytes());
    let digest: Digest = hasher.finish();
    digest.hex().to_owned()
}

fn cache_dir(run_dir: &Path) -> std::path::PathBuf {
    run_dir.join("seccomp")
}

fn keep(run_dir: &Path, file: &Path, program: &Program) -> std::io::Result<()> {
    std::fs::create_dir_all(cache_dir(run_dir))?;
    let draft = file.with_extension(std::process::id().to_string());
    std::fs::write(&draft, program.to_bytes())?;
    std::fs::rename(draft, file)
}

/// Major and minor number of the running kernel.
fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
