//! `cargo xtask oci-validation DIR`: the validation programs of opencontainers/runtime-tools on `strata runtime` and on crun,
//! side by side. `DIR` holds those programs as their own project builds them; none of them is ours.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strata_testkit::Machine;

use crate::packages::{self, Need};
use crate::shell::{self, Done, cargo};

const NEEDS: &[Need] = &[Need("crun", "crun"), Need("ip", "iproute2"), Need("timeout", "coreutils")];
/// Where the results stand.
const DOCUMENT: &str = "docs/oci-runtime.md";
const HEADING: &str = "## The validation programs\n";
/// No program takes longer than this unless it hangs.
const PROGRAM_MAX: &str = "180";

/// So often ours is tried.
const TRIES_MAX: usize = 3;

/// What a program said about a runtime.
#[derive(Debug, Default, PartialEq, Eq)]
struct Verdict {
    passed: usize,
    failed: usize,
    /// It ended well and found no fault.
    is_good: bool,
}

/// Runs all programs and compares; with `write` the table in the documentation is written anew.
pub(crate) fn run(dir: &str, write: bool) -> Done {
    packages::install(NEEDS)?;
    shell::run(&mut cargo(&["build", "--quiet", "--package", "strata-cli"]))?;
    let dir = Path::new(dir).canonicalize().map_err(|error| format!("{dir}: {error}"))?;
    let programs = programs(&dir)?;
    if programs.is_empty() {
        return Err(format!("{} has no validation programs: they end in .t", dir.display()));
    }
    let machine = Machine::isolated();
    // crun 1.8 takes control groups of version 1 or 2, but not both at once: in this machine there is one.
    let one = "umount /sys/fs/cgroup/unified && mount -t tmpfs none /sys/fs/cgroup/unified";
    machine.sh(&format!("grep -q ' /sys/fs/cgroup/unified ' /proc/self/mounts && {one}"));
    let ours = machine.dir().join("strata-runtime");
    let strata = crate::build::target()?.join("debug/strata");
    std::os::unix::fs::symlink(strata, &ours).map_err(|error| error.to_string())?;
    let mut table = String::from("| program | strata | crun |\n|---|---|---|\n");
    let (mut good, mut worse) = ([0, 0], Vec::new());
    for program in &programs {
        let name = program.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let theirs = judge(&machine, &dir, program, Path::new("crun"));
        // Some programs race with one that ends at once.
        let mut tries = (0..TRIES_MAX).map(|_| judge(&machine, &dir, program, &ours));
        let mut mine = tries.next().unwrap_or_default();
        while is_worse(&mine, &theirs)
            && let Some(again) = tries.next()
        {
            mine = again;
        }
        let line = format!("| {name} | {} | {} |\n", shown(&mine), shown(&theirs));
        print!("{line}");
        table.push_str(&line);
        good[0] += usize::from(mine.is_good);
        good[1] += usize::from(theirs.is_good);
        if is_worse(&mine, &theirs) {
            worse.push(name);
        }
    }
    let sum = format!("Of {} programs, strata passes {} and crun {}.\n", programs.len(), good[0], good[1]);
    print!("{sum}");
    if write {
        document(&format!("{sum}\n{table}"))?;
    }
    if worse.is_empty() { Ok(()) } else { Err(format!("crun is better at: {}", worse.join(", "))) }
}

fn is_worse(mine: &Verdict, theirs: &Verdict) -> bool {
    !mine.is_good && (theirs.is_good || mine.passed < theirs.passed)
}

fn programs(dir: &Path) -> Done<Vec<PathBuf>> {
    let list = |dir: &Path| -> Done<Vec<PathBuf>> {
        let entries = std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    };
    let mut found = Vec::new();
    for below in list(&dir.join("validation"))?.into_iter().filter(|path| path.is_dir()) {
        found.extend(list(&below)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "t")));
    }
    found.sort();
    Ok(found)
}

fn judge(machine: &Machine, dir: &Path, program: &Path, runtime: &Path) -> Verdict {
    let mut command = machine.command("timeout");
    command.args(["--kill-after=5", PROGRAM_MAX]).arg("env").arg("--chdir").arg(dir).arg(program);
    command.env("RUNTIME", runtime).env("TMPDIR", machine.dir()).stdin(Stdio::null());
    let Ok(output) = Command::output(&mut command) else { return Verdict::default() };
    verdict(&String::from_utf8_lossy(&output.stdout), output.status.success())
}

/// Reads the Test Anything Protocol. Some programs count nothing and only tell of an error.
fn verdict(text: &str, ended_well: bool) -> Verdict {
    let passed = text.lines().filter(|line| line.starts_with("ok ")).count();
    let failed = text.lines().filter(|line| line.starts_with("not ok ")).count();
    let tells_of_error = passed == 0 && text.contains("\"error\":");
    Verdict { passed, failed, is_good: ended_well && failed == 0 && !tells_of_error }
}

fn shown(verdict: &Verdict) -> String {
    let word = if verdict.is_good { "passes" } else { "fails" };
    match verdict {
        Verdict { passed: 0, failed: 0, .. } => word.to_owned(),
        Verdict { passed, failed: 0, .. } => format!("{word}, {passed}"),
        Verdict { passed, failed, .. } => format!("{word}, {passed} of {}", passed + failed),
    }
}

/// Puts the results behind the heading, which is the document's last.
fn document(results: &str) -> Done {
    let path = shell::workspace().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{DOCUMENT}: {error}"))?;
    let (before, behind) = text.split_once(HEADING).ok_or_else(|| format!("{DOCUMENT} has no heading for results"))?;
    let introduction = behind.split("\nOf ").next().unwrap_or_default().trim_end();
    let mut whole = String::from(before);
    let written = write!(whole, "{HEADING}{introduction}\n\n{results}");
    debug_assert!(written.is_ok(), "a string takes everything");
    std::fs::write(&path, whole).map_err(|error| format!("{DOCUMENT}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted() {
        let check = |text: &str, passed, failed, is_good| {
            assert_eq!(verdict(text, true), Verdict { passed, failed, is_good }, "{text}");
        };
        check("TAP version 13\nok 1 - a\nnot ok 2 - b\nok 3 # SKIP\n1..3\n", 2, 1, false);
        check("TAP version 13\n  ---\n  {\n    \"error\": \"x\"\n  }\n  ...\n1..0\n", 0, 0, false);
        check("TAP version 13\n1..0\n", 0, 0, true);
        assert!(!verdict("ok 1\n", false).is_good);
    }
}
