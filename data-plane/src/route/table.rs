//! Hosts, and the search through all of it.

use std::fmt;
use std::iter;
use std::ops::ControlFlow;
use std::sync::Arc;

use smallvec::SmallVec;
use tollgate_model::ResourceId;
use tollgate_model::host::HostPattern;
use tollgate_model::path::{BasePath, PathMatch, Segment};

use super::api_routes::{ApiRoutes, Entry};
use super::cuts::Depths;
use super::host::{HostName, suffixes};
use super::map::TextMap;
use super::site::Site;

/// Every route of a node, by what a request must be.
///
/// Persistent: a clone is O(1) and never sees later changes; putting in or taking out an API costs
/// O(log n) and what that API has itself.
#[derive(Clone, Debug)]
pub struct RouteTable<T> {
    exact: TextMap<Site<T>>,
    /// By what stands behind `*.`.
    wildcard: TextMap<Site<T>>,
    wildcard_labels: Depths,
    any: Site<T>,
}

/// What a request is matched by.
#[derive(Clone, Copy, Debug)]
pub struct MatchInput<'r> {
    /// As in the Host field or `:authority`; empty where there is none.
    pub host: &'r str,
    /// From [`super::Target::path`].
    pub path: &'r str,
    /// As it was sent, without `?`.
    pub query: Option<&'r str>,
    /// The method.
    pub method: &'r http::Method,
    /// The header fields.
    pub headers: &'r http::HeaderMap,
}

/// What a search found.
#[derive(Clone, Debug)]
pub enum Found<'t, 'r, T> {
    /// The route that the request belongs to.
    Route(Match<'t, 'r, T>),
    /// Routes matched in everything but the method; the methods of those, sorted. Answers 405.
    MethodNotAllowed {
        /// For the Allow field.
        allow: Vec<http::Method>,
    },
    /// Answers 404.
    NoRoute,
}

/// A route and the request it matched.
#[derive(Debug)]
pub struct Match<'t, 'r, T> {
    payload: &'t T,
    pattern: &'t PathMatch,
    base_path: &'r str,
    rest: &'r str,
}

impl<T> Clone for Match<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Match<'_, '_, T> {}

impl<'t, 'r, T> Match<'t, 'r, T> {
    /// What the route was built with.
    #[must_use]
    pub fn payload(&self) -> &'t T {
        self.payload
    }

    /// What the route asked of the path.
    #[must_use]
    pub fn pattern(&self) -> &'t PathMatch {
        self.pattern
    }

    /// The API's base path; empty for the root.
    #[must_use]
    pub fn base_path(&self) -> &'r str {
        self.base_path
    }

    /// The path below the base path; `/` where the request was for the base path itself.
    #[must_use]
    pub fn rest(&self) -> &'r str {
        self.rest
    }

    /// The parameters of the path, in order: of a template, or the named groups of an expression.
    /// Worked out when asked for. Values are as in the path, percent-encoded.
    #[must_use]
    pub fn parameters(&self) -> SmallVec<[(&'t str, &'r str); 4]> {
        match self.pattern {
            PathMatch::Exact(_) | PathMatch::Prefix(_) => SmallVec::new(),
            PathMatch::Template(segments) => iter::zip(segments, self.rest.split('/').skip(1))
                .filter_map(|(segment, value)| match segment {
                    Segment::Parameter(name) => Some((&**name, value)),
                    Segment::Literal(_) => None,
                })
                .collect(),
            PathMatch::Regex(expression) => {
                let Some(captures) = expression.regex.captures(self.rest) else {
                    return SmallVec::new();
                };
                let names = expression.regex.capture_names().flatten();
                names.filter_map(|name| Some((name, captures.name(name)?.as_str()))).collect()
            }
        }
    }
}

/// Which of a table's hosts a site answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope<'h> {
    Exact(&'h str),
    Wildcard(&'h str),
    Any,
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => formatter.write_str(name),
            Self::Wildcard(name) => write!(formatter, "*.{name}"),
            Self::Any => formatter.write_str("*"),
        }
    }
}

impl<T> Default for RouteTable<T> {
    fn default() -> Self {
        Self {
            exact: TextMap::default(),
            wildcard: TextMap::default(),
            wildcard_labels: Depths::default(),
            any: Site::default(),
        }
    }
}

