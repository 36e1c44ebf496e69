//! Where a request goes on to: target, host and upstream, and the upstreams that get a copy.
//!
//! The request that policies meet keeps the client's own, so that what reads it does not depend on which policy ran
//! before.

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use tollgate_model::Name;

use crate::body::Body;
use crate::policy::Refusal;
use crate::target::{EncodedSlash, Target, TargetFault};

/// The longest target that is sent on, in bytes. Also what the `http` crate can hold.
pub const MAX_TARGET: usize = 65_534;

/// Where a request goes on to, as far as that is not what the client sent.
#[derive(Debug, Default)]
pub struct Onward {
    target: Option<PathAndQuery>,
    host: Option<HeaderValue>,
    /// In its own memory: few calls have any, and every call has room for it.
    upstreams: Option<Box<Upstreams>>,
}

/// Upstreams of the API's tenant that a call goes to, beside the one of its route or in its place.
#[derive(Clone, Debug, Default)]
pub struct Upstreams {
    /// In the route's place.
    pub chosen: Option<Name>,
    /// Those that get a copy, each once.
    pub mirrors: Vec<Mirror>,
}

/// An upstream that gets a copy of a request, and whose answer nobody reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Which.
    pub upstream: Name,
    /// The most of a request's body that waits for it, in bytes. Where it takes the body more slowly than the call's own
    /// upstream and more would wait, its copy breaks off.
    pub most_waiting_bytes: usize,
}

/// Marks a copy; the gateway takes it off what callers of a mirrored route send.
pub const X_TOLLGATE_MIRROR: HeaderName = HeaderName::from_static("x-tollgate-mirror");

/// The most copies of a call.
pub const MOST_MIRRORS: usize = 4;

impl Onward {
    /// To a target; none: to the client's.
    #[must_use]
    pub fn to(target: Option<PathAndQuery>) -> Self {
        Self { target, ..Self::default() }
    }

    /// The target in origin form: path and query.
    #[must_use]
    pub fn target<'a>(&'a self, request: &'a Request<Body>) -> &'a str {
        let target = self.target.as_ref().or_else(|| request.uri().path_and_query());
        target.map_or("/", PathAndQuery::as_str)
    }

    /// Path and query of the target.
    #[must_use]
    pub fn path_and_query<'a>(&'a self, request: &'a Request<Body>) -> (&'a str, Option<&'a str>) {
        let target = self.target(request);
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
    }

    /// Puts another path in the target's, in the one form that paths are forwarded in. The query stays.
    ///
    /// # Errors
    ///
    /// A refusal, where servers could read the path in two ways, or the target is too long.
    pub fn set_path(&mut self, request: &Request<Body>, path: &str) -> Result<(), Box<Refusal>> {
        let path = Target::parse(path, EncodedSlash::Refuse).map_err(refuse_path)?.into_path();
        let (_, query) = self.path_and_query(request);
        let target = join(&path, query)?;
        self.target = Some(target);
        Ok(())
    }

    /// Puts another query in the target's; none: no query.
    ///
    /// # Errors
    ///
    /// A refusal, where the target is too long.
    pub fn set_query(
        &mut self,
        request: &Request<Body>,
        query: Option<&str>,
    ) -> Result<(), Box<Refusal>> {
        let (path, _) = self.path_and_query(request);
        let target = join(path, query)?;
        self.target = Some(target);
        Ok(())
    }

    /// The host that the upstream is told; none: the endpoint's or the client's, as the upstream says.
    #[must_use]
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// Tells the upstream this host.
    pub fn set_host(&mut self, host: HeaderValue) {
        self.host = Some(host);
    }

    /// The upstream that was chosen in the place of the route's.
    #[must_use]
    pub fn upstream(&self) -> Option<&Name> {
        self.upstreams.as_ref()?.chosen.as_ref()
    }

    /// Chooses an upstream in the place of the route's, or of one that was chosen before.
    pub fn choose_upstream(&mut self, upstream: Name) {
        self.upstreams.get_or_insert_default().chosen = Some(upstream);
    }

    /// The upstreams that get a copy.
    #[must_use]
    pub fn mirrors(&self) -> &[Mirror] {
        self.upstreams.as_ref().map_or(&[], |upstreams| &upstreams.mirrors)
    }

    /// Sends a copy to one more upstream. None where it gets one already, or [`MOST_MIRRORS`] do.
    pub fn add_mirror(&mut self, mirror: Mirror) {
        let mirrors = &mut self.upstreams.get_or_insert_default().mirrors;
        let is_known = mirrors.iter().any(|other| other.upstream == mirror.upstream);
        if !is_known && mirrors.len() < MOST_MIRRORS {
            mirrors.push(mirror);
        }
    }

    /// Target and host as far as they are not the client's, and the upstreams that are not the route's.
    #[must_use]
    pub fn into_parts(self) -> (Option<PathAndQuery>, Option<HeaderValue>, Option<Box<Upstreams>>) {
        (self.target, self.host, self.upstreams)
    }
}

