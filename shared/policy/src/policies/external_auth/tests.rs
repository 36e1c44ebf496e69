use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body::{Body as _, Frame};
use prost::Message as _;

use super::grpc_service::messages::{
    BoolValue, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderField, HeaderValueOption,
    HttpResponse, HttpStatus, Nothing, OkHttpResponse, Status,
};
use crate::body::{Body, BodyError, BrokenOff};
use crate::policies::AnyPolicy;
use crate::policy::Refusal;
use crate::ports::CallAnswer;
use crate::support::{Met, World, caller, chain, name, request, yaml};
use crate::{Flow, Scope};

const HTTP: &str = "external_auth: {upstream: auth, http: {path: /verify}, take_headers: [x-user, x-groups], take_response_headers: [x-seen, set-cookie]}";
const GRPC: &str = "external_auth: {upstream: auth, grpc: {}, take_headers: [x-user, x-groups], take_response_headers: [x-seen, set-cookie]}";
const UNAVAILABLE: Option<(u16, &str)> = Some((503, "authorization_unavailable"));

fn answer(status: u16, fields: &[(&'static str, &str)], body: &str) -> CallAnswer {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, value.parse().unwrap());
    }
    CallAnswer {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
        body: Some(Bytes::from(body.to_owned())),
        trailers: HeaderMap::new(),
    }
}

fn world(answer: impl Into<Option<CallAnswer>>) -> World {
    let world = World::default();
    world.calls.answers.borrow_mut().push_back(answer.into());
    world
}

/// What a service was asked, once.
fn asked(world: &World) -> Request<Bytes> {
    let mut asked = world.calls.asked.borrow_mut();
    assert_eq!(asked.len(), 1);
    let (tenant, upstream, request) = asked.remove(0);
    assert_eq!((tenant.as_str(), upstream.as_str()), ("default", "auth"));
    request
}

async fn met(policy: &str, answer: impl Into<Option<CallAnswer>>) -> Met {
    world(answer).exchange(&chain(&[policy]), request(&[("x-user", "made-up")])).await
}

/// What is answered in the upstream's place.
async fn answered(
    policy: &str,
    answer: CallAnswer,
    mut request: Request<Body>,
) -> http::Response<Body> {
    let (world, chain) = (world(answer), chain(&[policy]));
    let mut cx = world.cx();
    match chain.on_request(&mut cx, &mut request, &mut Default::default()).await {
        Flow::Answer(response) => *response,
        other @ (Flow::Next(()) | Flow::Refuse(_)) => panic!("{other:?}"),
    }
}

fn bytes(body: &mut Body) -> Vec<u8> {
    let mut whole = Vec::new();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut cx) {
        whole.extend(frame.unwrap().into_data().unwrap_or_default());
    }
    whole
}

#[tokio::test]
async fn a_service_is_told_of_the_request_and_never_in_the_clients_words() {
    let world = world(answer(200, &[], ""));
    let policy = "external_auth: {upstream: auth, http: {path: '/verify?of=a', headers: {x-app: '{application}', x-tenant: '{tenant}'}}}";
    let world = World {
        identity: Some(std::sync::Arc::new(caller("web-shop", "first"))),
        scheme: "https",
        ..world
    };
    let sent = request(&[
        ("authorization", "Bearer abc"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("traceparent", "00-1-2-03"),
        ("x-other", "1"),
        ("x-app", "spoofed"),
        ("x-forwarded-uri", "/public"),
        ("x-forwarded-method", "HEAD"),
        ("x-forwarded-host", "evil.test"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-request-id", "theirs"),
    ]);
    let met = world.exchange(&chain(&[policy]), sent).await;
    assert_eq!(met.refused(), None);
    let asked = asked(&world);
    assert_eq!((asked.method(), asked.uri().to_string().as_str()), (&Method::GET, "/verify?of=a"));
    let mut fields: Vec<String> = asked
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "authorization: Bearer abc",
            "cookie: a=1; b=2",
            "host: api.shop.test",
            "traceparent: 00-1-2-03",
            "x-app: web-shop",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-host: api.shop.test",
            "x-forwarded-method: GET",
            "x-forwarded-proto: https",
            "x-forwarded-uri: /items/7?color=red&color=blue",
            "x-request-id: request-1",
            "x-tenant: default",
        ]
    );
    assert_eq!(world.calls.bounds.get(), Some((Duration::from_millis(200), 64 << 10)));
    assert!(asked.body().is_empty());
}

