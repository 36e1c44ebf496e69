//! Signed tokens and the keys that they are checked with: RFC 7515 (JWS), 7517 (JWK), 7518 and 8037
//! (algorithms), 7519 (JWT), after the best practices of RFC 8725.
//!
//! Only the compact form is read. Nothing that a token says of keys is ever followed.

// Which algorithms there are.
mod algorithm;
// Public keys, and sets of them.
mod key_set;
// Where keys are that are elsewhere.
mod source;
// A token taken apart.
mod compact;
// Tokens that were verified, until they expire.
mod remembered;

pub use algorithm::Algorithm;
pub use compact::{Compact, Header, MAX_TOKEN_BYTES, Malformed};
pub use key_set::{Generation, KeySet, KeySetError, MAX_KEYS, Unverified};
pub use remembered::{Remembered, TokenKey, Verified};
pub use source::{KeySource, Named};
