//! Calls that are changed on the way: another target, another host, an answer in the upstream's place.

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Answer, Http2, TestNode, full, request, soon};

/// The API `shop` below `/shop`, with these routes, and an upstream.
fn start(upstream: &str, api: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let address = backend.address();
    let node = TestNode::with(&format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{{url: 'http://{address}'}}]\n  {upstream}\n---\n\
         kind: Api\nname: shop\nspec:\n  base_path: /shop\n  upstream: backend\n  {api}\n"
    ));
    (backend, node)
}

#[tokio::test]
async fn what_goes_upstream_is_the_rewritten_path_below_the_base_path() {
    let policies = "policies: [{rewrite: {prefix: {from: /items, to: /v2/things}}}]";
    for (strips, target) in
        [("true", "/v2/things/7%20x?a=%7e"), ("false", "/shop/items/7%20x?a=%7e")]
    {
        let (_backend, node) = start("", &format!("strip_base_path: {strips}\n  {policies}"));
        let answer = node.get("/shop/items/7%20x?a=%7e").await;
        assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some(target)));
        let mut client = Http2::to(node.address).await;
        let request = Request::get("http://api.test/shop/items/7%20x?a=%7e");
        assert_eq!(client.call(request, full("")).await.json()["target"], target);
    }
}

#[tokio::test]
async fn a_template_takes_parameters_and_the_host_is_the_one_that_is_given() {
    let api = "routes: [{name: item, match: {path: '/items/{id}'}, policies: [\
               {rewrite: {template: '/v2/{path.id}/{header.x-user}', host: '{path.id}.internal.test'}}]}]";
    for upstream in ["", "preserve_host: true"] {
        let (_backend, node) = start(upstream, api);
        let answer =
            node.call("GET /shop/items/a7?x=1", &["x-user: a/", "x-user: second"], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "ambiguous_path"));
        let answer = node.call("GET /shop/items/a7?x=1", &["x-user: a b"], "").await;
        assert_eq!(answer.json()["target"], "/v2/a7/a%20b?x=1");
        assert_eq!(answer.seen("host"), "a7.internal.test");
        assert_eq!(answer.seen("x-forwarded-host"), "api.test");
    }
}

#[tokio::test]
async fn a_request_that_is_tried_again_keeps_its_new_target_and_host() {
    let backend = Upstream::resetting("a", 1).unwrap();
    let address = backend.address();
    let node = TestNode::with(&format!(
        "kind: Upstream\nname: backend\nspec: {{endpoints: [{{url: 'http://{address}'}}]}}\n---\n\
         kind: Api\nname: shop\nspec:\n  base_path: /\n  upstream: backend\n  \
         policies: [{{rewrite: {{template: /new, host: new.test}}}}]\n"
    ));
    for _ in 0..4 {
        let answer = node.get("/old").await;
        assert_eq!(
            (answer.json()["target"].as_str(), answer.seen("host").as_str()),
            (Some("/new"), "new.test")
        );
    }
}

#[tokio::test]
async fn the_query_changes_after_the_path_and_before_it() {
    let api = "policies: [{query: {remove: [debug], set: {tenant: '{tenant}'}}}, \
               {rewrite: {regex: {pattern: '^/shop', substitution: ''}}}, {query: {add: {via: '{api}'}}}]";
    let (_backend, node) = start("", api);
    let answer = node.get("/shop/x?a=%7e&d%65bug=1&&b").await;
    assert_eq!(answer.json()["target"], "/x?a=%7e&&b&tenant=default&via=shop");
    let answer = node.get("/shop").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "ambiguous_path"));
}

#[tokio::test]
async fn a_client_is_sent_elsewhere_and_nothing_goes_upstream() {
    let (backend, node) = start("", "policies: [{redirect: {to: {scheme: https}, status: 308}}]");
    for line in ["GET /shop/x?a=1", "HEAD /shop/x?a=1", "POST /shop/x?a=1"] {
        let answer = node.call(line, &[], if line.starts_with("POST") { "body" } else { "" }).await;
        assert_eq!((answer.status, answer.field("location")), (308, "https://api.test/shop/x?a=1"));
        assert!(answer.body.is_empty() && answer.is_whole);
    }
    let mut client = Http2::to(node.address).await;
    let answer = client.call(Request::get("http://api.test:8080/shop/x"), full("")).await;
    assert_eq!((answer.status, answer.field("location")), (308, "https://api.test/shop/x"));
    assert_eq!(backend.requests(), 0);
    assert_eq!(node.records(4).await[3]["status"], 308);
}

