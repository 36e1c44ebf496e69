//! Requests that are malformed or have two readings: each must be refused for its own reason.

use super::super::Limits;
use super::super::violation::{self, Violation};
use super::verdict_however_cut;

type Case = (&'static [u8], &'static Violation);

const REQUEST_LINES: &[Case] = &[
    (b" / HTTP/1.1\r\n", &violation::METHOD),
    (b"\x00GET / HTTP/1.1\r\n", &violation::METHOD),
    (b"\x16\x03\x01\x02\x00\x01", &violation::METHOD),
    (b"GE(T / HTTP/1.1\r\n", &violation::METHOD),
    (b"G\xc3T / HTTP/1.1\r\n", &violation::METHOD),
    (b"GET\t/ HTTP/1.1\r\n", &violation::METHOD),
    (b"GET\r\n\r\n", &violation::METHOD),
    (b"GET\n", &violation::BARE_LF),
    (b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n", &violation::CONNECT),
    (b"CONNECT / HTTP/1.1\r\nhost: a\r\n\r\n", &violation::CONNECT),
    (b"GET  / HTTP/1.1\r\n", &violation::TARGET),
    (b"GET /  HTTP/1.1\r\n", &violation::TARGET),
    (b"GET /\tHTTP/1.1\r\n", &violation::TARGET),
    (b"GET /a b HTTP/1.1\r\n", &violation::VERSION),
    (b"GET /\0 HTTP/1.1\r\n", &violation::TARGET),
    (b"GET /\x7f HTTP/1.1\r\n", &violation::TARGET),
    (b"GET /\xc3\xa4 HTTP/1.1\r\n", &violation::TARGET),
    (b"GET /a#b HTTP/1.1\r\n", &violation::TARGET),
    (b"GET \r\n", &violation::TARGET),
    (b"GET /\r\n\r\n", &violation::VERSION),
    (b"GET /\n", &violation::BARE_LF),
    (b"GET \n", &violation::BARE_LF),
    (b"GET a.test:80 HTTP/1.1\r\n", &violation::TARGET_FORM),
    (b"GET a.test HTTP/1.1\r\n", &violation::TARGET_FORM),
    (b"GET ftp://a.test/ HTTP/1.1\r\n", &violation::TARGET_FORM),
    (b"GET http:/a.test/ HTTP/1.1\r\n", &violation::TARGET_FORM),
    (b"GET ?a HTTP/1.1\r\n", &violation::TARGET_FORM),
    (b"GET * HTTP/1.1\r\n", &violation::TARGET_FORM),
    (b"OPTIONS *a HTTP/1.1\r\n", &violation::TARGET_FORM),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &violation::TARGET_FORM),
    (b"GET http:///a HTTP/1.1\r\n", &violation::TARGET_AUTHORITY),
    (b"GET http://u@a.test/ HTTP/1.1\r\n", &violation::TARGET_AUTHORITY),
    (b"GET http://a.test\\@b/ HTTP/1.1\r\n", &violation::TARGET_AUTHORITY),
    (b"GET http://a.test:/ HTTP/1.1\r\n", &violation::TARGET_AUTHORITY),
    (b"GET / HTTP/2.0\r\n", &violation::UNSUPPORTED_VERSION),
    (b"GET / HTTP/1.2\r\n", &violation::UNSUPPORTED_VERSION),
    (b"GET / HTTP/0.9\r\n", &violation::UNSUPPORTED_VERSION),
    (b"GET / http/1.1\r\n", &violation::VERSION),
    (b"GET / HTTP/1.1 \r\n", &violation::VERSION),
    (b"GET / HTTP/1.10\r\n", &violation::VERSION),
    (b"GET / HTTP/11\r\n", &violation::VERSION),
    (b"GET / HTTP/1.1\n", &violation::BARE_LF),
    (b"GET / HTTP/1.1\rX", &violation::BARE_CR),
    (b"\n", &violation::BARE_LF),
    (b"\rG", &violation::BARE_CR),
    (b"\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", &violation::EMPTY_LINES),
];

