//! Texts with values in them.

use serde_json::Value;

use super::evaluate::{Made, Run, Stop, error};
use super::filter::{Notation, Piece};
use super::value::{weight, weight_of_text};
use crate::escape::{Escape, push_component};

impl Run {
    pub(super) fn text(
        &mut self,
        notation: Notation,
        pieces: &[Piece],
        input: &Value,
        made: &mut Vec<Value>,
    ) -> Made {
        let (mut texts, mut ended) = (vec![String::new()], Ok(()));
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    for before in &mut texts {
                        self.spend(weight_of_text(text))?;
                        before.push_str(text);
                    }
                }
                Piece::Value(filter) => {
                    let mut values = Vec::new();
                    for value in self.some(filter, input, &mut ended)? {
                        values.push(self.written(notation, &value)?);
                    }
                    let mut next = Vec::new();
                    for before in &texts {
                        for value in &values {
                            self.spend(weight_of_text(before) + weight_of_text(value))?;
                            next.push(format!("{before}{value}"));
                        }
                    }
                    texts = next;
                    if texts.is_empty() {
                        break;
                    }
                }
            }
        }
        made.extend(texts.into_iter().map(Value::String));
        ended
    }

    /// A value as a text.
    pub(super) fn written(&mut self, notation: Notation, value: &Value) -> Result<String, Stop> {
        // What is escaped becomes up to six times as long.
        self.spend(weight(value).saturating_mul(6))?;
        let plain = match (notation, value) {
            (Notation::Json, value) => return Ok(value.to_string()),
            (_, Value::String(text)) => text.clone(),
            (_, value) => value.to_string(),
        };
        let mut text = String::new();
        match notation {
            Notation::Text | Notation::Json => return Ok(plain),
            Notation::Uri => push_component(&mut text, plain.as_bytes()),
            Notation::Html => Escape::Markup.push(&mut text, &plain),
            Notation::Base64 => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode_string(plain, &mut text);
            }
            Notation::Base64Decoded => return decoded(&plain),
        }
        Ok(text)
    }
}

fn decoded(text: &str) -> Result<String, Stop> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text);
    match bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(text) => Ok(text),
        None => error("a text is not base64 of a text"),
    }
}
