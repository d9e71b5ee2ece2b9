//! Progress out, cancellation in: how long operations talk to whoever asked for them.

use crate::Digest;

/// Is told how far an operation is, and asked whether it should stop. Called from several threads.
pub trait Watch: Send + Sync {
    /// Says that an item (a layer's blob, usually) is now in `phase`, such as `Downloading`.
    fn phase(&self, item: &Digest, phase: &str);

    /// Says how much of an item is done; `total_bytes` is 0 when not known.
    fn progress(&self, item: &Digest, done_bytes: u64, total_bytes: u64);

    /// Says a sentence that belongs to no single item, such as `Status: …`.
    fn say(&self, line: &str);

    /// Whether the operation should end at the next safe point.
    fn cancelled(&self) -> bool;
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Watch for Silent {
    fn phase(&self, _item: &Digest, _phase: &str) {}
    fn progress(&self, _item: &Digest, _done_bytes: u64, _total_bytes: u64) {}
    fn say(&self, _line: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
}
