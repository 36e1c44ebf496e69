//! The servers of a service, as its SRV records name them (RFC 2782).

use std::cmp::Reverse;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::proto::rr::rdata::SRV;
use http::HeaderValue;
use tollgate_model::upstream::Scheme;

use super::usable;
use crate::plan::{Site, WHOLE, header_value};

/// The most records of a service that are used, and the most endpoints that come of them: those of the smallest
/// priority; of these, those of the greatest weight; then in the order of target, port and address.
const MOST: usize = 256;
/// Beside records with a weight, one of weight 0 has a share as if its weight were the sum of theirs divided by this:
/// RFC 2782 wants its chance to be very small, and not none.
const LIGHT: u64 = 1000;

/// One record that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) priority: u16,
    pub(super) weight: u16,
    /// Never 0.
    pub(super) port: u16,
    /// A host name in lower case, without a dot at the end.
    pub(super) target: Box<str>,
}

/// A record, and where its target is.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) record: Record,
    /// None: nobody answered. What was known before is still good.
    pub(super) addresses: Option<Vec<IpAddr>>,
}

/// There are records, and none of them can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("none of its SRV records names a host and a port")]
pub(super) struct Unusable;

impl Record {
    /// None where it names no host or no port: whoever answers may write anything into it, and it goes into `host`.
    fn of(srv: &SRV) -> Option<Self> {
        let target = srv.target.to_ascii().to_ascii_lowercase();
        let target = target.strip_suffix('.').unwrap_or(&target);
        let is_host = !target.is_empty()
            && target.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        (is_host && srv.port > 0).then(|| Self {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: Box::from(target),
        })
    }

    fn order(&self) -> impl Ord + '_ {
        (self.priority, Reverse(self.weight), &self.target, self.port)
    }

    fn authority(&self, scheme: Scheme) -> HeaderValue {
        header_value(&scheme.authority(&self.target, self.port))
    }
}

impl Server {
    pub(super) fn has_addresses(&self) -> bool {
        self.addresses.as_ref().is_some_and(|addresses| !addresses.is_empty())
    }
}

/// The records of an answer that are used, in order. None of them: the service is decidedly not available, which a
/// target of `.` says.
pub(super) fn read(answer: &[SRV]) -> Result<Vec<Record>, Unusable> {
    if !answer.is_empty() && answer.iter().all(|srv| srv.target.is_root()) {
        return Ok(Vec::new());
    }
    let mut records: Vec<Record> = answer.iter().filter_map(Record::of).collect();
    records.sort_unstable_by(|one, other| one.order().cmp(&other.order()));
    let mut seen = HashSet::new();
    records.retain(|record| seen.insert((record.target.clone(), record.port)));
    records.truncate(MOST);
    if records.is_empty() { Err(Unusable) } else { Ok(records) }
}

/// A record with those of its addresses that are used, at least one.
struct Taken<'a> {
    record: &'a Record,
    authority: HeaderValue,
    addresses: Vec<IpAddr>,
}

/// The sites of servers that are in order, where `before` was known.
pub(super) fn sites(servers: &[Server], scheme: Scheme, before: &[Site]) -> Vec<Site> {
    let mut room = MOST;
    let mut taken = Vec::new();
    for Server { record, addresses } in servers {
        let authority = record.authority(scheme);
        let known = || {
            let own = before.iter().filter(|site| site.authority == authority);
            own.map(|site| site.address.ip()).collect()
        };
        let mut addresses = usable(addresses.clone().unwrap_or_else(known));
        addresses.truncate(room);
        room -= addresses.len();
        if !addresses.is_empty() {
            taken.push(Taken { record, authority, addresses });
        }
    }
    // The numbers of different services say nothing of each other: what counts is the order. The first one has targets
    // that can be reached, as far as names say.
    let tiers = taken.chunk_by(|one, next| one.record.priority == next.record.priority);
    (0..=u8::MAX).zip(tiers).flat_map(|(rank, tier)| of_tier(tier, rank)).collect()
}

fn of_tier(tier: &[Taken<'_>], rank: u8) -> Vec<Site> {
    let weights: Vec<u16> = tier.iter().map(|taken| taken.record.weight).collect();
    let of_taken = |(taken, share): (&Taken<'_>, u32)| {
        let addresses = taken.addresses.clone();
        // The weight is the target's, however many addresses it has.
        let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let (share, authority) = ((share / count.max(1)).max(1), taken.authority.clone());
        let port = taken.record.port;
        addresses.into_iter().map(move |address| Site {
            address: SocketAddr::new(address, port),
            authority: authority.clone(),
            share,
            rank,
        })
    };
    tier.iter().zip(shares(&weights)).flat_map(of_taken).collect()
}

/// How [`WHOLE`] is shared by weight.
fn shares(weights: &[u16]) -> Vec<u32> {
    let sum: u64 = weights.iter().copied().map(u64::from).sum();
    let scaled = |weight: &u16| match (sum, u64::from(*weight)) {
        (0, _) => 1,
        (_, 0) => sum,
        (_, weight) => weight * LIGHT,
    };
    let total: u64 = weights.iter().map(scaled).sum();
    let share = |weight: &u16| {
        let share = u64::from(WHOLE) * scaled(weight) / total.max(1);
        u32::try_from(share).unwrap_or(WHOLE).max(1)
    };
    weights.iter().map(share).collect()
}

#[cfg(test)]
mod tests;