/// What follows `GET / HTTP/1.1\r\n`.
const FIELD_LINES: &[Case] = &[
    (b"host: a\n\r\n", &violation::BARE_LF),
    (b"host\n", &violation::BARE_LF),
    (b"x: a\n", &violation::BARE_LF),
    (b"host: a\r\n\n", &violation::BARE_LF),
    (b"x: a\rb\r\n", &violation::BARE_CR),
    (b"host: a\rb\r\n", &violation::BARE_CR),
    (b"x: a\r\r\n", &violation::BARE_CR),
    (b"host: a\r\n\rX", &violation::BARE_CR),
    (b" host: a\r\n\r\n", &violation::OBSOLETE_FOLD),
    (b"host: a\r\n b\r\n", &violation::OBSOLETE_FOLD),
    (b"x: a\r\n\tb\r\n", &violation::OBSOLETE_FOLD),
    (b"host : a\r\n", &violation::SPACE_BEFORE_COLON),
    (b"transfer-encoding\t: chunked\r\n", &violation::SPACE_BEFORE_COLON),
    (b": a\r\n", &violation::FIELD_NAME),
    (b"host\r\n", &violation::FIELD_NAME),
    (b"a/b: c\r\n", &violation::FIELD_NAME),
    (b"a\0: c\r\n", &violation::FIELD_NAME),
    (b"\xe4: c\r\n", &violation::FIELD_NAME),
    (b"\x0bcontent-length: 1\r\n", &violation::FIELD_NAME),
    (b"x: a\0b\r\n", &violation::FIELD_VALUE),
    (b"x: a\x0bb\r\n", &violation::FIELD_VALUE),
    (b"x: \x7f\r\n", &violation::FIELD_VALUE),
    (b"host: a\0\r\n", &violation::FIELD_VALUE),
    (b"content-length: 1\x0c\r\n", &violation::FIELD_VALUE),
    // Host.
    (b"\r\n", &violation::HOST_MISSING),
    (b"x: a\r\n\r\n", &violation::HOST_MISSING),
    (b"host: a\r\nHost: a\r\n\r\n", &violation::HOST_LINES),
    (b"host: a\r\nx: 1\r\nhost: b\r\n\r\n", &violation::HOST_LINES),
    (b"host:\r\n", &violation::HOST),
    (b"host:  \r\n", &violation::HOST),
    (b"host: u@a\r\n", &violation::HOST),
    (b"host: a b\r\n", &violation::HOST),
    (b"host: a, b\r\n", &violation::HOST),
    (b"host: a/b\r\n", &violation::HOST),
    (b"host: http://a\r\n", &violation::HOST),
    (b"host: :80\r\n", &violation::HOST),
    (b"host: a:\r\n", &violation::HOST),
    (b"host: a:b\r\n", &violation::HOST),
    (b"host: a:+80\r\n", &violation::HOST),
    (b"host: a:80:80\r\n", &violation::HOST),
    (b"host: a:65536\r\n", &violation::HOST),
    (b"host: a:000080\r\n", &violation::HOST),
    (b"host: a%2eb\r\n", &violation::HOST),
    (b"host: \xe4\r\n", &violation::HOST),
    (b"host: ::1\r\n", &violation::HOST),
    (b"host: [::1\r\n", &violation::HOST),
    (b"host: [::1]a\r\n", &violation::HOST),
    (b"host: [a.test]\r\n", &violation::HOST),
    (b"host: [fe80::1%25eth0]\r\n", &violation::HOST),
    // Content-Length.
    (b"host: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n", &violation::CONTENT_LENGTH_LIST),
    (b"host: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n", &violation::CONTENT_LENGTH_LIST),
    (b"host: a\r\ncontent-length: 3, 3\r\n", &violation::CONTENT_LENGTH_LIST),
    (b"host: a\r\ncontent-length:\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\ncontent-length: +3\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\ncontent-length: -3\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\ncontent-length: 0x3\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\ncontent-length: 3 4\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\ncontent-length: 3.0\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\ncontent-length: \xb2\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\ncontent-length: 1000000000000000000\r\n", &violation::CONTENT_LENGTH),
    (b"host: a\r\nContent_Length: 3\r\n", &violation::DISGUISED_LENGTH),
    // Transfer-Encoding.
    (b"host: a\r\ntransfer-encoding: gzip\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding: gzip, chunked\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding: chunked, chunked\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding: chunked,\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding: identity\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding: xchunked\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding: chunked;q=1\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding: \"chunked\"\r\n", &violation::TRANSFER_CODING),
    (b"host: a\r\ntransfer-encoding:\r\n", &violation::TRANSFER_CODING),
    (
        b"host: a\r\ntransfer-encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        &violation::TRANSFER_ENCODING_LINES,
    ),
    (b"host: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n", &violation::BOTH_LENGTHS),
    (
        b"host: a\r\ntransfer-encoding: chunked\r\nx: 1\r\ncontent-length: 3\r\n",
        &violation::BOTH_LENGTHS,
    ),
    (b"host: a\r\ntransfer_encoding: chunked\r\n", &violation::DISGUISED_LENGTH),
];

