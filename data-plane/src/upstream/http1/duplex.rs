//! An answer that began before its request was sent: both go on at once. A client may send all of its
//! body before it reads, so what it sends must not wait for what it reads.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::Broken;
use super::receiving::Receiving;
use super::sending::Sending;
use crate::upstream::pool::EndpointPool;

type Piece = Result<Frame<Bytes>, Broken>;

/// The body of such an answer, handed over by the task that does both.
pub struct Duplex {
    pieces: mpsc::Receiver<Piece>,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
}

/// The task's half.
struct Pump {
    receiving: Receiving,
    /// None when all was sent, or the server takes no more.
    sending: Option<Sending>,
    /// Where the connection goes back to once all was sent.
    pool: Option<Rc<EndpointPool>>,
}

impl Duplex {
    /// Goes on with both; ends when the answer does, or when the body is dropped.
    pub(super) fn begin(
        receiving: Receiving,
        sending: Sending,
        pool: Option<Rc<EndpointPool>>,
    ) -> Self {
        let left = receiving.size_hint().exact();
        let (sender, pieces) = mpsc::channel(1);
        let pump = Pump { receiving, sending: Some(sending), pool };
        tokio::task::spawn_local(pump.run(sender));
        Self { pieces, left }
    }
}

impl Pump {
    async fn run(mut self, sender: mpsc::Sender<Piece>) {
        loop {
            let room = {
                let mut room = pin!(sender.reserve());
                poll_fn(|cx| match self.poll_sending(cx) {
                    Ok(()) => room.as_mut().poll(cx).map(Ok),
                    Err(broken) => Poll::Ready(Err(broken)),
                })
                .await
            };
            let piece = match room {
                Ok(Ok(room)) => {
                    tokio::select! {
                        biased;
                        piece = poll_fn(|cx| self.poll_piece(cx)) => match piece {
                            Some(piece) => room.send(piece),
                            None => return,
                        },
                        () = sender.closed() => return,
                    }
                    continue;
                }
                Ok(Err(_nobody_reads)) => return,
                Err(broken) => Err(broken),
            };
            let _ = sender.send(piece).await;
            return;
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if let Err(broken) = self.poll_sending(cx) {
            return Poll::Ready(Some(Err(broken)));
        }
        Pin::new(&mut self.receiving).poll_frame(cx)
    }

    /// Goes on with the request. A server that takes no more of it may still answer whole.
    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        let (Some(sending), Some(connection)) = (&mut self.sending, &mut self.receiving.connection)
        else {
            return Ok(());
        };
        match sending.poll(&mut connection.stream, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.sending = None;
                self.receiving.pool = self.pool.take();
            }
            Poll::Ready(Err(Broken::Io(error))) => {
                tracing::debug!(%error, "send all of a request");
                self.sending = None;
            }
            Poll::Ready(Err(broken)) => return Err(broken),
        }
        Ok(())
    }
}

impl Body for Duplex {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        let piece = ready!(this.pieces.poll_recv(cx));
        if let (Some(Ok(piece)), Some(left)) = (&piece, &mut this.left) {
            let length = piece.data_ref().map_or(0, Bytes::len);
            *left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
