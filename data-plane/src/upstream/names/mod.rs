//! The addresses behind names: looked up on the control runtime, and again when an answer is no longer good.
//!
//! Where there is no new answer, the last one is kept. A request reads what is held; it waits only where there was no
//! answer yet.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::plan::{Endpoint, EndpointIds, Endpoints, Host, Origin};

// Questions and answers.
mod lookup;

pub use lookup::Resolver;
use lookup::{Found, Lookup};

/// An answer is good for at least and at most so long, whatever it says itself.
const LEAST_TTL: Duration = Duration::from_secs(1);
const MOST_TTL: Duration = Duration::from_secs(3600);
/// How long until a question that was not answered is asked again; twice as long each time, up to the most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(30);
/// How long a question may take, over all servers and search domains.
const LOOKUP_LIMIT: Duration = Duration::from_secs(15);
/// The most addresses of one name that are used: the smallest.
const MOST_ADDRESSES: usize = 64;

/// Looks names up for as long as an upstream needs them.
#[derive(Clone)]
pub struct Names {
    control: Handle,
    lookup: Arc<Lookup>,
}

/// The endpoints of an upstream that names some of them.
#[derive(Debug)]
pub struct Named {
    origins: Box<[Origin]>,
    ids: EndpointIds,
    current: ArcSwap<Endpoints>,
    /// Of each origin. Never locked by a request.
    answers: Mutex<Box<[Answer]>>,
    /// Whether each name has been asked for.
    is_known: watch::Sender<bool>,
}

#[derive(Clone, Debug, Default)]
struct Answer {
    /// Sorted.
    addresses: Box<[IpAddr]>,
    is_asked: bool,
}

impl Names {
    /// By the configuration of the system: `/etc/hosts` and `/etc/resolv.conf`. Questions are asked on `control`.
    #[must_use]
    pub fn of_system(control: Handle) -> Self {
        Self::with(Resolver::System, control)
    }

    /// By another one.
    #[must_use]
    pub fn with(resolver: Resolver, control: Handle) -> Self {
        Self { control, lookup: Arc::new(Lookup::new(resolver)) }
    }

    /// Keeps the addresses of an upstream's names up to date until it is gone.
    pub(crate) fn follow(&self, named: &Arc<Named>) {
        for (index, origin) in named.origins.iter().enumerate() {
            if let Host::Name(name) = &origin.host {
                let place = Place { named: Arc::downgrade(named), index, name: name.clone() };
                self.control.spawn(place.follow(Arc::clone(&self.lookup)));
            }
        }
    }
}

impl Named {
    pub(crate) fn new(origins: Box<[Origin]>, ids: EndpointIds, before: &[Endpoint]) -> Self {
        let answer = |origin: &Origin| match origin.host {
            Host::Address(address) => Answer { addresses: Box::from([address]), is_asked: true },
            Host::Name(_) => {
                let known = before.iter().filter(|known| known.origin == origin.id);
                let mut addresses: Vec<IpAddr> = known.map(|known| known.address.ip()).collect();
                addresses.sort_unstable();
                Answer { is_asked: !addresses.is_empty(), addresses: addresses.into() }
            }
        };
        let answers: Box<[Answer]> = origins.iter().map(answer).collect();
        let current = build(&origins, &answers, &ids, before);
        let is_known = answers.iter().all(|answer| answer.is_asked);
        Self {
            origins,
            ids,
            current: ArcSwap::from_pointee(current),
            answers: Mutex::new(answers),
            is_known: watch::Sender::new(is_known),
        }
    }

    /// The endpoints as they are now.
    #[must_use]
    pub fn current(&self) -> Arc<Endpoints> {
        self.current.load_full()
    }

    /// Waits until each name has been asked for, however that ended.
    pub(super) async fn known(&self) {
        // It can fail only where the sender is gone, which is held here.
        let _ = self.is_known.subscribe().wait_for(|is_known| *is_known).await;
    }

    /// Takes in how a question ended; none: what was known before is still good.
    fn answered(&self, index: usize, addresses: Option<Vec<IpAddr>>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(answer) = answers.get_mut(index) else { return };
        answer.is_asked = true;
        if let Some(mut addresses) = addresses {
            // Their order is another one in each answer.
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(MOST_ADDRESSES);
            if *answer.addresses != *addresses {
                answer.addresses = addresses.into();
                let before = self.current();
                let next = build(&self.origins, &answers, &self.ids, &before.all);
                self.current.store(Arc::new(next));
            }
        }
        if answers.iter().all(|answer| answer.is_asked) {
            self.is_known.send_replace(true);
        }
    }
}

fn build(
    origins: &[Origin],
    answers: &[Answer],
    ids: &EndpointIds,
    before: &[Endpoint],
) -> Endpoints {
    let addresses = origins.iter().zip(answers).flat_map(|(origin, answer)| {
        answer.addresses.iter().map(move |address| (origin, *address))
    });
    Endpoints::build(addresses, ids, before)
}

