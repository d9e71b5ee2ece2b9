//! Verbs that take several operands: each is dealt with, and each failure told, whatever became of the others.

use crate::dispatch;
use crate::exit::{Exit, Result};
use crate::session::Session;

/// Does `work` to each operand. Fails in the end if one failed, and has told why.
pub fn each<T>(
    session: &mut Session,
    operands: impl IntoIterator<Item = T>,
    mut work: impl FnMut(&mut Session, T) -> Result<()>,
) -> Result<Exit> {
    let mut exit = Exit::SUCCESS;
    for operand in operands {
        if let Err(failure) = work(session, operand) {
            let code = dispatch::tell(&failure, Exit::FAILURE, session);
            if code == Exit::INTERRUPTED || code == Exit::BROKEN_PIPE {
                return Ok(code);
            }
            exit = Exit::FAILURE;
        }
    }
    Ok(exit)
}