#[tokio::test]
async fn the_path_is_the_one_that_the_route_was_found_by() {
    for (path, seen) in [
        ("/%61dmin/%2dx?q=%61", "/admin/-x?q=%61"),
        ("/a%2fb", "/a%2Fb"),
        ("/%C3%BC?", "/%C3%BC?"),
        ("/", "/"),
    ] {
        for (place, prefix) in
            [("path: /verify", ""), ("prefix: /auth/", "/auth"), ("prefix: /", "")]
        {
            let world = world(answer(200, &[], ""));
            let policy = format!("external_auth: {{upstream: auth, http: {{{place}}}}}");
            let sent = Request::get(path).body(Body::Empty).unwrap();
            world.exchange(&chain(&[&policy]), sent).await;
            let asked = asked(&world);
            assert_eq!(asked.headers()["x-forwarded-uri"], seen);
            if place != "path: /verify" {
                assert_eq!(asked.uri().to_string(), format!("{prefix}{seen}"));
            }
        }
    }
}

#[tokio::test]
async fn a_target_that_is_too_long_behind_its_prefix_is_refused_unasked() {
    let world = world(answer(200, &[], ""));
    let sent = Request::get(format!("/{}", "a".repeat(65_530))).body(Body::Empty).unwrap();
    let policy = "external_auth: {upstream: auth, http: {prefix: /auth}, on_failure: allow}";
    let met = world.exchange(&chain(&[policy]), sent).await;
    assert_eq!(met.refused(), Some((414, "target_too_long")));
    assert!(world.calls.asked.borrow().is_empty());
}

#[tokio::test]
async fn methods_are_as_written_or_the_clients() {
    for (method, client, expected, length) in [
        ("GET", "DELETE", "GET", None),
        ("HEAD", "POST", "HEAD", None),
        ("POST", "GET", "POST", Some("0")),
        ("same", "DELETE", "DELETE", None),
        ("same", "PUT", "PUT", Some("0")),
    ] {
        let world = world(answer(204, &[], ""));
        let policy = format!("external_auth: {{upstream: auth, http: {{method: {method}}}}}");
        let sent = Request::builder().method(client).uri("/").body(Body::Empty).unwrap();
        assert_eq!(world.exchange(&chain(&[&policy]), sent).await.refused(), None);
        let asked = asked(&world);
        assert_eq!(asked.method().as_str(), expected);
        let said = asked.headers().get("content-length").map(|value| value.to_str().unwrap());
        assert_eq!(said, length, "{method} {client}");
        assert_eq!(asked.headers()["x-forwarded-method"], client);
    }
}

#[tokio::test]
async fn what_is_taken_is_the_services_and_what_the_client_made_up_goes() {
    let given = answer(
        200,
        &[("x-user", "ada"), ("x-groups", "a"), ("x-groups", "b"), ("x-other", "1")],
        "",
    );
    let met = met(HTTP, given).await;
    assert_eq!((met.refused(), met.sent("x-user"), met.sent("x-other")), (None, Some("ada"), None));
    let groups: Vec<_> = met.request.headers().get_all("x-groups").iter().collect();
    assert_eq!(groups, ["a", "b"]);
    for given in [Some(answer(200, &[], "")), Some(answer(401, &[], "")), None] {
        for on_failure in ["refuse", "allow"] {
            let policy = HTTP.replace(", take_r", &format!(", on_failure: {on_failure}, take_r"));
            let met = self::met(&policy, given.clone()).await;
            assert_eq!(met.sent("x-user"), None, "{on_failure}");
        }
    }
}

#[tokio::test]
async fn a_field_that_is_sent_to_the_service_may_come_back_as_another() {
    let policy = "external_auth: {upstream: auth, http: {}, take_headers: [authorization]}";
    for (given, onward) in
        [(&[("authorization", "Bearer new")][..], Some("Bearer new")), (&[], None)]
    {
        let world = world(answer(200, given, ""));
        let met = world.exchange(&chain(&[policy]), request(&[("authorization", "old")])).await;
        assert_eq!(asked(&world).headers()["authorization"], "old");
        assert_eq!(met.sent("authorization"), onward);
    }
}

