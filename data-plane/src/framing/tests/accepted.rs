//! Requests that have one reading: all must pass, however they are cut.

use super::super::{Limits, Position};
use super::verdict_however_cut;

const ONE_REQUEST: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    // The method is any token.
    b"M-SEARCH! /x HTTP/1.1\r\nhost: a\r\n\r\n",
    b"get / HTTP/1.1\r\nhost: a\r\n\r\n",
    // Forms of the target.
    b"GET /a/%2e%2e/b;c?d=e&f[]=g|h HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET //a HTTP/1.1\r\nhost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    b"OPTIONS /a HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET http://a.test/x HTTP/1.1\r\nhost: a.test\r\n\r\n",
    b"GET HTTP://A.Test HTTP/1.1\r\nhost: a.tESt\r\n\r\n",
    b"GET http://a.test?q HTTP/1.1\r\nhost: a.test:80\r\n\r\n",
    b"GET http://a.test:80/ HTTP/1.1\r\nhost: a.test\r\n\r\n",
    b"GET https://a.test/ HTTP/1.1\r\nhost: a.test:443\r\n\r\n",
    b"GET http://[::1]:81/ HTTP/1.1\r\nhost: [::1]:81\r\n\r\n",
    b"GET http://a.test/ HTTP/1.0\r\n\r\n",
    b"GET http://a/?u=http://b@c/ HTTP/1.1\r\nhost: a\r\n\r\n",
    // Values of Host.
    b"GET / HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: [2001:db8::1]\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a_b-c.~d\r\n\r\n",
    b"GET / HTTP/1.1\r\nHOST:\t a \t\r\n\r\n",
    // Field lines.
    b"GET / HTTP/1.1\r\nhost:a\r\nx:\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx: \t \r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx: a\tb  c \xe4\xff\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\n!#$%&'*+-.^_`|~09az: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx_forwarded_for: 1\r\nhosts: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: 2\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    // Bodies of known length.
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\nContent-Length:  3 \t\r\n\r\n\r\n\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 003\r\n\r\nabc",
    b"POST / HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 24\r\n\r\nGET / HTTP/1.1\nhost: b\n\n",
    // Chunked bodies.
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: \tCHUNKED \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n00a\r\n0123\r\n6789\r\n000\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
      1;a\r\nx\r\n1;b=\"c d\";\te\r\ny\r\n0;f\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
      1\r\nx\r\n0\r\nx-checksum: 1\r\ngrpc-status:0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nF\r\n0123456789abcde\r\n0\r\n\r\n",
];

#[test]
fn a_request_that_has_one_reading_passes() {
    for request in ONE_REQUEST {
        let verdict = verdict_however_cut(Limits::default(), request);
        let shown = String::from_utf8_lossy(request);
        assert_eq!(verdict.outcome, Ok(()), "{shown}");
        assert_eq!(verdict.position, Position::BetweenRequests, "{shown}");
        assert_eq!(verdict.requests, 1, "{shown}");
    }
}

#[test]
fn requests_may_follow_one_another_in_one_read() {
    let stream = ONE_REQUEST.concat();
    let verdict = verdict_however_cut(Limits::default(), &stream);
    assert_eq!(verdict.outcome, Ok(()));
    assert_eq!(verdict.position, Position::BetweenRequests);
    assert_eq!(usize::try_from(verdict.requests), Ok(ONE_REQUEST.len()));
}
