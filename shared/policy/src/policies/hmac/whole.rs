//! The body of a request, read to its end within bounds.

use bytes::Bytes;

use super::fault::Fault;
use crate::body::whole::{self, Read};
use crate::body::{Body, BodyError, BrokenOff, TooSlow};

/// Reads a body to its end and leaves it in its place, whole. What is over `max_bytes` is not read, and what
/// does not come before `pause` is over is not waited for.
pub(super) async fn read(
    body: &mut Body,
    max_bytes: u64,
    pause: impl Future<Output = ()>,
) -> Result<Bytes, Fault> {
    let most = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    match whole::read(std::mem::take(body), most, pause).await.map_err(broken)? {
        Read::TooLarge(_) => Err(Fault::BodyTooLarge(max_bytes)),
        Read::Whole(whole) => {
            let bytes = whole.bytes.clone();
            *body = whole.into();
            Ok(bytes)
        }
    }
}

fn broken(error: BodyError) -> Fault {
    match error.downcast::<BrokenOff>() {
        Ok(broken_off) => Fault::Refused(broken_off.0),
        Err(error) if error.is::<TooSlow>() => Fault::BodyTooSlow,
        Err(_clients) => Fault::BodyBroken,
    }
}
