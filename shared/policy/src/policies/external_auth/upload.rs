//! The body of the request, held while the service is asked about it.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::Larger;
use crate::body::whole::{self, Read};
use crate::body::{Body, BodyError, BrokenOff, TooSlow};
use crate::policy::Refusal;
use crate::ports::Ports;

/// How much of a body is held, and for how long.
pub(super) struct Buffering {
    pub(super) most_bytes: usize,
    pub(super) on_larger: Larger,
    pub(super) wait: Duration,
}

impl Buffering {
    /// Copies a whole body, which stays in its place; none where it is too large and is left out.
    ///
    /// # Errors
    ///
    /// A refusal, where it is too large, breaks off or takes too long.
    pub(super) async fn take(
        &self,
        ports: &dyn Ports,
        body: &mut Body,
    ) -> Result<Option<Bytes>, Box<Refusal>> {
        // What is in memory already is copied where it stands.
        match body {
            Body::Empty => return Ok(Some(Bytes::new())),
            Body::Full(bytes) if bytes.len() <= self.most_bytes => return Ok(Some(bytes.clone())),
            Body::Full(_) | Body::Stream(_) => {}
        }
        let wait = ports.sleep(self.wait);
        let read = whole::read(std::mem::take(body), self.most_bytes, wait).await;
        match read.map_err(broken_off)? {
            Read::TooLarge(goes_on) => {
                *body = goes_on;
                self.leave_out()
            }
            Read::Whole(whole) => {
                let bytes = whole.bytes.clone();
                *body = whole.into();
                Ok(Some(bytes))
            }
        }
    }

    fn leave_out(&self) -> Result<Option<Bytes>, Box<Refusal>> {
        match self.on_larger {
            Larger::Omit => Ok(None),
            Larger::Refuse => Err(Box::new(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!(
                    "the request's body is larger than the {} bytes that are taken here",
                    self.most_bytes
                ),
            ))),
        }
    }
}

fn too_slow() -> Box<Refusal> {
    Box::new(Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        "request_timeout",
        "the request's body took too long to come",
    ))
}

fn broken_off(error: BodyError) -> Box<Refusal> {
    match error.downcast::<BrokenOff>() {
        Ok(broken_off) => broken_off.0,
        Err(error) if error.is::<TooSlow>() => too_slow(),
        Err(_clients) => Box::new(Refusal::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "the request's body broke off or is not framed as HTTP demands",
        )),
    }
}
