//! Upstreams that are slow, gone, or break off; which of them is asked, and how often.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Request;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http2, TestNode, eventually, full, plainly, published, request};

/// An address that nobody listens at.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn several(backends: &[(SocketAddr, u32)], more: &str) -> String {
    let endpoints: Vec<String> = backends
        .iter()
        .map(|(address, weight)| format!("{{url: 'http://{address}', weight: {weight}}}"))
        .collect();
    format!(
        "kind: Upstream\nname: backend\nspec:\n  endpoints: [{}]\n  {more}\n---\n\
         kind: Api\nname: shop\nspec: {{base_path: /, upstream: backend}}\n",
        endpoints.join(", ")
    )
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_502_with_its_code() {
    let node = TestNode::with(&plainly(nobody()));
    for line in ["GET /", "POST /"] {
        let answer = node.call(line, &[], "body").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
    }
    let record = &node.records(2).await[0];
    assert_eq!(
        (record["fault"].as_str(), record["attempts"].as_u64()),
        (Some("upstream"), Some(2))
    );
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_is_a_504() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(
        backend.address(),
        "timeouts: {first_byte: 200ms}\n  retry: {attempts: 0}",
        "",
    ));
    let answer = node.get("/?hang").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "upstream_timeout"));
    // The time begins with the request's last byte, however slow its body comes.
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["content-length: 4"], "")).await;
    for _ in 0..4 {
        assert!(wire.is_silent_for(Duration::from_millis(100)).await);
        wire.send("x").await;
    }
    assert_eq!(wire.answer().await.json()["body"], "xxxx");
    let started = Instant::now();
    wire.send(request("POST /?hang", &[], "x")).await;
    assert_eq!(wire.answer().await.status, 504);
    assert!(started.elapsed() >= Duration::from_millis(200));
    eventually(|| (backend.under_way() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_whole_exchange_may_have_a_bound_of_its_own() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(backend.address(), "timeouts: {total: 300ms}", ""));
    let started = Instant::now();
    assert_eq!(node.get("/?hang").await.status, 504);
    let answer = node.get("/?size=1000000&piece=1000&pause_ms=20").await;
    assert!(!answer.is_whole && answer.body.len() < 100_000, "{}", answer.body.len());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn silence_in_the_middle_of_an_answer_cuts_it_off_visibly() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(backend.address(), "timeouts: {idle: 200ms}", ""));
    for (target, length) in [("/?size=5000&stall", 5000), ("/?size=5000&stall&chunked", 5000)] {
        let answer = node.get(target).await;
        assert_eq!(
            (answer.status, answer.is_whole, answer.body.len()),
            (200, false, length),
            "{target}"
        );
    }
    let mut client = Http2::to(node.address).await;
    let answer = client.call(Request::get("http://api.test/?size=5000&stall"), full("")).await;
    assert!(!answer.is_whole);
    // Pauses that are shorter are no silence.
    let answer = node.get("/?size=500&piece=100&pause_ms=100").await;
    assert!(answer.is_whole);
    for record in node.records(4).await.iter().take(3) {
        assert_eq!(
            (record["status"].as_u64(), record["complete"].as_bool()),
            (Some(200), Some(false)),
            "{record}"
        );
        assert_eq!(record["response_bytes"], 5000);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_passed_on_as_broken_off() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    for target in ["/?size=5000&cut&pause_ms=20", "/?size=5000&cut&chunked&pause_ms=20"] {
        let answer = node.get(target).await;
        assert!(!answer.is_whole, "{target}: {}", answer.body.len());
    }
    assert_eq!(node.get("/").await.status, 200);
    assert_eq!(node.records(3).await[0]["complete"], false);
}

