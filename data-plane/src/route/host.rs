//! The host of a request in the one form it is matched in.

/// No name is longer (RFC 1035 §2.3.4, without the final dot).
const MAX_BYTES: usize = 253;

/// The host a request is for: in lower case, without port and without one dot at its end.
#[derive(Clone, Debug)]
pub struct HostName<'a>(Text<'a>);

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "it stands on the stack of one look-up")]
enum Text<'a> {
    Given(&'a str),
    /// In lower case, padded with NUL.
    Lowered([u8; MAX_BYTES], usize),
}

impl<'a> HostName<'a> {
    /// Takes the name out of what a Host field or `:authority` carries. Never allocates.
    ///
    /// What is no name that an API can have (empty, too long, an address in brackets) is taken as
    /// well: it equals none, so only APIs on any host answer for it.
    #[must_use]
    pub fn parse(authority: &'a str) -> Self {
        let host = if authority.starts_with('[') {
            authority.split_inclusive(']').next()
        } else {
            authority.split(':').next()
        };
        let host = host.unwrap_or_default();
        let name = host.strip_suffix('.').unwrap_or(host);
        if name.len() > MAX_BYTES {
            return Self(Text::Given(""));
        }
        if !name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Self(Text::Given(name));
        }
        let mut lowered = [0; MAX_BYTES];
        for (to, from) in lowered.iter_mut().zip(name.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        Self(Text::Lowered(lowered, name.len()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Given(name) => name,
            Text::Lowered(bytes, length) => bytes
                .get(..*length)
                .and_then(|name| std::str::from_utf8(name).ok())
                .unwrap_or_default(),
        }
    }
}

/// What follows each dot of a name that has a label before it, the longest first, each with its
/// number of labels.
pub(super) fn suffixes(name: &str) -> impl Iterator<Item = (usize, &str)> {
    let labels = 1 + memchr::memchr_iter(b'.', name.as_bytes()).count();
    memchr::memchr_iter(b'.', name.as_bytes())
        .enumerate()
        .filter(|(_, dot)| *dot > 0)
        .filter_map(move |(i, dot)| name.get(dot + 1..).map(|suffix| (labels - i - 1, suffix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_port_and_one_final_dot_do_not_count() {
        let cases = [
            ("a.test", "a.test"),
            ("A.Test", "a.test"),
            ("a.test:8080", "a.test"),
            ("a.test.", "a.test"),
            ("A.test.:80", "a.test"),
            ("a.test..", "a.test."),
            ("[::1]:80", "[::1]"),
            ("[::FF]", "[::ff]"),
            ("", ""),
            (":80", ""),
            (".", ""),
        ];
        for (authority, name) in cases {
            assert_eq!(HostName::parse(authority).as_str(), name, "{authority}");
        }
        assert_eq!(HostName::parse(&"a".repeat(254)).as_str(), "");
        assert_eq!(HostName::parse(&"A".repeat(253)).as_str(), "a".repeat(253));
    }

    #[test]
    fn suffixes_come_longest_first_with_their_labels() {
        let of = |name| suffixes(name).collect::<Vec<_>>();
        assert_eq!(of("a.b.test"), [(2, "b.test"), (1, "test")]);
        assert_eq!(of(".b.test"), [(1, "test")]);
        assert_eq!(of("test"), []);
        assert_eq!(of(""), []);
    }
}
