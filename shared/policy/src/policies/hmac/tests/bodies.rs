//! The body: covered by its digest, read within its bounds, and compared.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::*;
use crate::body::{BodyError, BrokenOff};
use crate::policy::Refusal;

/// A body that comes frame by frame, with a wait before each; silent behind the last where it says so.
struct Frames {
    frames: VecDeque<Result<Frame<Bytes>, BodyError>>,
    is_silent_then: bool,
    has_waited: bool,
}

impl Frames {
    fn body(frames: impl IntoIterator<Item = Result<Frame<Bytes>, BodyError>>) -> Body {
        let frames = frames.into_iter().collect();
        Body::stream(Self { frames, is_silent_then: false, has_waited: false })
    }

    fn of(pieces: &[&'static str]) -> Vec<Result<Frame<Bytes>, BodyError>> {
        pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect()
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.frames.is_empty() && self.is_silent_then {
            return Poll::Pending;
        }
        self.has_waited = !self.has_waited;
        if self.has_waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front())
    }
}

/// What is left of a body for the upstream.
fn rest_of(request: &mut Request<Body>) -> (String, HeaderMap) {
    let mut cx = Context::from_waker(Waker::noop());
    let (mut text, mut trailers) = (String::new(), HeaderMap::new());
    while let Poll::Ready(Some(frame)) = Pin::new(request.body_mut()).poll_frame(&mut cx) {
        match frame.unwrap().into_data() {
            Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
            Err(frame) => trailers = frame.into_trailers().unwrap(),
        }
    }
    (text, trailers)
}

/// A request with this body, whose signature covers this digest.
fn post(body: Body, digest: &str) -> Request<Body> {
    posted(body, digest, &[("\"content-digest\"", digest)])
}

#[tokio::test]
async fn a_body_that_was_signed_goes_on_as_it_came() {
    let digest = sha256(b"one two three");
    let bodies = [
        full("one two three"),
        Frames::body(Frames::of(&["one two three"])),
        Frames::body(Frames::of(&["one ", "", "two", " three", ""])),
    ];
    for body in bodies {
        let mut met = meet("hmac: {}", post(body, &digest)).await;
        assert_eq!(met.refused(), None);
        assert_eq!(rest_of(&mut met.request).0, "one two three");
    }
}

#[tokio::test]
async fn trailers_stay_behind_the_body() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    let mut frames = Frames::of(&["one", " two"]);
    frames.push(Ok(Frame::trailers(trailers.clone())));
    let mut met = meet("hmac: {}", post(Frames::body(frames), &sha256(b"one two"))).await;
    assert_eq!(met.refused(), None);
    assert_eq!(rest_of(&mut met.request), ("one two".to_owned(), trailers));
}

#[tokio::test]
async fn another_body_is_refused() {
    let digest = sha256(b"one two three");
    for body in ["one two thre", "one two three ", "One two three", "x"] {
        let met = meet("hmac: {}", post(full(body), &digest)).await;
        assert_eq!(met.refused(), REFUSED);
        assert_eq!(met.refusal.unwrap().detail, "the body is not the one that was signed");
    }
    // None at all, too.
    assert_eq!(meet("hmac: {}", post(Body::Empty, &digest)).await.refused(), REFUSED);
    assert_eq!(meet("hmac: {}", post(Body::Empty, &sha256(b""))).await.refused(), None);
}

#[tokio::test]
async fn a_body_that_the_signature_says_nothing_of_is_refused() {
    let digest = sha256(b"body");
    let met = meet("hmac: {}", posted(full("body"), &digest, &[])).await;
    assert_eq!(met.refused(), REFUSED);
    assert!(met.refusal.unwrap().detail.contains("`content-digest`"));
    // Also where it may be empty, and only the last byte will tell.
    let met = meet("hmac: {}", posted(Frames::body([]), &digest, &[])).await;
    assert_eq!(met.refused(), REFUSED);
    let member = [("\"content-digest\";key=\"md5\"", ":1B2M2Y8AsgTpgAmy7PhCfg==:")];
    let digests = format!("{digest}, md5=:1B2M2Y8AsgTpgAmy7PhCfg==:");
    assert_eq!(meet("hmac: {}", posted(full("body"), &digests, &member)).await.refused(), REFUSED);
    for policy in ["hmac: {body: ignore}", "hmac: {body: ignore, required: ['@method']}"] {
        let mut met = meet(policy, posted(full("another"), &digest, &[])).await;
        assert_eq!(met.refused(), None);
        assert_eq!(rest_of(&mut met.request).0, "another");
    }
}

