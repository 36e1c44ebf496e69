//! A body that is kept while it passes by.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::body::{Body, BodyError};
use crate::ports::Cache;
use crate::stored::{Key, Lead, Stored};

/// Where a response goes once its last byte has passed.
pub(super) struct Shelf {
    pub(super) cache: Arc<dyn Cache>,
    pub(super) key: Key,
    /// Everything but the body.
    pub(super) response: Stored,
    /// Dropped when it is stored, or when it cannot be.
    pub(super) lead: Option<Lead>,
    pub(super) most_bytes: usize,
}

impl Shelf {
    /// Stores the response with its body.
    fn store(self, body: Vec<u8>) {
        let Self { cache, key, mut response, lead, .. } = self;
        response.body = Bytes::from(body.into_boxed_slice());
        super::set_length(&mut response);
        cache.store(&key, response);
        // Only now: who waits finds it.
        drop(lead);
    }
}

/// Gives on a body as it comes, and keeps it.
struct Tee {
    body: Body,
    /// None once it is stored, or is not to be.
    shelf: Option<Box<Shelf>>,
    kept: Vec<u8>,
    /// What the head promised.
    promised: Option<u64>,
}

/// The same body, which is stored at its end. One that ends early or is too large is not.
pub(super) fn keep(body: Body, shelf: Shelf) -> Body {
    let promised = body.size_hint().exact();
    let most = u64::try_from(shelf.most_bytes).unwrap_or(u64::MAX);
    if promised.is_some_and(|length| length > most) {
        shelf.cache.pass(&shelf.key);
        return body;
    }
    match body {
        Body::Empty => {
            shelf.store(Vec::new());
            Body::Empty
        }
        Body::Full(bytes) => {
            shelf.store(bytes.to_vec());
            Body::Full(bytes)
        }
        Body::Stream(_) => {
            let room = promised.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            let kept = Vec::with_capacity(room);
            Body::stream(Tee { body, shelf: Some(Box::new(shelf)), kept, promised })
        }
    }
}

impl Tee {
    fn take(&mut self, piece: &[u8]) {
        let Some(shelf) = &self.shelf else { return };
        if self.kept.len().saturating_add(piece.len()) > shelf.most_bytes {
            shelf.cache.pass(&shelf.key);
            self.give_up();
            return;
        }
        // A copy: a piece of the connection's buffer would keep the whole of that alive.
        self.kept.extend_from_slice(piece);
    }

    fn end(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        let length = u64::try_from(kept.len()).ok();
        if let Some(shelf) = self.shelf.take()
            && (self.promised.is_none() || self.promised == length)
        {
            shelf.store(kept);
        }
    }

    fn give_up(&mut self) {
        self.kept = Vec::new();
        self.shelf = None;
    }
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    this.take(piece);
                }
                // With a length, nobody asks for more after the last byte.
                if this.body.is_end_stream() {
                    this.end();
                }
            }
            Poll::Ready(Some(Err(_))) => this.give_up(),
            Poll::Ready(None) => this.end(),
            Poll::Pending => {}
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
