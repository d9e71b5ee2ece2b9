//! Named places where a test can have the process die as `kill -9` would.
//!
//! `STRATA_FAILPOINT=store.blob.before-rename` kills at the first visit, `…:3` at the third.
//! `STRATA_FAILPOINT_TRACE=FILE` appends the name of every failpoint that is visited, a line each, so that a test knows
//! which ones an operation meets. Builds without debug assertions contain no failpoints.

use std::fs::File;
use std::io::Write as _;
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

/// The variable that names a file for the names of visited failpoints.
pub const TRACE_VARIABLE: &str = "STRATA_FAILPOINT_TRACE";

struct Settings {
    armed: Option<Armed>,
    trace: Option<File>,
}

struct Armed {
    name: String,
    visits_left: AtomicU64,
}

/// Dies if `name` is armed and this is the visit it was armed for. Call it through [`failpoint!`](crate::failpoint!).
pub fn visit(name: &str) {
    static SETTINGS: OnceLock<Settings> = OnceLock::new();
    let settings = SETTINGS.get_or_init(Settings::read);
    if let Some(mut trace) = settings.trace.as_ref() {
        trace.write_all(format!("{name}\n").as_bytes()).expect("the test that asked for a trace has room for it");
    }
    if let Some(armed) = &settings.armed
        && armed.name == name
        && armed.visits_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        die();
    }
}

impl Settings {
    fn read() -> Self {
        let open = |path| File::options().append(true).create(true).open(path).expect("a test can make its trace");
        Self {
            armed: std::env::var(VARIABLE).ok().and_then(|text| parse(&text)),
            trace: std::env::var_os(TRACE_VARIABLE).map(open),
        }
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
