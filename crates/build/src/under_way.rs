//! What is done at once: how many steps, and each of them once, though builds for several platforms may need the same one.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use strata_engine::workbench::Memory;

/// How many may do something at once.
#[derive(Debug)]
pub(crate) struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

/// One of them; it is free again when this is dropped.
pub(crate) struct Permit<'p>(&'p Permits);

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Mutex::new(count.max(1)), returned: Condvar::new() }
    }

    /// Waits for one.
    pub(crate) fn take(&self) -> Permit<'_> {
        self.occupy();
        Permit(self)
    }

    /// Lends the caller's own to others while it waits for something else.
    fn lend<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.free_one();
        let waited = wait();
        self.occupy();
        waited
    }

    fn occupy(&self) {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
    }

    fn free_one(&self) {
        *lock(&self.free) += 1;
        self.returned.notify_one();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.free_one();
    }
}

/// The steps that somebody does or has done in this build, by their keys and places.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// What came of a step; nothing while it is being done.
    steps: Mutex<HashMap<String, Option<Memory>>>,
    changed: Condvar,
}

/// Whose turn a step is.
pub(crate) enum Turn<'u> {
    /// The caller's: others wait for it.
    Ours(Claim<'u>),
    /// Nobody's: it was done meanwhile.
    Done(Memory),
}

/// A step that the caller does. Dropped before it is done, it is the next one's.
pub(crate) struct Claim<'u> {
    under_way: &'u UnderWay,
    key: String,
}

impl UnderWay {
    /// Waits until nobody else does a step; its permit is free meanwhile.
    pub(crate) fn claim(&self, key: &str, permits: &Permits) -> Turn<'_> {
        match self.turn(key) {
            Some(turn) => turn,
            None => permits.lend(|| self.wait(key)),
        }
    }

    /// Whose turn it is now; none while somebody does it.
    fn turn(&self, key: &str) -> Option<Turn<'_>> {
        self.turn_in(&mut lock(&self.steps), key)
    }

    fn turn_in(&self, steps: &mut HashMap<String, Option<Memory>>, key: &str) -> Option<Turn<'_>> {
        match steps.get(key) {
            Some(Some(memory)) => Some(Turn::Done(memory.clone())),
            Some(None) => None,
            None => {
                steps.insert(key.to_owned(), None);
                Some(Turn::Ours(Claim { under_way: self, key: key.to_owned() }))
            }
        }
    }

    fn wait(&self, key: &str) -> Turn<'_> {
        let mut steps = lock(&self.steps);
        loop {
            if let Some(turn) = self.turn_in(&mut steps, key) {
                return turn;
            }
            steps = self.changed.wait(steps).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Claim<'_> {
    /// Says what came of it.
    pub(crate) fn done(self, memory: &Memory) {
        lock(&self.under_way.steps).insert(self.key.clone(), Some(memory.clone()));
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut steps = lock(&self.under_way.steps);
        if steps.get(&self.key).is_some_and(Option::is_none) {
            steps.remove(&self.key);
        }
        drop(steps);
        self.under_way.changed.notify_all();
    }
}

/// Nobody panics with one of these, and nothing in them is half done.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(size_bytes: u64) -> Memory {
        Memory { layers: Vec::new(), size_bytes, created: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_step_is_done_once_and_again_if_it_failed() {
        let (under_way, permits) = (UnderWay::default(), Permits::new(1));
        let Turn::Ours(claim) = under_way.claim("a", &permits) else { panic!("nobody does it") };
        drop(claim);
        let Turn::Ours(claim) = under_way.claim("a", &permits) else { panic!("whoever did it failed") };
        claim.done(&memory(1));
        let Turn::Done(found) = under_way.claim("a", &permits) else { panic!("it was done") };
        assert_eq!(found, memory(1));
    }

    #[test]
    fn whoever_waits_for_a_step_gives_others_its_permit() {
        let (under_way, permits) = (UnderWay::default(), Permits::new(2));
        let _first = permits.take();
        let Turn::Ours(claim) = under_way.claim("a", &permits) else { panic!("nobody does it") };
        let (begins, began) = std::sync::mpsc::channel();
        let (under_way, permits) = (&under_way, &permits);
        std::thread::scope(|scope| {
            let waits = scope.spawn(move || {
                let _second = permits.take();
                begins.send(()).unwrap();
                matches!(under_way.claim("a", permits), Turn::Done(_))
            });
            began.recv().unwrap();
            // There are two, and both are taken: this one is lent.
            drop(permits.take());
            claim.done(&memory(1));
            assert!(waits.join().unwrap());
        });
    }
}
