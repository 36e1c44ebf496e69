//! What is refused, and what the caller is told.

use tollgate_testkit::tokens::Signer;

use super::*;
use crate::policies::hmac::fields::{MAX_COMPONENTS, MAX_LABELS};
use crate::support::NOW;

/// What the caller is told of a request that is refused.
async fn told(policy: &str, request: Request<Body>) -> String {
    let met = meet(policy, request).await;
    assert_eq!(met.refused(), REFUSED);
    assert_eq!(met.answered("www-authenticate"), ["Signature"]);
    assert!(met.identity.is_none());
    met.refusal.unwrap().detail.into_owned()
}

#[tokio::test]
async fn who_sends_no_signature_is_told_what_to_sign() {
    for (policy, accepted) in [
        ("hmac: {}", "sig1=(\"@method\" \"@authority\" \"@path\" \"@query\");created"),
        (
            "hmac: {required: [content-digest, '@query-param;name=\"a\"'], label: mine, tag: 'my \"shop\"'}",
            "mine=(\"content-digest\" \"@query-param\";name=\"a\");created;tag=\"my \\\"shop\\\"\"",
        ),
    ] {
        let met = meet(policy, request(&[])).await;
        assert_eq!(met.refused(), REFUSED);
        assert_eq!(met.answered("accept-signature"), [accepted]);
        assert!(met.refusal.unwrap().lacks_credential);
    }
    let met = meet("hmac: {optional: true}", request(&[])).await;
    assert!(met.refusal.is_none() && met.identity.is_none());
}

#[tokio::test]
async fn one_field_without_the_other_is_refused_and_no_lack() {
    let [input, bytes] = signed(&LINES, NOW_ONE);
    for fields in [vec![input.clone()], vec![bytes.clone()]] {
        for policy in ["hmac: {}", "hmac: {optional: true}"] {
            let met = meet(policy, with_fields(&fields)).await;
            assert_eq!(met.refused(), REFUSED);
            assert!(!met.refusal.unwrap().lacks_credential);
        }
    }
    let other = ("signature", bytes.1.replace("sig1", "sig2"));
    assert!(told("hmac: {}", with_fields(&[input, other])).await.contains("malformed"));
}

#[tokio::test]
async fn an_unknown_key_and_a_wrong_signature_are_told_alike() {
    let good = signed(&LINES, NOW_ONE);
    let unknown = signed(&LINES, ";created=1700000000;keyid=\"two\"");
    let (_, base) = base("sig1", &LINES, NOW_ONE);
    let other = bytes_of("sig1", &code_of(b"another secret of the same length", base.as_bytes()));
    let wrong = [good[0].clone(), ("signature", other)];
    let empty = [good[0].clone(), ("signature", "sig1=::".to_owned())];
    let other_algorithm = signed(&LINES, &format!("{NOW_ONE};alg=\"ed25519\""));
    let mut answers = Vec::new();
    for fields in [unknown, wrong, empty, other_algorithm] {
        answers.push(told("hmac: {}", with_fields(&fields)).await);
    }
    answers.push(told("hmac: {algorithms: [ed25519]}", with_fields(&good)).await);
    answers.dedup();
    assert_eq!(answers, ["the signature is by no key that is known"]);
}

#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let signer = Signer::ed25519("one").unwrap();
    let pem = signer.pem().unwrap();
    let text = format!("{{key_id: one, public_key: {}}}", serde_json::Value::from(pem.as_str()));
    let world = know(World::default(), &text, caller("web-shop", "first"));
    let raw = STANDARD.decode(pem.lines().nth(1).unwrap()).unwrap();
    for named in ["", ";alg=\"hmac-sha256\"", ";alg=\"ed25519\"", ";alg=\"none\"", ";alg=\"\""] {
        let (input, base) = base("sig1", &LINES, &format!("{NOW_ONE}{named}"));
        for secret in [pem.as_bytes(), raw.as_slice(), &raw[raw.len() - 32..], b""] {
            let bytes = bytes_of("sig1", &code_of(secret, base.as_bytes()));
            let fields = [("signature-input", input.clone()), ("signature", bytes)];
            let met = world.exchange(&chain(&["hmac: {}"]), with_fields(&fields)).await;
            assert_eq!(met.refused(), REFUSED, "{named}");
        }
    }
}

