//! A service that speaks HTTP, as `auth_request` of nginx and `ForwardAuth` of Traefik ask it.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use tollgate_model::{Name, ResourceId};

use super::question::{Question, X_REQUEST_ID, put};
use super::verdict::{Denial, Grant, MOST_FIELDS, OF_BODY, Verdict, picked};
use super::{Method, Taken};
use crate::onward::{MAX_TARGET, refuse_length};
use crate::policies::headers;
use crate::policy::Refusal;
use crate::ports::CallAnswer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// How the service is asked.
pub(super) struct HttpService {
    pub(super) method: Method,
    pub(super) place: Place,
    pub(super) headers: Box<[(HeaderName, headers::Value)]>,
}

/// What is asked for.
pub(super) enum Place {
    /// The same for every request.
    Exact(PathAndQuery),
    /// This with the client's target behind it.
    Below(Box<str>),
}

impl HttpService {
    pub(super) fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        self.headers.iter().flat_map(|(_, value)| value.references(tenant)).collect()
    }

    /// The question as a request.
    ///
    /// # Errors
    ///
    /// A refusal, where the client's target is too long for what stands before it.
    pub(super) fn ask(&self, question: Question<'_>) -> Result<Request<Bytes>, Box<Refusal>> {
        let Question { cx, request, target, host, headers, body } = question;
        let place = match &self.place {
            Place::Exact(place) => place.clone(),
            Place::Below(prefix) => {
                let whole = format!("{prefix}{target}");
                let is_short = whole.len() <= MAX_TARGET;
                let whole = is_short.then(|| PathAndQuery::try_from(whole).ok()).flatten();
                whole.ok_or_else(refuse_length)?
            }
        };
        let mut asked = Request::new(body.unwrap_or_default());
        *asked.uri_mut() = Uri::from(place);
        *asked.method_mut() = match self.method {
            Method::Get => http::Method::GET,
            Method::Head => http::Method::HEAD,
            Method::Post => http::Method::POST,
            Method::Same => request.method().clone(),
        };
        *asked.headers_mut() = headers;
        // RFC 9110 §8.6: what usually has a body and has none says so.
        if asked.body().is_empty()
            && [http::Method::POST, http::Method::PUT, http::Method::PATCH].contains(asked.method())
        {
            asked.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let fields = asked.headers_mut();
        put(fields, X_FORWARDED_METHOD, request.method().as_str());
        put(fields, X_FORWARDED_URI, &target);
        put(fields, X_FORWARDED_PROTO, cx.scheme);
        put(fields, X_FORWARDED_FOR, &cx.client.address_text);
        put(fields, X_REQUEST_ID, cx.request_id);
        fields.remove(X_FORWARDED_HOST);
        if let Some(host) = host {
            fields.insert(X_FORWARDED_HOST, host.clone());
            fields.insert(header::HOST, host);
        }
        for (name, value) in &self.headers {
            fields.remove(name);
            if let Some(value) = value.render(cx, request) {
                fields.insert(name, value);
            }
        }
        Ok(asked)
    }
}

/// What an answer says; none where it says nothing about the request.
pub(super) fn verdict(answer: CallAnswer, taken: &Taken) -> Option<Verdict> {
    let CallAnswer { status, headers, body, .. } = answer;
    if status.is_success() {
        let request = picked(&headers, &taken.request);
        let response = picked(&headers, &taken.response);
        let is_bounded = request.len() <= MOST_FIELDS && response.len() <= MOST_FIELDS;
        return is_bounded.then(|| {
            Verdict::Allowed(Grant { remove: Vec::new(), set: request, answer: response.into() })
        });
    }
    denies(status).then(|| {
        let mut fields = picked(&headers, &taken.denial);
        fields.truncate(MOST_FIELDS);
        let of_body = OF_BODY.into_iter().filter_map(|name| {
            let value = headers.get(&name)?.clone();
            Some((name, value))
        });
        Verdict::Denied(Denial { status, headers: fields, of_body: of_body.collect(), body })
    })
}

/// Whether a status is about the client's request, and not about the service's own state.
fn denies(status: StatusCode) -> bool {
    let is_redirect = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    status.is_client_error() || is_redirect.contains(&status)
}
