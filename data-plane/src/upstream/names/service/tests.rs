//! From records to sites.

use std::collections::BTreeMap;

use hickory_resolver::proto::rr::Name;
use proptest::prelude::*;

use super::*;

fn srv(priority: u16, weight: u16, port: u16, target: &str) -> SRV {
    SRV::new(priority, weight, port, Name::from_ascii(target).unwrap())
}

fn at(records: Vec<Record>) -> Vec<Server> {
    let server = |(i, record): (u8, Record)| Server {
        record,
        addresses: Some(vec![IpAddr::from([10, 0, 0, i])]),
    };
    (0..=255).zip(records).map(server).collect()
}

fn shares_of(weights: &[u16]) -> Vec<f64> {
    shares(weights).iter().map(|share| f64::from(*share) / f64::from(WHOLE)).collect()
}

#[test]
fn weights_are_shares_and_without_any_all_are_alike() {
    assert_eq!(shares_of(&[1, 3]), [0.25, 0.75]);
    assert_eq!(shares_of(&[0, 0, 0, 0]), [0.25; 4]);
    assert_eq!(shares_of(&[0]), [1.0]);
}

#[test]
fn a_weight_of_0_is_very_little_and_not_nothing() {
    let shares = shares_of(&[0, 65_535, 0, 65_535]);
    assert!(shares[0] > 0.0009 && shares[0] < 0.001, "{shares:?}");
    assert!(shares[1] > 0.499 && shares[1] < 0.5, "{shares:?}");
    assert_eq!((shares[0], shares[1]), (shares[2], shares[3]));
}

#[test]
fn what_names_no_host_or_no_port_is_passed_over() {
    let mut odd: Vec<SRV> = vec![srv(0, 1, 0, "a.test."), srv(0, 1, 80, ".")];
    for label in [
        &b"a b"[..],
        b"a\r\nx-evil: 1",
        b"a.b",
        "\u{fc}".as_bytes(),
        b"a\0",
        b"a/b",
        b"a:1",
        b"a@b",
    ] {
        let target = Name::from_labels([label, b"test"]).unwrap();
        odd.push(SRV::new(0, 1, 80, target));
    }
    assert_eq!(read(&odd), Err(Unusable));
    odd.push(srv(7, 1, 80, "_A-1.Test."));
    let record = Record { priority: 7, weight: 1, port: 80, target: "_a-1.test".into() };
    assert_eq!(read(&odd), Ok(vec![record]));
    assert_eq!(read(&[]), Err(Unusable));
}

#[test]
fn a_dot_alone_says_that_the_service_is_not_available() {
    assert_eq!(read(&[srv(0, 0, 0, ".")]), Ok(Vec::new()));
}

#[test]
fn of_too_many_the_first_by_priority_then_the_heaviest_are_used_whatever_the_order_of_the_answer() {
    let mut answer: Vec<SRV> = Vec::new();
    for i in 0..200 {
        answer.push(srv(2, i, 80, &format!("late{i}.test.")));
        answer.push(srv(1, 0, 80, &format!("soon{i}.test.")));
        // Once more, in another spelling and as a later one.
        answer.push(srv(9, 9, 80, &format!("SOON{i}.test.")));
    }
    let used = read(&answer).unwrap();
    assert_eq!(used.len(), MOST);
    assert!(used[..200].iter().all(|record| record.target.starts_with("soon")));
    let least = used[200..].iter().map(|record| record.weight).min();
    assert_eq!((least, &*used[200].target), (Some(144), "late199.test"));
    answer.reverse();
    assert_eq!(read(&answer).unwrap(), used);
}

#[test]
fn addresses_of_a_target_that_nobody_answered_for_are_those_known_before() {
    let records = read(&[srv(0, 1, 80, "a.test."), srv(0, 1, 8080, "b.test.")]).unwrap();
    let mut servers = at(records);
    let before = sites(&servers, Scheme::Http, &[]);
    servers[0].addresses = None;
    servers[1].addresses = Some(vec![IpAddr::from([10, 0, 0, 7])]);
    let after = sites(&servers, Scheme::Http, &before);
    assert_eq!(after[0], before[0]);
    assert_eq!(after[1].address, "10.0.0.7:8080".parse().unwrap());
    // It is said that there are none: then there are none, and the next priority is the first.
    servers[0].addresses = Some(Vec::new());
    servers[1].record.priority = 9;
    let alone = sites(&servers, Scheme::Http, &after);
    assert_eq!(alone.len(), 1);
    assert_eq!((alone[0].rank, alone[0].share), (0, WHOLE));
}

