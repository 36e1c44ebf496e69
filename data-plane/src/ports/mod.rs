//! The world behind [`tollgate_policy::ports`].

// Requests under way on this node.
pub mod concurrency;

// Counters of limits: in memory, or shared through Redis.
pub mod counters;

// Responses in memory.
pub mod cache;
// Key sets behind URLs: fetched, held, renewed.
pub mod key_sets;
// Calls of policies' own, to upstreams.
mod http_call;
// Passwords checked on a thread of their own, and remembered.
pub mod passwords;
// Bodies that a policy waits for.
pub mod patience;

// The world as one request sees it.
mod request;

pub use request::RequestPorts;