#[tokio::test]
async fn an_rsa_key_checks_the_one_way_that_it_is_for() {
    let signer = Signer::rsa("one").unwrap();
    let pem = serde_json::Value::from(signer.pem().unwrap());
    let (input, base) = base("sig1", &LINES, NOW_ONE);
    for (more, good, bad) in
        [("", "PS512", "RS256"), (", algorithm: rsa-v1_5-sha256", "RS256", "PS512")]
    {
        let text = format!("{{key_id: one, public_key: {pem}{more}}}");
        let world = know(World::default(), &text, caller("web-shop", "first"));
        for (jose, expected) in [(good, None), (bad, REFUSED), ("PS256", REFUSED)] {
            let bytes = bytes_of("sig1", &signer.sign(jose, base.as_bytes()).unwrap());
            let fields = [("signature-input", input.clone()), ("signature", bytes)];
            let met = world.exchange(&chain(&["hmac: {}"]), with_fields(&fields)).await;
            assert_eq!(met.refused(), expected, "{more} {jose}");
        }
    }
}

#[tokio::test]
async fn a_key_of_another_tenant_is_not_known() {
    let mut world = world();
    world.route.tenant = name("other");
    let met = world.exchange(&chain(&["hmac: {}"]), with_fields(&signed(&LINES, NOW_ONE))).await;
    assert_eq!(met.refused(), REFUSED);
}

#[tokio::test]
async fn a_credential_that_is_switched_off_or_expired_is_refused_to_who_has_its_key_alone() {
    let now = i64::try_from(NOW).unwrap();
    for (is_disabled, end, expected) in [
        (true, None, Some("the key is switched off")),
        (false, Some(now), Some("the key has expired")),
        (false, Some(now + 1), None),
    ] {
        let mut of = caller("web-shop", "first");
        (of.is_disabled, of.expires_at_unix_micros) = (is_disabled, end);
        let world = know(world(), "{key_id: one, secret: signing}", of);
        let good = signed(&LINES, NOW_ONE);
        let met = world.exchange(&chain(&["hmac: {}"]), with_fields(&good)).await;
        assert_eq!(met.refusal.map(|refusal| refusal.detail).as_deref(), expected);
        let wrong = [good[0].clone(), ("signature", bytes_of("sig1", &[0; 32]))];
        let met = world.exchange(&chain(&["hmac: {}"]), with_fields(&wrong)).await;
        assert_eq!(met.refusal.unwrap().detail, "the signature is by no key that is known");
    }
}

#[tokio::test]
async fn without_a_secret_that_can_be_a_key_nobody_is_let_in() {
    for (held, encoding) in [
        (None, "text"),
        (Some("too short"), "text"),
        (Some("not base64, and long enough for a key of its own"), "base64"),
        (Some("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ=="), "base64"),
    ] {
        let mut world = World::default();
        if let Some(held) = held {
            let secret = (Name::default_name(), name("signing"));
            world.secrets.insert(secret, SecretText::new(held.to_owned()));
        }
        let text = format!("{{key_id: one, secret: signing, secret_encoding: {encoding}}}");
        let world = know(world, &text, caller("web-shop", "first"));
        let (input, base) = base("sig1", &LINES, NOW_ONE);
        let secret = held.unwrap_or_default();
        let bytes = bytes_of("sig1", &code_of(secret.as_bytes(), base.as_bytes()));
        let fields = [("signature-input", input), ("signature", bytes)];
        let met = world.exchange(&chain(&["hmac: {}"]), with_fields(&fields)).await;
        assert_eq!(met.refused(), Some((503, "identity_unavailable")), "{held:?}");
    }
}

