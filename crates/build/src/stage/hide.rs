//! Output without what must not be seen in it.

use std::sync::{Mutex, PoisonError};

/// What stands in place of a secret.
const MASK: &[u8] = b"*****";

/// Passes lines on, secrets in them masked.
pub(super) struct Hiding<'h> {
    hidden: &'h [Vec<u8>],
    open: [Mutex<Vec<u8>>; 2],
    to: &'h (dyn Fn(bool, &[u8]) + Sync),
}

impl<'h> Hiding<'h> {
    /// Hides these texts in what goes to `to`.
    pub(super) fn new(hidden: &'h [Vec<u8>], to: &'h (dyn Fn(bool, &[u8]) + Sync)) -> Self {
        Self { hidden, open: Default::default(), to }
    }

    /// Takes more of a stream.
    pub(super) fn write(&self, is_stderr: bool, bytes: &[u8]) {
        if self.hidden.is_empty() {
            return (self.to)(is_stderr, bytes);
        }
        let mut open = self.open[usize::from(is_stderr)].lock().unwrap_or_else(PoisonError::into_inner);
        open.extend_from_slice(bytes);
        // A secret may be in two pieces, but not on two lines.
        if let Some(end) = open.iter().rposition(|byte| *byte == b'\n') {
            let rest = open.split_off(end + 1);
            let whole = std::mem::replace(&mut *open, rest);
            (self.to)(is_stderr, &masked(whole, self.hidden));
        }
    }

    /// Passes on what is left.
    pub(super) fn finish(self) {
        for (is_stderr, open) in [false, true].into_iter().zip(self.open) {
            let rest = open.into_inner().unwrap_or_else(PoisonError::into_inner);
            if !rest.is_empty() {
                (self.to)(is_stderr, &masked(rest, self.hidden));
            }
        }
    }
}

fn masked(mut text: Vec<u8>, hidden: &[Vec<u8>]) -> Vec<u8> {
    for secret in hidden {
        let mut from = 0;
        while let Some(at) = text[from..].windows(secret.len()).position(|window| window == secret.as_slice()) {
            text.splice(from + at..from + at + secret.len(), MASK.iter().copied());
            from += at + MASK.len();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_even_in_pieces() {
        let seen = Mutex::new(Vec::new());
        let to = |_: bool, bytes: &[u8]| seen.lock().unwrap().extend_from_slice(bytes);
        let hidden = [b"hunter2".to_vec(), b"key".to_vec()];
        let hiding = Hiding::new(&hidden, &to);
        for piece in ["a hun", "ter2 b\nkeykey ", "hunter", "2"] {
            hiding.write(false, piece.as_bytes());
        }
        hiding.finish();
        assert_eq!(String::from_utf8(seen.into_inner().unwrap()).unwrap(), "a ***** b\n********** *****");
    }
}
