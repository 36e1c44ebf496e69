//! The world as tests have it: callers, secrets and counters that are written down beforehand.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tollgate_model::credential::KeyHash;
use tollgate_model::path::BasePath;
use tollgate_model::secret::SecretText;
use tollgate_model::{FromText as _, Name};
use tollgate_policy::chain::{Carries, Chain};
use tollgate_policy::jose::{Generation, KeySet, KeySource, Remembered};
use tollgate_policy::limit::Usage;
use tollgate_policy::policies::{AnyPolicy, Shared};
use tollgate_policy::policy::{Caller, Client, ClientCertificate, Parameters, RouteFacts};
use tollgate_policy::ports::{
    Cache, Call, CallAnswer, Calling, Concurrency, Counters, Decision, Enter, Entered, FoundKeys,
    Gate, HttpCall, KeySets, Login, Permit, Ports, Proof, Proving, Settlement, Take, Taken,
};
use tollgate_policy::stored::Caching;
use tollgate_policy::{Body, Claims, Cx, Flow, Onward, Refusal, Scope};

/// A moment in 2023, in microseconds since 1970-01-01.
pub(crate) const NOW: u64 = 1_700_000_000_000_000;

/// A name.
pub(crate) fn name(text: &str) -> Name {
    Name::from_text(text).unwrap()
}

/// The JSON of a YAML text with one document.
pub(crate) fn yaml(text: &str) -> serde_json::Value {
    let mut documents = tollgate_model::file::documents(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    documents.remove(0).value
}

/// A policy from `name: {…}`, as it stands in a list of policies.
pub(crate) fn policy(text: &str) -> Shared {
    policy_at("Api/default/orders", text)
}

/// The same where it stands elsewhere.
pub(crate) fn policy_at(place: &str, text: &str) -> Shared {
    let value = yaml(text);
    let (name, config) = value.as_object().unwrap().iter().next().unwrap();
    let scope = Scope { place, parameters: Some(&["id"]) };
    Arc::new(AnyPolicy::compile(name, config, scope).unwrap())
}

/// A chain of policies of one level.
pub(crate) fn chain(texts: &[&str]) -> Chain {
    let policies: Vec<Shared> = texts.iter().map(|text| policy(text)).collect();
    Chain::assemble([policies.as_slice()])
}

/// Everything that a request meets, and where it comes from.
pub(crate) struct World {
    pub(crate) now_unix_micros: u64,
    pub(crate) scheme: &'static str,
    pub(crate) client: Client,
    pub(crate) certificate: Option<ClientCertificate>,
    pub(crate) route: RouteFacts,
    pub(crate) parameters: HashMap<String, String>,
    pub(crate) identity: Option<Arc<Caller>>,
    pub(crate) claims: Option<Arc<Claims>>,
    pub(crate) callers: HashMap<(Name, Vec<u8>), Arc<Caller>>,
    pub(crate) applications: HashMap<(Name, Name), Arc<Caller>>,
    pub(crate) proofs: HashMap<KeyHash, Arc<Caller>>,
    pub(crate) secrets: HashMap<(Name, Name), SecretText>,
    pub(crate) key_sets: KeySetsDouble,
    pub(crate) remembered: Remembered,
    pub(crate) counters: CountersDouble,
    pub(crate) passwords: PasswordsDouble,
    pub(crate) cache: Option<Arc<dyn Cache>>,
    pub(crate) gates: GatesDouble,
    pub(crate) calls: CallsDouble,
    /// Whether whoever waits has waited long enough already.
    pub(crate) is_late: bool,
}

impl Default for World {
    fn default() -> Self {
        Self {
            now_unix_micros: NOW,
            scheme: "http",
            client: Client { address: [192, 0, 2, 7].into(), address_text: "192.0.2.7".into() },
            certificate: None,
            route: RouteFacts {
                tenant: Name::default_name(),
                api: name("orders"),
                route: Some(name("item")),
                base_path: BasePath::root(),
            },
            parameters: HashMap::new(),
            identity: None,
            claims: None,
            callers: HashMap::new(),
            applications: HashMap::new(),
            proofs: HashMap::new(),
            secrets: HashMap::new(),
            key_sets: KeySetsDouble::default(),
            remembered: Remembered::new([3; 32]),
            counters: CountersDouble::default(),
            passwords: PasswordsDouble::default(),
            cache: None,
            gates: GatesDouble::default(),
            calls: CallsDouble::default(),
            is_late: false,
        }
    }
}

impl World {
    /// Gives a caller of the tenant `default` a key.
    pub(crate) fn with_caller(mut self, key: &str, caller: Caller) -> Self {
        self.callers.insert((caller.tenant.clone(), key.as_bytes().to_vec()), Arc::new(caller));
        self
    }

    /// Gives a caller of the tenant `default` a username and a password.
    pub(crate) fn with_login(mut self, username: &str, password: &str, caller: Caller) -> Self {
        let login = (caller.tenant.clone(), username.to_owned(), password.to_owned());
        self.passwords.callers.insert(login, Arc::new(caller));
        self
    }

    /// What policies see of a request.
    pub(crate) fn cx(&self) -> Cx<'_> {
        Cx {
            now_unix_micros: self.now_unix_micros,
            client: &self.client,
            certificate: self.certificate.as_ref(),
            route: &self.route,
            parameters: self,
            request_id: "request-1",
            scheme: self.scheme,
            identity: self.identity.clone(),
            claims: self.claims.clone(),
            onward: Onward::default(),
            cache: Caching::default(),
            shadowed: None,
            ports: self,
        }
    }

    /// Sends a request through a chain and an empty answer with status 200 back.
    pub(crate) async fn exchange(&self, chain: &Chain, request: Request<Body>) -> Met {
        self.exchange_answered(chain, request, &[]).await
    }

    /// The same where the upstream's answer has these fields.
    pub(crate) async fn exchange_answered(
        &self,
        chain: &Chain,
        mut request: Request<Body>,
        fields: &[(&str, &str)],
    ) -> Met {
        let (mut carries, mut cx) = (Carries::default(), self.cx());
        let mut response = match chain.on_request(&mut cx, &mut request, &mut carries).await {
            Flow::Next(()) => {
                let answer = Response::builder();
                let fields = fields.iter().copied();
                fields.fold(answer, |answer, (n, v)| answer.header(n, v)).body(Body::Empty).unwrap()
            }
            Flow::Refuse(refusal) => {
                let claims = cx.claims.take();
                return Met { refusal: Some(*refusal), claims, ..Met::new(cx.identity, request) };
            }
            Flow::Answer(response) => *response,
        };
        chain.on_response(&mut carries, &mut cx, &mut response).await;
        let (identity, claims) = (cx.identity.take(), cx.claims.take());
        let target = cx.onward.target(&request).to_owned();
        let host = cx.onward.host().map(|host| host.to_str().unwrap().to_owned());
        let end = tollgate_policy::End { status: StatusCode::OK, is_complete: true };
        chain.on_end(carries, &end);
        Met { response, claims, target, host, ..Met::new(identity, request) }
    }
}

