//! A request that is sent for the cache's sake alone: its client has had a stale answer already.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tollgate_model::Name;
use tollgate_policy::chain::Carries;
use tollgate_policy::policy::{Caller, Cx, Flow};
use tollgate_policy::stored::Caching;
use tollgate_policy::{Body, Claims, End};

use crate::arrival::Arrival;
use crate::core::Core;
use crate::forward::{self, Sent};
use crate::ports::RequestPorts;
use crate::record::Record;
use crate::upstream::AnswerBody;

/// So many at once on a thread; what is beyond them is fetched when the next client asks.
const MOST: usize = 64;

/// As long as one may last, its body included.
const LIMIT: Duration = Duration::from_secs(60);

/// What is sent again.
pub struct Refresh {
    /// Its route, and what goes upstream.
    pub arrival: Arrival,
    /// As it was when it met the cache.
    pub request: Box<Request<Body>>,
    /// Of its own.
    pub record: Record,
    /// The upstream that was chosen in its route's place.
    pub upstream: Option<Name>,
    /// What the cache is to know; holds the lead until it is done, so that there is one at a time.
    pub cache: Caching,
    /// Who called.
    pub identity: Option<Arc<Caller>>,
    /// What is proven of them.
    pub claims: Option<Arc<Claims>>,
}

/// Counted while it is under way.
struct UnderWay(Rc<Core>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.refreshes.set(self.0.refreshes.get().saturating_sub(1));
    }
}

/// Sends it on its way, beside the answer. A drain does not wait for it: nobody misses it, and what
/// is not stored is fetched again.
pub fn start(refresh: Refresh) {
    let core = Rc::clone(refresh.record.core());
    if core.refreshes.get() >= MOST {
        return;
    }
    core.refreshes.set(core.refreshes.get() + 1);
    let under_way = UnderWay(core);
    tokio::task::spawn_local(async move {
        let done: Pin<Box<dyn Future<Output = ()>>> = Box::pin(run(refresh));
        if tokio::time::timeout(LIMIT, done).await.is_err() {
            tracing::debug!("a refresh of the cache took too long");
        }
        drop(under_way);
    });
}

/// The cache's policy and those behind it, the upstream, and the same back. What comes before the cache
/// was done for the client's request: nobody is counted twice.
async fn run(refresh: Refresh) {
    let Refresh { arrival, mut request, mut record, upstream, cache, identity, claims } = refresh;
    let core = Rc::clone(record.core());
    let (plan, peer) = (record.plan.clone(), Rc::clone(record.peer()));
    let Some(entry) = plan.entry(arrival.slot) else { return };
    let (client, request_id) = (record.client.clone(), record.request_id.clone());
    let ports = RequestPorts::of(&core, &plan);
    let mut onward = forward::onward(entry, &arrival);
    if let Some(upstream) = upstream {
        onward.choose_upstream(upstream);
    }
    let mut cx = Cx {
        now_unix_micros: record.started_unix_micros,
        client: client.as_ref().unwrap_or(&peer.client),
        route: &entry.facts,
        parameters: &arrival.parameters,
        request_id: request_id.to_str().unwrap_or_default(),
        scheme: peer.scheme(),
        identity,
        claims,
        certificate: peer.certificate(),
        onward,
        cache,
        shadowed: None,
        ports: &ports,
    };
    let mut carries = Carries::default();
    let flow = entry.chain.on_refresh(&mut cx, &mut request, &mut carries).await;
    if !matches!(flow, Flow::Next(())) {
        return;
    }
    forward::aim(&mut request, std::mem::take(&mut cx.onward));
    cx.cache.sent = cx.cache.is_sent_wanted.then(|| request.headers().clone());
    let sent = forward::forward(&core, entry, &arrival, request, &mut record).await;
    // Where nothing comes, what is stored stays as it is.
    let Ok(Sent { response, rest }) = sent else { return };
    let mut response = response.map(AnswerBody::into_body);
    let status = response.status();
    entry.chain.on_response(&mut carries, &mut cx, &mut response).await;
    let mut body = response.into_body();
    let mut is_complete = true;
    while let Some(frame) = body.frame().await {
        is_complete &= frame.is_ok();
    }
    drop(rest);
    entry.chain.on_end(carries, &End { status, is_complete });
}
