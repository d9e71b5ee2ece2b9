//! `cargo xtask order`: which functions a `run` calls, for the linker to put them side by side.
//!
//! `crates/cli/functions.txt` is written here and read by `crates/cli/build.rs`; `docs/decisions/0045` says what it is for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use strata_testkit::host;

use crate::bench::arena::Arena;
use crate::shell::{Done, cargo, output, run, workspace};
use crate::{base, build, packages};

/// The section that has them.
const SECTION: &str = ".text.first";
/// What is looked at: without a network, and with the most that a network asks for.
const RUNS: [&str; 2] = ["run --rm --network none debian true", "run --rm -p 8080:80 debian true"];
/// The section of a program whose functions are found has at least this share of the bytes it had when the list was made.
const LEAST_SHARE: f64 = 0.5;
const HEAD: &str = "\
# The functions that `strata run` calls: those of the command, those that its shim calls as well, those of the shim alone, each
# in the order of their first calls. Written by `cargo xtask order`; do not edit. A `*` stands for what changes with the
# compiler and the versions of crates.
";
/// Before the bytes that they take.
const BYTES: &str = "# Bytes: ";

/// Looks which functions are called, and writes the list.
pub(crate) fn list() -> Done {
    host::root().map_err(|_| "looking at a run takes mounts and control groups: please run it as root".to_owned())?;
    packages::install(packages::BENCH)?;
    // Said to the last compiler alone: in a profile it would have all crates built anew.
    let with_names = ["--bin", "strata", "--", "-Cstrip=none"];
    run(cargo(&["rustc", "--release", "--quiet", "--package", "strata-cli"]).args(with_names))?;
    let program = build::target()?.join("release/strata");
    let names = names(&program)?;
    let called = called(&program, names.keys())?;
    let members = members_of_libc()?;
    let mut lines = Vec::new();
    for address in called {
        lines.extend(names[&address].iter().map(|name| line(name, &members)));
    }
    let mut seen = BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    write(&lines, 0)?;
    // Linked anew, to know how many bytes they are.
    let bytes = section_bytes(&build::release()?)?;
    write(&lines, bytes)?;
    println!("{} functions, {bytes} bytes", lines.len());
    Ok(())
}

/// Whether the release build has them where they belong: names change with the compiler and with what we write.
pub(crate) fn check() -> Done {
    let text = std::fs::read_to_string(path()).map_err(|error| format!("cannot read the list: {error}"))?;
    let wanted = text.lines().find_map(|line| line.strip_prefix(BYTES));
    let wanted: u64 = wanted.and_then(|bytes| bytes.parse().ok()).ok_or("the list says nothing of its bytes")?;
    let found = section_bytes(&build::release()?)?;
    if (found as f64) < wanted as f64 * LEAST_SHARE {
        return Err(format!(
            "of {wanted} bytes of functions that a run calls {found} are found: please run `cargo xtask order`"
        ));
    }
    Ok(())
}

fn path() -> PathBuf {
    workspace().join("crates/cli/functions.txt")
}

fn write(lines: &[String], bytes: u64) -> Done {
    let text = format!("{HEAD}{BYTES}{bytes}\n{}\n", lines.join("\n"));
    std::fs::write(path(), text).map_err(|error| format!("cannot write the list: {error}"))
}

/// The addresses of the functions that are called, as the linker is to put them.
fn called<'a>(program: &Path, functions: impl Iterator<Item = &'a u64>) -> Done<Vec<u64>> {
    let arena = Arena::start()?;
    let (dir, store) = (arena.dir().display(), arena.store("order").display().to_string());
    let addresses: String = functions.map(|address| format!("{address:x}\n")).collect();
    let list = arena.dir().join("functions");
    std::fs::write(&list, addresses).map_err(|error| format!("cannot write {}: {error}", list.display()))?;
    let source = workspace().join("xtask/order/calls.c");
    let (program, base) = (program.display(), base::debian()?);
    arena.setup(&format!(
        "set -e; gcc -O2 -o {dir}/calls {}; cp {program} {dir}/strata; {dir}/strata --root {store} import {} debian",
        source.display(),
        base.display()
    ))?;
    // In the order of first calls, with the processes that called: the command, its copies.
    let (mut order, mut callers) = (Vec::new(), BTreeMap::<u64, BTreeSet<String>>::new());
    for words in RUNS {
        arena.setup(&format!("set -e; for i in 1 2; do {dir}/strata --root {store} {words}; done"))?;
        let calls = format!(
            "{dir}/calls {dir}/functions {dir}/calls.txt {dir}/strata --root {store} {words}; cat {dir}/calls.txt"
        );
        for call in arena.setup(&calls)?.lines() {
            let (caller, address) = call.split_once(' ').ok_or_else(|| format!("not a call: {call}"))?;
            let address = u64::from_str_radix(address, 16).map_err(|_| format!("not an address: {address}"))?;
            let by = callers.entry(address).or_default();
            if by.is_empty() {
                order.push(address);
            }
            by.insert(caller.to_owned());
        }
    }
    let group = |address: &u64| match (callers[address].contains("0"), callers[address].contains("1")) {
        (true, false) => 0,
        (true, true) => 1,
        _ => 2,
    };
    order.sort_by_key(group);
    Ok(order)
}

