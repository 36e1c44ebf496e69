//! What clients of language models and their providers say to each other: bytes in, bytes out. This crate
//! never opens a socket, reads a clock or a file, or starts a thread.
//!
//! Clients speak dialects, models speak providers' formats; both meet in one hub, [`Chat`] and [`Reply`]. What the hub has no
//! place for travels with it. What a provider cannot carry is refused where the answer depends on it, else listed; it
//! is never dropped in silence. Where both sides speak one format, the bytes pass as they are: [`passthrough`].

// The request, and what it says; the answer, whole and as a stream.
pub mod chat;
pub mod reply;
// What the hub has no place for.
pub mod rest;
// What cannot be carried; what goes wrong.
pub mod loss;
pub mod error;
// What a request is written for.
pub mod target;
// The two lists: what clients speak, and what models speak.
pub mod dialects;
pub mod providers;
// The same format on both sides.
pub mod passthrough;
// How things are written: events, JSON.
pub mod sse;
mod json;
mod complete;
// What a call took, by kind of token.
pub mod usage;
// Amounts of dollars, exact.
pub mod money;
// What tokens cost, and so a call.
pub mod price;
// Which providers and models there are; what is known of them without asking.
pub mod catalogue;
// Enums and sets by the names of their variants.
pub mod named;

pub use catalogue::Catalogue;
pub use chat::Chat;
pub use dialects::{Dialect, StreamWriter};
pub use error::{ErrorKind, Failure, LlmError};
pub use money::{Factor, Nanodollars};
pub use price::{Cost, Price, Terms};
pub use providers::{Provider, StreamReader};
pub use reply::{Event, Metered, Reply};
pub use target::{Asked, Outgoing, Reading, Target};
pub use usage::Usage;
