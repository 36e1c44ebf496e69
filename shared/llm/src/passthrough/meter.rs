//! What an answer that passes took. Its bytes are watched and never changed.

use memchr::memmem;
use serde_json::Value;

use super::scan::Scan;
use crate::dialects::anthropic_messages::usage::Told;
use crate::dialects::openai_chat::usage;
use crate::reply::Metered;
use crate::rest::Wire;
use crate::sse::{Limits, SseEvent, SseReader};
use crate::usage::Usage;

/// What is read of a whole answer.
const FIELDS: &[&str] = &["usage", "model", "service_tier"];

/// Watches an answer pass. What it keeps is bounded by one event of a stream, or by three short fields of a whole answer.
#[derive(Debug)]
pub struct Meter {
    wire: Wire,
    kind: Kind,
    told: Told,
    usage: Option<Usage>,
    model: Option<String>,
    service_tier: Option<String>,
    is_broken: bool,
}

#[derive(Debug)]
enum Kind {
    Whole(Scan),
    Stream(SseReader, Vec<SseEvent>),
}

impl Meter {
    /// For a whole answer.
    #[must_use]
    pub fn of_whole(wire: Wire) -> Self {
        Self::new(wire, Kind::Whole(Scan::new(FIELDS)))
    }

    /// For a stream.
    #[must_use]
    pub fn of_stream(wire: Wire) -> Self {
        Self::new(wire, Kind::Stream(SseReader::new(Limits::default()), Vec::new()))
    }

    fn new(wire: Wire, kind: Kind) -> Self {
        Self {
            wire,
            kind,
            told: Told::default(),
            usage: None,
            model: None,
            service_tier: None,
            is_broken: false,
        }
    }

    /// Sees the next bytes.
    pub fn watch(&mut self, bytes: &[u8]) {
        match &mut self.kind {
            Kind::Whole(scan) => scan.push(bytes),
            Kind::Stream(reader, events) => {
                self.is_broken |= reader.push(bytes, events).is_err();
                self.take_events();
            }
        }
    }

    /// Sees that the answer has ended, or broken off.
    pub fn finish(&mut self) {
        if let Kind::Stream(reader, events) = &mut self.kind {
            self.is_broken |= reader.finish(events).is_err();
            self.take_events();
        }
        if let Kind::Whole(scan) = &self.kind {
            let value =
                |name: &str| scan.found(name).and_then(|text| serde_json::from_slice(text).ok());
            let (usage, model, tier) = (value("usage"), value("model"), value("service_tier"));
            self.take_fields(usage.as_ref(), model.as_ref(), tier.as_ref());
        }
    }

    /// What is known up to now.
    #[must_use]
    pub fn metered(&self) -> Metered {
        let usage = self.told.usage().or(self.usage);
        Metered { usage, model: self.model.clone(), service_tier: self.service_tier.clone() }
    }

    /// Whether the stream was none, or beyond the limits, so that its end was not seen.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    fn take_events(&mut self) {
        let Kind::Stream(_, events) = &mut self.kind else { return };
        for event in std::mem::take(events) {
            // Most events have neither, and are not parsed.
            let has = |name: &str| memmem::find(event.data.as_bytes(), name.as_bytes()).is_some();
            if !has("\"usage\"") && (self.model.is_some() || !has("\"model\"")) {
                continue;
            }
            let Ok(event) = serde_json::from_str::<Value>(&event.data) else { continue };
            match self.wire {
                Wire::OpenAiChat => {
                    let choice = event.get("choices").and_then(|choices| choices.get(0));
                    let told = [
                        event.get("usage"),
                        event.get("x_groq").and_then(|groq| groq.get("usage")),
                        choice.and_then(|choice| choice.get("usage")),
                    ];
                    let told = told.into_iter().flatten().find(|usage| usage.is_object());
                    self.take_fields(told, event.get("model"), event.get("service_tier"));
                }
                Wire::AnthropicMessages => {
                    // The first event has it within the message, later ones beside.
                    let message = event.get("message").unwrap_or(&event);
                    self.take_fields(message.get("usage"), message.get("model"), None);
                }
            }
        }
    }

    fn take_fields(&mut self, told: Option<&Value>, model: Option<&Value>, tier: Option<&Value>) {
        let text = |value: Option<&Value>| {
            let text = value.and_then(Value::as_str).filter(|text| !text.is_empty());
            text.map(str::to_owned)
        };
        self.model = self.model.take().or_else(|| text(model));
        let tier = match self.wire {
            Wire::OpenAiChat => {
                self.usage = told.and_then(usage::read).or(self.usage);
                tier
            }
            Wire::AnthropicMessages => {
                if let Some(told) = told {
                    self.told.take(told);
                }
                told.and_then(|told| told.get("service_tier"))
            }
        };
        self.service_tier = text(tier).or_else(|| self.service_tier.take());
    }
}
