//! A service that speaks gRPC: `envoy.service.auth.v3.Authorization/Check`, as the external
//! authorization of Envoy asks it.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, Version, header};
use http_body::Body as _;
use prost::Message;
use tollgate_model::{Name, ResourceId};

use super::Taken;
use super::question::{Question, TRACEPARENT, TRACESTATE, X_REQUEST_ID, joined, put};
use super::verdict::{Denial, Grant, MOST_FIELDS, OF_BODY, Verdict};
use crate::ports::CallAnswer;
use crate::template::Template;

// The messages, as far as they are used.
pub(super) mod messages;

use messages::{
    Address, Attributes, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
    HttpRequest, HttpResponse, OkHttpResponse, Peer, RequestAttributes, SocketAddress, Timestamp,
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// What stands before a message: whether it is compressed, and its length (gRPC over HTTP/2,
/// "Length-Prefixed-Message").
const PREFIX_BYTES: usize = 5;

/// Of `google.rpc.Code`.
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// How the service is asked.
pub(super) struct GrpcService {
    pub(super) context: Box<[(String, Template)]>,
}

impl GrpcService {
    pub(super) fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.context.iter().flat_map(|(_, template)| template.references(tenant)).collect()
    }

    /// The question as a request.
    pub(super) fn ask(&self, question: Question<'_>, timeout: Duration) -> Request<Bytes> {
        let (cx, host) = (question.cx, question.host.clone());
        let mut asked = Request::new(Bytes::new());
        *asked.method_mut() = http::Method::POST;
        *asked.uri_mut() = Uri::from_static(CHECK);
        let fields = asked.headers_mut();
        for name in [TRACEPARENT, TRACESTATE] {
            if let Some(value) = question.headers.get(&name) {
                fields.insert(name, value.clone());
            }
        }
        if let Some(host) = host {
            fields.insert(header::HOST, host);
        }
        fields.insert(header::CONTENT_TYPE, GRPC);
        fields.insert(header::TE, TRAILERS);
        // At most 8 digits, and a unit.
        put(fields, GRPC_TIMEOUT, &format!("{}m", timeout.as_millis().min(99_999_999)));
        put(fields, X_REQUEST_ID, cx.request_id);
        *asked.body_mut() = framed(&CheckRequest { attributes: Some(self.attributes(question)) });
        asked
    }

    fn attributes(&self, question: Question<'_>) -> Attributes {
        let (cx, request) = (question.cx, question.request);
        let context = self
            .context
            .iter()
            .map(|(name, template)| (name.clone(), template.render(cx, request).into_owned()));
        let address = SocketAddress { address: cx.client.address_text.to_string() };
        let client = Peer { address: Some(Address { socket_address: Some(address) }) };
        let micros = cx.now_unix_micros % 1_000_000;
        let time = Timestamp {
            seconds: i64::try_from(cx.now_unix_micros / 1_000_000).unwrap_or(i64::MAX),
            nanos: i32::try_from(micros * 1000).unwrap_or(0),
        };
        Attributes {
            source: Some(client),
            context_extensions: context.collect(),
            request: Some(RequestAttributes { time: Some(time), http: Some(http_of(question)) }),
        }
    }
}

fn http_of(question: Question<'_>) -> HttpRequest {
    let Question { cx, request, target, host, headers, body } = question;
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let merged = |name: &HeaderName| {
        let value = joined(headers.get_all(name).iter(), b",")?;
        Some((name.as_str().to_owned(), text(&value)))
    };
    let headers: BTreeMap<String, String> = headers.keys().filter_map(merged).collect();
    // A text where it is one: services that look into bodies look there.
    let body = body.unwrap_or_default();
    let (body, raw_body) = match std::str::from_utf8(&body) {
        Ok(text) => (text.to_owned(), Bytes::new()),
        Err(_not_a_text) => (String::new(), body),
    };
    let protocol = match request.version() {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    };
    let length = request.body().size_hint().exact();
    HttpRequest {
        id: cx.request_id.to_owned(),
        method: request.method().as_str().to_owned(),
        headers,
        path: target,
        host: host.as_ref().map(text).unwrap_or_default(),
        scheme: cx.scheme.to_owned(),
        size: length.and_then(|length| i64::try_from(length).ok()).unwrap_or(-1),
        protocol: protocol.to_owned(),
        body,
        raw_body,
    }
}

fn framed(message: &CheckRequest) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    bytes.put_u8(0);
    // A target, a body of 1 MiB and the fields of one head are far below 4 GiB.
    bytes.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut bytes);
    bytes.freeze()
}

