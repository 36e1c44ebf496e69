//! Questions that a node asks endpoints by itself: once for each endpoint of an upstream, whatever the number of its
//! request threads. They run beside the calls, on the control runtime.

use std::collections::{HashMap, HashSet};
use std::future::{Future, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tollgate_model::health::Active;
use tollgate_model::upstream::Protocol;

use super::super::connect::{self, ConnectError};
use super::super::credentials::{Credentials, Field};
use super::super::stream::Stream;
use super::grpc::{self, NotServing};
use crate::plan::{Endpoint, EndpointId, Endpoints, Plan, Source, UpstreamPlan};

/// How soon a changed plan is followed.
const FOLLOW: Duration = Duration::from_millis(100);
/// Over how long the first questions are spread at most.
const MAX_SPREAD: Duration = Duration::from_secs(1);

/// The questions to all upstreams that want them.
#[derive(Default)]
pub struct Checks {
    /// By the upstream's number. Dropped, the questions end.
    running: HashMap<u32, Running>,
    version: u64,
}

struct Running {
    upstream: Arc<UpstreamPlan>,
    /// Dropped, the questions end.
    asking: JoinSet<()>,
    /// Those that are asked.
    asked: HashMap<EndpointId, AbortHandle>,
    /// The endpoints behind names as they were last seen.
    seen: Option<Arc<Endpoints>>,
}

/// Why an endpoint is not well.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error("no answer in time")]
    TooSlow,
    #[error("no connection")]
    Connect(#[from] ConnectError),
    #[error("no answer over HTTP")]
    Http(#[from] hyper::Error),
    #[error("the question cannot be asked")]
    Question(#[from] http::Error),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("it is not serving by the gRPC health checking protocol")]
    NotServing(#[source] NotServing),
}

impl Checks {
    /// Asks what the newest plan says, until told to stop.
    pub async fn follow(plan: Arc<ArcSwap<Plan>>, stop: CancellationToken) {
        let mut checks = Self::default();
        let mut ticks = interval(FOLLOW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => checks.take(&plan.load_full()),
            }
        }
    }

    /// Begins what is new or changed, ends what is gone. An upstream that stays as it is goes on being asked.
    fn take(&mut self, plan: &Plan) {
        if plan.checks_version == self.version {
            self.running.values_mut().for_each(Running::follow);
            return;
        }
        self.version = plan.checks_version;
        self.running.retain(|number, running| {
            let stays = plan
                .checked_upstreams
                .get(number)
                .is_some_and(|upstream| Arc::ptr_eq(upstream, &running.upstream));
            if !stays {
                for endpoint in &running.upstream.endpoints.current().all {
                    // Nobody would let it in again. Where it is asked anew, it is found out again.
                    endpoint.health.set_down(false);
                }
            }
            stays
        });
        for (number, upstream) in &plan.checked_upstreams {
            self.running.entry(*number).or_insert_with(|| Running::begin(upstream));
        }
    }
}

impl Running {
    fn begin(upstream: &Arc<UpstreamPlan>) -> Self {
        let mut running = Self {
            upstream: Arc::clone(upstream),
            asking: JoinSet::new(),
            asked: HashMap::new(),
            seen: None,
        };
        running.ask(&upstream.endpoints.current());
        running.follow();
        running
    }

    /// Asks what a name stands for by now, and no longer what it does not.
    fn follow(&mut self) {
        let Source::Named(named) = &self.upstream.endpoints else { return };
        let current = named.current();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &current)) {
            return;
        }
        self.ask(&current);
        self.seen = Some(current);
    }

    fn ask(&mut self, endpoints: &Endpoints) {
        let Some(active) = &self.upstream.active else { return };
        let ids: HashSet<EndpointId> = endpoints.all.iter().map(|endpoint| endpoint.id).collect();
        self.asked.retain(|id, asking| {
            let stays = ids.contains(id);
            if !stays {
                asking.abort();
            }
            stays
        });
        for endpoint in &endpoints.all {
            let asking = &mut self.asking;
            self.asked.entry(endpoint.id).or_insert_with(|| {
                let credentials = self.upstream.credentials.clone();
                asking.spawn(ask_on(endpoint.clone(), active.clone(), credentials))
            });
        }
        while self.asking.try_join_next().is_some() {}
    }
}

/// Asks one endpoint for as long as it is there.
async fn ask_on(endpoint: Endpoint, active: Active, credentials: Option<Arc<Credentials>>) {
    // A connection alone tells nobody anything.
    let is_told = active.path.is_some() || active.grpc.is_some();
    let credentials = credentials.filter(|_| is_told);
    let spread = active.interval.get().min(MAX_SPREAD);
    sleep(spread.mul_f64(rand::random_range(0.0..=1.0))).await;
    let mut row = Row::default();
    let mut ticks = interval(active.interval.get());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let limit = Instant::now() + active.timeout.get();
        let field = match &credentials {
            None => None,
            Some(credentials) => match credentials.field(limit).await {
                // What cannot be asked says nothing of the endpoint.
                None => continue,
                field => field,
            },
        };
        let answer = timeout_at(limit, ask(&endpoint, &active, field.as_deref())).await;
        let answer = answer.unwrap_or(Err(Unwell::TooSlow));
        if let (Err(Unwell::Status(StatusCode::UNAUTHORIZED)), Some(credentials), Some(field)) =
            (&answer, &credentials, &field)
        {
            credentials.refused(field.number());
        }
        row.take(&endpoint, &active, answer);
    }
}

