//! Finds the values of a few fields of a JSON object whose bytes pass in pieces, without keeping the rest.

/// The most that is kept of one value.
const MAX_VALUE_BYTES: usize = 64 << 10;
/// The most that is kept of a name.
const MAX_NAME_BYTES: usize = 64;

/// Follows an object. Whether it is valid is not looked at: what is found is parsed by who takes it.
#[derive(Debug)]
pub(super) struct Scan {
    wanted: &'static [&'static str],
    /// What was found, in the order of `wanted`.
    found: Vec<Option<Vec<u8>>>,
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    /// A name of the outermost object is read, or its value.
    state: State,
    name: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a name, or in it.
    Name,
    /// In a value that is wanted: which.
    Wanted(usize),
    /// In any other value.
    Other,
}

impl Scan {
    pub(super) fn new(wanted: &'static [&'static str]) -> Self {
        Self {
            wanted,
            found: vec![None; wanted.len()],
            depth: 0,
            is_in_text: false,
            is_escaped: false,
            state: State::Name,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// The last value of a field, where there is one that is not longer than what is kept.
    pub(super) fn found(&self, name: &str) -> Option<&[u8]> {
        let at = self.wanted.iter().position(|wanted| *wanted == name)?;
        self.found.get(at)?.as_deref()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        if self.is_in_text {
            self.keep(byte);
            if std::mem::take(&mut self.is_escaped) {
                return;
            }
            match byte {
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.is_in_text = true;
                if self.depth == 1 && self.state == State::Name {
                    self.name.clear();
                }
                self.keep(byte);
            }
            b'{' | b'[' => {
                self.keep(byte);
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 { self.end_value() } else { self.keep(byte) }
            }
            b':' if self.depth == 1 => self.begin_value(),
            b',' if self.depth == 1 => self.end_value(),
            _ => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        match self.state {
            State::Name => {
                if self.depth == 1 && self.name.len() < MAX_NAME_BYTES {
                    self.name.push(byte);
                }
            }
            State::Wanted(_) => {
                if self.value.len() < MAX_VALUE_BYTES {
                    self.value.push(byte);
                } else {
                    // Half a value is none.
                    self.state = State::Other;
                    self.value.clear();
                }
            }
            State::Other => {}
        }
    }

    fn begin_value(&mut self) {
        let name = self.name.trim_ascii();
        let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
        let at = self.wanted.iter().position(|wanted| Some(wanted.as_bytes()) == name);
        self.state = at.map_or(State::Other, State::Wanted);
        self.value.clear();
    }

    fn end_value(&mut self) {
        if let State::Wanted(at) = self.state
            && let Some(found) = self.found.get_mut(at)
        {
            *found = Some(std::mem::take(&mut self.value));
        }
        self.state = State::Name;
        self.name.clear();
    }
}