#[tokio::test]
async fn every_digest_that_is_known_must_be_the_bodys() {
    let good = sha256(b"body");
    let sha512 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, b"body");
    let sha512 = bytes_of("sha-512", sha512.as_ref());
    for (digest, expected) in [
        (sha512.clone(), None),
        (format!("{good}, {sha512}"), None),
        (format!("{sha512}, unixsum=:AA==:, {good}"), None),
        (format!("{good}, sha-512=:AA==:"), REFUSED),
        (format!("sha-256=:AA==:, {sha512}"), REFUSED),
        ("md5=:1B2M2Y8AsgTpgAmy7PhCfg==:".to_owned(), REFUSED),
        ("sha-256=body".to_owned(), REFUSED),
        ("sha-256".to_owned(), REFUSED),
        ("sha-256=(:AA==:)".to_owned(), REFUSED),
        ("sha-256=:".to_owned(), REFUSED),
        (String::new(), REFUSED),
        (format!("{good}, x=\"{}\"", "x".repeat(4_096)), REFUSED),
    ] {
        assert_eq!(
            meet("hmac: {}", post(full("body"), &digest)).await.refused(),
            expected,
            "{digest}"
        );
    }
    let value = good.strip_prefix("sha-256=").unwrap();
    let member = [("\"content-digest\";key=\"sha-256\"", value)];
    assert_eq!(meet("hmac: {}", posted(full("body"), &good, &member)).await.refused(), None);
    assert_eq!(meet("hmac: {}", posted(full("bodi"), &good, &member)).await.refused(), REFUSED);
}

#[tokio::test]
async fn a_body_is_read_within_its_bound() {
    let policy = "hmac: {max_body: 8B}";
    let digest = sha256(b"12345678");
    for body in [full("12345678"), Frames::body(Frames::of(&["1234", "5678"]))] {
        assert_eq!(meet(policy, post(body, &digest)).await.refused(), None);
    }
    let digest = sha256(b"123456789");
    let endless = std::iter::repeat_with(|| Frames::of(&["1234"])).flatten().take(1_000);
    for body in
        [full("123456789"), Frames::body(Frames::of(&["12345678", "9"])), Frames::body(endless)]
    {
        let met = meet(policy, post(body, &digest)).await;
        assert_eq!(met.refused(), Some((413, "body_too_large")));
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let frames = Frames::of(&["12"]).into();
    let body = Body::stream(Frames { frames, is_silent_then: true, has_waited: false });
    let world = World { is_late: true, ..world() };
    let met = world.exchange(&chain(&["hmac: {}"]), post(body, &sha256(b"123"))).await;
    assert_eq!(met.refused(), Some((408, "request_timeout")));
    // One that is there need not be waited for.
    let endless = std::iter::repeat_with(|| Ok(Frame::data(Bytes::new()))).take(100_000);
    let met =
        world.exchange(&chain(&["hmac: {}"]), post(Frames::body(endless), &sha256(b""))).await;
    assert_eq!(met.refused(), Some((408, "request_timeout")));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_as_what_broke_it() {
    let clients = Err("reset".into());
    let met = meet("hmac: {}", post(Frames::body([clients]), &sha256(b"1"))).await;
    assert_eq!(met.refused(), Some((400, "malformed_request")));
    let refusal = Refusal::new(http::StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "so large");
    let policys: BodyError = Box::new(BrokenOff(Box::new(refusal)));
    let met = meet("hmac: {}", post(Frames::body([Err(policys)]), &sha256(b"1"))).await;
    assert_eq!(met.refused(), Some((413, "body_too_large")));
}

#[tokio::test]
async fn no_body_is_read_for_who_has_no_key() {
    let digest = sha256(b"body");
    let mut request = post(Frames::body(Frames::of(&["body"])), &digest);
    request.headers_mut().insert("signature", bytes_of("sig1", &[1; 32]).parse().unwrap());
    let mut met = meet("hmac: {}", request).await;
    assert_eq!(met.refused(), REFUSED);
    let mut cx = Context::from_waker(Waker::noop());
    // The wait before its first frame is still to come.
    assert!(Pin::new(met.request.body_mut()).poll_frame(&mut cx).is_pending());
}
