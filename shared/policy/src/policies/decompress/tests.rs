use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame};
use proptest::prelude::*;

use crate::Body;
use crate::body::{BodyError, BrokenOff};
use crate::chain::Carries;
use crate::support::{Met, World, chain};

/// A body in pieces, with a wait between two.
struct Pieces(std::collections::VecDeque<Bytes>, bool);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.1 = !self.1;
        if self.1 && !self.0.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn coded(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            encoder.write_all(plain).unwrap();
            encoder.into_inner()
        }
        _ => zstd::stream::encode_all(plain, 3).unwrap(),
    }
}

async fn met(policy: &str, coding: &str, body: Vec<u8>, piece: usize) -> Met {
    let pieces = body.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
    let request = Request::post("/")
        .header("content-encoding", coding)
        .header("content-length", body.len())
        .body(Body::stream(Pieces(pieces, false)))
        .unwrap();
    World::default().exchange(&chain(&[policy]), request).await
}

/// What comes out, or status and code of the refusal that breaks it off.
fn read(met: &mut Met) -> Result<Vec<u8>, (u16, &'static str)> {
    read_body(met.request.body_mut())
}

fn read_body(body: &mut Body) -> Result<Vec<u8>, (u16, &'static str)> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut plain = Vec::new();
    loop {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Pending => {}
            Poll::Ready(None) => return Ok(plain),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap();
                assert!(data.len() <= 16 << 10);
                plain.extend(data);
            }
            Poll::Ready(Some(Err(error))) => {
                let BrokenOff(refusal) = *error.downcast().unwrap();
                return Err((refusal.status.as_u16(), refusal.code));
            }
        }
    }
}

#[tokio::test]
async fn a_body_arrives_plain_without_the_fields_of_its_coding() {
    let plain = "Tollgate carries calls. ".repeat(2000).into_bytes();
    for coding in ["gzip", "X-GZIP", "br", "zstd", "identity, gzip"] {
        for piece in [1, 7, 1 << 20] {
            let name = coding.rsplit(' ').next().unwrap().to_lowercase();
            let body = coded(name.trim_start_matches("x-"), &plain);
            let mut met = met("decompress: {max_ratio: 10000}", coding, body, piece).await;
            assert_eq!((met.sent("content-encoding"), met.sent("content-length")), (None, None));
            assert_eq!(read(&mut met).unwrap(), plain, "{coding} {piece}");
        }
    }
}

#[tokio::test]
async fn what_has_no_coding_stays_as_it_is() {
    for coding in ["identity", "", " , "] {
        let mut met = met("decompress: {}", coding, b"plain".to_vec(), 2).await;
        assert_eq!(met.sent("content-length"), Some("5"));
        assert_eq!(read(&mut met).unwrap(), b"plain");
    }
}

#[tokio::test]
async fn other_codings_and_several_are_refused() {
    for coding in ["deflate", "gzip, br", "gzip, gzip", "gzip;q=1"] {
        let met = met("decompress: {}", coding, b"x".to_vec(), 1).await;
        assert_eq!(met.refused(), Some((415, "unsupported_encoding")), "{coding}");
        assert_eq!(met.answered("accept-encoding"), ["zstd, br, gzip"]);
    }
}

#[tokio::test]
async fn bombs_go_off_within_their_bounds() {
    let plain = vec![0; 8 << 20];
    for coding in ["gzip", "br", "zstd"] {
        let body = coded(coding, &plain);
        for policy in ["decompress: {}", "decompress: {max_size: 1MiB, max_ratio: 10000}"] {
            let mut met = met(policy, coding, body.clone(), 1 << 20).await;
            assert_eq!(read(&mut met), Err((413, "body_too_large")), "{coding} {policy}");
        }
        let small = coded(coding, &plain[..60_000]);
        let mut met = met("decompress: {max_ratio: 1}", coding, small, 1 << 20).await;
        assert_eq!(read(&mut met).unwrap().len(), 60_000, "{coding}");
    }
}