impl<T: Clone> RouteTable<T> {
    /// Puts an API's routes in, or in place of what they were for these hosts and this base path.
    /// No host stands for any.
    ///
    /// An API whose hosts or base path change is removed first, with what they were.
    pub fn insert(
        &mut self,
        id: &ResourceId,
        hosts: &[HostPattern],
        base_path: &BasePath,
        routes: &Arc<ApiRoutes<T>>,
    ) {
        if hosts.is_empty() {
            return self.any.insert(id, base_path, Arc::clone(routes));
        }
        for host in hosts {
            let sites = if host.is_wildcard() { &mut self.wildcard } else { &mut self.exact };
            if let Some(site) = sites.get_mut(host.name()) {
                site.insert(id, base_path, Arc::clone(routes));
                continue;
            }
            let mut site = Site::default();
            site.insert(id, base_path, Arc::clone(routes));
            sites.insert(host.name(), site);
            if host.is_wildcard() {
                self.wildcard_labels.add(labels(host));
            }
        }
    }

    /// Takes an API's routes out from where [`Self::insert`] put them. What is not there is let be.
    pub fn remove(&mut self, id: &ResourceId, hosts: &[HostPattern], base_path: &BasePath) {
        if hosts.is_empty() {
            self.any.remove(id, base_path);
        }
        for host in hosts {
            let sites = if host.is_wildcard() { &mut self.wildcard } else { &mut self.exact };
            let Some(site) = sites.get_mut(host.name()) else { continue };
            site.remove(id, base_path);
            if site.is_empty() {
                sites.remove(host.name());
                if host.is_wildcard() {
                    self.wildcard_labels.remove(labels(host));
                }
            }
        }
    }
}

impl<T> RouteTable<T> {
    /// Finds the route of a request. Costs by the depth of the path; allocates nothing on a hit.
    #[must_use]
    pub fn find<'t, 'r>(&'t self, input: &MatchInput<'r>) -> Found<'t, 'r, T> {
        let host = HostName::parse(input.host);
        let mut is_method_refused = false;
        for (_, site) in self.sites(host.as_str()) {
            for (base_path, rest, place) in site.places(input.path) {
                if let Some((_, entry)) = place.find(rest, input, &mut is_method_refused) {
                    let Entry { payload, path: pattern, .. } = entry;
                    return Found::Route(Match { payload, pattern, base_path, rest });
                }
            }
        }
        if is_method_refused {
            Found::MethodNotAllowed { allow: self.allowed_methods(host.as_str(), input) }
        } else {
            Found::NoRoute
        }
    }

    /// The sites of a host in order of precedence: its own, wildcards from the longest, any host.
    pub(super) fn sites<'t, 'h>(
        &'t self,
        host: &'h str,
    ) -> impl Iterator<Item = (Scope<'h>, &'t Site<T>)> {
        let exact = self.exact.get(host).map(|site| (Scope::Exact(host), site));
        let names = if self.wildcard.is_empty() { "" } else { host };
        let wildcards = suffixes(names)
            .filter(|(labels, _)| self.wildcard_labels.has(*labels))
            .filter_map(|(_, name)| Some((Scope::Wildcard(name), self.wildcard.get(name)?)));
        exact.into_iter().chain(wildcards).chain(iter::once((Scope::Any, &self.any)))
    }

    /// The methods of the routes that match the request in all else.
    fn allowed_methods(&self, host: &str, input: &MatchInput<'_>) -> Vec<http::Method> {
        let mut allow = Vec::new();
        for (_, site) in self.sites(host) {
            for (_, rest, place) in site.places(input.path) {
                for (_, routes) in place.candidates(rest) {
                    let _: ControlFlow<()> = routes.visit(rest, &mut |entry| {
                        if entry.conditions.take_rest(input) {
                            allow.extend(entry.conditions.methods().cloned());
                        }
                        ControlFlow::Continue(())
                    });
                }
            }
        }
        allow.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        allow.dedup();
        allow
    }
}

fn labels(host: &HostPattern) -> usize {
    host.name().split('.').count()
}
