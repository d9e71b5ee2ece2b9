//! The project's tasks: `cargo xtask demo|test|test-vm|bench|dist`.

mod base;
mod bench;
mod build;
mod demo;
mod dist;
mod fsck_erofs;
mod oci_validation;
mod order;
mod packages;
mod shell;
mod test;
mod tutorial;
mod vm;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask TASK

Tasks:
  demo        The whole way on a real image: pull, run, change, commit, push, remove, pull again
  test        Everything CI runs: format, lints, tests, documentation, tutorial
  test-vm [NAME...]  Tests in guests with Debian's kernel: devicemapper, zfs, pure control groups of version 2
  test-systemd  The boot unit over a reboot and a power cut, podman's systemd manager, the journal, AppArmor: in a whole Debian
  vm-zfs      Build ZFS for that kernel, once: from then on a guest tests it, too
  bench       Measure against crun, tar and the engines that are installed; write docs/benchmarks.md
  dist [DIR]  Build the release binary, man pages and completions into DIR (default: target/dist)
  order [--check]  Look which functions a `run` calls, for the linker to put them side by side (crates/cli/functions.txt)
  oci-validation DIR [--write]  Compare `strata runtime` with crun on the validation programs of runtime-tools, built in DIR
  tutorial [--bless]  Run the commands of docs/tutorial*.md and compare (or rewrite) their outputs
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["demo"] => demo::run(),
        ["test"] => test::run(),
        ["test-vm", names @ ..] => vm::run_suites(names),
        ["test-systemd"] => vm::systemd::test(),
        ["vm-zfs"] => vm::build_zfs(),
        ["bench", rest @ ..] => bench::run(rest),
        ["order"] => order::list(),
        ["order", "--check"] => order::check(),
        ["dist"] => dist::run("target/dist".as_ref()),
        ["dist", dir] => dist::run(dir.as_ref()),
        ["oci-validation", dir] => oci_validation::run(dir, false),
        ["oci-validation", dir, "--write"] => oci_validation::run(dir, true),
        ["tutorial"] => tutorial::run(tutorial::Mode::Compare),
        ["tutorial", "--bless"] => tutorial::run(tutorial::Mode::Bless),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
