use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::Request;
use http_body::{Body as _, Frame};
use proptest::prelude::*;

use crate::Body;
use crate::body::{BodyError, BrokenOff};
use crate::support::{Met, World, chain};

/// A body in pieces, with a wait between two.
struct Pieces(std::collections::VecDeque<Bytes>, bool);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.1 = !self.1;
        if self.1 && !self.0.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

fn coded(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
            encoder.write_all(plain).unwrap();
            encoder.into_inner()
        }
        _ => zstd::stream::encode_all(plain, 3).unwrap(),
    }
}

async fn met(policy: &str, coding: &str, body: Vec<u8>, piece: usize) -> Met {
    let pieces = body.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
    let request = Request::post("/")
        .header("content-encoding", coding)
        .header("content-length", body.len())
        .body(Body::stream(Pieces(pieces, false)))
        .unwrap();
    World::default().exchange(&chain(&[policy]), request).await
}

/// What comes out, or status and code of the refusal that breaks it off.
fn read(met: &mut Met) -> Result<Vec<u8>, (u16, &'static str)> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut plain = Vec::new();
    loop {
        match Pin::new(met.request.body_mut()).poll_frame(&mut cx) {
            Poll::Pending => {}
            Poll::Ready(None) => return Ok(plain),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap();
                assert!(data.len() <= 16 << 10);
                plain.extend(data);
            }
            Poll::Ready(Some(Err(error))) => {
                let BrokenOff(refusal) = *error.downcast().unwrap();
                return Err((refusal.status.as_u16(), refusal.code));
            }
        }
    }
}

#[tokio::test]
async fn a_body_arrives_plain_without_the_fields_of_its_coding() {
    let plain = "Tollgate carries calls. ".repeat(2000).into_bytes();
    for coding in ["gzip", "X-GZIP", "br", "zstd", "identity, gzip"] {
        for piece in [1, 7, 1 << 20] {
            let name = coding.rsplit(' ').next().unwrap().to_lowercase();
            let body = coded(name.trim_start_matches("x-"), &plain);
            let mut met = met("decompress: {max_ratio: 10000}", coding, body, piece).await;
            assert_eq!((met.sent("content-encoding"), met.sent("content-length")), (None, None));
            assert_eq!(read(&mut met).unwrap(), plain, "{coding} {piece}");
        }
    }
}

#[tokio::test]
async fn what_has_no_coding_stays_as_it_is() {
    for coding in ["identity", "", " , "] {
        let mut met = met("decompress: {}", coding, b"plain".to_vec(), 2).await;
        assert_eq!(met.sent("content-length"), Some("5"));
        assert_eq!(read(&mut met).unwrap(), b"plain");
    }
}

#[tokio::test]
async fn other_codings_and_several_are_refused() {
    for coding in ["deflate", "gzip, br", "gzip, gzip", "gzip;q=1"] {
        let met = met("decompress: {}", coding, b"x".to_vec(), 1).await;
        assert_eq!(met.refused(), Some((415, "unsupported_encoding")), "{coding}");
        assert_eq!(met.answered("accept-encoding"), ["zstd, br, gzip"]);
    }
}

#[tokio::test]
async fn bombs_go_off_within_their_bounds() {
    let plain = vec![0; 8 << 20];
    for coding in ["gzip", "br", "zstd"] {
        let body = coded(coding, &plain);
        for policy in ["decompress: {}", "decompress: {max_size: 1MiB, max_ratio: 10000}"] {
            let mut met = met(policy, coding, body.clone(), 1 << 20).await;
            assert_eq!(read(&mut met), Err((413, "body_too_large")), "{coding} {policy}");
        }
        let small = coded(coding, &plain[..60_000]);
        let mut met = met("decompress: {max_ratio: 1}", coding, small, 1 << 20).await;
        assert_eq!(read(&mut met).unwrap().len(), 60_000, "{coding}");
    }
}

#[tokio::test]
async fn what_breaks_off_or_goes_on_behind_its_end_is_malformed() {
    for coding in ["gzip", "br", "zstd"] {
        let whole = coded(coding, &b"some text that is long enough ".repeat(20));
        let broken = whole[..whole.len() - 3].to_vec();
        let longer = [whole.as_slice(), b"and more"].concat();
        let other = b"this is no such coding at all".to_vec();
        for (what, body) in [("broken", broken), ("longer", longer), ("other", other)] {
            for piece in [1, 1 << 20] {
                let mut met = met("decompress: {}", coding, body.clone(), piece).await;
                assert_eq!(read(&mut met), Err((400, "malformed_body")), "{coding} {what} {piece}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_end_in_a_body_or_a_refusal(body in proptest::collection::vec(any::<u8>(), 1..600), coding in 0usize..3, flip in any::<bool>(), piece in 1usize..64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let coding = ["gzip", "br", "zstd"][coding];
        let mut bytes = if flip { coded(coding, &body) } else { body.clone() };
        if flip {
            let at = usize::from(body[0]) % bytes.len();
            bytes[at] ^= 1 << (body[0] % 8);
        }
        let mut met = runtime.block_on(met("decompress: {}", coding, bytes, piece));
        let _ = read(&mut met);
    }
}
