//! Clients: one that sends whatever bytes it is told, and hyper's.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::soon;

/// A connection that sends what it is told, and reads answers byte for byte.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) version: u8,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    /// Whether it came to the end that its head promised.
    pub(crate) is_whole: bool,
    /// Whether 100 (Continue) came before it.
    pub(crate) was_continued: bool,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a problem document.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.field("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["request_id"], self.field("x-request-id"));
        problem["code"].as_str().unwrap().to_owned()
    }

    /// A field, empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A field of the request as the upstream saw it; its lines joined.
    pub(crate) fn seen(&self, name: &str) -> String {
        let lines = self.json()["headers"][name].as_array().cloned().unwrap_or_default();
        lines.iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join(", ")
    }
}

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::of(stream)
    }

    /// Over a connection that stands.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Reads to the first of these bytes; what came up to their end.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(end.len()).position(|window| window == end) {
                return self.read.drain(..at + end.len()).collect();
            }
            assert!(self.more().await, "{:?}", String::from_utf8_lossy(&self.read));
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends a request to `api.test` and reads its answer.
    pub(crate) async fn call(&mut self, line: &str, fields: &[&str], body: &str) -> Answer {
        self.send(request(line, fields, body)).await;
        self.answer_to(line).await
    }

    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    /// Reads one answer, by the rules of RFC 9112 §6.3.
    pub(crate) async fn answer_to(&mut self, line: &str) -> Answer {
        let mut was_continued = false;
        loop {
            let (status, version, headers) = self.head().await;
            if status == 100 {
                was_continued = true;
                continue;
            }
            let is_bodiless = line.starts_with("HEAD") || matches!(status, 204 | 304);
            let length =
                headers.get("content-length").map(|l| l.to_str().unwrap().parse().unwrap());
            let is_chunked = headers.contains_key("transfer-encoding");
            let mut trailers = HeaderMap::new();
            let (body, is_whole) = if is_bodiless {
                (Vec::new(), true)
            } else if is_chunked {
                self.chunked(&mut trailers).await
            } else if let Some(length) = length {
                self.exactly(length).await
            } else {
                let mut body = std::mem::take(&mut self.read);
                while self.more().await {
                    body.append(&mut self.read);
                }
                (body, true)
            };
            return Answer { status, version, headers, body, trailers, is_whole, was_continued };
        }
    }

    /// Reads a head.
    pub(crate) async fn head(&mut self) -> (u16, u8, HeaderMap) {
        loop {
            if let Some(head) = self.parse_head() {
                return head;
            }
            let is_open = self.more().await;
            assert!(is_open, "closed within a head: {}", String::from_utf8_lossy(&self.read));
        }
    }

    fn parse_head(&mut self) -> Option<(u16, u8, HeaderMap)> {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(&self.read).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&self.read));
        });
        let httparse::Status::Complete(length) = parsed else { return None };
        let mut headers = HeaderMap::new();
        for field in response.headers.iter() {
            let name: HeaderName = field.name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(field.value).unwrap());
        }
        let head = (response.code.unwrap(), response.version.unwrap(), headers);
        self.read.drain(..length);
        Some(head)
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.read.len() < length {
            if !self.more().await {
                return (std::mem::take(&mut self.read), false);
            }
        }
        (self.read.drain(..length).collect(), true)
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|end| end == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn chunked(&mut self, trailers: &mut HeaderMap) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(size) = self.line().await else { return (body, false) };
            let size = usize::from_str_radix(&size, 16).unwrap();
            if size == 0 {
                break;
            }
            let (mut data, is_whole) = self.exactly(size).await;
            body.append(&mut data);
            if !is_whole || self.line().await.is_none() {
                return (body, false);
            }
        }
        loop {
            match self.line().await {
                None => return (body, false),
                Some(line) if line.is_empty() => return (body, true),
                Some(line) => {
                    let (name, value) = line.split_once(':').unwrap();
                    let name: HeaderName = name.parse().unwrap();
                    trailers.append(name, value.trim().parse().unwrap());
                }
            }
        }
    }

    /// Reads more; false at the end, also where it comes as a reset.
    pub(crate) async fn more(&mut self) -> bool {
        soon(self.stream.read_buf(&mut self.read)).await.is_ok_and(|length| length > 0)
    }

    /// Bytes of an answer that were read and not taken.
    pub(crate) fn read_bytes(&self) -> usize {
        self.read.len()
    }

    /// Reads to the end of the connection; what came before it. Fails where it ends with a reset.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        soon(self.stream.read_to_end(&mut self.read)).await.unwrap();
        std::mem::take(&mut self.read)
    }

    /// Whether nothing comes for a while.
    pub(crate) async fn is_silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.read_buf(&mut self.read)).await.is_err()
    }
}

/// A request of HTTP/1.1 to `api.test`.
pub(crate) fn request(line: &str, fields: &[&str], body: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nhost: api.test\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    if !body.is_empty() {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text
}

pub(crate) type SendBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body in memory.
pub(crate) fn full(text: &str) -> SendBody {
    Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {}).boxed_unsync()
}

/// hyper's client of HTTP/1.
pub(crate) struct Http1 {
    pub(crate) sender: http1::SendRequest<SendBody>,
    _connection: JoinSet<()>,
}

/// hyper's client of HTTP/2, with prior knowledge.
pub(crate) struct Http2 {
    pub(crate) sender: http2::SendRequest<SendBody>,
    connection: JoinSet<()>,
}

impl Http1 {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        let (sender, connection) = soon(http1::handshake(TokioIo::new(stream))).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self { sender, _connection: tasks }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<SendBody>,
    ) -> hyper::Result<Response<Incoming>> {
        soon(async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        })
        .await
    }
}

impl Http2 {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = soon(handshake).await.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Self { sender, connection: tasks }
    }

    pub(crate) async fn send(
        &mut self,
        request: Request<SendBody>,
    ) -> hyper::Result<Response<Incoming>> {
        soon(self.sender.send_request(request)).await
    }

    /// A request to `api.test`, and its answer.
    pub(crate) async fn call(&mut self, request: http::request::Builder, body: SendBody) -> Answer {
        let response = self.send(request.body(body).unwrap()).await.unwrap();
        collected(response).await
    }

    /// Waits until the node has ended the connection.
    pub(crate) async fn ended(&mut self) {
        soon(self.connection.join_next()).await;
    }
}

/// An answer of hyper's, read to its end.
pub(crate) async fn collected(response: Response<Incoming>) -> Answer {
    let (head, mut incoming) = response.into_parts();
    let (mut body, mut trailers, mut is_whole) = (Vec::new(), HeaderMap::new(), true);
    while let Some(frame) = soon(incoming.frame()).await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => body.extend_from_slice(&data),
            Ok(Err(frame)) => trailers = frame.into_trailers().unwrap_or_default(),
            Err(_) => {
                is_whole = false;
                break;
            }
        }
    }
    Answer {
        status: head.status.as_u16(),
        version: u8::from(head.version != http::Version::HTTP_10),
        headers: head.headers,
        body,
        trailers,
        is_whole,
        was_continued: false,
    }
}
