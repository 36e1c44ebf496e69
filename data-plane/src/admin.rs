//! What an operator's tools ask a node: is it alive, is it ready, what does it run. Plain HTTP/1,
//! on loopback unless it is told otherwise; it says no secret.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_proto::v1;

use crate::sync::{Overview, Readiness, SyncHandle};

const CONNECTIONS: usize = 64;
const HEAD_LIMIT_BYTES: usize = 16 << 10;
const HEAD_TIME: Duration = Duration::from_secs(10);
const CONNECTION_TIME: Duration = Duration::from_secs(300);
const STOP_TIME: Duration = Duration::from_secs(1);
/// How many resources `/config` lists; it counts all.
const LISTED_RESOURCES: usize = 10_000;
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Writes the text of `/metrics`; called once a scrape.
pub type MetricsSource = Arc<dyn Fn() -> String + Send + Sync>;

/// The status endpoints, while they are open.
pub struct StatusServer {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
}

struct Status {
    readiness: Arc<Readiness>,
    overview: Arc<dyn Fn() -> Overview + Send + Sync>,
    metrics: MetricsSource,
    /// One list of resources at a time: it holds up changes while it is made.
    listing: Semaphore,
}

/// Opens the status endpoints; they run on `runtime`, which should not be one that carries calls.
///
/// # Errors
///
/// The address cannot be listened on.
pub fn start(
    address: SocketAddr,
    sync: &SyncHandle,
    metrics: MetricsSource,
    runtime: &Handle,
) -> io::Result<StatusServer> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let status = Arc::new(Status {
        readiness: sync.readiness(),
        overview: sync.overview(),
        metrics,
        listing: Semaphore::new(1),
    });
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let _inside = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    tasks.spawn(accept(listener, status, tasks.clone(), stop.clone()));
    Ok(StatusServer { address, tasks, stop })
}

impl StatusServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes it; takes a second at most.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        // What does not end by then is cut off when the runtime ends.
        let _late = timeout(STOP_TIME, self.tasks.wait()).await;
    }
}

async fn accept(
    listener: TcpListener,
    status: Arc<Status>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                let (status, stop) = (Arc::clone(&status), stop.clone());
                tasks.spawn(async move {
                    serve(stream, status, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the status endpoints do not take a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, status: Arc<Status>, stop: CancellationToken) {
    // Without it, only the latency is worse.
    let _set = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let status = Arc::clone(&status);
        async move { Ok::<_, Infallible>(answer(&request, &status).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_LIMIT_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = stop.cancelled() => None,
        () = sleep(CONNECTION_TIME) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            timeout(STOP_TIME, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the status endpoints ended early");
    }
}

async fn answer(request: &Request<Incoming>, status: &Arc<Status>) -> Response<Full<Bytes>> {
    let answer: fn(&Status) -> Response<Full<Bytes>> = match request.uri().path() {
        "/live" => |_status| json_response(StatusCode::OK, &json!({ "live": true })),
        "/ready" => |status| ready(&status.readiness),
        "/metrics" => |status| response(StatusCode::OK, TEXT, (status.metrics)()),
        "/config" => |status| json_response(StatusCode::OK, &configuration(status)),
        _ => {
            let known = ["/live", "/ready", "/metrics", "/config"];
            return json_response(StatusCode::NOT_FOUND, &json!({ "known": known }));
        }
    };
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let body = json!({ "error": "method not allowed" });
        let mut refused = json_response(StatusCode::METHOD_NOT_ALLOWED, &body);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    if request.uri().path() != "/config" {
        return answer(status);
    }
    let Ok(_turn) = status.listing.acquire().await else { return unavailable() };
    let status = Arc::clone(status);
    let made = tokio::task::spawn_blocking(move || answer(&status)).await;
    made.unwrap_or_else(|_panicked| unavailable())
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    let reason = match (readiness.is_draining(), readiness.is_complete()) {
        (true, _) => Some("draining"),
        (false, false) => Some("no_configuration"),
        (false, true) => None,
    };
    let status = match reason {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    let problem = readiness.problem();
    let body = json!({
        "ready": reason.is_none(),
        "reason": reason,
        "revision": readiness.revision(),
        "control_plane": {
            "connected": readiness.is_connected(),
            "since": time(readiness.changed_unix_micros()),
            "problem": problem.as_deref(),
        },
        "serving_from_disk": readiness.is_serving_from_disk(),
        "disk_failing": readiness.is_disk_failing(),
    });
    json_response(status, &body)
}

fn configuration(status: &Status) -> Value {
    let mut overview = (status.overview)();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (id, _version) in &overview.resources {
        *counts.entry(id.kind.clone()).or_default() += 1;
    }
    let total = overview.resources.len();
    let order = |id: &v1::ResourceId| (id.kind.clone(), id.tenant.clone(), id.name.clone());
    overview.resources.sort_by_cached_key(|(id, _version)| order(id));
    overview.resources.truncate(LISTED_RESOURCES);
    let resources: Vec<Value> =
        overview.resources.iter().map(|(id, version)| named(Some(id), *version)).collect();
    let rejections: Vec<Value> =
        overview.rejections.iter().take(LISTED_RESOURCES).map(rejection).collect();
    json!({
        "epoch": overview.epoch,
        "revision": overview.revision,
        "digest": hex(&overview.digest),
        "complete": status.readiness.is_complete(),
        "counts": counts,
        "rejections": rejections,
        "rejections_total": overview.rejections.len(),
        "resources": resources,
        "resources_left_out": total.saturating_sub(LISTED_RESOURCES),
    })
}

fn rejection(rejection: &v1::Rejection) -> Value {
    let mut value = named(rejection.id.as_ref(), rejection.version);
    let issue = |issue: &v1::Issue| json!({ "at": issue.pointer, "code": issue.code, "problem": issue.message });
    if let Value::Object(fields) = &mut value {
        fields.insert("issues".to_owned(), rejection.issues.iter().map(issue).collect());
    }
    value
}

fn named(id: Option<&v1::ResourceId>, version: u64) -> Value {
    let text = |part: fn(&v1::ResourceId) -> &String| id.map(part);
    json!({
        "kind": text(|id| &id.kind),
        "tenant": text(|id| &id.tenant),
        "name": text(|id| &id.name),
        "version": version,
    })
}

fn time(unix_micros: u64) -> Option<String> {
    let micros = i64::try_from(unix_micros).ok()?;
    Timestamp::from_microsecond(micros).ok().map(|time| time.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unavailable() -> Response<Full<Bytes>> {
    json_response(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "stopping" }))
}

fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    response(status, JSON, format!("{body}\n"))
}

fn response(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
