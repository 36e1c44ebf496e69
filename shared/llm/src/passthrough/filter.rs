//! Takes the usage out of a stream that was asked for on the gateway's behalf.

use memchr::memmem;
use serde_json::Value;

/// A chunk that tells usage alone is shorter than this.
const MAX_CHUNK_BYTES: usize = 64 << 10;

/// Passes a stream of chat completions without the chunk that tells its usage.
///
/// All other bytes pass as they are, event by event. That the other chunks say `"usage":null` stays: it is what the format has there.
#[derive(Debug, Default)]
pub struct UsageFilter {
    /// The event that is not whole yet.
    event: Vec<u8>,
    /// It is too long to be the chunk, and passes.
    is_passing: bool,
    /// The last line has something in it.
    has_text: bool,
}

impl UsageFilter {
    /// Takes the next bytes and gives those that pass.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for byte in bytes {
            self.event.push(*byte);
            match byte {
                // A blank line ends the event. Lines of this format end with a line feed.
                b'\n' if !self.has_text => self.end(out),
                b'\n' => self.has_text = false,
                b'\r' => {}
                _ => self.has_text = true,
            }
            if self.event.len() > MAX_CHUNK_BYTES {
                self.is_passing = true;
            }
            if self.is_passing {
                out.append(&mut self.event);
            }
        }
    }

    /// The stream has ended: what is left passes, unless it is the chunk.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        self.end(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let is_dropped = !std::mem::take(&mut self.is_passing) && is_usage(&self.event);
        if !is_dropped {
            out.extend_from_slice(&self.event);
        }
        self.event.clear();
        self.has_text = false;
    }
}

fn is_usage(event: &[u8]) -> bool {
    if memmem::find(event, b"\"usage\"").is_none() {
        return false;
    }
    let Ok(text) = std::str::from_utf8(event) else { return false };
    let mut data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let (Some(data), None) = (data.next(), data.next()) else { return false };
    let Ok(chunk) = serde_json::from_str::<Value>(data.trim()) else { return false };
    let is_empty = chunk.get("choices").and_then(Value::as_array).is_some_and(Vec::is_empty);
    is_empty && chunk.get("usage").is_some_and(Value::is_object)
}
