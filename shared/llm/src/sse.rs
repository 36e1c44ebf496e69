//! Server-sent events, both ways (WHATWG HTML §9.2). Read from pieces of any size, within limits on a line and an event.

use memchr::memchr2;

/// The most that is kept of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest line, without its end.
    pub line_bytes: usize,
    /// The most data of one event, over all its lines.
    pub event_bytes: usize,
}

impl Default for Limits {
    /// 8 MiB and 16 MiB: a picture in base64 is one line.
    fn default() -> Self {
        Self { line_bytes: 8 << 20, event_bytes: 16 << 20 }
    }
}

/// Why a stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line is longer than the limit.
    #[error("a line of the stream is longer than {0} bytes")]
    LongLine(usize),
    /// An event is longer than the limit.
    #[error("an event of the stream is longer than {0} bytes")]
    LongEvent(usize),
    /// A line is not UTF-8.
    #[error("a line of the stream is not UTF-8")]
    NotUtf8,
}

/// One event. `id` and `retry` are for who reconnects, and nobody does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Its data, lines joined by `\n`.
    pub data: String,
}

/// Finds events in a stream.
#[derive(Clone, Debug)]
pub struct SseReader {
    limits: Limits,
    line: Vec<u8>,
    event: SseEvent,
    has_data: bool,
    is_first_line: bool,
    /// The last byte was a carriage return, so a line feed now belongs to it.
    is_after_return: bool,
    error: Option<SseError>,
}

impl SseReader {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            line: Vec::new(),
            event: SseEvent::default(),
            has_data: false,
            is_first_line: true,
            is_after_return: false,
            error: None,
        }
    }

    /// Takes the next bytes and gives the events that they complete.
    ///
    /// # Errors
    ///
    /// Beyond a limit, or not UTF-8; the events before are given still. After an error it stays with it.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let read = self.read(bytes, events);
        self.error = read.err();
        read
    }

    /// The stream is over: what is left counts as an event even where its blank line is missing.
    ///
    /// # Errors
    ///
    /// As [`SseReader::push`].
    pub fn finish(&mut self, events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let line = std::mem::take(&mut self.line);
        let read = self.take_line(&line, events);
        self.dispatch(events);
        self.error = read.err();
        read
    }

    fn read(&mut self, mut bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        while let Some(first) = bytes.first() {
            if std::mem::take(&mut self.is_after_return) && *first == b'\n' {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                return self.keep(bytes);
            };
            let (line, rest) = bytes.split_at(end);
            self.is_after_return = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                self.take_line(line, events)?;
            } else {
                self.keep(line)?;
                let mut line = std::mem::take(&mut self.line);
                self.take_line(&line, events)?;
                // Its room serves the next one.
                line.clear();
                self.line = line;
            }
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        if self.line.len().saturating_add(bytes.len()) > self.limits.line_bytes {
            return Err(SseError::LongLine(self.limits.line_bytes));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take_line(&mut self, line: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        if line.len() > self.limits.line_bytes {
            return Err(SseError::LongLine(self.limits.line_bytes));
        }
        // UTF-8 is decoded by lines: a piece can end within a character, a line cannot.
        let Ok(line) = std::str::from_utf8(line) else { return Err(SseError::NotUtf8) };
        let is_first = std::mem::take(&mut self.is_first_line);
        let line = if is_first { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.take_data(value),
            "event" => {
                self.event.name = (!value.is_empty()).then(|| value.to_owned());
                Ok(())
            }
            // A comment has the empty name.
            _ => Ok(()),
        }
    }

    fn take_data(&mut self, value: &str) -> Result<(), SseError> {
        let break_bytes = usize::from(self.has_data);
        let length = self.event.data.len().saturating_add(value.len()).saturating_add(break_bytes);
        if length > self.limits.event_bytes {
            return Err(SseError::LongEvent(self.limits.event_bytes));
        }
        if self.has_data {
            self.event.data.push('\n');
        }
        self.event.data.push_str(value);
        self.has_data = true;
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<SseEvent>) {
        let event = std::mem::take(&mut self.event);
        if std::mem::take(&mut self.has_data) {
            events.push(event);
        }
    }
}

/// Writes an event. A name must have no line break; data may.
pub fn write(out: &mut Vec<u8>, name: Option<&str>, data: &str) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.push(b'\n');
    }
    // All three ends of a line; a carriage return within would end it for the reader.
    for line in data.split("\r\n").flat_map(|line| line.split(['\n', '\r'])) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

