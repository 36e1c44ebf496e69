//! The routes of one API and their order.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use smallvec::SmallVec;
use tollgate_model::Name;
use tollgate_model::api::Api;
use tollgate_model::path::{PathMatch, Segment};
use tollgate_model::route::Route;

use super::condition::Conditions;
use super::path::Trie;
use super::table::MatchInput;

/// The compiled routes of one API, each with what the caller wants back for it.
///
/// Built whole and off the request path; a [`super::RouteTable`] shares it and never looks inside
/// to add or remove it.
#[derive(Debug)]
pub struct ApiRoutes<T> {
    /// In order of precedence, as far as that can be told without a request. Most APIs of a large
    /// table have one, which then lies beside the rest.
    entries: SmallVec<[Entry<T>; 1]>,
    trie: Trie,
}

/// One route.
#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) payload: T,
    /// None: the route of an API that has none of its own.
    name: Option<Name>,
    pub(super) path: PathMatch,
    pub(super) conditions: Conditions,
}

impl<T> ApiRoutes<T> {
    /// Compiles an API's routes, with a payload for each from the route and its index.
    ///
    /// An API without routes has one of its own, everything below the base path: `payload` is then
    /// asked once, with `None` and 0.
    pub fn build(api: &Api, mut payload: impl FnMut(Option<&Route>, usize) -> T) -> Self {
        let mut entries: SmallVec<[Entry<T>; 1]> = SmallVec::with_capacity(api.routes.len());
        for (i, route) in api.routes.iter().enumerate() {
            entries.push(Entry {
                payload: payload(Some(route), i),
                name: Some(route.name.clone()),
                path: route.matches.path.clone(),
                conditions: Conditions::of(&route.matches),
            });
        }
        if entries.is_empty() {
            entries.push(Entry {
                payload: payload(None, 0),
                name: None,
                path: PathMatch::any(),
                conditions: Conditions::default(),
            });
        }
        entries.sort_by(Entry::storage_order);
        let trie = Trie::build(entries.iter().map(|entry| &entry.path));
        Self { entries, trie }
    }

    /// How many routes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: an API without routes has one of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The routes, in an order that is the order of precedence among those of one request.
    pub(super) fn entries(&self) -> &[Entry<T>] {
        &self.entries
    }

    /// Every distinct text that a path must begin with to be matched by a route, one for each.
    pub(super) fn heads(&self) -> BTreeSet<String> {
        self.entries.iter().map(|entry| head(&entry.path)).collect()
    }

    /// The first route in order of precedence whose every condition holds.
    ///
    /// Sets `is_method_refused` where one was passed over for its methods alone.
    #[inline]
    pub(super) fn find<'t>(
        &'t self,
        rest: &str,
        input: &MatchInput<'_>,
        is_method_refused: &mut bool,
    ) -> Option<&'t Entry<T>> {
        let found = self.visit(rest, &mut |entry| {
            if !entry.conditions.take_rest(input) {
                return ControlFlow::Continue(());
            }
            if !entry.conditions.take_method(input.method) {
                *is_method_refused = true;
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(entry)
        });
        found.break_value()
    }

    /// Visits the routes whose path is that of the request, in order of precedence.
    #[inline]
    pub(super) fn visit<'t, B>(
        &'t self,
        rest: &str,
        visit: &mut impl FnMut(&'t Entry<T>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.trie.visit(rest, &mut |places, is_expression| {
            for entry in self.entries.get(places).unwrap_or_default() {
                if !is_expression || entry.expression_matches(rest) {
                    visit(entry)?;
                }
            }
            ControlFlow::Continue(())
        })
    }
}

impl<T> Entry<T> {
    /// The order of precedence of two routes that match one path, up to the names of their APIs.
    pub(super) fn precedence(&self, other: &Self) -> Ordering {
        path_precedence(&self.path, &other.path)
            .then_with(|| self.conditions.precedence(&other.conditions))
    }

    /// The last word: the route's own name.
    pub(super) fn name_order(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name)
    }

    /// The order of precedence, with routes of one path side by side.
    fn storage_order(&self, other: &Self) -> Ordering {
        path_precedence(&self.path, &other.path)
            .then_with(|| place(&self.path).cmp(&place(&other.path)))
            .then_with(|| self.conditions.precedence(&other.conditions))
            .then_with(|| self.name_order(other))
    }

    fn expression_matches(&self, rest: &str) -> bool {
        match &self.path {
            PathMatch::Regex(expression) => expression.regex.is_match(rest),
            PathMatch::Exact(_) | PathMatch::Template(_) | PathMatch::Prefix(_) => false,
        }
    }
}

/// The order of precedence of two paths that both match one request.
fn path_precedence(a: &PathMatch, b: &PathMatch) -> Ordering {
    let kind = |path: &PathMatch| match path {
        PathMatch::Exact(_) => 0,
        PathMatch::Template(_) => 1,
        PathMatch::Regex(_) => 2,
        PathMatch::Prefix(_) => 3,
    };
    let detail = match (a, b) {
        (PathMatch::Template(a), PathMatch::Template(b)) => {
            let is_parameter = |segment: &Segment| matches!(segment, Segment::Parameter(_));
            a.iter().map(is_parameter).cmp(b.iter().map(is_parameter))
        }
        (PathMatch::Regex(a), PathMatch::Regex(b)) => b.source.len().cmp(&a.source.len()),
        (PathMatch::Prefix(a), PathMatch::Prefix(b)) => b.len().cmp(&a.len()),
        _ => Ordering::Equal,
    };
    kind(a).cmp(&kind(b)).then(detail)
}

/// A text that is equal for paths that lie at one node of the trie. Expressions lie at none.
fn place(path: &PathMatch) -> String {
    match path {
        PathMatch::Regex(_) => String::new(),
        PathMatch::Exact(_) | PathMatch::Template(_) | PathMatch::Prefix(_) => path.shape(),
    }
}

/// What a path begins with, by whole segments, wherever this route matches it.
fn head(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(text) | PathMatch::Prefix(text) => text.to_string(),
        PathMatch::Regex(_) => String::new(),
        PathMatch::Template(segments) => segments
            .iter()
            .map_while(|segment| match segment {
                Segment::Literal(text) => Some(format!("/{text}")),
                Segment::Parameter(_) => None,
            })
            .collect(),
    }
}
