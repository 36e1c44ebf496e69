//! Answers whose personal data is hidden on the way: plain, coded, cached, slow.

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{API_KEY, Answer, Http2, TestNode, full, published};

const JSON: &str = "set=content-type:application/json";
const DOCUMENT: &str = r#"{"mail": "joe@example.com", "amount": 1.0, "card": 4111111111111111}"#;
const MASKED: &str = r#"{"mail": "j**@example.com", "amount": 1.0, "card": "************1111"}"#;
const MASK: &str = "{mask: {rules: [{kind: email}, {kind: card}]}}";

fn start(upstream: &str, policies: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    backend.set_document(DOCUMENT);
    let api = format!("policies: [{policies}]");
    let node = TestNode::with(&published(backend.address(), upstream, &api));
    (backend, node)
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

#[tokio::test]
async fn an_answer_goes_out_without_what_is_to_be_hidden() {
    let (_backend, node) = start("", MASK);
    let target = format!("/?document&{JSON}&set=etag:%22a%22");
    let mut wire = node.wire().await;
    for _ in 0..2 {
        let answer = wire.call(&format!("GET {target}"), &[], "").await;
        assert_eq!((answer.status, text(&answer)), (200, MASKED));
        assert_eq!(answer.field("content-length"), MASKED.len().to_string());
    }
    let mut client = Http2::to(node.address).await;
    let answer = client.call(Request::get(format!("http://api.test{target}")), full("")).await;
    assert_eq!(text(&answer), MASKED);
    // In pieces and without a length.
    let answer = wire.call(&format!("GET {target}&piece=3&chunked"), &[], "").await;
    assert_eq!((text(&answer), answer.is_whole), (MASKED, true));
    let head = wire.call(&format!("HEAD {target}"), &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    // Of what goes upstream the same policy hides nothing: only its ranges and codings go.
    let fields =
        ["range: bytes=0-4", "if-range: \"a\"", "accept-encoding: br", "x-mail: joe@example.com"];
    let answer = wire.call(&format!("GET /?{JSON}"), &fields, "").await;
    assert_eq!((answer.status, answer.seen("x-mail").as_str()), (200, "j**@example.com"));
    assert_eq!(
        (answer.seen("accept-encoding").as_str(), answer.seen("range").as_str()),
        ("identity", "")
    );
    assert_eq!(answer.seen("if-range"), "");
}

#[tokio::test]
async fn a_coded_answer_is_read_within_bounds() {
    let (backend, node) = start("", MASK);
    let target = format!("/?document&{JSON}&set=content-encoding:zstd");
    backend.set_document(zstd::stream::encode_all(DOCUMENT.as_bytes(), 3).unwrap());
    let answer = node.get(&target).await;
    assert_eq!((text(&answer), answer.field("content-encoding")), (MASKED, ""));
    backend.set_document(zstd::stream::encode_all(&*vec![b' '; 16 << 20], 3).unwrap());
    let mut wire = node.wire().await;
    let answer = wire.call(&format!("GET {target}"), &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "response_too_large"));
    // The connection is of use after that.
    backend.set_document("no such coding");
    let answer = wire.call(&format!("GET {target}"), &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "malformed_response"));
    let records = node.records(3).await;
    assert_eq!(
        (records[1]["fault"].as_str(), records[1]["code"].as_str()),
        (Some("policy"), Some("response_too_large"))
    );
}

#[tokio::test]
async fn a_part_and_a_stream_of_events_are_not_shown() {
    let (_backend, node) = start("", MASK);
    for (query, code) in [
        (
            "status=206&set=content-range:bytes%200-9/99&set=content-type:text/plain",
            "unsupported_response_range",
        ),
        ("set=content-type:text/event-stream", "unsupported_response_stream"),
        ("set=content-type:text/plain;charset=latin1", "unsupported_response_charset"),
        ("size=2000000&chunked", "response_too_large"),
        ("size=2000000&set=content-type:text/plain", "response_too_large"),
    ] {
        let answer = node.get(&format!("/?document&{query}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (502, code), "{query}");
    }
    let answer = node.get("/?size=2000000&set=content-type:image/png").await;
    assert_eq!((answer.status, answer.body.len()), (200, 2_000_000));
}

#[tokio::test]
async fn what_a_cache_stores_is_masked_whatever_codings_clients_take() {
    let policies =
        format!("{{cache: {{}}}}, {{compress: {{encodings: [zstd], min_size: 1B}}}}, {MASK}");
    let (backend, node) = start("", &policies);
    let target = format!("/?document&{JSON}&set=cache-control:max-age=60&set=vary:accept-encoding");
    for _ in 0..2 {
        assert_eq!(text(&node.get(&target).await), MASKED);
        let answer = node.call(&format!("GET {target}"), &["accept-encoding: zstd"], "").await;
        assert_eq!(answer.field("content-encoding"), "zstd");
        assert_eq!(zstd::stream::decode_all(&*answer.body).unwrap(), MASKED.as_bytes());
    }
    assert_eq!(backend.requests(), 2);
    let part = node.call(&format!("GET {target}"), &["range: bytes=9-11"], "").await;
    assert_eq!((part.status, text(&part)), (206, &MASKED[9..12]));
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn an_upstream_that_falls_silent_is_not_waited_for_for_ever() {
    let (backend, node) = start("timeouts: {idle: 200ms}", MASK);
    for query in ["size=500&stall", "size=500&stall&chunked", "size=500&cut&pause_ms=20"] {
        let answer = node.get(&format!("/?{query}&set=content-type:text/plain")).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (502, "incomplete_response"),
            "{query}"
        );
    }
    let answer = node.get("/?size=500&piece=100&pause_ms=100&set=content-type:text/plain").await;
    assert_eq!((answer.status, answer.body.len()), (200, 500));
    assert_eq!(backend.under_way(), 0);
    let total = "timeouts: {total: 300ms}";
    let (_backend, node) = start(total, MASK);
    let answer =
        node.get("/?size=1000000&piece=1000&pause_ms=20&set=content-type:text/plain").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "incomplete_response"));
}