#[tokio::test]
async fn what_may_be_done_twice_is_tried_at_another_endpoint() {
    let backend = Upstream::start("good").unwrap();
    let resetting = Upstream::resetting("bad", 0).unwrap();
    for bad in [nobody(), resetting.address()] {
        let node = TestNode::with(&several(
            &[(bad, 1), (backend.address(), 1)],
            "retry: {attempts: 1, budget: 1.0}",
        ));
        for _ in 0..6 {
            let answer = node.get("/").await;
            assert_eq!((answer.status, answer.field("x-server")), (200, "good"), "{answer:?}");
        }
        let records = node.records(6).await;
        assert!(records.iter().any(|record| record["attempts"] == 2), "{records:?}");
        assert!(node.metric("tollgate_upstream_retries_total") >= 2);
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_not_done_again() {
    let backend = Upstream::start("good").unwrap();
    let resetting = Upstream::resetting("bad", 0).unwrap();
    let endpoints = [(resetting.address(), 1), (backend.address(), 1)];
    let node = TestNode::with(&several(&endpoints, "retry: {attempts: 3, budget: 1.0}"));
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(node.call("POST /", &[], "order").await.status);
    }
    assert!(statuses.contains(&502) && statuses.contains(&200), "{statuses:?}");
    assert_eq!(backend.requests() + resetting.requests(), 6);
    // Where no byte was sent, nothing can have been done.
    let node = TestNode::with(&several(
        &[(nobody(), 1), (backend.address(), 1)],
        "retry: {attempts: 1, budget: 1.0}",
    ));
    for _ in 0..6 {
        assert_eq!(node.call("POST /", &[], "order").await.json()["body"], "order");
    }
}

#[tokio::test]
async fn retries_are_a_share_of_the_calls() {
    let resetting = Upstream::resetting("bad", 0).unwrap();
    let node =
        TestNode::with(&published(resetting.address(), "retry: {attempts: 5, budget: 0.1}", ""));
    let mut wire = node.wire().await;
    for _ in 0..100 {
        let answer = wire.call("GET /", &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_reset"));
    }
    // Ten at once, and a tenth of a hundred.
    let retries = node.metric("tollgate_upstream_retries_total");
    assert!((10..=20).contains(&retries), "{retries}");
    assert_eq!(resetting.requests(), 100 + retries);
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced_unseen() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(backend.address(), "retry: {attempts: 0}", ""));
    let mut wire = node.wire().await;
    for round in 1..=10 {
        assert_eq!(wire.call("POST /", &[], "order").await.status, 200, "round {round}");
        assert_eq!(backend.connections(), round);
        backend.close_connections();
        eventually(|| (backend.open_connections() == 0).then_some(())).await;
    }
}

#[tokio::test]
async fn connections_are_kept_for_the_next_call() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut wire = node.wire().await;
    for target in [
        "/",
        "/?size=0",
        "/?size=200000",
        "/?size=9000&chunked",
        "/?status=204&size=0",
        "/?status=500",
    ] {
        for line in [format!("GET {target}"), format!("HEAD {target}"), format!("POST {target}")] {
            assert!(
                wire.call(&line, &[], if line.starts_with("POST") { "body" } else { "" })
                    .await
                    .is_whole
            );
        }
    }
    assert_eq!((backend.requests(), backend.connections()), (18, 1));
    assert_eq!(node.metric("tollgate_upstream_connections_total"), 1);
}

#[tokio::test]
async fn the_connection_of_an_answer_that_nobody_read_is_not_used_again() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut wire = node.wire().await;
    wire.send(request("GET /?size=1000000000", &[], "")).await;
    wire.head().await;
    drop(wire);
    eventually(|| (backend.open_connections() == 0).then_some(())).await;
    assert_eq!(node.get("/").await.status, 200);
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_is_passed_on() {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&plainly(backend.address()));
    let mut wire = node.wire().await;
    wire.send(request("POST /?early&status=413", &["content-length: 100000"], "")).await;
    wire.send("part").await;
    assert_eq!(wire.answer().await.status, 413);
    drop(wire);
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn endpoints_take_turns_by_weight() {
    let (a, b) = (Upstream::start("a").unwrap(), Upstream::start("b").unwrap());
    let node = TestNode::with(&several(&[(a.address(), 3), (b.address(), 1)], ""));
    let mut wire = node.wire().await;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..40 {
        let answer = wire.call("GET /", &[], "").await;
        *counts.entry(answer.field("x-server").to_owned()).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("a".to_owned(), 30), ("b".to_owned(), 10)]));
}

