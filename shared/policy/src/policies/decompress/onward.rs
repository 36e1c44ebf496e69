//! Which codings the upstream is asked for, where a policy takes them off its answer.

use http::{HeaderMap, HeaderValue, header};

use crate::policy::Cx;

/// What the client said of codings, while the upstream is told something else.
#[derive(Debug, Default)]
pub struct Asked(Option<Was>);

#[derive(Debug)]
enum Was {
    Absent,
    Said(HeaderValue),
}

impl Asked {
    /// Tells the upstream which codings are taken here, and keeps what the client said.
    pub(in crate::policies) fn instead(headers: &mut HeaderMap, codings: HeaderValue) -> Self {
        let was = headers.insert(header::ACCEPT_ENCODING, codings);
        Self(Some(was.map_or(Was::Absent, Was::Said)))
    }

    /// Tells the policies before this one that the answer does not depend on what the upstream was told: every
    /// client has it plain. Without that, a cache takes an answer that varies by `accept-encoding` for one that no
    /// later request can be compared with.
    pub(in crate::policies) fn settle(&mut self, cx: &mut Cx<'_>) {
        let (Some(was), Some(sent)) = (self.0.take(), &mut cx.cache.sent) else { return };
        match was {
            Was::Absent => sent.remove(header::ACCEPT_ENCODING),
            Was::Said(codings) => sent.insert(header::ACCEPT_ENCODING, codings),
        };
    }
}
