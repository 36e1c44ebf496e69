//! The messages around the bodies.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use serde_json::json;

use super::{answered, bytes, sent, text};
use crate::body::{Body, BodyError, BrokenOff, TooSlow};
use crate::policy::Refusal;
use crate::support::{World, caller, chain, request};
use crate::{Claims, Flow};

/// A body in pieces, and how it ends.
struct Pieces(VecDeque<Result<Bytes, BodyError>>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
    }
}

fn pieces(pieces: impl IntoIterator<Item = Result<Bytes, BodyError>>) -> Body {
    Body::stream(Pieces(pieces.into_iter().collect()))
}

fn piece(text: &'static str) -> Result<Bytes, BodyError> {
    Ok(Bytes::from_static(text.as_bytes()))
}

fn json_answer(body: Body) -> Response<Body> {
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}

fn refused(response: &mut Response<Body>) -> Option<(u16, &'static str)> {
    Refusal::take_from(response).map(|refusal| (refusal.status.as_u16(), refusal.code))
}

#[tokio::test]
async fn a_request_goes_on_with_its_new_body_and_the_fields_of_that() {
    let body = Body::from(Bytes::from_static(b"a=1"));
    let mut request = Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
        .header("content-length", 3)
        .body(body)
        .unwrap();
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        request.headers_mut().insert(name, "x".parse().unwrap());
    }
    let chain = chain(&["transform: {request: {to: json}}"]);
    let met = World::default().exchange(&chain, request).await;
    assert_eq!(met.refused(), None);
    assert_eq!(text(met.request.body()), "{\"a\":\"1\"}");
    let fields: Vec<String> =
        met.request.headers().iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
    assert_eq!(fields, ["content-type: \"application/json\"", "content-length: \"9\""]);
}

