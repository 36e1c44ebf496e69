use std::sync::Arc;

use tollgate_model::certificate::Facts;
use tollgate_model::credential::CertificateProof;
use tollgate_model::parse;

use crate::policy::ClientCertificate;
use crate::support::{NOW, World, caller, chain, name, request, yaml};

fn facts() -> Facts {
    Facts {
        subject: "O=Shop, CN=web".to_owned(),
        alternative_names: vec!["dns:web.shop.test".to_owned(), "uri:spiffe://shop/web".to_owned()],
        fingerprint: [0xab; 32],
        not_before: 0,
        not_after: i64::MAX,
    }
}

fn proof(text: &str) -> CertificateProof {
    parse::value(&yaml(text)).unwrap()
}

/// A world in which the client showed its certificate, and one that a credential names.
fn world(proof_text: &str) -> World {
    let mut world =
        World { certificate: Some(ClientCertificate::new(facts())), ..World::default() };
    let key = proof(proof_text).key(&name("default"));
    world.proofs.insert(key, Arc::new(caller("web-shop", "by-certificate")));
    world
}

const REFUSED: Option<(u16, &str)> = Some((401, "unauthenticated"));

#[tokio::test]
async fn a_certificate_is_known_by_fingerprint_subject_or_any_of_its_names() {
    let chain = chain(&["mtls_identity: {}"]);
    let fingerprint = format!("fingerprint: '{}'", ["AB"; 32].join(":"));
    for text in [
        fingerprint.as_str(),
        "subject: O=Shop, CN=web",
        "san: dns:web.shop.test",
        "san: uri:spiffe://shop/web",
    ] {
        let met = world(text).exchange(&chain, request(&[])).await;
        assert_eq!(met.refused(), None, "{text}");
        assert_eq!(met.identity.as_ref().unwrap().application, name("web-shop"), "{text}");
    }
}

#[tokio::test]
async fn a_certificate_that_no_credential_names_is_refused() {
    for config in ["mtls_identity: {}", "mtls_identity: {optional: true}"] {
        let chain = chain(&[config]);
        for text in ["subject: CN=web", "san: dns:shop.test", "san: uri:spiffe://shop/web2"] {
            let met = world(text).exchange(&chain, request(&[])).await;
            assert_eq!(met.refused(), REFUSED, "{text}");
            assert_eq!(met.answered("www-authenticate"), ["mTLS"]);
        }
    }
}

#[tokio::test]
async fn a_credential_of_another_tenant_names_nobody() {
    let mut world = world("subject: O=Shop, CN=web");
    world.route.tenant = name("other");
    let met = world.exchange(&chain(&["mtls_identity: {}"]), request(&[])).await;
    assert_eq!(met.refused(), REFUSED);
}

#[tokio::test]
async fn without_a_certificate_it_is_refused_unless_it_is_optional() {
    for (config, expected) in
        [("mtls_identity: {}", REFUSED), ("mtls_identity: {optional: true}", None)]
    {
        let met = World::default().exchange(&chain(&[config]), request(&[])).await;
        assert_eq!(met.refused(), expected);
        assert!(met.identity.is_none());
    }
}

#[tokio::test]
async fn a_certificate_without_a_credential_goes_on_with_its_claims_where_that_is_enough() {
    let chain = chain(&["mtls_identity: {credential: optional}"]);
    let world = world("subject: CN=other");
    let met = world.exchange(&chain, request(&[])).await;
    assert!(met.refused().is_none() && met.identity.is_none());
    let (mut cx, mut request, mut carries) = (world.cx(), request(&[]), Default::default());
    let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
    assert!(matches!(flow, crate::policy::Flow::Next(())));
    let claims = cx.claims.unwrap();
    assert_eq!(claims.subject.as_deref(), Some("O=Shop, CN=web"));
    assert_eq!(claims.all["names"][1], "uri:spiffe://shop/web");
    assert_eq!(claims.all["fingerprint"], "ab".repeat(32));
}

#[tokio::test]
async fn a_credential_that_is_switched_off_or_expired_is_refused() {
    let now = i64::try_from(NOW).unwrap();
    for (is_disabled, end, expected) in
        [(true, None, REFUSED), (false, Some(now), REFUSED), (false, Some(now + 1), None)]
    {
        let mut world = world("subject: O=Shop, CN=web");
        let mut caller = caller("web-shop", "by-certificate");
        (caller.is_disabled, caller.expires_at_unix_micros) = (is_disabled, end);
        let key = proof("subject: O=Shop, CN=web").key(&name("default"));
        world.proofs.insert(key, Arc::new(caller));
        for config in ["mtls_identity: {}", "mtls_identity: {credential: optional}"] {
            let met = world.exchange(&chain(&[config]), request(&[])).await;
            assert_eq!(met.refused(), expected);
        }
    }
}