#[tokio::test]
async fn who_may_not_call_learns_nothing_of_the_target() {
    let (_backend, node) = start("", "policies: [{redirect: {to: /x}}, {api_key: {}}]");
    assert_eq!(node.get("/shop").await.status, 401);
}

#[tokio::test]
async fn a_mock_answers_in_the_upstreams_place() {
    let api = "routes: [{name: item, match: {path: '/items/{id}'}, policies: [\
               {headers: {response: {set: {x-after: '1'}}}}, \
               {respond: {status: 201, headers: {x-id: '{path.id}'}, json: {id: '{path.id}', user: '{header.x-user}'}}}]}]";
    let (backend, node) = start("", api);
    let mut wire = node.wire().await;
    for _ in 0..2 {
        let answer = wire.call("GET /shop/items/7", &["x-user: a\"b"], "").await;
        assert_eq!((answer.status, answer.field("x-id"), answer.field("x-after")), (201, "7", "1"));
        assert_eq!(answer.json(), serde_json::json!({"id": "7", "user": "a\"b"}));
        let head = wire.call("HEAD /shop/items/7", &["x-user: a\"b"], "").await;
        assert_eq!(head.field("content-length"), answer.body.len().to_string());
        assert_eq!(head.field("content-type"), "application/json");
        let posted = wire.call("POST /shop/items/7", &[], "what nobody reads").await;
        assert_eq!((posted.status, posted.json()["user"].as_str()), (201, Some("")));
    }
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn an_answer_is_compressed_for_who_takes_it() {
    let (_backend, node) = start("", "policies: [{compress: {encodings: [zstd]}}]");
    let target = "/shop?size=100000&set=content-type:text/plain&set=etag:%22a%22";
    let mut wire = node.wire().await;
    for _ in 0..2 {
        let answer = wire.call(&format!("GET {target}"), &["accept-encoding: br, zstd"], "").await;
        assert_eq!((answer.status, answer.field("content-encoding")), (200, "zstd"));
        assert_eq!((answer.field("content-length"), answer.field("vary")), ("", "accept-encoding"));
        assert!(answer.body.len() < 1000 && answer.is_whole);
        assert_eq!(zstd::stream::decode_all(&*answer.body).unwrap(), vec![b'x'; 100_000]);
        let plain = wire.call(&format!("GET {target}"), &[], "").await;
        assert_eq!((plain.field("content-encoding"), plain.body.len()), ("", 100_000));
        let head = wire.call(&format!("HEAD {target}"), &["accept-encoding: zstd"], "").await;
        assert_eq!((head.field("content-encoding"), head.field("vary")), ("", "accept-encoding"));
    }
    let mut client = Http2::to(node.address).await;
    let request =
        Request::get(format!("http://api.test{target}")).header("accept-encoding", "zstd");
    let answer = client.call(request, full("")).await;
    assert_eq!(zstd::stream::decode_all(&*answer.body).unwrap().len(), 100_000);
}

#[tokio::test]
async fn events_are_not_held_up_by_compression() {
    let (backend, node) = start("", "policies: [{compress: {encodings: [zstd]}}]");
    let target = "/shop?size=30&piece=10&pause_ms=400&chunked&set=content-type:text/event-stream";
    let mut wire = node.wire().await;
    wire.send(request(&format!("GET {target}"), &["accept-encoding: zstd"], "")).await;
    let (_, _, headers) = wire.head().await;
    assert_eq!(headers["content-encoding"], "zstd");
    while wire.read_bytes() == 0 {
        assert!(wire.more().await);
    }
    assert!(backend.sent_bytes() < 30, "the first event comes before the last is there");
}

/// Sends a body as it is, with its coding.
async fn upload(node: &TestNode, body: &[u8]) -> Answer {
    let mut wire = node.wire().await;
    let length = format!("content-length: {}", body.len());
    wire.send(request("POST /shop", &["content-encoding: zstd", &length], "")).await;
    // The node may stop listening in the middle; the answer is there all the same.
    let _ = soon(tokio::io::AsyncWriteExt::write_all(&mut wire.stream, body)).await;
    wire.answer().await
}

#[tokio::test]
async fn an_upload_goes_upstream_without_its_coding_and_within_its_bounds() {
    let (_backend, node) = start("", "policies: [{decompress: {max_size: 1MiB}}]");
    let answer = upload(&node, &zstd::stream::encode_all(&b"plain text"[..], 3).unwrap()).await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some("plain text")));
    assert_eq!(answer.seen("content-encoding"), "");
    let bomb = zstd::stream::encode_all(&*vec![0; 16 << 20], 3).unwrap();
    let answer = upload(&node, &bomb).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_large"));
    let answer = upload(&node, b"this is no zstd").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_body"));
}
