//! Bodies that are read to their end, within a bound.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::{Body, BodyError, TooSlow};

/// A body in memory, with the fields that came behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Whole {
    /// Its bytes.
    pub bytes: Bytes,
    /// The fields behind them.
    pub trailers: Option<HeaderMap>,
}

/// What came of reading a body.
#[derive(Debug)]
pub enum Read {
    /// All of it.
    Whole(Whole),
    /// It is larger; nothing of it is lost.
    TooLarge(Body),
}

/// Reads a body of at most so many bytes. Room is made for what has come, not for what is promised; one that says that
/// it is larger is not waited for.
///
/// # Errors
///
/// Why it broke off: [`TooSlow`] where `late` ended before it did.
pub async fn read(
    body: Body,
    most_bytes: usize,
    late: impl Future<Output = ()>,
) -> Result<Read, BodyError> {
    let mut source = match body {
        Body::Empty => return Ok(Read::Whole(Whole::default())),
        Body::Full(bytes) if bytes.len() <= most_bytes => return Ok(Read::Whole(bytes.into())),
        body @ Body::Full(_) => return Ok(Read::TooLarge(body)),
        Body::Stream(source) => source,
    };
    let told = usize::try_from(source.size_hint().lower()).unwrap_or(usize::MAX);
    if told > most_bytes {
        return Ok(Read::TooLarge(Body::Stream(source)));
    }
    let mut late = pin!(late);
    let (mut begun, mut trailers) = (Begun::default(), None);
    loop {
        let next = poll_fn(|cx| {
            let polled = source.as_mut().poll_frame(cx);
            // Who sends nothing but empty pieces is not listened to for ever.
            if matches!(&polled, Poll::Ready(frame) if !is_empty_piece(frame.as_ref())) {
                return polled;
            }
            match late.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BodyError::from(TooSlow)))),
                Poll::Pending => polled,
            }
        });
        let Some(frame) = next.await else { break };
        match frame?.into_data() {
            Ok(data) => begun.add(data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
        if begun.length() > most_bytes {
            let begun = begun.into_bytes();
            return Ok(Read::TooLarge(Body::stream(Resumed { begun, rest: Body::Stream(source) })));
        }
    }
    Ok(Read::Whole(Whole { bytes: begun.into_bytes(), trailers }))
}

fn is_empty_piece(frame: Option<&Result<Frame<Bytes>, BodyError>>) -> bool {
    frame.is_some_and(|frame| {
        frame.as_ref().is_ok_and(|frame| frame.data_ref().is_some_and(Bytes::is_empty))
    })
}

/// What has come. One piece is kept as it is.
#[derive(Default)]
struct Begun {
    first: Bytes,
    all: BytesMut,
}

impl Begun {
    fn length(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn add(&mut self, data: Bytes) {
        if self.length() == 0 {
            self.first = data;
            return;
        }
        let first = std::mem::take(&mut self.first);
        self.all.extend_from_slice(&first);
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

impl From<Bytes> for Whole {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, trailers: None }
    }
}

impl From<Whole> for Body {
    fn from(whole: Whole) -> Self {
        if whole.trailers.is_none() { Self::from(whole.bytes) } else { Self::stream(whole) }
    }
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.bytes.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.bytes)))));
        }
        Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty() && self.trailers.is_none()
    }

    /// Without a length where there are trailers: beside one there is no place for them.
    fn size_hint(&self) -> SizeHint {
        let length = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        if self.trailers.is_none() {
            return SizeHint::with_exact(length);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(length);
        hint
    }
}

/// A body of which the beginning was read.
struct Resumed {
    begun: Bytes,
    rest: Body,
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.begun.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.begun)))));
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let begun = u64::try_from(self.begun.len()).unwrap_or(u64::MAX);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(begun));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(begun));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// A body of these pieces, which says nothing of its length.
    struct Pieces {
        pieces: VecDeque<Frame<Bytes>>,
        /// Whether it stops for a moment before each.
        pauses: bool,
        is_ready: bool,
    }

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            self.is_ready = !self.is_ready;
            if self.is_ready && self.pauses {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(self.pieces.pop_front().map(Ok))
        }
    }

    fn body(pieces: &[Vec<u8>], trailers: Option<&HeaderMap>) -> Body {
        let data = pieces.iter().map(|piece| Frame::data(Bytes::from(piece.clone())));
        let trailers = trailers.map(|trailers| Frame::trailers(trailers.clone()));
        Body::stream(Pieces {
            pieces: data.chain(trailers).collect(),
            pauses: true,
            is_ready: false,
        })
    }

    async fn drained(mut body: Body) -> (Vec<u8>, Option<HeaderMap>) {
        let (mut bytes, mut trailers) = (Vec::new(), None);
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            match frame.unwrap().into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        (bytes, trailers)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_more_than_may_be(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9),
            has_trailers: bool,
            most in 0_usize..40,
        ) {
            let sent: Vec<u8> = pieces.concat();
            let mut fields = HeaderMap::new();
            fields.insert("x-sum", http::HeaderValue::from_static("1"));
            let trailers = has_trailers.then_some(&fields);
            block_on(async {
                let read = read(body(&pieces, trailers), most, std::future::pending()).await.unwrap();
                let (is_whole, body) = match read {
                    Read::Whole(whole) => (true, Body::from(whole)),
                    Read::TooLarge(body) => (false, body),
                };
                assert_eq!(is_whole, sent.len() <= most);
                let hint = body.size_hint();
                let length = u64::try_from(sent.len()).unwrap();
                assert!(hint.lower() <= length && hint.upper().is_none_or(|upper| upper >= length));
                assert_eq!(drained(body).await, (sent, trailers.cloned()));
            });
        }
    }

    #[test]
    fn what_is_in_memory_or_says_its_length_is_not_waited_for() {
        let whole = Body::from(Bytes::from_static(b"abc"));
        let read = |body, most| block_on(read(body, most, std::future::pending())).unwrap();
        assert!(matches!(read(whole, 3), Read::Whole(whole) if whole.bytes == "abc"));
        let body = Body::from(Bytes::from_static(b"abc"));
        assert!(matches!(read(body, 2), Read::TooLarge(Body::Full(bytes)) if bytes == "abc"));
        let promised = Resumed { begun: Bytes::from_static(b"abcd"), rest: Body::Empty };
        let Read::TooLarge(body) = read(Body::stream(promised), 3) else { panic!("it was read") };
        assert_eq!(block_on(drained(body)), (b"abcd".to_vec(), None));
    }

    #[test]
    fn who_is_late_is_not_waited_for() {
        let late = || std::future::ready(());
        let error = block_on(read(body(&[vec![1]], None), 9, late())).unwrap_err();
        assert!(error.is::<TooSlow>());
        // Nor who sends empty pieces without a pause.
        let empty = (0..1_000).map(|_| Frame::data(Bytes::new()));
        let pieces = Pieces { pieces: empty.collect(), pauses: false, is_ready: false };
        let error = block_on(read(Body::stream(pieces), 9, late())).unwrap_err();
        assert!(error.is::<TooSlow>());
        assert!(block_on(read(Body::Empty, 9, late())).is_ok());
    }
}
