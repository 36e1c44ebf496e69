#![doc = include_str!("MANUAL.md")]

use std::future::Future;

use deserr::{Deserr, IntoValue, ValuePointerRef};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use schemars::JsonSchema;
use tollgate_model::parse::{self, Rejected};
use tollgate_model::units::Size;
use tollgate_model::{FromText, Issues};

use crate::body::Body;
use crate::policy::{Cx, Flow, Phase, Policy, Repeat, Scope};

/// Which coding the client takes.
mod negotiation;
/// A body that is compressed as it comes.
mod stream;

use stream::{Compressed, Encoder};

/// What the operator writes.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Config {
    /// Codings that are offered; the first is taken where the client weighs several the same. Default `zstd`, `br`, `gzip`.
    #[deserr(default = Coding::ALL.to_vec())]
    #[schemars(with = "Option<Vec<Coding>>")]
    pub encodings: Vec<Coding>,
    /// How much work is done: `fast`, `balanced`, `small`. Default `balanced`.
    #[deserr(default)]
    #[schemars(with = "Option<Level>")]
    pub level: Level,
    /// An answer that says that it is smaller stays as it is. Default 1KiB.
    #[deserr(default = Size::from_kib(1))]
    #[schemars(with = "Option<Size>")]
    pub min_size: Size,
    /// Media types that are compressed, such as `application/json` or `text/*`. Default: those of texts, data and code.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<MediaRange>>")]
    pub content_types: Option<Vec<MediaRange>>,
}

/// A coding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues)]
#[schemars(rename = "ContentCoding")]
pub enum Coding {
    /// RFC 8878.
    #[deserr(rename = "zstd")]
    #[schemars(rename = "zstd")]
    Zstd,
    /// RFC 7932.
    #[deserr(rename = "br")]
    #[schemars(rename = "br")]
    Brotli,
    /// RFC 1952.
    #[deserr(rename = "gzip")]
    #[schemars(rename = "gzip")]
    Gzip,
}

impl Coding {
    const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// By its name in `content-encoding` and `accept-encoding`.
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        match () {
            () if is(b"zstd") => Some(Self::Zstd),
            () if is(b"br") => Some(Self::Brotli),
            // RFC 9110 §8.4.1.3: equivalent.
            () if is(b"gzip") || is(b"x-gzip") => Some(Self::Gzip),
            () => None,
        }
    }

    fn field(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        })
    }
}

/// How much work is done.
#[derive(Clone, Copy, Debug, Default, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename = "CompressionLevel", rename_all = "lowercase")]
pub enum Level {
    /// The least.
    Fast,
    /// Most of the gain for little work.
    #[default]
    Balanced,
    /// As much as an answer under way allows.
    Small,
}

impl Level {
    fn gzip(self) -> u32 {
        match self {
            Self::Fast => 1,
            Self::Balanced => 5,
            Self::Small => 9,
        }
    }

    fn brotli(self) -> u32 {
        match self {
            Self::Fast => 1,
            Self::Balanced => 4,
            Self::Small => 6,
        }
    }

    fn zstd(self) -> i32 {
        match self {
            Self::Fast => 1,
            Self::Balanced => 3,
            Self::Small => 9,
        }
    }
}

/// A media type, or all of one kind: `application/json`, `text/*`. In lower case.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(with = "String")]
pub struct MediaRange(Box<str>);

impl MediaRange {
    /// Whether it is all of one kind.
    pub(super) fn is_wide(&self) -> bool {
        self.0.ends_with('*')
    }

    /// Whether a media type without its parameters is meant.
    pub(super) fn covers(&self, essence: &[u8]) -> bool {
        match self.0.strip_suffix('*') {
            Some(kind) => essence
                .split_at_checked(kind.len())
                .is_some_and(|(start, _)| start.eq_ignore_ascii_case(kind.as_bytes())),
            None => essence.eq_ignore_ascii_case(self.0.as_bytes()),
        }
    }
}

impl FromText for MediaRange {
    const EXPECTED: &'static str = "a media type such as application/json or text/*";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let is_token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        match text.split_once('/') {
            Some((kind, rest)) if is_token(kind) && (rest == "*" || is_token(rest)) => {
                Ok(Self(text.to_ascii_lowercase().into()))
            }
            _ => Err(Rejected::new(
                "invalid_media_type",
                format!("`{}` is not {}", text.escape_debug(), Self::EXPECTED),
            )),
        }
    }
}

impl Deserr<Issues> for MediaRange {
    fn deserialize_from_value<V: IntoValue>(
        value: deserr::Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        parse::text(value, location)
    }
}

/// What compresses well, as far as names tell.
const DEFAULT_TYPES: [&str; 14] = [
    "text/*",
    "application/json",
    "application/ld+json",
    "application/problem+json",
    "application/vnd.api+json",
    "application/graphql-response+json",
    "application/manifest+json",
    "application/x-ndjson",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/wasm",
    "image/svg+xml",
    "font/ttf",
];

/// Compresses answers.
pub struct Compress {
    encodings: Box<[Coding]>,
    level: Level,
    min_size: u64,
    content_types: Box<[MediaRange]>,
}

/// What is known of the request when the answer comes.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    coding: Option<Coding>,
    is_head: bool,
}

