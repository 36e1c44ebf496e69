//! A question by the gRPC health checking protocol: `Check` of `grpc.health.v1.Health`, over a connection of HTTP/2.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body::Body;
use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
use tollgate_model::health::GrpcCheck;

/// `SERVING` in `HealthCheckResponse.ServingStatus`.
const SERVING: i32 = 1;
/// What is before a message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;
/// More than an answer has.
const MOST_BYTES: usize = 1024;
const METHOD: &str = "/grpc.health.v1.Health/Check";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Why an answer is not that of a server that serves.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotServing {
    #[error("it answered with HTTP status {0}")]
    Http(http::StatusCode),
    #[error("it answered with gRPC status {0:?}")]
    Grpc(HeaderValue),
    #[error("its answer is broken off, too long, or none of gRPC")]
    Malformed,
    #[error("it says that it does not serve: {0}")]
    Says(i32),
}

/// The question, as a request to `authority`.
pub(super) fn question(
    check: &GrpcCheck,
    scheme: &str,
    authority: &str,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let message = HealthCheckRequest { service: check.service.clone() }.encode_to_vec();
    let mut body = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(&message);
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(METHOD).build()?;
    Request::post(uri)
        .header(header::CONTENT_TYPE, GRPC)
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "tollgate-health")
        .body(Full::new(body.freeze()))
}

/// Whether the answer is that of a server that serves.
pub(super) async fn is_serving<B>(response: Response<B>) -> Result<(), NotServing>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = response.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(NotServing::Http(head.status));
    }
    // Where there is nothing but a status, it stands in the head.
    status_of(&head.headers)?;
    let collected = Limited::new(body, MOST_BYTES).collect().await;
    let collected = collected.map_err(|_broken| NotServing::Malformed)?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let has_status =
        trailers.contains_key("grpc-status") || head.headers.contains_key("grpc-status");
    if !has_status {
        return Err(NotServing::Malformed);
    }
    status_of(&trailers)?;
    match status_in(&collected.to_bytes()) {
        Some(SERVING) => Ok(()),
        Some(status) => Err(NotServing::Says(status)),
        None => Err(NotServing::Malformed),
    }
}

fn status_of(fields: &HeaderMap) -> Result<(), NotServing> {
    match fields.get("grpc-status") {
        Some(status) if status != "0" => Err(NotServing::Grpc(status.clone())),
        _ => Ok(()),
    }
}

/// The status in the one message of an answer; none where it is not one message as it was asked for.
fn status_in(bytes: &[u8]) -> Option<i32> {
    let (prefix, message) = bytes.split_at_checked(PREFIX_BYTES)?;
    let (is_compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *is_compressed != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    HealthCheckResponse::decode(message).ok().map(|response| response.status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0][..], &length, message].concat()
    }

    #[tokio::test]
    async fn a_question_is_framed_as_the_protocol_says() {
        let check = GrpcCheck { service: "shop".to_owned() };
        let request = question(&check, "http", "orders:9000").unwrap();
        assert_eq!(request.uri(), "http://orders:9000/grpc.health.v1.Health/Check");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(*body, framed(b"\x0a\x04shop"));
        let whole = question(&GrpcCheck::default(), "http", "orders:9000").unwrap();
        assert_eq!(*whole.into_body().collect().await.unwrap().to_bytes(), framed(b""));
    }

    #[test]
    fn what_is_not_one_plain_message_has_no_status() {
        assert_eq!(status_in(&framed(b"\x08\x01")), Some(SERVING));
        assert_eq!(status_in(&framed(b"\x08\x02")), Some(2));
        // Proto3 leaves 0 out.
        assert_eq!(status_in(&framed(b"")), Some(0));
        let compressed = [&[1][..], &framed(b"\x08\x01")[1..]].concat();
        let twice = framed(b"\x08\x01").repeat(2);
        for bytes in [&b""[..], b"\0\0\0", &framed(b"\x08"), &compressed, &twice] {
            assert_eq!(status_in(bytes), None, "{bytes:?}");
        }
        assert_eq!(status_in(&framed(b"\x08\x01")[..6]), None);
    }

    async fn verdict(status: u16, fields: &[(&str, &str)], body: &[u8]) -> Result<(), NotServing> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        is_serving(response.body(Full::new(Bytes::copy_from_slice(body))).unwrap()).await
    }

    #[tokio::test]
    async fn only_a_whole_answer_that_says_so_is_serving() {
        let ok = [("grpc-status", "0")];
        assert!(verdict(200, &ok, &framed(b"\x08\x01")).await.is_ok());
        let bad = [
            verdict(503, &ok, &framed(b"\x08\x01")).await,
            verdict(200, &[], &framed(b"\x08\x01")).await,
            verdict(200, &[("grpc-status", "5")], b"").await,
            verdict(200, &ok, &framed(b"\x08\x02")).await,
            verdict(200, &ok, &[0; MOST_BYTES + 1]).await,
        ];
        assert!(bad.iter().all(Result::is_err), "{bad:?}");
    }
}
