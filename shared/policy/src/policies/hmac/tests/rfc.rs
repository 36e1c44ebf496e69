//! RFC 9421, appendix B: its keys, its requests and its signatures; and the examples of its section 2.

use http::HeaderMap;
use sfv::Parameters;

use super::*;
use crate::policies::hmac::component::Component;
use crate::policies::hmac::fields;
use crate::policies::hmac::message::Message;

/// B.1.2.
const RSA: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----
";
/// B.1.3.
const P256: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----
";
/// B.1.4.
const ED25519: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----
";
/// B.1.5.
const SHARED: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

const B21: (&str, &str) = (
    "sig-b21=();created=1618884473;keyid=\"test-key-rsa-pss\";nonce=\"b3k2pp5k7z-50gnwp.yemd\"",
    "sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:",
);
const B22: (&str, &str) = (
    "sig-b22=(\"@authority\" \"content-digest\" \"@query-param\";name=\"Pet\");created=1618884473;keyid=\"test-key-rsa-pss\";tag=\"header-example\"",
    "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:",
);
const B23: (&str, &str) = (
    "sig-b23=(\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \"content-type\" \"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\"",
    "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:",
);
const B25: (&str, &str) = (
    "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"",
    "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
);
const B26: (&str, &str) = (
    "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"",
    "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
);

fn public(key_id: &str, pem: &str) -> String {
    format!("{{key_id: {key_id}, public_key: {}}}", serde_json::Value::from(pem))
}

/// The keys of B.1, at the moment at which they sign.
fn world() -> World {
    let mut world = World { now_unix_micros: 1_618_884_473_000_000, ..World::default() };
    let secret = (Name::default_name(), name("shared"));
    world.secrets.insert(secret, SecretText::new(SHARED.to_owned()));
    for text in [
        public("test-key-rsa-pss", RSA),
        public("test-key-ecc-p256", P256),
        public("test-key-ed25519", ED25519),
        "{key_id: test-shared-secret, secret: shared, secret_encoding: base64}".to_owned(),
    ] {
        let of = caller("web-shop", proof(&text).key_id.as_str());
        world = know(world, &text, of);
    }
    world
}

/// The request of B.2.
fn request((input, signature): (&str, &str)) -> Request<Body> {
    Request::post("/foo?param=Value&Pet=dog")
        .header("host", "example.com")
        .header("date", "Tue, 20 Apr 2021 02:07:55 GMT")
        .header("content-type", "application/json")
        .header("content-digest", "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:")
        .header("content-length", "18")
        .header("signature-input", input)
        .header("signature", signature)
        .body(full("{\"hello\": \"world\"}"))
        .unwrap()
}

#[tokio::test]
async fn requests_of_the_appendix_are_good() {
    let cases = [
        (
            "hmac: {required: ['@authority', '@query-param;name=\"Pet\"'], tag: header-example}",
            B22,
            "test-key-rsa-pss",
        ),
        ("hmac: {}", B23, "test-key-rsa-pss"),
        (
            "hmac: {required: [date, '@authority', content-type], body: ignore, algorithms: [hmac-sha256]}",
            B25,
            "test-shared-secret",
        ),
        (
            "hmac: {required: [date, '@method', '@path', '@authority', content-type, content-length], body: ignore}",
            B26,
            "test-key-ed25519",
        ),
    ];
    for (policy, signature, key) in cases {
        let met = world().exchange(&chain(&[policy]), request(signature)).await;
        assert_eq!(met.refusal.map(|refusal| refusal.detail), None, "{key}");
        assert_eq!(met.identity.unwrap().credential, name(key));
        // And what they do not cover of a request with a body is not good for who asks for it.
        let (input, bytes) = signature;
        let mut altered = request((input, bytes));
        altered.headers_mut().insert("date", "Tue, 20 Apr 2021 02:07:56 GMT".parse().unwrap());
        altered.headers_mut().insert("host", "example.org".parse().unwrap());
        assert_eq!(world().exchange(&chain(&[policy]), altered).await.refused(), REFUSED);
    }
}

/// The base of the one signature of a request.
fn base_of(request: &Request<Body>, scheme: &'static str) -> String {
    let inputs = fields::inputs(request.headers()).unwrap();
    let components: Vec<Component> = inputs[0]
        .components
        .iter()
        .map(|identifier| Component::of(identifier.name.as_str(), &identifier.parameters).unwrap())
        .collect();
    Message::of(request, scheme).base(&inputs[0], &components).unwrap()
}