#[tokio::test]
async fn a_signature_is_good_for_its_time_alone() {
    let at = |seconds: i64| format!(";created={};keyid=\"one\"", 1_700_000_000 + seconds);
    for (policy, parameters, expected) in [
        ("hmac: {}", at(30), None),
        ("hmac: {}", at(31), Some("the signature is not valid yet")),
        ("hmac: {leeway: 1m}", at(60), None),
        ("hmac: {}", at(-299), None),
        ("hmac: {}", at(-300), Some("the signature is too old")),
        ("hmac: {max_age: 10s}", at(-9), None),
        ("hmac: {max_age: 10s}", at(-10), Some("the signature is too old")),
        ("hmac: {}", format!("{};expires=1700000001", at(0)), None),
        ("hmac: {}", format!("{};expires=1700000000", at(0)), Some("the signature has expired")),
        ("hmac: {}", format!("{};expires=1800000000", at(-300)), Some("the signature is too old")),
        (
            "hmac: {}",
            ";created=999999999999999;keyid=\"one\"".to_owned(),
            Some("the signature is not valid yet"),
        ),
        (
            "hmac: {}",
            ";created=-999999999999999;keyid=\"one\"".to_owned(),
            Some("the signature is too old"),
        ),
    ] {
        let met = meet(policy, with_fields(&signed(&LINES, &parameters))).await;
        assert_eq!(met.refusal.map(|refusal| refusal.detail).as_deref(), expected, "{parameters}");
    }
}

#[tokio::test]
async fn parameters_must_be_there_and_of_their_type() {
    for parameters in [
        ";keyid=\"one\"",
        ";created=1700000000",
        ";created=\"1700000000\";keyid=\"one\"",
        ";created=1700000000.0;keyid=\"one\"",
        ";created=@1700000000;keyid=\"one\"",
        ";created;keyid=\"one\"",
        ";created=1700000000;keyid=one",
        ";created=1700000000;keyid=:b25l:",
        ";created=1700000000;keyid=\"one\";alg=hmac-sha256",
        ";created=1700000000;keyid=\"one\";expires=\"1800000000\"",
    ] {
        let detail = told("hmac: {}", with_fields(&signed(&LINES, parameters))).await;
        assert!(detail.contains("`created` or `keyid`"), "{parameters}: {detail}");
    }
    // What is not known is signed like the rest, and means nothing.
    let parameters = format!("{NOW_ONE};nonce=\"x\";ours=?0;alg=\"hmac-sha256\"");
    assert_eq!(meet("hmac: {}", with_fields(&signed(&LINES, &parameters))).await.refused(), None);
}

#[tokio::test]
async fn what_must_be_covered_is_missed_one_by_one() {
    for left_out in 0..LINES.len() {
        let mut lines = LINES.to_vec();
        lines.remove(left_out);
        let detail = told("hmac: {}", with_fields(&signed(&lines, NOW_ONE))).await;
        assert!(detail.contains("does not cover"), "{left_out}");
    }
    let mut request = with_fields(&signed(&LINES, NOW_ONE));
    request.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let detail = told("hmac: {required: [content-type]}", request).await;
    assert!(detail.contains("does not cover"));
}

#[tokio::test]
async fn what_the_request_has_not_got_cannot_be_covered() {
    for (identifier, value) in [
        ("\"x-none\"", ""),
        ("\"@query-param\";name=\"color\"", "red"),
        ("\"@query-param\";name=\"none\"", ""),
        ("\"signature-input\";key=\"sig2\"", ""),
    ] {
        let mut lines = LINES.to_vec();
        lines.push((identifier, value));
        let detail = told("hmac: {}", with_fields(&signed(&lines, NOW_ONE))).await;
        assert!(detail.contains("has not got"), "{identifier}: {detail}");
    }
}

