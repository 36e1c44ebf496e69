//! What responses and requests say about caching: `cache-control` (RFC 9111 §5.2), its targeted form
//! (RFC 9213), `pragma`.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// RFC 9111 §1.2.2: what is larger counts as this.
const LONGEST_SECS: u64 = 1 << 31;

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// What a response says. Durations are in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Control {
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) private: bool,
    pub(super) public: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) must_understand: bool,
    pub(super) max_age: Option<u64>,
    pub(super) s_maxage: Option<u64>,
    pub(super) stale_while_revalidate: Option<u64>,
    pub(super) stale_if_error: Option<u64>,
    /// Fields that are not for the cache: those that `no-cache` and `private` name.
    pub(super) kept_out: Vec<HeaderName>,
    /// Whether `cdn-cache-control` said it, so that `expires` does not count.
    pub(super) is_targeted: bool,
}

impl Control {
    /// What the fields of a response say.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if let Some(targeted) = Self::targeted(headers) {
            return targeted;
        }
        let mut control = Self::default();
        for_each_directive(headers, |directive| control.take(&directive));
        control
    }

    fn take(&mut self, directive: &Directive<'_>) {
        match &*directive.name.to_ascii_lowercase() {
            "no-store" => self.no_store = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "no-cache" if !self.keeps_out(directive) => self.no_cache = true,
            "private" if !self.keeps_out(directive) => self.private = true,
            // RFC 9111 §4.2.1: of several the smallest, and what is invalid counts as stale.
            "max-age" => least(&mut self.max_age, directive.seconds().unwrap_or(0)),
            "s-maxage" => least(&mut self.s_maxage, directive.seconds().unwrap_or(0)),
            "stale-while-revalidate" => {
                least(&mut self.stale_while_revalidate, directive.seconds().unwrap_or(0));
            }
            "stale-if-error" => least(&mut self.stale_if_error, directive.seconds().unwrap_or(0)),
            _ => {}
        }
    }

    /// Takes the fields of a qualified directive; false where it is not qualified, or names what
    /// is no field, and so is about the whole response.
    fn keeps_out(&mut self, directive: &Directive<'_>) -> bool {
        let Some(argument) = &directive.argument else { return false };
        let names = argument.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Result<Vec<HeaderName>, _> = names.map(str::parse).collect();
        match names {
            Ok(names) if !names.is_empty() => {
                self.kept_out.extend(names);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// RFC 9213 §2.1: a valid and non-empty field takes the place of `cache-control` and `expires`;
    /// an invalid one is as if it were not there.
    fn targeted(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(CDN_CACHE_CONTROL).iter().peekable();
        lines.peek()?;
        let lines: Vec<&[u8]> = lines.map(HeaderValue::as_bytes).collect();
        let dictionary: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        if dictionary.is_empty() {
            return None;
        }
        let mut control = Self { is_targeted: true, ..Self::default() };
        for (name, value) in &dictionary {
            control.take_targeted(name.as_str(), value);
        }
        Some(control)
    }

    fn take_targeted(&mut self, name: &str, value: &ListEntry) {
        let item = match value {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        // What has a value of another type than its own is about the whole response all the same:
        // nothing is stored by mistake.
        let is_set = item.and_then(BareItem::as_boolean) != Some(false);
        let seconds = item.and_then(BareItem::as_integer).map(|integer| {
            u64::try_from(i64::from(integer)).map_or(0, |seconds| seconds.min(LONGEST_SECS))
        });
        match name {
            "no-store" => self.no_store = is_set,
            "no-cache" => self.no_cache = is_set,
            "private" => self.private = is_set,
            "public" => self.public = is_set,
            "must-revalidate" => self.must_revalidate = is_set,
            "proxy-revalidate" => self.proxy_revalidate = is_set,
            "must-understand" => self.must_understand = is_set,
            "max-age" => self.max_age = seconds,
            "s-maxage" => self.s_maxage = seconds,
            "stale-while-revalidate" => self.stale_while_revalidate = seconds,
            "stale-if-error" => self.stale_if_error = seconds,
            _ => {}
        }
    }
}

/// What a request asks of the caches on its way. Durations are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) no_cache: bool,
    pub(super) no_store: bool,
    pub(super) only_if_cached: bool,
    pub(super) max_age: Option<u64>,
    pub(super) min_fresh: Option<u64>,
    /// However stale: the largest number.
    pub(super) max_stale: Option<u64>,
}

impl Asked {
    /// What the fields of a request ask.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut asked = Self::default();
        if !headers.contains_key(header::CACHE_CONTROL) {
            // RFC 9111 §5.4.
            let mut lines = headers.get_all(header::PRAGMA).iter();
            asked.no_cache = lines.any(|line| {
                let mut members = line.as_bytes().split(|byte| *byte == b',');
                members.any(|member| member.trim_ascii().eq_ignore_ascii_case(b"no-cache"))
            });
            return asked;
        }
        for_each_directive(headers, |directive| match &*directive.name.to_ascii_lowercase() {
            "no-cache" => asked.no_cache = true,
            "no-store" => asked.no_store = true,
            "only-if-cached" => asked.only_if_cached = true,
            "max-age" => least(&mut asked.max_age, directive.seconds().unwrap_or(0)),
            "min-fresh" => {
                let seconds = directive.seconds().unwrap_or(LONGEST_SECS);
                asked.min_fresh = Some(asked.min_fresh.unwrap_or(0).max(seconds));
            }
            "max-stale" => {
                let any = if directive.argument.is_none() { u64::MAX } else { 0 };
                least(&mut asked.max_stale, directive.seconds().unwrap_or(any));
            }
            _ => {}
        });
        asked
    }
}

fn least(known: &mut Option<u64>, seconds: u64) {
    *known = Some(known.map_or(seconds, |known| known.min(seconds)));
}

/// A directive as it stands in the field.
struct Directive<'a> {
    name: &'a str,
    /// Without its quotes.
    argument: Option<String>,
}

