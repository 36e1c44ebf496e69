//! The world behind [`tollgate_policy::ports`].

// Counters of limits: in memory, or shared through Redis.
pub mod counters;

// The world as one request sees it.
mod request;

pub use request::RequestPorts;
