//! Responses as a cache keeps them, and what they are found by.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

/// What a hash of BLAKE3 says; two texts never share one.
pub type Digest = [u8; 32];

/// A target of an API: tenant, API, scheme, host and target in one.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// Who owns the API.
    pub tenant: &'a str,
    /// The API's name.
    pub api: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// With its port, as clients say it; in letters of any case.
    pub host: &'a str,
    /// Path and query, as clients ask for it.
    pub target: &'a str,
}

impl Address<'_> {
    /// What it is found by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let host = if self.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(self.host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(self.host)
        };
        digest_of(&[self.tenant, self.api, self.scheme, &host, self.target])
    }
}

/// What all stored responses of an API have in common.
#[must_use]
pub fn api_group(tenant: &str, api: &str) -> Digest {
    digest_of(&["api", tenant, api])
}

/// What all stored responses of a tenant with the same tag have in common.
#[must_use]
pub fn tag_group(tenant: &str, tag: &str) -> Digest {
    digest_of(&["tag", tenant, tag])
}

fn digest_of(texts: &[&str]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        add(&mut hasher, Some(text));
    }
    *hasher.finalize().as_bytes()
}

/// Adds a text with its length, so that two texts never read as one.
pub(crate) fn add(hasher: &mut blake3::Hasher, text: Option<&str>) {
    let length = text.map_or(u64::MAX, |text| u64::try_from(text.len()).unwrap_or(u64::MAX));
    hasher.update(&length.to_be_bytes());
    hasher.update(text.unwrap_or_default().as_bytes());
}

/// What a response is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Tenant, API, host and target. What invalidates a target invalidates it for every part.
    pub target: Digest,
    /// For whom or for what part of the callers; none where all share it.
    pub part: Option<Digest>,
    /// Both in one.
    pub whole: Digest,
}

impl Key {
    /// The key of a target, for a part of the callers or for all.
    #[must_use]
    pub fn new(target: Digest, part: Option<Digest>) -> Self {
        let whole = part.map_or(target, |part| {
            *blake3::Hasher::new().update(&target).update(&part).finalize().as_bytes()
        });
        Self { target, part, whole }
    }
}

/// A complete response, and until when it may be used.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without those of one hop and without `age`.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// The request fields that select it, with their values (RFC 9111 §4.1).
    pub selecting: Selecting,
    /// What it is let go with: its API and its tags. Purging one of them purges it.
    pub groups: Box<[Digest]>,
    /// When it was asked for, in microseconds since 1970-01-01.
    pub requested_unix_micros: u64,
    /// When its head came.
    pub received_unix_micros: u64,
    /// How old it was then (RFC 9111 §4.2.3).
    pub initial_age_micros: u64,
    /// What may be done with it.
    pub rules: Rules,
}

/// Request fields and their values; none where the field is absent.
pub type Selecting = Box<[(HeaderName, Option<Box<[u8]>>)]>;

/// What may be done with a stored response. Times are in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// How long it is fresh.
    pub lifetime_micros: u64,
    /// Whether the origin has to be asked each time.
    pub must_validate: bool,
    /// Whether a client that takes stale responses may have it.
    pub may_be_stale: bool,
    /// Whether callers of whom more is known than their address may share it (RFC 9111 §3.5).
    pub is_for_all: bool,
    /// How long after its freshness it may be used while it is fetched anew (RFC 5861 §3).
    pub while_revalidating_micros: u64,
    /// How long after its freshness it may be used where the origin fails (RFC 5861 §4).
    pub if_error_micros: u64,
}

impl Stored {
    /// How old it is (RFC 9111 §4.2.3).
    #[must_use]
    pub fn age_micros(&self, now_unix_micros: u64) -> u64 {
        let resident = now_unix_micros.saturating_sub(self.received_unix_micros);
        self.initial_age_micros.saturating_add(resident)
    }

    /// How long it has been stale; none while it is fresh.
    #[must_use]
    pub fn staleness_micros(&self, now_unix_micros: u64) -> Option<u64> {
        // RFC 9111 §4.2: fresh is what is younger than its lifetime.
        let age = self.age_micros(now_unix_micros);
        age.checked_sub(self.rules.lifetime_micros)
    }