impl Directive<'_> {
    /// The argument as a number; none where it is anything else.
    fn seconds(&self) -> Option<u64> {
        let argument = self.argument.as_deref()?;
        if argument.is_empty() || !argument.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(argument.parse().map_or(LONGEST_SECS, |seconds: u64| seconds.min(LONGEST_SECS)))
    }
}

/// Reads every line of `cache-control`. What is not UTF-8 is read as far as it can be.
fn for_each_directive(headers: &HeaderMap, mut each: impl FnMut(Directive<'_>)) {
    for line in headers.get_all(header::CACHE_CONTROL) {
        let line = String::from_utf8_lossy(line.as_bytes());
        let mut rest = &*line;
        while !rest.is_empty() {
            let (member, after) = split_member(rest);
            rest = after;
            let member = member.trim();
            let directive = match member.split_once('=') {
                None => Directive { name: member, argument: None },
                Some((name, argument)) => {
                    // A space beside `=` is no syntax: what then stands there is no number.
                    let is_apart = name.ends_with([' ', '\t']) || argument.starts_with([' ', '\t']);
                    let argument = if is_apart { " ".to_owned() } else { unquoted(argument) };
                    Directive { name: name.trim_end(), argument: Some(argument) }
                }
            };
            each(directive);
        }
    }
}

/// Splits at the first comma outside of a quoted string.
fn split_member(text: &str) -> (&str, &str) {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => {
                let (member, rest) = text.split_at_checked(at).unwrap_or((text, ""));
                return (member, rest.get(1..).unwrap_or_default());
            }
            _ => {}
        }
    }
    (text, "")
}

/// The text of a quoted string; another text as it is.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"') else { return text.to_owned() };
    let Some(inner) = inner.strip_suffix('"') else { return text.to_owned() };
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    plain
}