/// What came of an exchange.
pub(crate) struct Met {
    pub(crate) request: Request<Body>,
    pub(crate) response: Response<Body>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) identity: Option<Arc<Caller>>,
    pub(crate) claims: Option<Arc<Claims>>,
    /// The target that goes upstream.
    pub(crate) target: String,
    /// The host that a policy gave the request to the upstream.
    pub(crate) host: Option<String>,
}

impl Met {
    fn new(identity: Option<Arc<Caller>>, request: Request<Body>) -> Self {
        Self {
            request,
            response: Response::new(Body::Empty),
            refusal: None,
            identity,
            claims: None,
            target: String::new(),
            host: None,
        }
    }

    /// A field of the request as it goes upstream.
    pub(crate) fn sent(&self, field: &str) -> Option<&str> {
        self.request.headers().get(field).map(|value| value.to_str().unwrap())
    }

    /// All values of a field of the response or refusal.
    pub(crate) fn answered(&self, field: &str) -> Vec<&str> {
        match &self.refusal {
            None => self
                .response
                .headers()
                .get_all(field)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect(),
            Some(refusal) => refusal
                .headers
                .iter()
                .filter(|(name, _)| name == field)
                .map(|(_, value)| value.to_str().unwrap())
                .collect(),
        }
    }

    /// The status and the code of the refusal.
    pub(crate) fn refused(&self) -> Option<(u16, &str)> {
        self.refusal.as_ref().map(|refusal| (refusal.status.as_u16(), refusal.code))
    }
}

/// A caller of the tenant `default`.
pub(crate) fn caller(application: &str, credential: &str) -> Caller {
    Caller {
        tenant: Name::default_name(),
        application: name(application),
        credential: name(credential),
        groups: Box::default(),
        expires_at_unix_micros: None,
        is_disabled: false,
        verification_key: None,
        chain: None,
    }
}

