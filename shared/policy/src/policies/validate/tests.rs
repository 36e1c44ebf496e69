use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as _, Frame};
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_model::FromText as _;
use tollgate_model::path::BasePath;

use crate::Body;
use crate::body::{BodyError, BrokenOff};
use crate::chain::{Carries, Chain};
use crate::policy::{Flow, IsRefusal, Refusal};
use crate::support::{Met, World, chain};

const SHOP_30: &str = include_str!("testdata/accept/shop30.yaml");

/// A shop in OpenAPI 3.1.
const SHOP_31: &str = r##"validate:
  validate: {request: true, response: true}
  max_body: 1KiB
  openapi:
    openapi: 3.1.0
    paths:
      /orders/{id}/lines/{line}:
        get:
          parameters:
            - {name: id, in: path, schema: {type: string, format: uuid}}
            - {name: line, in: path, schema: {type: integer}}
            - {name: flags, in: query, schema: {type: array, items: {type: boolean}, maxItems: 2}}
            - {name: range, in: query, explode: false, schema: {type: object, properties: {from: {type: integer}, to: {type: integer}}, required: [from]}}
            - {name: page, in: query, schema: {type: object, properties: {size: {type: integer}, after: {type: string}}, dependentRequired: {after: [size]}}}
            - {name: code, in: query, schema: {type: [string, integer], maxLength: 3, maximum: 50}}
            - {name: json, in: query, content: {application/json: {schema: {type: object, required: [a]}}}}
            - {name: x-ids, in: header, schema: {type: array, items: {type: integer}, uniqueItems: true}}
            - {name: x-point, in: header, explode: true, schema: {type: object, properties: {x: {type: number}}, required: [x]}}
            - {name: theme, in: cookie, schema: {enum: [dark, light]}}
          responses:
            "200": {content: {application/json: {schema: {$ref: "#/components/schemas/Line"}}}}
      /orders:
        post:
          requestBody: {required: true, content: {application/json: {schema: {type: array, items: {$ref: "#/components/schemas/Line"}}}}}
          responses: {"201": {description: Made}, "2XX": {content: {text/plain: {}}}}
        put: {requestBody: {content: {application/json: {schema: {type: object}}}}, responses: {}}
    components:
      schemas:
        Line:
          type: object
          required: [sku]
          properties: {sku: {type: string}, count: {type: integer, exclusiveMinimum: 0}, parts: {type: array, items: {$ref: "#/components/schemas/Line"}}}
          unevaluatedProperties: false
"##;

const LINE: &str = "/orders/123e4567-e89b-12d3-a456-426614174000/lines/2";

