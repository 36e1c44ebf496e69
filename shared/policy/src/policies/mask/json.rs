//! JSON that is rewritten where it stands: what no rule finds keeps its text, to the last digit of a number and the
//! last space. Members with the same name are all met, which a parsed value would not have.

use std::borrow::Cow;
use std::ops::Range;

use super::find::TooMuch;
use super::path::{Child, Progress};
use super::replace::Replacement;
use super::rules::Masker;
use crate::escape::Escape;

/// How deep values may lie in one another; as deep as serde reads them.
const DEEPEST: usize = 128;
/// What takes the place of `true` and `false`, whose length would tell which it was.
const HIDDEN_TRUTH: &str = "****";

/// Why JSON is not rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonFault {
    /// It is none, or too deep (RFC 8259).
    Malformed,
    /// There is too much to replace.
    TooMuch,
}

impl From<TooMuch> for JsonFault {
    fn from(_: TooMuch) -> Self {
        Self::TooMuch
    }
}

/// How many values a text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// One, or none at all.
    One,
    /// Any number, with white space or a record separator between two (RFC 7464, NDJSON).
    Many,
}

/// A text under way.
pub(super) struct Rewriter<'a, 'm, 'r> {
    text: &'a str,
    masker: &'m mut Masker<'r>,
    count: Count,
    /// How far it is read.
    at: usize,
    /// How far it is written, where something has changed.
    written: usize,
    out: String,
    is_changed: bool,
    state: State,
    /// Objects and arrays around the place that is read.
    around: Vec<Container>,
    /// How far each query has been followed to each of them, and to the value that is read.
    progress: Vec<Progress>,
    /// How many queries there are.
    queries: usize,
    /// The number of containers around a value that is being removed.
    removing: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A value begins.
    Value,
    /// Behind the beginning of a container.
    First,
    /// Behind a value.
    After,
    Done,
}

struct Container {
    is_object: bool,
    /// How many items it has had.
    items: usize,
    /// Whether one of its members or items stays.
    keeps_any: bool,
    /// The rule that has found it whole.
    of_place: Option<usize>,
}

/// A member or an item that begins.
struct Gap {
    /// Where what stands between it and the one before begins.
    start: usize,
    /// The comma, where it is not the first.
    comma: Option<usize>,
}

impl<'a, 'm, 'r> Rewriter<'a, 'm, 'r> {
    pub(super) fn new(text: &'a str, count: Count, masker: &'m mut Masker<'r>) -> Self {
        let progress: Vec<_> = masker.rules().paths().map(|_| Progress::START).collect();
        let queries = progress.len();
        // RFC 8259 §8.1: a mark of the byte order may be ignored.
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Self {
            text,
            masker,
            count,
            at,
            written: 0,
            out: String::new(),
            is_changed: false,
            state: State::Value,
            around: Vec::new(),
            progress,
            queries,
            removing: None,
        }
    }

    /// Goes on for about so many bytes; whether it is done.
    ///
    /// # Errors
    ///
    /// Where it is no JSON, or there is too much to replace.
    pub(super) fn run(&mut self, bytes: usize) -> Result<bool, JsonFault> {
        let until = self.at.saturating_add(bytes);
        while self.at <= until && self.state != State::Done {
            self.step()?;
        }
        Ok(self.state == State::Done)
    }

    /// The text as it is now; none where it is what it was.
    pub(super) fn finish(mut self) -> Option<String> {
        if !self.is_changed {
            return None;
        }
        self.copy_until(self.text.len());
        Some(self.out)
    }

    fn step(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        self.skip_space();
        match self.state {
            State::Value if self.around.is_empty() && self.peek().is_none() => {
                self.state = State::Done;
                Ok(())
            }
            State::Value => self.value(self.rule_of_place(None)),
            State::First if self.closes() => self.close(),
            State::First => self.element(Gap { start, comma: None }),
            State::After if self.around.is_empty() => {
                self.state = State::Value;
                match (self.count, self.peek()) {
                    (_, None) => self.state = State::Done,
                    (Count::Many, Some(_)) => {}
                    (Count::One, Some(_)) => return Err(JsonFault::Malformed),
                }
                Ok(())
            }
            State::After if self.closes() => self.close(),
            State::After => {
                let comma = self.at;
                self.expect(b',')?;
                self.skip_space();
                self.element(Gap { start, comma: Some(comma) })
            }
            State::Done => Ok(()),
        }
    }