/// A GET of `/items/7?color=red` with these fields.
pub(crate) fn request(fields: &[(&str, &str)]) -> Request<Body> {
    let mut builder = Request::get("http://api.shop.test/items/7?color=red&color=blue");
    for (name, value) in fields {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::Empty).unwrap()
}

impl Parameters for World {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

impl Ports for World {
    fn counters(&self) -> &dyn Counters {
        &self.counters
    }

    fn concurrency(&self) -> &dyn Concurrency {
        &self.gates
    }

    fn caller_of_key(&self, tenant: &Name, key: &[u8]) -> Option<Arc<Caller>> {
        let is_it = |(of, known): &&(Name, Vec<u8>)| of == tenant && known == key;
        self.callers.keys().find(is_it).and_then(|known| self.callers.get(known)).cloned()
    }

    fn caller_of_application(&self, tenant: &Name, application: &Name) -> Option<Arc<Caller>> {
        self.applications.get(&(tenant.clone(), application.clone())).cloned()
    }

    fn caller_of_login<'a>(&'a self, tenant: &Name, login: Login<'_>) -> Proving<'a> {
        let passwords = &self.passwords;
        let login = (tenant.clone(), login.username.to_owned(), login.password.to_owned());
        let known =
            || passwords.callers.get(&login).map(|caller| Proof::Caller(Arc::clone(caller)));
        let proof =
            if passwords.are_away { Proof::Unavailable } else { known().unwrap_or(Proof::Wrong) };
        passwords.asked.borrow_mut().push(login.1);
        if !passwords.are_elsewhere {
            return Proving::Now(proof);
        }
        Proving::Wait(Box::pin(async move {
            tokio::task::yield_now().await;
            proof
        }))
    }

    fn caller_of_proof(&self, tenant: &Name, key: &KeyHash) -> Option<Arc<Caller>> {
        self.proofs.get(key).filter(|caller| caller.tenant == *tenant).cloned()
    }

    fn secret(&self, tenant: &Name, name: &Name) -> Option<&SecretText> {
        self.secrets.get(&(tenant.clone(), name.clone()))
    }

    fn cache(&self) -> Option<&Arc<dyn Cache>> {
        self.cache.as_ref()
    }

    fn calls(&self) -> &dyn HttpCall {
        &self.calls
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
        if self.is_late {
            return Box::pin(std::future::ready(()));
        }
        Box::pin(tokio::time::sleep(time))
    }

    fn key_sets(&self) -> &dyn KeySets {
        &self.key_sets
    }

    fn remembered(&self) -> &Remembered {
        &self.remembered
    }
}

/// Key sets that are written down beforehand.
#[derive(Default)]
pub(crate) struct KeySetsDouble {
    /// What is held; none: the provider is away.
    pub(crate) held: RefCell<Option<Arc<KeySet>>>,
    /// What the provider has by now.
    pub(crate) newer: RefCell<Option<Arc<KeySet>>>,
    /// How often it was asked for newer keys.
    pub(crate) asked: Cell<usize>,
}

impl KeySets for KeySetsDouble {
    fn generation(&self, _source: &KeySource) -> Option<Generation> {
        self.held.borrow().as_ref().map(|set| set.generation())
    }

    fn keys<'a>(&'a self, _source: &'a KeySource) -> FoundKeys<'a> {
        let set = self.held.borrow().clone();
        FoundKeys::Wait(Box::pin(async move {
            tokio::task::yield_now().await;
            set
        }))
    }

    fn keys_after<'a>(&'a self, _source: &'a KeySource, known: Generation) -> FoundKeys<'a> {
        self.asked.set(self.asked.get() + 1);
        if let Some(newer) = self.newer.borrow_mut().take() {
            *self.held.borrow_mut() = Some(newer);
        }
        let held = self.held.borrow().clone();
        FoundKeys::Now(held.filter(|set| set.generation() != known))
    }
}

/// Passwords in clear, with a list of whom was asked for.
#[derive(Default)]
pub(crate) struct PasswordsDouble {
    /// By tenant, username and password.
    pub(crate) callers: HashMap<(Name, String, String), Arc<Caller>>,
    /// Whether every answer has to be waited for.
    pub(crate) are_elsewhere: bool,
    /// Whether none is worked out.
    pub(crate) are_away: bool,
    /// The usernames that were asked for.
    pub(crate) asked: RefCell<Vec<String>>,
}

/// Counters in memory, with a list of what was asked for.
#[derive(Default)]
pub(crate) struct CountersDouble {
    pub(crate) usages: RefCell<HashMap<String, Usage>>,
    /// Whether every answer has to be waited for.
    pub(crate) are_elsewhere: bool,
    /// Answers this, and counts nothing.
    pub(crate) fixed: Option<Decision>,
}

impl CountersDouble {
    /// What was counted: `id tenant subject`, in order.
    pub(crate) fn subjects(&self) -> Vec<String> {
        let mut subjects: Vec<String> = self.usages.borrow().keys().cloned().collect();
        subjects.sort();
        subjects
    }
}

impl Counters for CountersDouble {
    fn take<'a>(&'a self, take: Take<'a>) -> Taken<'a> {
        if let Some(fixed) = self.fixed {
            return Taken::Now(fixed);
        }
        let key = format!("{} {} {}", take.definition.id, take.tenant, take.subject);
        let mut usages = self.usages.borrow_mut();
        let usage = usages.entry(key).or_default();
        let decision =
            usage.take(take.definition, take.definition.limit, take.cost, take.now_unix_micros);
        if !self.are_elsewhere {
            return Taken::Now(decision);
        }
        Taken::Wait(Box::pin(async move {
            tokio::task::yield_now().await;
            decision
        }))
    }

