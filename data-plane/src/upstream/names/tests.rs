//! What becomes of an upstream's endpoints when answers come.

use std::time::Duration;

use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::rdata::SRV;
use tokio::time::timeout;
use tollgate_model::parse;
use tollgate_model::upstream::{Endpoint as Written, Protocol};

use super::*;

fn origin(ids: &EndpointIds, written: &str) -> Origin {
    let written: Written = parse::value(&serde_json::from_str(written).unwrap()).unwrap();
    Origin {
        id: ids.next(),
        host: Host::of(&written.location),
        protocol: Protocol::Http1,
        tls: None,
        weight: written.weight.0,
        priority: written.priority,
        most_requests: Some(5),
    }
}

fn of(written: &[&str]) -> Named {
    let ids = EndpointIds::default();
    let origins = written.iter().map(|written| origin(&ids, written)).collect();
    Named::new(origins, ids, None)
}

fn named(hosts: &[&str]) -> Named {
    let written: Vec<String> =
        hosts.iter().map(|host| format!("{{\"url\": \"http://{host}:9000\"}}")).collect();
    of(&written.iter().map(String::as_str).collect::<Vec<_>>())
}

fn ips(lasts: impl IntoIterator<Item = u8>) -> Vec<IpAddr> {
    lasts.into_iter().map(|last| IpAddr::from([10, 0, 0, last])).collect()
}

fn addresses(lasts: impl IntoIterator<Item = u8>) -> Heard {
    Heard::Addresses(ips(lasts))
}

/// Records of priority, weight, port and target, each with the addresses of that target.
fn servers(records: &[(u16, u16, u16, &str, &[u8])]) -> Heard {
    let srv = |(priority, weight, port, target, _): &(u16, u16, u16, &str, &[u8])| {
        SRV::new(*priority, *weight, *port, Name::from_ascii(target).unwrap())
    };
    let read = service::read(&records.iter().map(srv).collect::<Vec<_>>()).unwrap();
    let server = |record: service::Record| {
        let (.., lasts) = records
            .iter()
            .find(|(.., target, _)| *target == format!("{}.", record.target))
            .unwrap();
        Server { record, addresses: Some(ips(lasts.iter().copied())) }
    };
    Heard::Servers(read.into_iter().map(server).collect())
}

/// Authority, last of the address, weight as a share of all in the tier, of each tier.
fn tiers(named: &Named) -> Vec<Vec<(String, u8, f64)>> {
    let current = named.current();
    let mut tiers: std::collections::BTreeMap<u16, Vec<_>> = std::collections::BTreeMap::new();
    for (endpoint, last) in current.all.iter().zip(lasts(named)) {
        let authority = endpoint.authority.to_str().unwrap().to_owned();
        tiers.entry(endpoint.priority).or_default().push((
            authority,
            last,
            f64::from(endpoint.weight),
        ));
    }
    let mut tiers: Vec<_> = tiers.into_values().collect();
    for tier in &mut tiers {
        let sum: f64 = tier.iter().map(|(_, _, weight)| weight).sum();
        tier.iter_mut().for_each(|(_, _, weight)| *weight = (*weight / sum * 1e4).round() / 1e4);
    }
    tiers
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
    named.answered(0, Some(&addresses([2, 1])));
    let before = named.current();
    let place = before.all[1].limit.as_ref().unwrap();
    named.answered(0, Some(&addresses([3, 2])));
    let after = named.current();
    assert_eq!(lasts(&named), [2, 3, 9]);
    assert_eq!(after.all[0].id, before.all[1].id);
    assert!(Arc::ptr_eq(&after.all[0].health, &before.all[1].health));
    assert!(format!("{place:?}") == format!("{:?}", after.all[0].limit.as_ref().unwrap()));
    // One that comes back is another one.
    named.answered(0, Some(&addresses([1])));
    assert!(before.all.iter().take(2).all(|old| old.id != named.current().all[0].id));
}

#[test]
fn the_same_answer_in_another_order_changes_nothing() {
    let named = named(&["orders.test"]);
    named.answered(0, Some(&addresses([1, 2, 3])));
    let before = named.current();
    named.answered(0, Some(&addresses([3, 1, 2, 1])));
    named.answered(0, None);
    assert!(Arc::ptr_eq(&before, &named.current()));
}

#[test]
fn an_answer_is_bounded() {
    let named = named(&["orders.test"]);
    named.answered(0, Some(&addresses(0..=255)));
    assert_eq!(named.current().all.len(), MOST_ADDRESSES);
}

#[tokio::test]
async fn it_is_known_when_each_name_was_asked_for_however_that_ended() {
    let named = named(&["a.test", "b.test", "10.0.0.9"]);
    let is_known = || async { timeout(Duration::ZERO, named.known()).await.is_ok() };
    named.answered(0, None);
    assert!(!is_known().await);
    named.answered(1, Some(&addresses([1])));
    assert!(is_known().await);
}

const SERVICE: &str = r#"{"srv": "_http._tcp.shop.test"}"#;

