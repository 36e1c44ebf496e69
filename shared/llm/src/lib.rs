//! What clients of language models and their providers say to each other: bytes in, bytes out. This crate
//! never opens a socket, reads a clock or a file, or starts a thread.

// What a call took, by kind of token.
pub mod usage;

pub use usage::Usage;
