//! JSON values as YAML that reads back as the same values.
//!
//! Block style throughout; a string stands plain only where no reader could take it for anything
//! else. `tollgate_model::file` is the reader that the property test goes by.

use serde_json::{Map, Value};

/// The texts that some YAML reader (1.1 or 1.2) takes for a value of another type.
const OTHER_TYPES: [&str; 14] = [
    "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity", "void",
    "none",
];

/// The units of durations and sizes (`tollgate_model::units`).
const UNITS: [&str; 9] = ["ms", "s", "m", "h", "d", "B", "KiB", "MiB", "GiB"];

/// One document, with a line end at its end and without `---`.
#[must_use]
pub(crate) fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut text, map, 0, false),
        Value::Array(items) if !items.is_empty() => write_list(&mut text, items, 0),
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            write_leaf(&mut text, value, 0);
            text.push('\n');
        }
    }
    text
}

/// Documents with `---` between them.
#[must_use]
pub(crate) fn documents(values: &[Value]) -> String {
    values.iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// Writes the entries of a map, each on its own line. `is_begun`: the first one's indentation
/// stands already, behind the dash of a list.
fn write_map(text: &mut String, map: &Map<String, Value>, depth: usize, is_begun: bool) {
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 || !is_begun {
            indent(text, depth);
        }
        write_key(text, key);
        text.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                write_map(text, inner, depth + 1, false);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                write_list(text, items, depth + 1);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                text.push(' ');
                write_leaf(text, value, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn write_list(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(text, depth);
        text.push('-');
        match item {
            Value::Object(inner) if !inner.is_empty() => {
                text.push(' ');
                write_map(text, inner, depth + 1, true);
            }
            Value::Array(inner) if !inner.is_empty() => {
                text.push('\n');
                write_list(text, inner, depth + 1);
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => {
                text.push(' ');
                write_leaf(text, item, depth + 1);
                text.push('\n');
            }
        }
    }
}

fn write_leaf(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) if stands_as_block(string) => write_block(text, string, depth),
        Value::String(string) if stands_plain(string) => text.push_str(string),
        Value::String(string) => write_quoted(text, string),
        Value::Array(_) => text.push_str("[]"),
        Value::Object(_) => text.push_str("{}"),
    }
}

fn write_key(text: &mut String, key: &str) {
    if stands_plain(key) {
        text.push_str(key);
    } else {
        write_quoted(text, key);
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Whether a string reads as itself without quotes, in every place and by every reader.
fn stands_plain(string: &str) -> bool {
    if is_quantity(string) {
        return true;
    }
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '/';
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "_-./ @+=;()$^~*".contains(c);
    let lower = string.to_ascii_lowercase();
    string.starts_with(begins)
        && !string.ends_with(' ')
        && !OTHER_TYPES.contains(&lower.as_str())
        && colons_are_inside(string)
        && string.chars().all(|c| goes_on(c) || c == ':')
}

/// A number with a unit, such as `10s` or `64KiB`: a text for every reader, and ours are many.
fn is_quantity(string: &str) -> bool {
    let unit = string.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < string.len() && UNITS.contains(&unit)
}

/// A colon is an indicator only before a blank or at the end.
fn colons_are_inside(string: &str) -> bool {
    !string.ends_with(':') && !string.contains(": ")
}

/// Whether a text of several lines can stand as they are, below a `|`.
fn stands_as_block(string: &str) -> bool {
    let body = string.strip_suffix('\n').unwrap_or(string);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with(['\n', ' ', '\t'])
        && body.split('\n').all(|line| !line.ends_with([' ', '\t']) && !line.starts_with('\t'))
        && body.chars().all(|c| c == '\n' || c == '\t' || !needs_escape(c))
}

fn write_block(text: &mut String, string: &str, depth: usize) {
    let body = string.strip_suffix('\n').unwrap_or(string);
    text.push_str(if body.len() == string.len() { "|-" } else { "|" });
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            // At the top level a block still needs to stand further in than nothing.
            indent(text, depth.max(1));
            text.push_str(line);
        }
    }
}

fn write_quoted(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            c if needs_escape(c) => {
                let number = u32::from(c);
                let escape = if number > 0xffff {
                    format!("\\U{number:08x}")
                } else {
                    format!("\\u{number:04x}")
                };
                text.push_str(&escape);
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Characters that are not printable in YAML (1.2.2 §5.1), or that break lines for some readers.
fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        // What reorders text on a screen would show another value than the one that is there.
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tollgate_model::file;

    use super::*;

    fn read_back(text: &str) -> Value {
        let mut documents = file::documents(text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0).value
    }

    #[test]
    fn a_resource_is_written_as_people_write_it() {
        let value = json!({
            "kind": "Api", "name": "orders",
            "spec": {
                "hosts": ["api.shop.test", "*.shop.test"], "base_path": "/orders", "strip_base_path": true,
                "policies": [{"api_key": {}}, {"rate_limit": {"limit": 100, "window": "1m"}}],
                "routes": [{"name": "item", "match": {"path": "/items/{id}", "methods": []}}],
                "note": "two\nlines\n", "version": "1.0", "country": "no", "ratio": 0.5, "nothing": null,
            },
        });
        insta::assert_snapshot!(document(&value));
        assert_eq!(read_back(&document(&value)), value);
    }

    #[test]
    fn strings_that_would_read_as_other_types_are_quoted() {
        for text in [
            "",
            "1",
            "1.5",
            "0x1f",
            "1e3",
            "true",
            "No",
            "null",
            "~",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#",
            " a",
            "a ",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "|",
            ">",
            "%",
            "@",
            "`",
            "\"",
            "'",
            "2027-01-31",
            "12:30",
            ".inf",
            "\n",
            "\n\n",
            "a\n",
            "a\n\n",
            " a\nb",
            "a\n b\n",
            "a\r\nb",
            "\u{85}",
            "\u{feff}a",
            "<<",
            "=",
            "---",
            "...",
            "--- a",
            "a:",
            "10s",
            "1m",
            "64KiB",
            "5d",
            "m",
            "1e3s",
        ] {
            let value = json!({"key": text, "list": [text, [text]], text: 1});
            let written = document(&value);
            assert_eq!(read_back(&written), value, "{written}");
            assert_eq!(read_back(&document(&json!([text]))), json!([text]));
        }
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~\n\t]{0,12}".prop_map(Value::from),
            "[0-9]{1,4}(ms|s|m|h|d|B|KiB|e|x|b|_)".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner.clone()), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
                prop::collection::vec(("[ -~]{0,8}", inner), 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_the_same(value in any_value()) {
            // A document that is null is no document.
            prop_assume!(!value.is_null());
            let written = document(&value);
            prop_assert_eq!(read_back(&written), value, "{}", written);
        }

        #[test]
        fn documents_read_back_one_by_one(values in prop::collection::vec(any_value(), 1..5)) {
            let values: Vec<Value> = values.into_iter().filter(|value| !value.is_null()).collect();
            let text = documents(&values);
            let read = file::documents(&text).map_err(|fault| TestCaseError::fail(format!("{fault}\n{text}")))?;
            let read: Vec<Value> = read.into_iter().map(|located| located.value).collect();
            prop_assert_eq!(read, values);
        }
    }
}