/// One name of an upstream.
struct Place {
    named: Weak<Named>,
    index: usize,
    name: Box<str>,
}

impl Place {
    async fn follow(self, lookup: Arc<Lookup>) {
        let mut pause = FIRST_PAUSE;
        while self.named.strong_count() > 0 {
            let found = timeout(LOOKUP_LIMIT, lookup.addresses(&self.name)).await;
            let Some(named) = self.named.upgrade() else { return };
            let found = found.unwrap_or(Err(lookup::Failed::TooSlow));
            let wait = match found {
                Ok(Found { addresses, ttl }) => {
                    self.say_whether_new(pause, None);
                    pause = FIRST_PAUSE;
                    named.answered(self.index, Some(addresses));
                    ttl.clamp(LEAST_TTL, MOST_TTL)
                }
                Err(error) => {
                    self.say_whether_new(pause, Some(error));
                    named.answered(self.index, None);
                    let wait = pause;
                    pause = (pause * 2).min(MOST_PAUSE);
                    wait
                }
            };
            drop(named);
            sleep(wait).await;
        }
    }

    /// Logs a failure once, and once that it is over. The pause has grown since the first failure.
    fn say_whether_new(&self, pause: Duration, failed: Option<lookup::Failed>) {
        match (failed, pause > FIRST_PAUSE) {
            (Some(error), false) => tracing::warn!(
                name = ?self.name,
                error = %error,
                "a name has no answer; the addresses known before are kept"
            ),
            (None, true) => tracing::info!(name = ?self.name, "a name is answered for again"),
            (Some(_), true) | (None, false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tollgate_model::upstream::Protocol;

    use super::*;

    fn origin(ids: &EndpointIds, host: &str) -> Origin {
        Origin {
            id: ids.next(),
            host: Host::of(host),
            port: 9000,
            authority: HeaderValue::from_static("orders.test"),
            protocol: Protocol::Http1,
            tls: None,
            weight: 1,
            priority: 0,
            most_requests: Some(5),
        }
    }

    fn named(hosts: &[&str]) -> Named {
        let ids = EndpointIds::default();
        let origins = hosts.iter().map(|host| origin(&ids, host)).collect();
        Named::new(origins, ids, &[])
    }

    fn addresses(lasts: impl IntoIterator<Item = u8>) -> Vec<IpAddr> {
        lasts.into_iter().map(|last| IpAddr::from([10, 0, 0, last])).collect()
    }

    fn lasts(named: &Named) -> Vec<u8> {
        let last = |endpoint: &Endpoint| match endpoint.address.ip() {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(_) => 0,
        };
        named.current().all.iter().map(last).collect()
    }

    #[test]
    fn what_a_name_still_stands_for_goes_on_with_all_that_is_known_of_it() {
        let named = named(&["orders.test", "10.0.0.9"]);
        assert_eq!(lasts(&named), [9]);
        named.answered(0, Some(addresses([2, 1])));
        let before = named.current();
        let place = before.all[1].limit.as_ref().unwrap();
        named.answered(0, Some(addresses([3, 2])));
        let after = named.current();
        assert_eq!(lasts(&named), [2, 3, 9]);
        assert_eq!(after.all[0].id, before.all[1].id);
        assert!(Arc::ptr_eq(&after.all[0].health, &before.all[1].health));
        assert!(format!("{place:?}") == format!("{:?}", after.all[0].limit.as_ref().unwrap()));
        // One that comes back is another one.
        named.answered(0, Some(addresses([1])));
        assert!(before.all.iter().take(2).all(|old| old.id != named.current().all[0].id));
    }

    #[test]
    fn the_same_answer_in_another_order_changes_nothing() {
        let named = named(&["orders.test"]);
        named.answered(0, Some(addresses([1, 2, 3])));
        let before = named.current();
        named.answered(0, Some(addresses([3, 1, 2, 1])));
        named.answered(0, None);
        assert!(Arc::ptr_eq(&before, &named.current()));
    }

    #[test]
    fn an_answer_is_bounded() {
        let named = named(&["orders.test"]);
        named.answered(0, Some(addresses(0..=255)));
        assert_eq!(named.current().all.len(), MOST_ADDRESSES);
    }

    #[tokio::test]
    async fn it_is_known_when_each_name_was_asked_for_however_that_ended() {
        let named = named(&["a.test", "b.test", "10.0.0.9"]);
        let is_known = || async { timeout(Duration::ZERO, named.known()).await.is_ok() };
        named.answered(0, None);
        assert!(!is_known().await);
        named.answered(1, Some(addresses([1])));
        assert!(is_known().await);
    }
}