#[tokio::test]
async fn silence_cuts_off_what_a_policy_passes_on_as_it_comes() {
    for policies in ["{compress: {}}", "{headers: {response: {set: {x-a: '1'}}}}"] {
        let (_backend, node) = start("timeouts: {idle: 200ms}", policies);
        for line in ["/?size=5000&stall", "/?size=5000&stall&chunked"] {
            let target = format!("GET {line}&set=content-type:text/plain");
            let answer = node.call(&target, &["accept-encoding: gzip"], "").await;
            assert_eq!((answer.status, answer.is_whole), (200, false), "{policies} {line}");
            assert!(!answer.body.is_empty());
        }
        let answer = node.get("/?size=500&piece=100&pause_ms=100").await;
        assert!(answer.is_whole);
    }
}

#[tokio::test]
async fn decompression_takes_the_coding_off_answers_as_they_come() {
    let (backend, node) = start("", "{decompress: {response: true}}");
    backend.set_document(zstd::stream::encode_all(DOCUMENT.as_bytes(), 3).unwrap());
    let answer = node.get("/?document&set=content-encoding:zstd").await;
    assert_eq!((text(&answer), answer.field("content-encoding")), (DOCUMENT, ""));
    assert_eq!(node.get("/").await.seen("accept-encoding"), "zstd, br, gzip");
    backend.set_document(zstd::stream::encode_all(&*vec![0; 16 << 20], 3).unwrap());
    let answer = node.get("/?document&set=content-encoding:zstd").await;
    assert_eq!((answer.status, answer.is_whole), (200, false));
    let records = node.records(3).await;
    assert_eq!(records[2]["code"], "response_too_large");
}

#[tokio::test]
async fn records_are_masked_also_of_calls_that_are_refused() {
    let (_backend, node) = start(
        "",
        "{mask: {apply_to: [records], rules: [{kind: email}, {kind: ip}]}}, \
         {headers: {request: {set: {x-limited: 'yes'}}}}, {body_size: {request: 4B}}",
    );
    let agent = "user-agent: mail/1 (joe@example.com)";
    let target = "/of/joe%40example.com?mail=joe@example.com";
    assert_eq!(node.call(&format!("GET {target}"), &[agent], "").await.status, 200);
    assert_eq!(node.call(&format!("POST {target}"), &[agent], "too long").await.status, 413);
    for record in node.records(2).await {
        for (field, expected) in [
            ("path", "/of/j**@example.com"),
            ("client", "***.*.*.*"),
            ("host", "api.test"),
            ("user_agent", "mail/1 (j**@example.com)"),
        ] {
            assert_eq!(record[field], expected, "{record}");
        }
    }
    // The answer itself is none of its business.
    let answer = node.call(&format!("GET /?document&{JSON}"), &[], "").await;
    assert_eq!(text(&answer), DOCUMENT);
    let answer = node.call("GET /", &["range: bytes=0-3"], "").await;
    assert_eq!(answer.seen("range"), "bytes=0-3");
}

#[tokio::test]
async fn an_applications_own_mask_hides_in_the_records_of_its_calls() {
    let backend = Upstream::start("a").unwrap();
    let more = format!(
        "---\nkind: Application\nname: web-shop\nspec: {{policies: [{{mask: {{apply_to: [records], rules: [{{kind: email}}]}}}}]}}\n\
         ---\nkind: Credential\nname: first\nspec: {{application: web-shop, api_key: {{value: {API_KEY}}}}}\n"
    );
    let api = "policies: [{api_key: {}}]";
    let node = TestNode::with(&(published(backend.address(), "", api) + &more));
    let key = format!("x-api-key: {API_KEY}");
    node.call("GET /joe@example.com", &[&key], "").await;
    node.call("GET /joe@example.com", &[], "").await;
    let records = node.records(2).await;
    let paths: Vec<_> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/j**@example.com", "/joe@example.com"]);
}
