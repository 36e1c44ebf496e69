//! Whether a JSON object that comes in pieces is whole.

/// Follows the braces of an object. Whether it is valid is not looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Complete {
    depth: u32,
    has_begun: bool,
    is_in_text: bool,
    is_escaped: bool,
}

impl Complete {
    /// Takes the next piece.
    pub(crate) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.is_in_text {
                if std::mem::take(&mut self.is_escaped) {
                    continue;
                }
                match byte {
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_in_text = true,
                b'{' | b'[' => {
                    self.has_begun = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_whole(&self) -> bool {
        self.has_begun && self.depth == 0 && !self.is_in_text
    }
}
