#![doc = include_str!("MANUAL.md")]

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tollgate_model::upstream::Protocol;
use tollgate_model::{Issues, Kind, Name, ResourceId};

use crate::body::Body;
use crate::policy::{Cx, Flow, Holder, Phase, Policy, Refusal, Repeat, Scope};
use crate::ports::{Call, CallAnswer};

// What the operator writes.
mod config;
// What of a request the service is told, whatever it speaks.
mod question;
// The body of the request, as far as the service is to see it.
mod upload;
// What the service decided, and what becomes of it.
mod verdict;
// A service that speaks HTTP.
mod http_service;
// A service that speaks Envoy's gRPC.
mod grpc_service;

pub use self::config::{Config, Failure, Grpc, Http, Larger, Method, SendBody};
use self::grpc_service::GrpcService;
use self::http_service::HttpService;
use self::question::Question;
use self::upload::Buffering;
use self::verdict::{Fields, Grant, Verdict};

/// Asks a service whether a request may go on.
pub struct ExternalAuth {
    upstream: Name,
    /// Whose upstream it is.
    holder: Holder,
    service: Service,
    /// Of the client's request, for the service.
    sent: Box<[HeaderName]>,
    body: Option<Buffering>,
    taken: Taken,
    timeout: Duration,
    most_bytes: usize,
    on_failure: Failure,
}

/// What the service speaks.
enum Service {
    Http(HttpService),
    Grpc(GrpcService),
}

/// What is taken of the service's answers.
struct Taken {
    /// For the upstream.
    request: Box<[HeaderName]>,
    /// For the client, beside the upstream's answer.
    response: Box<[HeaderName]>,
    /// For the client, where the request is refused.
    denial: Box<[HeaderName]>,
}

impl Policy for ExternalAuth {
    type Config = Config;
    /// Fields for the client.
    type Carry = Fields;

    const NAME: &'static str = "external_auth";
    const PHASE: Phase = Phase::Authz;
    const REPEAT: Repeat = Repeat::All;
    const ASKS_A_SERVICE: bool = true;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, scope: Scope<'_>) -> Result<Self, Issues> {
        config.compile(scope)
    }

    fn references(&self, tenant: &Name) -> Vec<ResourceId> {
        let upstream = ResourceId::new(Kind::Upstream, tenant.clone(), self.upstream.clone());
        let mut references = vec![upstream];
        references.extend(match &self.service {
            Service::Http(service) => service.references(tenant),
            Service::Grpc(service) => service.references(tenant),
        });
        references
    }

    fn upstream_protocol(&self) -> Option<Protocol> {
        match self.service {
            Service::Http(_) => None,
            Service::Grpc(_) => Some(Protocol::Http2),
        }
    }

    fn take_off_own_fields(&self, headers: &mut HeaderMap) {
        for name in &self.taken.request {
            headers.remove(name);
        }
    }

    async fn on_request(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Fields> {
        // Large, and it takes a call anyway: in its own memory, so that every chain's future stays small.
        let meeting: Pin<Box<dyn Future<Output = Flow<Fields>> + '_>> =
            Box::pin(self.meet(cx, request));
        meeting.await
    }

    fn on_response(
        &self,
        fields: &mut Fields,
        _cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        verdict::add_to_answer(std::mem::take(fields), response.headers_mut());
        std::future::ready(())
    }
}

impl ExternalAuth {
    async fn meet(&self, cx: &mut Cx<'_>, request: &mut Request<Body>) -> Flow<Fields> {
        let body = match &self.body {
            None => None,
            Some(buffering) => match buffering.take(cx.ports, request.body_mut()).await {
                Ok(body) => body,
                Err(refusal) => return Flow::Refuse(refusal),
            },
        };
        let asked = match self.ask(cx, request, body) {
            Ok(asked) => asked,
            Err(refusal) => return Flow::Refuse(refusal),
        };
        // Not before: a client's value may be what the service is asked about.
        self.take_off_own_fields(request.headers_mut());
        // What the service lets through may be for this caller alone, whom nobody names.
        cx.cache.is_personal = true;
        let calls = cx.ports.calls();
        let answer = calls
            .call(Call {
                tenant: self.holder.tenant(cx.route),
                upstream: &self.upstream,
                client: cx.client,
                request: asked,
                timeout: self.timeout,
                most_bytes: self.most_bytes,
            })
            .await;
        match answer.and_then(|answer| self.verdict(answer)) {
            Some(Verdict::Allowed(Grant { remove, set, answer })) => {
                verdict::change_request(&remove, set, request.headers_mut());
                Flow::Next(answer)
            }
            Some(Verdict::Denied(denial)) => denial.into_flow(request),
            None => {
                calls.count_failure();
                self.go_without_verdict()
            }
        }
    }

    fn ask(
        &self,
        cx: &Cx<'_>,
        request: &Request<Body>,
        body: Option<Bytes>,
    ) -> Result<Request<Bytes>, Box<Refusal>> {
        let question = Question::about(cx, request, &self.sent, body)?;
        match &self.service {
            Service::Http(service) => service.ask(question),
            Service::Grpc(service) => Ok(service.ask(question, self.timeout)),
        }
    }

    /// What the service decided; none where its answer says nothing that can be relied on.
    fn verdict(&self, answer: CallAnswer) -> Option<Verdict> {
        match &self.service {
            Service::Http(_) => http_service::verdict(answer, &self.taken),
            Service::Grpc(_) => grpc_service::verdict(answer, &self.taken),
        }
    }

    fn go_without_verdict(&self) -> Flow<Fields> {
        match self.on_failure {
            Failure::Allow => Flow::Next(Fields::default()),
            Failure::Refuse => Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "authorization_unavailable",
                "it cannot be found out whether this call may be made",
            )
            .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
            .into_flow(),
        }
    }
}

#[cfg(test)]
mod tests;
