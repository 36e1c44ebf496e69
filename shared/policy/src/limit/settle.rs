//! What a call did cost, told by its answer: what it has taken more is given back, what it has taken less is
//! charged.

use deserr::Deserr;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use schemars::JsonSchema;
use smallvec::SmallVec;
use tollgate_model::route::FieldName;
use tollgate_model::{Issue, Issues};

use crate::body::Body;
use crate::ports::Booked;

/// The most that an answer may say.
const MOST: u64 = 1_000_000_000;
/// What makes an answer what it is; nobody may take it off.
const OF_MESSAGES: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::DATE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Who tells what a call did cost.
#[derive(Clone, Debug, Deserr, JsonSchema)]
#[deserr(error = Issues, deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
pub struct Settle {
    /// A field of the upstream's answer that is a whole number from 0 to 1,000,000,000. Callers do not see it.
    pub header: FieldName,
}

/// A [`Settle`] that can be used.
#[derive(Clone, Debug)]
pub(super) struct Teller(HeaderName);

/// What a call has taken until its answer tells what it did cost.
#[derive(Debug)]
pub struct Reservation {
    pub(super) subject: Box<str>,
    pub(super) cost: u64,
    pub(super) booked: Booked,
}

/// Fields that a limit has taken off an answer, for those of outer levels.
#[derive(Clone, Debug, Default)]
struct TakenOff(SmallVec<[(HeaderName, Option<u64>); 1]>);

impl Teller {
    /// # Errors
    ///
    /// Where the field is needed for something else.
    pub(super) fn compile(settle: &Settle) -> Result<Self, Issues> {
        let name = settle.header.as_http();
        if OF_MESSAGES.contains(name) {
            let problem = format!("`{name}` is part of every message; take a field of your own");
            return Err(Issues::one(Issue::new("/settle/header", "reserved_header", problem)));
        }
        Ok(Self(name.clone()))
    }

    /// What an answer says that its call did cost; none where it says nothing of use. The field goes.
    pub(super) fn told(&self, response: &mut Response<Body>) -> Option<u64> {
        let Self(name) = self;
        if let Some(TakenOff(known)) = response.extensions().get()
            && let Some((_, cost)) = known.iter().find(|(known, _)| known == name)
        {
            return *cost;
        }
        if !response.headers().contains_key(name) {
            return None;
        }
        let cost = take_off(response.headers_mut(), name);
        let TakenOff(known) = response.extensions_mut().get_or_insert_default();
        known.push((name.clone(), cost));
        cost
    }
}

fn take_off(headers: &mut HeaderMap, name: &HeaderName) -> Option<u64> {
    let header::Entry::Occupied(field) = headers.entry(name) else { return None };
    let (_, mut values) = field.remove_entry_mult();
    let value = values.next()?;
    // Two numbers are none.
    values.next().is_none().then(|| number(&value))?
}

fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= MOST)
}
