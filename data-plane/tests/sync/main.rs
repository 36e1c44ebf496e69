//! How a configuration arrives at a node, against a control plane that does what a test tells it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unreachable,
    reason = "a test stops where something is off"
)]

mod node;
mod plane;

// Certificates.
mod joining;
// Deltas and snapshots.
mod changes;
// The stream, lost and found again.
mod connection;
// The last good configuration.
mod disk;
// The node's own endpoints.
mod status;
