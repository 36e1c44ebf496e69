//! Every limit at its last good value and one beyond.

use super::super::{Limits, Violation, violation};
use super::verdict_however_cut;

const WIDE: Limits = Limits { head_bytes: 4096, header_count: 100, target_bytes: 4096 };

fn outcome(limits: Limits, request: &str) -> Result<(), Violation> {
    verdict_however_cut(limits, request.as_bytes()).outcome
}

#[test]
fn a_head_has_its_limit_to_the_byte() {
    let request = "\r\nGET /abc HTTP/1.1\r\nhost: a\r\nx-one: 1\r\n\r\n";
    // The empty line before it is no part of the head.
    let head_bytes = request.len() - 2;
    assert_eq!(outcome(Limits { head_bytes, ..WIDE }, request), Ok(()));
    for head_bytes in 0..head_bytes {
        let refused = outcome(Limits { head_bytes, ..WIDE }, request);
        assert_eq!(refused, Err(violation::HEAD_TOO_LARGE), "{head_bytes}");
    }
}

#[test]
fn each_head_has_the_whole_limit() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let limits = Limits { head_bytes: request.len(), header_count: 1, target_bytes: 1 };
    assert_eq!(outcome(limits, &request.repeat(3)), Ok(()));
}

#[test]
fn a_target_has_its_limit_to_the_byte() {
    for (target, bytes) in [("/abcdefghijklmn", 15), ("http://a/bcdefg", 15)] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(outcome(Limits { target_bytes: bytes, ..WIDE }, &request), Ok(()));
        for target_bytes in 0..bytes {
            let refused = outcome(Limits { target_bytes, ..WIDE }, &request);
            assert_eq!(refused, Err(violation::TARGET_TOO_LONG), "{target_bytes}");
        }
    }
}

#[test]
fn whichever_limit_comes_first_in_the_stream_is_the_one_named() {
    let request = "GET /abcdefghijklmn HTTP/1.1\r\nhost: a\r\n\r\n";
    let target_first = Limits { head_bytes: 12, target_bytes: 5, ..WIDE };
    assert_eq!(outcome(target_first, request), Err(violation::TARGET_TOO_LONG));
    let head_first = Limits { head_bytes: 8, target_bytes: 5, ..WIDE };
    assert_eq!(outcome(head_first, request), Err(violation::HEAD_TOO_LARGE));
}

#[test]
fn fields_are_counted() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: 2\r\n\r\n";
    assert_eq!(outcome(Limits { header_count: 3, ..WIDE }, request), Ok(()));
    let refused = outcome(Limits { header_count: 2, ..WIDE }, request);
    assert_eq!(refused, Err(violation::TOO_MANY_FIELDS));
}

#[test]
fn a_trailer_section_has_the_limits_of_a_head_for_itself() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let tight = Limits { head_bytes: head.len(), header_count: 2, target_bytes: 1 };
    let fits = format!("{head}0\r\nx: 1\r\ny: 2\r\n\r\n");
    assert_eq!(outcome(tight, &fits), Ok(()));
    let too_many = format!("{head}0\r\nx: 1\r\ny: 2\r\nz: 3\r\n\r\n");
    assert_eq!(outcome(tight, &too_many), Err(violation::TRAILERS_TOO_LARGE));
    let too_large = format!("{head}0\r\nx: {}\r\n\r\n", "1".repeat(head.len()));
    assert_eq!(outcome(tight, &too_large), Err(violation::TRAILERS_TOO_LARGE));
}

#[test]
fn a_chunk_extension_has_256_bytes_in_each_chunk() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let longest = "e".repeat(256);
    let fits = format!("{head}1;{longest}\r\nx\r\n1;{longest}\r\nx\r\n0\r\n\r\n");
    assert_eq!(outcome(WIDE, &fits), Ok(()));
    let beyond = format!("{head}1;{longest}e\r\nx\r\n0\r\n\r\n");
    assert_eq!(outcome(WIDE, &beyond), Err(violation::CHUNK_EXTENSION));
}

#[test]
fn the_largest_lengths_that_are_taken_do_not_overflow() {
    let sized = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999999999999\r\n\r\nab";
    assert_eq!(outcome(WIDE, sized), Ok(()));
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(outcome(WIDE, &format!("{head}ffffffffffffffff\r\nab")), Ok(()));
}

#[test]
fn a_value_that_is_read_is_bounded_however_it_is_cut() {
    let host = |name: String| format!("GET / HTTP/1.1\r\nhost: {name}\r\n\r\n");
    assert_eq!(outcome(WIDE, &host("a".repeat(255) + ":65535")), Ok(()));
    assert_eq!(outcome(WIDE, &host("a".repeat(256))), Err(violation::HOST));
    assert_eq!(outcome(WIDE, &host(format!("a{}", " ".repeat(400)))), Err(violation::HOST));
    let spaced = format!("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1{}2\r\n", " ".repeat(400));
    assert_eq!(outcome(WIDE, &spaced), Err(violation::CONTENT_LENGTH));
    let long_name = format!("GET / HTTP/1.1\r\nhost: a\r\n{}: 1\r\n\r\n", "x".repeat(1000));
    assert_eq!(outcome(WIDE, &long_name), Ok(()));
    let absolute = |name: String| format!("GET http://{name}/b HTTP/1.1\r\nhost: {name}\r\n\r\n");
    assert_eq!(outcome(WIDE, &absolute("a".repeat(255))), Ok(()));
    assert_eq!(outcome(WIDE, &absolute("a".repeat(500))), Err(violation::TARGET_AUTHORITY));
}
