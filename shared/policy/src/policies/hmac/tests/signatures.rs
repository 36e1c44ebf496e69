//! What goes through, with every kind of key; and that no bit of it can be another.

use proptest::prelude::*;
use tollgate_testkit::tokens::Signer;

use super::*;

#[tokio::test]
async fn a_signature_over_the_request_tells_who_calls() {
    let met = meet("hmac: {}", with_fields(&signed(&LINES, NOW_ONE))).await;
    assert_eq!(met.refused(), None);
    let identity = met.identity.as_ref().unwrap();
    assert_eq!((&identity.application, &identity.credential), (&name("web-shop"), &name("first")));
    assert!(met.sent("signature").is_some() && met.sent("signature-input").is_some());
    let met = meet("hmac: {forward: false}", with_fields(&signed(&LINES, NOW_ONE))).await;
    assert_eq!(
        (met.refused(), met.sent("signature"), met.sent("signature-input")),
        (None, None, None)
    );
}

#[tokio::test]
async fn every_kind_of_key_signs() {
    let signers = [
        (Signer::rsa("one").unwrap(), "", "PS512", "rsa-pss-sha512"),
        (Signer::rsa("one").unwrap(), ", algorithm: rsa-v1_5-sha256", "RS256", "rsa-v1_5-sha256"),
        (Signer::p256("one").unwrap(), "", "ES256", "ecdsa-p256-sha256"),
        (Signer::ed25519("one").unwrap(), ", algorithm: ed25519", "EdDSA", "ed25519"),
    ];
    for (signer, more, jose, algorithm) in signers {
        let pem = serde_json::Value::from(signer.pem().unwrap());
        let text = format!("{{key_id: one, public_key: {pem}{more}}}");
        let world = know(World::default(), &text, caller("web-shop", "first"));
        for named in [String::new(), format!(";alg=\"{algorithm}\"")] {
            let (input, base) = base("sig1", &LINES, &format!("{NOW_ONE}{named}"));
            let bytes = bytes_of("sig1", &signer.sign(jose, base.as_bytes()).unwrap());
            let fields = [("signature-input", input), ("signature", bytes)];
            let policy = format!("hmac: {{algorithms: [{algorithm}]}}");
            let met = world.exchange(&chain(&[&policy]), with_fields(&fields)).await;
            assert_eq!(met.refused(), None, "{algorithm} {named}");
            let met = world
                .exchange(&chain(&["hmac: {algorithms: [hmac-sha256]}"]), with_fields(&fields))
                .await;
            assert_eq!(met.refused(), REFUSED, "{algorithm} is not accepted");
        }
    }
}

#[tokio::test]
async fn the_whole_target_covers_its_parts() {
    let lines = [
        ("\"@method\"", "GET"),
        ("\"@target-uri\"", "http://api.shop.test/items/7?color=red&color=blue"),
    ];
    let met = meet("hmac: {}", with_fields(&signed(&lines, NOW_ONE))).await;
    assert_eq!(met.refused(), None);
    let lines = [
        ("\"@method\"", "GET"),
        ("\"@target-uri\"", "https://api.shop.test/items/7?color=red&color=blue"),
    ];
    let fields = signed(&lines, NOW_ONE);
    assert_eq!(meet("hmac: {}", with_fields(&fields)).await.refused(), REFUSED);
    // A proxy before the gateway has ended TLS.
    assert_eq!(meet("hmac: {scheme: https}", with_fields(&fields)).await.refused(), None);
}

#[tokio::test]
async fn a_query_need_not_be_covered_where_there_is_none() {
    let lines = &LINES[..3];
    for (target, expected) in [("/items/7", None), ("/items/7?", REFUSED), ("/items/7?a", REFUSED)]
    {
        let mut request = with_fields(&signed(lines, NOW_ONE));
        *request.uri_mut() = format!("http://api.shop.test{target}").parse().unwrap();
        assert_eq!(meet("hmac: {}", request).await.refused(), expected, "{target}");
    }
}

#[tokio::test]
async fn of_several_signatures_one_that_is_good_is_enough() {
    let [(_, input), (_, bytes)] = signed(&LINES, NOW_ONE);
    let other = |label: &str| {
        let input = format!("{label}=(\"@path\");created=1700000000;keyid=\"someone\";tag=\"x\"");
        (input, bytes_of(label, b"nonsense"))
    };
    let (other_input, other_bytes) = other("proxy");
    let apart = [
        ("signature-input", other_input.clone()),
        ("signature-input", input.clone()),
        ("signature", bytes.clone()),
        ("signature", other_bytes.clone()),
    ];
    for policy in ["hmac: {}", "hmac: {label: sig1}"] {
        assert_eq!(meet(policy, with_fields(&apart)).await.refused(), None, "{policy}");
    }
    let met = meet("hmac: {label: proxy}", with_fields(&apart)).await;
    assert_eq!(met.refused(), REFUSED);
    assert!(!met.refusal.unwrap().lacks_credential);
}

#[tokio::test]
async fn signatures_for_others_are_no_signatures_here() {
    let plain = signed(&LINES, NOW_ONE);
    let tagged = signed(&LINES, &format!("{NOW_ONE};tag=\"orders\""));
    for (policy, fields, is_known) in [
        ("hmac: {tag: orders, optional: true}", &tagged, true),
        ("hmac: {tag: orders, optional: true}", &plain, false),
        ("hmac: {tag: order, optional: true}", &tagged, false),
        ("hmac: {label: sig2, optional: true}", &plain, false),
        ("hmac: {label: sig1, optional: true}", &plain, true),
    ] {
        let met = meet(policy, with_fields(fields)).await;
        assert_eq!((met.refused(), met.identity.is_some()), (None, is_known), "{policy}");
        let policy = policy.replace(", optional: true", "");
        let met = meet(&policy, with_fields(fields)).await;
        let lacks = met.refusal.map(|refusal| refusal.lacks_credential);
        assert_eq!(lacks, (!is_known).then_some(true), "{policy}");
    }
}

