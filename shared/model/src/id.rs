//! Names and kinds, parsed once.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::parse::{FromText, Rejected};

/// What sort of thing a resource is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Kind {
    /// Owns everything else and is isolated.
    Tenant,
    /// A chain and its key, for listeners.
    Certificate,
    /// A named group of nodes with listeners.
    Gateway,
    /// A value that is written and never read back.
    Secret,
    /// Where calls go.
    Upstream,
    /// Policies under a name, for use by reference.
    PolicySet,
    /// What is published: hosts, base path, routes, policies.
    Api,
    /// Who calls.
    Application,
    /// What an application proves itself with.
    Credential,
}

impl Kind {
    /// Every kind, in the order in which a set is applied: what is referred to comes first.
    pub const ALL: [Self; 9] = [
        Self::Tenant,
        Self::Certificate,
        Self::Gateway,
        Self::Secret,
        Self::Upstream,
        Self::PolicySet,
        Self::Api,
        Self::Application,
        Self::Credential,
    ];

    /// The name in documents, such as `PolicySet`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Certificate => "Certificate",
            Self::Gateway => "Gateway",
            Self::Secret => "Secret",
            Self::Upstream => "Upstream",
            Self::PolicySet => "PolicySet",
            Self::Api => "Api",
            Self::Application => "Application",
            Self::Credential => "Credential",
        }
    }

    /// The plural in addresses of the admin API, such as `policy-sets`.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Tenant => "tenants",
            Self::Certificate => "certificates",
            Self::Gateway => "gateways",
            Self::Secret => "secrets",
            Self::Upstream => "upstreams",
            Self::PolicySet => "policy-sets",
            Self::Api => "apis",
            Self::Application => "applications",
            Self::Credential => "credentials",
        }
    }

    /// Whether only the platform's administrators may write it; such resources live in `default`.
    #[must_use]
    pub const fn is_platform(self) -> bool {
        matches!(self, Self::Tenant | Self::Gateway)
    }

    /// Finds a kind by its name in documents, exactly as written.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Finds a kind as people type it: name, plural or singular, in any case (`api`, `policy-sets`).
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let singular = |kind: Self| kind.plural().trim_end_matches('s').to_owned();
        Self::ALL.into_iter().find(|kind| {
            word == kind.plural()
                || word == kind.name().to_ascii_lowercase()
                || word == singular(*kind)
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The name of a resource or tenant: 1 to 63 of `a-z`, `0-9`, `-`, `.`, `_`; begins and ends with
/// a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Name(#[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$"))] Arc<str>);

impl Name {
    /// The tenant and the gateway that are there from the start.
    #[must_use]
    pub fn default_name() -> Self {
        Self(Arc::from("default"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromText for Name {
    const EXPECTED: &'static str = "a name";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = text.as_bytes();
        if bytes.len() > 63
            || !bytes.iter().all(|b| inside(*b))
            || !edge(bytes.first())
            || !edge(bytes.last())
        {
            return Err(Rejected::new(
                "invalid_name",
                format!(
                    "`{}` is not a name; use 1 to 63 of a-z, 0-9, `-`, `.`, `_`, with a letter or digit at both ends",
                    text.escape_debug()
                ),
            ));
        }
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What tells one resource from every other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// Its sort.
    pub kind: Kind,
    /// Who owns it.
    pub tenant: Name,
    /// Its name, unique within kind and tenant.
    pub name: Name,
}

impl ResourceId {
    /// The id of a resource of `kind` called `name` in `tenant`.
    #[must_use]
    pub fn new(kind: Kind, tenant: Name, name: Name) -> Self {
        Self { kind, tenant, name }
    }

    /// The id of the resource that describes a tenant; those live in `default`.
    #[must_use]
    pub fn of_tenant(tenant: &Name) -> Self {
        Self::new(Kind::Tenant, Name::default_name(), tenant.clone())
    }

    /// The id of the resource that describes a gateway; those live in `default`.
    #[must_use]
    pub fn of_gateway(gateway: &Name) -> Self {
        Self::new(Kind::Gateway, Name::default_name(), gateway.clone())
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.tenant, self.name)
    }
}

crate::parse::deserr_text!(Name);
