//! What happened, for all who want to know: noted by every operation that changes something, and by shims.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

pub use strata_runtime::events::{Event, Kind, Span};

use crate::container::Known;
use crate::{Engine, Result};

/// An event to be: its time is when it is recorded.
#[derive(Clone, Debug)]
pub struct Happening {
    kind: Kind,
    action: String,
    id: String,
    attributes: BTreeMap<String, String>,
}

impl Happening {
    /// Something that happened to a thing.
    pub fn new(kind: Kind, action: &str, id: impl ToString) -> Self {
        Self { kind, action: action.to_owned(), id: id.to_string(), attributes: BTreeMap::new() }
    }

    /// With an attribute more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Something that happened to a container.
pub fn of(known: &Known, action: &str) -> Happening {
    Happening { attributes: attributes(known), ..Happening::new(Kind::Container, action, known.id()) }
}

/// What every event about a container says of it.
pub(crate) fn attributes(known: &Known) -> BTreeMap<String, String> {
    let mut attributes = known.document.config.run.labels.clone();
    attributes.insert("image".to_owned(), known.record.image_name.clone());
    attributes.insert("name".to_owned(), known.record.name.clone());
    attributes
}

impl Engine {
    /// Notes that something happened. That it could not be noted stops nobody.
    pub fn record_event(&self, happening: Happening) {
        self.record_events([happening]);
    }

    /// Notes what happened together.
    pub fn record_events(&self, happenings: impl IntoIterator<Item = Happening>) {
        let event = |happening: Happening| {
            let Happening { kind, action, id, attributes } = happening;
            Event { kind, action, id, attributes, time: self.now() }
        };
        let events: Vec<Event> = happenings.into_iter().map(event).collect();
        strata_runtime::events::record_all(&self.settings().run_dir, &events);
    }

    /// Notes that things of a kind were pruned.
    pub fn record_prune(&self, kind: Kind, reclaimed_bytes: u64) {
        self.record_event(Happening::new(kind, "prune", "").with("reclaimed", &reclaimed_bytes.to_string()));
    }

    /// Hands out events in their order, until `each` says no, the span is over or `stop` becomes readable.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn events(&self, span: Span, stop: Option<BorrowedFd<'_>>, each: &mut dyn FnMut(Event) -> bool) -> Result<()> {
        Ok(strata_runtime::events::read(&self.settings().run_dir, span, stop, each)?)
    }
}
