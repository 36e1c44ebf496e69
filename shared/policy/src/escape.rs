//! How a value is written into a text that has a syntax of its own, so that it stays a value there.

use std::borrow::Cow;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// All but RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What the text around a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Plain text: the value as it is.
    Nothing,
    /// A URL: the value is part of one segment or of one name or value in the query.
    Url,
    /// The inside of a JSON string.
    Json,
    /// HTML or XML, between tags or in a quoted attribute.
    Markup,
}

impl Escape {
    /// Appends a value.
    pub fn push(self, text: &mut String, value: &str) {
        match self {
            Self::Nothing => text.push_str(value),
            Self::Url => push_component(text, value.as_bytes()),
            Self::Json => push_json(text, value),
            Self::Markup => push_markup(text, value),
        }
    }
}

/// Appends bytes to a URL as part of one segment, name or value: percent-encoded but for unreserved
/// characters.
pub fn push_component(text: &mut String, bytes: &[u8]) {
    text.extend(percent_encode(bytes, COMPONENT));
}

/// What a percent-encoded text stands for.
#[must_use]
pub fn decode(text: &str) -> Cow<'_, [u8]> {
    percent_decode_str(text).into()
}

/// What a name or value of a query stands for; `+` is a space there.
#[must_use]
pub fn decode_query(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        return Cow::Owned(percent_decode_str(&text.replace('+', " ")).collect());
    }
    decode(text)
}

/// RFC 8259 §7.
fn push_json(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            control if control < ' ' => {
                // Writing into a text cannot fail.
                let _written = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
}

fn push_markup(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(escape: Escape, value: &str) -> String {
        let mut text = String::new();
        escape.push(&mut text, value);
        text
    }

    #[test]
    fn markup_has_no_tags_and_no_quotes() {
        assert_eq!(escaped(Escape::Markup, "<a b='c\"'>&"), "&lt;a b=&#39;c&quot;&#39;&gt;&amp;");
    }

    proptest! {
        #[test]
        fn a_component_reads_back_and_separates_nothing(value in any::<String>()) {
            let text = escaped(Escape::Url, &value);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
            prop_assert_eq!(&*decode(&text), value.as_bytes());
            prop_assert_eq!(&*decode_query(&text), value.as_bytes());
        }

        #[test]
        fn a_json_string_reads_back(value in any::<String>()) {
            let text = format!("\"{}\"", escaped(Escape::Json, &value));
            prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
        }

        #[test]
        fn any_text_can_be_decoded(text in any::<String>()) {
            let _ = (decode(&text), decode_query(&text));
        }
    }
}
