//! What would become of a request: the node's own matcher, and its policies in a world in which nothing comes of
//! it. For people; on the control runtime, not on a thread that carries calls.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use serde_json::{Map, Value, json};
use tollgate_policy::chain::Owner;
use tollgate_policy::jose::Remembered;
use tollgate_policy::policy::{Client, Cx};
use tollgate_policy::rehearsal::{Changes, Did, Rehearsal, Step};
use tollgate_policy::stored::Caching;
use tollgate_policy::{Body, Refusal};
use tollgate_proto::v1;

use crate::arrival::{self, Arrival};
use crate::clock;
use crate::core::Shared;
use crate::forward;
use crate::plan::{Plan, RouteEntry, Slot};
use crate::ports::RequestPorts;
use crate::ports::patience::Patience;
use crate::request_id::{X_REQUEST_ID, is_well_formed};
use crate::route::{Considered, MatchInput, Verdict};

/// What stands in the place of an id that the question does not have.
const REQUEST_ID: &str = "explain";

/// What answers questions, once the node has what requests need.
#[derive(Clone, Default)]
pub struct Explainer(Arc<OnceLock<Arc<Shared>>>);

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// It is no request.
    #[error("{0} is not one that a request can have")]
    NotARequest(&'static str),
}

/// A request that is asked about.
pub struct Question {
    request: Request<Body>,
    scheme: &'static str,
    client: Client,
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    ///
    /// Which part of it is none of a request.
    pub fn read(asked: &v1::Explain) -> Result<Self, QuestionError> {
        let none = QuestionError::NotARequest;
        let method =
            Method::from_bytes(asked.method.as_bytes()).map_err(|_bad| none("the method"))?;
        let url: Uri = asked.url.parse().map_err(|_bad| none("the URL"))?;
        let authority = url.authority().ok_or_else(|| none("the URL"))?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_bad| none("the host"))?;
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let target: Uri = target.parse().map_err(|_bad| none("the URL"))?;
        let address: IpAddr =
            asked.client_address.parse().map_err(|_bad| none("the client's address"))?;
        let mut request = Request::new(Body::Empty);
        (*request.method_mut(), *request.uri_mut()) = (method, target);
        let headers = request.headers_mut();
        headers.insert(header::HOST, host);
        for field in &asked.fields {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_bytes(&field.value);
            let name = name.map_err(|_bad| none("the name of a field"))?;
            headers.append(name, value.map_err(|_bad| none("the value of a field"))?);
        }
        let scheme = if url.scheme_str() == Some("https") { "https" } else { "http" };
        let address_text = address.to_string().into_boxed_str();
        Ok(Self { request, scheme, client: Client { address, address_text } })
    }
}

impl Explainer {
    /// From now on questions are answered by what these request threads have in common.
    pub fn begin(&self, shared: Arc<Shared>) {
        // Once; a node does not start twice.
        drop(self.0.set(shared));
    }

    /// Answers a question, also where it cannot be read: that is said then. None before the node has begun.
    /// The future stays on its thread; it may take as long as fetching keys or checking a password takes.
    pub async fn answer(&self, asked: &v1::Explain) -> Option<v1::Explained> {
        let shared = self.0.get()?;
        let answer = match Question::read(asked) {
            Ok(question) => explain(shared, question).await,
            Err(error) => json!({ "error": error.to_string() }),
        };
        Some(v1::Explained { id: asked.id, json: answer.to_string().into() })
    }
}

