//! Signals by name or number: `9`, `KILL`, `SIGKILL`, `RTMIN+3`.

use super::{Invalid, Result};

/// A signal's number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(pub i32);

/// The names of signals 1 to 31 on Linux, in order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// Other names for the same.
const ALIASES: [(&str, i32); 5] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31), ("INFO", 30)];

/// The first and the last realtime signal a program may use; the C library keeps two below for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// Parses a signal.
pub fn parse(text: &str) -> Result<Signal> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Ok(number) = text.parse::<i32>() {
        Some(number)
    } else if let Some(above) = name.strip_prefix("RTMIN") {
        offset(above, '+').map(|above| RTMIN + above)
    } else if let Some(below) = name.strip_prefix("RTMAX") {
        offset(below, '-').map(|below| RTMAX - below)
    } else {
        let position = NAMES.iter().position(|known| *known == name).and_then(|at| i32::try_from(at + 1).ok());
        position.or_else(|| ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, number)| *number))
    };
    number
        .filter(|number| (1..=RTMAX).contains(number))
        .map(Signal)
        .ok_or_else(|| Invalid(format!("invalid signal: {text}")))
}

/// What follows `RTMIN` or `RTMAX`: nothing, or a sign and a number from 1 to 15.
fn offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign)?.parse().ok().filter(|offset| (1..=15).contains(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let cases = [("9", 9), ("kill", 9), ("SIGTERM", 15), ("sigusr1", 10), ("SYS", 31), ("WINCH", 28), ("IO", 29)];
        let realtime = [("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX-1", 63), ("64", 64)];
        for (text, number) in cases.into_iter().chain(realtime) {
            assert_eq!(parse(text), Ok(Signal(number)), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["FOO", "0", "-1", "65", "", "SIG", "RTMIN+99", "RTMIN-1"] {
            assert_eq!(parse(text).unwrap_err().to_string(), format!("invalid signal: {text}"));
        }
    }
}
