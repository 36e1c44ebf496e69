//! The head of an answer, and how its body is framed (RFC 9112 §6).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use httparse::Status;
use memchr::memmem;

use super::Broken;
use super::chunked::Chunked;

/// The longest head. Clients are held to less by the gateway's limits; servers say more.
const MAX_HEAD_BYTES: usize = 128 << 10;
/// The most fields of a head, and of a trailer section.
pub(super) const MAX_FIELDS: usize = 128;

/// The head of an answer.
pub(in crate::upstream) struct Head {
    pub(super) response: Response<()>,
    pub(super) framing: Framing,
    /// Whether the connection can be used again once the body has been read.
    pub(super) keeps_open: bool,
}

/// Where the body ends.
#[derive(Debug, PartialEq)]
pub(super) enum Framing {
    /// There is none, whatever the fields say of one.
    Nothing,
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked(Chunked),
    /// With the connection.
    UntilClose,
}

impl Head {
    pub(in crate::upstream) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Whether another answer to the same request follows. 101 is final: nothing but another protocol follows.
    pub(super) fn is_interim(&self) -> bool {
        let status = self.response.status();
        status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// Takes a head off what was received; none where it has not come whole.
///
/// # Errors
///
/// What is no head, or leaves the end of the body open to interpretation.
pub(super) fn take(received: &mut BytesMut, method: &Method) -> Result<Option<Head>, Broken> {
    let Some(end) = memmem::find(received, b"\r\n\r\n") else {
        return if received.len() > MAX_HEAD_BYTES {
            Err(Broken::Malformed("its head is too large"))
        } else {
            Ok(None)
        };
    };
    if end > MAX_HEAD_BYTES {
        return Err(Broken::Malformed("its head is too large"));
    }
    let bytes = received.split_to(end + 4).freeze();
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, &bytes, &mut fields)
        .map_err(|_malformed| Broken::Malformed("its head cannot be parsed"))?;
    let (Status::Complete(length), Some(code), Some(minor)) = (status, parsed.code, parsed.version)
    else {
        return Err(Broken::Malformed("its head cannot be parsed"));
    };
    // A lone LF would end the head before the empty line that was looked for.
    if length != bytes.len() {
        return Err(Broken::Malformed("a line of its head ends without CR"));
    }
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(code).map_err(|_out_of_range| Broken::Malformed("its status"))?;
    *response.version_mut() = if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    *response.headers_mut() = header_map(&bytes, parsed.headers)?;
    let framing = framing(&response, method)?;
    let keeps_open = keeps_open(&response, &framing);
    Ok(Some(Head { response, framing, keeps_open }))
}

/// Fields as a map; their values stay where they were read to.
pub(super) fn header_map(
    bytes: &Bytes,
    fields: &[httparse::Header<'_>],
) -> Result<HeaderMap, Broken> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_malformed| Broken::Malformed("a field's name"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
            .map_err(|_malformed| Broken::Malformed("a field's value"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// RFC 9112 §6.3, where it leaves a choice the stricter one.
fn framing(response: &Response<()>, method: &Method) -> Result<Framing, Broken> {
    let status = response.status();
    let length = content_length(response.headers())?;
    let is_chunked = is_chunked(response)?;
    if *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Ok(Framing::Nothing);
    }
    Ok(match (is_chunked, length) {
        (true, _) => Framing::Chunked(Chunked::default()),
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    })
}

/// The one length that all of `content-length` agree on.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Broken> {
    let malformed = || Broken::Malformed("its content-length");
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for text in value.to_str().map_err(|_not_visible| malformed())?.split(',') {
            let text = text.trim_matches([' ', '\t']);
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(malformed());
            }
            let one: u64 = text.parse().map_err(|_too_large| malformed())?;
            if *length.get_or_insert(one) != one {
                return Err(malformed());
            }
        }
    }
    Ok(length)
}

/// Whether the one transfer coding is `chunked`. No other was asked for, and none can be taken off.
fn is_chunked(response: &Response<()>) -> Result<bool, Broken> {
    let mut codings = response.headers().get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(false) };
    let is_alone = codings.next().is_none();
    // RFC 9112 §6.1: in a message of HTTP/1.0 the framing is faulty.
    let is_known = response.version() == Version::HTTP_11
        && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if is_alone && is_known { Ok(true) } else { Err(Broken::Malformed("its transfer-encoding")) }
}

fn keeps_open(response: &Response<()>, framing: &Framing) -> bool {
    let headers = response.headers();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return false;
    }
    let has = |option: &str| {
        headers.get_all(header::CONNECTION).iter().any(|value| {
            value.to_str().is_ok_and(|list| {
                list.split(',').any(|one| one.trim().eq_ignore_ascii_case(option))
            })
        })
    };
    match framing {
        Framing::UntilClose => return false,
        // RFC 9112 §6.1: with both, the message may be an attempt at smuggling.
        Framing::Chunked(_) if headers.contains_key(header::CONTENT_LENGTH) => return false,
        Framing::Nothing | Framing::Length(_) | Framing::Chunked(_) => {}
    }
    match response.version() {
        Version::HTTP_10 => has("keep-alive"),
        _ => !has("close"),
    }
}
