//! Doing one thing to many items with a stated number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::Result;

/// Does `work` to every item, at most `limit` at a time, in order of their place. After the first error no new item is
/// begun; that error is returned when all have ended.
pub(crate) fn each<T: Sync>(limit: usize, items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    if limit < 2 || items.len() < 2 {
        return items.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first_error = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..limit.min(items.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                    if let Err(error) = work(item) {
                        failed.store(true, Ordering::Relaxed);
                        first_error.lock().expect("nobody panics with it").get_or_insert(error);
                    }
                }
            });
        }
    });
    first_error.into_inner().expect("nobody panics with it").map_or(Ok(()), Err)
}

/// What `work` makes of every item, in the items' order, as many at a time as there are processors.
pub(crate) fn map<T: Send, U: Send>(items: Vec<T>, work: impl Fn(T) -> U + Sync) -> Vec<U> {
    let limit = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    if limit < 2 {
        return items.into_iter().map(work).collect();
    }
    let items = Mutex::new(items.into_iter().enumerate());
    let take = || items.lock().expect("nobody panics with it").next();
    let mut made: Vec<(usize, U)> = std::thread::scope(|scope| {
        let some = || std::iter::from_fn(take).map(|(place, item)| (place, work(item))).collect::<Vec<_>>();
        let threads: Vec<_> = (0..limit).map(|_| scope.spawn(some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("the work does not panic")).collect()
    });
    made.sort_by_key(|(place, _)| *place);
    made.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn every_item_is_done_once() {
        let sum = AtomicUsize::new(0);
        let items: Vec<usize> = (1..=100).collect();
        each(3, &items, |item| {
            sum.fetch_add(*item, Ordering::Relaxed);
            Ok(())
        })
        .unwrap();
        assert_eq!(sum.into_inner(), 5050);
    }

    #[test]
    fn what_is_made_is_in_the_items_order() {
        let doubled = map((0..1000).collect(), |item| item * 2);
        assert_eq!(doubled, (0..1000).map(|item| item * 2).collect::<Vec<_>>());
        assert!(map(Vec::<u8>::new(), |item| item).is_empty());
    }

    #[test]
    fn after_an_error_nothing_new_is_begun() {
        let begun = AtomicUsize::new(0);
        let outcome = each(2, &[(); 1000], |()| {
            begun.fetch_add(1, Ordering::Relaxed);
            Err(Error::Cancelled)
        });
        assert!(outcome.is_err());
        assert!(begun.into_inner() <= 2);
    }
}
