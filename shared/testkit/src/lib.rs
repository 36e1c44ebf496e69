//! What tests of several crates share: servers, clients, clocks. Only ever a
//! dev-dependency, never a part of a program.

// A real PostgreSQL: one server a test process, one database a test.
pub mod postgres;

// A real Redis: a server of one's own, that can be stopped, paused and slow.
pub mod redis;

// A server behind a gateway, that does what a request's query tells it.
pub mod upstream;
