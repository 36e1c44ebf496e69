//! Certificates as operators give them: what is read of them, and every reason not to take one.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use serde_json::{Value, json};
use tollgate_model::certificate::{Certificate, Facts, certificates_of_pem};
use tollgate_model::{Issues, parse};
use tollgate_testkit::pki::{Authority, Issued};

/// RSA with 1,024 bits, made by OpenSSL.
const WEAK: (&str, &str) = (include_str!("pem/weak.crt"), include_str!("pem/weak.key"));

fn read(chain: &str, key: &str) -> Result<Certificate, Issues> {
    parse::value::<Certificate>(&json!({ "chain": chain, "key": key }))
}

fn codes(read: Result<Certificate, Issues>) -> Vec<(String, String)> {
    let issues = read.map(|_| ()).unwrap_err();
    for issue in &issues.0 {
        assert!(!issue.problem.contains("BEGIN EC"), "{issue}");
    }
    issues.0.into_iter().map(|issue| (issue.at, issue.code)).collect()
}

fn at(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

fn issued(hosts: &[&str]) -> Issued {
    Authority::new("root").unwrap().server(hosts).unwrap()
}

#[test]
fn a_chain_with_its_key_is_taken_and_its_names_are_read() {
    let root = Authority::new("root").unwrap();
    let middle = root.below("middle").unwrap();
    let leaf = middle.server(&["API.shop.test", "*.shop.test", "192.0.2.7"]).unwrap();
    let read = read(&(leaf.chain.clone() + &middle.pem), &leaf.key).unwrap();
    assert_eq!(read.chain.len(), 2);
    assert_eq!(
        read.facts.alternative_names,
        ["dns:api.shop.test", "dns:*.shop.test", "ip:192.0.2.7"]
    );
    for (host, is_covered) in [
        ("api.shop.test", true),
        ("www.shop.test", true),
        ("a.b.shop.test", false),
        ("shop.test", false),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
    ] {
        assert_eq!(read.facts.covers(host), is_covered, "{host}");
    }
    assert!(read.key_der().is_some());
    assert!(!format!("{read:?}").contains("PRIVATE"));
}

#[test]
fn every_sort_of_key_that_openssl_writes_is_read() {
    for (name, chain, key) in [
        ("rsa pkcs1", include_str!("pem/rsa.crt"), include_str!("pem/rsa.key")),
        ("sec1 with parameters", include_str!("pem/p384.crt"), include_str!("pem/p384.key")),
        ("ed25519", include_str!("pem/ed25519.crt"), include_str!("pem/ed25519.key")),
    ] {
        read(chain, key).unwrap_or_else(|issues| panic!("{name}: {issues}"));
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (one, other) = (issued(&["a.test"]), issued(&["a.test"]));
    assert_eq!(codes(read(&one.chain, &other.key)), at("/key", "key_mismatch"));
}

#[test]
fn a_chain_out_of_order_is_refused() {
    let root = Authority::new("root").unwrap();
    let middle = root.below("middle").unwrap();
    let leaf = middle.server(&["a.test"]).unwrap();
    let chain = leaf.chain.clone() + &root.pem + &middle.pem;
    let codes = codes(read(&chain, &leaf.key));
    assert_eq!(codes[0], ("/chain".to_owned(), "chain_order".to_owned()));
}

#[test]
fn a_weak_key_is_refused() {
    assert_eq!(codes(read(WEAK.0, WEAK.1))[0], ("/chain".to_owned(), "weak_key".to_owned()));
}

#[test]
fn what_is_not_pem_is_refused_at_its_place() {
    let good = issued(&["a.test"]);
    assert_eq!(codes(read("nonsense", &good.key)), at("/chain", "invalid_pem"));
    assert_eq!(codes(read(&good.chain, "nonsense")), at("/key", "invalid_pem"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(codes(read(broken, &good.key)), at("/chain", "invalid_pem"));
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(codes(read(&good.chain, encrypted)), at("/key", "encrypted_key"));
    let damaged = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(codes(read(&good.chain, damaged)), at("/key", "unsupported_key"));
    assert_eq!(codes(read(&good.chain.repeat(11), &good.key)), at("/chain", "too_large"));
}

#[test]
fn a_key_in_the_chain_would_be_shown_and_is_refused() {
    let good = issued(&["a.test"]);
    assert_eq!(
        codes(read(&(good.chain.clone() + &good.key), &good.key)),
        at("/chain", "key_in_chain")
    );
}

#[test]
fn a_certificate_for_no_host_is_refused_unless_it_is_for_clients() {
    let root = Authority::new("root").unwrap();
    let neither = root.nobody("web").unwrap();
    assert_eq!(codes(read(&neither.chain, &neither.key)), at("/chain", "no_names"));
    // One for clients needs none.
    let client = root.client("web", "spiffe://shop/web").unwrap();
    assert!(!read(&client.chain, &client.key).unwrap().facts.is_for_a_host());
    let der = certificates_of_pem(&client.chain).unwrap().remove(0);
    let facts = Facts::of(&der).unwrap();
    assert_eq!(facts.subject, "CN=web");
    assert_eq!(facts.alternative_names, ["uri:spiffe://shop/web"]);
    assert_eq!(facts.fingerprint_text().len(), 64);
}

#[test]
fn no_two_subjects_are_the_same_text() {
    let root = Authority::new("root").unwrap();
    for (name, subject) in
        [("a, O=b", r"CN=a\, O=b"), (r"a\, O=b", r"CN=a\\\, O=b"), ("a + b", r"CN=a \+ b")]
    {
        let client = root.client(name, "spiffe://shop/web").unwrap();
        let der = certificates_of_pem(&client.chain).unwrap().remove(0);
        assert_eq!(Facts::of(&der).unwrap().subject, subject);
    }
}

#[test]
fn all_that_is_missing_is_named_at_once() {
    let codes = codes(parse::value(&json!({})));
    assert_eq!(codes, [at("", "missing_field"), at("", "missing_field")].concat());
    let elsewhere: Value = json!({ "chain_from_file": "a", "key_from_env": "B" });
    let found = parse::value::<Certificate>(&elsewhere).unwrap_err();
    let places: Vec<&str> = found.0.iter().map(|issue| issue.at.as_str()).collect();
    assert_eq!(places, ["/chain_from_file", "/key_from_env"]);
}
