//! The same format on both sides: the bytes pass as they are, but for the name of the model. What is needed of them is
//! read from them as they pass.

mod filter;
mod meter;
mod peek;
mod scan;
#[cfg(test)]
mod tests;

pub use filter::UsageFilter;
pub use meter::Meter;
pub use peek::{Peeked, Renamed, peek, rename};
