//! Signed requests on real calls: gateway and caller agree about what is signed, byte for byte.
//!
//! What is signed is written out here as a caller would, and not by the code that checks it.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use tollgate_testkit::tokens::{Signer, code_of};
use tollgate_testkit::upstream::Upstream;

use crate::support::tls::{Tls, call_on};
use crate::support::{Answer, Http2, TestNode, full, published, request};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn partner(secret: &str) -> String {
    format!(
        "---\nkind: Application\nname: partner\nspec: {{}}\n---\n\
         kind: Secret\nname: signing\nspec: {{value: {secret}}}\n---\n\
         kind: Credential\nname: theirs\nspec: {{application: partner, signature: {{key_id: one, secret: signing}}}}\n"
    )
}

fn start(policy: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let api = format!("policies: [{policy}]");
    let node = TestNode::with(&(published(backend.address(), "", &api) + &partner(SECRET)));
    (backend, node)
}

/// A signature over the lines, made now.
fn signed(lines: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    signed_by("one", lines, |base| code_of(SECRET.as_bytes(), base))
}

fn signed_by(
    key_id: &str,
    lines: &[(&str, &str)],
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<(&'static str, String)> {
    let created = tollgate_data_plane::clock::unix_micros() / 1_000_000;
    let names: Vec<String> = lines.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let input = format!("({});created={created};keyid=\"{key_id}\"", names.join(" "));
    let mut base: String =
        lines.iter().map(|(name, value)| format!("\"{name}\": {value}\n")).collect();
    base.push_str(&format!("\"@signature-params\": {input}"));
    let signature = STANDARD.encode(sign(base.as_bytes()));
    vec![("signature-input", format!("mine={input}")), ("signature", format!("mine=:{signature}:"))]
}

/// A signature over method, host, path and query.
fn signed_target(method: &str, target: &str) -> Vec<(&'static str, String)> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = format!("?{query}");
    signed(&[("@method", method), ("@authority", "api.test"), ("@path", path), ("@query", &query)])
}

fn lines_of(fields: &[(&'static str, String)]) -> Vec<String> {
    fields.iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

async fn call(
    node: &TestNode,
    line: &str,
    fields: &[(&'static str, String)],
    body: &str,
) -> Answer {
    let fields = lines_of(fields);
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    node.call(line, &fields, body).await
}

#[tokio::test]
async fn what_is_signed_is_the_request_as_the_caller_sent_it() {
    let backend = Upstream::start("a").unwrap();
    let address = backend.address();
    let node = TestNode::with(&format!(
        "kind: Upstream\nname: backend\nspec: {{endpoints: [{{url: 'http://{address}'}}]}}\n---\n\
         kind: Api\nname: shop\nspec:\n  base_path: /shop\n  strip_base_path: true\n  upstream: backend\n  \
         policies: [{{rewrite: {{regex: {{pattern: '^/', substitution: '/v2/'}}, host: other.test}}}}, {{query: {{set: {{added: '1'}}}}}}, {{hmac: {{}}}}]\n{}",
        partner(SECRET)
    ));
    let targets = [
        "/shop/items",
        "/shop/items?",
        "/shop/items?a=1&b=%2f%2F+%20&&=&c",
        "/shop/%7eada/%c3%a9/a%20b?x=%7e",
        "/shop/a;v=1/(b)?x=/../?y",
        "/shop/",
    ];
    let mut client = Http2::to(node.address).await;
    for target in targets {
        let fields = signed_target("GET", target);
        let answer = call(&node, &format!("GET {target}"), &fields, "").await;
        assert_eq!(answer.status, 200, "{target}: {answer:?}");
        assert!(answer.json()["target"].as_str().unwrap().starts_with("/v2/"), "{target}");
        assert_eq!(answer.seen("host"), "other.test");
        assert_eq!(answer.seen("signature-input"), fields[0].1);
        // Of HTTP/2, the same.
        let mut request = Request::get(format!("http://api.test{target}"));
        for (name, value) in &fields {
            request = request.header(*name, value);
        }
        assert_eq!(client.call(request, full("")).await.status, 200, "{target}");
        // What is another request is not signed by it, also where it means the same.
        let others = [
            format!("POST {target}"),
            format!("GET {target}&x=1"),
            format!("GET {}", target.replacen("/shop/", "/shop/x", 1)),
            format!("GET {}", target.replace("%7e", "~").replace("/shop/", "/sh%6fp/")),
        ];
        for line in others {
            let answer = call(&node, &line, &fields, "").await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"), "{line}");
        }
    }
    let records = node.records(1).await;
    assert_eq!(
        (&records[0]["application"], &records[0]["credential"]),
        (&"partner".into(), &"theirs".into())
    );
}

#[tokio::test]
async fn the_host_is_signed_in_one_form_whichever_way_it_is_sent() {
    let (_backend, node) = start("{hmac: {}}");
    let fields = lines_of(&signed_target("GET", "/x")).join("\r\n");
    for (head, status) in [
        ("GET /x HTTP/1.1\r\nhost: api.test", 200),
        ("GET /x HTTP/1.1\r\nhost: API.Test:80", 200),
        ("GET http://api.test/x HTTP/1.1\r\nhost: api.test", 200),
        ("GET http://API.test:80/x HTTP/1.1\r\nhost: api.test", 200),
        ("GET /x HTTP/1.1\r\nhost: api.test:8080", 401),
        ("GET /x HTTP/1.1\r\nhost: api.test:443", 401),
        ("GET /x HTTP/1.1\r\nhost: api.test.", 401),
        ("GET /x HTTP/1.1\r\nhost: www.api.test", 401),
    ] {
        let mut wire = node.wire().await;
        wire.send(format!("{head}\r\n{fields}\r\n\r\n")).await;
        assert_eq!(wire.answer().await.status, status, "{head}");
    }
}

#[tokio::test]
async fn over_tls_the_scheme_is_that_of_the_connection() {
    let mut tls = Tls::simple();
    let api =
        published(tls.backend.address(), "", "policies: [{hmac: {required: ['@target-uri']}}]");
    tls.node.apply(&(api + &partner(SECRET)));
    let client = tls.client();
    for (uri, status) in
        [("https://api.test/", 200), ("http://api.test/", 401), ("https://api.test:443/", 401)]
    {
        let fields = signed(&[("@target-uri", uri)]);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let stream = client.connect(tls.address, "api.test").await.unwrap();
        assert_eq!(Box::pin(call_on(stream, &fields)).await.unwrap().status, status, "{uri}");
    }
}

#[tokio::test]
async fn fields_are_signed_as_they_came_and_not_as_policies_leave_them() {
    let policies = "{headers: {request: {set: {x-user: root}, remove: [x-gone]}}}, {hmac: {required: [x-user, x-gone], forward: false}}";
    let (_backend, node) = start(policies);
    let mut fields = signed(&[("x-user", "ada, eve"), ("x-gone", "1")]);
    fields.extend([
        ("x-user", "ada".to_owned()),
        ("x-gone", "1".to_owned()),
        ("x-user", "  eve ".to_owned()),
    ]);
    let answer = call(&node, "GET /", &fields, "").await;
    assert_eq!((answer.status, answer.seen("x-user").as_str()), (200, "root"), "{answer:?}");
    assert_eq!((answer.seen("signature"), answer.seen("signature-input")), Default::default());
    fields[3].1 = "2".to_owned();
    assert_eq!(call(&node, "GET /", &fields, "").await.status, 401);
}

/// A signed POST of a body.
fn signed_post(body: &str) -> Vec<(&'static str, String)> {
    let sum = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body.as_bytes())));
    let mut fields = signed(&[
        ("@method", "POST"),
        ("@authority", "api.test"),
        ("@path", "/"),
        ("content-digest", &sum),
    ]);
    fields.push(("content-digest", sum));
    fields
}

#[tokio::test]
async fn a_body_is_checked_before_anything_of_it_goes_upstream() {
    let (backend, node) = start("{hmac: {max_body: 64KiB}}");
    let whole = "0123456789".repeat(6_000);
    let fields = signed_post(&whole);
    for _ in 0..2 {
        let answer = call(&node, "POST /", &fields, &whole).await;
        assert_eq!((answer.status, answer.json()["body_bytes"].as_u64()), (200, Some(60_000)));
        assert_eq!(answer.seen("content-length"), "60000");
    }
    // In chunks, and with a wait for the answer to `expect`.
    let mut wire = node.wire().await;
    let mut lines = lines_of(&fields);
    lines.extend(["transfer-encoding: chunked".to_owned(), "expect: 100-continue".to_owned()]);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    wire.send(request("POST /", &lines, "")).await;
    let (status, _, _) = wire.head().await;
    assert_eq!(status, 100);
    for piece in whole.as_bytes().chunks(7_000) {
        wire.send(format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()))
            .await;
    }
    wire.send("0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.json()["body_bytes"].as_u64()), (200, Some(60_000)));
    assert_eq!(backend.requests(), 3);

    let altered = whole.replacen('5', "6", 1);
    let answer = call(&node, "POST /", &fields, &altered).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
    let larger = "x".repeat(65_537);
    let answer = call(&node, "POST /", &signed_post(&larger), &larger).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    let answer = call(&node, "POST /", &signed_target("POST", "/"), "body").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (backend, node) = start("{hmac: {body_time: 300ms}}");
    let mut wire = node.wire().await;
    let mut lines = lines_of(&signed_post("0123456789"));
    lines.push("content-length: 10".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    wire.send(request("POST /", &lines, "")).await;
    wire.send("01234").await;
    assert!(wire.is_silent_for(Duration::from_millis(50)).await);
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn keys_come_change_and_go_with_the_configuration() {
    let (_backend, mut node) = start("{hmac: {}}");
    let signer = Signer::ed25519("two").unwrap();
    let lines = [("@method", "GET"), ("@authority", "api.test"), ("@path", "/")];
    let by_signer = || signed_by("two", &lines, |base| signer.sign("EdDSA", base).unwrap());
    assert_eq!(call(&node, "GET /", &signed(&lines), "").await.status, 200);
    assert_eq!(call(&node, "GET /", &by_signer(), "").await.status, 401);
    let pem = serde_json::Value::from(signer.pem().unwrap());
    let credential = |more: &str| {
        format!(
            "kind: Credential\nname: own\nspec: {{application: partner, {more}signature: {{key_id: two, public_key: {pem}}}}}"
        )
    };
    assert_eq!(node.apply(&credential("")), []);
    assert_eq!(call(&node, "GET /", &by_signer(), "").await.status, 200);
    node.apply(&credential("disabled: true, "));
    assert_eq!(call(&node, "GET /", &by_signer(), "").await.status, 401);
    node.apply(&credential(""));
    node.apply("kind: Application\nname: partner\nspec: {disabled: true}");
    assert_eq!(call(&node, "GET /", &by_signer(), "").await.status, 401);
    node.apply("kind: Application\nname: partner\nspec: {}");
    assert_eq!(call(&node, "GET /", &by_signer(), "").await.status, 200);
    node.remove(&[("Credential", "own")]);
    assert_eq!(call(&node, "GET /", &by_signer(), "").await.status, 401);

    // A new value of the Secret counts at once, and without one nobody gets in.
    node.apply("kind: Secret\nname: signing\nspec: {value: another-secret-that-is-long-enough}");
    assert_eq!(call(&node, "GET /", &signed(&lines), "").await.status, 401);
    node.remove(&[("Secret", "signing")]);
    let answer = call(&node, "GET /", &signed(&lines), "").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "identity_unavailable"));
    node.apply(&format!("kind: Secret\nname: signing\nspec: {{value: {SECRET}}}"));
    assert_eq!(call(&node, "GET /", &signed(&lines), "").await.status, 200);
}

#[tokio::test]
async fn a_key_of_one_tenant_is_none_of_another() {
    let backend = Upstream::start("a").unwrap();
    let address = backend.address();
    let of = |tenant: &str, secret: &str| {
        format!(
            "kind: Tenant\nname: {tenant}\nspec: {{hosts: [{tenant}.test]}}\n---\n\
             kind: Upstream\ntenant: {tenant}\nname: backend\nspec: {{endpoints: [{{url: 'http://{address}'}}]}}\n---\n\
             kind: Api\ntenant: {tenant}\nname: shop\nspec: {{base_path: /, upstream: backend, policies: [{{hmac: {{}}}}]}}\n---\n\
             kind: Application\ntenant: {tenant}\nname: partner\nspec: {{}}\n---\n\
             kind: Secret\ntenant: {tenant}\nname: signing\nspec: {{value: {secret}}}\n---\n\
             kind: Credential\ntenant: {tenant}\nname: theirs\nspec: {{application: partner, signature: {{key_id: one, secret: signing}}}}\n"
        )
    };
    let other = "another-secret-that-is-long-enough";
    let node = TestNode::with(&(of("shop", SECRET) + "---\n" + &of("bank", other)));
    for (host, status) in [("shop.test", 200), ("bank.test", 401)] {
        let fields = signed(&[("@method", "GET"), ("@authority", host), ("@path", "/")]);
        let fields = lines_of(&fields).join("\r\n");
        let mut wire = node.wire().await;
        wire.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n\r\n")).await;
        assert_eq!(wire.answer().await.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_signature_is_good_once_where_it_is_said_so() {
    let (backend, node) = start("{hmac: {replay: refuse}}");
    let fields = signed_target("GET", "/items");
    assert_eq!(call(&node, "GET /items", &fields, "").await.status, 200);
    for _ in 0..2 {
        let answer = call(&node, "GET /items", &fields, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "signature_replayed"));
    }
    // Another request of the same second.
    assert_eq!(call(&node, "GET /other", &signed_target("GET", "/other"), "").await.status, 200);
    assert_eq!(backend.requests(), 2);
}
