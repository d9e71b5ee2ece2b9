//! Advice for failures that people meet often. Errors say what happened; what to do about it is said here, at the edge.

use strata_engine::Error as EngineError;
use strata_types::ErrorClass;

use crate::exit::{Exit, Failure};

/// The class of a failure, where one of its causes has one.
pub fn class(failure: &Failure) -> Option<ErrorClass> {
    failure.causes().find_map(|cause| cause.downcast_ref::<EngineError>()).map(EngineError::class)
}

/// The exit code that a failure's cause demands, whatever the verb: broken pipes and interruptions.
pub fn exit(failure: &Failure) -> Option<Exit> {
    let broken_pipe = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if class(failure) == Some(ErrorClass::Cancelled) {
        return Some(Exit::INTERRUPTED);
    }
    // Only the outermost error: deeper down it is some other pipe, not our output.
    let outermost = failure.causes().next()?.downcast_ref::<std::io::Error>()?;
    broken_pipe(outermost).then_some(Exit::BROKEN_PIPE)
}

/// Lines of advice for a failure, from its causes.
pub fn of(failure: &Failure) -> Vec<&'static str> {
    let mut hints = Vec::new();
    let denied = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
    };
    if failure.causes().any(denied) && !rustix::process::geteuid().is_root() {
        hints.push("run it as root");
    }
    hints
}
