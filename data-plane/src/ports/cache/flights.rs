//! One request of the node fetches what a key lacks; the others wait, on whichever thread they are.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use tokio::sync::watch;
use tollgate_policy::ports::Turn;
use tollgate_policy::stored::{Digest, Lead};

/// Who is under way.
#[derive(Default)]
pub(super) struct Flights(DashMap<Digest, watch::Receiver<()>, RandomState>);

struct Flight {
    flights: Arc<Flights>,
    key: Digest,
    /// Who waits wakes when it is dropped.
    _end: watch::Sender<()>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Before the others wake, so that one of them can go next.
        self.flights.0.remove(&self.key);
    }
}

impl Flights {
    /// The lead of a key, or a wait for who has it.
    pub(super) fn turn(flights: &Arc<Self>, key: Digest, limit: Duration) -> Turn {
        let mut under_way = match flights.0.entry(key) {
            Entry::Occupied(flight) => flight.get().clone(),
            Entry::Vacant(place) => {
                let (end, under_way) = watch::channel(());
                place.insert(under_way);
                let flight = Flight { flights: Arc::clone(flights), key, _end: end };
                return Turn::Lead(Lead::new(Box::new(flight)));
            }
        };
        Turn::Wait(Box::pin(async move {
            // Nothing is ever sent: it ends with the sender.
            tokio::time::timeout(limit, under_way.changed()).await.is_ok()
        }))
    }
}
