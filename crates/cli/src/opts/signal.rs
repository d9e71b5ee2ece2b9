//! Signals by name or number: `9`, `KILL`, `SIGKILL`, `RTMIN+3`.

use strata_sys::signal::Signal;

use super::{Invalid, Result};

/// Parses a signal.
pub fn parse(text: &str) -> Result<Signal> {
    text.parse().map_err(|_| Invalid(format!("invalid signal: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_signal_is_refused_in_dockers_words() {
        assert_eq!(parse("kill").unwrap(), Signal::KILL);
        assert_eq!(parse("FOO").unwrap_err().to_string(), "invalid signal: FOO");
    }
}