#[tokio::test]
async fn the_client_gets_what_is_for_it_beside_the_upstreams_answer() {
    let given = answer(
        200,
        &[("x-seen", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-user", "ada")],
        "",
    );
    let sets =
        "headers: {response: {set: {x-seen: upstream, set-cookie: c=3}, add: {x-seen: twice}}}";
    let met = world(given).exchange(&chain(&[HTTP, sets]), request(&[])).await;
    assert_eq!(met.answered("x-seen"), ["1"]);
    assert_eq!(met.answered("set-cookie"), ["c=3", "a=1", "b=2"]);
    assert!(met.answered("x-user").is_empty());
}

#[tokio::test]
async fn a_denial_goes_to_the_client_with_what_is_listed_of_it() {
    let given = answer(
        403,
        &[
            ("content-type", "text/html"),
            ("content-encoding", "gzip"),
            ("www-authenticate", "Basic"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("x-inside", "secret"),
            ("content-length", "99"),
        ],
        "<p>no</p>",
    );
    let mut response = answered(HTTP, given.clone(), request(&[])).await;
    assert_eq!(response.status(), 403);
    let fields = response.headers();
    assert_eq!(
        (&fields["content-type"], &fields["content-encoding"]),
        (&"text/html".parse().unwrap(), &"gzip".parse().unwrap())
    );
    assert_eq!(
        (&fields["www-authenticate"], &fields["content-length"]),
        (&"Basic".parse().unwrap(), &"9".parse().unwrap())
    );
    assert_eq!(fields["cache-control"], "no-store");
    assert_eq!(fields.get_all("set-cookie").iter().count(), 2);
    assert!(!fields.contains_key("x-inside"));
    assert_eq!(bytes(response.body_mut()), b"<p>no</p>");
    let mut head = request(&[]);
    *head.method_mut() = Method::HEAD;
    let mut response = answered(HTTP, given.clone(), head).await;
    assert_eq!(
        (bytes(response.body_mut()), &response.headers()["content-length"]),
        (vec![], &"9".parse().unwrap())
    );
    let policy = "external_auth: {upstream: auth, http: {}, deny_headers: [x-inside]}";
    let response = answered(policy, given, request(&[])).await;
    let fields = response.headers();
    assert_eq!((fields.contains_key("x-inside"), fields.contains_key("set-cookie")), (true, false));
}

#[tokio::test]
async fn a_redirect_goes_to_the_client_as_it_is_and_is_not_kept() {
    for status in [301, 302, 303, 307, 308] {
        let given = answer(status, &[("location", "https://id.test/login?to=%2F")], "");
        let mut response = answered(HTTP, given, request(&[])).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["location"], "https://id.test/login?to=%2F");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert!(bytes(response.body_mut()).is_empty());
    }
    let given = answer(301, &[("location", "/x"), ("cache-control", "max-age=60")], "");
    let response = answered(HTTP, given, request(&[])).await;
    let said: Vec<_> = response.headers().get_all("cache-control").iter().collect();
    assert_eq!(said, ["max-age=60"]);
}

#[tokio::test]
async fn a_denial_without_a_body_and_one_of_grpc_are_refusals_of_ours() {
    let fields = [
        ("www-authenticate", "Bearer"),
        ("content-type", "text/html"),
        ("cache-control", "private"),
    ];
    for (status, code) in
        [(401, "unauthenticated"), (403, "forbidden"), (404, "forbidden"), (429, "forbidden")]
    {
        let met = met(HTTP, answer(status, &fields, "")).await;
        assert_eq!(met.refused(), Some((status, code)));
        assert_eq!(met.answered("www-authenticate"), ["Bearer"]);
        assert!(
            met.answered("content-type").is_empty() && met.answered("cache-control").is_empty()
        );
        // A body that could not be had denies as well.
        let given = CallAnswer { body: None, ..answer(status, &fields, "") };
        let policy = HTTP.replace(", take_r", ", on_failure: allow, take_r");
        assert_eq!(self::met(&policy, given).await.refused(), Some((status, code)));
    }
    let world = world(answer(403, &fields, "<p>no</p>"));
    let sent = request(&[("content-type", "application/grpc+proto")]);
    assert_eq!(world.exchange(&chain(&[HTTP]), sent).await.refused(), Some((403, "forbidden")));
}

#[tokio::test]
async fn without_a_verdict_it_is_refused_or_goes_on_as_the_operator_says() {
    let unclear = [101, 300, 304, 305, 500, 502, 503, 504, 599, 600, 999];
    for given in unclear
        .map(|status| Some(answer(status, &[("x-user", "ada")], "")))
        .into_iter()
        .chain([None])
    {
        let case = format!("{given:?}");
        let (world, refusing) = (world(given.clone()), chain(&[HTTP]));
        let met = world.exchange(&refusing, request(&[])).await;
        assert_eq!(met.refused(), UNAVAILABLE, "{case}");
        assert_eq!(met.answered("retry-after"), ["1"]);
        assert_eq!(world.calls.failures.get(), 1);
        let world = self::world(given);
        let policy = HTTP.replace(", take_r", ", on_failure: allow, take_r");
        let met = world.exchange(&chain(&[&policy]), request(&[("x-user", "made-up")])).await;
        assert_eq!((met.refused(), met.sent("x-user")), (None, None), "{case}");
        assert_eq!(world.calls.failures.get(), 1);
    }
}

#[tokio::test]
async fn more_fields_than_one_message_has_are_no_grant() {
    let many: Vec<(&str, &str)> = (0..129).map(|_| ("x-groups", "a")).collect();
    assert_eq!(met(HTTP, answer(200, &many, "")).await.refused(), UNAVAILABLE);
    assert_eq!(met(HTTP, answer(200, &many[1..], "")).await.refused(), None);
    let many: Vec<(&str, &str)> = (0..129).map(|_| ("set-cookie", "a")).collect();
    assert_eq!(met(HTTP, answer(200, &many, "")).await.refused(), UNAVAILABLE);
    let met = met(HTTP, answer(403, &many, "")).await;
    assert_eq!((met.refused(), met.answered("set-cookie").len()), (Some((403, "forbidden")), 128));
}

#[tokio::test]
async fn several_are_all_asked_and_each_must_let_it_through() {
    let others = HTTP.replace("upstream: auth", "upstream: other");
    for (first, second, refused) in [
        (200, 200, None),
        (200, 403, Some((403, "forbidden"))),
        (401, 200, Some((401, "unauthenticated"))),
    ] {
        let world = World::default();
        world
            .calls
            .answers
            .borrow_mut()
            .extend([Some(answer(first, &[], "")), Some(answer(second, &[], ""))]);
        let met = world.exchange(&chain(&[HTTP, &others]), request(&[])).await;
        assert_eq!(met.refused(), refused);
        assert_eq!(world.calls.asked.borrow().len(), if first == 200 { 2 } else { 1 });
    }
}

#[tokio::test]
async fn it_is_asked_after_it_is_known_who_calls() {
    let world = world(answer(200, &[], "")).with_caller("sk-1", caller("web-shop", "first"));
    let policy = "external_auth: {upstream: auth, http: {headers: {x-app: '{application}'}}}";
    let met =
        world.exchange(&chain(&[policy, "api_key: {}"]), request(&[("x-api-key", "sk-1")])).await;
    assert_eq!(met.refused(), None);
    assert_eq!(asked(&world).headers()["x-app"], "web-shop");
    let met = world.exchange(&chain(&[policy, "api_key: {}"]), request(&[])).await;
    assert_eq!((met.refused().unwrap().0, world.calls.asked.borrow().len()), (401, 0));
}

#[tokio::test]
async fn an_answer_to_who_was_let_through_is_nobody_elses() {
    let (world, chain) = (world(answer(200, &[], "")), chain(&[HTTP]));
    let (mut cx, mut sent) = (world.cx(), request(&[]));
    assert!(!cx.cache.is_personal);
    let flow = chain.on_request(&mut cx, &mut sent, &mut Default::default()).await;
    assert!(matches!(flow, Flow::Next(())) && cx.cache.is_personal);
    let lead = crate::stored::Lead::new(Box::new(()));
    cx.cache.refresh = Some(lead);
    assert!(cx.cache.take_refresh().unwrap().is_personal);
    assert!(cx.cache.take_refresh().is_none());
}

#[test]
fn it_stands_anywhere_and_is_no_way_to_say_who_calls() {
    let compile = |policy: &str, config: &str, place: &str| {
        let scope = Scope { place, parameters: None };
        AnyPolicy::compile(policy, &yaml(config), scope).err().map(|issues| {
            issues.0.into_iter().map(|issue| (issue.at, issue.code)).collect::<Vec<_>>()
        })
    };
    let config = "{upstream: auth, http: {}}";
    let wrong = |at: &str| Some(vec![(at.to_owned(), "wrong_place".to_owned())]);
    for place in ["Gateway/default/default", "Tenant/default/acme"] {
        assert_eq!(compile("external_auth", config, place), None, "{place}");
    }
    let ways = format!("[{{api_key: {{}}}}, {{external_auth: {config}}}]");
    assert_eq!(compile("any_of", &ways, "Api/default/a"), wrong("/1/external_auth"));
}

#[test]
fn upstream_and_secrets_must_be_there() {
    let policy = crate::support::policy(
        "external_auth: {upstream: auth, http: {headers: {authorization: 'Bearer {secret.token}'}}}",
    );
    let named: Vec<String> =
        policy.references(&name("acme")).iter().map(ToString::to_string).collect();
    assert_eq!(named, ["Upstream acme/auth", "Secret acme/token"]);
    let policy = crate::support::policy(
        "external_auth: {upstream: opa, grpc: {context: {a: '{secret.b}'}}}",
    );
    assert_eq!(policy.references(&name("acme")).len(), 2);
}

/// A body in pieces; after the last it ends, breaks off, or never ends.
struct Pieces {
    pieces: Vec<&'static str>,
    end: End,
    trailers: Option<HeaderMap>,
    length: Option<u64>,
}

#[derive(Clone, Copy)]
enum End {
    Whole,
    Broken,
    Refused,
    Never,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.pieces.is_empty() {
            let piece = Bytes::from_static(self.pieces.remove(0).as_bytes());
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Broken => Poll::Ready(Some(Err("gone".into()))),
            End::Refused => {
                let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "earlier", "x");
                Poll::Ready(Some(Err(Box::new(BrokenOff(Box::new(refusal))))))
            }
            End::Never => Poll::Pending,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length.map_or_else(Default::default, http_body::SizeHint::with_exact)
    }
}

fn upload(pieces: &[&'static str], end: End) -> Request<Body> {
    let body = Pieces { pieces: pieces.to_vec(), end, trailers: None, length: None };
    Request::post("/items")
        .header("content-type", "application/json")
        .header("content-encoding", "gzip")
        .body(Body::stream(body))
        .unwrap()
}

const WITH_BODY: &str =
    "external_auth: {upstream: auth, http: {method: POST}, send_body: {max: 8B, wait: 2s}}";

#[tokio::test]
async fn a_body_is_sent_to_the_service_and_goes_on_whole() {
    let bodies = [
        (upload(&["1234", "", "5678"], End::Whole), "12345678"),
        (upload(&[], End::Whole), ""),
        (Request::post("/").body(Body::from(Bytes::from_static(b"full"))).unwrap(), "full"),
        (Request::post("/").body(Body::Empty).unwrap(), ""),
    ];
    for (sent, text) in bodies {
        let world = world(answer(200, &[], ""));
        let mut met = world.exchange(&chain(&[WITH_BODY]), sent).await;
        assert_eq!(met.refused(), None);
        let asked = asked(&world);
        assert_eq!(asked.body(), text);
        assert_eq!(asked.headers().contains_key("content-length"), text.is_empty());
        if text.len() == 8 {
            assert_eq!(
                (&asked.headers()["content-type"], &asked.headers()["content-encoding"]),
                (&"application/json".parse().unwrap(), &"gzip".parse().unwrap())
            );
        }
        assert_eq!(
            met.request.body().size_hint().exact(),
            Some(u64::try_from(text.len()).unwrap())
        );
        assert_eq!(bytes(met.request.body_mut()), text.as_bytes());
    }
}

#[tokio::test]
async fn trailers_of_a_held_body_go_on_behind_it() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    let body =
        Pieces { pieces: vec!["abc"], end: End::Whole, trailers: Some(trailers), length: None };
    let sent = Request::post("/").body(Body::stream(body)).unwrap();
    let mut met = world(answer(200, &[], "")).exchange(&chain(&[WITH_BODY]), sent).await;
    let body = met.request.body_mut();
    assert!(!body.is_end_stream() && body.size_hint().exact().is_none());
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut frames = std::iter::from_fn(|| match Pin::new(&mut *body).poll_frame(&mut cx) {
        Poll::Ready(frame) => frame.map(Result::unwrap),
        Poll::Pending => None,
    });
    assert_eq!(frames.next().unwrap().into_data().unwrap(), "abc");
    assert_eq!(frames.next().unwrap().into_trailers().unwrap()["x-checksum"], "1");
    assert!(frames.next().is_none());
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_or_left_out_and_goes_on_whole() {
    let large = |length| {
        let pieces = vec!["12345678", "9", "and more"];
        let body = Pieces { pieces, end: End::Whole, trailers: None, length };
        Request::post("/").body(Body::stream(body)).unwrap()
    };
    let omitting = WITH_BODY.replace("max: 8B", "max: 8B, on_larger: omit");
    for length in [None, Some(17)] {
        let world = World::default();
        let met = world.exchange(&chain(&[WITH_BODY]), large(length)).await;
        assert_eq!(met.refused(), Some((413, "body_too_large")));
        assert!(world.calls.asked.borrow().is_empty());
        let world = self::world(answer(200, &[], ""));
        let mut met = world.exchange(&chain(&[&omitting]), large(length)).await;
        assert_eq!(met.refused(), None);
        let asked = asked(&world);
        assert!(asked.body().is_empty() && !asked.headers().contains_key("content-type"));
        assert_eq!(bytes(met.request.body_mut()), b"123456789and more");
    }
    let full = Request::post("/").body(Body::from(Bytes::from_static(b"123456789"))).unwrap();
    let met = World::default().exchange(&chain(&[WITH_BODY]), full).await;
    assert_eq!(met.refused(), Some((413, "body_too_large")));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_or_breaks_off_is_refused_unasked() {
    for (end, refused) in [
        (End::Never, (408, "request_timeout")),
        (End::Broken, (400, "malformed_request")),
        (End::Refused, (413, "earlier")),
    ] {
        let (world, began) = (World::default(), tokio::time::Instant::now());
        let policy = WITH_BODY.replace(", send_body", ", on_failure: allow, send_body");
        let met = world.exchange(&chain(&[&policy]), upload(&["12"], end)).await;
        assert_eq!(met.refused(), Some(refused));
        assert!(world.calls.asked.borrow().is_empty());
        let waited = Duration::from_secs(if matches!(end, End::Never) { 2 } else { 0 });
        assert!(began.elapsed() >= waited && began.elapsed() < waited + Duration::from_millis(10));
    }
}

/// An answer of gRPC with one message and this status behind it.
fn grpc_answer(message: &CheckResponse, status: &str) -> CallAnswer {
    let message = message.encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    framed_answer(body, status)
}

fn framed_answer(body: impl Into<Bytes>, status: &str) -> CallAnswer {
    let mut given = answer(200, &[("content-type", "application/grpc")], "");
    given.body = Some(body.into());
    given.trailers.insert("grpc-status", status.parse().unwrap());
    given
}

fn check(code: impl Into<Option<i32>>, http: Option<HttpResponse>) -> CheckResponse {
    CheckResponse { status: code.into().map(|code| Status { code }), http_response: http }
}

fn option(key: &str, value: &str, append: Option<bool>) -> HeaderValueOption {
    let header =
        HeaderField { key: key.to_owned(), value: value.to_owned(), ..HeaderField::default() };
    HeaderValueOption { header: Some(header), append: append.map(|value| BoolValue { value }) }
}

fn ok(headers: Vec<HeaderValueOption>) -> Option<HttpResponse> {
    Some(HttpResponse::Ok(OkHttpResponse { headers, ..OkHttpResponse::default() }))
}

fn denial(status: i32, headers: Vec<HeaderValueOption>, body: &str) -> Option<HttpResponse> {
    let status = (status != 0).then_some(HttpStatus { code: status });
    Some(HttpResponse::Denied(DeniedHttpResponse { status, headers, body: body.to_owned() }))
}

#[tokio::test]
async fn a_grpc_service_is_asked_with_envoys_message() {
    let world = world(grpc_answer(&check(0, None), "0"));
    let policy = "external_auth: {upstream: auth, grpc: {context: {tenant: '{tenant}'}}, timeout: 1s, send_body: {}}";
    let mut sent = upload(&["{}"], End::Whole);
    *sent.version_mut() = Version::HTTP_2;
    *sent.uri_mut() = "https://api.test:8443/%61?x=1".parse().unwrap();
    for (field, value) in
        [("cookie", "a=1"), ("cookie", "b=2"), ("traceparent", "00-1"), ("x-other", "1")]
    {
        sent.headers_mut().append(field, value.parse().unwrap());
    }
    assert_eq!(world.exchange(&chain(&[policy]), sent).await.refused(), None);
    let asked = asked(&world);
    assert_eq!(
        (asked.method(), asked.uri().path()),
        (&Method::POST, "/envoy.service.auth.v3.Authorization/Check")
    );
    for (field, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "1000m"),
        ("traceparent", "00-1"),
        ("x-request-id", "request-1"),
        ("host", "api.test:8443"),
    ] {
        assert_eq!(asked.headers()[field], value);
    }
    let body = asked.body();
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
    assert_eq!((body[0], usize::try_from(length).unwrap()), (0, body.len() - 5));
    let attributes = CheckRequest::decode(&body[5..]).unwrap().attributes.unwrap();
    assert_eq!(attributes.context_extensions["tenant"], "default");
    let address = attributes.source.unwrap().address.unwrap().socket_address.unwrap();
    assert_eq!(address.address, "192.0.2.7");
    let about = attributes.request.unwrap();
    assert_eq!(about.time.unwrap().seconds, 1_700_000_000);
    let about = about.http.unwrap();
    assert_eq!(
        (about.id.as_str(), about.method.as_str(), about.scheme.as_str()),
        ("request-1", "POST", "http")
    );
    assert_eq!((about.path.as_str(), about.host.as_str()), ("/a?x=1", "api.test:8443"));
    assert_eq!((about.protocol.as_str(), about.body.as_str(), about.size), ("HTTP/2", "{}", 2));
    let headers: Vec<(&str, &str)> =
        about.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("content-encoding", "gzip"),
            ("content-type", "application/json"),
            ("cookie", "a=1; b=2"),
            ("traceparent", "00-1")
        ]
    );
}

