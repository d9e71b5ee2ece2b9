//! Named places where a test can have the process die as `kill -9` would.
//!
//! `STRATA_FAILPOINT=store.blob.before-rename` kills at the first visit, `…:3` at the third. Builds without
//! debug assertions contain no failpoints.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Marks a place where the process dies when a test asks for it by name.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        if cfg!(debug_assertions) {
            $crate::failpoint::visit($name);
        }
    };
}

/// The variable that names the failpoint.
pub const VARIABLE: &str = "STRATA_FAILPOINT";

struct Armed {
    name: String,
    visits_left: AtomicU64,
}

/// Dies if `name` is armed and this is the visit it was armed for. Call it through [`failpoint!`](crate::failpoint!).
pub fn visit(name: &str) {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let Some(armed) = ARMED.get_or_init(|| parse(&std::env::var(VARIABLE).ok()?)) else { return };
    if armed.name == name && armed.visits_left.fetch_sub(1, Ordering::SeqCst) == 1 {
        die();
    }
}

fn parse(text: &str) -> Option<Armed> {
    let (name, visit) = text.rsplit_once(':').unwrap_or((text, "1"));
    let visit = visit.parse().ok().filter(|visit| *visit > 0)?;
    Some(Armed { name: name.to_owned(), visits_left: AtomicU64::new(visit) })
}

fn die() -> ! {
    if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_err() {
        std::process::abort();
    }
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, u64)>) {
        let armed = parse(text).map(|armed| (armed.name, armed.visits_left.into_inner()));
        assert_eq!(armed, expected.map(|(name, visit)| (name.to_owned(), visit)), "{text}");
    }

    #[test]
    fn a_failpoint_is_a_name_and_perhaps_a_visit() {
        check("store.blob.before-rename", Some(("store.blob.before-rename", 1)));
        check("a.b:3", Some(("a.b", 3)));
        check("a.b:0", None);
        check("a.b:x", None);
    }
}
