//! Bodies that a policy reads to their end, bounded in time: nobody else looks at the clock meanwhile.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tollgate_policy::Body;
use tollgate_policy::body::{BodyError, TooSlow};

/// How long is waited for the pieces of a body.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For each piece.
    pub idle: Duration,
    /// For all of them.
    pub deadline: Option<Instant>,
}

impl Patience {
    /// The same body, which ends where a piece does not come in time.
    #[must_use]
    pub fn with(self, body: Body) -> Body {
        match body {
            Body::Stream(_) => Body::stream(Timed { body, patience: self, wait: None }),
            body @ (Body::Empty | Body::Full(_)) => body,
        }
    }
}

struct Timed {
    body: Body,
    patience: Patience,
    wait: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Timed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Patience { idle, deadline } = this.patience;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.wait = None;
            return Poll::Ready(frame);
        }
        let wait = this.wait.get_or_insert_with(|| {
            let idle = Instant::now() + idle;
            Box::pin(tokio::time::sleep_until(deadline.map_or(idle, |end| end.min(idle))))
        });
        std::task::ready!(wait.as_mut().poll(cx));
        this.body = Body::Empty;
        Poll::Ready(Some(Err(Box::new(TooSlow))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