#[test]
fn the_smallest_signature_of_the_appendix_is_good() {
    let request = request(B21);
    let base = base_of(&request, "https");
    assert_eq!(base, format!("\"@signature-params\": {}", &B21.0["sig-b21=".len()..]));
    let signatures = fields::signatures(request.headers()).unwrap();
    let inputs = fields::inputs(request.headers()).unwrap();
    let key = proof(&public("one", RSA)).key;
    let signature = signatures.get(&inputs[0].label).unwrap();
    assert_eq!(key.verify(None, base.as_bytes(), signature), Ok(()));
}

#[test]
fn the_base_of_full_coverage_is_that_of_the_appendix() {
    assert_eq!(
        base_of(&request(B23), "https"),
        "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\
         \"@query\": ?param=Value&Pet=dog\n\"@authority\": example.com\n\"content-type\": application/json\n\
         \"content-digest\": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:\n\
         \"content-length\": 18\n\"@signature-params\": (\"date\" \"@method\" \"@path\" \"@query\" \"@authority\" \
         \"content-type\" \"content-digest\" \"content-length\");created=1618884473;keyid=\"test-key-rsa-pss\""
    );
}

#[test]
fn the_signature_of_a_response_shows_that_ecdsa_is_read_as_the_rfc_writes_it() {
    // B.2.4.
    let base = "\"@status\": 200\n\"content-type\": application/json\n\
        \"content-digest\": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:\n\
        \"content-length\": 23\n\"@signature-params\": (\"@status\" \"content-type\" \"content-digest\" \
        \"content-length\");created=1618884473;keyid=\"test-key-ecc-p256\"";
    let signature =
        "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==";
    let (key, signature) = (proof(&public("one", P256)).key, STANDARD.decode(signature).unwrap());
    assert_eq!(key.algorithm().name(), "ecdsa-p256-sha256");
    assert_eq!(key.verify(None, base.as_bytes(), &signature), Ok(()));
    assert!(key.verify(None, &base.as_bytes()[1..], &signature).is_err());
}

/// A request of HTTP/1 with these fields, and what its component is as it is signed.
fn value(target: &str, fields: &[(&str, &str)], identifier: &str) -> Option<String> {
    let mut builder = Request::get(target);
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    let input = format!("sig1=({identifier});created=1");
    let request = builder.header("signature-input", input).body(Body::Empty).unwrap();
    let inputs = fields::inputs(request.headers()).unwrap();
    let named = &inputs[0].components[0];
    let component = Component::of(named.name.as_str(), &named.parameters).ok()?;
    let base = Message::of(&request, "https").base(&inputs[0], &[component]).ok()?;
    let (line, _) = base.split_once('\n').unwrap();
    Some(line.strip_prefix(identifier).unwrap().strip_prefix(": ").unwrap().to_owned())
}

#[test]
fn derived_components_are_those_of_section_2_2() {
    let host = [("host", "WWW.Example.com:443")];
    for (target, identifier, expected) in [
        ("/path?param=value", "\"@method\"", "GET"),
        ("/path?param=value", "\"@target-uri\"", "https://www.example.com/path?param=value"),
        ("/path?", "\"@target-uri\"", "https://www.example.com/path?"),
        ("/path", "\"@authority\"", "www.example.com"),
        ("/path", "\"@scheme\"", "https"),
        ("/path?param=value", "\"@request-target\"", "/path?param=value"),
        (
            "https://www.example.com/path?param=value",
            "\"@request-target\"",
            "https://www.example.com/path?param=value",
        ),
        ("*", "\"@request-target\"", "*"),
        ("/p%61th/%2e%C3%a9?x", "\"@path\"", "/p%61th/%2e%C3%a9"),
        ("https://www.example.com", "\"@path\"", "/"),
        (
            "/path?param=value&foo=bar&baz=bat%2Dman",
            "\"@query\"",
            "?param=value&foo=bar&baz=bat%2Dman",
        ),
        ("/path?queryString", "\"@query\"", "?queryString"),
        ("/path", "\"@query\"", "?"),
        ("/path?", "\"@query\"", "?"),
    ] {
        assert_eq!(
            value(target, &host, identifier).as_deref(),
            Some(expected),
            "{target} {identifier}"
        );
    }
    for (host, expected) in
        [("a.test:80", "a.test:80"), ("[::1]:443", "[::1]"), ("[::443]", "[::443]")]
    {
        assert_eq!(value("/", &[("host", host)], "\"@authority\"").as_deref(), Some(expected));
    }
    assert_eq!(value("/", &[], "\"@authority\""), None);
}

