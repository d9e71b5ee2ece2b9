//! What the crates beneath have to say, on stderr.

use std::io;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes what is said from a level on. Most commands hear nothing: the writer is made when there is something to write.
struct Log {
    from: LevelFilter,
    writer: OnceLock<Box<dyn Subscriber + Send + Sync>>,
}

/// From now on everything from this level on goes to stderr. Nothing changes if there is a log already.
pub fn start(from: LevelFilter) {
    // In tests there is one; it serves as well.
    drop(tracing::subscriber::set_global_default(Log { from, writer: OnceLock::new() }));
}

impl Log {
    fn writer(&self) -> &dyn Subscriber {
        let make = || {
            let log = tracing_subscriber::fmt().with_max_level(self.from).with_writer(io::stderr);
            Box::new(log.without_time().with_target(false).finish()) as Box<dyn Subscriber + Send + Sync>
        };
        self.writer.get_or_init(make)
    }
}

impl Subscriber for Log {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        *about.level() <= self.from
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.from)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.writer().new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.writer().record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.writer().record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.writer().event(event);
    }

    fn enter(&self, span: &Id) {
        self.writer().enter(span);
    }

    fn exit(&self, span: &Id) {
        self.writer().exit(span);
    }

    fn clone_span(&self, span: &Id) -> Id {
        self.writer().clone_span(span)
    }

    fn try_close(&self, span: Id) -> bool {
        self.writer().try_close(span)
    }
}
