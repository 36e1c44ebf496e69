//! What a policy says and does, and the whole validation of a configuration: [`check`] is what the
//! CLI, the control plane and the node call. This crate never opens a socket, reads a clock or a
//! file, or starts a thread; what it needs of the world comes through [`ports`].
//!
//! Read in this order: [`policy`], [`policies`], [`chain`], [`check`], [`resources`],
//! [`set`].

// The contract: what every policy is.
pub mod policy;
// The world as traits.
pub mod ports;
// What is proven of who calls, beside the application.
pub mod claims;
// Signed tokens, and the keys that they are checked with.
pub mod jose;
// Bodies: none, whole, streamed.
pub mod body;
// The path of a request in the one form it is matched and forwarded in.
pub mod target;
// Target, host and upstream of the request that goes on, as policies change them.
pub mod onward;
// Cookies of requests.
pub mod cookie;
// Shares of calls, and which calls fall into them.
pub mod share;
// How a value is written into a text that has a syntax of its own.
pub mod escape;
// Responses as a cache keeps them.
pub mod stored;
// Texts with variables, such as `{path.id}`.
pub mod template;
// Expressions over a request, in CEL.
mod expression;
// Another path made of a request's.
pub mod path_edit;
// The one limiter's arithmetic.
pub mod limit;
// The list: one line a policy.
pub mod policies;
// Policies in the order of their running.
pub mod chain;
// What of a call its record keeps in the caller's own words.
pub mod recorded;
// What they would do to a request, while nothing comes of it.
pub mod rehearsal;
// One resource: its specification parsed and its policies compiled.
pub mod check;
// All resources, and who needs whom.
pub mod resources;
// What only all of them together show: ownership, ties, keys.
pub mod set;

pub use body::Body;
pub use check::Checked;
pub use claims::Claims;
pub use onward::Onward;
pub use policy::{Cx, End, Flow, Phase, Policy, Refusal, Scope};
pub use resources::Resources;
pub use set::Set;

/// The world as tests have it; the same file serves the tests in `tests/`.
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

#[cfg(test)]
extern crate self as tollgate_policy;