impl Policy for Compress {
    type Config = Config;
    type Carry = Wish;

    const NAME: &'static str = "compress";
    const PHASE: Phase = Phase::Transform;
    const REPEAT: Repeat = Repeat::Innermost;
    const MANUAL: &'static str = include_str!("MANUAL.md");

    fn compile(config: Config, _scope: Scope<'_>) -> Result<Self, Issues> {
        let mut issues = Issues::default();
        if config.encodings.is_empty() {
            issues.add("/encodings", "empty", "offers no coding; name `zstd`, `br` or `gzip`");
        }
        for (i, coding) in config.encodings.iter().enumerate() {
            if config.encodings.iter().take(i).any(|before| before == coding) {
                issues.add(format!("/encodings/{i}"), "duplicate", "stands here already");
            }
        }
        let content_types = config.content_types.unwrap_or_else(|| {
            DEFAULT_TYPES.iter().map(|known| MediaRange(Box::from(*known))).collect()
        });
        if content_types.is_empty() {
            issues.add("/content_types", "empty", "names no media type, so nothing is compressed");
        }
        issues.into_result(Self {
            encodings: config.encodings.into(),
            level: config.level,
            min_size: config.min_size.bytes(),
            content_types: content_types.into(),
        })
    }

    fn on_request(
        &self,
        _cx: &mut Cx<'_>,
        request: &mut Request<Body>,
    ) -> impl Future<Output = Flow<Wish>> {
        std::future::ready(Flow::Next(Wish {
            coding: negotiation::pick(request.headers(), &self.encodings),
            is_head: request.method() == Method::HEAD,
        }))
    }

    fn on_response(
        &self,
        wish: &mut Wish,
        _cx: &mut Cx<'_>,
        response: &mut Response<Body>,
    ) -> impl Future<Output = ()> {
        self.compress(*wish, response);
        std::future::ready(())
    }
}

impl Compress {
    fn compress(&self, wish: Wish, response: &mut Response<Body>) {
        if !self.may_compress(response) {
            return;
        }
        // Also where this client takes none: a cache must not give it to one that takes some as the only form.
        add_vary(response.headers_mut());
        let Some(coding) = wish.coding else { return };
        if wish.is_head || response.body().is_end_stream() {
            return;
        }
        // Without memory for it the answer goes out as it is.
        let Ok(encoder) = Encoder::new(coding, self.level) else { return };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_ENCODING, coding.field());
        weaken_etag(headers);
        forget_bytes(headers);
        let body = std::mem::take(response.body_mut());
        *response.body_mut() = Body::stream(Compressed::new(body, encoder));
    }

    /// Whether an answer is one that is compressed for clients that take it so.
    fn may_compress(&self, response: &Response<Body>) -> bool {
        let headers = response.headers();
        let is_whole = response.status() != StatusCode::PARTIAL_CONTENT
            && !headers.contains_key(header::CONTENT_RANGE);
        let has_body = !response.status().is_informational()
            && ![StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED]
                .contains(&response.status());
        is_whole
            && has_body
            && is_identity(headers)
            && !forbids_transformation(headers)
            && self.is_large_enough(response)
            && self.has_type(headers)
    }

    fn is_large_enough(&self, response: &Response<Body>) -> bool {
        let told = response.headers().get(header::CONTENT_LENGTH);
        let told = told.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let size: Option<u64> = told.or_else(|| response.body().size_hint().exact());
        size.is_none_or(|size| size >= self.min_size)
    }

    fn has_type(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let essence = value.and_then(|value| value.split(|byte| *byte == b';').next());
        let Some(essence) = essence.map(<[u8]>::trim_ascii) else { return false };
        self.content_types.iter().any(|range| range.covers(essence))
    }
}

/// Whether a body has no coding.
pub(super) fn is_identity(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// RFC 9111 §5.2.2.6.
fn forbids_transformation(headers: &HeaderMap) -> bool {
    names(headers, &header::CACHE_CONTROL, b"no-transform")
}

/// Whether a field that is a list has this member.
fn names(headers: &HeaderMap, field: &http::HeaderName, member: &[u8]) -> bool {
    let lines = headers.get_all(field).iter();
    let mut members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.any(|known| known.trim_ascii().eq_ignore_ascii_case(member))
}

fn add_vary(headers: &mut HeaderMap) {
    let is_there =
        names(headers, &header::VARY, b"accept-encoding") || names(headers, &header::VARY, b"*");
    if !is_there {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Takes off what is said of the bytes of a body, before they become others.
pub(super) fn forget_bytes(headers: &mut HeaderMap) {
    for name in [
        "content-length",
        "content-md5",
        "digest",
        "content-digest",
        "repr-digest",
        "accept-ranges",
    ] {
        headers.remove(name);
    }
}

/// Another coding has other bytes, and a strong tag is of bytes (RFC 9110 §8.8.3).
pub(super) fn weaken_etag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(header::ETAG) else { return };
    if tag.as_bytes().starts_with(b"W/") {
        return;
    }
    let weak = [b"W/", tag.as_bytes()].concat();
    if let Ok(weak) = HeaderValue::from_bytes(&weak) {
        headers.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests;
