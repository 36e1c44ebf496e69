//! How much is under way at a time: counted over all request threads of the node, and only where there is a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A bound on what is under way, and how much that is.
#[derive(Clone, Debug)]
pub struct Limit {
    most: u32,
    under_way: Arc<AtomicU32>,
}

/// One that is under way; until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limit {
    /// A bound, if there is one, in the place of an earlier one: what is under way goes on counting.
    pub(crate) fn following(most: Option<u32>, previous: Option<&Self>) -> Option<Self> {
        let under_way = previous.map(|previous| Arc::clone(&previous.under_way));
        most.map(|most| Self { most, under_way: under_way.unwrap_or_default() })
    }

    /// Whether one more may be.
    pub(super) fn has_room(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) < self.most
    }

    /// Makes one more, where that is within the bound: of two threads, one gets the last place.
    pub(super) fn enter(&self) -> Option<Place> {
        let more = |count| (count < self.most).then_some(count + 1);
        let entered = self.under_way.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.ok().map(|_before| Place(Arc::clone(&self.under_way)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn no_more_than_the_bound_are_under_way_however_many_threads_ask() {
        let limit = Limit::following(Some(5), None).unwrap();
        let begin = Barrier::new(4);
        let entered: Vec<Place> = std::thread::scope(|scope| {
            let asking = || {
                begin.wait();
                (0..100).filter_map(|_| limit.enter()).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(asking)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((entered.len(), limit.has_room()), (5, false));
        drop(entered);
        assert!(limit.has_room());
    }

    #[test]
    fn what_is_under_way_counts_for_the_bound_that_follows() {
        let first = Limit::following(Some(1), None).unwrap();
        let place = first.enter().unwrap();
        let second = Limit::following(Some(2), Some(&first)).unwrap();
        let other = second.enter().unwrap();
        assert!(second.enter().is_none());
        drop((place, other));
        assert!(second.enter().is_some());
    }
}
