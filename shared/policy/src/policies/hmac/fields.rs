//! `signature-input` and `signature` (RFC 9421 §4), read within bounds. What is read here is not yet believed.

use http::{HeaderMap, HeaderName};
use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, Never, ParameterVisitor,
};
use sfv::{BareItem, BareItemFromInput, Key, KeyRef, Parameters, Parser};

use super::fault::Fault;

pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// The most bytes of each of the two fields.
const FIELD_BYTES: usize = 16 << 10;
/// The most signatures of a request.
pub(super) const MAX_LABELS: usize = 8;
/// The most components that one covers.
pub(super) const MAX_COMPONENTS: usize = 64;
/// The most parameters of a signature or a component.
const MAX_PARAMETERS: usize = 16;

/// What one signature says that it covers.
#[derive(Debug)]
pub(super) struct Input {
    /// Its name in both fields.
    pub(super) label: Key,
    /// The covered components, in order.
    pub(super) components: Vec<Identifier>,
    /// `created`, `keyid` and such, in order.
    pub(super) parameters: Parameters,
}

/// What names a component.
#[derive(Debug)]
pub(super) struct Identifier {
    pub(super) name: sfv::String,
    pub(super) parameters: Parameters,
}

/// The signatures by their labels.
pub(super) struct Signatures(Vec<(Key, Vec<u8>)>);

impl Signatures {
    pub(super) fn get(&self, label: &Key) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == label).map(|(_, bytes)| bytes.as_slice())
    }
}

/// Why a field cannot be read; said to nobody.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("read a signature field")]
struct Unfit;

/// Whether one of the fields is there.
pub(super) fn are_there(headers: &HeaderMap) -> bool {
    headers.contains_key(&SIGNATURE_INPUT) || headers.contains_key(&SIGNATURE)
}

/// What `signature-input` says.
pub(super) fn inputs(headers: &HeaderMap) -> Result<Vec<Input>, Fault> {
    let text = whole(headers, &SIGNATURE_INPUT).ok_or(Fault::Malformed)?;
    Parser::new(&text)
        .parse_dictionary_with_visitor(Inputs(Vec::new()))
        .map_err(|_unfit| Fault::Malformed)
}

/// What `signature` says.
pub(super) fn signatures(headers: &HeaderMap) -> Result<Signatures, Fault> {
    let text = whole(headers, &SIGNATURE).ok_or(Fault::Malformed)?;
    Parser::new(&text)
        .parse_dictionary_with_visitor(Bytes(Vec::new()))
        .map(Signatures)
        .map_err(|_unfit| Fault::Malformed)
}

/// A field's lines as one (RFC 9651 §4.2); none where it is too long, or not there.
fn whole(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    for line in headers.get_all(name) {
        if !whole.is_empty() {
            whole.extend_from_slice(b", ");
        }
        whole.extend_from_slice(line.as_bytes());
        if whole.len() > FIELD_BYTES {
            return None;
        }
    }
    (!whole.is_empty()).then_some(whole)
}

struct Inputs(Vec<Input>);

impl<'de> DictionaryVisitor<'de> for Inputs {
    type Out = Vec<Input>;
    type Error = Unfit;

    fn entry(&mut self, label: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Unfit> {
        // RFC 9421 §4.1: a label is there once. Of two, readers could take different ones.
        if self.0.len() >= MAX_LABELS || self.0.iter().any(|input| input.label == *label) {
            return Err(Unfit);
        }
        Ok(Members(self.0.push_mut(Input {
            label: label.to_owned(),
            components: Vec::new(),
            parameters: Parameters::new(),
        })))
    }

    fn finish(self) -> Result<Self::Out, Unfit> {
        Ok(self.0)
    }
}

struct Members<'a>(&'a mut Input);

impl<'de> EntryVisitor<'de> for Members<'_> {
    type Error = Unfit;

    fn item(self) -> Result<impl ItemVisitor<'de>, Unfit> {
        Err::<Never, Unfit>(Unfit)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Unfit> {
        Ok(self)
    }
}

impl<'de> InnerListVisitor<'de> for Members<'_> {
    type Error = Unfit;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Unfit> {
        if self.0.components.len() >= MAX_COMPONENTS {
            return Err(Unfit);
        }
        Ok(Named(&mut self.0.components))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Unfit> {
        Ok(Parametrised(&mut self.0.parameters))
    }
}

struct Named<'a>(&'a mut Vec<Identifier>);

impl<'de> ItemVisitor<'de> for Named<'_> {
    type Out = ();
    type Error = Unfit;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Unfit> {
        let BareItem::String(name) = BareItem::from(item) else { return Err(Unfit) };
        let identifier = self.0.push_mut(Identifier { name, parameters: Parameters::new() });
        Ok(Parametrised(&mut identifier.parameters))
    }
}

struct Parametrised<'a>(&'a mut Parameters);

impl<'de> ParameterVisitor<'de> for Parametrised<'_> {
    type Out = ();
    type Error = Unfit;

    fn parameter(&mut self, key: &'de KeyRef, value: BareItemFromInput<'de>) -> Result<(), Unfit> {
        if self.0.len() >= MAX_PARAMETERS {
            return Err(Unfit);
        }
        match self.0.insert(key.to_owned(), value.into()) {
            None => Ok(()),
            Some(_) => Err(Unfit),
        }
    }

    fn finish(self) -> Result<(), Unfit> {
        Ok(())
    }
}

struct Bytes(Vec<(Key, Vec<u8>)>);

impl<'de> DictionaryVisitor<'de> for Bytes {
    type Out = Vec<(Key, Vec<u8>)>;
    type Error = Unfit;

    fn entry(&mut self, label: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Unfit> {
        if self.0.len() >= MAX_LABELS || self.0.iter().any(|(known, _)| known == label) {
            return Err(Unfit);
        }
        let (_, bytes) = self.0.push_mut((label.to_owned(), Vec::new()));
        Ok(Sequence(bytes))
    }

    fn finish(self) -> Result<Self::Out, Unfit> {
        Ok(self.0)
    }
}

struct Sequence<'a>(&'a mut Vec<u8>);

impl<'de> EntryVisitor<'de> for Sequence<'_> {
    type Error = Unfit;

    fn item(self) -> Result<impl ItemVisitor<'de>, Unfit> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Unfit> {
        Err::<Never, Unfit>(Unfit)
    }
}

impl<'de> ItemVisitor<'de> for Sequence<'_> {
    type Out = ();
    type Error = Unfit;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Unfit> {
        let BareItem::ByteSequence(bytes) = BareItem::from(item) else { return Err(Unfit) };
        *self.0 = bytes;
        Ok(Unread)
    }
}

/// Parameters of a signature's bytes mean nothing here.
struct Unread;

impl ParameterVisitor<'_> for Unread {
    type Out = ();
    type Error = Unfit;

    fn parameter(&mut self, _key: &KeyRef, _value: BareItemFromInput<'_>) -> Result<(), Unfit> {
        Ok(())
    }

    fn finish(self) -> Result<(), Unfit> {
        Ok(())
    }
}
