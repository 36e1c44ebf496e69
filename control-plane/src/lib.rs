//! Stores what operators say, checks it, and streams it to the nodes; never carries a call.

// Flags and variables.
pub mod settings;
// How a change travels: the API that it comes in by …
mod admin;
// … what it does; the file to read first …
pub mod change;
// … the contents of resources, in clear, sealed, shown …
pub mod content;
// … the next configuration, checked as a whole …
mod validate;
// … everything durable, on SQLite or PostgreSQL …
pub mod store;
// … the log of changes, followed …
mod changelog;
// … the configuration in force, in memory …
pub mod live;
// … encoded once: differences and snapshots …
mod snapshot;
// … handed to all streams …
pub mod fanout;
// … one a node.
mod stream;
// What is to leave the nodes' caches.
mod purges;
// What each node runs, refuses and lags behind.
mod nodes;
// What nodes are asked.
mod questions;
// How a node gets its certificate.
mod enrolment;
// The port of the nodes.
mod transport;
// How secrets are kept.
pub mod seal;
// Who may do what.
pub mod identity;
// The certificates of the nodes.
pub mod authority;
// The control plane's own figures.
mod metrics;
// What keeps it from starting, in words for people.
mod start;

/// An error as a log event takes it, with its causes.
fn cause<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> &'a (dyn std::error::Error + 'static) {
    error
}

pub use self::settings::Settings;
pub use self::start::{ControlPlane, RunError, StartError};