/// Writes a comment, which keeps a connection from being taken for dead.
pub fn write_comment(out: &mut Vec<u8>) {
    out.extend_from_slice(b":\n\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<SseEvent>, SseError> {
        let (mut reader, mut events) = (SseReader::new(Limits::default()), Vec::new());
        for piece in pieces {
            reader.push(piece, &mut events)?;
        }
        reader.finish(&mut events)?;
        Ok(events)
    }

    fn event(name: Option<&str>, data: &str) -> SseEvent {
        SseEvent { name: name.map(str::to_owned), data: data.to_owned() }
    }

    #[test]
    fn an_event_cut_anywhere_is_the_same_event() {
        let expected = [event(None, "{\"t\":\"é\"}")];
        for text in [
            "data: {\"t\":\"é\"}\n\n",
            "data: {\"t\":\"é\"}\r\n\r\n",
            "data: {\"t\":\"é\"}\r\r",
            ": a comment\ndata:{\"t\":\"é\"}\n\n",
            "\u{feff}id: 1\nretry: 5\ndata: {\"t\":\"é\"}\n\n",
            "data: {\"t\":\"é\"}\n",
            "data: {\"t\":\"é\"}",
            "event: nothing\n\ndata: {\"t\":\"é\"}\n\n",
        ] {
            for at in 0..=text.len() {
                let (left, right) = text.as_bytes().split_at(at);
                assert_eq!(read(&[left, right]).unwrap(), expected, "{text:?} at {at}");
            }
        }
    }

    #[test]
    fn lines_of_data_are_joined_and_a_name_is_for_one_event() {
        let text = b"event: a\ndata: 1\ndata:\ndata:  2\n\ndata\n\ndata: 3\n\n";
        let expected = [event(Some("a"), "1\n\n 2"), event(None, ""), event(None, "3")];
        assert_eq!(read(&[text]).unwrap(), expected);
    }

    #[test]
    fn what_is_beyond_a_limit_or_no_text_is_an_error_that_stays() {
        let limits = Limits { line_bytes: 10, event_bytes: 12 };
        for (text, error) in [
            (&b"data: 12345\n"[..], SseError::LongLine(10)),
            (b"data: 1234567890", SseError::LongLine(10)),
            (b"data: 1234\ndata: 5678\ndata: 9012\n", SseError::LongEvent(12)),
            (b"data: \xff\n", SseError::NotUtf8),
        ] {
            for size in 1..=text.len() {
                let (mut reader, mut events) = (SseReader::new(limits), Vec::new());
                let pieces = text.chunks(size);
                let failed =
                    pieces.map(|piece| reader.push(piece, &mut events)).find_map(Result::err);
                assert_eq!(failed, Some(error), "{text:?} by {size}");
                assert_eq!(reader.push(b"data: 1\n\n", &mut events), Err(error));
                assert_eq!(reader.finish(&mut events), Err(error));
                assert_eq!(events, []);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            events in prop::collection::vec(("[a-z]{0,3}", "[a-zé\\n\\r: 👋]{0,12}"), 0..5),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let (mut bytes, mut expected) = (Vec::new(), Vec::new());
            for (name, data) in &events {
                let name = (!name.is_empty()).then_some(name.as_str());
                write(&mut bytes, name, data);
                write_comment(&mut bytes);
                // All three ends of a line come back as one.
                expected.push(event(name, &data.replace("\r\n", "\n").replace('\r', "\n")));
            }
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for place in places {
                pieces.push(&bytes[from..place]);
                from = place;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(read(&pieces).unwrap(), expected);
        }

        #[test]
        fn any_bytes_give_the_same_however_they_are_cut(
            bytes in prop::collection::vec(prop_oneof![
                Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'), any::<u8>(),
            ], 0..60),
            size in 1_usize..8,
        ) {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(read(&pieces), read(&[&bytes]));
        }
    }
}
