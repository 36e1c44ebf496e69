//! Messages that are checked on the way: what goes on, what is refused, and what is told.

use http::Request;
use serde_json::json;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http2, TestNode, full, published, request};

/// The API `shop` below `/shop`, with these policies.
fn start(policies: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{{url: 'http://{}'}}]\n---\n\
         kind: Api\nname: shop\nspec:\n  base_path: /shop\n  strip_base_path: true\n  upstream: backend\n  policies:\n{policies}",
        backend.address()
    ));
    (backend, node)
}

const SHOP: &str = "  - validate:
      timeout: 1s
      max_body: 1KiB
      validate: {response: true}
      openapi:
        openapi: 3.1.0
        paths:
          /orders/{id}:
            put:
              parameters:
                - {name: id, in: path, schema: {type: integer}}
                - {name: limit, in: query, schema: {type: integer}}
              requestBody:
                required: true
                content: {application/json: {schema: {type: object, required: [sku], properties: {sku: {type: string}}}}}
              responses:
                '200': {content: {application/json: {schema: {type: object, not: {required: [wrong]}}}}}
                '500': {description: Broken}
";

#[tokio::test]
async fn what_is_as_it_must_be_goes_on_and_the_rest_is_refused_with_its_issues() {
    let (backend, node) = start(SHOP);
    let body = "{ \"sku\" : \"a\", \"more\": 1.50 }";
    let fields = ["content-type: application/json", "accept-encoding: gzip"];
    let query = "limit=5&set=content-type:application/json";
    let answer = node.call(&format!("PUT /shop/orders/7?{query}"), &fields, body).await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some(body)), "{answer:?}");
    assert_eq!(answer.json()["target"], format!("/orders/7?{query}"));
    assert_eq!(answer.seen("accept-encoding"), "identity");
    let chunked = "PUT /shop/orders/7?set=content-type:application/json HTTP/1.1\r\nhost: api.test\r\ncontent-type: application/json\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\n{\"sku\r\n6\r\n\":\"a\"}\r\n0\r\n\r\n";
    let mut wire = node.wire().await;
    wire.send(chunked).await;
    assert_eq!(wire.answer().await.json()["body"], "{\"sku\":\"a\"}");

    let answer = node.call("PUT /shop/orders/x?limit=y", &fields, "{\"sku\":7}").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    assert_eq!(
        answer.json()["issues"],
        json!([
            {"at": "/path/id", "code": "type", "problem": "is a string; give a whole number"},
            {"at": "/query/limit", "code": "type", "problem": "is a string; give a whole number"},
            {"at": "/body/sku", "code": "type", "problem": "is a whole number; give a string"},
        ])
    );
    for (line, body, refused) in [
        ("GET /shop/orders/7", "", (405, "unknown_operation")),
        ("GET /shop/nothing", "", (404, "unknown_operation")),
        ("PUT /shop/orders/7", "{", (400, "invalid_request")),
        ("PUT /shop/orders/7", &"x".repeat(1025), (413, "body_too_large")),
    ] {
        let answer = node.call(line, &fields, body).await;
        assert_eq!((answer.status, answer.code().as_str()), refused, "{line}");
    }
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn the_issues_are_told_over_http2_and_grpc_as_well() {
    let (backend, node) = start(SHOP);
    let mut client = Http2::to(node.address).await;
    let put =
        || Request::put("http://api.test/shop/orders/x").header("content-type", "application/json");
    let answer = client.call(put(), full("{\"sku\":\"a\"}")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"));
    assert_eq!(answer.json()["issues"][0]["at"], "/path/id");
    let (_grpc, node) = start(
        "  - validate: {openapi: {openapi: 3.0.0, paths: {/a: {post: {parameters: [{name: n, in: query, schema: {type: integer}}]}}}}}\n",
    );
    let mut client = Http2::to(node.address).await;
    let call =
        Request::post("http://api.test/shop/a?n=%25").header("content-type", "application/grpc");
    let answer = client.call(call, full("")).await;
    assert_eq!((answer.status, answer.field("grpc-status")), (200, "3"));
    let message = answer.field("grpc-message");
    assert!(message.starts_with("invalid_request: "), "{message}");
    assert!(message.ends_with("; /query/n: is a string; give a whole number (type)"), "{message}");
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (backend, node) = start(SHOP);
    let mut wire = node.wire().await;
    let whole =
        request("PUT /shop/orders/7", &["content-type: application/json"], "{\"sku\":\"a\"}");
    wire.send(&whole[..whole.len() - 3]).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.code().as_str()), (408, "request_timeout"));
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn an_answer_that_is_not_as_it_must_be_is_replaced_and_not_explained() {
    let (backend, node) = start(SHOP);
    let fields = ["content-type: application/json"];
    for (document, status) in
        [("{\"right\":1}", 200), ("{\"wrong\":1}", 502), ("[]", 502), ("{", 502)]
    {
        backend.set_document(document);
        let target = "PUT /shop/orders/7?document&set=content-type:application/json";
        let answer = node.call(target, &fields, "{\"sku\":\"a\"}").await;
        assert_eq!(answer.status, status, "{document} {answer:?}");
        if status == 502 {
            assert_eq!(answer.code(), "invalid_response");
            assert_eq!(answer.json().get("issues"), None);
        } else {
            assert_eq!(answer.body, document.as_bytes());
        }
    }
    for (more, status, code) in [
        ("status=500", 500, None),
        ("status=404", 502, Some("invalid_response")),
        ("size=2000&set=content-type:application/json", 502, Some("response_too_large")),
        ("size=10&stall&set=content-type:application/json", 504, Some("upstream_timeout")),
        ("size=10&cut&set=content-type:application/json", 502, Some("upstream_reset")),
    ] {
        let line = format!("PUT /shop/orders/7?{more}");
        let answer = node.call(&line, &fields, "{\"sku\":\"a\"}").await;
        assert_eq!(answer.status, status, "{more}");
        if let Some(code) = code {
            assert_eq!(answer.code(), code, "{more}");
        }
    }
    let records = node.records(9).await;
    assert_eq!(records[1]["status"], 502);
}

#[tokio::test]
async fn a_fault_of_the_gateway_is_told_as_it_is() {
    let address = Upstream::start("gone").unwrap().address();
    let policies = "policies: [{validate: {json_schema: {response: {type: array}}}}, {validate: {validate: {response: true}, \
                    openapi: {openapi: 3.1.0, paths: {/: {get: {responses: {}}}}}}}]";
    let node = TestNode::with(&published(address, "", policies));
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
}
