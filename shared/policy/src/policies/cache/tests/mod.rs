use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use http_body::Body as _;
use proptest::prelude::*;

use crate::body::Body;
use crate::chain::{Carries, Chain};
use crate::claims::Claims;
use crate::policy::Flow;
use crate::ports::{Cache, Turn};
use crate::stored::{Digest, Key, Lead, Outcome, Stored, Variants};
use crate::support::{NOW, World, caller, chain};

// What is stored, and for how long.
mod freshness;
// Who may have it.
mod sharing;
// What clients ask, and what they hold.
mod requests;
// What happens when the origin is asked again.
mod validation;
// What is let go together.
mod tagged;

const SECOND: u64 = 1_000_000;
/// `NOW` as a date.
const DATE: &str = "Tue, 14 Nov 2023 22:13:20 GMT";

type Fields<'a> = &'a [(&'a str, &'a str)];

/// A cache without a budget, whose clock is set by hand.
#[derive(Default)]
struct CacheDouble {
    entries: Mutex<HashMap<Digest, Arc<Variants>>>,
    passed: Mutex<HashSet<Digest>>,
    invalidated: Mutex<Vec<Digest>>,
    now: AtomicU64,
    gives_leads: AtomicBool,
}

impl Cache for CacheDouble {
    fn lookup(&self, key: &Key) -> Option<Arc<Variants>> {
        self.entries.lock().unwrap().get(&key.whole).cloned()
    }

    fn store(&self, key: &Key, response: Stored) {
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.entry(key.whole).or_default();
        *entry = Arc::new(entry.with(Arc::new(response)));
    }

    fn invalidate(&self, target: &Digest) {
        self.invalidated.lock().unwrap().push(*target);
        self.entries.lock().unwrap().remove(target);
    }

    fn purge(&self, group: &Digest) {
        let mut entries = self.entries.lock().unwrap();
        entries.retain(|_, variants| variants.iter().all(|stored| !stored.groups.contains(group)));
    }

    fn turn(&self, _key: &Key, _limit: Duration) -> Turn {
        if self.gives_leads.load(Ordering::Relaxed) {
            Turn::Lead(Lead::new(Box::new(())))
        } else {
            Turn::Alone
        }
    }

    fn pass(&self, key: &Key) {
        self.passed.lock().unwrap().insert(key.whole);
    }

    fn now_unix_micros(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }
}

/// A gateway with a cache, and an origin that answers as it is told.
struct Site {
    world: World,
    chain: Chain,
    double: Arc<CacheDouble>,
}

/// What came of a call.
#[derive(Debug)]
struct Call {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    outcome: Option<Outcome>,
    /// The fields that the origin got; none where it was not asked.
    asked: Option<HeaderMap>,
    has_refresh: bool,
    refusal: Option<&'static str>,
}

impl Call {
    fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn sent(&self, name: &str) -> &str {
        let asked = self.asked.as_ref().expect("the origin was asked");
        asked.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Site {
    fn new(policy: &str) -> Self {
        Self::of(&[policy])
    }

    fn of(policies: &[&str]) -> Self {
        let double = Arc::<CacheDouble>::default();
        let cache: Option<Arc<dyn Cache>> = Some(double.clone());
        Self { world: World { cache, ..World::default() }, chain: chain(policies), double }
    }

    /// A request so many seconds after `NOW`.
    async fn call(&mut self, second: u64, request: Request<Body>, answer: Response<Body>) -> Call {
        self.world.now_unix_micros = NOW + second * SECOND;
        self.double.now.store(NOW + second * SECOND, Ordering::Relaxed);
        let (mut carries, mut cx, mut request) = (Carries::default(), self.world.cx(), request);
        let mut asked = None;
        let mut response = match self.chain.on_request(&mut cx, &mut request, &mut carries).await {
            Flow::Next(()) => {
                asked = Some(request.headers().clone());
                cx.cache.sent = cx.cache.is_sent_wanted.then(|| request.headers().clone());
                answer
            }
            Flow::Answer(response) => *response,
            Flow::Refuse(refusal) => {
                let (status, refusal) = (refusal.status.as_u16(), Some(refusal.code));
                let (headers, body) = (HeaderMap::new(), Vec::new());
                return Call {
                    status,
                    headers,
                    body,
                    outcome: None,
                    asked,
                    has_refresh: false,
                    refusal,
                };
            }
        };
        self.chain.on_response(&mut carries, &mut cx, &mut response).await;
        let outcome = cx.cache.outcome;
        let has_refresh = cx.cache.refresh.is_some();
        let (head, body) = response.into_parts();
        Call {
            status: head.status.as_u16(),
            headers: head.headers,
            body: read(body).await,
            outcome,
            asked,
            has_refresh,
            refusal: None,
        }
    }

    /// The same for a GET of `/a`.
    async fn get(&mut self, second: u64, fields: Fields<'_>, answer: Response<Body>) -> Call {
        self.call(second, request("GET", "/a", fields), answer).await
    }

    /// What becomes of a second GET after a first one.
    async fn then(
        &mut self,
        first: Response<Body>,
        later: u64,
        fields: Fields<'_>,
    ) -> Option<Outcome> {
        self.get(0, &[], first).await;
        self.get(later, fields, answer(200, &[], "second")).await.outcome
    }
}

async fn read(mut body: Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        match frame {
            Some(Ok(frame)) => bytes.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Some(Err(_)) | None => return bytes,
        }
    }
}

fn request(method: &str, target: &str, fields: Fields<'_>) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(target).header("host", "api.shop.test");
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::Empty).unwrap()
}

/// An answer with `date: NOW`, unless its fields say otherwise.
fn answer(status: u16, fields: Fields<'_>, body: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(body.to_owned())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        response.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    if !response.headers().contains_key("date") {
        response.headers_mut().insert("date", DATE.parse().unwrap());
    }
    response
}

fn control(value: &str) -> Response<Body> {
    answer(200, &[("cache-control", value)], "first")
}