#[tokio::test]
async fn a_body_that_is_no_text_is_sent_as_bytes() {
    let world = world(grpc_answer(&check(0, None), "0"));
    let policy = "external_auth: {upstream: auth, grpc: {}, send_body: {}}";
    let sent = Request::post("/").body(Body::from(Bytes::from_static(b"\xff\x00"))).unwrap();
    world.exchange(&chain(&[policy]), sent).await;
    let message = CheckRequest::decode(&asked(&world).body()[5..]).unwrap();
    let about = message.attributes.unwrap().request.unwrap().http.unwrap();
    assert_eq!((about.body.as_str(), &about.raw_body[..]), ("", &b"\xff\x00"[..]));
}

#[tokio::test]
async fn the_field_numbers_are_those_of_envoys_files() {
    // By hand: `status` 1 {`code` 1: 0}, `ok_response` 3 {`headers` 2 {`header` 1 {`key` 1, `value` 2}},
    // `headers_to_remove` 5, `response_headers_to_add` 6}, and a field that nobody knows.
    let header = |key: &[u8], value: &[u8]| {
        let lengths = [u8::try_from(key.len()).unwrap(), u8::try_from(value.len()).unwrap()];
        let field = [&[0x0a, lengths[0]], key, &[0x12, lengths[1]], value].concat();
        let length = u8::try_from(field.len()).unwrap();
        [&[length + 2, 0x0a, length][..], &field].concat()
    };
    let grant = [
        &[0x12][..],
        &header(b"X-User", b"ada"),
        &[0x2a, 8],
        b"x-remove",
        &[0x32],
        &header(b"x-seen", b"1"),
    ]
    .concat();
    let length = u8::try_from(grant.len()).unwrap();
    let message = [&[0x0a, 2, 0x08, 0, 0x1a, length][..], &grant, &[0x78, 1]].concat();
    let body = [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()][..], &message].concat();
    let world = world(framed_answer(body, "0"));
    let met =
        world.exchange(&chain(&[GRPC]), request(&[("x-remove", "1"), ("x-user", "made-up")])).await;
    assert_eq!(
        (met.refused(), met.sent("x-user"), met.sent("x-remove")),
        (None, Some("ada"), None)
    );
    assert_eq!(met.answered("x-seen"), ["1"]);
}

