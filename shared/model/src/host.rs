//! Which hosts an API answers for.

use std::fmt;
use std::sync::Arc;

use crate::parse::{FromText, Rejected, deserr_text, text_schema};

/// A host name, or `*.` and a host name: `api.shop.test`, `*.shop.test`. Lower case, without port.
///
/// The wildcard stands for one or more labels, as in the Gateway API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern {
    /// The name without `*.`.
    name: Arc<str>,
    is_wildcard: bool,
}

impl HostPattern {
    /// The name that must be equal, or what must come after the wildcard's labels.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it began with `*.`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.is_wildcard
    }

    /// Whether every host of `other` is one of this pattern too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if !self.is_wildcard {
            return self == other;
        }
        let below =
            |name: &str| name.strip_suffix(&*self.name).is_some_and(|labels| labels.ends_with('.'));
        below(&other.name) || (other.is_wildcard && other.name == self.name)
    }

    /// Whether some host belongs to both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl FromText for HostPattern {
    const EXPECTED: &'static str = "a host name such as api.shop.test or *.shop.test";

    fn from_text(text: &str) -> Result<Self, Rejected> {
        let refuse = |why: &str| {
            Rejected::new(
                "invalid_host",
                format!("`{}` {why}; give {}", text.escape_debug(), Self::EXPECTED),
            )
        };
        let lower = text.to_ascii_lowercase();
        let (name, is_wildcard) = match lower.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (lower.as_str(), false),
        };
        if name.contains(':') && name.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(refuse("has a port or a scheme"));
        }
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return Err(refuse("is not a host name"));
        }
        Ok(Self { name: Arc::from(name), is_wildcard })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_wildcard {
            formatter.write_str("*.")?;
        }
        formatter.write_str(&self.name)
    }
}

deserr_text!(HostPattern);
text_schema!(HostPattern, "Host", "A host name, or `*.` and a host name; without a port.");

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> HostPattern {
        HostPattern::from_text(text).unwrap()
    }

    #[test]
    fn hosts_are_lower_case_names_or_wildcards() {
        assert_eq!(host("API.Shop.Test").to_string(), "api.shop.test");
        assert!(host("*.shop.test").is_wildcard());
        for text in ["", "*", "*shop.test", "a..b", "http://a", "a:80", "a b", "-a.test", "a/*"] {
            assert_eq!(HostPattern::from_text(text).unwrap_err().code, "invalid_host", "{text}");
        }
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it_but_not_itself_bare() {
        assert!(host("*.shop.test").covers(&host("api.shop.test")));
        assert!(host("*.shop.test").covers(&host("a.b.shop.test")));
        assert!(host("*.shop.test").covers(&host("*.eu.shop.test")));
        assert!(host("*.shop.test").covers(&host("*.shop.test")));
        assert!(!host("*.shop.test").covers(&host("shop.test")));
        assert!(!host("*.shop.test").covers(&host("myshop.test")));
        assert!(!host("api.shop.test").covers(&host("*.shop.test")));
        assert!(host("api.shop.test").overlaps(&host("*.shop.test")));
    }
}
