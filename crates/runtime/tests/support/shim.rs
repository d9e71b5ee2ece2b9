//! The shim alone, for tests. As the command that follows, it makes the file it is told.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = strata_runtime::reexec::main() {
        return ExitCode::from(code);
    }
    match std::env::args_os().nth(1).map(|path| std::fs::write(path, "done")) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