#[test]
fn the_port_is_told_where_it_is_not_the_schemes_own() {
    let records =
        read(&[srv(0, 1, 80, "a.test."), srv(1, 1, 443, "b.test."), srv(2, 1, 1, "c.test.")]);
    let servers = at(records.unwrap());
    let told = |scheme: Scheme| {
        let sites = sites(&servers, scheme, &[]);
        sites.iter().map(|site| site.authority.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told(Scheme::Http), ["a.test", "b.test:443", "c.test:1"]);
    assert_eq!(told(Scheme::Https), ["a.test:80", "b.test", "c.test:1"]);
}

fn answer() -> impl Strategy<Value = Vec<SRV>> {
    // Few targets and ports, so that they come twice.
    let one = (0_u16..6, prop_oneof![Just(0), any::<u16>()], 0_u16..4, 0_u16..400).prop_map(
        |(priority, weight, port, i)| srv(priority, weight, port, &format!("t{i}.test.")),
    );
    prop::collection::vec(one, 0..600)
}

proptest! {
    #[test]
    fn sites_are_bounded_in_order_and_share_the_whole(
        answer in answer(),
        addresses in prop::collection::vec(prop::option::of(0_u8..80), 256),
        turn in any::<usize>(),
    ) {
        let Ok(records) = read(&answer) else {
            prop_assert!(answer.iter().all(|srv| srv.port == 0));
            return Ok(());
        };
        // The order of the answer does not matter.
        let mut turned = answer.clone();
        turned.rotate_left(turn % answer.len());
        prop_assert_eq!(&read(&turned).unwrap(), &records);
        prop_assert!(records.len() <= MOST);
        prop_assert!(records.windows(2).all(|two| two[0].order() < two[1].order()));

        let servers: Vec<Server> = records.iter().zip(&addresses).map(|(record, count)| Server {
            record: record.clone(),
            addresses: count.map(|count| (0..count).map(|i| IpAddr::from([10, 0, 0, i])).collect()),
        }).collect();
        let sites = sites(&servers, Scheme::Http, &[]);
        let found: usize = addresses.iter().zip(&records).filter_map(|(count, _)| *count).map(|count| usize::from(count).min(64)).sum();
        prop_assert_eq!(sites.len(), found.min(MOST));

        // No rank is left out, and each is one priority.
        let by_authority: BTreeMap<String, &Record> = records.iter()
            .map(|record| (record.authority(Scheme::Http).to_str().unwrap().to_owned(), record)).collect();
        let mut tiers: BTreeMap<u8, (u16, f64)> = BTreeMap::new();
        for site in &sites {
            let record = by_authority[site.authority.to_str().unwrap()];
            prop_assert_eq!(site.address.port(), record.port);
            prop_assert!(site.share > 0);
            let tier = tiers.entry(site.rank).or_insert((record.priority, 0.0));
            prop_assert_eq!(tier.0, record.priority);
            tier.1 += f64::from(site.share) / f64::from(WHOLE);
        }
        prop_assert!(tiers.keys().copied().eq(0..u8::try_from(tiers.len()).unwrap()));
        prop_assert!(tiers.values().map(|tier| tier.0).is_sorted());
        prop_assert!(tiers.values().all(|tier| (0.99..1.01).contains(&tier.1)), "{:?}", tiers);
    }

    #[test]
    fn shares_are_in_the_order_and_the_proportion_of_weights(
        weights in prop::collection::vec(prop_oneof![Just(0), 1_u16..100, any::<u16>()], 1..256),
    ) {
        let shares = shares(&weights);
        let sum: u32 = shares.iter().sum();
        prop_assert!((WHOLE - 256..=WHOLE + 256).contains(&sum), "{}", sum);
        let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let zeros = weights.iter().filter(|weight| **weight == 0).count();
        for (weight, share) in weights.iter().zip(&shares) {
            prop_assert!(*share > 0);
            let is = f64::from(*share) / f64::from(WHOLE);
            let due = f64::from(*weight) / total.max(1.0);
            if total > 0.0 && zeros == 0 {
                prop_assert!((is - due).abs() < 0.00001, "{} of {:?}: {}", weight, weights, is);
            } else if total > 0.0 && *weight == 0 {
                prop_assert!(is <= 0.001);
            }
        }
    }
}
