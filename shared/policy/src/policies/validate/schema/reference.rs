//! The schema that a `$ref` names. All of them are within the document: nothing is ever fetched.

use std::collections::BTreeMap;

use serde_json::Value;
use tollgate_model::issue::escape;

use crate::escape::decode;

/// Where a document's anchors are, by name; and what the document is called.
pub(super) struct Places<'d> {
    own_id: Option<&'d str>,
    anchors: BTreeMap<&'d str, String>,
}

/// Why a reference leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) code: &'static str,
    pub(super) problem: String,
}

impl<'d> Places<'d> {
    pub(super) fn of(document: &'d Value) -> Self {
        let mut places = Self {
            own_id: document.get("$id").and_then(Value::as_str).map(|id| id.trim_end_matches('#')),
            anchors: BTreeMap::new(),
        };
        places.collect(document, "");
        places
    }

    fn collect(&mut self, value: &'d Value, at: &str) {
        match value {
            Value::Object(members) => {
                let anchor = members.get("$anchor").and_then(Value::as_str);
                // Draft 7 writes an anchor as an `$id`.
                let old = members.get("$id").and_then(Value::as_str);
                let old = old.and_then(|id| id.strip_prefix('#')).filter(|name| !name.is_empty());
                for name in anchor.into_iter().chain(old) {
                    self.anchors.entry(name).or_insert_with(|| at.to_owned());
                }
                for (name, value) in members {
                    let is_data =
                        ["enum", "const", "default", "example", "examples"].contains(&&**name);
                    if !is_data {
                        self.collect(value, &format!("{at}/{}", escape(name)));
                    }
                }
            }
            Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    self.collect(item, &format!("{at}/{place}"));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The JSON pointer of what a reference names.
    ///
    /// # Errors
    ///
    /// Where it names nothing in the document.
    pub(super) fn find(&self, document: &Value, reference: &str) -> Result<String, Lost> {
        let lost = |code, problem: &str| Lost {
            code,
            problem: format!("`{}` {problem}", reference.escape_debug()),
        };
        let (document_id, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !document_id.is_empty() && Some(document_id) != self.own_id {
            return Err(lost(
                "remote_reference",
                "is not in this document, and nothing is fetched; put what it names under `$defs` or `components` \
                 and refer to it as `#/…`",
            ));
        }
        let decoded = decode(fragment);
        let fragment = std::str::from_utf8(&decoded)
            .map_err(|_not_utf8| lost("unknown_reference", "is not a reference"))?;
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let anchor = self.anchors.get(fragment).cloned();
            return anchor.ok_or_else(|| lost("unknown_reference", "names no `$anchor` here"));
        }
        match document.pointer(fragment) {
            Some(_) => Ok(fragment.to_owned()),
            None => Err(lost("unknown_reference", "names nothing in this document")),
        }
    }
}