/// What a client is told whose values make a path that servers could read in two ways.
#[must_use]
pub fn refuse_path(fault: TargetFault) -> Box<Refusal> {
    Box::new(Refusal::new(StatusCode::BAD_REQUEST, fault.code, fault.problem))
}

/// What a client is told whose values make a target that is too long.
#[must_use]
pub fn refuse_length() -> Box<Refusal> {
    Box::new(Refusal::new(
        StatusCode::URI_TOO_LONG,
        "target_too_long",
        "with what the gateway adds, the request target is longer than 65,534 bytes",
    ))
}

fn join(path: &str, query: Option<&str>) -> Result<PathAndQuery, Box<Refusal>> {
    let query_length = query.map_or(0, |query| query.len() + 1);
    if path.len() + query_length > MAX_TARGET {
        return Err(refuse_length());
    }
    let joined = match query {
        None => PathAndQuery::try_from(path),
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
    };
    joined.map_err(|_not_a_target| {
        Box::new(Refusal::new(
            StatusCode::BAD_REQUEST,
            "ambiguous_path",
            "the request target has a byte that a target cannot hold; percent-encode it",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> Request<Body> {
        Request::get(target).body(Body::Empty).unwrap()
    }

    #[test]
    fn the_target_is_the_clients_until_it_is_replaced() {
        let (mut onward, request) = (Onward::default(), request("http://a.test/x?b=1"));
        assert_eq!(onward.target(&request), "/x?b=1");
        onward.set_path(&request, "/%79").unwrap();
        assert_eq!(onward.target(&request), "/y?b=1");
        onward.set_query(&request, None).unwrap();
        assert_eq!(onward.target(&request), "/y");
        assert_eq!(request.uri(), "http://a.test/x?b=1");
    }

    #[test]
    fn an_upstream_gets_one_copy_and_so_many_get_one() {
        let name = |text: &str| tollgate_model::FromText::from_text(text).unwrap();
        let mirror = |upstream| Mirror { upstream, most_waiting_bytes: 1 };
        let mut onward = Onward::default();
        assert_eq!((onward.upstream(), onward.mirrors()), (None, &[][..]));
        for upstream in ["a", "b", "a", "c", "d", "e"] {
            onward.add_mirror(mirror(name(upstream)));
        }
        assert_eq!(onward.mirrors(), ["a", "b", "c", "d"].map(|text| mirror(name(text))));
        onward.choose_upstream(name("x"));
        onward.choose_upstream(name("y"));
        assert_eq!(onward.upstream(), Some(&name("y")));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused_and_changes_nothing() {
        let (mut onward, request) = (Onward::default(), request("/x"));
        for path in ["", "x", "//x", "/a/../b", "/%2e%2E/", "/a%2fb", "/a?b", "/a b", "/a\r\nb"] {
            let refusal = onward.set_path(&request, path).unwrap_err();
            assert_eq!((refusal.status.as_u16(), refusal.code), (400, "ambiguous_path"), "{path}");
        }
        let refusal = onward.set_query(&request, Some(&"a".repeat(MAX_TARGET))).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code), (414, "target_too_long"));
        assert_eq!(onward.target(&request), "/x");
    }
}
