//! What kind of trouble an error is, independent of where it arose, and how it is told. The edge turns classes into exit codes
//! and hints.

use std::error::Error;

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// What was asked for does not parse or contradicts itself.
    InvalidInput,
    /// What was asked for is not there.
    NotFound,
    /// There is one already, or it is in use.
    Conflict,
    /// The other side wants other credentials.
    Denied,
    /// The network or the other side failed; trying again may help.
    Unavailable,
    /// Data is not what its digest says, or the store is damaged.
    Corrupt,
    /// No room on the disk, or a stated limit was passed.
    Exhausted,
    /// This host or build cannot do it.
    Unsupported,
    /// The person asked to stop.
    Cancelled,
    /// Everything else: input and output failed, or a defect.
    Internal,
}

/// An error with its causes in one line, none twice in a row.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut levels: Vec<String> = Vec::new();
    for level in std::iter::successors(Some(error), |error| below(*error)).map(plain) {
        if levels.last() != Some(&level) {
            levels.push(level);
        }
    }
    levels.join(": ")
}

/// The cause of an error. An I/O error around another error hides it from `source` and shows only its cause.
pub fn below<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// What an error says by itself. The kernel's words are without their number, as programs in C and Go have them.
pub fn plain(error: &(dyn Error + 'static)) -> String {
    let shown = error.to_string();
    let mut pieces = shown.split(NUMBER);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(')').filter(|(number, _)| number.parse::<i32>().is_ok()) {
            Some((_, rest)) => {
                let start = text.rfind(": ").map_or(0, |colon| colon + 2);
                text[start..].make_ascii_lowercase();
                text.push_str(rest);
            }
            None => text.extend([NUMBER, piece]),
        }
    }
    text
}

/// What stands before the number of a kernel's error in its text.
const NUMBER: &str = " (os error ";

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_kernels_words_are_without_their_number() {
        let check = |text: &str, expected: &str| assert_eq!(plain(&io::Error::other(text.to_owned())), expected);
        assert_eq!(plain(&io::Error::from_raw_os_error(2)), "no such file or directory");
        check("cannot open /A: Is a directory (os error 21)", "cannot open /A: is a directory");
        check("cannot open A: I/O error (os error 5); image B", "cannot open A: i/o error; image B");
        check("no such file (os error x)", "no such file (os error x)");
    }

    #[test]
    fn a_sentence_names_every_level_once() {
        let wrapped = io::Error::other(io::Error::other(io::Error::from_raw_os_error(2)));
        assert_eq!(sentence(&wrapped), "no such file or directory");
    }
}