/// The one message of an answer; none where there is not exactly one, in the clear.
fn unframed(mut body: Bytes) -> Option<CheckResponse> {
    if body.len() < PREFIX_BYTES || body.get_u8() != 0 {
        return None;
    }
    let length = usize::try_from(body.get_u32()).ok()?;
    if body.len() != length {
        return None;
    }
    CheckResponse::decode(body).ok()
}

/// What an answer says; none where it says nothing about the request.
pub(super) fn verdict(answer: CallAnswer, taken: &Taken) -> Option<Verdict> {
    let content_type = answer.headers.get(header::CONTENT_TYPE)?;
    let is_grpc = content_type.as_bytes().starts_with(GRPC.as_bytes());
    if answer.status != StatusCode::OK || !is_grpc {
        return None;
    }
    // An answer of trailers alone has them in its head.
    let status = |fields: &HeaderMap| fields.get(GRPC_STATUS)?.to_str().ok()?.parse::<i32>().ok();
    match status(&answer.trailers).or_else(|| status(&answer.headers))? {
        OK => judged(unframed(answer.body?)?, taken),
        PERMISSION_DENIED => Some(denied(StatusCode::FORBIDDEN)),
        UNAUTHENTICATED => Some(denied(StatusCode::UNAUTHORIZED)),
        _ => None,
    }
}

fn judged(response: CheckResponse, taken: &Taken) -> Option<Verdict> {
    let code = response.status.map(|status| status.code);
    match (response.http_response, code) {
        (Some(HttpResponse::Error(_)), _) | (None, None) => None,
        // Whatever the status says beside it: what denies is no grant.
        (Some(HttpResponse::Denied(denial)), code) => {
            Some(denied_with(denial, default_status(code), taken))
        }
        (Some(HttpResponse::Ok(grant)), None | Some(OK)) => allowed(grant, taken),
        (None, Some(OK)) => Some(Verdict::Allowed(Grant::default())),
        (Some(HttpResponse::Ok(_)) | None, code) => Some(denied(default_status(code))),
    }
}

fn default_status(code: Option<i32>) -> StatusCode {
    if code == Some(UNAUTHENTICATED) { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN }
}

fn denied(status: StatusCode) -> Verdict {
    Verdict::Denied(Denial { status, headers: Vec::new(), of_body: Vec::new(), body: None })
}

fn denied_with(denial: DeniedHttpResponse, default: StatusCode, taken: &Taken) -> Verdict {
    let given = denial.status.and_then(|status| u16::try_from(status.code).ok());
    let is_refusal = |status: &StatusCode| {
        status.as_u16() >= 300 && status.as_u16() < 600 && *status != StatusCode::NOT_MODIFIED
    };
    let status = given.and_then(|code| StatusCode::from_u16(code).ok()).filter(is_refusal);
    // What cannot stand in a message is left out; the request is refused all the same.
    let mut headers = chosen(&denial.headers, &taken.denial).unwrap_or_default();
    headers.truncate(MOST_FIELDS);
    let of_body = chosen(&denial.headers, &OF_BODY).unwrap_or_default();
    Verdict::Denied(Denial {
        status: status.unwrap_or(default),
        headers,
        of_body,
        body: Some(Bytes::from(denial.body)),
    })
}

fn allowed(grant: OkHttpResponse, taken: &Taken) -> Option<Verdict> {
    let OkHttpResponse { headers, headers_to_remove, response_headers_to_add } = grant;
    let set = chosen(&headers, &taken.request)?;
    let answer = chosen(&response_headers_to_add, &taken.response)?;
    let is_bounded = [set.len(), answer.len(), headers_to_remove.len()]
        .iter()
        .all(|length| *length <= MOST_FIELDS);
    // Envoy leaves out what cannot be removed, such as `:path`.
    let remove = headers_to_remove
        .iter()
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        .collect();
    is_bounded.then(|| Verdict::Allowed(Grant { remove, set, answer: answer.into() }))
}

/// The values of fields that are taken; none where one of them cannot stand in a message. A value
/// takes the place of the one before it, but for those that are appended.
fn chosen(
    given: &[HeaderValueOption],
    names: &[HeaderName],
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut chosen: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for option in given {
        let Some(field) = &option.header else { continue };
        let is_it = |name: &&HeaderName| name.as_str().eq_ignore_ascii_case(&field.key);
        let Some(name) = names.iter().find(is_it) else { continue };
        let bytes =
            if field.raw_value.is_empty() { field.value.as_bytes() } else { &field.raw_value };
        let value = HeaderValue::from_bytes(bytes).ok()?;
        let is_appended = option.append.as_ref().is_some_and(|append| append.value)
            || *name == header::SET_COOKIE;
        if !is_appended {
            chosen.retain(|(other, _)| other != name);
        }
        chosen.push((name.clone(), value));
        if chosen.len() > MOST_FIELDS {
            return None;
        }
    }
    Some(chosen)
}
