//! Who may do what: administrators by their tokens, nodes by theirs.

mod roles;
mod secret;
mod tokens;
mod join;
mod keys;

pub use self::join::{JoinError, JoinToken, JoinTokens, NewJoinToken, trusted_fingerprint};
pub use self::keys::draw_api_key;
pub use self::roles::{Action, Actor, Role};
pub use self::secret::Shown;
pub use self::tokens::{AdminToken, AdminTokens, First, IdentityError, NewAdminToken};