    fn look(&self, take: &Take<'_>) -> Option<Decision> {
        if self.are_elsewhere || self.fixed.is_some() {
            return self.fixed;
        }
        let key = format!("{} {} {}", take.definition.id, take.tenant, take.subject);
        let mut usage = self.usages.borrow().get(&key).cloned().unwrap_or_default();
        Some(usage.take(take.definition, take.definition.limit, take.cost, take.now_unix_micros))
    }

    fn settle(&self, settlement: &Settlement<'_>) {
        let take = &settlement.take;
        let key = format!("{} {} {}", take.definition.id, take.tenant, take.subject);
        let (slot, differences) = (settlement.booked.slot, settlement.differences());
        let mut usages = self.usages.borrow_mut();
        let usage = usages.entry(key).or_default();
        usage.settle(take.definition, slot, differences, take.now_unix_micros);
    }
}

/// Services that answer what is written down beforehand, with a list of what they were asked.
#[derive(Default)]
pub(crate) struct CallsDouble {
    /// In order; none is a service that does not answer, and so is what comes behind the last.
    pub(crate) answers: RefCell<VecDeque<Option<CallAnswer>>>,
    /// Tenant, upstream and request.
    pub(crate) asked: RefCell<Vec<(String, String, Request<Bytes>)>>,
    /// Bounds in time and bytes of the last one.
    pub(crate) bounds: Cell<Option<(Duration, usize)>>,
    /// How many were of no use.
    pub(crate) failures: Cell<usize>,
}

impl HttpCall for CallsDouble {
    fn call<'a>(&'a self, call: Call<'a>) -> Calling<'a> {
        let named = (call.tenant.to_string(), call.upstream.to_string(), call.request);
        self.asked.borrow_mut().push(named);
        self.bounds.set(Some((call.timeout, call.most_bytes)));
        let answer = self.answers.borrow_mut().pop_front().flatten();
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer
        })
    }

    fn count_failure(&self) {
        self.failures.set(self.failures.get() + 1);
    }
}

/// Requests under way.
#[derive(Default)]
pub(crate) struct GatesDouble {
    pub(crate) gates: RefCell<HashMap<String, Arc<GateDouble>>>,
    /// Whether one that finds no place and has a queue waits until there is one.
    pub(crate) lets_wait: Cell<bool>,
}

/// One subject's requests under way.
#[derive(Default)]
pub(crate) struct GateDouble(AtomicU32);

impl GateDouble {
    fn enter(self: &Arc<Self>, limit: u32) -> Option<Permit> {
        if self.0.load(Ordering::Relaxed) >= limit {
            return None;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Permit::new(Arc::<Self>::clone(self)))
    }
}

impl Gate for GateDouble {
    fn leave(self: Arc<Self>) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Concurrency for GatesDouble {
    fn enter<'a>(&'a self, enter: Enter<'_>) -> Entered<'a> {
        let key = format!("{} {} {}", enter.id, enter.tenant, enter.subject);
        let gate = Arc::clone(self.gates.borrow_mut().entry(key).or_default());
        let permit = gate.enter(enter.limit);
        if permit.is_some() || enter.queue.is_none() || !self.lets_wait.get() {
            return Entered::Now(permit);
        }
        let limit = enter.limit;
        Entered::Later(Box::pin(async move {
            loop {
                tokio::task::yield_now().await;
                if let Some(permit) = gate.enter(limit) {
                    return Some(permit);
                }
            }
        }))
    }
}
