//! Which route a request belongs to. A look-up costs by the depth of its path, never by how many
//! routes there are, and allocates nothing; a change costs by the size of the API it changes.
//!
//! The order of precedence is in `docs/guide/routing.md`, and only there. The files follow it:
//! hosts in [`table`], base paths in `site`, the APIs of one base path in `place`, paths in
//! `path`, and what else a route asks in `condition`.

/// The host of a request in the one form it is matched in.
pub mod host;
/// What a route asks of method, headers and query.
mod condition;
/// The routes of one API and their order.
mod api_routes;
/// The paths of one API's routes, as a trie of segments.
mod path;
/// A persistent map from texts.
mod map;
/// Prefixes of a path by whole segments, the longest first.
mod cuts;
/// The APIs of one host and base path.
mod place;
/// The base paths of one host.
mod site;
/// Hosts, and the search through all of it.
pub mod table;
/// A search that tells every route it looked at.
mod explain;

pub use api_routes::ApiRoutes;
pub use explain::{Because, Considered, Verdict};
pub use host::HostName;
pub use table::{Found, Match, MatchInput, RouteTable};
pub use tollgate_policy::target::{EncodedSlash, Target, TargetFault};