#[tokio::test]
async fn it_is_one_way_among_others() {
    let world = world().with_caller("sk-shop-0001", caller("by-key", "second"));
    let ways = chain(&["any_of: [{hmac: {}}, {api_key: {headers: [x-api-key]}}]"]);
    let met = world.exchange(&ways, with_fields(&signed(&LINES, NOW_ONE))).await;
    assert_eq!(met.identity.unwrap().application, name("web-shop"));
    let met = world.exchange(&ways, request(&[("x-api-key", "sk-shop-0001")])).await;
    assert_eq!(met.identity.unwrap().application, name("by-key"));
    let met = world.exchange(&ways, request(&[])).await;
    assert_eq!(met.answered("www-authenticate"), ["Signature", "Bearer"]);
    // What was sent and is wrong is refused for good.
    let wrong = signed(&LINES[1..], NOW_ONE);
    let mut request = with_fields(&wrong);
    request.headers_mut().insert("x-api-key", "sk-shop-0001".parse().unwrap());
    assert_eq!(world.exchange(&ways, request).await.refused(), REFUSED);
}

/// Which part of a signed request is altered.
#[derive(Clone, Copy, Debug)]
enum Part {
    Method,
    Path,
    Query,
    Field,
    Body,
    Digest,
    Input,
    Signature,
}

/// A signed request in its parts.
struct Parts {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    field: Vec<u8>,
    body: Vec<u8>,
    digest: Vec<u8>,
    input: Vec<u8>,
    signature: Vec<u8>,
}

impl Parts {
    fn sign(path: &str, query: &str, field: &str, body: &[u8]) -> Self {
        let digest = sha256(body);
        let query_line = format!("?{query}");
        let lines = [
            ("\"@method\"", "PATCH"),
            ("\"@authority\"", "api.shop.test"),
            ("\"@path\"", path),
            ("\"@query\"", &query_line),
            ("\"x-field\"", field.trim()),
            ("\"content-digest\"", &digest),
        ];
        let (input, base) = base("sig1", &lines, NOW_ONE);
        Self {
            method: b"PATCH".to_vec(),
            path: path.into(),
            query: query.into(),
            field: field.into(),
            body: body.to_vec(),
            digest: digest.into(),
            input: input.into(),
            signature: code_of(SECRET.as_bytes(), base.as_bytes()),
        }
    }

    fn part(&mut self, part: Part) -> &mut Vec<u8> {
        match part {
            Part::Method => &mut self.method,
            Part::Path => &mut self.path,
            Part::Query => &mut self.query,
            Part::Field => &mut self.field,
            Part::Body => &mut self.body,
            Part::Digest => &mut self.digest,
            Part::Input => &mut self.input,
            Part::Signature => &mut self.signature,
        }
    }

    /// None where it is no request any more.
    fn request(&self) -> Option<Request<Body>> {
        let target = [b"http://api.shop.test", self.path.as_slice(), b"?", &self.query].concat();
        Request::builder()
            .method(self.method.as_slice())
            .uri(target)
            .header("x-field", self.field.as_slice())
            .header("content-digest", self.digest.as_slice())
            .header("signature-input", self.input.as_slice())
            .header("signature", bytes_of("sig1", &self.signature))
            .body(Body::from(Bytes::from(self.body.clone())))
            .ok()
    }
}

fn met(policy: &str, request: Request<Body>) -> Met {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(meet(policy, request))
}

const POLICY: &str = "hmac: {required: ['@method', '@authority', '@path', '@query', x-field]}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_is_signed_is_good_and_no_bit_of_it_can_be_another(
        path in "/[a-zA-Z0-9%._~/-]{0,20}",
        query in "[a-z0-9=&%+]{1,20}",
        field in "[!-~]([ -~]{0,20}[!-~])?",
        body in proptest::collection::vec(any::<u8>(), 1..80),
        part in prop_oneof![
            Just(Part::Method), Just(Part::Path), Just(Part::Query), Just(Part::Field),
            Just(Part::Body), Just(Part::Digest), Just(Part::Input), Just(Part::Signature),
        ],
        at in any::<usize>(),
        bit in 0u8..8,
    ) {
        let mut parts = Parts::sign(&path, &query, &field, &body);
        let met_whole = met(POLICY, parts.request().unwrap());
        prop_assert_eq!(met_whole.refused(), None);
        let bytes = parts.part(part);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Some(request) = parts.request() {
            // A `#` in a target is not sent, and `?` in a path begins the query: what comes is still another.
            prop_assert!(met(POLICY, request).refused().is_some(), "{:?} {} {}", part, at, bit);
        }
    }

    #[test]
    fn any_bytes_in_the_fields_end_in_a_refusal(
        input in "(sig1=)?[ -~]{0,60}", signature in "(sig1=:)?[ -~]{0,40}:?",
    ) {
        let fields = [("signature-input", input), ("signature", signature)];
        let met = met("hmac: {}", with_fields(&fields));
        prop_assert_eq!(met.refused(), REFUSED);
    }
}
