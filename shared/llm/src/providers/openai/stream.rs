//! An answer as a stream, read.

use serde_json::Value;

use super::error::said;
use super::reply::made_id;
use crate::chat::{Part, Piece};
use crate::complete::Complete;
use crate::dialects::openai_chat::{finish_of, usage};
use crate::error::LlmError;
use crate::json::{self, At, Fields};
use crate::loss::{Losses, Lost};
use crate::reply::{Delta, Event, Finish, FinishReason, Metered, Start};
use crate::sse::{Limits, SseEvent, SseReader};
use crate::target::Reading;

/// The most calls of one answer.
const MAX_CALLS: usize = 256;
/// The most arguments that are kept of a call whose name has not come yet.
const MAX_NAMELESS_BYTES: usize = 16 << 10;

/// Reads chunks.
pub struct Reader {
    sse: SseReader,
    reading: Reading,
    metered: Metered,
    id: String,
    next_part: u32,
    /// The text, refusal or reasoning that is open, if one is.
    open: Option<(u32, Kind)>,
    calls: Vec<Call>,
    finish: Option<FinishReason>,
    is_started: bool,
    is_over: bool,
    losses: Losses,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Refusal,
}

/// A call that has begun.
struct Call {
    /// Its place among the calls, as the provider counts; not everyone does.
    place: Option<u64>,
    id: String,
    /// Its part, once its name is known.
    part: Option<u32>,
    /// What came of its arguments before that.
    nameless: String,
    arguments: Complete,
    is_closed: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(reading: Reading) -> Self {
        Self {
            sse: SseReader::new(Limits::default()),
            reading,
            metered: Metered::default(),
            id: String::new(),
            next_part: 0,
            open: None,
            calls: Vec::new(),
            finish: None,
            is_started: false,
            is_over: false,
            losses: Losses::of_answer(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), LlmError> {
        let mut lines = Vec::new();
        let read = self.sse.push(bytes, &mut lines);
        self.take(&lines, events)?;
        Ok(read?)
    }

    pub(crate) fn finish(&mut self, events: &mut Vec<Event>) -> Result<(), LlmError> {
        let mut lines = Vec::new();
        let read = self.sse.finish(&mut lines);
        self.take(&lines, events)?;
        read?;
        if self.is_over {
            return Ok(());
        }
        // Some close without the word for it, but none before they have said why it ended.
        if self.finish.is_none() {
            return Err(LlmError::EndedEarly);
        }
        self.end(events)
    }

    pub(crate) fn metered(&self) -> Metered {
        self.metered.clone()
    }

    pub(crate) fn lost(&self) -> &[Lost] {
        self.losses.listed()
    }

    fn take(&mut self, lines: &[SseEvent], events: &mut Vec<Event>) -> Result<(), LlmError> {
        for line in lines {
            if self.is_over {
                return Ok(());
            }
            match line.data.trim() {
                "[DONE]" => self.end(events)?,
                "" => {}
                data => self.chunk(json::parse(data.as_bytes())?, events)?,
            }
        }
        Ok(())
    }

    fn end(&mut self, events: &mut Vec<Event>) -> Result<(), LlmError> {
        self.begin(events);
        self.close_open(events);
        for call in std::mem::take(&mut self.calls) {
            if call.part.is_none() {
                return Err(At::ROOT.malformed("a call has no name"));
            }
            if let Some(index) = call.part.filter(|_| !call.is_closed) {
                events.push(Event::PartEnd { index });
            }
        }
        let reason = self.finish.unwrap_or_default();
        events.push(Event::Finish(Finish { reason, ..Finish::default() }));
        events.extend(self.metered.usage.map(Event::Usage));
        events.push(Event::End);
        self.is_over = true;
        Ok(())
    }

    fn chunk(&mut self, chunk: Value, events: &mut Vec<Event>) -> Result<(), LlmError> {
        let root = At::ROOT;
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            events.push(Event::Failed(said(&chunk).failure(None, None)));
            self.is_over = true;
            return Ok(());
        }
        let mut chunk = Fields::of(chunk, &root)?;
        if let Some(model) = chunk.text("model")?.filter(|model| !model.is_empty()) {
            self.metered.model.get_or_insert(model);
        }
        if let Some(tier) = chunk.text("service_tier")? {
            self.metered.service_tier = Some(tier);
        }
        let at = root.name("choices");
        let mut choices = chunk.list("choices")?.unwrap_or_default().into_iter();
        let choice = choices.next();
        // Where usage stands beside the answers, where Groq has it, and where Moonshot does.
        let groq = chunk.get("x_groq").and_then(|groq| groq.get("usage"));
        let inner = choice.as_ref().and_then(|choice| choice.get("usage"));
        let told = chunk.get("usage").or(groq).or(inner).and_then(usage::read);
        self.metered.usage = told.or(self.metered.usage);
        if choices.next().is_some() {
            return Err(at.malformed("one answer is expected here"));
        }
        // One without an answer tells of usage or of filters.
        let Some(choice) = choice else { return Ok(()) };
        if !self.is_started {
            self.id = chunk.text("id")?.unwrap_or_default();
            let created_secs = chunk.count("created")?;
            self.start(created_secs, events);
        }
        self.choice(choice, events)
    }

    fn start(&mut self, created_secs: Option<u64>, events: &mut Vec<Event>) {
        self.is_started = true;
        let model = self.metered.model.clone().unwrap_or_default();
        events.push(Event::Start(Start { id: self.id.clone(), model, created_secs, usage: None }));
    }

    fn begin(&mut self, events: &mut Vec<Event>) {
        if !self.is_started {
            self.start(None, events);
        }
    }

    fn choice(&mut self, choice: Value, events: &mut Vec<Event>) -> Result<(), LlmError> {
        let root = At::ROOT;
        let at = root.name("choices");
        let at = at.item(0);
        let mut choice = Fields::of(choice, &at)?;
        if choice.count("index")?.is_some_and(|index| index > 0) {
            return Err(at.malformed("one answer is expected here"));
        }
        if choice.get("logprobs").is_some() {
            self.losses.list(&at.name("logprobs"), "is left out");
        }
        let delta_at = at.name("delta");
        if let Some(delta) = choice.take("delta") {
            self.delta(Fields::of(delta, &delta_at)?, events)?;
        }
        let word = choice.text("finish_reason")?.filter(|word| !word.is_empty());
        if let Some(word) = word {
            let reason = finish_of(&word);
            let is_calling = reason == FinishReason::End && !self.calls.is_empty();
            self.finish = Some(if is_calling { FinishReason::ToolCalls } else { reason });
        }
        Ok(())
    }

    fn delta(&mut self, mut delta: Fields<'_>, events: &mut Vec<Event>) -> Result<(), LlmError> {
        delta.take("role");
        let reasoning = delta.text("reasoning_content")?;
        let other = delta.text("reasoning")?;
        if let Some(text) = reasoning.or(other) {
            self.more(Kind::Reasoning, text, events);
        }
        if delta.look("content").is_some() {
            let text = delta.text("content")?.unwrap_or_default();
            self.more(Kind::Text, text, events);
        }
        if let Some(text) = delta.text("refusal")? {
            self.more(Kind::Refusal, text, events);
        }
        let at = delta.at();
        let at = at.name("tool_calls");
        for (i, call) in delta.list("tool_calls")?.into_iter().flatten().enumerate() {
            self.call(call, i, &at.item(i), events)?;
        }
        let at = delta.at();
        for (name, value) in delta.left() {
            if !value.is_null() {
                self.losses.list(&at.name(&name), "is left out");
            }
        }
        Ok(())
    }

    /// More of a text; one of another kind ends before it.
    fn more(&mut self, kind: Kind, text: String, events: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        let index = match self.open {
            Some((index, open)) if open == kind => index,
            Some(_) | None => {
                self.close_open(events);
                let index = self.next_index();
                let piece = match kind {
                    Kind::Text => Piece::Text(String::new()),
                    Kind::Reasoning => Piece::Reasoning { text: String::new(), signature: None },
                    Kind::Refusal => Piece::Refusal(String::new()),
                };
                events.push(Event::PartStart { index, part: Part::new(piece) });
                self.open = Some((index, kind));
                index
            }
        };
        let delta = match kind {
            Kind::Text => Delta::Text(text),
            Kind::Reasoning => Delta::Reasoning(text),
            Kind::Refusal => Delta::Refusal(text),
        };
        events.push(Event::Delta { index, delta });
    }

    fn next_index(&mut self) -> u32 {
        let index = self.next_part;
        self.next_part = self.next_part.saturating_add(1);
        index
    }

    fn close_open(&mut self, events: &mut Vec<Event>) {
        if let Some((index, _)) = self.open.take() {
            events.push(Event::PartEnd { index });
        }
    }

    fn call(
        &mut self,
        fragment: Value,
        i: usize,
        at: &At<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), LlmError> {
        let mut fragment = Fields::of(fragment, at)?;
        let place = fragment.count("index")?;
        let id = fragment.text("id")?.unwrap_or_default();
        let inner_at = at.name("function");
        let Some(function) = fragment.take("function") else {
            // A tool that takes free text: only OpenAI's own clients ask for one, and they get the bytes as they are.
            self.losses.list(at, "is left out");
            return Ok(());
        };
        let mut function = Fields::of(function, &inner_at)?;
        let name = function.text("name")?.filter(|name| !name.is_empty());
        let arguments = match function.take("arguments") {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(value) => json::text(&value),
        };
        let known = self.find(place, &id, name.is_some(), i);
        let number = match known {
            Some(number) => number,
            None => self.begin_call(place, id, events)?,
        };
        self.fragment(number, name, arguments, events)
    }

    /// Which call a fragment belongs to: by place, else by id, else the last one. An id that is another's, with a name, is
    /// a new call even in the same place: some vendors count nothing.
    fn find(&self, place: Option<u64>, id: &str, has_name: bool, i: usize) -> Option<usize> {
        let is_other = |call: &Call| has_name && !id.is_empty() && call.id != id;
        if let Some(place) = place {
            let last = self.calls.iter().rposition(|call| call.place == Some(place))?;
            return Some(last).filter(|at| !self.calls.get(*at).is_some_and(is_other));
        }
        if !id.is_empty() {
            return self.calls.iter().position(|call| call.id == id);
        }
        // Without place and id, one with a name is whole.
        if has_name { None } else { self.calls.len().checked_sub(1).filter(|_| i == 0) }
    }

    fn begin_call(
        &mut self,
        place: Option<u64>,
        id: String,
        events: &mut Vec<Event>,
    ) -> Result<usize, LlmError> {
        self.close_open(events);
        let number = self.calls.len();
        if number >= MAX_CALLS {
            return Err(LlmError::TooMuch { what: "calls of an answer", limit: MAX_CALLS });
        }
        // Those that are whole end; one that is not may go on after this one begins.
        for call in &mut self.calls {
            if let Some(index) = call.part.filter(|_| !call.is_closed && call.arguments.is_whole())
            {
                call.is_closed = true;
                events.push(Event::PartEnd { index });
            }
        }
        let id = if id.is_empty() { made_id(&self.id, number) } else { id };
        self.calls.push(Call {
            place,
            id,
            part: None,
            nameless: String::new(),
            arguments: Complete::default(),
            is_closed: false,
        });
        Ok(number)
    }

    fn fragment(
        &mut self,
        number: usize,
        name: Option<String>,
        arguments: String,
        events: &mut Vec<Event>,
    ) -> Result<(), LlmError> {
        let next = self.next_part;
        let Some(call) = self.calls.get_mut(number) else { return Ok(()) };
        let mut arguments = arguments;
        if call.part.is_none() {
            call.nameless.push_str(&arguments);
            if call.nameless.len() > MAX_NAMELESS_BYTES {
                let limit = MAX_NAMELESS_BYTES;
                return Err(LlmError::TooMuch { what: "bytes of a call without a name", limit });
            }
            let Some(name) = name else { return Ok(()) };
            arguments = std::mem::take(&mut call.nameless);
            call.part = Some(next);
            let name = self.reading.name(name);
            let piece = Piece::ToolCall { id: call.id.clone(), name, arguments: String::new() };
            events.push(Event::PartStart { index: next, part: Part::new(piece) });
            self.next_part = next.saturating_add(1);
        }
        let Some(index) = call.part else { return Ok(()) };
        // Nothing but space follows what is whole.
        if !arguments.is_empty() && !call.is_closed {
            call.arguments.push(&arguments);
            events.push(Event::Delta { index, delta: Delta::Arguments(arguments) });
        }
        Ok(())
    }
}