/// What would become of a request: `{revision, routes, ends}`, where `routes` are all that were looked at, in order
/// of precedence, the winner with its `steps`.
pub async fn explain(shared: &Shared, question: Question) -> Value {
    let plan = shared.plan.load_full();
    let Question { mut request, scheme, client } = question;
    let mut rows = considered(&plan, &request);
    let arrived = arrival::arrive(&plan, &request);
    let ends = match &arrived {
        Err(fault) => refused(&fault.clone().into_refusal()),
        Ok(arrival) => match plan.entry(arrival.slot) {
            None => json!({ "as": "refused", "code": "route_unavailable" }),
            Some(entry) => {
                let call = Rehearsed { arrival, entry, plan: &plan };
                let steps = call.steps(shared, &mut request, scheme, &client).await;
                let ends = call.ends(&steps);
                let steps: Vec<Value> = steps.iter().map(step).collect();
                for row in rows.iter_mut().filter(|row| row.get("won") == Some(&true.into())) {
                    row.insert("steps".to_owned(), steps.clone().into());
                }
                ends
            }
        },
    };
    json!({ "revision": plan.revision, "routes": rows, "ends": ends })
}

/// A request that has its route.
struct Rehearsed<'a> {
    arrival: &'a Arrival,
    entry: &'a Arc<RouteEntry>,
    plan: &'a Plan,
}

impl Rehearsed<'_> {
    async fn steps(
        &self,
        shared: &Shared,
        request: &mut Request<Body>,
        scheme: &'static str,
        client: &Client,
    ) -> Vec<Step> {
        let (remembered, password_memory) = (Remembered::new(rand::random()), RefCell::default());
        let world = RequestPorts {
            core: None,
            plan: self.plan,
            counters: &*shared.counters,
            key_sets: &shared.key_sets,
            remembered: &remembered,
            passwords: &shared.passwords,
            password_memory: &password_memory,
            cache: shared.cache.as_ref(),
            concurrency: &shared.concurrency,
            patience: Patience { idle: Duration::ZERO, deadline: None }.into(),
        };
        let rehearsal = Rehearsal::of(&world);
        let request_id = request.headers().get(X_REQUEST_ID).filter(|id| is_well_formed(id));
        let request_id =
            request_id.and_then(|id| id.to_str().ok()).unwrap_or(REQUEST_ID).to_owned();
        let mut cx = Cx {
            now_unix_micros: clock::unix_micros(),
            client,
            certificate: None,
            route: &self.entry.facts,
            parameters: &self.arrival.parameters,
            request_id: &request_id,
            scheme,
            identity: None,
            claims: None,
            onward: forward::onward(self.entry, self.arrival),
            cache: Caching::default(),
            shadowed: None,
            ports: &rehearsal,
        };
        self.entry.chain.rehearse(&mut cx, request).await
    }

    /// Where it ends: `{as: "forwarded" | "answered" | "refused", …}`.
    fn ends(&self, steps: &[Step]) -> Value {
        for step in steps {
            match &step.did {
                Did::Refused(refusal) => return refused(refusal),
                Did::Answered(status) => {
                    return json!({ "as": "answered", "by": step.policy, "status": status.as_u16() });
                }
                Did::Passed(_) | Did::NotAsked | Did::NotReached => {}
            }
        }
        let chosen = steps.iter().rev().find_map(|step| match &step.did {
            Did::Passed(changes) => changes.upstream.as_ref(),
            Did::Refused(_) | Did::Answered(_) | Did::NotAsked | Did::NotReached => None,
        });
        let Some(upstream) = forward::destination(self.plan, self.entry, chosen) else {
            return json!({ "as": "refused", "code": "route_unavailable" });
        };
        let endpoints = upstream.endpoints.current();
        let all = &endpoints.all;
        let endpoints = all.iter().map(|endpoint| {
            let authority = endpoint.authority.to_str().unwrap_or_default();
            json!({ "endpoint": authority, "well": endpoint.health.is_well() })
        });
        let endpoints: Vec<Value> = endpoints.collect();
        json!({ "as": "forwarded", "endpoints": endpoints })
    }
}