#[tokio::test]
async fn the_type_of_a_body_is_what_it_says_unless_it_is_given() {
    for (content_type, body) in [
        ("application/json", "{\"a\":\"1\"}"),
        ("Application/Problem+JSON; x=y", "{\"a\":\"1\"}"),
        ("text/xml", "<a>1</a>"),
        ("application/soap+xml", "<a>1</a>"),
        ("application/x-www-form-urlencoded", "a=1"),
    ] {
        let met = sent("{jq: '{b: .a}'}", content_type, body.as_bytes()).await;
        assert_eq!((met.refused(), text(met.request.body())), (None, "{\"b\":\"1\"}"));
    }
    for content_type in
        ["text/plain", "application/jsonp", "json", "multipart/form-data; boundary=x"]
    {
        let met = sent("{to: json}", content_type, b"a=1").await;
        assert_eq!(met.refused(), Some((415, "unsupported_media_type")));
        let met = sent("{from: form, to: json}", content_type, b"a=1").await;
        assert_eq!(text(met.request.body()), "{\"a\":\"1\"}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_stays_as_it_is() {
    let met = sent("{to: json}", "text/plain", b"").await;
    assert_eq!((met.refused(), met.sent("content-type")), (None, Some("text/plain")));
}

#[tokio::test]
async fn a_request_that_cannot_be_transformed_is_refused_with_its_reason() {
    for (side, body, expected) in [
        ("{jq: .}", "{", (400, "malformed_body")),
        ("{jq: .a.b}", "{\"a\":1}", (422, "untransformable_body")),
        ("{jq: '.[]'}", "[1,2]", (422, "untransformable_body")),
        ("{jq: empty}", "1", (422, "untransformable_body")),
        ("{jq: 'error(\"no\")'}", "1", (422, "untransformable_body")),
        ("{to: xml}", "[1]", (422, "untransformable_body")),
        ("{template: '{{ body.b }}'}", "{}", (422, "untransformable_body")),
        ("{jq: '[., .]', max_body: 7B}", "\"aaaa\"", (413, "body_too_large")),
        ("{template: '{{ body }}{{ body }}', max_body: 7B}", "\"aaaa\"", (413, "body_too_large")),
        ("{jq: ., max_body: 5B}", "\"aaaa\"", (413, "body_too_large")),
    ] {
        let met = sent(side, "application/json", body.as_bytes()).await;
        assert_eq!(met.refused(), Some(expected), "{side}");
    }
}

#[tokio::test]
async fn a_coding_is_refused_with_what_would_be_taken() {
    let request = Request::post("/")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(Body::from(Bytes::from_static(b"x")))
        .unwrap();
    let chain = chain(&["transform: {request: {jq: .}}"]);
    let met = World::default().exchange(&chain, request).await;
    assert_eq!(met.refused(), Some((415, "unsupported_encoding")));
    assert_eq!(met.answered("accept-encoding"), ["identity"]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_as_what_broke_it_off_says() {
    let decompressing = || {
        let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "from_within", "x");
        BodyError::from(BrokenOff(Box::new(refusal)))
    };
    for (error, of_request, of_response) in [
        (BodyError::from(TooSlow), (408, "request_timeout"), (504, "upstream_timeout")),
        (decompressing(), (413, "from_within"), (413, "from_within")),
        ("reset".into(), (400, "malformed_request"), (502, "upstream_reset")),
    ] {
        // An error is taken by its type, so that each half gets its own.
        let again: BodyError = match of_request.1 {
            "request_timeout" => Box::new(TooSlow),
            "from_within" => decompressing(),
            _ => "reset".into(),
        };
        let mut request = request(&[("content-type", "application/json")]);
        *request.body_mut() = pieces([piece("{"), Err(error)]);
        let chain = chain(&["transform: {request: {jq: .}}"]);
        let met = World::default().exchange(&chain, request).await;
        assert_eq!(met.refused(), Some(of_request));
        let answer = json_answer(pieces([piece("{"), Err(again)]));
        let mut answer = answered("{jq: .}", self::request(&[]), answer).await;
        assert_eq!(refused(&mut answer), Some(of_response));
    }
}

#[tokio::test]
async fn a_body_in_pieces_is_read_to_its_end_and_no_further_than_its_bound() {
    let answer = json_answer(pieces([piece("{\"a\""), piece(":"), piece("1}")]));
    let answer = answered("{jq: .a}", request(&[]), answer).await;
    assert_eq!(text(answer.body()), "1");
    let endless = pieces((0..10_000).map(|_| piece("aaaaaaaaaa")));
    let mut answer = answered("{jq: ., max_body: 1KiB}", request(&[]), json_answer(endless)).await;
    assert_eq!(refused(&mut answer), Some((502, "response_too_large")));
}

#[tokio::test]
async fn an_upstream_is_asked_for_a_whole_answer_without_a_coding() {
    let fields = [("range", "bytes=0-1"), ("if-range", "\"a\""), ("accept-encoding", "gzip, br")];
    let met = |policy: &'static str| async move {
        World::default().exchange(&chain(&[policy]), request(&fields)).await
    };
    let with_response = met("transform: {response: {jq: .}}").await;
    assert_eq!(with_response.request.headers().len(), 1);
    assert_eq!(with_response.sent("accept-encoding"), Some("identity"));
    assert_eq!(met("transform: {request: {jq: .}}").await.request.headers().len(), 3);
}

#[tokio::test]
async fn an_answer_has_the_fields_of_its_new_body() {
    let mut answer = json_answer(Body::from(Bytes::from_static(b"{\"a\":\"<\"}")));
    for (name, value) in [
        ("content-length", "9"),
        ("etag", "\"x\""),
        ("accept-ranges", "bytes"),
        ("content-digest", "x"),
        ("cache-control", "max-age=9"),
        ("vary", "origin"),
    ] {
        answer.headers_mut().insert(name, value.parse().unwrap());
    }
    let side = "{template: '<p>{{ body.a }}</p>', content_type: 'text/html; charset=utf-8'}";
    let answer = answered(side, request(&[]), answer).await;
    assert_eq!(text(answer.body()), "<p>&lt;</p>");
    let mut fields: Vec<String> = answer
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "cache-control: max-age=9",
            "content-length: 11",
            "content-type: text/html; charset=utf-8",
            "etag: W/\"x\"",
            "vary: origin",
            "x-content-type-options: nosniff",
        ]
    );
}

