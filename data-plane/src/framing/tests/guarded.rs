//! The guarded stream, alone and under hyper.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::super::{Guarded, Limits, Position, Watch, guard, violation};
use super::strategy::{cuts, mangled, pieces, request};

#[tokio::test]
async fn good_bytes_are_read_and_followed() {
    let (mut client, server) = tokio::io::duplex(1024);
    let mut guarded = Guarded::new(server, Limits::default());
    let watch = guarded.watch();
    let mut buffer = [0; 64];
    assert_eq!(watch.position(), Position::BetweenRequests);

    client.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(guarded.read(&mut buffer).await.unwrap(), 17);
    assert_eq!((watch.position(), watch.requests()), (Position::InHead, 0));

    client.write_all(b"host: a\r\ncontent-length: 2\r\n\r\n").await.unwrap();
    let read = guarded.read(&mut buffer).await.unwrap();
    assert_eq!(&buffer[..read], b"host: a\r\ncontent-length: 2\r\n\r\n");
    assert_eq!((watch.position(), watch.requests()), (Position::InBody, 1));

    client.write_all(b"ok").await.unwrap();
    assert_eq!(guarded.read(&mut buffer).await.unwrap(), 2);
    assert_eq!((watch.position(), watch.requests()), (Position::BetweenRequests, 1));
    assert_eq!(watch.violation(), None);
}

#[tokio::test]
async fn a_read_with_a_violation_gives_no_byte_and_writes_still_work() {
    let (mut client, server) = tokio::io::duplex(1024);
    let mut guarded = Guarded::new(server, Limits::default());
    let watch = guarded.watch();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\n").await.unwrap();
    let mut bytes = vec![b'.'];
    let error = guarded.read_buf(&mut bytes).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(error.get_ref().and_then(|cause| cause.downcast_ref()), Some(&violation::BARE_LF));
    assert_eq!(bytes, b".");
    assert_eq!(watch.violation(), Some(violation::BARE_LF));

    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let again = guarded.read_buf(&mut bytes).await.unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::InvalidData);
    assert_eq!(bytes, b".");

    guarded.write_all(b"answer").await.unwrap();
    // As hyper does; it must not come between the client and the answer.
    guarded.shutdown().await.unwrap();
    guarded.write_all(b", and the rest").await.unwrap();
    drop(guarded);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer, and the rest");
}

#[tokio::test]
async fn a_released_stream_is_read_as_it_is() {
    let (mut client, server) = tokio::io::duplex(1024);
    let mut guarded = Guarded::new(server, Limits::default());
    let watch = guarded.watch();
    let mut bytes = Vec::new();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n\r\n").await.unwrap();
    guarded.read_buf(&mut bytes).await.unwrap();
    watch.release();
    assert_eq!(watch.position(), Position::Upgraded);
    bytes.clear();
    client.write_all(b"\0\n\r\n").await.unwrap();
    guarded.read_buf(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"\0\n\r\n");
    assert_eq!((watch.violation(), watch.requests()), (None, 1));
}

/// What hyper made of a stream.
#[derive(Debug)]
struct Served {
    /// The body of each request, `None` where it broke off.
    bodies: Vec<Option<Vec<u8>>>,
    result: Result<(), hyper::Error>,
    watch: Watch,
}

/// Serves the pieces by hyper behind the guard, each as one read, and then the end of the stream.
fn serve(pieces: &[&[u8]]) -> Served {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let reads = Reads(pieces.iter().map(|piece| piece.to_vec()).collect());
        let (io, watch) = guard(tokio::io::join(reads, tokio::io::sink()), Limits::default());
        let bodies = Rc::new(RefCell::new(Vec::new()));
        let service = service_fn(|request: Request<Incoming>| {
            let bodies = Rc::clone(&bodies);
            async move {
                let body = request.into_body().collect().await.ok();
                bodies.borrow_mut().push(body.map(|body| body.to_bytes().to_vec()));
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let mut connection = http1::Builder::new().half_close(true).serve_connection(io, service);
        let result = (&mut connection).await;
        drop(connection);
        Served { bodies: bodies.take(), result, watch }
    })
}

/// A stream that gives one piece a read.
struct Reads(VecDeque<Vec<u8>>);

impl AsyncRead for Reads {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let reads = &mut self.get_mut().0;
        reads.retain(|piece| !piece.is_empty());
        if let Some(piece) = reads.front_mut() {
            let fits = piece.len().min(buffer.remaining());
            buffer.put_slice(&piece[..fits]);
            piece.drain(..fits);
        }
        Poll::Ready(Ok(()))
    }
}

