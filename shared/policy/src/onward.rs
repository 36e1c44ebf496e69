//! Target and host of the request to the upstream. The request that policies meet keeps the client's
//! own, so that what reads it does not depend on which policy ran before.

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode};

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
}

impl Onward {
    /// To a target; none: to the client's.
    #[must_use]
    pub fn to(target: Option<PathAndQuery>) -> Self {
        Self { target, host: None }
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

    /// Target and host, as far as they are not the client's.
    #[must_use]
    pub fn into_parts(self) -> (Option<PathAndQuery>, Option<HeaderValue>) {
        (self.target, self.host)
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
