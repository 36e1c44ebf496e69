//! What the framing validator costs a request: ns per head and per body read, fastest of 300
//! batches. `cargo bench --profile micro -p tollgate-data-plane --bench framing`

use std::hint::black_box;
use std::time::Instant;

use tollgate_data_plane::framing::{Framing, Limits};

const TYPICAL: &[u8] = b"GET /orders/items?page=2 HTTP/1.1\r\n\
    host: api.shop.test\r\n\
    user-agent: shop-client/4.2\r\n\
    accept: application/json\r\n\
    accept-encoding: gzip, br\r\n\
    x-api-key: tg_2f9d_9c1b7e0a4d\r\n\
    x-request-id: 7d0e\r\n\
    \r\n";

const BROWSER: &[u8] = b"GET /assets/app.js HTTP/1.1\r\n\
    Host: www.shop.test\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/126.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=f3a91c07bd2e4c5f8a6b1d0e9c7f2a43; theme=dark; consent=granted\r\n\
    If-None-Match: \"5f3c-60a1b2c3\"\r\n\
    \r\n";

const SIZED_HEAD: &[u8] = b"POST /orders HTTP/1.1\r\nhost: api.shop.test\r\n\
    content-type: application/json\r\ncontent-length: 16384\r\n\r\n";

const BATCHES: u32 = 300;
const HEADS: u32 = 2_000;

fn main() {
    report("head of 6 fields, one read", TYPICAL.len(), |framing| push(framing, TYPICAL));
    report("head of 10 fields, one read", BROWSER.len(), |framing| push(framing, BROWSER));
    let (start, end) = TYPICAL.split_at(101);
    report("head of 6 fields, two reads", TYPICAL.len(), |framing| {
        push(framing, start);
        push(framing, end);
    });
    let two = [TYPICAL, TYPICAL].concat();
    report("two pipelined heads, one read", two.len(), |framing| push(framing, &two));
    let body = vec![b'x'; 16_384];
    report("head and 16 KiB by content-length", SIZED_HEAD.len() + body.len(), |framing| {
        push(framing, SIZED_HEAD);
        push(framing, &body);
    });
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn report(name: &str, bytes: usize, mut work: impl FnMut(&mut Framing)) {
    let mut framing = Framing::new(Limits::default());
    let mut fastest_ns = f64::INFINITY;
    for _ in 0..BATCHES {
        let begin = Instant::now();
        for _ in 0..HEADS {
            work(&mut framing);
        }
        let batch_ns = begin.elapsed().as_secs_f64() * 1e9;
        fastest_ns = fastest_ns.min(batch_ns / f64::from(HEADS));
    }
    println!("{name:<36} {bytes:>6} bytes {fastest_ns:>8.1} ns");
}

#[expect(clippy::panic, reason = "a benchmark of refusals would mislead")]
fn push(framing: &mut Framing, bytes: &[u8]) {
    if let Err(violation) = framing.push(black_box(bytes)) {
        panic!("a well-formed head was refused: {violation}");
    }
}
