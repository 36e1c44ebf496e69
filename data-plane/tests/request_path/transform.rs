//! Bodies that are changed on the way, and what becomes of those that stop coming.

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http2, TestNode, full, published, request};

fn start(upstream: &str, policies: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let node =
        TestNode::with(&published(backend.address(), upstream, &format!("policies: [{policies}]")));
    (backend, node)
}

const FORM: &str = "content-type: application/x-www-form-urlencoded";

#[tokio::test]
async fn an_upload_arrives_as_another_and_its_answer_comes_back_as_another() {
    let policies = "{transform: {request: {from: form, jq: '{n: .a, by: $request.query.x}', to: xml, root: o}, \
                    response: {from: json, jq: '{method, body, length: .headers[\"content-length\"], coding: .headers[\"accept-encoding\"]}'}}}";
    let (_backend, node) = start("", policies);
    let mut wire = node.wire().await;
    let whole = request("POST /orders?x=y", &[FORM], "a=%3C1");
    let in_pieces = request("POST /orders?x=y", &[FORM, "transfer-encoding: chunked"], "");
    for sent in [whole, in_pieces + "2\r\na=\r\n4\r\n%3C1\r\n0\r\n\r\n"] {
        wire.send(sent).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.field("content-type")), (200, "application/json"));
        assert_eq!(answer.field("content-length"), answer.body.len().to_string());
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<o><n>&lt;1</n><by>y</by></o>";
        let told = answer.json();
        assert_eq!((told["method"].as_str(), told["body"].as_str()), (Some("POST"), Some(xml)));
        assert!(told.as_object().unwrap().len() == 4 && answer.is_whole);
    }
    let mut client = Http2::to(node.address).await;
    let upload = Request::post("http://api.test/orders?x=y")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = client.call(upload, full("a=1")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["body"].as_str().unwrap().ends_with("<o><n>1</n><by>y</by></o>"));
}

#[tokio::test]
async fn what_cannot_be_transformed_goes_neither_way() {
    let policies =
        "{transform: {request: {to: xml}, response: {from: json, jq: .method, max_body: 4KiB}}}";
    let (backend, node) = start("", policies);
    let answer = node.call("POST /", &["content-type: application/json"], "{\"a\":").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "malformed_body"));
    let answer = node.call("POST /", &["content-type: application/json"], "[1]").await;
    assert_eq!((answer.status, answer.code().as_str()), (422, "untransformable_body"));
    assert_eq!(backend.requests(), 0);
    let answer = node.get("/?size=10").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "untransformable_response"));
    let answer = node.get("/?size=5000&chunked").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "response_too_large"));
    let answer = node.get("/?size=10&status=404").await;
    assert_eq!((answer.status, answer.body.len()), (404, 10));
    let head = node.call("HEAD /", &[], "").await;
    assert_eq!((head.status, head.field("content-type")), (200, ""));
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.json().as_str()), (200, Some("GET")));
}

#[tokio::test]
async fn an_answer_that_stops_coming_is_refused_in_time() {
    let (_backend, node) =
        start("timeouts: {idle: 200ms}", "{transform: {response: {from: json, jq: .a}}}");
    let answer = node.get("/?size=10&stall").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    let (_backend, node) =
        start("timeouts: {total: 300ms}", "{transform: {response: {from: json, jq: .a}}}");
    let answer = node.get("/?size=1000&piece=1&pause_ms=50").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
}

#[tokio::test]
async fn an_upload_that_stops_coming_is_refused_in_time() {
    let backend = Upstream::start("a").unwrap();
    let api = published(
        backend.address(),
        "",
        "policies: [{transform: {request: {from: form, to: json}}}]",
    );
    let gateway = "kind: Gateway\nname: default\nspec: {limits: {idle_time: 1s}}\n---\n";
    let node = TestNode::with(&format!("{gateway}{api}"));
    let mut wire = node.wire().await;
    wire.send(request("POST /", &[FORM, "content-length: 10"], "")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(backend.requests(), 0);
}
