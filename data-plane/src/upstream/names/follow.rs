//! One name or service of an upstream, asked for as long as the upstream is there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;
use tollgate_model::upstream::ServiceName;

use super::lookup::{Failed, Found, Lookup};
use super::{Heard, Named};
use crate::plan::Host;

/// An answer is good for at least and at most so long, whatever it says itself.
const LEAST_TTL: Duration = Duration::from_secs(1);
const MOST_TTL: Duration = Duration::from_secs(3600);
/// How long until a question that was not answered is asked again; twice as long each time, up to the most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MOST_PAUSE: Duration = Duration::from_secs(30);

/// Where what is found belongs, and what is asked for.
pub(super) struct Place {
    named: Weak<Named>,
    index: usize,
    asked: Asked,
}

#[derive(Debug)]
enum Asked {
    Name(Box<str>),
    Service(ServiceName),
}

impl Place {
    /// That of an origin; none of an address.
    pub(super) fn of(named: &Arc<Named>, index: usize, host: &Host) -> Option<Self> {
        let asked = match host {
            Host::Address(_) => return None,
            Host::Name { name, .. } => Asked::Name(name.clone()),
            Host::Service(service) => Asked::Service(service.name.clone()),
        };
        Some(Self { named: Arc::downgrade(named), index, asked })
    }

    pub(super) async fn follow(self, lookup: Arc<Lookup>) {
        let mut pause = FIRST_PAUSE;
        while self.named.strong_count() > 0 {
            let (heard, ttl, trouble) = match self.ask(&lookup).await {
                Ok(Found { what, ttl }) => {
                    let trouble = what.trouble();
                    (Some(what), ttl.clamp(LEAST_TTL, MOST_TTL), trouble)
                }
                Err(error) => (None, MOST_TTL, Some(error)),
            };
            let Some(named) = self.named.upgrade() else { return };
            named.answered(self.index, heard.as_ref());
            drop(named);
            self.say_whether_new(pause, trouble.as_ref());
            let wait = match trouble {
                None => {
                    pause = FIRST_PAUSE;
                    ttl
                }
                Some(_) => {
                    let wait = pause.min(ttl);
                    pause = (pause * 2).min(MOST_PAUSE);
                    wait
                }
            };
            sleep(wait).await;
        }
    }

    async fn ask(&self, lookup: &Lookup) -> Result<Found<Heard>, Failed> {
        Ok(match &self.asked {
            Asked::Name(name) => lookup.addresses(name).await?.map(Heard::Addresses),
            Asked::Service(name) => lookup.service(name.as_str()).await?.map(Heard::Servers),
        })
    }

    /// Logs a failure once, and once that it is over. The pause has grown since the first failure.
    fn say_whether_new(&self, pause: Duration, failed: Option<&Failed>) {
        match (failed, pause > FIRST_PAUSE) {
            (Some(error), false) => tracing::warn!(
                name = ?self.asked,
                %error,
                "a name has no answer; the addresses known before are kept"
            ),
            (None, true) => tracing::info!(name = ?self.asked, "a name is answered for again"),
            (Some(_), true) | (None, false) => {}
        }
    }
}

impl Heard {
    /// What is to be had again soon, and said.
    fn trouble(&self) -> Option<Failed> {
        let Self::Servers(servers) = self else { return None };
        let lacking = servers.iter().filter(|server| !server.has_addresses()).count();
        (lacking > 0).then_some(Failed::Targets { lacking, all: servers.len() })
    }
}
