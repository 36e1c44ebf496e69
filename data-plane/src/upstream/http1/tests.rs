//! Heads and chunks as bytes, without a socket; the rest is tested through a node.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::Broken;
use super::chunked::{Chunked, Taken};
use super::head::{Framing, Head, take};

fn head_for(method: &Method, text: &str) -> Result<Option<Head>, Broken> {
    take(&mut BytesMut::from(text), method)
}

fn head(text: &str) -> Head {
    head_for(&Method::GET, text).unwrap().unwrap()
}

/// Feeds a body in pieces of these sizes, the last one again and again.
fn decode(coded: &[u8], sizes: &[usize]) -> Result<Option<(Vec<u8>, HeaderMap)>, Broken> {
    let (mut chunked, mut received, mut body) = (Chunked::default(), BytesMut::new(), Vec::new());
    let (mut rest, mut sizes) = (coded, sizes.iter().copied());
    let mut size = 1;
    loop {
        match chunked.take(&mut received)? {
            Taken::Data(piece) => body.extend_from_slice(&piece),
            Taken::End(trailers) => return Ok(Some((body, trailers))),
            Taken::Nothing if rest.is_empty() => return Ok(None),
            Taken::Nothing => {
                size = sizes.next().unwrap_or(size).clamp(1, rest.len());
                let (piece, later) = rest.split_at(size);
                received.extend_from_slice(piece);
                rest = later;
            }
        }
    }
}

#[test]
fn the_end_of_a_body_is_where_the_standard_says() {
    let framing = |method: &Method, text: &str| head_for(method, text).unwrap().unwrap().framing;
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Framing::Length(3)),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\ncontent-length: 3\r\n\r\n",
            Framing::Length(3),
        ),
        ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n", Framing::Nothing),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", Framing::Nothing),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nTransfer-Encoding: Chunked\r\n\r\n",
            Framing::Chunked(Chunked::Size),
        ),
    ] {
        assert_eq!(framing(&Method::GET, text), expected, "{text}");
        assert_eq!(framing(&Method::HEAD, text), Framing::Nothing, "{text}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_no_answer() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3, 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\n\nx: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "\r\n\r\n",
    ] {
        assert!(head_for(&Method::GET, text).is_err(), "{text}");
    }
}

#[test]
fn a_connection_is_used_again_only_where_the_end_was_certain() {
    for (text, keeps_open) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: x, Close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 3\r\nconnection: keep-alive\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", false),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
    ] {
        assert_eq!(head(text).keeps_open, keeps_open, "{text}");
    }
}

#[test]
fn a_head_has_a_bound_before_it_is_whole_and_after() {
    let field = format!("a: {}\r\n", "b".repeat(1000));
    let long = format!("HTTP/1.1 200 OK\r\n{}", field.repeat(140));
    assert!(head_for(&Method::GET, &long).is_err());
    assert!(head_for(&Method::GET, &(long + "\r\n")).is_err());
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(129));
    assert!(head_for(&Method::GET, &many).is_err());
    assert!(head_for(&Method::GET, "HTTP/1.1 200 OK\r\na: b\r\n").unwrap().is_none());
}

#[test]
fn chunks_are_put_together_and_trailers_kept() {
    let coded = b"3;name=value\r\nabc\r\nA \r\n0123456789\r\n0\r\nx-sum: 7\r\n\r\n";
    let (body, trailers) = decode(coded, &[1]).unwrap().unwrap();
    assert_eq!((body.as_slice(), trailers["x-sum"].as_bytes()), (&b"abc0123456789"[..], &b"7"[..]));
}

#[test]
fn a_chunk_that_is_not_what_it_says_is_refused() {
    for coded in [
        &b"\r\n"[..],
        b"x\r\n",
        b" 3\r\nabc\r\n",
        b"-1\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"fffffffffffffffff\r\n",
        b"0\r\nx\r\n\r\n",
        b"0\r\n a: b\r\n\r\n",
    ] {
        assert!(decode(coded, &[1]).is_err(), "{}", String::from_utf8_lossy(coded));
    }
    let extension = [b"3;", vec![b'a'; 2000].as_slice()].concat();
    assert!(decode(&extension, &[7]).is_err());
    let trailers = [b"0\r\n", "a: b\r\n".repeat(6000).as_bytes()].concat();
    assert!(decode(&trailers, &[4096]).is_err());
}

proptest! {
    #[test]
    fn however_it_is_cut_a_chunked_body_is_the_same(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        sizes in prop::collection::vec(1_usize..20, 1..8),
    ) {
        let mut coded = Vec::new();
        for piece in &pieces {
            coded.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            coded.extend_from_slice(piece);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\n");
        let (body, _) = decode(&coded, &sizes).unwrap().unwrap();
        prop_assert_eq!(body, pieces.concat());
        coded.pop();
        prop_assert!(decode(&coded, &sizes).unwrap().is_none());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = take(&mut BytesMut::from(&bytes[..]), &Method::GET);
        let _ = decode(&bytes, &[3]);
        let coded = [b"HTTP/1.1 200 OK\r\n", &bytes[..], b"\r\n\r\n"].concat();
        let _ = take(&mut BytesMut::from(Bytes::from(coded)), &Method::GET);
    }
}
