//! The cookie that keeps a caller on its side (RFC 6265).

use std::time::Duration;

use deserr::Deserr;
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use tollgate_model::units::Span;
use tollgate_model::{Issues, Name};
use xxhash_rust::xxh3::xxh3_64;

use super::To;
use crate::cookie;

/// A cookie that keeps a caller on its side.
#[derive(Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// How long it is kept from the first call on, 1s to 365d. Default: until the browser is closed.
    #[deserr(default)]
    pub max_age: Option<Span>,
}

/// Where a call went: an upstream by its index; none is the route's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side(pub(super) Option<usize>);

/// The same compiled: for each side what the cookie says, and the fields that set it.
pub(super) struct Kept {
    name: Box<str>,
    /// The route's own side comes last.
    sides: Box<[KeptSide]>,
}

struct KeptSide {
    value: Box<str>,
    plain: HeaderValue,
    secure: HeaderValue,
}

impl Kept {
    pub(super) fn compile(sticky: &Sticky, to: &[To], issues: &mut Issues) -> Self {
        if !is_cookie_name(&sticky.cookie) {
            issues.add(
                "/sticky/cookie",
                "invalid_cookie",
                "is not the name of a cookie, such as shop-version",
            );
        }
        let bounds = Duration::from_secs(1)..=Duration::from_secs(365 * 24 * 3600);
        let max_age = sticky.max_age.map(Span::get);
        if max_age.is_some_and(|max_age| !bounds.contains(&max_age)) {
            issues.add("/sticky/max_age", "out_of_range", "give 1s to 365d");
        }
        let max_age =
            max_age.map(|max_age| format!("; Max-Age={}", max_age.as_secs())).unwrap_or_default();
        let side = |upstream: Option<&Name>| {
            // Names of upstreams are not the caller's business, and they stay when shares and order change.
            let value = upstream.map_or(0, |name| xxh3_64(name.as_str().as_bytes()));
            let value = format!("{value:016x}").into_boxed_str();
            let plain =
                format!("{}={value}; Path=/{max_age}; HttpOnly; SameSite=Lax", sticky.cookie);
            let field =
                |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
            KeptSide { plain: field(&plain), secure: field(&format!("{plain}; Secure")), value }
        };
        let sides = to.iter().map(|to| Some(&to.upstream)).chain([None]).map(side).collect();
        Self { name: sticky.cookie.as_str().into(), sides }
    }

    /// The side that a caller is kept on; none where it has no cookie of these sides.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Side> {
        let value = cookie::find(headers, &self.name)?;
        let index = self.sides.iter().position(|side| *side.value == *value)?;
        Some(Side((index + 1 < self.sides.len()).then_some(index)))
    }

    /// The field that keeps a caller on a side.
    pub(super) fn set(&self, Side(side): Side, scheme: &str) -> Option<HeaderValue> {
        let side = match side {
            Some(index) => self.sides.get(index),
            None => self.sides.last(),
        }?;
        Some(if scheme == "https" { side.secure.clone() } else { side.plain.clone() })
    }
}

/// RFC 6265 §4.1.1: a cookie's name is a token, as a field's is.
pub(super) fn is_cookie_name(text: &str) -> bool {
    HeaderName::from_bytes(text.as_bytes()).is_ok()
}