#[test]
fn hyper_never_sees_a_request_that_is_refused() {
    for (request, violation) in [
        (&b"GET / HTTP/1.1\nhost: a\n\n"[..], violation::BARE_LF),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            violation::BOTH_LENGTHS,
        ),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx",
            violation::CONTENT_LENGTH_LIST,
        ),
    ] {
        for cut in 0..request.len() {
            let served = serve(&[&request[..cut], &request[cut..]]);
            assert_eq!(served.watch.violation(), Some(violation), "cut at {cut}");
            assert_eq!(served.watch.unanswered(), Some(violation), "cut at {cut}");
            assert!(served.bodies.is_empty(), "cut at {cut}: {served:?}");
        }
    }
}

#[test]
fn a_body_that_turns_bad_breaks_off_and_its_exchange_answers() {
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    let served = serve(&[head, b"2\nno\n0\n\n"]);
    assert_eq!(served.bodies, [None]);
    assert_eq!(served.watch.violation(), Some(violation::BARE_LF));
    assert_eq!(served.watch.unanswered(), None);
}

#[test]
fn a_bad_body_that_came_with_its_head_is_answered_by_the_connection() {
    let served = serve(&[
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n2\nno\n0\n\n",
    ]);
    assert!(served.bodies.is_empty());
    assert_eq!(served.watch.unanswered(), Some(violation::BARE_LF));
}

#[tokio::test]
async fn the_stream_comes_back_from_hyper_for_the_answer() {
    let bad = "GET / HTTP/1.1\r\nhost : a\r\n\r\n";
    // Refused at once, and after a part of it went to hyper.
    for reads in [vec![bad], vec![&bad[..5], &bad[5..]]] {
        let (mut client, server) = tokio::io::duplex(1024);
        let (io, watch) = guard(server, Limits::default());
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let mut connection = http1::Builder::new().serve_connection(io, service);
        for read in reads {
            client.write_all(read.as_bytes()).await.unwrap();
            let _ = futures_util::poll!(&mut connection);
        }
        let violation = watch.unanswered().unwrap();
        assert_eq!(violation, violation::SPACE_BEFORE_COLON);
        let mut stream = connection.into_parts().io.into_inner().into_inner();
        stream.write_all(b"the answer").await.unwrap();
        drop(stream);
        let mut received = String::new();
        client.read_to_string(&mut received).await.unwrap();
        assert_eq!(received, "the answer");
    }
}

#[tokio::test]
async fn a_good_request_is_answered_before_a_later_bad_one() {
    let (mut client, server) = tokio::io::duplex(1024);
    let (io, watch) = guard(server, Limits::default());
    let service = service_fn(|_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut connection = http1::Builder::new().serve_connection(io, service);
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert!(futures_util::poll!(&mut connection).is_pending());
    client.write_all(b"GET / HTTP/1.1\nhost: a\n\n").await.unwrap();
    let _ = (&mut connection).await;
    assert_eq!(watch.unanswered(), Some(violation::BARE_LF));
    assert_eq!(watch.requests(), 1);
    let mut stream = connection.into_parts().io.into_inner().into_inner();
    stream.write_all(b"the answer").await.unwrap();
    drop(stream);
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert!(received.starts_with("HTTP/1.1 200 OK\r\n"), "{received}");
    assert!(received.ends_with("\r\n\r\nthe answer"), "{received}");
}

#[test]
fn the_guarded_stream_suits_an_upgradable_connection() {
    fn is_send<T: Send + Unpin + 'static>() {}
    is_send::<super::super::GuardedIo<tokio::net::TcpStream>>();
    is_send::<Watch>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hyper_reads_the_same_bodies(requests in vec(request(), 1..4), cuts in cuts()) {
        let expected: Vec<_> = requests.iter().map(|(_, body)| Some(body.clone())).collect();
        let stream: Vec<u8> = requests.into_iter().flat_map(|(bytes, _)| bytes).collect();
        let served = serve(&pieces(&stream, &cuts));
        prop_assert_eq!(served.watch.violation(), None);
        prop_assert!(served.result.is_ok());
        prop_assert_eq!(served.bodies, expected);
    }

    #[test]
    fn hyper_never_finds_another_request_than_the_validator(stream in mangled(), cuts in cuts()) {
        let served = serve(&pieces(&stream, &cuts));
        let seen = u64::try_from(served.bodies.len()).unwrap();
        prop_assert!(seen <= served.watch.requests(), "{:?}", served);
        // After a request of HTTP/1.0 hyper closes; with an error it need not have seen all.
        let is_1_0 = stream.windows(8).any(|window| window == b"HTTP/1.0");
        if served.result.is_ok() && served.watch.violation().is_none() && !is_1_0 {
            prop_assert_eq!(seen, served.watch.requests());
        }
    }
}
