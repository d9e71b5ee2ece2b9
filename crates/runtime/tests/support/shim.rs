//! The shim alone, for tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    strata_runtime::reexec::main().unwrap_or(ExitCode::FAILURE)
}
