use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;

use crate::body::{Body, BodyError, BrokenOff};
use crate::chain::Carries;
use crate::policy::{Flow, Refusal};
use crate::support::{World, chain, request};

/// A body in pieces that does not tell its length.
struct Pieces(Vec<&'static str>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let piece = (!self.0.is_empty()).then(|| self.0.remove(0));
        std::task::Poll::Ready(piece.map(|piece| Ok(http_body::Frame::data(piece.into()))))
    }
}

fn pieces(pieces: &[&'static str]) -> Body {
    Body::stream(Pieces(pieces.to_vec()))
}

fn post(body: Body) -> Request<Body> {
    let (head, _) = request(&[]).into_parts();
    Request::from_parts(head, body)
}

/// What comes of a body: the bytes, and the code that it was broken off with.
async fn read(body: &mut Body) -> (String, Option<&'static str>) {
    let mut text = String::new();
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut *body).poll_frame(cx)).await;
        match frame {
            None => return (text, None),
            Some(Ok(frame)) => {
                text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            }
            Some(Err(error)) => {
                let BrokenOff(refusal) = *error.downcast().unwrap();
                return (text, Some(refusal.code));
            }
        }
    }
}

#[tokio::test]
async fn a_length_that_is_told_decides_at_once() {
    let (world, chain) = (World::default(), chain(&["body_size: {request: 4B}"]));
    for (text, refused) in [("", None), ("four", None), ("fives", Some((413, "body_too_large")))] {
        let met = world.exchange(&chain, post(Body::from(Bytes::from(text)))).await;
        assert_eq!(met.refused(), refused, "{text}");
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_broken_off_where_it_is_too_large() {
    let (world, chain) = (World::default(), chain(&["body_size: {request: 4B}"]));
    for (given, passed, code) in [
        (&["ab", "cd"][..], "abcd", None),
        (&["ab", "cde", "f"], "ab", Some("body_too_large")),
        (&["abcde"], "", Some("body_too_large")),
    ] {
        let mut met = world.exchange(&chain, post(pieces(given))).await;
        assert_eq!(met.refused(), None);
        assert_eq!(read(met.request.body_mut()).await, (passed.to_owned(), code));
        assert!(met.request.body().is_end_stream() || code.is_none());
    }
}

async fn answered(policy: &str, body: Body) -> Response<Body> {
    let (world, chain) = (World::default(), chain(&[policy]));
    let (mut cx, mut carries, mut request) = (world.cx(), Carries::default(), request(&[]));
    let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
    assert!(matches!(flow, Flow::Next(())));
    let mut response = Response::builder().header("content-length", "5").body(body).unwrap();
    chain.on_response(&mut carries, &mut cx, &mut response).await;
    response
}

#[tokio::test]
async fn an_answer_that_is_too_large_becomes_502() {
    let mut response =
        answered("body_size: {response: 4B}", Body::from(Bytes::from("fives"))).await;
    assert_eq!((response.status().as_u16(), response.headers().len()), (502, 0));
    let refusal = Refusal::take_from(&mut response).unwrap();
    assert_eq!(refusal.code, "response_too_large");
    assert!(Refusal::take_from(&mut response).is_none());
}

#[tokio::test]
async fn an_answer_without_a_length_is_broken_off() {
    let mut response = answered("body_size: {response: 4B}", pieces(&["abc", "de"])).await;
    assert_eq!(read(response.body_mut()).await, ("abc".to_owned(), Some("response_too_large")));
}

#[tokio::test]
async fn only_what_is_bounded_is_looked_at() {
    let mut response = answered("body_size: {request: 1B}", Body::from(Bytes::from("fives"))).await;
    assert_eq!(read(response.body_mut()).await, ("fives".to_owned(), None));
    let (world, chain) = (World::default(), chain(&["body_size: {response: 1B}"]));
    assert_eq!(world.exchange(&chain, post(pieces(&["fives"]))).await.refused(), None);
}