    /// A member with its name, or an item.
    fn element(&mut self, gap: Gap) -> Result<(), JsonFault> {
        let Some(container) = self.around.last_mut() else { return Err(JsonFault::Malformed) };
        let item = container.items;
        container.items += 1;
        if container.is_object {
            let (name, _) = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            self.follow(Child::Member(&name));
        } else {
            self.follow(Child::Item(item));
        }
        let of_container = self.around.last().and_then(|container| container.of_place);
        if self.removing.is_none() {
            if self.is_removed() {
                // What stood before it and the value itself are not written.
                self.copy_until(gap.start);
                self.removing = Some(self.around.len());
            } else {
                self.keep(&gap);
            }
        }
        self.value(self.rule_of_place(of_container))
    }

    /// Leaves out the comma of the first one that stays, where those before it went.
    fn keep(&mut self, gap: &Gap) {
        let Some(container) = self.around.last_mut() else { return };
        let is_first = !std::mem::replace(&mut container.keeps_any, true);
        if let Some(comma) = gap.comma
            && is_first
        {
            self.copy_until(comma);
            self.skip_to(comma + 1);
        }
    }

    fn value(&mut self, of_place: Option<usize>) -> Result<(), JsonFault> {
        let start = self.at;
        match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                if self.around.len() == DEEPEST {
                    return Err(JsonFault::Malformed);
                }
                self.at += 1;
                let is_object = open == b'{';
                self.around.push(Container { is_object, items: 0, keeps_any: false, of_place });
                // The queries' progress for its children, in the place of this one's.
                self.open();
                self.state = State::First;
                return Ok(());
            }
            Some(b'"') => {
                let (text, span) = self.string()?;
                if self.removing.is_none()
                    && let Some(masked) = self.masker.mask(&text, of_place)?
                {
                    self.write_string(span, &masked)?;
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                let text = self.text.get(start..self.at).unwrap_or_default();
                if self.removing.is_none()
                    && let Some(masked) = self.masker.mask(text, of_place)?
                {
                    self.write_string(start..self.at, &masked)?;
                }
            }
            Some(b't') => self.truth("true", of_place)?,
            Some(b'f') => self.truth("false", of_place)?,
            Some(b'n') => self.literal("null")?,
            _ => return Err(JsonFault::Malformed),
        }
        self.end_value();
        Ok(())
    }

    /// Nothing but a place finds these.
    fn truth(&mut self, word: &str, of_place: Option<usize>) -> Result<(), JsonFault> {
        let start = self.at;
        self.literal(word)?;
        let Some(rule) = of_place.filter(|_| self.removing.is_none()) else { return Ok(()) };
        let rule_of = self.masker.rules().iter().nth(rule);
        let text = match rule_of.map(|rule| &rule.replacement) {
            Some(Replacement::Text(_) | Replacement::Hash(_)) => {
                self.masker.look(word, rule, of_place)?;
                self.masker.take(word, Escape::Nothing)?.unwrap_or_default()
            }
            Some(Replacement::Partial(_) | Replacement::Shuffle(_) | Replacement::Remove)
            | None => HIDDEN_TRUTH.to_owned(),
        };
        self.write_string(start..self.at, &text)
    }

    fn literal(&mut self, word: &str) -> Result<(), JsonFault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(JsonFault::Malformed);
        }
        self.at += word.len();
        Ok(())
    }

    fn closes(&self) -> bool {
        let Some(container) = self.around.last() else { return false };
        self.peek() == Some(if container.is_object { b'}' } else { b']' })
    }

    fn close(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        self.around.pop();
        let kept = self.progress.len().saturating_sub(self.queries);
        self.progress.truncate(kept);
        self.end_value();
        Ok(())
    }

    /// Behind a value; it is not written where it is removed.
    fn end_value(&mut self) {
        if self.removing == Some(self.around.len()) {
            self.removing = None;
            self.skip_to(self.at);
        }
        self.state = State::After;
    }

    /// Opens a level for the children of the value that is read.
    fn open(&mut self) {
        let from = self.progress.len().saturating_sub(self.queries);
        self.progress.extend_from_within(from..);
    }

    /// Follows the queries from the container to a child.
    fn follow(&mut self, child: Child<'_>) {
        let own = self.progress.len().saturating_sub(self.queries);
        let (above, own) = self.progress.split_at_mut(own);
        let above = above.get(above.len().saturating_sub(self.queries)..).unwrap_or_default();
        let paths = self.masker.rules().paths();
        for ((slot, from), (_, path)) in own.iter_mut().zip(above).zip(paths) {
            *slot = path.follow(*from, child);
        }
    }

    /// The rules whose queries find the value that is read.
    fn finding(&self) -> impl Iterator<Item = usize> {
        let from = self.progress.len().saturating_sub(self.queries);
        let own = self.progress.get(from..).unwrap_or_default();
        own.iter()
            .zip(self.masker.rules().paths())
            .filter_map(|(progress, (rule, path))| path.finds(*progress).then_some(rule))
    }

    fn is_removed(&self) -> bool {
        self.finding().any(|rule| self.masker.rules().removes(rule))
    }

    /// The first rule that finds this value or one around it by its place.
    fn rule_of_place(&self, of_container: Option<usize>) -> Option<usize> {
        self.finding().chain(of_container).min()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.peek() != Some(byte) {
            return Err(JsonFault::Malformed);
        }
        self.at += 1;
        Ok(())
    }

    fn skip_space(&mut self) {
        let separates = self.count == Count::Many && self.around.is_empty();
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r'))
            || separates && self.peek() == Some(0x1e)
        {
            self.at += 1;
        }
    }

    /// A string: what it says, and where it stands.
    fn string(&mut self) -> Result<(Cow<'a, str>, Range<usize>), JsonFault> {
        let start = self.at;
        self.expect(b'"')?;
        let mut has_escapes = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += 1;
                    self.escape()?;
                }
                Some(0..0x20) | None => return Err(JsonFault::Malformed),
                Some(_) => self.at += 1,
            }
        }
        let inside = self.text.get(start + 1..self.at).unwrap_or_default();
        self.at += 1;
        let text = if has_escapes { Cow::Owned(unescaped(inside)) } else { Cow::Borrowed(inside) };
        Ok((text, start..self.at))
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<(), JsonFault> {
        let length = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
            Some(b'u') => 5,
            _ => return Err(JsonFault::Malformed),
        };
        let escape = self.text.as_bytes().get(self.at..self.at + length);
        let hex = escape.and_then(|escape| escape.get(1..)).ok_or(JsonFault::Malformed)?;
        if !hex.iter().all(u8::is_ascii_hexdigit) {
            return Err(JsonFault::Malformed);
        }
        self.at += length;
        Ok(())
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<(), JsonFault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(JsonFault::Malformed) } else { Ok(()) }
    }

    fn write_string(&mut self, span: Range<usize>, text: &str) -> Result<(), JsonFault> {
        self.copy_until(span.start);
        self.out.push('"');
        Escape::Json.push(&mut self.out, text);
        self.out.push('"');
        self.skip_to(span.end);
        if self.out.len() > self.masker.most_bytes() {
            return Err(JsonFault::TooMuch);
        }
        Ok(())
    }

    fn copy_until(&mut self, end: usize) {
        if end > self.written {
            if !self.is_changed {
                self.out.reserve(self.text.len());
            }
            self.out.push_str(self.text.get(self.written..end).unwrap_or_default());
            self.written = end;
        }
    }

    fn skip_to(&mut self, end: usize) {
        self.written = self.written.max(end);
        self.is_changed = true;
    }
}

