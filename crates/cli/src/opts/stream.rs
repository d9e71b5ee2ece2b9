//! `-a STDIN|STDOUT|STDERR`.

use super::{Invalid, Result};

/// One of a process's standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Parses the value of `-a`.
pub fn parse(text: &str) -> Result<Stream> {
    match text.to_ascii_lowercase().as_str() {
        "stdin" => Ok(Stream::Stdin),
        "stdout" => Ok(Stream::Stdout),
        "stderr" => Ok(Stream::Stderr),
        _ => Err(Invalid::new("valid streams are STDIN, STDOUT and STDERR")),
    }
}
