//! The beginning of a connection from a balancer: no panic, and one verdict however much follows it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_data_plane::connection::proxy_header::{Beginning, parse};

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes) {
        Beginning::Header(length, client) => {
            assert!(length <= bytes.len());
            let head = bytes.get(..length).unwrap_or_default();
            assert_eq!(parse(head), Beginning::Header(length, client));
            for cut in 0..length {
                let cut = bytes.get(..cut).unwrap_or_default();
                assert_eq!(parse(cut), Beginning::Unclear);
            }
        }
        // More bytes do not mend it.
        Beginning::Malformed => {
            let more = [bytes, b"\r\n"].concat();
            assert_eq!(parse(&more), Beginning::Malformed);
        }
        Beginning::Unclear => assert!(bytes.len() < 4096),
    }
});
