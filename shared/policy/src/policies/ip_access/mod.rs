#![doc = include_str!("MANUAL.md")]

use std::future::Future;
use std::net::IpAddr;

use deserr::Deserr;
use http::{Request, StatusCode};
use schemars::JsonSchema;
use tollgate_model::Issues;
use tollgate_model::gateway::Network;

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// What the operator writes; at least one of both.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Networks in CIDR form, or single addresses, whose clients alone may call. None: all that
    /// `deny` does not name.
    #[deserr(default)]
    pub allow: Option<Vec<Network>>,
    /// Networks or addresses whose clients may not call, whatever `allow` says.
    #[deserr(default)]
    pub deny: Option<Vec<Network>>,
}

/// Decides by the client's address whether it may call.
pub struct IpAccess {
    allow: Option<Networks>,
    deny: Networks,
}

/// Addresses of both families; how many networks they come from costs little.
#[derive(Default)]
struct Networks {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// First and last of each range, in order, none overlapping another.
#[derive(Default)]
struct Ranges<A>(Box<[(A, A)]>);

impl Policy for IpAccess {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "ip_access";
    const PHASE: Phase = Phase::Guard;
    const REPEAT: Repeat = Repeat::All;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        for (at, list) in [("/allow", &config.allow), ("/deny", &config.deny)] {
            if list.as_ref().is_some_and(Vec::is_empty) {
                let problem = "is empty; name a network, or leave it out";
                issues.add(at, "invalid_count", problem);
            }
        }
        if config.allow.is_none() && config.deny.is_none() {
            issues.add("", "missing_field", "lets everybody call; add `allow` or `deny`");
        }
        issues.into_result(Self {
            allow: config.allow.as_deref().map(Networks::of),
            deny: config.deny.as_deref().map(Networks::of).unwrap_or_default(),
        })
    }

    fn on_request(
        &self,
        cx: &mut Cx<'_>,
        _request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(if self.admits(cx.client.address) {
            Flow::Next(())
        } else {
            let detail = "calls from this address are not allowed";
            Refusal::new(StatusCode::FORBIDDEN, "forbidden", detail).into_flow()
        })
    }
}

impl IpAccess {
    fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.deny.contain(address)
            && self.allow.as_ref().is_none_or(|allowed| allowed.contain(address))
    }
}

impl Networks {
    fn of(networks: &[Network]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Network(network) in networks {
            match (network.network(), network.broadcast()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => {
                    // What is mapped from IPv4 is judged as IPv4, and so it is where networks name it.
                    match (first.to_ipv4_mapped(), last.to_ipv4_mapped()) {
                        (Some(first), Some(last)) => v4.push((first.to_bits(), last.to_bits())),
                        _ => v6.push((first.to_bits(), last.to_bits())),
                    }
                }
                // Both ends of a network are of its own family.
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {}
            }
        }
        Self { v4: Ranges::of(v4), v6: Ranges::of(v6) }
    }

    fn contain(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contain(address.to_bits()),
            IpAddr::V6(address) => self.v6.contain(address.to_bits()),
        }
    }
}

impl<A: Copy + Ord> Ranges<A> {
    fn of(mut ranges: Vec<(A, A)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(A, A)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some((_, end)) if first <= *end => *end = last.max(*end),
                _ => merged.push((first, last)),
            }
        }
        Self(merged.into())
    }

    fn contain(&self, address: A) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= address);
        let nearest = after.checked_sub(1).and_then(|before| self.0.get(before));
        nearest.is_some_and(|(_, last)| address <= *last)
    }
}

#[cfg(test)]
mod tests;
