//! What can be tried again after a failed attempt, and what it is made of.

use http::{HeaderMap, Method, Request, Uri, Version};
use tollgate_model::upstream::RetryOn;

use super::OutgoingBody;
use crate::fault::Fault;
use crate::plan::UpstreamPlan;

/// How far an upstream got with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// No byte of it was sent.
    NotSent,
    /// Some of it may have been acted on.
    Sent,
}

/// Why an attempt has no answer, and what is left for another one.
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) progress: Progress,
    /// The request, where it came back.
    pub(super) request: Option<Box<Request<OutgoingBody>>>,
    /// Whether the retry that follows was taken out of the budget already.
    pub(super) is_paid: bool,
}

impl Failure {
    /// An answer that is given up for another attempt.
    pub(super) fn repeated() -> Self {
        Self { is_paid: true, ..Self::sent(Fault::Reset) }
    }

    pub(super) fn sent(fault: Fault) -> Self {
        Self { fault, progress: Progress::Sent, request: None, is_paid: false }
    }
}

/// What is needed to send a request again whose head is gone.
pub(super) struct Copy {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl Copy {
    pub(super) fn of(request: &Request<OutgoingBody>) -> Option<Self> {
        is_repeatable(request).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().clone(),
        })
    }

    pub(super) fn into_request(self) -> Box<Request<OutgoingBody>> {
        let mut request = Box::new(Request::new(OutgoingBody::empty()));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Only what has no body and may be done twice (RFC 9110 §9.2.2) can be sent again.
pub(super) fn is_repeatable(request: &Request<OutgoingBody>) -> bool {
    let is_idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    );
    is_idempotent && request.body().is_empty()
}

/// Whether a failure is one that another attempt follows.
pub(super) fn retries_on(upstream: &UpstreamPlan, fault: &Fault) -> bool {
    let failure = match fault {
        Fault::Unreachable => RetryOn::Connect,
        Fault::Reset => RetryOn::Reset,
        Fault::TimedOut => RetryOn::Timeout,
        // Not the doing of the endpoint that was asked.
        Fault::Malformed { .. }
        | Fault::Refused(_)
        | Fault::NotConfigured
        | Fault::TooSlow
        | Fault::DeadlineExceeded
        | Fault::NoRoute
        | Fault::MethodNotAllowed { .. }
        | Fault::RouteUnavailable
        | Fault::UpstreamOverloaded
        | Fault::CircuitOpen { .. }
        | Fault::CredentialsUnavailable
        | Fault::Overloaded => return false,
    };
    upstream.retry_on.contains(&failure)
}
