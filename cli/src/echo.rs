//! `tollgate echo`: a toy upstream that answers any request with what it was asked, as JSON.
//!
//! HTTP/1.1, and HTTP/2 by prior knowledge. In the query, `status=503` has it answer so,
//! `delay_ms=250` has it wait before, `bytes=1024` has it answer so many bytes in the place of JSON.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::failure::{Failure, Outcome};
use crate::output::Output;

/// As much of a request's body as is answered.
const MAX_ECHOED_BYTES: usize = 64 * 1024;
const MAX_DELAY_MS: u64 = 60_000;
const MAX_FILLER_BYTES: u64 = 1 << 30;
/// How long open requests may take after the program was told to end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
const FILLER: Bytes = Bytes::from_static(&[b'x'; 16 * 1024]);

/// What `tollgate echo` takes.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Where to listen
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:9000",
        env = "TOLLGATE_ECHO_LISTEN"
    )]
    listen: String,
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Carries out `tollgate echo`, until the program is told to end.
pub(crate) async fn run(arguments: Arguments, out: Output) -> Result<Outcome, Failure> {
    let failed = |source| Failure::Listen { address: arguments.listen.clone(), source };
    let listener = TcpListener::bind(&arguments.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    out.line(&format!("echo listens on http://{address}"))?;
    let stop = CancellationToken::new();
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, address, stop.clone()));
                }
                // Out of files, most of all: some will be closed.
                Err(error) => {
                    out.note(&format!("accept a connection: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            _ = terminate.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    stop.cancel();
    connections.close();
    // What has not ended by then ends with the program.
    let _ = tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await;
    Ok(Outcome::Done)
}

async fn serve(stream: TcpStream, address: SocketAddr, stop: CancellationToken) {
    // Without it the second small write of an answer waits for the peer's acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    let service = hyper::service::service_fn(move |request| async move {
        Ok::<_, Infallible>(answer(request, address).await)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client that breaks off is the client's business.
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(request: Request<Incoming>, address: SocketAddr) -> Answer {
    let wishes = match Wishes::read(request.uri().query().unwrap_or_default()) {
        Ok(wishes) => wishes,
        Err(problem) => return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": problem })),
    };
    let (head, body) = request.into_parts();
    let (text, body_bytes) = read_body(body).await;
    let echo = json!({
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query().unwrap_or_default(),
        "version": format!("{:?}", head.version),
        "headers": headers(&head.headers, head.uri.authority().map(http::uri::Authority::as_str)),
        "body": text,
        "body_bytes": body_bytes,
        "listen": address.to_string(),
    });
    if !wishes.delay.is_zero() {
        tokio::time::sleep(wishes.delay).await;
    }
    match wishes.filler_bytes {
        Some(left) => {
            let mut answer = Response::new(Filler { left }.boxed_unsync());
            *answer.status_mut() = wishes.status;
            answer
        }
        None => json_answer(wishes.status, &echo),
    }
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    // RFC 9110 §6.4.1: these have no content.
    let has_content = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if has_content { Bytes::from(format!("{value}\n")) } else { Bytes::new() };
    let mut answer = Response::new(Full::new(body).boxed_unsync());
    *answer.status_mut() = status;
    if has_content {
        let json = http::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, json);
    }
    answer
}

/// Reads a body to its end; as text as much of it as is answered, and its whole length.
async fn read_body(mut body: Incoming) -> (String, u64) {
    let mut kept: Vec<u8> = Vec::new();
    let mut length: u64 = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(piece) = frame.data_ref() else { continue };
        length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        let room = MAX_ECHOED_BYTES.saturating_sub(kept.len());
        kept.extend(piece.iter().take(room));
    }
    (String::from_utf8_lossy(&kept).into_owned(), length)
}

/// Fields by name; a field that stands several times is a list. HTTP/2 has the host in its target.
fn headers(fields: &HeaderMap, authority: Option<&str>) -> Value {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for name in fields.keys() {
        let values = fields.get_all(name).iter();
        let mut values: Vec<Value> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into()).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::from(values) };
        all.insert(name.as_str().to_owned(), value);
    }
    if let Some(authority) = authority {
        all.entry("host".to_owned()).or_insert_with(|| authority.into());
    }
    all.into_iter().collect()
}

/// What the query asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wishes {
    status: StatusCode,
    delay: Duration,
    filler_bytes: Option<u64>,
}

impl Wishes {
    fn read(query: &str) -> Result<Self, String> {
        let mut wishes = Self { status: StatusCode::OK, delay: Duration::ZERO, filler_bytes: None };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = |range: std::ops::RangeInclusive<u64>| {
                let number = value.parse().ok().filter(|number| range.contains(number));
                number.ok_or_else(|| {
                    format!("{name} is not a number from {} to {}", range.start(), range.end())
                })
            };
            match name {
                "status" => {
                    let code = number(200..=599)?;
                    let status =
                        u16::try_from(code).ok().and_then(|code| StatusCode::from_u16(code).ok());
                    wishes.status = status.unwrap_or(StatusCode::OK);
                }
                "delay_ms" => wishes.delay = Duration::from_millis(number(0..=MAX_DELAY_MS)?),
                "bytes" => wishes.filler_bytes = Some(number(0..=MAX_FILLER_BYTES)?),
                _ => {}
            }
        }
        Ok(wishes)
    }
}

/// A body of so many `x`, made as it is sent.
struct Filler {
    left: u64,
}

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(FILLER.len());
        if length == 0 {
            return Poll::Ready(None);
        }
        self.left = self.left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(FILLER.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_stand_in_the_query_among_other_parameters() {
        let wishes = Wishes::read("a=1&status=503&delay_ms=20&bytes=5&b").unwrap();
        let delay = Duration::from_millis(20);
        assert_eq!(
            wishes,
            Wishes { status: StatusCode::SERVICE_UNAVAILABLE, delay, filler_bytes: Some(5) }
        );
    }

    #[test]
    fn a_wish_that_cannot_be_granted_is_told() {
        for query in ["status=99", "status=x", "delay_ms=60001", "bytes=-1"] {
            assert!(Wishes::read(query).is_err(), "{query}");
        }
    }

    #[tokio::test]
    async fn filler_is_as_long_as_asked() {
        let body = Filler { left: 40_000 }.collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), 40_000);
    }
}
