//! What endpoints are told of who calls them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use schemars::JsonSchema;

use crate::id::Name;
use crate::issue::{Issues, pointer};
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::password::Username;
use crate::provider::{ProviderUrl, UrlFault};
use crate::route::{FieldName, OF_CONNECTION, OF_PROXIES, WRITTEN_BY_TOLLGATE};
use crate::secret::SecretText;
use crate::template::SecretTemplate;

/// What the gateway proves itself with: exactly one of `header`, `basic` and `oauth2`. It takes the place of what a
/// client sends in that field.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Credentials {
    /// A header field.
    Header(HeaderCredential),
    /// A username and a password (RFC 7617), in `authorization`.
    Basic(BasicCredential),
    /// A token that the gateway fetches for itself by the client credentials grant (RFC 6749 §4.4), in `authorization`.
    OAuth2(Box<OAuth2Credential>),
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = may_be_set -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct HeaderCredential {
    /// Its name, such as `x-api-key`.
    pub name: FieldName,
    /// Its value, with one or more secrets of the same tenant: `{secret.shop-key}`.
    pub value: SecretTemplate,
}

/// A username and a password.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct BasicCredential {
    /// 1 to 256 bytes, without colons and control characters.
    pub username: Username,
    /// With one or more secrets of the same tenant: `{secret.shop-password}`.
    pub password: SecretTemplate,
}

/// How a token is had.
#[derive(Clone, Debug, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields, validate = is_a_grant -> Issues)]
#[schemars(deny_unknown_fields)]
pub struct OAuth2Credential {
    /// The token endpoint, over https.
    pub token_url: ProviderUrl,
    /// Whether the token endpoint may be in a private network, and be spoken to without TLS. Default false.
    #[deserr(default)]
    #[schemars(with = "Option<bool>")]
    pub allow_private: bool,
    /// Who the gateway is there: 1 to 256 printable ASCII characters.
    pub client_id: String,
    /// With one or more secrets of the same tenant: `{secret.shop-client}`.
    pub client_secret: SecretTemplate,
    /// What is asked for, up to 64. Default: none, which leaves it to the server.
    #[deserr(default)]
    #[schemars(with = "Option<Vec<ScopeToken>>")]
    pub scopes: Vec<ScopeToken>,
    /// Whom the token is for, where the server asks for an `audience`: 1 to 1024 bytes. Default: none.
    #[deserr(default)]
    pub audience: Option<String>,
    /// How the gateway proves itself to the token endpoint. Default `basic`.
    #[deserr(default)]
    #[schemars(with = "Option<ClientAuth>")]
    pub auth: ClientAuth,
}

/// How a client proves itself to a token endpoint (RFC 6749 §2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserr, JsonSchema)]
#[deserr(error = Issues, rename_all = lowercase)]
#[schemars(rename_all = "lowercase")]
pub enum ClientAuth {
    /// By HTTP Basic authentication (`client_secret_basic`).
    #[default]
    Basic,
    /// In the body (`client_secret_post`).
    Body,
}

/// One scope: visible ASCII without quotes and backslashes (RFC 6749 §3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeToken(Box<str>);

impl ScopeToken {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Credentials {
    /// The secrets that it names, each with where it stands below it.
    #[must_use]
    pub fn secrets(&self) -> Vec<(&'static str, &Name)> {
        let (at, template) = match self {
            Self::Header(header) => ("/header/value", &header.value),
            Self::Basic(basic) => ("/basic/password", &basic.password),
            Self::OAuth2(oauth2) => ("/oauth2/client_secret", &oauth2.client_secret),
        };
        template.secrets().map(|name| (at, name)).collect()
    }

    /// Whether a secret can stand where these name one.
    #[must_use]
    pub fn fits(&self, secret: &SecretText) -> bool {
        match self {
            Self::Header(_) => http::HeaderValue::from_bytes(secret.expose().as_bytes()).is_ok(),
            // RFC 7617 §2.
            Self::Basic(_) => !secret.expose().chars().any(char::is_control),
            // It is encoded.
            Self::OAuth2(_) => true,
        }
    }
}

/// As it may be written.
#[derive(Deserr)]
#[deserr(error = Issues, deny_unknown_fields)]
struct Written {
    #[deserr(default)]
    header: Option<HeaderCredential>,
    #[deserr(default)]
    basic: Option<BasicCredential>,
    #[deserr(default)]
    oauth2: Option<OAuth2Credential>,
}

impl Deserr<Issues> for Credentials {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, Issues> {
        let Written { header, basic, oauth2 } = Written::deserialize_from_value(value, location)?;
        let fault =
            |code, problem| Issues::one(crate::Issue::new(pointer(location), code, problem));
        match (header, basic, oauth2) {
            (Some(header), None, None) => Ok(Self::Header(header)),
            (None, Some(basic), None) => Ok(Self::Basic(basic)),
            (None, None, Some(oauth2)) => Ok(Self::OAuth2(Box::new(oauth2))),
            (None, None, None) => {
                Err(fault("missing_field", "`header` is missing; add it, or `basic` or `oauth2`"))
            }
            _ => {
                Err(fault("conflicting_fields", "give only one of `header`, `basic` and `oauth2`"))
            }
        }
    }
}

fn may_be_set(
    header: HeaderCredential,
    location: ValuePointerRef<'_>,
) -> Result<HeaderCredential, Issues> {
    let name = header.name.as_str();
    let mut issues = Issues::default();
    let problem = if OF_CONNECTION.contains(&name) || OF_PROXIES.contains(&name) {
        format!("`{name}` belongs to the connection; take another field")
    } else if WRITTEN_BY_TOLLGATE.contains(&name) {
        format!("`{name}` is Tollgate's own to write; take another field")
    } else {
        return Ok(header);
    };
    issues.add(format!("{}/name", pointer(location)), "reserved_header", problem);
    Err(issues)
}

fn is_a_grant(
    grant: OAuth2Credential,
    location: ValuePointerRef<'_>,
) -> Result<OAuth2Credential, Issues> {
    let at = pointer(location);
    let mut issues = Issues::default();
    if let Err(fault @ (UrlFault::NotOne | UrlFault::Insecure | UrlFault::Private)) =
        grant.token_url.check(grant.allow_private)
    {
        issues.add(format!("{at}/token_url"), "invalid_url", fault.to_string());
    }
    // RFC 6749, appendix A.1.
    let is_printable = grant.client_id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_printable || !(1..=256).contains(&grant.client_id.len()) {
        let problem = "give 1 to 256 printable ASCII characters";
        issues.add(format!("{at}/client_id"), "invalid_value", problem);
    }
    if grant.scopes.len() > 64 {
        issues.add(format!("{at}/scopes"), "too_many", "has more than 64 entries");
    }
    let is_fine = |text: &String| (1..=1024).contains(&text.len());
    if !grant.audience.as_ref().is_none_or(is_fine) {
        issues.add(format!("{at}/audience"), "invalid_value", "give 1 to 1024 bytes");
    }
    issues.into_result(grant)
}

impl FromText for ScopeToken {
    const EXPECTED: &'static str = "a scope: visible ASCII without quotes and backslashes";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let is_one = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
        if (1..=256).contains(&text.len()) && text.bytes().all(is_one) {
            return Ok(Self(text.into()));
        }
        let problem =
            format!("`{}` is not {}; give each by itself", text.escape_debug(), Self::EXPECTED);
        Err(Rejected::new("invalid_scope", problem))
    }
}

deserr_text!(ScopeToken);
text_schema!(ScopeToken, "ScopeToken", "One scope: visible ASCII without quotes and backslashes.");
