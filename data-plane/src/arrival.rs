//! What of a request decides its route, read in one way only.

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, Version, header};
use smallvec::SmallVec;
use tollgate_policy::policies::cors::requested_method;
use tollgate_policy::policy::Parameters;

use crate::fault::Fault;
use crate::fields;
use crate::plan::{Plan, Slot};
use crate::route::{EncodedSlash, Found, MatchInput, Target};

/// A request that has found its route.
#[derive(Clone)]
pub struct Arrival {
    /// The route's place in the plan.
    pub slot: Slot,
    /// The host that the client named.
    pub host: Option<HeaderValue>,
    /// The target without the API's base path, and as it was matched.
    pub below_base: Below,
    /// The parameters of the route's path.
    pub parameters: Captured,
}

/// What goes upstream as the target.
#[derive(Clone)]
pub enum Below {
    /// What the client sent.
    Same,
    /// These: the path as it was matched, and the part of it below the base path.
    Rewritten {
        /// The whole path, normalised, with the query.
        whole: Option<PathAndQuery>,
        /// The part below the base path, with the query.
        stripped: Option<PathAndQuery>,
    },
}

/// Parameters of a path, by name.
#[derive(Clone, Default)]
pub struct Captured(SmallVec<[(Box<str>, Box<str>); 0]>);

impl Parameters for Captured {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }
}

/// Finds the route of a request.
///
/// # Errors
///
/// Where the request can be read in two ways, or no route matches it.
pub fn arrive<B>(plan: &Plan, request: &Request<B>) -> Result<Arrival, Fault> {
    let host = host(request)?;
    let uri = request.uri();
    let target_length = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if u64::try_from(target_length).unwrap_or(u64::MAX) > plan.gateway.limits.target.bytes() {
        return Err(Fault::Malformed {
            code: "target_too_long",
            status: StatusCode::URI_TOO_LONG,
            problem: "the request target is longer than this gateway takes",
        });
    }
    // Of HTTP/1, the framing has seen to both already.
    if request.version() == Version::HTTP_2 {
        if fields::count(request.headers()) > usize::from(plan.gateway.limits.headers) {
            return Err(Fault::TOO_MANY_FIELDS);
        }
        if !fields::are_whole(request.headers()) {
            return Err(Fault::VALUE_NOT_WHOLE);
        }
    }
    let target = Target::parse(uri.path(), EncodedSlash::Refuse)?;
    let mut input = MatchInput {
        host: host.as_ref().and_then(|host| host.to_str().ok()).unwrap_or_default(),
        path: target.path(),
        query: uri.query(),
        method: request.method(),
        headers: request.headers(),
    };
    let requested = preflighted(request);
    let preflighted = requested.as_ref().and_then(|method| {
        input.method = method;
        let Found::Route(found) = plan.routes.find(&input) else { return None };
        plan.entry(*found.payload())?.chain.answers_preflights().then_some(found)
    });
    input.method = request.method();
    let found = match preflighted.map_or_else(|| plan.routes.find(&input), Found::Route) {
        Found::Route(found) => found,
        Found::MethodNotAllowed { allow } => return Err(Fault::MethodNotAllowed { allow }),
        Found::NoRoute if !plan.is_complete => return Err(Fault::NotConfigured),
        Found::NoRoute => return Err(Fault::NoRoute),
    };
    let parameters =
        found.parameters().into_iter().map(|(name, value)| (name.into(), value.into()));
    let is_same = target.path().len() == uri.path().len() && target.path() == uri.path();
    let is_at_root = found.base_path().is_empty();
    let below_base = if is_same && is_at_root {
        Below::Same
    } else {
        Below::Rewritten {
            whole: if is_same { None } else { with_query(target.path(), uri.query()) },
            stripped: if is_at_root { None } else { with_query(found.rest(), uri.query()) },
        }
    };
    Ok(Arrival {
        slot: *found.payload(),
        below_base,
        parameters: Captured(parameters.collect()),
        host,
    })
}

/// The method that a preflight asks for. Where the route that takes that method answers preflights, it
/// is the preflight's route: `OPTIONS` itself has seldom one.
fn preflighted<B>(request: &Request<B>) -> Option<Method> {
    let method = requested_method(request)?;
    Method::from_bytes(method.as_bytes()).ok()
}

/// The one host that a request is for: `host`, or `:authority`, which may not differ.
fn host<B>(request: &Request<B>) -> Result<Option<HeaderValue>, Fault> {
    let malformed =
        |code, problem| Fault::Malformed { code, status: StatusCode::BAD_REQUEST, problem };
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(malformed("malformed_request", "the host field is given more than once"));
    }
    let Some(authority) = request.uri().authority() else {
        return Ok(field.cloned());
    };
    if authority.as_str().contains('@') {
        return Err(malformed("malformed_request", "the authority has a user in it"));
    }
    match field {
        // RFC 9113 §8.3.1: a request whose host field differs from `:authority` is to be treated as malformed.
        // Of HTTP/1, the framing has compared them already.
        Some(field)
            if request.version() == Version::HTTP_2
                && !field.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            Err(malformed(
                "host_mismatch",
                "the host field names another authority than the request target",
            ))
        }
        Some(field) => Ok(Some(field.clone())),
        None => HeaderValue::from_str(authority.as_str())
            .map(Some)
            .map_err(|_not_visible| malformed("malformed_request", "the authority is not a host")),
    }
}

fn with_query(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let parsed = match query {
        None => PathAndQuery::try_from(path),
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
    };
    // What was parsed once parses again.
    parsed.ok()
}