#[tokio::test]
async fn a_grant_of_grpc_sets_what_is_listed_and_nothing_else() {
    let grant = OkHttpResponse {
        headers: vec![
            option("x-user", "first", None),
            option("X-User", "ada", Some(false)),
            option("x-groups", "a", Some(true)),
            option("x-groups", "b", Some(true)),
            option("x-admin", "yes", None),
            option("host", "evil.test", None),
        ],
        headers_to_remove: ["x-gone", "host", "Content-Length", ":path", "no name", ""]
            .map(str::to_owned)
            .to_vec(),
        response_headers_to_add: vec![
            option("set-cookie", "a=1", None),
            option("set-cookie", "b=2", None),
            option("x-not", "1", None),
        ],
    };
    let world = world(grpc_answer(&check(0, Some(HttpResponse::Ok(grant))), "0"));
    let sent = request(&[
        ("x-user", "made-up"),
        ("x-gone", "1"),
        ("host", "api.test"),
        ("content-length", "0"),
    ]);
    let met = world.exchange(&chain(&[GRPC]), sent).await;
    assert_eq!(
        (met.refused(), met.sent("x-user"), met.sent("x-admin"), met.sent("x-gone")),
        (None, Some("ada"), None, None)
    );
    assert_eq!((met.sent("host"), met.sent("content-length")), (Some("api.test"), Some("0")));
    let groups: Vec<_> = met.request.headers().get_all("x-groups").iter().collect();
    assert_eq!(groups, ["a", "b"]);
    assert_eq!((met.answered("set-cookie"), met.answered("x-not")), (vec!["a=1", "b=2"], vec![]));
}

