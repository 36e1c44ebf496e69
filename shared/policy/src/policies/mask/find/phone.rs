//! Telephone numbers: international ones (E.164, E.123), those of North America, and those that begin with a
//! trunk zero.

use smallvec::SmallVec;

use super::{Finds, TooMuch, at, before, end_of_digits, is_joined, separator};

/// What may stand between two groups of digits, beside spaces and parentheses.
const SEPARATORS: &str = "-./";
/// E.164 §6.
const MOST_DIGITS: usize = 15;

/// Some digits that stand together.
#[derive(Clone, Copy, Debug)]
struct Group {
    start: usize,
    end: usize,
    /// In parentheses.
    is_enclosed: bool,
}

impl Group {
    fn digits<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    fn length(&self) -> usize {
        self.end - self.start
    }
}

type Groups = SmallVec<[Group; 8]>;

/// Finds numbers of these forms.
pub(super) fn find(text: &str, finds: &mut Finds) -> Result<(), TooMuch> {
    let mut from = 0;
    while let Some((start, first)) = next_start(text, from) {
        let is_international = text.get(start..first).is_some_and(|before| before.contains('+'));
        let groups = groups(text, start, first);
        from = groups.first().map_or(first, |group| group.end);
        let end = if is_joined(before(text, start)) {
            None
        } else if is_international {
            end_of_international(text, &groups, "")
        } else if may_begin(text, start) {
            end_of_international(text, &groups, "00")
                .or_else(|| end_of_north_american(text, &groups))
                .or_else(|| end_of_national(text, &groups))
        } else {
            None
        };
        if let Some(end) = end {
            finds.add(start..end)?;
            from = end;
        }
    }
    Ok(())
}

/// Where a number may begin, and its first digit: there, or behind a plus sign or a parenthesis.
fn next_start(text: &str, from: usize) -> Option<(usize, usize)> {
    let first = super::next_digit(text, from)?;
    let mut start = first;
    for _ in 0..2 {
        match text.get(from..start).and_then(|before| before.chars().next_back()) {
            Some('+' | '(') => start -= 1,
            _ => break,
        }
    }
    Some((start, first))
}

/// Whether what begins here is no part of a longer number, of a date, a time or a fraction.
fn may_begin(text: &str, start: usize) -> bool {
    let mut back = text.get(..start).unwrap_or_default().chars().rev();
    let goes_on = back.next().is_some_and(|before| before == ':' || SEPARATORS.contains(before));
    !(goes_on && back.next().is_some_and(|before| before.is_ascii_digit()))
}

/// The groups of digits from here, as many as a number may have.
fn groups(text: &str, start: usize, first: usize) -> Groups {
    let mut groups = Groups::new();
    let mut is_enclosed = text.get(start..first).is_some_and(|before| before.contains('('));
    let (mut digits, mut from) = (0, first);
    loop {
        let end = end_of_digits(text, from);
        digits += end - from;
        groups.push(Group { start: from, end, is_enclosed });
        // One more for a zero in parentheses, which is not dialled from abroad, and two for `00`.
        if digits > MOST_DIGITS + 3 {
            return groups;
        }
        let mut next = end;
        if at(text, next) == Some(')') {
            next += 1;
        }
        next += separator(text, next, SEPARATORS);
        is_enclosed = at(text, next) == Some('(');
        if is_enclosed {
            next += 1;
        }
        if next == end || !at(text, next).is_some_and(|character| character.is_ascii_digit()) {
            return groups;
        }
        from = next;
    }
}

/// The end of a number of 7 to 15 digits with a country's code behind `prefix`; the longest one that ends with a
/// group. Behind `00` it has 9 digits at least, for a number with zeros before it is none.
fn end_of_international(text: &str, groups: &[Group], prefix: &str) -> Option<usize> {
    let code = groups.first()?.digits(text).strip_prefix(prefix)?;
    if !code.starts_with(|first: char| ('1'..='9').contains(&first)) {
        return None;
    }
    let least = if prefix.is_empty() { 7 } else { 9 };
    let (mut digits, mut found) = (0, None);
    for (place, group) in groups.iter().enumerate() {
        let is_trunk = place > 0 && group.is_enclosed && group.digits(text) == "0";
        digits += match place {
            0 => code.len(),
            _ if is_trunk => 0,
            _ => group.length(),
        };
        if digits > MOST_DIGITS {
            break;
        }
        if digits >= least && (prefix.is_empty() || !is_joined(at(text, group.end))) {
            found = Some(group.end);
        }
    }
    found
}

/// `(415) 555-2671`, `415-555-2671`, `1 415 555 2671`: three groups, area and exchange without 0 and 1 before.
fn end_of_north_american(text: &str, groups: &[Group]) -> Option<usize> {
    let groups = match groups {
        [country, rest @ ..] if country.digits(text) == "1" => rest,
        all => all,
    };
    let [area, exchange, line, rest @ ..] = groups else { return None };
    let lengths = [area.length(), exchange.length(), line.length()];
    let may_begin =
        |group: &Group| group.digits(text).starts_with(|first: char| ('2'..='9').contains(&first));
    // Digits behind a fourth separator make it a number of another kind, but for a space.
    let goes_on = rest.first().is_some_and(|next| {
        text.get(line.end..next.start).is_some_and(|between| between.contains(['-', '.', '/']))
    });
    let is_one = lengths == [3, 3, 4]
        && may_begin(area)
        && may_begin(exchange)
        && !goes_on
        && !is_joined(at(text, line.end));
    is_one.then_some(line.end)
}

/// `030 123456`, `(0171) 1234567`, `06 12 34 56 78`: a zero and another digit, 9 to 12 digits in groups, or 10 or 11
/// together; the longest one that ends with a group.
fn end_of_national(text: &str, groups: &[Group]) -> Option<usize> {
    let mut trunk = groups.first()?.digits(text).chars();
    let begins = trunk.next() == Some('0') && trunk.next().is_some_and(|second| second != '0');
    if !begins || is_date(text, groups) {
        return None;
    }
    let (mut digits, mut found) = (0, None);
    for (place, group) in groups.iter().enumerate() {
        digits += group.length();
        let is_long_enough = match place {
            0 => matches!(digits, 10 | 11),
            _ => matches!(digits, 9..=12),
        };
        // Hours and minutes follow, not a number.
        let is_time = at(text, group.end) == Some(':')
            && at(text, group.end + 1).is_some_and(|character| character.is_ascii_digit());
        if is_long_enough && !is_time && !is_joined(at(text, group.end)) {
            found = Some(group.end);
        }
    }
    found
}

/// `01.02.2024`, `01/02/2024 12`.
fn is_date(text: &str, groups: &[Group]) -> bool {
    let [day, month, year, ..] = groups else { return false };
    let lengths = [day.length(), month.length(), year.length()];
    let between = |one: &Group, other: &Group| text.get(one.end..other.start);
    let first = between(day, month);
    lengths == [2, 2, 4]
        && first == between(month, year)
        && first.is_some_and(|between| matches!(between, "." | "-" | "/"))
}