/// What a string says whose escapes are known to be right. Half a surrogate pair stands for no character.
fn unescaped(inside: &str) -> String {
    let (mut text, mut rest) = (String::with_capacity(inside.len()), inside);
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let Some((escape, behind)) = after.split_at_checked(1) else { break };
        rest = behind;
        match escape {
            "b" => text.push('\u{8}'),
            "f" => text.push('\u{c}'),
            "n" => text.push('\n'),
            "r" => text.push('\r'),
            "t" => text.push('\t'),
            "u" => {
                let (unit, behind) = unit(rest);
                rest = behind;
                let low = rest.strip_prefix("\\u").map(self::unit);
                let pair = low.filter(|(low, _)| is_high(unit) && (0xdc00..0xe000).contains(low));
                let code = match pair {
                    Some((low, behind)) => {
                        rest = behind;
                        0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                    }
                    None => unit,
                };
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => text.push_str(other),
        }
    }
    text.push_str(rest);
    text
}

/// Four hexadecimal digits, and what stands behind them.
fn unit(text: &str) -> (u32, &str) {
    let (digits, rest) = text.split_at_checked(4).unwrap_or((text, ""));
    (u32::from_str_radix(digits, 16).unwrap_or(0xd800), rest)
}

fn is_high(unit: u32) -> bool {
    (0xd800..0xdc00).contains(&unit)
}
