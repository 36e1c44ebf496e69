//! A search that tells every route it looked at.

use std::fmt;
use std::ops::ControlFlow;
use std::ptr;

use tollgate_model::ResourceId;
use tollgate_model::path::PathMatch;

use super::api_routes::Entry;
use super::host::HostName;
use super::place::{Hit, Place, precedence};
use super::table::{MatchInput, RouteTable};

/// One route of an API whose host and base path are those of the request.
#[derive(Clone, Debug)]
pub struct Considered<'t, T> {
    /// What the route was built with.
    pub payload: &'t T,
    /// Its API.
    pub api: &'t ResourceId,
    /// As configured, such as `*.shop.test`; `*` for any host.
    pub host: String,
    /// As configured, such as `/orders` or `/`.
    pub base_path: String,
    /// What it asks of the path below the base path.
    pub path: &'t PathMatch,
    /// What became of it.
    pub verdict: Verdict<'t>,
}

/// What became of a route in a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'t> {
    /// The request belongs to it.
    Won,
    /// The request does not.
    Lost {
        /// The first reason.
        because: Because<'t>,
    },
}

/// Why a request does not belong to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because<'t> {
    /// The path is another.
    Path,
    /// It names methods, and not this one.
    Method,
    /// The header field of this name, or its absence, is not what it asks for.
    Header(&'t str),
    /// The query parameter of this name, or its absence, is not what it asks for.
    Query(&'t str),
    /// Everything holds, but the winner comes before it in order of precedence.
    Preceded,
}

impl fmt::Display for Because<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => formatter.write_str("its path does not match"),
            Self::Method => formatter.write_str("it does not take the method"),
            Self::Header(name) => write!(formatter, "its condition on header `{name}` fails"),
            Self::Query(name) => write!(formatter, "its condition on parameter `{name}` fails"),
            Self::Preceded => formatter.write_str("another matches first"),
        }
    }
}

impl<T> RouteTable<T> {
    /// Every route of every API whose host and base path cover the request, in order of precedence,
    /// with what became of it. The winner is what [`Self::find`] finds.
    ///
    /// For people: costs by the number of those routes.
    #[must_use]
    pub fn explain<'t>(&'t self, input: &MatchInput<'_>) -> Vec<Considered<'t, T>> {
        let host = HostName::parse(input.host);
        let mut all = Vec::new();
        let mut has_winner = false;
        for (scope, site) in self.sites(host.as_str()) {
            for (base_path, rest, place) in site.places(input.path) {
                for ((api, entry), is_on_path) in in_order(place, rest) {
                    let unmet = if is_on_path {
                        entry.conditions.unmet(input)
                    } else {
                        Some(Because::Path)
                    };
                    let verdict = match unmet {
                        Some(because) => Verdict::Lost { because },
                        None if has_winner => Verdict::Lost { because: Because::Preceded },
                        None => Verdict::Won,
                    };
                    has_winner |= verdict == Verdict::Won;
                    all.push(Considered {
                        payload: &entry.payload,
                        api,
                        host: scope.to_string(),
                        base_path: if base_path.is_empty() { "/" } else { base_path }.to_owned(),
                        path: &entry.path,
                        verdict,
                    });
                }
            }
        }
        all
    }
}

/// Every route of a place, in order of precedence, and whether its path is that of the request.
fn in_order<'t, T>(place: &'t Place<T>, rest: &str) -> Vec<(Hit<'t, T>, bool)> {
    let mut all = Vec::new();
    for (api, routes) in place.apis() {
        let mut on_path: Vec<*const Entry<T>> = Vec::new();
        let _: ControlFlow<()> = routes.visit(rest, &mut |entry| {
            on_path.push(ptr::from_ref(entry));
            ControlFlow::Continue(())
        });
        let hit = |entry| ((api, entry), on_path.contains(&ptr::from_ref(entry)));
        all.extend(routes.entries().iter().map(hit));
    }
    all.sort_by(|(a, _), (b, _)| precedence(*a, *b));
    all
}
