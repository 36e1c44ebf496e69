//! Forms: the values of `application/x-www-form-urlencoded`, decoded, masked, and encoded again where they changed.

use super::find::TooMuch;
use super::rules::Masker;
use crate::escape::{decode_query, push_component};

/// Why a form is not masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FormFault {
    /// A value is no UTF-8.
    NotUtf8,
    /// There is too much to replace.
    TooMuch,
}

impl From<TooMuch> for FormFault {
    fn from(_: TooMuch) -> Self {
        Self::TooMuch
    }
}

/// A form with what was found in its values replaced; none where nothing was.
///
/// # Errors
///
/// Where it cannot be read, or there is too much to replace.
pub(super) fn mask(form: &str, masker: &mut Masker<'_>) -> Result<Option<String>, FormFault> {
    let (mut out, mut is_changed) = (String::with_capacity(form.len()), false);
    for (place, pair) in form.split('&').enumerate() {
        if place > 0 {
            out.push('&');
        }
        // What has no `=` is a name to some and a value to others.
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (Some(name), value),
            None => (None, pair),
        };
        if let Some(name) = name {
            out.push_str(name);
            out.push('=');
        }
        let decoded = decode_query(value);
        let text = std::str::from_utf8(&decoded).map_err(|_other| FormFault::NotUtf8)?;
        match masker.mask(text, None)? {
            Some(masked) => {
                push_component(&mut out, masked.as_bytes());
                is_changed = true;
            }
            None => out.push_str(value),
        }
        if out.len() > masker.most_bytes() {
            return Err(FormFault::TooMuch);
        }
    }
    Ok(is_changed.then_some(out))
}