#[tokio::test]
async fn answers_that_are_not_meant_stay_as_they_are() {
    let whole = || Body::from(Bytes::from_static(b"not json"));
    let with_status = |status: u16| {
        let mut answer = json_answer(whole());
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        answer
    };
    for status in [204, 205, 304, 199, 300, 404, 500] {
        let answer = answered("{jq: .}", request(&[]), with_status(status)).await;
        assert_eq!((answer.status().as_u16(), bytes(answer.body())), (status, &b"not json"[..]));
    }
    let mut head = request(&[]);
    *head.method_mut() = Method::HEAD;
    let mut answer = json_answer(Body::Empty);
    answer.headers_mut().insert("content-length", "7".parse().unwrap());
    let answer = answered("{jq: .}", head, answer).await;
    assert_eq!(answer.headers()["content-length"], "7");
    let mut answer =
        answered("{jq: ., statuses: [200, 404-499]}", request(&[]), with_status(404)).await;
    assert_eq!(refused(&mut answer), Some((502, "untransformable_response")));
}

#[tokio::test]
async fn an_answer_that_cannot_be_transformed_is_never_passed_on() {
    let json = || json_answer(Body::from(Bytes::from_static(b"{\"secret\":1}")));
    let with = |name: &'static str, value: &'static str| {
        let mut answer = json();
        answer.headers_mut().insert(name, value.parse().unwrap());
        answer
    };
    let mut partial = json();
    *partial.status_mut() = StatusCode::PARTIAL_CONTENT;
    for (side, answer, code) in [
        ("{jq: .a}", with("content-encoding", "gzip"), "encoded_response"),
        ("{jq: .a}", with("content-range", "bytes 0-1/9"), "untransformable_response"),
        ("{jq: .a}", with("content-type", "text/event-stream"), "untransformable_response"),
        ("{jq: .a}", partial, "untransformable_response"),
        ("{jq: '.secret.a'}", json(), "untransformable_response"),
        ("{jq: ., max_body: 3B}", json(), "response_too_large"),
    ] {
        let mut answer = answered(side, request(&[]), answer).await;
        assert!(bytes(answer.body()).is_empty());
        assert_eq!(refused(&mut answer), Some((502, code)), "{side}");
    }
}

#[tokio::test]
async fn what_is_known_of_the_request_is_there_for_both_halves() {
    let claims = json!({"sub": "ada", "roles": ["a"]}).as_object().unwrap().clone();
    let mut world = World {
        identity: Some(Arc::new(caller("web-shop", "first"))),
        claims: Some(Arc::new(Claims { all: claims, ..Claims::default() })),
        ..World::default()
    };
    world.parameters.insert("id".to_owned(), "a%20b".to_owned());
    let fields = [("x-a", "1"), ("x-a", "2"), ("content-type", "application/json")];
    let mut request = request(&fields);
    *request.body_mut() = Body::from(Bytes::from_static(b"{}"));
    let chain = chain(&[
        "transform: {request: {jq: '$request'}, response: {jq: '[.x, $request.claim.roles[0], $request.path.id]'}}",
    ]);
    let (mut carries, mut cx) = (Default::default(), world.cx());
    assert!(matches!(chain.on_request(&mut cx, &mut request, &mut carries).await, Flow::Next(())));
    let seen: serde_json::Value = serde_json::from_str(text(request.body())).unwrap();
    assert_eq!(
        seen,
        json!({
            "path": {"id": "a b"}, "query": {"color": ["red", "blue"]},
            "header": {"x-a": "1, 2", "content-type": "application/json", "accept-encoding": "identity"},
            "claim": {"sub": "ada", "roles": ["a"]}, "application": "web-shop", "credential": "first",
            "client": {"ip": "192.0.2.7"}, "id": "request-1", "tenant": "default", "api": "orders", "route": "item",
            "method": "GET", "host": "api.shop.test",
        })
    );
    let mut answer = json_answer(Body::from(Bytes::from_static(b"{\"x\":1}")));
    chain.on_response(&mut carries, &mut cx, &mut answer).await;
    assert_eq!(text(answer.body()), "[1,\"a\",\"a b\"]");
    assert_eq!(answer.headers()["vary"], "*");
}
