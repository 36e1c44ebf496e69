//! Copies of a request for other upstreams. Nobody reads what those answer, and the call itself waits for none of it.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use smallvec::SmallVec;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout_at};
use tollgate_policy::Body;
use tollgate_policy::body::BodyError;
use tollgate_policy::onward::{Mirror, X_TOLLGATE_MIRROR};
use tollgate_policy::policy::Client;

use crate::core::Core;
use crate::deadline::Deadline;
use crate::plan::UpstreamPlan;
use crate::record::Record;
use crate::upstream::{self, Dispatch, HostIsSet, OutgoingBody};

/// So many under way on a thread; beyond them no copy is sent.
const MOST: usize = 256;

/// As long as one may last, its answer included.
const LIMIT: Duration = Duration::from_secs(60);

const MARKED: HeaderValue = HeaderValue::from_static("1");

/// Sends copies of a request on their way. The body that is returned has to take the given one's place: what is read of
/// it goes to the copies too.
pub fn send(mirrors: &[Mirror], head: &Parts, body: Body, record: &Record) -> Body {
    let (core, plan) = (record.core(), &record.plan);
    let tenant = record.slot.and_then(|slot| plan.entry(slot)).map(|entry| &entry.facts.tenant);
    let mut copies = SmallVec::new();
    for mirror in mirrors {
        // Whoever names it would not run without it.
        let to = tenant.and_then(|tenant| plan.upstream_named(tenant, &mirror.upstream));
        let (Some(to), Some(under_way)) = (to, UnderWay::begin(core)) else {
            core.metrics.mirror_failures.add(1);
            continue;
        };
        let copied = if body.is_end_stream() {
            None
        } else {
            let (copy, copied) = pair(body.size_hint(), mirror.most_waiting_bytes);
            copies.push(copy);
            Some(Body::stream(copied))
        };
        core.metrics.mirrored_requests.add(1);
        let sending = Sending {
            request: request_of(head),
            body: copied,
            to: Arc::clone(to),
            client: record.client().clone(),
            under_way,
        };
        tokio::task::spawn_local(sending.run());
    }
    if copies.is_empty() { body } else { Body::stream(Copied { body, copies }) }
}

fn request_of(head: &Parts) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = head.uri.clone();
    *request.version_mut() = head.version;
    *request.headers_mut() = head.headers.clone();
    request.headers_mut().insert(X_TOLLGATE_MIRROR, MARKED);
    if let Some(host_is_set) = head.extensions.get::<HostIsSet>() {
        request.extensions_mut().insert(*host_is_set);
    }
    request
}

/// Counted while it is under way.
struct UnderWay(Rc<Core>);

impl UnderWay {
    fn begin(core: &Rc<Core>) -> Option<Self> {
        let under_way = core.mirrors.get();
        (under_way < MOST).then(|| {
            core.mirrors.set(under_way + 1);
            Self(Rc::clone(core))
        })
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.mirrors.set(self.0.mirrors.get().saturating_sub(1));
    }
}

/// A copy on its way.
struct Sending {
    request: Request<()>,
    body: Option<Body>,
    to: Arc<UpstreamPlan>,
    client: Client,
    under_way: UnderWay,
}

impl Sending {
    async fn run(self) {
        let Self { request, body, to, client, under_way, .. } = self;
        let core = &*under_way.0;
        let (head, ()) = request.into_parts();
        let body = body.map_or_else(OutgoingBody::empty, |body| {
            OutgoingBody::new(body, Rc::default(), to.idle_timeout)
        });
        let affinity = upstream::affinity(&to, &head, &client);
        let end = Instant::now() + to.total_timeout.map_or(LIMIT, |total| total.min(LIMIT));
        let deadline = Deadline { end: Some(end), ..Deadline::default() };
        let dispatch = Dispatch { core, upstream: &to, deadline, affinity };
        // One attempt: as if all that may follow had been made.
        let mut attempts = u8::MAX;
        let request = Box::new(Request::from_parts(head, body));
        let sent = Box::pin(upstream::send(&dispatch, request, &mut attempts)).await;
        let is_answered = match sent {
            Ok(answer) => {
                let mut body = answer.response.into_body();
                let read = async {
                    while let Some(frame) = body.frame().await {
                        if frame.is_err() {
                            return false;
                        }
                    }
                    true
                };
                timeout_at(end, read).await.unwrap_or_default()
            }
            Err(fault) => {
                tracing::debug!(?fault, upstream = ?to.name, "send a copy of a request");
                false
            }
        };
        if !is_answered {
            core.metrics.mirror_failures.add(1);
        }
    }
}

/// A body with what gets a copy of it.
struct Copied {
    body: Body,
    copies: SmallVec<[Copy; 1]>,
}

/// Where a copy is written to. Dropped before its end, it breaks the copy off.
struct Copy {
    pieces: UnboundedSender<Piece>,
    waiting_bytes: Rc<Cell<usize>>,
    most_waiting_bytes: usize,
}

enum Piece {
    Frame(Frame<Bytes>),
    End,
}

/// The body of a copy.
struct CopyBody {
    pieces: UnboundedReceiver<Piece>,
    waiting_bytes: Rc<Cell<usize>>,
    left: SizeHint,
    has_ended: bool,
}

/// What the connection to the mirror is told.
#[derive(Debug, thiserror::Error)]
#[error("the copy of the body broke off")]
struct CopyBroke;

fn pair(left: SizeHint, most_waiting_bytes: usize) -> (Copy, CopyBody) {
    let (sender, receiver) = unbounded_channel();
    let waiting_bytes = Rc::<Cell<usize>>::default();
    let copy =
        Copy { pieces: sender, waiting_bytes: Rc::clone(&waiting_bytes), most_waiting_bytes };
    (copy, CopyBody { pieces: receiver, waiting_bytes, left, has_ended: false })
}

impl Copy {
    /// Whether it goes on.
    fn write(&self, frame: &Frame<Bytes>) -> bool {
        let copied = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => {
                let waiting = self.waiting_bytes.get().saturating_add(data.len());
                if waiting > self.most_waiting_bytes {
                    return false;
                }
                self.waiting_bytes.set(waiting);
                Frame::data(data.clone())
            }
            (None, Some(trailers)) => Frame::trailers(trailers.clone()),
            (None, None) => return true,
        };
        self.pieces.send(Piece::Frame(copied)).is_ok()
    }
}

impl http_body::Body for Copied {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => this.copies.retain(|copy| copy.write(frame)),
            Poll::Ready(Some(Err(_))) => this.copies.clear(),
            Poll::Ready(None) => {}
        }
        // Nobody asks again where it is known that nothing comes.
        if this.body.is_end_stream() || matches!(polled, Poll::Ready(None)) {
            for copy in this.copies.drain(..) {
                // The mirror may have given up.
                let _ = copy.pieces.send(Piece::End);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl http_body::Body for CopyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        this.pieces.poll_recv(cx).map(|piece| match piece {
            Some(Piece::Frame(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.waiting_bytes.set(this.waiting_bytes.get().saturating_sub(length));
                Some(Ok(frame))
            }
            Some(Piece::End) => {
                this.has_ended = true;
                None
            }
            None => Some(Err(BodyError::from(CopyBroke))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left
    }
}
