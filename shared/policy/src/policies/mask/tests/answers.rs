use http::{HeaderMap, HeaderValue, StatusCode};

use super::*;
use crate::stored::Caching;

const RULES: &str = "rules: [{kind: card}]";
const HIDDEN: &str = "**** **** **** 1111";

fn with(mut answer: Response<Body>, fields: &[(&'static str, &str)]) -> Response<Body> {
    for (name, value) in fields {
        answer.headers_mut().append(*name, value.parse().unwrap());
    }
    answer
}

#[tokio::test]
async fn an_answer_that_changed_says_so() {
    let fields = [
        ("etag", "\"abc\""),
        ("accept-ranges", "bytes"),
        ("content-digest", "sha-256=:x:"),
        ("repr-digest", "sha-256=:x:"),
        ("digest", "sha-256=x"),
        ("content-md5", "x"),
        ("trailer", "x-sum"),
        ("cache-control", "no-transform"),
        ("vary", "accept-encoding"),
    ];
    let mut changed =
        masked(RULES, with(answer("text/plain", format!("a longer {CARD}")), &fields)).await;
    assert_eq!(outcome(&mut changed).unwrap(), format!("a longer {HIDDEN}"));
    let mut left: Vec<_> = changed
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    left.sort_unstable();
    let expected = [
        ("cache-control", "no-transform"),
        ("content-length", "28"),
        ("content-type", "text/plain"),
        ("etag", "W/\"abc\""),
        ("vary", "accept-encoding"),
    ];
    assert_eq!(left, expected);
    let mut same = masked(RULES, with(answer("text/plain", "nothing"), &fields)).await;
    assert_eq!(outcome(&mut same).unwrap(), "nothing");
    assert_eq!(same.headers()["etag"], "\"abc\"");
    assert!(same.headers().contains_key("content-digest"));
    assert!(!same.headers().contains_key("accept-ranges"));
}

#[tokio::test]
async fn what_is_read_is_told_by_its_type() {
    for (media_type, is_read) in [
        ("text/plain", true),
        ("Text/CSV; header=present", true),
        ("application/problem+json; charset=\"utf-8\"", true),
        ("application/JSON", true),
        ("application/javascript", true),
        ("application/atom+xml;charset=us-ascii", true),
        ("image/png", false),
        ("application/octet-stream", false),
        ("application/grpc", false),
        ("application/jsonp", false),
        ("multipart/mixed; boundary=text/plain", false),
        // No type at all.
        ("application", true),
        ("application/json, image/png", true),
        ("", true),
    ] {
        let body = format!("\"{CARD}\"");
        let expected = if is_read { format!("\"{HIDDEN}\"") } else { body.clone() };
        assert_eq!(text(RULES, media_type, &body).await.unwrap(), expected, "{media_type}");
    }
    let several = with(answer("image/png", CARD), &[("content-type", "text/plain")]);
    assert_eq!(outcome(&mut masked(RULES, several).await).unwrap(), HIDDEN);
    let mut none = answer("text/plain", CARD);
    none.headers_mut().remove("content-type");
    assert_eq!(outcome(&mut masked(RULES, none).await).unwrap(), HIDDEN);
}

#[tokio::test]
async fn the_operator_says_which_types_are_read() {
    let config = "rules: [{kind: card}], content_types: [application/*, image/svg+xml]";
    for (media_type, is_read) in [
        ("application/pdf", true),
        ("IMAGE/SVG+XML", true),
        ("text/plain", false),
        ("text/event-stream", false),
    ] {
        let expected = if is_read { HIDDEN } else { CARD };
        assert_eq!(text(config, media_type, CARD).await.unwrap(), expected, "{media_type}");
    }
}

#[tokio::test]
async fn what_says_no_type_is_read_as_json_where_it_is_json() {
    let rules = "rules: [{json_path: $.a}, {kind: card}]";
    for (body, expected) in [
        (r#"{"a":"secret"}"#, r#"{"a":"******"}"#),
        (r#"{"a":"secret", 4111111111111111"#, r#"{"a":"secret", ************1111"#),
    ] {
        assert_eq!(text(rules, "", body).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_not_shown() {
    let latin = || answer("text/html; charset=iso-8859-1", CARD);
    let bytes = || answer("text/plain", Bytes::from_static(b"caf\xe9"));
    let part = |media_type: &str| {
        let mut part = answer(media_type, CARD);
        *part.status_mut() = StatusCode::PARTIAL_CONTENT;
        part
    };
    for (answer, code) in [
        (latin(), "unsupported_response_charset"),
        (answer("application/json; charset=utf-16", CARD), "unsupported_response_charset"),
        (bytes(), "unsupported_response_charset"),
        (answer("text/event-stream", CARD), "unsupported_response_stream"),
        (part("text/plain"), "unsupported_response_range"),
        (part("text/event-stream"), "unsupported_response_range"),
        (part("nothing"), "unsupported_response_range"),
        (part("multipart/byteranges; boundary=x"), "unsupported_response_range"),
        (
            with(answer("text/plain", CARD), &[("content-encoding", "deflate")]),
            "unsupported_response_encoding",
        ),
        (
            with(answer("text/plain", CARD), &[("content-encoding", "gzip, br")]),
            "unsupported_response_encoding",
        ),
        (with(answer("text/plain", CARD), &[("content-encoding", "gzip")]), "malformed_response"),
    ] {
        let told = format!("{:?}", answer.headers());
        assert_eq!(outcome(&mut masked(RULES, answer).await), Err((502, code)), "{told}");
    }
    let image = part("image/png");
    assert_eq!(outcome(&mut masked(RULES, image).await).unwrap(), CARD);
}

#[tokio::test]
async fn what_has_no_body_stays_as_it_is() {
    for status in [204, 205, 304, 101] {
        let mut answer =
            with(answer("text/plain", ""), &[("etag", "\"a\""), ("accept-ranges", "bytes")]);
        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
        let before = answer.headers().clone();
        assert_eq!(masked(RULES, answer).await.headers(), &before, "{status}");
    }
    let (world, chain) = (world(), chain(&["mask: {rules: [{kind: card}]}"]));
    let mut request = Request::head("/").body(Body::Empty).unwrap();
    let (mut carries, mut cx) = (Carries::default(), world.cx());
    let _next = chain.on_request(&mut cx, &mut request, &mut carries).await;
    let mut answer =
        with(answer("text/plain", ""), &[("etag", "\"a\""), ("content-encoding", "x")]);
    let before = answer.headers().clone();
    chain.on_response(&mut carries, &mut cx, &mut answer).await;
    assert_eq!(answer.headers(), &before);
}

#[tokio::test]
async fn whole_plain_answers_are_asked_for() {
    let world = world();
    let request = Request::get("/")
        .header("range", "bytes=5-9")
        .header("if-range", "\"a\"")
        .header("accept-encoding", "gzip")
        .body(Body::Empty)
        .unwrap();
    let met = world.exchange(&chain(&["mask: {rules: [{kind: card}]}"]), request).await;
    assert_eq!((met.sent("range"), met.sent("if-range")), (None, None));
    assert_eq!(met.sent("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_cache_takes_the_answer_for_one_that_the_clients_codings_select() {
    for policy in ["mask: {rules: [{kind: card}]}", "decompress: {response: true}"] {
        for said in [None, Some("br")] {
            let (world, chain) = (world(), chain(&[policy]));
            let mut request = Request::get("/").body(Body::Empty).unwrap();
            if let Some(said) = said {
                request.headers_mut().insert("accept-encoding", HeaderValue::from_static(said));
            }
            let seen = request.headers().clone();
            let (mut carries, mut cx) = (Carries::default(), world.cx());
            let _next = chain.on_request(&mut cx, &mut request, &mut carries).await;
            assert_ne!(*request.headers(), seen);
            cx.cache = Caching { sent: Some(request.headers().clone()), ..Caching::default() };
            chain.on_response(&mut carries, &mut cx, &mut Response::new(Body::Empty)).await;
            assert_eq!(cx.cache.sent, Some(seen));
        }
    }
}

#[tokio::test]
async fn pieces_are_put_together_before_they_are_read() {
    let plain = format!("[{{\"é\": \"{CARD}\"}}, \"{}\"]", "x".repeat(3000));
    for length in [1, 2, 5, 16, 1000, 1 << 20] {
        for coding in ["", "gzip", "br", "zstd"] {
            let body = if coding.is_empty() {
                plain.clone().into_bytes()
            } else {
                coded(coding, plain.as_bytes())
            };
            let mut answer = answer("application/json", "");
            *answer.body_mut() = Pieces::body(&body, length);
            answer.headers_mut().insert("content-length", HeaderValue::from(body.len()));
            answer.headers_mut().insert("etag", HeaderValue::from_static("\"a\""));
            if !coding.is_empty() {
                answer.headers_mut().insert("content-encoding", HeaderValue::from_static(coding));
            }
            let mut masked = masked(RULES, answer).await;
            assert_eq!(
                outcome(&mut masked).unwrap(),
                plain.replace(CARD, HIDDEN),
                "{coding} {length}"
            );
            assert_eq!(masked.headers().get("content-encoding"), None);
            assert_eq!(masked.headers()["etag"], "W/\"a\"");
        }
    }
}

#[tokio::test]
async fn what_was_coded_goes_out_plain_where_nothing_is_found_too() {
    let body = coded("gzip", b"nothing");
    let answer =
        with(answer("text/plain", body), &[("content-encoding", "gzip"), ("etag", "\"a\"")]);
    let mut masked = masked(RULES, answer).await;
    assert_eq!(outcome(&mut masked).unwrap(), "nothing");
    assert_eq!(
        (masked.headers().get("content-encoding"), &masked.headers()["etag"]),
        (None, &HeaderValue::from_static("W/\"a\""))
    );
}

#[tokio::test]
async fn bombs_go_off_within_their_bounds() {
    let plain = vec![b' '; 8 << 20];
    for coding in ["gzip", "br", "zstd"] {
        for config in [
            RULES.to_owned(),
            format!("{RULES}, on_large: pass"),
            format!("{RULES}, max_body: 16MiB"),
        ] {
            let answer =
                with(answer("text/plain", coded(coding, &plain)), &[("content-encoding", coding)]);
            let mut answer = masked(&config, answer).await;
            assert_eq!(outcome(&mut answer), Err((502, "response_too_large")), "{coding} {config}");
        }
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_shown_unless_it_may_be() {
    let text = format!("{CARD} {}", "x".repeat(2000));
    for length in [1, 100, 1 << 20] {
        for coding in [None, Some("zstd")] {
            let body = || {
                let bytes = coding.map_or_else(
                    || text.clone().into_bytes(),
                    |coding| coded(coding, text.as_bytes()),
                );
                let mut answer = answer("text/plain", "");
                answer.headers_mut().insert("content-length", HeaderValue::from(bytes.len()));
                if let Some(coding) = coding {
                    answer
                        .headers_mut()
                        .insert("content-encoding", HeaderValue::from_static(coding));
                }
                *answer.body_mut() = if length == 1 << 20 {
                    Body::from(Bytes::from(bytes))
                } else {
                    Pieces::body(&bytes, length)
                };
                answer
            };
            let bounds = "max_body: 2019B";
            let refused = outcome(&mut masked(&format!("{RULES}, {bounds}"), body()).await);
            assert_eq!(refused, Err((502, "response_too_large")));
            let shown =
                outcome(&mut masked(&format!("{RULES}, {bounds}, on_large: pass"), body()).await);
            assert_eq!(shown.unwrap(), text, "{length} {coding:?}");
            let masked = outcome(&mut masked(&format!("{RULES}, max_body: 2020B"), body()).await);
            assert_eq!(masked.unwrap(), text.replace(CARD, HIDDEN));
        }
    }
}

#[tokio::test]
async fn what_breaks_off_is_not_shown() {
    let body =
        Pieces { pieces: [Bytes::from_static(b"abc")].into(), breaks_off: true, has_waited: false };
    let mut answer = answer("text/plain", "");
    answer.headers_mut().remove("content-length");
    *answer.body_mut() = Body::stream(body);
    assert_eq!(outcome(&mut masked(RULES, answer).await), Err((502, "incomplete_response")));
}

#[tokio::test]
async fn trailers_are_dropped() {
    struct WithTrailers(u8);
    impl http_body::Body for WithTrailers {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.0 += 1;
            Poll::Ready(match self.0 {
                1 => Some(Ok(Frame::data(Bytes::from_static(CARD.as_bytes())))),
                2 => Some(Ok(Frame::trailers(HeaderMap::new()))),
                _ => None,
            })
        }
    }
    let mut answer = answer("text/plain", "");
    answer.headers_mut().remove("content-length");
    *answer.body_mut() = Body::stream(WithTrailers(0));
    assert_eq!(outcome(&mut masked(RULES, answer).await).unwrap(), HIDDEN);
}

#[tokio::test]
async fn all_levels_run_and_other_policies_find_their_places() {
    let text = format!("{CARD} joe@x.org {}", "x".repeat(2000));
    let chain = chain(&[
        "compress: {encodings: [zstd]}",
        "mask: {rules: [{kind: card}]}",
        "mask: {rules: [{kind: email}]}",
        "decompress: {response: true}",
    ]);
    let world = world();
    let mut request =
        Request::get("/").header("accept-encoding", "zstd").body(Body::Empty).unwrap();
    let (mut carries, mut cx) = (Carries::default(), world.cx());
    let _next = chain.on_request(&mut cx, &mut request, &mut carries).await;
    assert_eq!(request.headers()["accept-encoding"], "zstd, br, gzip");
    let mut answer =
        with(answer("text/plain", coded("br", text.as_bytes())), &[("content-encoding", "br")]);
    chain.on_response(&mut carries, &mut cx, &mut answer).await;
    assert_eq!(answer.headers()["content-encoding"], "zstd");
    let plain = zstd::stream::decode_all(&*bytes(answer.body_mut())).unwrap();
    assert_eq!(
        String::from_utf8(plain).unwrap(),
        text.replace(CARD, HIDDEN).replace("joe@", "j**@")
    );
    // A compressed answer is read where compression stands on the wrong side too.
    let chain =
        crate::support::chain(&["mask: {rules: [{kind: card}]}", "compress: {encodings: [zstd]}"]);
    let mut answer = through(&world, &chain, super::answer("text/plain", text.clone())).await;
    assert_eq!(outcome(&mut answer).unwrap(), text.replace(CARD, HIDDEN));
}

#[test]
fn its_secrets_must_be_there() {
    let policy = crate::support::policy(
        "mask: {rules: [{kind: card}, {kind: iban, hash: {key: {secret: one}}}, {kind: ip, shuffle: {key: {secret: two}}}]}",
    );
    let names: Vec<String> =
        policy.references(&name("default")).iter().map(ToString::to_string).collect();
    assert_eq!(names, ["Secret default/one", "Secret default/two"]);
}