/// The names of a program's functions by address.
fn names(program: &Path) -> Done<BTreeMap<u64, Vec<String>>> {
    let mut names = BTreeMap::<u64, Vec<String>>::new();
    // Symbols of type FUNC: a breakpoint in a table among the code would change it.
    for line in output(Command::new("readelf").args(["--symbols", "--wide"]).arg(program))?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["FUNC" | "IFUNC", ..] = words.get(3..).unwrap_or_default() else { continue };
        let (Some(address), Some(size), Some(name)) = (words.get(1), words.get(2), words.get(7)) else { continue };
        let address = u64::from_str_radix(address, 16).unwrap_or_default();
        if address != 0 && *size != "0" {
            names.entry(address).or_default().push((*name).to_owned());
        }
    }
    Ok(names)
}

/// In which member of the C library a function is: its sections have no names.
fn members_of_libc() -> Done<BTreeMap<String, String>> {
    let libc = output(Command::new("gcc").arg("-print-file-name=libc.a"))?;
    let mut members = BTreeMap::new();
    for line in output(Command::new("nm").args(["-A", "--defined-only"]).arg(libc.trim()))?.lines() {
        // PATH:MEMBER:ADDRESS TYPE NAME
        let (Some(name), Some(member)) = (line.rsplit(' ').next(), line.rsplit(':').nth(1)) else { continue };
        members.entry(name.to_owned()).or_insert_with(|| member.to_owned());
    }
    Ok(members)
}

/// The list's line for a function.
fn line(name: &str, members: &BTreeMap<String, String>) -> String {
    match members.get(name) {
        Some(member) => format!("libc.a:{member}"),
        None => without_hashes(name),
    }
}

/// A name with a `*` for each part that is a hash: those of crates (`Cs…_` before a name's length) and what LLVM appends.
fn without_hashes(name: &str) -> String {
    let (name, appended) = match name.split_once(".llvm.") {
        Some((name, _)) => (name, ".llvm.*"),
        None => (name, ""),
    };
    let (mut rest, mut pattern) = (name, String::new());
    while let Some((before, after)) = rest.split_once("Cs") {
        let hash = after.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let is_hash =
            after[hash..].starts_with('_') && after[hash + 1..].starts_with(|next: char| next.is_ascii_digit());
        pattern.push_str(before);
        pattern.push_str(if is_hash { "Cs*" } else { "Cs" });
        rest = if is_hash { &after[hash..] } else { after };
    }
    format!("{pattern}{rest}{appended}")
}

fn section_bytes(program: &Path) -> Done<u64> {
    let sections = output(Command::new("readelf").args(["--sections", "--wide"]).arg(program))?;
    // [NUMBER] NAME TYPE ADDRESS OFFSET SIZE
    let line = sections.lines().find_map(|line| line.split_once(&format!("{SECTION} ")));
    let size = line.and_then(|(_, rest)| rest.split_whitespace().nth(3));
    Ok(size.and_then(|size| u64::from_str_radix(size, 16).ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_crates_and_of_llvm_are_left_out() {
        let name = "_RNvMs_NtCsjrHSEGnQ3l9_3std2fsNtB4_4File4openCsgY6Mt91CT9J_10strata_sys.llvm.3643936799275306673";
        assert_eq!(without_hashes(name), "_RNvMs_NtCs*_3std2fsNtB4_4File4openCs*_10strata_sys.llvm.*");
        // Letters that look like one in a name of ours, and a name of C.
        assert_eq!(without_hashes("_RNvCs1a_5crate9Css_thing"), "_RNvCs*_5crate9Css_thing");
        assert_eq!(without_hashes("sqlite3VdbeExec"), "sqlite3VdbeExec");
    }

    #[test]
    fn functions_of_the_c_library_are_named_by_their_files() {
        let members = BTreeMap::from([("malloc".to_owned(), "malloc.o".to_owned())]);
        assert_eq!(line("malloc", &members), "libc.a:malloc.o");
        assert_eq!(line("sqlite3_open", &members), "sqlite3_open");
    }
}
