#![doc = include_str!("MANUAL.md")]

use std::future::Future;

use deserr::Deserr;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body::Body as _;
use schemars::JsonSchema;
use tollgate_model::Issues;
use tollgate_model::units::Size;

use super::compress::Coding;
use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Refusal, Repeat, Scope};

/// A body that is decompressed as it comes.
mod stream;

use stream::Decompressed;

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// How large a body may become. Default 10MiB.
    #[deserr(default = Size::from_kib(10 * 1024))]
    #[schemars(with = "Option<Size>")]
    pub max_size: Size,
    /// How many times larger a body may become, 1 to 10,000; the first 64 KiB are free. Default 100.
    #[deserr(default = 100)]
    #[schemars(with = "Option<u16>", range(min = 1, max = 10_000))]
    pub max_ratio: u16,
}

/// What a decompressed body may become.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    max_size: u64,
    max_ratio: u64,
}

/// Takes the coding off bodies of requests.
pub struct Decompress {
    bounds: Bounds,
}

/// What is taken, for those who sent something else.
const ACCEPTED: HeaderValue = HeaderValue::from_static("zstd, br, gzip");

impl Policy for Decompress {
    type Config = Config;
    type Carry = ();

    const NAME: &'static str = "decompress";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        if !(1..=10_000).contains(&config.max_ratio) {
            issues.add("/max_ratio", "out_of_range", "give a ratio from 1 to 10,000");
        }
        let bounds =
            Bounds { max_size: config.max_size.bytes(), max_ratio: u64::from(config.max_ratio) };
        issues.into_result(Self { bounds })
    }

    fn on_request(
        &self,
        _cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<()>> {
        std::future::ready(match self.decompress(request) {
            Ok(()) => Flow::Next(()),
            Err(refusal) => Flow::Refuse(refusal),
        })
    }
}

/// The codings of a body, as far as they matter.
enum Codings {
    None,
    One(Coding),
    Other,
}

impl Decompress {
    fn decompress(&self, request: &mut Request<Body>) -> Result<(), Box<Refusal>> {
        let coding = match codings(request.headers()) {
            Codings::None => return Ok(()),
            Codings::One(coding) => coding,
            Codings::Other => {
                let refusal = Refusal::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_encoding",
                    "the request's body has a content-encoding that is not taken here, or several",
                );
                return Err(Box::new(refusal.with(header::ACCEPT_ENCODING, ACCEPTED)));
            }
        };
        if request.body().is_end_stream() {
            return Ok(());
        }
        let body = std::mem::take(request.body_mut());
        let body = Decompressed::new(body, coding, self.bounds).map_err(|_no_memory| {
            Box::new(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "the gateway has no memory to decompress the request's body",
            ))
        })?;
        *request.body_mut() = Body::stream(body);
        let headers = request.headers_mut();
        // They are of the bytes as they were.
        for name in [
            "content-encoding",
            "content-length",
            "content-md5",
            "digest",
            "content-digest",
            "repr-digest",
        ] {
            headers.remove(name);
        }
        Ok(())
    }
}

fn codings(headers: &HeaderMap) -> Codings {
    let mut found = Codings::None;
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    for member in lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')) {
        let member = member.trim_ascii();
        if member.is_empty() || member.eq_ignore_ascii_case(b"identity") {
            continue;
        }
        found = match (found, Coding::named(member)) {
            (Codings::None, Some(coding)) => Codings::One(coding),
            (Codings::None | Codings::One(_) | Codings::Other, _) => return Codings::Other,
        };
    }
    found
}

#[cfg(test)]
mod tests;
