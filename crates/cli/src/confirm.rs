//! Asking before something is taken away.

use std::io::Write as _;

use crate::exit::{Failure, Result};
use crate::session::Session;

/// Shows a warning and asks; fails unless the answer is yes. `what` is for the message, such as `image prune`.
pub fn confirm(session: &mut Session, what: &str, warning: &str) -> Result<()> {
    write!(session.out, "{warning}\nAre you sure you want to continue? [y/N] ")?;
    session.out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") || answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Failure::new(format!("{what} has been cancelled")))
}
