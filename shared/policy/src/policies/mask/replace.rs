//! What takes the place of what was found.

use std::borrow::Cow;
use std::fmt::Write as _;

use aws_lc_rs::hmac;
use tollgate_model::Name;

use super::config::Kind;
use crate::escape::Escape;
use crate::policy::{Holder, RouteFacts};
use crate::ports::Ports;

/// What hides a character.
const HIDDEN: char = '*';
/// How many digits of a card stay hidden at least: fewer could be tried, for the last one follows from the
/// others.
const CARD_HIDDEN: usize = 6;
/// How many bytes of a hash are shown. With 12, a thousand million different values share one with a
/// probability of less than 1 in 10^10.
const HASH_BYTES: usize = 12;
/// The shortest key, in bytes.
pub(super) const MIN_KEY: usize = 16;

/// How a find is replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Replacement {
    /// All characters are hidden but some.
    Partial(Partial),
    /// This stands there.
    Text(Box<str>),
    /// A keyed hash; the Secret with the key.
    Hash(Name),
    /// The same characters in another order; the Secret with the key.
    Shuffle(Name),
    /// Nothing: the member or item goes.
    Remove,
}

/// How many characters stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) first: usize,
    pub(super) last: usize,
}

/// There is no key, or it is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoKey;

impl Replacement {
    pub(super) fn secret(&self) -> Option<&Name> {
        match self {
            Self::Hash(secret) | Self::Shuffle(secret) => Some(secret),
            Self::Partial(_) | Self::Text(_) | Self::Remove => None,
        }
    }

    /// The key that it needs for this request, and whose Secret it is.
    pub(super) fn key(
        &self,
        of: Holder,
        route: &RouteFacts,
        ports: &dyn Ports,
    ) -> Result<Option<hmac::Key>, NoKey> {
        let Some(name) = self.secret() else { return Ok(None) };
        let secret = ports.secret(of.tenant(route), name).ok_or(NoKey)?;
        let bytes = secret.expose().as_bytes();
        if bytes.len() < MIN_KEY {
            return Err(NoKey);
        }
        Ok(Some(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }
}

/// What is to be replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) text: &'a str,
    pub(super) kind: Option<Kind>,
    /// Whether it is all that was found, and not what another rule has left of it.
    pub(super) is_whole: bool,
}

impl Found<'_> {
    /// Appends what takes its place. A text of the operator's is escaped for what is around it.
    pub(super) fn replace(
        &self,
        replacement: &Replacement,
        key: Option<&hmac::Key>,
        escape: Escape,
        out: &mut String,
    ) {
        match (replacement, key) {
            (Replacement::Partial(partial), _) if self.is_whole => self.hide(*partial, out),
            (Replacement::Text(text), _) => escape.push(out, text),
            (Replacement::Hash(_), Some(key)) => self.hash(key, out),
            (Replacement::Shuffle(_), Some(key)) if self.is_whole => self.shuffle(key, out),
            // A key is there, or the answer was refused; a removed value is not written at all.
            (
                Replacement::Partial(_)
                | Replacement::Hash(_)
                | Replacement::Shuffle(_)
                | Replacement::Remove,
                _,
            ) => out.extend(self.text.chars().map(|_| HIDDEN)),
        }
    }

    fn hide(&self, partial: Partial, out: &mut String) {
        let (counted, rest) = match self.kind {
            Some(Kind::Email) => self.text.split_at(self.end_of_local_part()),
            _ => (self.text, ""),
        };
        let is_counted = |character: char| self.kind.is_none() || character.is_alphanumeric();
        let count = counted.chars().filter(|character| is_counted(*character)).count();
        let Partial { mut first, mut last } = partial;
        if self.kind == Some(Kind::Card) && first + last + CARD_HIDDEN > count {
            first = 0;
        }
        if first + last >= count {
            (first, last) = (0, 0);
        }
        let mut place = 0;
        for character in counted.chars() {
            if !is_counted(character) {
                out.push(character);
                continue;
            }
            let is_kept = place < first || place >= count - last;
            out.push(if is_kept { character } else { HIDDEN });
            place += 1;
        }
        out.push_str(rest);
    }

    fn end_of_local_part(&self) -> usize {
        let sign = self.text.rfind('@').or_else(|| self.text.rfind("%40"));
        sign.unwrap_or(self.text.len())
    }

    /// The same for one number or address, however it is written.
    fn canonical(&self) -> Cow<'_, str> {
        match self.kind {
            Some(Kind::Card | Kind::Iban | Kind::Phone) => {
                let kept = self.text.chars().filter(char::is_ascii_alphanumeric);
                Cow::Owned(kept.map(|character| character.to_ascii_uppercase()).collect())
            }
            Some(Kind::Email) => Cow::Owned(self.text.replace("%40", "@").to_lowercase()),
            Some(Kind::Ip) => Cow::Owned(self.text.to_ascii_lowercase()),
            None => Cow::Borrowed(self.text),
        }
    }

    fn hash(&self, key: &hmac::Key, out: &mut String) {
        let tag = hmac::sign(key, self.canonical().as_bytes());
        for byte in tag.as_ref().iter().take(HASH_BYTES) {
            // Writing into a text cannot fail.
            let _written = write!(out, "{byte:02x}");
        }
    }

    /// Digits change places with digits, capitals with capitals, other letters with other letters; what is none
    /// of them stays. Which with which follows from the key and the value.
    fn shuffle(&self, key: &hmac::Key, out: &mut String) {
        let mut characters: Vec<char> = self.text.chars().collect();
        let tag = hmac::sign(key, &[b"shuffle\0", self.text.as_bytes()].concat());
        let mut seed = [0; 32];
        for (to, from) in seed.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        let mut random = blake3::Hasher::new_keyed(&seed).finalize_xof();
        let classes: [fn(char) -> bool; 3] =
            [char::is_numeric, char::is_uppercase, |c| c.is_alphabetic() && !c.is_uppercase()];
        for is_of_class in classes {
            let places: Vec<usize> = characters
                .iter()
                .enumerate()
                .filter_map(|(place, character)| is_of_class(*character).then_some(place))
                .collect();
            // Fisher and Yates.
            for last in (1..places.len()).rev() {
                let mut bytes = [0; 8];
                random.fill(&mut bytes);
                let range = u64::try_from(last + 1).unwrap_or(u64::MAX);
                let pick = usize::try_from(u64::from_le_bytes(bytes) % range).unwrap_or(0);
                if let (Some(one), Some(other)) = (places.get(last), places.get(pick)) {
                    characters.swap(*one, *other);
                }
            }
        }
        if characters.iter().copied().eq(self.text.chars()) {
            // `111` is the same in any order.
            characters.fill(HIDDEN);
        }
        out.extend(characters);
    }
}
