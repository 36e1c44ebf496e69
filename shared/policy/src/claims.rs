//! What a policy has verified of who calls, beside the application: the claims of a token, the
//! subject of a certificate.

use serde_json::{Map, Value};

/// Statements about the caller whose origin is proven. Texts of the caller's own making never
/// stand here.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Whom they are about.
    pub subject: Option<Box<str>>,
    /// What the caller may do on the subject's behalf.
    pub scopes: Box<[Box<str>]>,
    /// Whose member the subject is.
    pub groups: Box<[Box<str>]>,
    /// All of them by name, as they were stated.
    pub all: Map<String, Value>,
}
