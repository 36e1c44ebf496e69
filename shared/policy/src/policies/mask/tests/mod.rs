use std::collections::VecDeque;
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use tollgate_model::secret::SecretText;

use crate::body::{Body, BodyError};
use crate::chain::{Carries, Chain};
use crate::policy::Refusal;
use crate::support::{World, chain, name};

/// Answers as they come: their type, coding, length, parts.
mod answers;
/// JSON.
mod json;
/// What takes the place of what was found.
mod ways;

const CARD: &str = "4111 1111 1111 1111";

/// A body in pieces, with a wait before each; it may break off.
struct Pieces {
    pieces: VecDeque<Bytes>,
    breaks_off: bool,
    has_waited: bool,
}

impl Pieces {
    fn body(bytes: &[u8], length: usize) -> Body {
        let pieces = bytes.chunks(length.max(1)).map(Bytes::copy_from_slice).collect();
        Body::stream(Self { pieces, breaks_off: false, has_waited: false })
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.has_waited = !self.has_waited;
        if self.has_waited && !self.pieces.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None if self.breaks_off => Poll::Ready(Some(Err("broke off".into()))),
            None => Poll::Ready(None),
        }
    }
}

/// A world that knows the key of the examples.
fn world() -> World {
    let mut world = World::default();
    let key = SecretText::new("a key of sixteen bytes or more".to_owned());
    world.secrets.insert((name("default"), name("pseudonyms")), key);
    world
}

/// An answer with this media type.
fn answer(media_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body: Bytes = body.into();
    Response::builder()
        .header("content-type", media_type)
        .header("content-length", body.len())
        .body(Body::from(body))
        .unwrap()
}

/// Sends an answer to GET through policies.
async fn through(world: &World, chain: &Chain, answer: Response<Body>) -> Response<Body> {
    let mut request = Request::get("/").body(Body::Empty).unwrap();
    let (mut carries, mut cx, mut answer) = (Carries::default(), world.cx(), answer);
    let _next = chain.on_request(&mut cx, &mut request, &mut carries).await;
    chain.on_response(&mut carries, &mut cx, &mut answer).await;
    answer
}

/// The same through `mask` with these rules and fields.
async fn masked(config: &str, answer: Response<Body>) -> Response<Body> {
    through(&world(), &chain(&[&format!("mask: {{{config}}}")]), answer).await
}

/// The same for a body of this type; its text, or the status and code of the refusal in its place.
async fn text(config: &str, media_type: &str, body: &str) -> Result<String, (u16, &'static str)> {
    let mut answer = masked(config, answer(media_type, body.to_owned())).await;
    outcome(&mut answer)
}

/// The text of an answer, or the status and code of the refusal in its place.
fn outcome(answer: &mut Response<Body>) -> Result<String, (u16, &'static str)> {
    if let Some(refusal) = Refusal::take_from(answer) {
        assert!(answer.body().is_end_stream() && answer.headers().is_empty());
        return Err((refusal.status.as_u16(), refusal.code));
    }
    let bytes = bytes(answer.body_mut());
    if let Some(length) = answer.headers().get("content-length") {
        assert_eq!(length, &bytes.len().to_string());
    }
    Ok(String::from_utf8(bytes).unwrap())
}

fn bytes(body: &mut Body) -> Vec<u8> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let mut bytes = Vec::new();
    loop {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Pending => {}
            Poll::Ready(None) => return bytes,
            Poll::Ready(Some(frame)) => bytes.extend(frame.unwrap().into_data().unwrap()),
        }
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
