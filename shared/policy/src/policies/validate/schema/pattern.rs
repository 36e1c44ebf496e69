//! Expressions of ECMA-262, as JSON Schema has them, for an engine that is linear in time.

use regex::{Regex, RegexBuilder};

/// How long an expression may be, in bytes.
const MAX_PATTERN: usize = 1_000;

/// How much memory a compiled expression may take, and its cache of states.
const MAX_COMPILED: usize = 256 << 10;

/// Compiles an expression. It may match anywhere in a text.
///
/// # Errors
///
/// What is wrong with it, for operators.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("is longer than {MAX_PATTERN} bytes"));
    }
    let is_lookaround = ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|begin| pattern.contains(begin));
    let compiled = RegexBuilder::new(&translated(pattern))
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build();
    compiled.map_err(|error| {
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return "is too large compiled; bound the length by `maxLength`, not by counts in the expression"
                .to_owned();
        }
        if is_lookaround {
            return "looks around (`(?=`, `(?!`), which is not linear in time; write it without"
                .to_owned();
        }
        let detail = error.to_string();
        let last = detail.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("is not an expression that can be used: {last}")
    })
}

/// The same expression in the syntax of the engine. ECMA-262 has classes of ASCII where the engine's are of
/// Unicode, and knows no sets within sets.
fn translated(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len() + 16);
    let (mut characters, mut is_in_set) = (pattern.chars().peekable(), false);
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let Some(escaped) = characters.next() else {
                    translated.push('\\');
                    break;
                };
                let stands_for = match (escaped, is_in_set) {
                    ('d', false) => "[0-9]",
                    ('d', true) => "0-9",
                    ('D', _) => "[^0-9]",
                    ('w', false) => "[0-9A-Za-z_]",
                    ('w', true) => "0-9A-Za-z_",
                    ('W', _) => "[^0-9A-Za-z_]",
                    ('b', false) => "(?-u:\\b)",
                    ('b', true) => "\\x08",
                    ('B', false) => "(?-u:\\B)",
                    // Blanks of ECMA-262 are those of Unicode, and the byte order mark.
                    ('s', false) => "[\\s\\x{feff}]",
                    ('s', true) => "\\s\\x{feff}",
                    ('S', _) => "[^\\s\\x{feff}]",
                    ('/', _) => "/",
                    ('0', _) => "\\x00",
                    (other, _) => {
                        translated.extend(['\\', other]);
                        continue;
                    }
                };
                translated.push_str(stands_for);
            }
            '[' if is_in_set => translated.push_str("\\["),
            '[' => {
                let is_negated = characters.next_if_eq(&'^').is_some();
                // A set may be empty, and one of everything.
                if characters.next_if_eq(&']').is_some() {
                    translated.push_str(if is_negated { "[\\s\\S]" } else { "[^\\s\\S]" });
                    continue;
                }
                is_in_set = true;
                translated.push_str(if is_negated { "[^" } else { "[" });
            }
            ']' if is_in_set => {
                is_in_set = false;
                translated.push(']');
            }
            // `&&`, `--` and `~~` would be operators on sets.
            '&' | '~' if is_in_set => translated.extend(['\\', character]),
            '-' if is_in_set && characters.next_if_eq(&'-').is_some() => {
                translated.push_str("-\\-");
            }
            other => translated.push(other),
        }
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_ecma_262() {
        for (pattern, text, is_match) in [
            ("^\\d+$", "12", true),
            ("^\\d+$", "١٢", false),
            ("^[\\d.]+$", "1.2", true),
            ("^\\w+$", "ü", false),
            ("^\\W$", "ü", true),
            ("^[\\w-]+$", "a-b", true),
            ("^[^\\s]+$", "a b", false),
            ("^\\S+$", "a\u{feff}", false),
            ("b", "abc", true),
            ("^a$", "a\n", false),
            ("^\\/a\\-b$", "/a-b", true),
            ("^[[a]$", "[", true),
            ("^[a&&b]+$", "&ab", true),
            ("^[~~]$", "~", true),
            ("^[+--]$", ",", true),
            ("^(?<year>[0-9]{4})$", "2024", true),
            ("^\\p{L}+$", "straße", true),
            ("^\\u00e4$", "ä", true),
            ("^[^]]$", "a]", true),
            ("^[]", "", false),
            ("\\bcat\\b", "a cat", true),
            ("^.$", "ä", true),
        ] {
            let regex = compile(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
            assert_eq!(regex.is_match(text), is_match, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_not_linear_or_too_large_is_refused_with_what_to_write() {
        for (pattern, problem) in [
            ("(a)\\1", "is not an expression that can be used"),
            ("^(?=a)", "looks around"),
            ("(?<!a)b", "looks around"),
            ("(", "is not an expression that can be used"),
            ("a\\", "is not an expression that can be used"),
            ("(a{1000}){1000}", "is too large compiled"),
            (&"a".repeat(1001), "is longer than 1000 bytes"),
        ] {
            let told = compile(pattern).unwrap_err();
            assert!(told.starts_with(problem), "{pattern}: {told}");
        }
    }
}
