//! Both planes as real processes: a change travels to the nodes and requests see it, on one machine
//! with SQLite and in a cluster with PostgreSQL and Redis.

/// A cluster of PostgreSQL, Redis, two control planes and three nodes.
mod cluster;
/// One process, as a newcomer starts it.
mod single;
/// Processes, ports and the CLI.
mod support;