#[test]
fn query_parameters_have_one_spelling() {
    let target = "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&\
                  fa%C3%A7ade%22%3A%20=something&qux=&twice=1&tw%69ce=1&flag&t=%7e~*";
    for (name, expected) in [
        ("var", Some("this%20is%20a%20big%0Amultiline%20value")),
        ("bar", Some("with%20plus%20whitespace")),
        ("fa%C3%A7ade%22%3A%20", Some("something")),
        ("qux", Some("")),
        ("flag", Some("")),
        ("t", Some("%7E%7E*")),
        // §2.2.8: which of two is meant cannot be said.
        ("twice", None),
        ("none", None),
        ("", None),
    ] {
        let identifier = format!("\"@query-param\";name=\"{name}\"");
        assert_eq!(value(target, &[], &identifier).as_deref(), expected, "{name}");
    }
}

#[test]
fn fields_are_written_as_section_2_1_says() {
    let fields = [
        ("x-ows-header", "  Leading and trailing whitespace.\t "),
        ("cache-control", "max-age=60"),
        ("cache-control", "   must-revalidate"),
        ("example-dict", " a=1,    b=2;x=1;y=2,   c=(a   b   c), d"),
        ("priority", "u=1 ,i"),
        ("example-header", "value, with, lots"),
        ("example-header", "of, commas"),
        ("x-empty-header", ""),
        ("x-bytes", "caf\u{e9}"),
    ];
    for (identifier, expected) in [
        ("\"x-ows-header\"", Some("Leading and trailing whitespace.")),
        ("\"cache-control\"", Some("max-age=60, must-revalidate")),
        ("\"example-dict\"", Some("a=1,    b=2;x=1;y=2,   c=(a   b   c), d")),
        ("\"example-dict\";key=\"a\"", Some("1")),
        ("\"example-dict\";key=\"d\"", Some("?1")),
        ("\"example-dict\";key=\"b\"", Some("2;x=1;y=2")),
        ("\"example-dict\";key=\"c\"", Some("(a b c)")),
        ("\"example-dict\";key=\"e\"", None),
        ("\"example-dict\";sf", None),
        ("\"priority\";sf", Some("u=1, i")),
        ("\"example-header\"", Some("value, with, lots, of, commas")),
        ("\"example-header\";bs", Some(":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:")),
        ("\"x-empty-header\"", Some("")),
        // What is not ASCII is signed as bytes, or not at all.
        ("\"x-bytes\"", None),
        ("\"x-bytes\";bs", Some(":Y2Fmw6k=:")),
        ("\"x-none\"", None),
    ] {
        assert_eq!(value("/", &fields, identifier).as_deref(), expected, "{identifier}");
    }
}

#[test]
fn cookies_that_http_2_sends_apart_are_one_again() {
    let mut request = Request::get("https://a.test/").body(Body::Empty).unwrap();
    *request.version_mut() = http::Version::HTTP_2;
    for piece in ["a=1", "b=2"] {
        request.headers_mut().append("cookie", piece.parse().unwrap());
    }
    let headers: HeaderMap = [(
        "signature-input".parse().unwrap(),
        "s=(\"cookie\" \"@request-target\")".parse().unwrap(),
    )]
    .into_iter()
    .collect();
    request.headers_mut().extend(headers);
    assert!(
        base_of(&request, "https").starts_with("\"cookie\": a=1; b=2\n\"@request-target\": /\n")
    );
    *request.version_mut() = http::Version::HTTP_11;
    assert!(base_of(&request, "https").starts_with("\"cookie\": a=1, b=2\n"));
}

#[test]
fn what_a_component_covers_beside_itself() {
    let of = |name: &str| Component::of(name, &Parameters::new()).unwrap();
    for (name, covered) in [
        ("@target-uri", &["@scheme", "@authority", "@path", "@query"][..]),
        ("@request-target", &["@path", "@query"]),
        ("@path", &[]),
        ("@query", &[]),
        ("@authority", &[]),
    ] {
        for other in ["@scheme", "@authority", "@path", "@query", "@method", "host"] {
            let expected = name == other || covered.contains(&other);
            assert_eq!(of(name).includes(&of(other)), expected, "{name} {other}");
        }
    }
}
