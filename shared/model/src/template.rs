//! Texts with variables in braces, and those of them whose only variables are secrets: `Bearer {secret.token}`.

use std::fmt;

use zeroize::Zeroizing;

use crate::id::Name;
use crate::parse::{FromText, Rejected, deserr_text, text_schema};
use crate::secret::SecretText;

/// A piece of a text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// What stands for itself.
    Text(String),
    /// What stands between two braces.
    Variable(&'a str),
}

/// Cuts a text at its variables. `{{` and `}}` stand for braces. No two texts follow each other, and none is empty.
///
/// # Errors
///
/// A brace without its partner.
pub fn cut(text: &str) -> Result<Vec<Part<'_>>, Rejected> {
    let unpaired = || {
        Rejected::new(
            "invalid_template",
            "has a brace without its partner; write `{{` or `}}` for a brace itself",
        )
    };
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        literal.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            literal.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            literal.push('}');
            rest = after;
        } else {
            let inner = from.strip_prefix('{').ok_or_else(unpaired)?;
            let (name, after) = inner.split_once('}').ok_or_else(unpaired)?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Variable(name));
            rest = after;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// A text with at least one secret in it, up to 4096 bytes as it is written. What is not a secret is printable ASCII.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretTemplate(Box<[SecretPart]>);

#[derive(Clone, PartialEq, Eq)]
enum SecretPart {
    Text(Box<str>),
    Secret(Name),
}

impl SecretTemplate {
    const MAX_BYTES: usize = 4096;

    /// The secrets that it names, in order.
    pub fn secrets(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().filter_map(|part| match part {
            SecretPart::Text(_) => None,
            SecretPart::Secret(name) => Some(name),
        })
    }

    /// The text with the secrets in it; none where one of them is not there.
    #[must_use]
    pub fn render<'a>(
        &self,
        secret: impl Fn(&Name) -> Option<&'a SecretText>,
    ) -> Option<SecretText> {
        let mut text = Zeroizing::new(String::new());
        for part in &self.0 {
            text.push_str(match part {
                SecretPart::Text(literal) => literal,
                SecretPart::Secret(name) => secret(name)?.expose(),
            });
        }
        Some(SecretText::new(std::mem::take(&mut text)))
    }
}

/// Names alone: somebody may have written a part of the secret out.
impl fmt::Debug for SecretTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.secrets().map(Name::as_str)).finish()
    }
}

impl FromText for SecretTemplate {
    const EXPECTED: &'static str = "a text with a secret in it, such as {secret.shop-key}";

    // What was written is in no message, for it may be the secret itself.
    fn from_text(text: &str) -> Result<Self, Rejected> {
        if text.len() > Self::MAX_BYTES {
            return Err(Rejected::new("too_large", "give at most 4096 bytes"));
        }
        let part = |part: Part<'_>| match part {
            Part::Text(text) if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) => {
                Ok(SecretPart::Text(text.into()))
            }
            Part::Text(_) => Err(Rejected::new(
                "invalid_value",
                "has characters that are not printable ASCII; keep them in a Secret",
            )),
            Part::Variable(name) => match name.strip_prefix("secret.") {
                Some(name) => Name::from_text(name).map(SecretPart::Secret),
                None => Err(Rejected::new(
                    "unknown_variable",
                    "has another variable than a secret; give {secret.NAME}",
                )),
            },
        };
        let parts: Box<[SecretPart]> =
            cut(text)?.into_iter().map(part).collect::<Result<_, _>>()?;
        let template = Self(parts);
        if template.secrets().next().is_none() {
            return Err(Rejected::new(
                "secret_in_the_open",
                "names no secret; put the value into a Secret and give {secret.NAME} here",
            ));
        }
        Ok(template)
    }
}

deserr_text!(SecretTemplate);
text_schema!(SecretTemplate, "SecretTemplate", "A text with a secret in it: {secret.NAME}.");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rendered(text: &str) -> Option<String> {
        let known = SecretText::new("k\u{e9}y".to_owned());
        let template = SecretTemplate::from_text(text).unwrap();
        let rendered = template.render(|name| (name.as_str() == "shop").then_some(&known))?;
        Some(rendered.expose().to_owned())
    }

    #[test]
    fn secrets_are_put_in_and_nothing_is_made_of_one_that_is_not_there() {
        assert_eq!(rendered("{secret.shop}").as_deref(), Some("k\u{e9}y"));
        assert_eq!(
            rendered("a {{{secret.shop}}} {secret.shop}").as_deref(),
            Some("a {k\u{e9}y} k\u{e9}y")
        );
        assert_eq!(rendered("{secret.shop}{secret.other}"), None);
    }

    #[test]
    fn what_is_no_text_with_a_secret_is_refused_without_being_shown() {
        for (text, code) in [
            ("", "secret_in_the_open"),
            ("s3cret", "secret_in_the_open"),
            ("{{secret.shop}}", "secret_in_the_open"),
            ("s3cret {header.x-a} {secret.shop}", "unknown_variable"),
            ("{secret.SHOP}", "invalid_name"),
            ("{secret.shop", "invalid_template"),
            ("s3cret\n{secret.shop}", "invalid_value"),
            ("s3cret\u{e9}{secret.shop}", "invalid_value"),
        ] {
            let rejected = SecretTemplate::from_text(text).unwrap_err();
            assert_eq!(rejected.code, code, "{text}");
            assert!(!rejected.problem.contains("s3cret"), "{rejected}");
        }
        let long = format!("{}{{secret.shop}}", "a".repeat(SecretTemplate::MAX_BYTES));
        assert_eq!(SecretTemplate::from_text(&long).unwrap_err().code, "too_large");
    }

    #[test]
    fn what_stands_beside_a_secret_is_not_shown() {
        let template = SecretTemplate::from_text("s3cret {secret.shop}").unwrap();
        assert_eq!(format!("{template:?}"), "{\"shop\"}");
    }

    proptest! {
        #[test]
        fn texts_without_variables_read_back(text in any::<String>()) {
            let escaped = text.replace('{', "{{").replace('}', "}}");
            let parts = cut(&escaped).unwrap();
            let expected: Vec<Part<'_>> =
                if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] };
            prop_assert_eq!(parts, expected);
        }
    }
}
