//! Blocks of fields that cannot be decompressed (RFC 7541): each ends its connection (RFC 9113 §4.3), since what comes
//! behind it could not be read either.

use super::{Answer, Case, Fresh, GoAway, case, check};
use crate::support::frames::{
    COMPRESSION_ERROR, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, block, frame,
};

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// A request with these bytes before and behind its fields.
fn request(stream: u32, before: &[u8], behind: &[u8]) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &[before, &block("GET", "/", &[]), behind].concat())
}

fn bad(section: &'static str, name: &'static str, behind: &[u8]) -> Case {
    let bytes = request(1, &[], behind);
    case(section, name, Fresh, bytes, GoAway(COMPRESSION_ERROR)).named(PROTOCOL_ERROR).forwarding(0)
}

fn good(section: &'static str, name: &'static str, behind: &[u8]) -> Case {
    case(section, name, Fresh, request(1, &[], behind), Answer(200)).forwarding(1)
}

fn indices() -> Vec<Case> {
    // A field that enters the table, and is 62 there.
    let entered = b"\x40\x03x-a\x01b";
    let entered_and = |bytes: &[u8]| [&entered[..], bytes].concat();
    vec![
        bad("6.1", "the index 0", b"\x80"),
        bad("2.3.3", "an index behind the static table", b"\xbe"),
        bad("2.3.3", "an index far behind the static table", b"\xff\x80\x01"),
        bad("2.3.3", "an index behind the dynamic table", &entered_and(b"\xbf")),
        bad("2.3.3", "a name's index behind both, to enter", b"\x7f\x00\x01b"),
        bad("2.3.3", "a name's index behind both, to enter nothing", b"\x0f\x2f\x01b"),
        bad("2.3.3", "a name's index behind both, never to enter", b"\x1f\x2f\x01b"),
        good("6.1", "an index in the dynamic table", &entered_and(b"\xbe")),
        good("6.2.1", "a name in the dynamic table", &entered_and(b"\x7e\x01c")),
        good("6.2.3", "a field never to enter", b"\x10\x03x-a\x01b"),
    ]
}

#[tokio::test]
async fn an_index_names_an_entry_of_a_table() {
    check(indices()).await;
}

fn sizes() -> Vec<Case> {
    let bad_of = |section, name, bytes| {
        case(section, name, Fresh, bytes, GoAway(COMPRESSION_ERROR)).named(PROTOCOL_ERROR)
    };
    let good_of = |section, name, bytes| case(section, name, Fresh, bytes, Answer(200));
    // 4,096 is what RFC 9113 §6.5.2 has where SETTINGS do not speak of it.
    let (most, beyond) = (b"\x3f\xe1\x1f", b"\x3f\xe2\x1f");
    let entered = request(1, &[], b"\x40\x03x-a\x01b");
    let emptied = [&entered[..], &request(3, b"\x20\x3f\xe1\x1f", b"\xbe")].concat();
    let kept = [&entered[..], &request(3, most, b"\xbe")].concat();
    // 4,070 bytes, with its name and 32 more one too many.
    let large = [b"\x40\x03x-a\x7f\xe7\x1e", &[b'y'; 4_070][..]].concat();
    let displaced = [&entered[..], &request(3, &[], &large), &request(5, &[], b"\xbe")].concat();
    let begun = frame(HEADERS, END_STREAM, 1, &block("GET", "/", &[]));
    let late = [begun, frame(CONTINUATION, END_HEADERS, 1, b"\x20")].concat();
    vec![
        bad_of("6.3", "a size above the limit", request(1, beyond, b"")),
        bad_of("4.2", "a size behind a field", request(1, b"", b"\x20")),
        // h2 takes each frame of a block for its beginning. The table has the size that the client wanted, and
        // holds what the client's does: nothing is read in two ways.
        case("4.2", "a size behind a field, in a later frame", Fresh, late, {
            GoAway(COMPRESSION_ERROR)
        })
        .but(Answer(200)),
        bad_of("4.3", "an entry of a table that was emptied", emptied),
        bad_of("4.4", "an entry that a larger one displaced", displaced),
        good_of("6.3", "the largest size", request(1, most, b"")),
        good_of("6.3", "two sizes", request(1, b"\x20\x3f\xe1\x1f", b"")),
        good_of("4.3", "an entry of a table that was not", kept),
        good_of("4.4", "a field larger than the table", request(1, b"", &large)),
    ]
}

#[tokio::test]
async fn a_table_has_the_size_that_was_agreed_on() {
    check(sizes()).await;
}

fn integers_and_strings() -> Vec<Case> {
    // `x-test: ` by the code of appendix B, and the bytes of a value.
    let huffman = |value: &[u8]| {
        let length = 0x80 | u8::try_from(value.len()).unwrap();
        [b"\x00\x85\xf2\xb2\x4a\x84\xff", &[length][..], value].concat()
    };
    let broken = |name, value: &[u8]| bad("5.2", name, &huffman(value));
    vec![
        bad("5.1", "an integer without its end", b"\xff\x80"),
        bad("5.1", "an integer above 2^64", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        bad("5.1", "an integer above 2^32", b"\xff\xff\xff\xff\xff\x1f"),
        bad("5.1", "an integer with many zeros", b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
        bad("5.1", "a length above 2^32", b"\x00\x7f\xff\xff\xff\xff\x1f"),
        bad("5.2", "a name that is cut off", b"\x00\x05ab"),
        bad("5.2", "a value that is cut off", b"\x00\x01a\x05bc"),
        bad("5.2", "no value", b"\x00\x01a"),
        bad("5.2", "nothing behind the kind of a field", b"\x00"),
        bad("5.2", "a value by Huffman's code that is cut off", b"\x00\x01a\x85\xf2\xb2"),
        good("5.2", "Huffman's code", &huffman(b"\x49\x50\x9f")),
        broken("padding of 12 bits", b"\x49\x50\x9f\xff"),
        broken("padding of 8 bits", b"\xff"),
        broken("padding of zeros", b"\x49\x50\x90"),
        broken("the end of a string within it", b"\x49\x51\xff\xff\xff\xfa\x7f"),
        broken("the end of a string at its end", b"\x49\x51\xff\xff\xff\xff"),
    ]
}

#[tokio::test]
async fn integers_and_strings_come_whole_and_within_bounds() {
    check(integers_and_strings()).await;
}
