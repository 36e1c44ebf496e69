//! `content-digest` (RFC 9530): whether it is that of the body.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use super::component::{Component, Form};
use super::fault::Fault;

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// The most bytes of the field.
const FIELD_BYTES: usize = 4 << 10;

/// Digests that a body must have.
pub(super) struct Expected {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

/// Whether a component says what the body is: the field as a whole, or one of the digests that are known.
pub(super) fn tells_body(component: &Component) -> bool {
    let Component::Field { name, form } = component else { return false };
    let is_known = match form {
        Form::Plain | Form::Structured(_) | Form::Binary => true,
        Form::Member(key) => matches!(&**key, "sha-256" | "sha-512"),
    };
    *name == CONTENT_DIGEST && is_known
}

impl Expected {
    /// What the field says. Digests of other algorithms are passed over, as RFC 9530 §2 says; one that is
    /// known must be there.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Fault> {
        let mut dictionary = Dictionary::new();
        let mut left = FIELD_BYTES;
        for line in headers.get_all(&CONTENT_DIGEST) {
            left = left.checked_sub(line.len()).ok_or(Fault::Digest)?;
            dictionary = Parser::new(line.as_bytes())
                .parse_dictionary_with_visitor(dictionary)
                .map_err(|_malformed| Fault::Digest)?;
        }
        let mut take = |key: &str| match dictionary.swap_remove(key) {
            None => Ok(None),
            Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. })) => {
                Ok(Some(bytes))
            }
            Some(ListEntry::Item(_) | ListEntry::InnerList(_)) => Err(Fault::Digest),
        };
        let expected = Self { sha256: take("sha-256")?, sha512: take("sha-512")? };
        if expected.sha256.is_none() && expected.sha512.is_none() {
            return Err(Fault::Digest);
        }
        Ok(expected)
    }

    /// Whether a body has all of them.
    pub(super) fn is_of(&self, body: &[u8]) -> bool {
        let is_of = |algorithm, expected: &Option<Vec<u8>>| {
            expected.as_ref().is_none_or(|expected| digest(algorithm, body).as_ref() == *expected)
        };
        is_of(&SHA256, &self.sha256) && is_of(&SHA512, &self.sha512)
    }
}
