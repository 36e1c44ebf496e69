//! What of a call its record keeps in the caller's own words.

use std::borrow::Cow;

/// Texts of a record that the caller's side wrote. Policies may change them before they are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded<'a> {
    /// The client's address.
    pub client: Cow<'a, str>,
    /// The host that the client named.
    pub host: Option<Cow<'a, str>>,
    /// The path, percent-encoded, without the query.
    pub path: Cow<'a, str>,
    /// The client's program.
    pub user_agent: Option<Cow<'a, str>>,
}