/// Answers of one kind in a row.
#[derive(Default)]
struct Row {
    good: u8,
    bad: u8,
}

impl Row {
    fn take(&mut self, endpoint: &Endpoint, active: &Active, answer: Result<(), Unwell>) {
        match answer {
            Ok(()) => {
                (self.good, self.bad) = (self.good.saturating_add(1), 0);
                if self.good >= active.healthy_after && endpoint.health.set_down(false) {
                    tracing::info!(endpoint = ?endpoint.authority, "an endpoint is well again");
                }
            }
            Err(unwell) => {
                (self.good, self.bad) = (0, self.bad.saturating_add(1));
                if self.bad >= active.unhealthy_after && endpoint.health.set_down(true) {
                    tracing::warn!(endpoint = ?endpoint.authority, error = %unwell, "an endpoint is not well");
                }
            }
        }
    }
}

async fn ask(endpoint: &Endpoint, active: &Active, field: Option<&Field>) -> Result<(), Unwell> {
    let stream = connect::stream(endpoint).await?;
    let authority = endpoint.authority.to_str().unwrap_or_default();
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    if let Some(check) = &active.grpc {
        let mut question = grpc::question(check, scheme, authority)?;
        tell(field, &mut question);
        return over_http2(stream, question, grpc::is_serving).await?.map_err(Unwell::NotServing);
    }
    let Some(path) = &active.path else { return Ok(()) };
    let request = |uri: Uri| Request::get(uri).header(header::USER_AGENT, "tollgate-health");
    let status = match endpoint.protocol {
        Protocol::Http1 => {
            let mut request = request(Uri::from(path.as_http().clone()))
                .header(header::HOST, &endpoint.authority)
                .body(Empty::new())?;
            tell(field, &mut request);
            over_http1(stream, request).await?
        }
        Protocol::Http2 => {
            let uri = Uri::builder()
                .scheme(scheme)
                .authority(authority)
                .path_and_query(path.as_http().clone())
                .build()?;
            let mut request = request(uri).body(Full::new(Bytes::new()))?;
            tell(field, &mut request);
            over_http2(stream, request, |response| ready(response.status())).await?
        }
    };
    let is_good = match &active.statuses {
        Some(statuses) => statuses.contains(&status.as_u16()),
        None => (200..400).contains(&status.as_u16()),
    };
    if is_good { Ok(()) } else { Err(Unwell::Status(status)) }
}

fn tell<B>(field: Option<&Field>, question: &mut Request<B>) {
    if let Some(field) = field {
        field.write(question.headers_mut());
    }
}

/// Asks over a connection that is closed afterwards.
async fn over_http1(
    stream: Stream,
    request: Request<Empty<Bytes>>,
) -> Result<StatusCode, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let response = while_driven(connection, sender.send_request(request)).await?;
    Ok(response.status())
}

/// The same over HTTP/2; `read` takes what is wanted of the answer.
async fn over_http2<T, R: Future<Output = T>>(
    stream: Stream,
    request: Request<Full<Bytes>>,
    read: impl FnOnce(Response<Incoming>) -> R,
) -> Result<T, hyper::Error> {
    let executor = TokioExecutor::new();
    let (mut sender, connection) = http2::handshake(executor, TokioIo::new(stream)).await?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        Ok(read(response).await)
    };
    while_driven(connection, answer).await
}

/// Waits for an answer while its connection is looked after. Where that ends, the answer is or becomes an error.
async fn while_driven<C: Future, R: Future>(connection: C, response: R) -> R::Output {
    let (mut connection, mut response) = (pin!(connection), pin!(response));
    let mut has_ended = false;
    poll_fn(|cx| {
        has_ended = has_ended || connection.as_mut().poll(cx).is_ready();
        response.as_mut().poll(cx)
    })
    .await
}