#[tokio::test]
async fn no_value_of_a_grpc_service_begins_another_field() {
    for bad in ["ada\r\nx-admin: yes", "ada\nb", "a\0b"] {
        let given = grpc_answer(&check(0, ok(vec![option("x-user", bad, None)])), "0");
        assert_eq!(met(GRPC, given).await.refused(), UNAVAILABLE, "{bad:?}");
        // A refusal stays one.
        let http = denial(401, vec![option("www-authenticate", bad, None)], "");
        let met = met(GRPC, grpc_answer(&check(7, http), "0")).await;
        assert_eq!(
            (met.refused(), met.answered("www-authenticate")),
            (Some((401, "unauthenticated")), vec![])
        );
    }
}

#[tokio::test]
async fn a_denial_of_grpc_has_the_services_status_fields_and_body() {
    let headers = || {
        vec![
            option("Location", "https://id.test/", None),
            option("content-type", "text/plain", None),
            option("x-inside", "1", None),
        ]
    };
    let mut response =
        answered(GRPC, grpc_answer(&check(7, denial(302, headers(), "go")), "0"), request(&[]))
            .await;
    assert_eq!((response.status().as_u16(), bytes(response.body_mut())), (302, b"go".to_vec()));
    let fields = response.headers();
    assert_eq!(
        (&fields["location"], &fields["content-type"]),
        (&"https://id.test/".parse().unwrap(), &"text/plain".parse().unwrap())
    );
    assert!(!fields.contains_key("x-inside"));
    for (status, code, expected) in [
        (0, 7, 403),
        (0, 16, 401),
        (429, 7, 429),
        (503, 7, 503),
        (200, 7, 403),
        (304, 16, 401),
        (-1, 7, 403),
        (70_000, 7, 403),
        // What denies is no grant, whatever stands beside it.
        (403, 0, 403),
    ] {
        let given = grpc_answer(&check(code, denial(status, vec![], "")), "0");
        assert_eq!(
            met(GRPC, given).await.refused().map(|(status, _)| status),
            Some(expected),
            "{status} {code}"
        );
    }
    for code in [1, 7, 16, -1] {
        for http in [None, ok(vec![option("x-user", "ada", None)])] {
            let expected = if code == 16 { (401, "unauthenticated") } else { (403, "forbidden") };
            assert_eq!(
                met(GRPC, grpc_answer(&check(code, http), "0")).await.refused(),
                Some(expected)
            );
        }
    }
}

