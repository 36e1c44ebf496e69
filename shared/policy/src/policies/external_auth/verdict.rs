//! What the service decided, and what becomes of it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use super::config::may_be_removed;
use crate::body::Body;
use crate::policy::{Flow, Refusal};

/// Fields with their values, in order.
pub(super) type Fields = Box<[(HeaderName, HeaderValue)]>;

/// The most values that are taken of one answer for one message.
pub(super) const MOST_FIELDS: usize = 128;

/// What describes a body, and goes where that goes.
pub(super) const OF_BODY: [HeaderName; 3] =
    [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE];

/// What a client may get several times, one beside the other.
const GATHERED: [HeaderName; 2] = [header::SET_COOKIE, header::VARY];

/// What the service decided.
pub(super) enum Verdict {
    /// The request goes on.
    Allowed(Grant),
    /// It does not.
    Denied(Denial),
}

/// What goes on with a request.
#[derive(Default)]
pub(super) struct Grant {
    /// Taken off the request.
    pub(super) remove: Vec<HeaderName>,
    /// Set on it. What the client said in these is off already.
    pub(super) set: Vec<(HeaderName, HeaderValue)>,
    /// For the client.
    pub(super) answer: Fields,
}

/// What the client gets in the upstream's place.
pub(super) struct Denial {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What describes the body.
    pub(super) of_body: Vec<(HeaderName, HeaderValue)>,
    /// None where it could not be had.
    pub(super) body: Option<Bytes>,
}

/// The values of fields, in the order of the names; bounded by what was read.
pub(super) fn picked(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    let of = |name| {
        headers.get_all(name).iter().map(move |value| (HeaderName::clone(name), value.clone()))
    };
    names.iter().flat_map(of).collect()
}

/// Changes the request to the upstream as the service says.
pub(super) fn change_request(
    remove: &[HeaderName],
    set: Vec<(HeaderName, HeaderValue)>,
    headers: &mut HeaderMap,
) {
    for name in remove.iter().filter(|name| may_be_removed(name)) {
        headers.remove(name);
    }
    for (name, value) in set {
        headers.append(name, value);
    }
}

/// Adds fields to an answer, in the place of those that the upstream said once.
pub(super) fn add_to_answer(fields: Fields, headers: &mut HeaderMap) {
    for (name, _) in &fields {
        if !GATHERED.contains(name) {
            headers.remove(name);
        }
    }
    for (name, value) in fields {
        headers.append(name, value);
    }
}

impl Denial {
    /// As it is answered: with the service's own body, or with ours where that has none, and where the
    /// client reads nothing but `grpc-status`.
    pub(super) fn into_flow<C>(self, request: &Request<Body>) -> Flow<C> {
        let Self { status, headers, of_body, body } = self;
        let body = body.filter(|body| !body.is_empty());
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let is_grpc =
            content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if is_grpc || (body.is_none() && !status.is_redirection()) {
            return refusal(status, headers).into_flow();
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = status;
        let fields = response.headers_mut();
        for (name, value) in headers {
            fields.append(name, value);
        }
        // RFC 9111 §4.2.2: some of these statuses are kept by browsers that are told nothing.
        fields.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if let Some(body) = body {
            for (name, value) in of_body {
                fields.insert(name, value);
            }
            fields.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            if *request.method() != Method::HEAD {
                *response.body_mut() = Body::from(body);
            }
        }
        Flow::Answer(Box::new(response))
    }
}

fn refusal(status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>) -> Refusal {
    let (code, detail) = if status == StatusCode::UNAUTHORIZED {
        ("unauthenticated", "it is not known who calls")
    } else {
        ("forbidden", "this call may not be made")
    };
    let mut refusal = Refusal::new(status, code, detail);
    // Both are the refusal's own to say.
    let is_own = |name: &HeaderName| *name == header::CACHE_CONTROL || OF_BODY.contains(name);
    refusal.headers.extend(headers.into_iter().filter(|(name, _)| !is_own(name)));
    refusal
}
