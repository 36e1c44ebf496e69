//! Streams for the property tests: requests in order, and the same with a few bytes changed.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One request of HTTP/1.1 that is in order, and its body.
pub(super) fn request() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let method = select(vec!["GET", "POST", "DELETE", "OPTIONS", "X-Y"]);
    let target = select(vec!["/", "/a/b?c=d", "http://a.test/x", "http://a.test:80"]);
    let fields = vec(field(), 0..6);
    (method, target, fields, body()).prop_map(|(method, target, fields, (framing, bytes, body))| {
        let mut request = format!("{method} {target} HTTP/1.1\r\nhost: a.test\r\n").into_bytes();
        for field in fields {
            request.extend_from_slice(field.as_bytes());
        }
        request.extend_from_slice(framing.as_bytes());
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(&bytes);
        (request, body)
    })
}

/// Some requests with a few of their bytes changed, doubled or left out, mostly for bytes that
/// mean something to a parser.
pub(super) fn mangled() -> impl Strategy<Value = Vec<u8>> {
    let stream = vec(request(), 1..4)
        .prop_map(|requests| requests.into_iter().flat_map(|(bytes, _)| bytes).collect::<Vec<_>>());
    let byte = prop_oneof![
        4 => select(b"\r\n\t :;,/*@#_\0\x7f0159afchunkedHTTP".to_vec()),
        1 => any::<u8>(),
    ];
    (stream, vec((any::<Index>(), 0..3_u8, byte), 0..4)).prop_map(|(mut stream, changes)| {
        for (at, change, byte) in changes {
            let at = at.index(stream.len());
            match change {
                0 => stream[at] = byte,
                1 => stream.insert(at, byte),
                _ if stream.len() > 1 => drop(stream.remove(at)),
                _ => {}
            }
        }
        stream
    })
}

/// Where to cut a stream.
pub(super) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

/// The pieces of a stream between its cuts.
pub(super) fn pieces<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    ends.push(stream.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| &stream[std::mem::replace(&mut start, end)..end]).collect()
}

fn field() -> impl Strategy<Value = String> {
    let name = "x-[a-z0-9_]{0,20}|accept|Cookie";
    let space = select(vec!["", " ", "\t "]);
    (name, space, "([!-~][ -~]{0,40})?")
        .prop_map(|(name, space, value)| format!("{name}:{space}{value}\r\n"))
}

/// The field that frames a body, the bytes on the wire and the body itself.
fn body() -> impl Strategy<Value = (String, Vec<u8>, Vec<u8>)> {
    let bytes = || vec(any::<u8>(), 0..40);
    prop_oneof![
        Just((String::new(), Vec::new(), Vec::new())),
        bytes().prop_map(|body| (
            format!("content-length: {}\r\n", body.len()),
            body.clone(),
            body
        )),
        (vec(vec(any::<u8>(), 1..30), 0..4), any::<bool>()).prop_map(|(chunks, is_plain)| {
            let (extension, trailer) = if is_plain { ("", "") } else { (";a=\"b\"", "x-t: 1\r\n") };
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
            ("Transfer-Encoding: Chunked\r\n".to_owned(), wire, chunks.concat())
        }),
    ]
}