#[tokio::test]
async fn what_breaks_off_or_goes_on_behind_its_end_is_malformed() {
    for coding in ["gzip", "br", "zstd"] {
        let whole = coded(coding, &b"some text that is long enough ".repeat(20));
        let broken = whole[..whole.len() - 3].to_vec();
        let longer = [whole.as_slice(), b"and more"].concat();
        let other = b"this is no such coding at all".to_vec();
        for (what, body) in [("broken", broken), ("longer", longer), ("other", other)] {
            for piece in [1, 1 << 20] {
                let mut met = met("decompress: {}", coding, body.clone(), piece).await;
                assert_eq!(read(&mut met), Err((400, "malformed_body")), "{coding} {what} {piece}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_end_in_a_body_or_a_refusal(body in proptest::collection::vec(any::<u8>(), 1..600), coding in 0usize..3, flip in any::<bool>(), piece in 1usize..64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let coding = ["gzip", "br", "zstd"][coding];
        let mut bytes = if flip { coded(coding, &body) } else { body.clone() };
        if flip {
            let at = usize::from(body[0]) % bytes.len();
            bytes[at] ^= 1 << (body[0] % 8);
        }
        let mut met = runtime.block_on(met("decompress: {}", coding, bytes, piece));
        let _ = read(&mut met);
    }
}

/// Sends an answer to a request through the policy; the request as it went on, and the answer.
async fn answered(
    policy: &str,
    mut request: Request<Body>,
    mut answer: Response<Body>,
) -> (Request<Body>, Response<Body>) {
    let (world, chain) = (World::default(), chain(&[policy]));
    let (mut carries, mut cx) = (Carries::default(), world.cx());
    let _next = chain.on_request(&mut cx, &mut request, &mut carries).await;
    chain.on_response(&mut carries, &mut cx, &mut answer).await;
    (request, answer)
}

fn answer(coding: &str, body: &[u8], piece: usize) -> Response<Body> {
    let pieces = body.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
    let mut answer = Response::new(Body::stream(Pieces(pieces, false)));
    for (name, value) in [
        ("content-encoding", coding),
        ("content-length", &body.len().to_string()),
        ("etag", "\"a\""),
        ("accept-ranges", "bytes"),
        ("content-digest", "sha-256=:x:"),
        ("cache-control", "no-transform"),
    ] {
        answer
            .headers_mut()
            .insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    answer
}

fn get() -> Request<Body> {
    Request::get("/").body(Body::Empty).unwrap()
}

const BOTH: &str = "decompress: {response: true}";

#[tokio::test]
async fn an_answer_goes_out_plain_without_the_fields_of_its_coding() {
    let plain = "Tollgate carries calls. ".repeat(2000).into_bytes();
    for coding in ["gzip", "br", "zstd"] {
        for piece in [1, 7, 1 << 20] {
            let policy = "decompress: {request: false, response: true, max_ratio: 10000}";
            let answer = answer(coding, &coded(coding, &plain), piece);
            let (request, mut answer) = answered(policy, get(), answer).await;
            assert_eq!(request.headers()["accept-encoding"], "zstd, br, gzip");
            let mut left: Vec<&str> =
                answer.headers().keys().map(http::HeaderName::as_str).collect();
            left.sort_unstable();
            assert_eq!(left, ["cache-control", "etag"]);
            assert_eq!(answer.headers()["etag"], "W/\"a\"");
            assert_eq!(read_body(answer.body_mut()).unwrap(), plain, "{coding} {piece}");
        }
    }
}

#[tokio::test]
async fn without_being_told_so_it_leaves_answers_and_requests_alone() {
    let body = coded("gzip", b"plain");
    let (request, mut sent) = answered("decompress: {}", get(), answer("gzip", &body, 5)).await;
    assert_eq!(request.headers().get("accept-encoding"), None);
    assert_eq!(sent.headers()["content-encoding"], "gzip");
    assert_eq!(read_body(sent.body_mut()).unwrap(), body);
    let upload = Request::post("/").header("content-encoding", "gzip");
    let upload = upload.body(Body::from(Bytes::from(body.clone()))).unwrap();
    let policy = "decompress: {request: false, response: true}";
    let (mut request, _) = answered(policy, upload, Response::new(Body::Empty)).await;
    assert_eq!(request.headers()["content-encoding"], "gzip");
    assert_eq!(read_body(request.body_mut()).unwrap(), body);
}

#[tokio::test]
async fn what_is_no_whole_coded_answer_stays_as_it_is() {
    let mut part = answer("gzip", b"part", 9);
    *part.status_mut() = StatusCode::PARTIAL_CONTENT;
    let mut empty = answer("gzip", b"", 9);
    *empty.body_mut() = Body::Empty;
    for before in [part, empty, answer("identity", b"plain", 9)] {
        let (fields, status) = (before.headers().clone(), before.status());
        let (_, after) = answered(BOTH, get(), before).await;
        assert_eq!((after.headers(), after.status()), (&fields, status));
    }
    // What is asked of the upstream can be passed on as it comes.
    for request in [Request::head("/"), Request::get("/").header("range", "bytes=0-1")] {
        let request = request.header("accept-encoding", "gzip").body(Body::Empty).unwrap();
        let (request, _) = answered(BOTH, request, Response::new(Body::Empty)).await;
        assert_eq!(request.headers()["accept-encoding"], "identity");
    }
}

#[tokio::test]
async fn an_answer_with_a_coding_that_is_not_known_is_replaced() {
    for coding in ["deflate", "gzip, br", "compress"] {
        let (_, mut answer) = answered(BOTH, get(), answer(coding, b"x", 1)).await;
        let refusal = crate::Refusal::take_from(&mut answer).unwrap();
        let told = (refusal.status.as_u16(), refusal.code);
        assert_eq!(told, (502, "unsupported_response_encoding"), "{coding}");
    }
}

#[tokio::test]
async fn bombs_and_broken_codings_break_an_answer_off() {
    let plain = vec![0; 8 << 20];
    for coding in ["gzip", "br", "zstd"] {
        let whole = coded(coding, &plain);
        for policy in [BOTH, "decompress: {response: true, max_size: 1MiB, max_ratio: 10000}"] {
            let (_, mut answer) = answered(policy, get(), answer(coding, &whole, 1 << 20)).await;
            let outcome = read_body(answer.body_mut());
            assert_eq!(outcome, Err((502, "response_too_large")), "{coding} {policy}");
        }
        let (_, mut answer) = answered(BOTH, get(), answer(coding, b"no such coding", 3)).await;
        assert_eq!(read_body(answer.body_mut()), Err((502, "malformed_response")), "{coding}");
    }
}
