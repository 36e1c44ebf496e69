//! One suite over both databases: what the store promises, and what it says when it cannot.

#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

#[path = "../support/changes.rs"]
mod changes;
#[path = "../support/mod.rs"]
mod support;

// How a store is opened, and what is refused.
mod opening;
// Changes: whole or not at all, numbered without gaps.
mod writing;
// What comes back.
mod reading;
// The history, and what differs between revisions.
mod history;
// What a control plane sees that another one wrote.
mod following;
// Purges of the nodes' caches.
mod purges;
// Locks, a full disk, a database that goes away.
mod failing;