    /// About how much memory it takes.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        const FIXED: usize = 512;
        const A_FIELD: usize = 96;
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        let selecting =
            self.selecting.iter().map(|(_, value)| value.as_ref().map_or(0, |value| value.len()));
        let count = self.headers.len() + self.selecting.len();
        let bytes = FIXED
            + self.body.len()
            + size_of_val(&*self.groups)
            + count * A_FIELD
            + fields.sum::<usize>()
            + selecting.sum::<usize>();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// All that is stored under one key, the newest first.
#[derive(Clone, Debug, Default)]
pub struct Variants(Box<[Arc<Stored>]>);

/// As many as one key keeps; the oldest go.
const MOST_VARIANTS: usize = 32;

impl Variants {
    /// The responses, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.0.iter()
    }

    /// The same with one more, in the place of what is selected by the same values.
    #[must_use]
    pub fn with(&self, response: Arc<Stored>) -> Self {
        let others = self.0.iter().filter(|known| known.selecting != response.selecting);
        let kept: Vec<Arc<Stored>> = others.take(MOST_VARIANTS - 1).cloned().collect();
        Self(std::iter::once(response).chain(kept).collect())
    }

    /// Those that were asked for after a moment; none where there are none.
    #[must_use]
    pub fn newer_than(&self, unix_micros: u64) -> Option<Self> {
        self.retain(|stored| stored.requested_unix_micros > unix_micros)
    }

    /// Those that are to stay; none where there are none.
    #[must_use]
    pub fn retain(&self, stays: impl Fn(&Stored) -> bool) -> Option<Self> {
        let kept: Box<[Arc<Stored>]> =
            self.0.iter().filter(|stored| stays(stored)).cloned().collect();
        if kept.is_empty() { None } else { Some(Self(kept)) }
    }

    /// About how much memory they take.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.0.iter().map(|stored| stored.weight_bytes()).sum()
    }
}

/// The one request of a node that fetches what a key lacks. The others wait until it is dropped.
pub struct Lead(Box<dyn Send + Sync>);

impl Lead {
    /// A lead that ends when `guard` is dropped.
    #[must_use]
    pub fn new(guard: Box<dyn Send + Sync>) -> Self {
        Self(guard)
    }
}

impl fmt::Debug for Lead {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.0;
        formatter.write_str("Lead")
    }
}

/// What the cache and the exchange tell each other of one request.
#[derive(Debug, Default)]
pub struct Caching {
    /// What came of it; none where no cache was asked.
    pub outcome: Option<Outcome>,
    /// Given by the policy with a stale answer: the same request is to be sent on without its
    /// client. Given to the policy with that second request.
    pub refresh: Option<Lead>,
    /// Whether the policy wants to know the fields that went upstream.
    pub is_sent_wanted: bool,
    /// Those fields, after all policies.
    pub sent: Option<HeaderMap>,
    /// Whether a policy let the request through for something that it found out of its sender and told
    /// nobody: then only what is for all may be shared (RFC 9111 §3.5).
    pub is_personal: bool,
}

impl Caching {
    /// What the second request begins with, where a stale answer makes one necessary.
    pub fn take_refresh(&mut self) -> Option<Self> {
        let lead = self.refresh.take()?;
        Some(Self { refresh: Some(lead), is_personal: self.is_personal, ..Self::default() })
    }
}

/// What a cache did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered from memory.
    Hit,
    /// Answered from memory with what another request of the same time fetched.
    Collapsed,
    /// Answered from memory with what is not fresh any more.
    Stale,
    /// Answered from memory after the origin said that it still holds.
    Revalidated,
    /// Fetched.
    Miss,
    /// Not asked, or not allowed to answer.
    Bypass,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 6] =
        [Self::Hit, Self::Collapsed, Self::Stale, Self::Revalidated, Self::Miss, Self::Bypass];

    /// As it stands in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Collapsed => "collapsed",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}