#[tokio::test]
async fn what_cannot_be_signed_is_named() {
    for (identifier, part) in [
        ("\"@status\"", "@status"),
        ("\"@signature-params\"", "@signature-params"),
        ("\"@other\"", "begins with `@`"),
        ("\"@path\";req", "`req`"),
        ("\"x-a\";tr", "`tr`"),
        ("\"@path\";sf", "parameter"),
        ("\"X-A\"", "lower case"),
        ("\"te\"", "one hop"),
        ("\"x-a\";sf", "`sf`"),
        ("\"x-a\";key=\"a\";bs", "at most one"),
        ("\"@query-param\"", "`name`"),
    ] {
        let mut lines = LINES.to_vec();
        lines.push((identifier, ""));
        let detail = told("hmac: {}", with_fields(&signed(&lines, NOW_ONE))).await;
        assert!(detail.contains(part), "{identifier}: {detail}");
    }
}

#[tokio::test]
async fn what_stands_twice_is_refused() {
    let [(_, input), (_, bytes)] = signed(&LINES, NOW_ONE);
    let twice = [
        ("signature-input", input.clone()),
        ("signature-input", input.clone()),
        ("signature", bytes.clone()),
    ];
    assert!(told("hmac: {}", with_fields(&twice)).await.contains("twice"));
    let twice = [
        ("signature-input", input.clone()),
        ("signature", bytes.clone()),
        ("signature", bytes.clone()),
    ];
    assert!(told("hmac: {}", with_fields(&twice)).await.contains("twice"));
    let mut lines = LINES.to_vec();
    lines.push(LINES[2]);
    assert!(told("hmac: {}", with_fields(&signed(&lines, NOW_ONE))).await.contains("twice"));
    let parameters = format!("{NOW_ONE};created=1700000000");
    assert!(told("hmac: {}", with_fields(&signed(&LINES, &parameters))).await.contains("twice"));
}

#[tokio::test]
async fn the_fields_are_read_within_their_bounds() {
    let fill = |count: usize| -> Vec<(String, String)> {
        (0..count).map(|i| (format!("\"x-{i}\""), i.to_string())).collect()
    };
    for (more, expected) in [(MAX_COMPONENTS - 4, None), (MAX_COMPONENTS - 3, REFUSED)] {
        let more = fill(more);
        let mut lines = LINES.to_vec();
        lines.extend(more.iter().map(|(identifier, value)| (identifier.as_str(), value.as_str())));
        let mut request = with_fields(&signed(&lines, NOW_ONE));
        for (identifier, value) in &more {
            let name: http::HeaderName = identifier.trim_matches('"').parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        assert_eq!(meet("hmac: {}", request).await.refused(), expected, "{}", more.len());
    }
    let [(_, input), (_, bytes)] = signed(&LINES, NOW_ONE);
    for (others, expected) in [(MAX_LABELS - 1, None), (MAX_LABELS, REFUSED)] {
        let others: String = (0..others).map(|i| format!("other-{i}=();keyid=\"x\", ")).collect();
        let fields =
            [("signature-input", format!("{others}{input}")), ("signature", bytes.clone())];
        assert_eq!(meet("hmac: {}", with_fields(&fields)).await.refused(), expected);
    }
    for (bytes_more, expected) in [(15_000, None), (17_000, REFUSED)] {
        let parameters = format!("{NOW_ONE};nonce=\"{}\"", "n".repeat(bytes_more));
        let met = meet("hmac: {}", with_fields(&signed(&LINES, &parameters))).await;
        assert_eq!(met.refused(), expected, "{bytes_more}");
    }
}

#[tokio::test]
async fn a_field_is_not_read_over_and_over_again() {
    let members: Vec<String> = (0..9_000).map(|i| format!("m{i}=1")).collect();
    let members = members.join(", ");
    for (keys, expected) in [(2, None), (5, REFUSED)] {
        let identifiers: Vec<String> =
            (0..keys).map(|i| format!("\"x-members\";key=\"m{i}\"")).collect();
        let mut lines = LINES.to_vec();
        lines.extend(identifiers.iter().map(|identifier| (identifier.as_str(), "1")));
        let mut request = with_fields(&signed(&lines, NOW_ONE));
        request.headers_mut().insert("x-members", members.parse().unwrap());
        assert_eq!(meet("hmac: {}", request).await.refused(), expected, "{keys}");
    }
}
