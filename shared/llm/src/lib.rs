//! What clients of language models and their providers say to each other: bytes in, bytes out. This crate
//! never opens a socket, reads a clock or a file, or starts a thread.

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
pub use money::{Factor, Nanodollars};
pub use price::{Cost, Price, Terms};
pub use usage::Usage;
