//! Both planes as real processes: a change travels to the nodes and requests see it, on one machine
//! with SQLite and in a cluster with PostgreSQL and Redis.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first fault"
)]

/// A control plane by itself.
mod control;
/// A cluster of PostgreSQL, Redis, two control planes and three nodes.
mod cluster;
/// One process, as a newcomer starts it.
mod single;
/// Processes, ports and the CLI.
mod support;
/// Bytes between a control plane and a node.
mod wire;
