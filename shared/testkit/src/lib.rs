//! What tests of several crates share: servers, clients, clocks. Only ever a
//! dev-dependency, never a part of a program.

// A real PostgreSQL: one server a test process, one database a test.
pub mod postgres;

// A real Redis: a server of one's own, that can be stopped, paused and slow.
pub mod redis;

// How often a thread allocates, and what the program holds.
pub mod allocations;

// The way between a client and a server: counted, and slow if it must be.
pub mod relay;

// A server behind a gateway, that does what a request's query tells it.
pub mod upstream;

// Keys and tokens of an identity provider.
pub mod tokens;
// Authorities and the certificates that they issue.
pub mod pki;
