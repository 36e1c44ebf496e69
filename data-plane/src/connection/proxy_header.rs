//! The PROXY protocol, versions 1 and 2: what a balancer says of the client before the client's own
//! first byte.

use std::net::SocketAddr;
use std::time::Duration;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tollgate_model::gateway::{Limits, Network};

use crate::core::Core;

/// The longest header that is read: 232 bytes of addresses, and room for what else version 2 carries.
const MOST_BYTES: usize = 4096;
/// The longest header of version 1, as its specification has it.
const MOST_V1_BYTES: usize = 107;
const CONFIG: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Not yet clear.
    Unclear,
    /// No header, or a malformed one.
    Malformed,
    /// A header of so many bytes, and the client that it names; none: the balancer itself.
    Header(usize, Option<SocketAddr>),
}

/// Reads the first bytes of a connection.
#[must_use]
pub fn parse(bytes: &[u8]) -> Beginning {
    // Both versions are told by their first bytes; more of what is neither helps nothing.
    const FIRST: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];
    let is_either =
        FIRST.iter().any(|first| bytes.iter().zip(*first).all(|(byte, known)| byte == known));
    if !is_either {
        return Beginning::Malformed;
    }
    match ProxyHeader::parse(bytes, CONFIG) {
        Ok((_, length)) if bytes.first() == Some(&b'P') && length > MOST_V1_BYTES => {
            Beginning::Malformed
        }
        Ok((header, length)) => {
            let address = header.proxied_address().map(|address| address.source);
            Beginning::Header(length, address)
        }
        Err(Error::BufferTooShort) if bytes.len() < MOST_BYTES => Beginning::Unclear,
        Err(_) => Beginning::Malformed,
    }
}

/// Takes the header off a connection from `address`, and tells the client's address. None where the
/// connection is to be closed: it comes from elsewhere than a trusted proxy, or does not begin with
/// a header in the time that a head may take.
pub(super) async fn take(
    core: &Core,
    stream: &mut TcpStream,
    address: SocketAddr,
    (trusted, limits): (&[Network], &Limits),
) -> Option<SocketAddr> {
    let ip = address.ip().to_canonical();
    let is_trusted = trusted.iter().any(|network| network.0.contains(&ip));
    let taken = match is_trusted {
        true => tokio::time::timeout(limits.head_time.get(), read(stream)).await.ok().flatten(),
        false => None,
    };
    if taken.is_none() {
        core.metrics.proxy_headers_refused.add(1);
    }
    taken.map(|client| client.unwrap_or(address))
}

/// Looks until the header is whole, and takes no byte behind it.
async fn read(stream: &mut TcpStream) -> Option<Option<SocketAddr>> {
    let mut bytes = vec![0; MOST_BYTES];
    let mut known = 0;
    loop {
        let length = stream.peek(&mut bytes).await.ok()?;
        match parse(bytes.get(..length)?) {
            Beginning::Header(header, client) => {
                stream.read_exact(bytes.get_mut(..header)?).await.ok()?;
                return Some(client);
            }
            Beginning::Unclear if length > 0 => {}
            Beginning::Unclear | Beginning::Malformed => return None,
        }
        if length == known {
            // What has come stays readable: wait for more without spinning.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        known = length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V2: &[u8] =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x1f\x90\x01\xbb";

    fn header(bytes: &[u8], length: usize, client: Option<&str>) {
        let client = client.map(|client| client.parse().unwrap());
        assert_eq!(parse(bytes), Beginning::Header(length, client));
        for cut in 0..length {
            assert_eq!(parse(&bytes[..cut]), Beginning::Unclear, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_more_of_them_mend_nothing(
            first in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&b"PROXY TCP4 1"[..]), Just(&V2[..13])],
            rest in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "[0-9a-f:. ]{0,120}\\r\\n".prop_map(String::into_bytes),
            ],
        ) {
            let bytes = [first, &rest].concat();
            match parse(&bytes) {
                Beginning::Header(length, client) => {
                    prop_assert_eq!(parse(&bytes[..length]), Beginning::Header(length, client));
                    prop_assert_eq!(parse(&bytes[..length - 1]), Beginning::Unclear);
                }
                Beginning::Malformed => {
                    prop_assert_eq!(parse(&[&bytes[..], b"\r\n"].concat()), Beginning::Malformed);
                }
                Beginning::Unclear => {}
            }
        }
    }

    #[test]
    fn both_versions_name_the_client() {
        let v1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\nGET /";
        header(v1, v1.len() - 5, Some("192.0.2.7:8080"));
        let v1 = b"PROXY TCP6 2001:db8::1 ::1 8080 443\r\n";
        header(v1, v1.len(), Some("[2001:db8::1]:8080"));
        header(b"PROXY UNKNOWN\r\n", 15, None);
        header(&[V2, b"GET /"].concat(), V2.len(), Some("192.0.2.7:8080"));
        header(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16, None);
    }

    #[test]
    fn what_is_no_header_is_malformed_as_soon_as_that_shows() {
        for bytes in [
            &b"G"[..],
            b"GET / HTTP/1.1\r\n",
            b"PROXX",
            b"PROXYTCP4 1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 192.0.2.777 10.0.0.1 8080 443\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 99999\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
            b"\x16\x03\x01",
        ] {
            let whole = [bytes, &[b' '; 120]].concat();
            let padded = if bytes.first() == Some(&b'\r') { &whole } else { bytes };
            assert_eq!(parse(padded), Beginning::Malformed, "{bytes:?}");
        }
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; MOST_BYTES]].concat();
        assert_eq!(parse(&long[..MOST_BYTES]), Beginning::Malformed);
        let long = [&V2[..14], &[0xff; MOST_BYTES]].concat();
        assert_eq!(parse(&long[..MOST_BYTES]), Beginning::Malformed);
    }
}
