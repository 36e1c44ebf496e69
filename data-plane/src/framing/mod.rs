//! Refuses what RFC 9112 does not let be forwarded, before the HTTP parser sees it.
//!
//! hyper's parser is lenient where it can be without harm to itself: it takes a bare LF for the
//! end of a line, drops `content-length` beside `transfer-encoding`, lets a repeated
//! `content-length` pass if the values are equal. A gateway cannot afford that: where two parsers
//! on the way may disagree about the end of a request, one client's bytes become another's request
//! (request smuggling). So every byte read from a cleartext or decrypted HTTP/1 connection passes
//! [`Framing`] first, which follows heads and bodies over pipelined requests and takes only what
//! can be read in one way.
//!
//! [`Framing`] knows no socket; [`Guarded`] is the stream that applies it to what it reads, and
//! [`Watch`] tells the task that serves the connection what came of it.
//!
//! [`Framing`]: crate::framing::Framing
//! [`Guarded`]: crate::framing::Guarded
//! [`Watch`]: crate::framing::Watch

mod scan;
mod violation;
mod authority;
mod fields;
mod lines;
mod chunked;
mod machine;
mod guard;

#[cfg(test)]
mod tests;

pub use guard::{Guarded, GuardedIo, Watch, guard};
pub use machine::{Framing, Limits, Position};
pub use violation::Violation;
