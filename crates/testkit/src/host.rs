//! Probes of the host: what a test needs and this machine may lack.

use std::io::Write as _;
use std::path::PathBuf;

/// Says that a test was skipped and why: on stderr, past the capture of the test harness, and, where `STRATA_SKIPS` names
/// a file, as a line there, so that `cargo xtask test` can compare the skips with those it expects on this kind of host.
pub fn skipped(test: &str, missing: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let line = format!("skipped: {test} {name}: needs {missing}\n");
    let _written = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("STRATA_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Root, as mounts and device nodes need.
pub fn root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err("root".to_owned()) }
}

/// A program of that name on the path.
pub fn program(name: &str) -> Result<(), String> {
    find_program(name).map(drop).ok_or_else(|| format!("the program `{name}`"))
}

/// Where a program is.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let always = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(always).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A `fsck.erofs` that knows blocks of 512 bytes, as erofs-utils have it from 1.7 on: this machine's, or the one that `cargo
/// xtask test` unpacks below `target/`.
pub fn fsck_erofs() -> Result<PathBuf, String> {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/erofs-utils/fsck.erofs").into();
    let is_new = |program: &PathBuf| {
        let said = std::process::Command::new(program).arg("-V").output();
        let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let version = said.lines().next().and_then(|line| line.split(' ').next_back()).unwrap_or_default();
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        (numbers.next(), numbers.next()) >= (Some(1), Some(7))
    };
    let programs = find_program("fsck.erofs").into_iter().chain([unpacked]);
    programs.into_iter().find(is_new).ok_or_else(|| "the program `fsck.erofs`, 1.7 or newer".to_owned())
}

/// A filesystem type the kernel knows.
pub fn filesystem(name: &str) -> Result<(), String> {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let found = known.lines().any(|line| line.split_whitespace().last() == Some(name));
    if found { Ok(()) } else { Err(format!("the filesystem `{name}` in the kernel")) }
}

/// The program under test: the test's own build of `strata`.
///
/// Cargo sets `CARGO_BIN_EXE_strata` only for the tests of `crates/cli`; the others find it beside their own executable.
pub fn strata() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_strata") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join("strata");
    assert!(path.is_file(), "{} is missing: build the program first", path.display());
    path
}