#[tokio::test]
async fn the_status_of_a_grpc_call_denies_or_says_nothing() {
    let open = GRPC.replace(", take_r", ", on_failure: allow, take_r");
    for (status, refused) in [
        ("7", Some((403, "forbidden"))),
        ("16", Some((401, "unauthenticated"))),
        ("14", None),
        ("2", None),
        ("4", None),
        ("x", None),
        ("", None),
    ] {
        let behind = framed_answer("", status);
        let mut in_head =
            answer(200, &[("content-type", "application/grpc+proto"), ("grpc-status", status)], "");
        in_head.body = None;
        for given in [behind, in_head] {
            assert_eq!(met(&open, given.clone()).await.refused(), refused, "{status}");
            assert_eq!(met(GRPC, given).await.refused(), refused.or(UNAVAILABLE), "{status}");
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_of_grpc_is_no_verdict() {
    let good = grpc_answer(&check(0, None), "0");
    let body = good.body.clone().unwrap();
    let mut compressed = body.to_vec();
    compressed[0] = 1;
    let cases = [
        CallAnswer { status: StatusCode::FORBIDDEN, ..good.clone() },
        CallAnswer { headers: HeaderMap::new(), ..good.clone() },
        CallAnswer { trailers: HeaderMap::new(), ..good.clone() },
        CallAnswer { body: None, ..good.clone() },
        answer(200, &[("content-type", "text/html"), ("grpc-status", "0")], "hello"),
        framed_answer("", "0"),
        framed_answer(&b"\0\0\0\0"[..], "0"),
        framed_answer(body[..body.len() - 1].to_vec(), "0"),
        framed_answer([&body[..], &[0]].concat(), "0"),
        framed_answer([&body[..], &body[..]].concat(), "0"),
        framed_answer(compressed, "0"),
        framed_answer(&b"\0\xff\xff\xff\xff"[..], "0"),
        framed_answer(&b"\0\0\0\0\x02\xff\xff"[..], "0"),
        // Says nothing, or that it has failed.
        grpc_answer(&check(None, None), "0"),
        grpc_answer(&check(0, Some(HttpResponse::Error(Nothing {}))), "0"),
        grpc_answer(&check(7, Some(HttpResponse::Error(Nothing {}))), "0"),
    ];
    for given in cases {
        let case = format!("{given:?}");
        assert_eq!(met(GRPC, given).await.refused(), UNAVAILABLE, "{case}");
    }
    assert_eq!(met(GRPC, good).await.refused(), None);
    assert_eq!(met(GRPC, grpc_answer(&check(None, ok(vec![])), "0")).await.refused(), None);
}

#[tokio::test]
async fn a_flood_of_fields_is_no_grant() {
    let many =
        |key: &str, count| (0..count).map(|_| option(key, "a", Some(true))).collect::<Vec<_>>();
    for (key, count, refused) in [
        ("x-user", 128, None),
        ("x-user", 129, UNAVAILABLE),
        ("x-user", 40_000, UNAVAILABLE),
        ("x-other", 40_000, None),
    ] {
        let given = grpc_answer(&check(0, ok(many(key, count))), "0");
        assert_eq!(met(GRPC, given).await.refused(), refused, "{key} {count}");
    }
    let grant = OkHttpResponse {
        headers_to_remove: vec!["x".to_owned(); 129],
        ..OkHttpResponse::default()
    };
    let given = grpc_answer(&check(0, Some(HttpResponse::Ok(grant))), "0");
    assert_eq!(met(GRPC, given).await.refused(), UNAVAILABLE);
    let http = denial(403, many("set-cookie", 40_000), "");
    assert_eq!(
        met(GRPC, grpc_answer(&check(7, http), "0")).await.refused(),
        Some((403, "forbidden"))
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
    #[test]
    fn no_bytes_of_a_grpc_service_let_a_request_through_by_chance(body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), is_framed: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let body = if is_framed {
            [&[0, 0, 0, 0, u8::try_from(body.len()).unwrap()][..], &body].concat()
        } else {
            body
        };
        let says = body.get(5..).and_then(|message| CheckResponse::decode(message).ok());
        let says_ok = says.is_some_and(|says| match (says.status, says.http_response) {
            (Some(status), None | Some(HttpResponse::Ok(_))) => status.code == 0,
            (None, Some(HttpResponse::Ok(_))) => true,
            _ => false,
        });
        let met = runtime.block_on(met(GRPC, framed_answer(body, "0")));
        proptest::prop_assert!(met.refused().is_some() || says_ok);
    }
}
