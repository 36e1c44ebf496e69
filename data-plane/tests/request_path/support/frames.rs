//! A client of HTTP/2 that writes its frames by hand.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Wire, soon};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9113 §6 and §7.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const STREAM_CLOSED: u32 = 5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The block of a request to `api.test`, all fields as literals that enter no table (RFC 7541 §6.2.2).
pub(crate) fn block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x86, 0x01, 8];
    block.extend(b"api.test");
    for (name_index, value) in [(2, method), (4, path)] {
        block.extend([name_index, u8::try_from(value.len()).unwrap()]);
        block.extend(value.as_bytes());
    }
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "longer lengths have more bytes");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// The payload of SETTINGS (RFC 9113 §6.5.1).
pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (identifier, value) in settings {
        payload.extend(identifier.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    payload
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Received {
    /// The code of a reset or of GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let end = if self.kind == GOAWAY { &self.payload[4..8] } else { &self.payload[..4] };
        u32::from_be_bytes(end.try_into().unwrap())
    }
}

/// A connection that began as HTTP/2 does.
pub(crate) struct FrameWire(pub(crate) Wire);

impl FrameWire {
    /// With these settings, each an identifier and a value (RFC 9113 §6.5.2).
    pub(crate) async fn with(address: SocketAddr, first: &[(u16, u32)]) -> Self {
        let mut wire = Wire::to(address).await;
        wire.send([PREFACE, &frame(SETTINGS, 0, 0, &settings(first))].concat()).await;
        Self(wire)
    }

    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::with(address, &[]).await
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.send(bytes).await;
    }

    /// The next frame; none at the end, also where it comes as a reset.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        let (head, is_whole) = self.0.exactly(9).await;
        if !is_whole {
            return None;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (payload, is_whole) = self.0.exactly(length).await;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        is_whole.then_some(Received { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of a kind.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Received> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Writes these bytes so many times while it reads, as far as the node takes them, until the node has ended the
    /// connection.
    pub(crate) async fn floods_to_the_end(&mut self, bytes: &[u8], times: usize) {
        let (mut reading, mut writing) = self.0.stream.split();
        let written = async {
            for _ in 0..times {
                if writing.write_all(bytes).await.is_err() {
                    break;
                }
            }
        };
        let read = async {
            let mut bytes = vec![0; 16 << 10];
            while reading.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
        };
        soon(async { tokio::join!(written, read) }).await;
    }
}
