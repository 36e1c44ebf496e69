//! What of a request the service is told, whatever it speaks.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};

use crate::body::Body;
use crate::onward::refuse_path;
use crate::policy::{Cx, Refusal};
use crate::target::{EncodedSlash, Target};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the body of a request is, and how it is coded.
const OF_BODY: [HeaderName; 2] = [header::CONTENT_TYPE, header::CONTENT_ENCODING];

/// A request, as it came.
pub(super) struct Question<'a> {
    pub(super) cx: &'a Cx<'a>,
    pub(super) request: &'a Request<Body>,
    /// Path and query. The path is the one that the route was found by: a service that saw another
    /// spelling of it could be led past its own rules.
    pub(super) target: String,
    /// The host that the client named.
    pub(super) host: Option<HeaderValue>,
    /// The client's fields that the service gets.
    pub(super) headers: HeaderMap,
    /// The body that the service gets; none where it gets none.
    pub(super) body: Option<Bytes>,
}

impl<'a> Question<'a> {
    /// A question about a request.
    ///
    /// # Errors
    ///
    /// A refusal, where servers could read the path in two ways.
    pub(super) fn about(
        cx: &'a Cx<'a>,
        request: &'a Request<Body>,
        sent: &[HeaderName],
        body: Option<Bytes>,
    ) -> Result<Self, Box<Refusal>> {
        let uri = request.uri();
        // What a route was found by had its encoded slashes judged already.
        let path = Target::parse(uri.path(), EncodedSlash::Allow).map_err(refuse_path)?;
        let target = match uri.query() {
            None => path.into_path().into_owned(),
            Some(query) => format!("{}?{query}", path.path()),
        };
        let host = request.headers().get(header::HOST).cloned().or_else(|| {
            uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
        });
        let mut headers = HeaderMap::with_capacity(sent.len() + 8);
        for name in sent {
            copy(name, request.headers(), &mut headers);
        }
        let of_body: &[HeaderName] = if body.is_some() { &OF_BODY } else { &[] };
        for name in of_body {
            headers.remove(name);
            copy(name, request.headers(), &mut headers);
        }
        Ok(Self { cx, request, target, host, headers, body })
    }
}

fn copy(name: &HeaderName, from: &HeaderMap, to: &mut HeaderMap) {
    let values = from.get_all(name);
    // RFC 9113 §8.2.3: HTTP/2 may send the pieces of `cookie` apart.
    if *name == header::COOKIE {
        if let Some(whole) = joined(values.iter(), b"; ") {
            to.insert(name, whole);
        }
        return;
    }
    for value in values {
        to.append(name, value.clone());
    }
}

/// Several values in one; none where there are none.
pub(super) fn joined<'v>(
    values: impl Iterator<Item = &'v HeaderValue>,
    between: &[u8],
) -> Option<HeaderValue> {
    let values: Vec<&HeaderValue> = values.collect();
    match values.as_slice() {
        [] => None,
        [only] => Some((*only).clone()),
        several => {
            let texts: Vec<&[u8]> = several.iter().map(|value| value.as_bytes()).collect();
            HeaderValue::from_bytes(&texts.join(between)).ok()
        }
    }
}

/// Writes a field, in the place of what the client said in it.
pub(super) fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    headers.remove(&name);
    // Targets, methods and addresses have no byte that a field cannot hold.
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
        headers.insert(name, value);
    }
}
