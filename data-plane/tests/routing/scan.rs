//! The order of the guide as a plain scan.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use tollgate_model::path::{PathMatch, Segment};
use tollgate_model::route::{Route, ValueMatch};

use crate::published::{Outcome, Published, Request, label};

/// One route of one API where host, base path and path are those of the request.
pub(crate) type Candidate<'a> = (Rank, &'a Published, Option<&'a Route>);

pub(crate) type Rank = (
    (u8, Reverse<usize>),
    Reverse<usize>,
    (u8, Vec<bool>, Reverse<usize>),
    (Reverse<usize>, Reverse<usize>, bool),
    String,
);

/// The order of the guide, written down once more and without any thought of speed.
pub(crate) fn scan<'a>(
    apis: &'a BTreeMap<String, Published>,
    request: &Request,
) -> Vec<Candidate<'a>> {
    let host = request.host.to_lowercase();
    let host = host.split(':').next().unwrap();
    let host = host.strip_suffix('.').unwrap_or(host);
    let mut candidates = Vec::new();
    for published in apis.values() {
        let hosts = &published.api.hosts;
        let host_ranks = hosts.iter().filter_map(|pattern| match pattern.is_wildcard() {
            false => (host == pattern.name()).then_some((0, Reverse(0))),
            true => host
                .ends_with(&format!(".{}", pattern.name()))
                .then(|| (1, Reverse(pattern.name().split('.').count()))),
        });
        let any = hosts.is_empty().then_some((2, Reverse(0)));
        let Some(host_rank) = host_ranks.chain(any).min() else { continue };
        let base = published.api.base_path.as_prefix();
        if !is_below(&request.path, base) {
            continue;
        }
        let rest = match &request.path[base.len()..] {
            "" => "/",
            rest => rest,
        };
        let routes = &published.api.routes;
        let implicit = routes.is_empty().then_some(None);
        for route in routes.iter().map(Some).chain(implicit) {
            let any = PathMatch::any();
            let Some(path_rank) = path_rank(route.map_or(&any, |route| &route.matches.path), rest)
            else {
                continue;
            };
            let conditions = route.map_or((Reverse(0), Reverse(0), true), |route| {
                let matches = &route.matches;
                (
                    Reverse(matches.headers.len()),
                    Reverse(matches.query.len()),
                    matches.methods.is_empty(),
                )
            });
            let name = label(&published.id, route);
            let rank = (host_rank, Reverse(base.len()), path_rank, conditions, name);
            candidates.push((rank, published, route));
        }
    }
    candidates.sort_by(|a, b| a.0.cmp(&b.0));
    candidates
}

fn is_below(path: &str, prefix: &str) -> bool {
    path == prefix || path.starts_with(&format!("{prefix}/"))
}

fn path_rank(pattern: &PathMatch, rest: &str) -> Option<(u8, Vec<bool>, Reverse<usize>)> {
    match pattern {
        PathMatch::Exact(path) => (**path == *rest).then_some((0, vec![], Reverse(0))),
        PathMatch::Template(segments) => {
            let parts: Vec<&str> = rest.split('/').skip(1).collect();
            let fits = |(segment, part): (&Segment, &&str)| match segment {
                Segment::Literal(text) => **text == **part,
                Segment::Parameter(_) => !part.is_empty(),
            };
            let is_match = parts.len() == segments.len() && segments.iter().zip(&parts).all(fits);
            let shape = segments.iter().map(|segment| matches!(segment, Segment::Parameter(_)));
            is_match.then(|| (1, shape.collect(), Reverse(0)))
        }
        PathMatch::Regex(expression) => {
            expression.regex.is_match(rest).then_some((2, vec![], Reverse(expression.source.len())))
        }
        PathMatch::Prefix(prefix) => {
            is_below(rest, prefix).then_some((3, vec![], Reverse(prefix.len())))
        }
    }
}

fn holds_but_method(route: Option<&Route>, request: &Request) -> bool {
    let Some(route) = route else { return true };
    let header = |name: &str| request.headers.get(name).map(|value| value.as_bytes().to_vec());
    let parameter = |name: &str| {
        let pairs = request.query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| decoded(key) == name)
            .map(|(_, value)| decoded(value).into_bytes())
    };
    let holds = |value: Option<Vec<u8>>, wanted: &ValueMatch| wanted.accepts(value.as_deref());
    route.matches.headers.iter().all(|(name, wanted)| holds(header(name.as_str()), wanted))
        && route.matches.query.iter().all(|(name, wanted)| holds(parameter(name), wanted))
}

/// Of the few encodings that the requests below have.
fn decoded(text: &str) -> String {
    text.replace('+', " ").replace("%71", "q").replace("%31", "1")
}

pub(crate) fn scan_outcome(candidates: &[Candidate<'_>], request: &Request) -> Outcome {
    let mut allow = Vec::new();
    for (_, published, route) in candidates {
        if !holds_but_method(*route, request) {
            continue;
        }
        let methods = route.map_or(&[][..], |route| &route.matches.methods);
        if methods.is_empty() || methods.iter().any(|one| *one.as_http() == request.method) {
            return Outcome::Route(label(&published.id, *route));
        }
        allow.extend(methods.iter().map(|method| method.as_str().to_owned()));
    }
    allow.sort();
    allow.dedup();
    if allow.is_empty() { Outcome::NoRoute } else { Outcome::MethodNotAllowed(allow) }
}