/// A body in pieces, with a wait between two, and trailers.
struct Pieces(VecDeque<Result<Bytes, BodyError>>, bool, Option<HeaderMap>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(match self.0.pop_front() {
            Some(piece) => Some(piece.map(Frame::data)),
            None => self.2.take().map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }
}

fn pieces(body: &[u8], size: usize) -> Body {
    Body::stream(Pieces(
        body.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect(),
        false,
        None,
    ))
}

fn post(target: &str, media: &str, body: impl Into<Bytes>) -> Request<Body> {
    let mut request = Request::post(target).header("x-tenant", "a");
    if !media.is_empty() {
        request = request.header("content-type", media);
    }
    request.body(Body::from(body.into())).unwrap()
}

async fn sent(policy: &str, request: Request<Body>) -> Met {
    World::default().exchange(&chain(&[policy]), request).await
}

/// `pointer code` of every issue; the code of another refusal.
fn told(met: &Met) -> Vec<String> {
    let Some(refusal) = &met.refusal else { return Vec::new() };
    if refusal.issues.is_empty() {
        return vec![format!("{} {}", refusal.status.as_u16(), refusal.code)];
    }
    assert_eq!(met.refused(), Some((400, "invalid_request")));
    refusal.issues.iter().map(|issue| format!("{} {}", issue.at, issue.code)).collect()
}

/// Sends a request that the upstream answers so; the answer, and the refusal that stands in its place.
async fn answered(
    policy: &str,
    request: http::request::Builder,
    response: Response<Body>,
) -> (Response<Body>, Option<Box<Refusal>>) {
    let (chain, world): (Chain, World) = (chain(&[policy]), World::default());
    let (mut carries, mut cx) = (Carries::default(), world.cx());
    let mut request = request.body(Body::Empty).unwrap();
    let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
    assert!(matches!(flow, Flow::Next(())), "{flow:?}");
    let mut response = response;
    chain.on_response(&mut carries, &mut cx, &mut response).await;
    let refusal = Refusal::take_from(&mut response);
    (response, refusal)
}

fn whole(body: &mut Body) -> (Vec<u8>, Option<HeaderMap>) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let (mut bytes, mut trailers) = (Vec::new(), None);
    loop {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(None) => return (bytes, trailers),
            Poll::Ready(Some(frame)) => match frame.unwrap().into_data() {
                Ok(data) => bytes.extend(data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Poll::Pending => {}
        }
    }
}

const SCHEMA: &str = "validate: {max_body: 64B, json_schema: {request: {type: object, required: [a], properties: {a: {type: integer}}}}}";

#[tokio::test]
async fn a_body_that_is_as_it_must_be_goes_on_byte_for_byte() {
    for size in [1, 5, 100] {
        let body = b" {\"a\" : 1.0,\n \"b\":\"\\u00e4\"} ".as_slice();
        let request = Request::post("/").header("content-type", "application/vnd.shop+json; v=1");
        let mut met = sent(SCHEMA, request.body(pieces(body, size)).unwrap()).await;
        assert_eq!(met.refused(), None);
        assert_eq!(whole(met.request.body_mut()), (body.to_vec(), None));
    }
    let trailers = HeaderMap::from_iter([("x-checksum".parse().unwrap(), "abc".parse().unwrap())]);
    let body =
        Body::stream(Pieces([Ok(Bytes::from("{\"a\":1}"))].into(), false, Some(trailers.clone())));
    let request = Request::post("/").header("content-type", "application/json").body(body).unwrap();
    let mut met = sent(SCHEMA, request).await;
    assert_eq!(whole(met.request.body_mut()), (b"{\"a\":1}".to_vec(), Some(trailers)));
}

#[tokio::test]
async fn a_body_that_is_not_is_refused_with_every_fault() {
    let long = format!("{{\"a\":1,\"b\":\"{}\"}}", "x".repeat(64));
    for (media, body, faults) in [
        ("application/json", "{\"a\":\"1\"}", &["/body/a type"][..]),
        ("application/json", "[]", &["/body type"]),
        ("application/json", "{\"a\":1,\"a\":2}", &["/body malformed"]),
        ("application/json", "{\"a\":1", &["/body malformed"]),
        ("application/json", "\u{feff}{\"a\":1}", &["/body malformed"]),
        ("application/json", "", &["/body required"]),
        ("application/json", &long, &["413 body_too_large"]),
        ("text/plain", "{\"a\":1}", &["415 unsupported_media_type"]),
        ("", "{\"a\":1}", &["415 unsupported_media_type"]),
        ("json", "{\"a\":1}", &["415 unsupported_media_type"]),
        ("text/json5", "{\"a\":1}", &["415 unsupported_media_type"]),
    ] {
        let met = sent(SCHEMA, post("/", media, body.to_owned())).await;
        assert_eq!(told(&met), faults, "{media} {body}");
        let streamed =
            Request::post("/").header("content-type", media).body(pieces(body.as_bytes(), 7));
        if !media.is_empty() && !body.is_empty() {
            assert_eq!(told(&sent(SCHEMA, streamed.unwrap()).await), faults, "{media} {body}");
        }
    }
    let get = Request::get("/").body(Body::Empty).unwrap();
    assert_eq!(told(&sent(SCHEMA, get).await), [""; 0]);
}

#[tokio::test]
async fn two_media_types_and_codings_are_refused() {
    let mut request = post("/", "application/json", "{\"a\":1}");
    request.headers_mut().append("content-type", "text/plain".parse().unwrap());
    assert_eq!(told(&sent(SCHEMA, request).await), ["415 unsupported_media_type"]);
    let mut request = post("/", "application/json", "{\"a\":1}");
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let met = sent(SCHEMA, request).await;
    assert_eq!(told(&met), ["415 unsupported_encoding"]);
    assert_eq!(met.answered("accept-encoding"), ["identity"]);
}

#[tokio::test]
async fn what_was_decompressed_before_is_checked() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(b"{\"a\":true}").unwrap();
    let mut request = post("/", "application/json", encoder.finish().unwrap());
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let chain = chain(&["decompress: {}", SCHEMA]);
    assert_eq!(told(&World::default().exchange(&chain, request).await), ["/body/a type"]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_as_it_was_broken_off() {
    let refusal = Refusal::new(http::StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "x");
    let broken: [(BodyError, &str); 2] = [
        (Box::new(BrokenOff(Box::new(refusal))), "413 body_too_large"),
        ("reset".into(), "400 malformed_request"),
    ];
    for (error, code) in broken {
        let body = Body::stream(Pieces([Ok(Bytes::from("{")), Err(error)].into(), false, None));
        let request = Request::post("/").header("content-type", "application/json");
        assert_eq!(told(&sent(SCHEMA, request.body(body).unwrap()).await), [code]);
    }
}

/// A body that never comes.
struct Silence;

impl http_body::Body for Silence {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_waited_for_until_its_time_is_over() {
    let request = Request::post("/").header("content-type", "application/json");
    let began = tokio::time::Instant::now();
    let met = sent(SCHEMA, request.body(Body::stream(Silence)).unwrap()).await;
    assert_eq!(told(&met), ["408 request_timeout"]);
    assert_eq!(began.elapsed().as_secs(), 30);
    let response = Response::builder().header("content-type", "application/json");
    let response = response.body(Body::stream(Silence)).unwrap();
    let (_, refusal) = answered(SHOP_31, Request::get(LINE), response).await;
    assert_eq!(refusal.unwrap().code, "upstream_timeout");
}

#[tokio::test]
async fn hostile_bodies_are_given_up() {
    let any = "validate: {max_body: 1MiB, json_schema: {request: {items: {$ref: '#'}}}}";
    let twofold = "validate: {json_schema: {request: {anyOf: [{type: object, properties: {c: {$ref: '#'}}, required: [x]}, {type: object, properties: {c: {$ref: '#'}}, required: [y]}]}}}";
    let nested =
        (0..60).fold("1".to_owned(), |inner, _| format!("{{\"c\":{inner},\"x\":1,\"y\":1}}"));
    for (policy, body) in [
        (any, "[".repeat(500_000)),
        (any, format!("{}{}", "[".repeat(65), "]".repeat(65))),
        (any, format!("[{}0]", "0,".repeat(200_000))),
        (twofold, nested),
    ] {
        let met = sent(policy, post("/", "application/json", body)).await;
        assert_eq!(told(&met), ["413 too_complex"]);
    }
}

#[tokio::test]
async fn an_operation_is_found_below_the_base_path() {
    let at = |base: &str| {
        let mut world = World::default();
        world.route.base_path = BasePath::from_text(base).unwrap();
        world
    };
    let strict = SHOP_30.replace("unknown_operations: allow", "unknown_operations: refuse");
    let chain = chain(&[&strict]);
    for (base, target, method, code) in [
        ("/", "/items/7.json", "GET", None),
        ("/shop", "/shop/items/7.json", "GET", None),
        ("/shop", "/shop/%69tems/7.json", "HEAD", None),
        ("/shop", "/shop/items/7", "GET", Some((404, "unknown_operation"))),
        ("/shop", "/shop", "GET", Some((404, "unknown_operation"))),
        ("/shop", "/shop/items/7.json", "DELETE", Some((405, "unknown_operation"))),
        ("/shop", "/shop/items/x.json", "GET", Some((400, "invalid_request"))),
    ] {
        let request = Request::builder().method(method).uri(target).body(Body::Empty).unwrap();
        let met = at(base).exchange(&chain, request).await;
        assert_eq!(met.refused(), code, "{method} {target}");
        if code.is_some_and(|(status, _)| status == 405) {
            assert_eq!(met.answered("allow"), ["GET"]);
        }
    }
    let unknown = Request::get("/nothing").body(Body::Empty).unwrap();
    assert_eq!(told(&sent(SHOP_30, unknown).await), [""; 0]);
}

#[tokio::test]
async fn parameters_of_every_place_and_style_are_read_and_checked() {
    for (query, faults) in [
        ("", &[][..]),
        ("limit=5&tags=a|b&filter[price]=1.5", &[]),
        ("limit=5&tags=a%7Cb&filter%5Bprice%5D=1.5", &[]),
        ("limit=0", &["/query/limit minimum"]),
        ("limit=05", &["/query/limit type"]),
        ("limit=1&limit=2", &["/query/limit repeated"]),
        ("limit=%ff", &["/query/limit encoding"]),
        ("limit=", &["/query/limit type"]),
        ("filter[price]=x", &["/query/filter/price type"]),
        ("other=1&filter[x]=1", &["/query/other unknown_parameter"]),
        ("%ff=1", &["/query malformed"]),
    ] {
        let request = Request::get(format!("/items?{query}")).header("x-tenant", "a");
        let met = sent(SHOP_30, request.body(Body::Empty).unwrap()).await;
        assert_eq!(told(&met), faults, "{query}");
    }
    let bare = Request::get("/items").body(Body::Empty).unwrap();
    assert_eq!(told(&sent(SHOP_30, bare).await), ["/header/X-Tenant required"]);
    let many = "a=1&".repeat(1_001);
    let request = Request::get(format!("/items?{many}")).header("x-tenant", "a");
    let met = sent(SHOP_30, request.body(Body::Empty).unwrap()).await;
    assert_eq!(told(&met), ["/query malformed"]);
}

#[tokio::test]
async fn the_other_styles_are_read_and_checked() {
    for (query, fields, faults) in [
        ("flags=true&flags=false", &[][..], &[][..]),
        ("flags=true&flags=1&flags=false", &[], &["/query/flags max_items", "/query/flags/1 type"]),
        ("range=from,1,to,2", &[], &[]),
        ("range=to,x", &[], &["/query/range required", "/query/range/to type"]),
        ("range=from", &[], &["/query/range malformed"]),
        ("size=5&after=x", &[], &[]),
        ("after=x", &[], &["/query/page dependent_required"]),
        ("size=5&size=6", &[], &["/query/page repeated"]),
        ("code=abc", &[], &[]),
        ("code=abcd", &[], &["/query/code max_length"]),
        ("code=49", &[], &[]),
        // As a number it is too large; as a text it is not too long.
        ("code=51", &[], &[]),
        ("code=5100", &[], &["/query/code max_length"]),
        ("json=%7B%22a%22:1%7D", &[], &[]),
        ("json=%7B%7D", &[], &["/query/json required"]),
        ("json=%7B", &[], &["/query/json malformed"]),
        ("anything=1", &[], &[]),
        ("", &[("x-ids", "1, 2"), ("x-ids", "3")], &[]),
        ("", &[("x-ids", "1,1")], &["/header/x-ids unique_items"]),
        ("", &[("x-ids", "1,a")], &["/header/x-ids/1 type"]),
        ("", &[("x-point", "x=1.5,y=a")], &[]),
        ("", &[("x-point", "y=2")], &["/header/x-point required"]),
        ("", &[("x-point", "x")], &["/header/x-point malformed"]),
        ("", &[("cookie", "a=b; theme=dark")], &[]),
        ("", &[("cookie", "theme=\"blue\"")], &["/cookie/theme enum"]),
        ("", &[("cookie", "theme=dark; theme=light")], &["/cookie/theme repeated"]),
    ] {
        let mut request = Request::get(format!("{LINE}?{query}"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let met = sent(SHOP_31, request.body(Body::Empty).unwrap()).await;
        assert_eq!(told(&met), faults, "{query} {fields:?}");
    }
    let request = Request::get("/orders/7/lines/x").body(Body::Empty).unwrap();
    assert_eq!(told(&sent(SHOP_31, request).await), ["/path/id format", "/path/line type"]);
}

#[tokio::test]
async fn bodies_are_checked_by_their_media_type() {
    for (media, body, faults) in [
        ("application/json", r#"{"name":"chair","note":null,"price":1}"#, &[][..]),
        (
            "application/json",
            r#"{"name":"chair","parent":{"price":0}}"#,
            &["/body/parent required", "/body/parent/price exclusive_minimum"],
        ),
        ("application/json", r#"{"id":7,"name":"chair"}"#, &["/body/id read_only"]),
        ("application/x-www-form-urlencoded", "name=red+chair&price=1.5", &[]),
        (
            "application/x-www-form-urlencoded",
            "name=a&price=x&id=7",
            &["/body/id read_only", "/body/price type"],
        ),
        ("application/x-www-form-urlencoded", "name=a&name=b", &["/body malformed"]),
        ("image/png", "not looked at", &[]),
        ("text/plain", "x", &["415 unsupported_media_type"]),
        ("", "", &["/body required"]),
    ] {
        let met = sent(SHOP_30, post("/items", media, body)).await;
        assert_eq!(told(&met), faults, "{media} {body}");
    }
    let nested = r#"[{"sku":"a","parts":[{"sku":"b","more":1}]}]"#;
    let met = sent(SHOP_31, post("/orders", "application/json", nested)).await;
    assert_eq!(told(&met), ["/body/0/parts/0/more not_allowed"]);
}

fn json_answer(status: u16, body: &str) -> Response<Body> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.header("x-total", "1").body(Body::from(Bytes::from(body.to_owned()))).unwrap()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn answers_are_checked_and_nothing_of_the_fault_is_told() {
    let items = || Request::get("/items").header("x-tenant", "a");
    let other = |status: u16, media: &str, body: &'static str| {
        let response = Response::builder().status(status).header("content-type", media);
        response.body(Body::from(Bytes::from(body))).unwrap()
    };
    let mut coded = json_answer(200, "[]");
    coded.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let cases = [
        (SHOP_30, items(), json_answer(200, r#"[{"id":1,"name":"a"}]"#), ""),
        (SHOP_30, items(), json_answer(200, r#"[{"name":"a"}]"#), "/body/0 required"),
        (
            SHOP_30,
            items(),
            json_answer(200, r#"[{"id":1,"name":"a","secret":"x"}]"#),
            "/body/0/secret write_only",
        ),
        (SHOP_30, items(), json_answer(200, "[{}"), "/body malformed"),
        (SHOP_30, items(), json_answer(200, ""), "/body required"),
        (SHOP_30, items(), coded, "/header/content-encoding encoding"),
        (SHOP_30, items(), other(200, "application/json", "[]"), "/header/x-total required"),
        (SHOP_30, items(), other(404, "application/problem+json", "{}"), ""),
        (SHOP_30, items(), other(404, "application/problem+json", "[]"), "/body type"),
        (SHOP_30, items(), other(404, "text/html", "x"), "/header/content-type media_type"),
        (SHOP_30, items(), other(500, "text/html", "x"), ""),
        (SHOP_31, Request::get(LINE), json_answer(202, "{}"), "/status unknown_status"),
        (SHOP_31, Request::get(LINE), json_answer(304, ""), ""),
        (SHOP_31, Request::head(LINE), json_answer(200, ""), ""),
        (
            SHOP_31,
            Request::get(LINE),
            json_answer(200, &format!("{{\"sku\":\"{}\"}}", "x".repeat(1024))),
            "response_too_large",
        ),
        (
            "validate: {json_schema: {response: {type: array}}}",
            Request::get("/"),
            json_answer(201, "{}"),
            "/body type",
        ),
        (
            "validate: {json_schema: {response: {type: array}}}",
            Request::get("/"),
            other(200, "text/html", "x"),
            "/header/content-type media_type",
        ),
        (
            "validate: {json_schema: {response: {type: array}}}",
            Request::get("/"),
            json_answer(404, "{}"),
            "",
        ),
        (
            "validate: {json_schema: {response: {type: array}}}",
            Request::get("/"),
            json_answer(200, ""),
            "",
        ),
    ];
    for (policy, request, response, fault) in cases {
        let text = format!("{request:?} {response:?}");
        let (answer, refusal) = answered(policy, request, response).await;
        let Some(refusal) = refusal else {
            assert_eq!(fault, "", "{text}");
            continue;
        };
        assert_eq!(answer.status(), 502, "{text}");
        match refusal.code {
            "invalid_response" => {
                let found: Vec<String> = refusal
                    .issues
                    .iter()
                    .map(|issue| format!("{} {}", issue.at, issue.code))
                    .collect();
                assert_eq!(found, [fault], "{text}");
            }
            code => assert_eq!(code, fault, "{text}"),
        }
    }
}

#[tokio::test]
async fn refusals_of_the_gateway_are_none_of_the_upstreams_answers() {
    let mut refused = json_answer(429, "{}");
    refused.extensions_mut().insert(IsRefusal);
    let (answer, refusal) = answered(SHOP_31, Request::get(LINE), refused).await;
    assert_eq!((answer.status().as_u16(), refusal.is_none()), (429, true));
}

#[tokio::test]
async fn the_upstream_is_asked_for_plain_answers_where_they_are_read() {
    for (policy, asked) in [(SHOP_31, "identity"), (SCHEMA, "gzip")] {
        let request = Request::get(LINE).header("accept-encoding", "gzip");
        let met = sent(policy, request.body(Body::Empty).unwrap()).await;
        assert_eq!(met.sent("accept-encoding"), Some(asked));
    }
}

fn line() -> impl Strategy<Value = Value> {
    let leaf = ("[a-z]{0,8}", proptest::option::of(1u32..1000)).prop_map(|(sku, count)| {
        count.map_or_else(|| json!({"sku": sku}), |count| json!({"sku": sku, "count": count}))
    });
    leaf.prop_recursive(3, 12, 3, |inner| {
        (inner.clone(), proptest::collection::vec(inner, 0..3)).prop_map(|(mut line, parts)| {
            line["parts"] = Value::from(parts);
            line
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_made_by_the_rules_passes_and_one_fault_does_not(lines in proptest::collection::vec(line(), 0..4), piece in 1usize..40) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let policy = SHOP_31.replace("max_body: 1KiB", "max_body: 1MiB");
        let body = json!(lines).to_string();
        let request = |body: &str| {
            let request = Request::post("/orders").header("content-type", "application/json");
            request.body(pieces(body.as_bytes(), piece)).unwrap()
        };
        let mut met = runtime.block_on(sent(&policy, request(&body)));
        prop_assert_eq!(told(&met), [""; 0], "{}", &body);
        prop_assert_eq!(whole(met.request.body_mut()).0, body.as_bytes());
        if !lines.is_empty() {
            let met = runtime.block_on(sent(&policy, request(&body.replace("\"sku\"", "\"sk\""))));
            prop_assert_eq!(met.refused(), Some((400, "invalid_request")));
        }
    }

    #[test]
    fn any_bytes_and_any_query_end_in_an_answer(body in proptest::collection::vec(any::<u8>(), 0..200), query in "[a-z0-9%=&,|+\\[\\]]{0,60}", form in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let media = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let met = runtime.block_on(sent(SHOP_30, post("/items", media, body)));
        prop_assert!(met.refusal.is_none_or(|refusal| refusal.status.is_client_error()));
        let uri = http::Uri::try_from(format!("{LINE}?{query}"));
        let met = runtime.block_on(sent(SHOP_31, Request::get(uri.unwrap()).body(Body::Empty).unwrap()));
        prop_assert!(met.refusal.is_none_or(|refusal| refusal.status.is_client_error()));
    }
}
