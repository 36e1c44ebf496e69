//! A body that is read whole before it goes on, byte for byte.

use bytes::Bytes;

use crate::body::whole::{self, Read};
use crate::body::{Body, BodyError, BrokenOff, TooSlow};
use crate::policy::Refusal;

/// Why a body was not read.
pub(super) enum Unread {
    TooLarge,
    /// It did not come in time.
    Late,
    /// Another policy broke it off.
    Refused(Box<Refusal>),
    /// Its sender broke it off.
    Broken,
}

/// Reads a body of at most so many bytes, and puts what was read in its place. `late` ends the wait.
pub(super) async fn read(
    body: &mut Body,
    most: usize,
    late: impl Future<Output = ()>,
) -> Result<Bytes, Unread> {
    match whole::read(std::mem::take(body), most, late).await.map_err(because_of)? {
        Read::TooLarge(_) => Err(Unread::TooLarge),
        Read::Whole(whole) => {
            let bytes = whole.bytes.clone();
            *body = whole.into();
            Ok(bytes)
        }
    }
}

fn because_of(error: BodyError) -> Unread {
    match error.downcast::<BrokenOff>() {
        Ok(broken_off) => Unread::Refused(broken_off.0),
        Err(error) if error.is::<TooSlow>() => Unread::Late,
        Err(_senders) => Unread::Broken,
    }
}