fn tier(sites: &[(&str, u8, f64)]) -> Vec<(String, u8, f64)> {
    sites.iter().map(|(authority, last, share)| ((*authority).to_owned(), *last, *share)).collect()
}

#[test]
fn the_servers_of_a_service_share_the_weight_of_their_endpoint_by_priority() {
    let named = of(&[
        r#"{"srv": "_http._tcp.shop.test", "weight": 3}"#,
        r#"{"url": "http://10.0.0.9"}"#,
        r#"{"url": "http://10.0.0.10", "priority": 1}"#,
    ]);
    named.answered(
        0,
        Some(&servers(&[
            (10, 60, 8080, "a.test.", &[1]),
            (20, 0, 80, "c.test.", &[4]),
            (10, 20, 80, "b.test.", &[2, 3]),
        ])),
    );
    assert_eq!(
        tiers(&named),
        [
            tier(&[
                ("a.test:8080", 1, 0.5625),
                ("b.test", 2, 0.0938),
                ("b.test", 3, 0.0938),
                ("10.0.0.9", 9, 0.25),
            ]),
            tier(&[("c.test", 4, 1.0)]),
            tier(&[("10.0.0.10", 10, 1.0)]),
        ]
    );
    // Three of 4 turns of 16 are shared by 6, 1 and 1: nothing is rounded.
    assert_eq!(named.current().tiers[0].len(), 32);
}

#[test]
fn a_server_that_stays_goes_on_with_all_that_is_known_of_it_whatever_its_record_says_now() {
    let named = of(&[SERVICE]);
    named.answered(0, Some(&servers(&[(0, 1, 80, "a.test.", &[1]), (0, 1, 80, "b.test.", &[2])])));
    let before = named.current();
    // Another weight, another priority, another place among the others; and one at another port.
    named.answered(
        0,
        Some(&servers(&[
            (5, 9, 80, "b.test.", &[2]),
            (1, 7, 81, "d.test.", &[2]),
            (1, 7, 80, "c.test.", &[1]),
        ])),
    );
    let after = named.current();
    let known = |endpoint: &&Endpoint| endpoint.authority == "b.test";
    let (old, new) =
        (before.all.iter().find(known).unwrap(), after.all.iter().find(known).unwrap());
    assert_eq!(old.id, new.id);
    assert!(Arc::ptr_eq(&old.health, &new.health));
    assert!(new.priority > old.priority && new.weight > old.weight);
    // The same address under another name or at another port is another server.
    let ids: std::collections::HashSet<_> =
        before.all.iter().chain(&after.all).map(|endpoint| endpoint.id).collect();
    assert_eq!(ids.len(), 4);
    let seeds: std::collections::HashSet<_> =
        after.all.iter().map(|endpoint| endpoint.hash_seed).collect();
    assert_eq!(seeds.len(), 3);
}

#[test]
fn a_changed_upstream_begins_with_what_was_known_of_its_service() {
    let ids = EndpointIds::default();
    let own = origin(&ids, SERVICE);
    let mut changed = origin(&ids, r#"{"srv": "_http._tcp.shop.test", "weight": 7}"#);
    changed.id = own.id;
    let first = Arc::new(Named::new(Box::from([own]), ids.clone(), None));
    first.answered(0, Some(&servers(&[(1, 3, 80, "a.test.", &[1]), (1, 1, 80, "b.test.", &[2])])));
    let before = first.current();
    let next = Named::new(Box::from([changed]), ids, Some(&Source::Named(first)));
    let after = next.current();
    assert_eq!(lasts(&next), [1, 2]);
    for (old, new) in before.all.iter().zip(&after.all) {
        assert_eq!((old.id, old.weight * 7), (new.id, new.weight));
        assert!(Arc::ptr_eq(&old.health, &new.health));
    }
}

#[test]
fn a_service_that_is_decidedly_not_available_has_no_servers() {
    let named = of(&[SERVICE]);
    named.answered(0, Some(&servers(&[(0, 1, 80, "a.test.", &[1])])));
    named.answered(0, None);
    named.answered(0, Some(&servers(&[(0, 1, 80, "b.test.", &[])])));
    assert_eq!(lasts(&named), [1]);
    named.answered(0, Some(&Heard::Servers(Vec::new())));
    assert_eq!(named.current().all.len(), 0);
}

#[test]
fn the_endpoints_of_an_upstream_are_bounded() {
    let ids = EndpointIds::default();
    let of = |i| origin(&ids, &format!("{{\"url\": \"http://n{i}.test\"}}"));
    let origins: Vec<Origin> = (0..80).map(of).collect();
    let answer = |origin| Answer {
        sites: addresses(0..=255).sites(origin, &[]).unwrap().into(),
        is_asked: true,
    };
    let answers: Vec<Answer> = origins.iter().map(answer).collect();
    let built = build(&origins, &answers, &ids, &[]);
    assert_eq!((built.all.len(), built.tiers[0].len()), (4096, 4096));
    assert_eq!(built.all[4095].authority, "n63.test");
}
