//! Advice for failures that people meet often. Errors say what happened; what to do about it is said here, at the edge.

use std::error::Error as StdError;
use std::io::{Error as IoError, ErrorKind};

use strata_engine::Error as EngineError;
use strata_runtime::Error as RuntimeError;
use strata_types::ErrorClass;

use crate::exit::{Exit, Failure};

/// The class of a failure, where one of its causes has one.
pub fn class(failure: &Failure) -> Option<ErrorClass> {
    failure.causes().find_map(|cause| cause.downcast_ref::<EngineError>()).map(EngineError::class)
}

/// The exit code that a failure's cause demands, whatever the verb: broken pipes and interruptions.
pub fn exit(failure: &Failure) -> Option<Exit> {
    if class(failure) == Some(ErrorClass::Cancelled) {
        return Some(Exit::INTERRUPTED);
    }
    // Only the outermost error: deeper down it is some other pipe, not our output.
    let outermost = failure.causes().next()?.downcast_ref::<IoError>()?;
    (outermost.kind() == ErrorKind::BrokenPipe).then_some(Exit::BROKEN_PIPE)
}

/// Lines of advice for a failure, from its causes.
pub fn of(failure: &Failure) -> Vec<&'static str> {
    let mut hints = Vec::new();
    let has = |kind: ErrorKind| failure.causes().any(|cause| kind_of(cause) == Some(kind));
    if has(ErrorKind::PermissionDenied) && !rustix::process::geteuid().is_root() {
        hints.push("run it as root");
    }
    if has(ErrorKind::StorageFull) || has(ErrorKind::QuotaExceeded) {
        hints.push("`strata system df` shows what takes the room, `strata system prune` frees what is not in use");
    }
    if has(ErrorKind::ReadOnlyFilesystem) {
        hints.push("choose another directory with --root");
    }
    if failure.causes().any(|cause| cause.downcast_ref().is_some_and(EngineError::is_of_records)) {
        hints.push(
            "put a copy of `strata.db` back, or move the store's directory away and begin anew: \
             volumes and what containers wrote are in directories there",
        );
    }
    match failure.causes().find_map(|cause| cause.downcast_ref().and_then(EngineError::lost_drivers)) {
        Some(1) => hints.push("`strata check --repair` writes it again"),
        Some(_) => hints.push("`strata --storage-driver DRIVER info` says which it is, and writes it again"),
        None => {}
    }
    if failure.causes().any(is_silent) {
        hints
            .push("`kill -CONT` lets a process go on that was stopped; `strata stop` and `strata rm -f` do without it");
    }
    hints
}

/// Whether a cause is a shim that does not answer.
fn is_silent(cause: &(dyn StdError + 'static)) -> bool {
    let of_engine = cause.downcast_ref::<EngineError>().and_then(|error| match error {
        EngineError::Runtime(error) => Some(error),
        _ => None,
    });
    let error = of_engine.or_else(|| cause.downcast_ref::<RuntimeError>());
    matches!(error, Some(RuntimeError::ShimSilent { .. }))
}

/// What kind of system error a cause is, in either of the forms it comes in.
fn kind_of(cause: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    let errno = |cause: &(dyn StdError + 'static)| cause.downcast_ref::<rustix::io::Errno>().map(|errno| errno.kind());
    cause.downcast_ref::<IoError>().map(IoError::kind).or_else(|| errno(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_gets_advice() {
        for failure in [
            Failure::from(IoError::from(ErrorKind::StorageFull)),
            Failure::from(rustix::io::Errno::NOSPC),
            Failure::from(IoError::other(rustix::io::Errno::DQUOT)),
        ] {
            assert_eq!(of(&failure).len(), 1, "{failure:?}");
        }
        assert!(of(&Failure::new("something else")).is_empty());
    }

    #[test]
    fn interruptions_and_broken_pipes_have_their_codes() {
        assert_eq!(exit(&Failure::from(EngineError::Cancelled)), Some(Exit::INTERRUPTED));
        assert_eq!(exit(&Failure::from(IoError::from(ErrorKind::BrokenPipe))), Some(Exit::BROKEN_PIPE));
        assert_eq!(exit(&Failure::new("x")), None);
    }
}