/// What follows the head of a chunked request.
const CHUNKED_BODIES: &[Case] = &[
    (b"\r\n", &violation::CHUNK_SIZE),
    (b"x\r\n", &violation::CHUNK_SIZE),
    (b"-1\r\n", &violation::CHUNK_SIZE),
    (b"0x1\r\n", &violation::CHUNK_SIZE),
    (b" 1\r\n", &violation::CHUNK_SIZE),
    (b"1 \r\n", &violation::CHUNK_SIZE),
    (b";a\r\n", &violation::CHUNK_SIZE),
    (b"00000000000000001\r\n", &violation::CHUNK_SIZE),
    (b"10000000000000000\r\n", &violation::CHUNK_SIZE),
    (b"1\n", &violation::BARE_LF),
    (b"1\rx", &violation::BARE_CR),
    (b"1;a\n", &violation::BARE_LF),
    (b"1;a\rx", &violation::BARE_CR),
    (b"1;a\0\r\n", &violation::CHUNK_EXTENSION),
    (b"1\r\nxy\r\n", &violation::CHUNK_END),
    (b"1\r\nx\n", &violation::CHUNK_END),
    (b"1\r\nx\ry", &violation::CHUNK_END),
    (b"1\r\nx0\r\n\r\n", &violation::CHUNK_END),
    (b"0\r\nx : 1\r\n", &violation::SPACE_BEFORE_COLON),
    (b"0\r\nx: 1\n", &violation::BARE_LF),
    (b"0\r\nx: 1\r\n y\r\n", &violation::OBSOLETE_FOLD),
    (b"0\r\nx: \0\r\n", &violation::FIELD_VALUE),
    (b"0\r\nGET / HTTP/1.1\r\n", &violation::SPACE_BEFORE_COLON),
    (b"0\r\nContent-Length: 1\r\n", &violation::FORBIDDEN_TRAILER),
    (b"0\r\ntransfer-encoding: chunked\r\n", &violation::FORBIDDEN_TRAILER),
    (b"0\r\nx: 1\r\nhost: a\r\n", &violation::FORBIDDEN_TRAILER),
    (b"0\r\nAuthorization: x\r\n", &violation::FORBIDDEN_TRAILER),
    (b"0\r\ncontent_type: x\r\n", &violation::FORBIDDEN_TRAILER),
    (b"0\r\nte: x\r\n", &violation::FORBIDDEN_TRAILER),
];

fn all_are_refused(head: &[u8], cases: &[Case]) {
    for (bytes, violation) in cases {
        let stream = [head, *bytes].concat();
        let outcome = verdict_however_cut(Limits::default(), &stream).outcome;
        assert_eq!(outcome, Err(**violation), "{}", String::from_utf8_lossy(&stream));
    }
}

#[test]
fn a_malformed_request_line_is_refused() {
    all_are_refused(b"", REQUEST_LINES);
}

#[test]
fn a_malformed_or_ambiguous_field_line_is_refused() {
    all_are_refused(b"GET / HTTP/1.1\r\n", FIELD_LINES);
}

#[test]
fn a_malformed_chunked_body_is_refused() {
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    all_are_refused(head, CHUNKED_BODIES);
}

#[test]
fn a_request_of_http_1_0_has_at_most_one_host_and_no_transfer_encoding() {
    all_are_refused(
        b"POST / HTTP/1.0\r\n",
        &[
            (b"host: a\r\nhost: a\r\n", &violation::HOST_LINES),
            (b"host: a,b\r\n", &violation::HOST),
            (b"transfer-encoding: chunked\r\n", &violation::TRANSFER_ENCODING_1_0),
        ],
    );
}

#[test]
fn an_absolute_target_against_its_host_is_refused() {
    for (target, host) in [
        ("http://a.test/", "b.test"),
        ("http://a.test/", "a.test:81"),
        ("http://a.test:81/", "a.test"),
        ("http://a.test:443/", "a.test"),
        ("https://a.test/", "a.test:80"),
        ("http://a.test/b.test", "b.test"),
        ("http://a.test?b.test", "b.test"),
        ("http://[::1]/", "[::2]"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let outcome = verdict_however_cut(Limits::default(), request.as_bytes()).outcome;
        assert_eq!(outcome, Err(violation::HOST_MISMATCH), "{request}");
    }
}

#[test]
fn the_target_of_an_earlier_request_says_nothing_about_a_later_host() {
    let stream = b"GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: b\r\n\r\n";
    assert_eq!(verdict_however_cut(Limits::default(), stream).outcome, Ok(()));
}

#[test]
fn what_follows_a_good_request_is_held_to_the_same() {
    for earlier in [
        &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        all_are_refused(earlier, REQUEST_LINES);
    }
}

#[test]
fn every_violation_has_a_published_code_and_its_status() {
    let every = [REQUEST_LINES, FIELD_LINES, CHUNKED_BODIES].concat();
    for (_, violation) in every {
        let status = match violation.code {
            "malformed_request" | "ambiguous_framing" => 400,
            "unsupported_transfer_coding" | "method_not_supported" => 501,
            "unsupported_version" => 505,
            other => panic!("`{other}` is not a published code"),
        };
        assert_eq!(violation.status, status, "{}", violation.code);
    }
    let sized = [violation::TARGET_TOO_LONG, violation::HEAD_TOO_LARGE, violation::HOST_MISMATCH];
    let codes = sized.map(|violation| (violation.code, violation.status));
    assert_eq!(codes, [("target_too_long", 414), ("head_too_large", 431), ("host_mismatch", 400)]);
}
