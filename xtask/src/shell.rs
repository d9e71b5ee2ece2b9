//! Running other programs, with a sentence when they fail.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What every task ends with.
pub(crate) type Done<T = ()> = Result<T, String>;

/// Runs a command with the terminal; it must succeed.
pub(crate) fn run(command: &mut Command) -> Done {
    let status = command.status().map_err(|error| format!("cannot run {}: {error}", shown(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed: {status}", shown(command))) }
}

/// Runs a command and gives its standard output; it must succeed.
pub(crate) fn output(command: &mut Command) -> Done<String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {}: {error}", shown(command)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{} failed: {}\n{}{}", shown(command), output.status, text(&output.stdout), text(&output.stderr)))
    }
}

/// `cargo`, the one that runs this task, in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace()).args(args);
    command
}

/// The workspace's folder.
pub(crate) fn workspace() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