/// All routes that were looked at, in order of precedence.
fn considered(plan: &Plan, request: &Request<Body>) -> Vec<Map<String, Value>> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let target =
        crate::route::Target::parse(request.uri().path(), crate::route::EncodedSlash::Refuse);
    // A path that is refused has no route.
    let Ok(target) = target else { return Vec::new() };
    let input = MatchInput {
        host: host.unwrap_or_default(),
        path: target.path(),
        query: request.uri().query(),
        method: request.method(),
        headers: request.headers(),
    };
    plan.routes.explain(&input).iter().map(|considered| row(plan, considered)).collect()
}

fn row(plan: &Plan, considered: &Considered<'_, Slot>) -> Map<String, Value> {
    let entry = plan.entry(*considered.payload);
    let route = entry.and_then(|entry| entry.facts.route.as_ref());
    let because = match considered.verdict {
        Verdict::Won => None,
        Verdict::Lost { because } => Some(because.to_string()),
    };
    let policies = entry.map(|entry| entry.chain.policies()).unwrap_or_default();
    let policies: Vec<&str> = policies.iter().map(|policy| policy.name()).collect();
    let fields = [
        ("won", because.is_none().into()),
        ("because", json!(because)),
        ("tenant", considered.api.tenant.as_str().into()),
        ("api", considered.api.name.as_str().into()),
        ("route", json!(route.map(|route| route.as_str()))),
        ("place", format!("{}{}", considered.host, considered.base_path).into()),
        ("path", considered.path.to_string().into()),
        ("policies", policies.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `{policy, of, does, …}`, where `does` is `passes`, `refuses`, `answers` or says why nothing is known.
fn step(step: &Step) -> Value {
    let of = match step.owner {
        Owner::Route => "route",
        Owner::Caller => "application",
    };
    let mut told = Map::new();
    told.insert("policy".to_owned(), step.policy.into());
    told.insert("of".to_owned(), of.into());
    let mut does = |word: &str| told.insert("does".to_owned(), word.into());
    match &step.did {
        Did::NotReached => drop(does("is not reached")),
        Did::NotAsked => drop(does("asks a service, which was not asked")),
        Did::Answered(status) => {
            does("answers");
            told.insert("status".to_owned(), status.as_u16().into());
        }
        Did::Refused(refusal) => {
            does("refuses");
            told.insert("status".to_owned(), refusal.status.as_u16().into());
            told.insert("code".to_owned(), refusal.code.into());
            told.insert("detail".to_owned(), refusal.detail.as_ref().into());
        }
        Did::Passed(changes) => {
            does("passes");
            tell_changes(changes, &mut told);
        }
    }
    Value::Object(told)
}

/// What is different, as far as anything is.
fn tell_changes(changes: &Changes, told: &mut Map<String, Value>) {
    let names = |names: &[HeaderName]| -> Value { names.iter().map(HeaderName::as_str).collect() };
    let caller = changes.caller.as_ref().map(|(application, credential)| {
        json!({ "application": application.as_str(), "credential": credential.as_str() })
    });
    let mirrors: Value = changes.mirrors.iter().map(tollgate_model::Name::as_str).collect();
    let host = changes.host.as_ref().map(|host| String::from_utf8_lossy(host.as_bytes()));
    let all = [
        ("caller", caller),
        ("path", changes.path.as_deref().map(Value::from)),
        ("query", changes.has_other_query.then(|| "another".into())),
        ("host", host.map(Value::from)),
        ("upstream", changes.upstream.as_ref().map(|name| name.as_str().into())),
        ("mirrors", Some(mirrors).filter(|_| !changes.mirrors.is_empty())),
        ("sets", Some(names(&changes.set)).filter(|_| !changes.set.is_empty())),
        ("removes", Some(names(&changes.removed)).filter(|_| !changes.removed.is_empty())),
        ("cache", changes.cache.map(|outcome| outcome.name().into())),
    ];
    for (name, value) in all {
        if let Some(value) = value {
            told.insert(name.to_owned(), value);
        }
    }
}

fn refused(refusal: &Refusal) -> Value {
    json!({
        "as": "refused",
        "status": refusal.status.as_u16(),
        "code": refusal.code,
        "detail": refusal.detail,
    })
}
