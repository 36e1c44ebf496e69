//! The admin API: one line an endpoint.

mod answers;
mod auth;
mod changes;
mod explain;
mod input;
mod keys;
mod nodes;
mod openapi;
mod problem;
mod purges;
mod resources;
pub(crate) mod serve;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use http::{HeaderName, HeaderValue, header};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::problem::AdminError;
use crate::change::Changes;
use crate::changelog::Following;
use crate::identity::{AdminTokens, JoinTokens};
use crate::live::LiveState;
use crate::metrics::Gauges;
use crate::nodes::Nodes;
use crate::store::Store;
use crate::stream::Shared;

/// The most bytes of a body that is no document.
const BODY_BYTES: usize = 64 * 1024;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_CHARS: usize = 128;

/// Large bodies that are read at once; each may take as much memory as it is long, several times.
const LARGE_BODIES: usize = 8;

/// What all endpoints share.
#[derive(Clone)]
pub(crate) struct Admin(Arc<Parts>, Arc<Semaphore>);

/// What an admin API is made of.
pub(crate) struct Parts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) changes: Changes,
    pub(crate) tokens: AdminTokens,
    pub(crate) join_tokens: JoinTokens,
    pub(crate) following: Arc<Following>,
}

impl Admin {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts), Arc::new(Semaphore::new(LARGE_BODIES)))
    }

    fn state(&self) -> Arc<LiveState> {
        self.0.changes.state()
    }

    fn changes(&self) -> &Changes {
        &self.0.changes
    }

    /// Waits for the turn of a large body.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, AdminError> {
        self.1.acquire().await.map_err(|_closed| AdminError::Internal("wait for a turn"))
    }

    fn store(&self) -> &Store {
        &self.0.shared.store
    }

    fn nodes(&self) -> &Nodes {
        &self.0.shared.nodes
    }

    fn tokens(&self) -> &AdminTokens {
        &self.0.tokens
    }

    fn join_tokens(&self) -> &JoinTokens {
        &self.0.join_tokens
    }
}

/// All endpoints.
pub(crate) fn router(admin: Admin) -> Router {
    Router::new()
        .route("/api/v1/tenants/{tenant}/{kind}", get(resources::list))
        .route(
            "/api/v1/tenants/{tenant}/{kind}/{name}",
            get(resources::get).put(resources::put).delete(resources::delete),
        )
        .route("/api/v1/tenants/{tenant}/applications/{application}/keys", post(keys::create))
        .route("/api/v1/tenants/{tenant}/credentials/{name}/rotate", post(keys::rotate))
        .route("/api/v1/tenants/{tenant}/purges", get(purges::list).post(purges::make))
        .route("/api/v1/export", get(resources::export))
        .route("/api/v1/changes", post(changes::apply))
        .route("/api/v1/revisions", get(changes::list))
        .route("/api/v1/revisions/{number}", get(changes::get))
        .route("/api/v1/revisions/{number}/diff/{other}", get(changes::diff))
        .route("/api/v1/revisions/{number}/rollback", post(changes::roll_back))
        .route("/api/v1/explain", post(explain::explain))
        .route("/api/v1/nodes", get(nodes::list))
        .route("/api/v1/nodes/{gateway}/{name}", delete(nodes::forget))
        .route("/api/v1/status", get(nodes::status))
        .route("/api/v1/join-tokens", get(tokens::list_join).post(tokens::create_join))
        .route("/api/v1/join-tokens/{id}", delete(tokens::revoke_join))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/api/v1/tokens/{id}", delete(tokens::revoke))
        .route("/api/v1/whoami", get(tokens::whoami))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/docs", get(openapi::page))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(no_such_address)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(finish))
        .with_state(admin)
}

/// The process runs.
async fn live() -> &'static str {
    "live\n"
}

/// The store answers, and all that is in it can be read.
async fn ready(State(admin): State<Admin>) -> Result<&'static str, AdminError> {
    if admin.0.following.is_behind() {
        let revision = admin.state().revision() + 1;
        let behind = crate::live::LiveError::Unknown {
            what: "a resource".to_owned(),
            revision,
            source: "the change log went on without this control plane".into(),
        };
        return Err(AdminError::Change(behind.into()));
    }
    admin.store().health().await?;
    Ok("ready\n")
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let state = admin.state();
    let nodes = admin.nodes().present();
    let connected = || nodes.iter().filter(|node| node.is_connected);
    let gauges = Gauges {
        revision: state.revision(),
        resources: state.len(),
        nodes_connected: connected().count(),
        nodes_current: connected().filter(|node| node.runs(state.revision())).count(),
        resources_rejected: connected().map(|node| node.rejected.len()).sum(),
    };
    let text = admin.0.shared.metrics.render(&gauges);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn no_such_address() -> AdminError {
    AdminError::no_resource("such address; /docs has all of them")
}

async fn no_such_method() -> AdminError {
    AdminError::MethodNotAllowed
}

/// Gives every answer its request id, and every refusal its body.
async fn finish(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let request_id = match given.filter(|given| is_request_id(given)) {
        Some(given) => given.to_owned(),
        None => made_request_id(),
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let span = tracing::info_span!("admin", request_id, %method, path);
    let response = tracing::Instrument::instrument(next.run(request), span.clone()).await;
    let mut response = problem::render(response, &request_id);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let _entered = span.enter();
    tracing::debug!(status = response.status().as_u16(), "answered");
    response
}

fn is_request_id(text: &str) -> bool {
    let is_known = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b);
    (1..=REQUEST_ID_CHARS).contains(&text.len()) && text.bytes().all(is_known)
}

fn made_request_id() -> String {
    let mut bytes = [0_u8; 16];
    // Without random bytes all ids are alike, and the request is carried out all the same.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    crate::seal::to_hex(&bytes)
}

/// An answer in JSON.
fn answer(body: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (headers, Body::from(body.to_string())).into_response()
}