#[tokio::test]
async fn least_request_shares_evenly_and_avoids_who_is_slow() {
    let (a, b) = (Upstream::start("a").unwrap(), Upstream::start("b").unwrap());
    let node =
        TestNode::with(&several(&[(a.address(), 1), (b.address(), 1)], "balance: least_request"));
    // One connection: one core, which knows of all its requests.
    let mut client = Http2::to(node.address).await;
    for _ in 0..20 {
        assert_eq!(client.call(Request::get("http://api.test/"), full("")).await.status, 200);
    }
    assert_eq!((a.requests(), b.requests()), (10, 10));
    let hanging: Vec<_> = (0..4)
        .map(|_| {
            client.sender.send_request(
                Request::get("http://api.test/?delay_ms=1500").body(full("")).unwrap(),
            )
        })
        .collect();
    eventually(|| (a.under_way() + b.under_way() == 4).then_some(())).await;
    assert_eq!((a.under_way(), b.under_way()), (2, 2));
    // Two more hang at whichever; the rest goes to the other.
    let more = client
        .sender
        .send_request(Request::get("http://api.test/?delay_ms=1500").body(full("")).unwrap());
    eventually(|| (a.under_way() + b.under_way() == 5).then_some(())).await;
    let (slow, quick) = if a.under_way() == 3 { (&a, &b) } else { (&b, &a) };
    let (slow_before, quick_before) = (slow.requests(), quick.requests());
    for _ in 0..20 {
        client.call(Request::get("http://api.test/"), full("")).await;
    }
    assert_eq!((slow.requests() - slow_before, quick.requests() - quick_before), (0, 20));
    for answer in futures_util::future::join_all(hanging).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(more.await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_server_may_be_named() {
    let backend = Upstream::start("a").unwrap();
    let port = backend.address().port();
    let yaml = plainly(backend.address())
        .replace(&backend.address().to_string(), &format!("localhost:{port}"));
    let node = TestNode::with(&yaml);
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.seen("host")), (200, format!("localhost:{port}")));
    let mut node = TestNode::with(&yaml.replace("localhost", "no-such-host.invalid"));
    assert_eq!(node.get("/").await.code(), "upstream_unreachable");
    node.apply(&yaml);
    assert_eq!(node.get("/").await.status, 200);
}

#[tokio::test]
async fn malformed_answers_are_a_502_and_odd_ones_are_put_right() {
    let cases: [(&str, u16, &str, bool); 14] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", 200, "abc", true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            200,
            "abc",
            true,
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
            200,
            "abc",
            true,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nabc", 200, "abc", true),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc", 200, "abc", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", 200, "abc", false),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
            200,
            "abc",
            false,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            502,
            "",
            true,
        ),
        ("nonsense\r\n\r\n", 502, "", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 502, "", true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 502, "", true),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 502, "", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\n\nabc\r\n\r\n", 502, "", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\n", 200, "abc", true),
    ];
    for (raw, status, body, is_whole) in cases {
        let backend = Upstream::raw(raw).unwrap();
        let node = TestNode::with(&published(backend.address(), "retry: {attempts: 0}", ""));
        let answer = node.get("/").await;
        assert_eq!(answer.status, status, "{raw}");
        if status == 502 {
            assert_eq!(answer.code(), "upstream_reset", "{raw}");
            continue;
        }
        assert_eq!(
            (String::from_utf8_lossy(&answer.body).as_ref(), answer.is_whole),
            (body, is_whole),
            "{raw}"
        );
        let lengths = [answer.field("content-length"), answer.field("transfer-encoding")];
        assert_eq!(lengths.iter().filter(|length| !length.is_empty()).count(), 1, "{raw}");
    }
}
