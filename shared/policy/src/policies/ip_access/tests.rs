use std::net::IpAddr;

use proptest::prelude::*;
use tollgate_model::FromText as _;
use tollgate_model::gateway::Network;

use super::{IpAccess, Networks};
use crate::support::{World, chain, request};

async fn met_from(config: &str, address: &str) -> Option<u16> {
    let mut world = World::default();
    world.client.address = address.parse().unwrap();
    let met = world.exchange(&chain(&[config]), request(&[])).await;
    assert!(met.refused().is_none_or(|refused| refused == (403, "forbidden")));
    met.refused().map(|(status, _)| status)
}

#[tokio::test]
async fn an_allow_list_lets_in_whom_it_names_alone() {
    let config = "ip_access: {allow: [192.0.2.0/24, '2001:db8::/32', 198.51.100.7]}";
    for (address, expected) in [
        ("192.0.2.0", None),
        ("192.0.2.255", None),
        ("192.0.1.255", Some(403)),
        ("192.0.3.0", Some(403)),
        ("198.51.100.7", None),
        ("198.51.100.8", Some(403)),
        ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", None),
        ("2001:db9::", Some(403)),
        ("::1", Some(403)),
    ] {
        assert_eq!(met_from(config, address).await, expected, "{address}");
    }
}

#[tokio::test]
async fn a_deny_list_wins_over_the_narrower_allow() {
    let config = "ip_access: {allow: [10.0.0.0/8, 10.66.1.2], deny: [10.66.0.0/16]}";
    for (address, expected) in
        [("10.1.1.1", None), ("10.66.1.2", Some(403)), ("9.9.9.9", Some(403))]
    {
        assert_eq!(met_from(config, address).await, expected, "{address}");
    }
    assert_eq!(met_from("ip_access: {deny: [10.0.0.0/8]}", "11.0.0.0").await, None);
}

#[tokio::test]
async fn a_mapped_address_is_its_ipv4_on_both_sides() {
    for (config, address, expected) in [
        ("ip_access: {deny: [192.0.2.7]}", "::ffff:192.0.2.7", Some(403)),
        ("ip_access: {deny: ['::ffff:192.0.2.7']}", "192.0.2.7", Some(403)),
        ("ip_access: {deny: ['::ffff:192.0.2.0/120']}", "::ffff:192.0.2.9", Some(403)),
        ("ip_access: {deny: ['::/0']}", "::ffff:192.0.2.7", None),
        ("ip_access: {deny: ['::/0']}", "2001:db8::1", Some(403)),
        ("ip_access: {deny: [0.0.0.0/0]}", "2001:db8::1", None),
        // The IPv4-compatible form, long deprecated, is an IPv6 address.
        ("ip_access: {deny: [192.0.2.7]}", "::192.0.2.7", None),
    ] {
        assert_eq!(met_from(config, address).await, expected, "{config} {address}");
    }
}

#[tokio::test]
async fn every_level_must_let_it_through() {
    let chain = chain(&["ip_access: {allow: [192.0.2.0/24]}", "ip_access: {deny: [192.0.2.7]}"]);
    let met = World::default().exchange(&chain, request(&[])).await;
    assert_eq!(met.refused(), Some((403, "forbidden")));
}

fn networks() -> impl Strategy<Value = Vec<Network>> {
    // Few bits, so that networks hold and touch each other.
    let v4 = (0_u8..=255, 0_u8..=255, 8_u8..=32)
        .prop_map(|(a, b, length)| format!("10.{}.{b}.{a}/{length}", a & 3));
    let v6 =
        (0_u16..=255, 100_u8..=128).prop_map(|(a, length)| format!("2001:db8::{a:x}/{length}"));
    let mapped =
        (0_u8..=255, 96_u8..=128).prop_map(|(a, length)| format!("::ffff:10.0.0.{a}/{length}"));
    let network = prop_oneof![v4, v6, mapped].prop_map(|text| Network::from_text(&text).unwrap());
    proptest::collection::vec(network, 1..20)
}

proptest! {
    #[test]
    fn ranges_agree_with_a_search_through_all(
        allow in networks(),
        deny in networks(),
        addresses in proptest::collection::vec((0_u8..4, any::<u8>(), any::<u8>()), 20),
    ) {
        let is_in = |networks: &[Network], address: IpAddr| {
            networks.iter().any(|Network(network)| match (network, address) {
                (ipnet, IpAddr::V4(v4)) => {
                    ipnet.contains(&address)
                        || (ipnet.prefix_len() >= 96 && ipnet.contains(&IpAddr::V6(v4.to_ipv6_mapped())))
                }
                (ipnet, IpAddr::V6(_)) => ipnet.contains(&address),
            })
        };
        let policy = IpAccess { allow: Some(Networks::of(&allow)), deny: Networks::of(&deny) };
        for (a, b, c) in addresses {
            for text in [format!("10.{a}.{b}.{c}"), format!("2001:db8::{c:x}")] {
                let address: IpAddr = text.parse().unwrap();
                let expected = is_in(&allow, address) && !is_in(&deny, address);
                prop_assert_eq!(policy.admits(address), expected, "{}", text);
            }
        }
    }
}
