//! The cache at work: what reaches the origin, and what does not.

use std::time::Duration;

use http::Request;
use tokio::task::JoinSet;
use tollgate_testkit::upstream::Upstream;

use crate::support::{API_KEY, Answer, Http2, TestNode, collected, eventually, full, published};

const FRESH: &str = "set=cache-control:max-age=60";
/// Stored, and stale at once.
const STALE: &str = "set=age:70";

fn start(policies: &str) -> (Upstream, TestNode) {
    start_with(policies, "")
}

fn start_with(policies: &str, more: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let api = format!("policies: [{policies}]");
    let node = TestNode::with(&(published(backend.address(), "", &api) + more));
    (backend, node)
}

fn status(answer: &Answer) -> &str {
    answer.field("cache-status")
}

#[tokio::test]
async fn the_second_call_is_answered_from_memory_also_on_another_connection_and_over_http2() {
    let (backend, node) = start("{cache: {}}");
    let target = format!("/?{FRESH}");
    let first = node.get(&target).await;
    assert_eq!(status(&first), "tollgate; fwd=uri-miss; stored");
    let second = node.get(&target).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert!(status(&second).starts_with("tollgate; hit; ttl="), "{second:?}");
    assert_ne!(first.field("x-request-id"), second.field("x-request-id"));
    let mut client = Http2::to(node.address).await;
    let third = client.call(Request::get(format!("http://api.test{target}")), full("")).await;
    assert_eq!((third.status, &third.body), (200, &first.body));
    assert_eq!(third.field("content-length"), first.body.len().to_string());
    let head = node.call(&format!("HEAD {target}"), &[], "").await;
    assert_eq!(head.field("content-length"), first.body.len().to_string());
    assert_eq!(backend.requests(), 1);

    let records = node.records(4).await;
    let cache: Vec<&str> = records.iter().map(|record| record["cache"].as_str().unwrap()).collect();
    assert_eq!(cache, ["miss", "hit", "hit", "hit"]);
    assert!(records[1].get("upstream").is_none(), "{}", records[1]);
    assert_eq!(node.metric("tollgate_cache_requests_total{outcome=\"hit\"}"), 3);
    assert_eq!(node.metric("tollgate_cache_requests_total{outcome=\"miss\"}"), 1);
    assert_eq!(node.metric("tollgate_cache_entries"), 1);
    assert!(node.metric("tollgate_cache_bytes") > first.body.len().try_into().unwrap());
}

#[tokio::test]
async fn a_change_of_the_configuration_keeps_what_is_stored() {
    let (backend, mut node) = start("{cache: {}}");
    let target = format!("/?{FRESH}");
    node.get(&target).await;
    node.apply("kind: Gateway\nname: default\nspec: {}");
    assert!(status(&node.get(&target).await).contains("hit"));
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn fields_that_vary_select() {
    let (backend, node) = start("{cache: {}}");
    let target = format!("/?{FRESH}&set=vary:accept");
    let get = async |accept: &str| {
        let field = format!("accept: {accept}");
        node.call(&format!("GET {target}"), &[&field], "").await
    };
    for accept in ["text/a", "text/b", "text/a", "text/b"] {
        assert_eq!(get(accept).await.seen("accept"), accept);
    }
    assert_eq!(backend.requests(), 2);
    assert_eq!(status(&get("text/c").await), "tollgate; fwd=vary-miss; stored");
}

#[tokio::test]
async fn what_is_stale_is_asked_about_and_clients_do_not_see_that() {
    let (backend, node) = start("{cache: {}}");
    let target = format!("/?{FRESH}&{STALE}&etag=one");
    let first = node.get(&target).await;
    let second = node.get(&target).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    assert_eq!(status(&second), "tollgate; fwd=stale; fwd-status=304");
    let third = node.call(&format!("GET {target}"), &["if-none-match: \"one\""], "").await;
    assert_eq!((third.status, third.body.len()), (304, 0));
    assert_eq!(backend.requests(), 3);
    assert_eq!(node.records(3).await[1]["cache"], "revalidated");
    // Connections were kept for the next of them: one for each request thread.
    assert!(backend.connections() <= 2);
}

#[tokio::test]
async fn parts_and_conditions_are_answered_from_what_is_stored_whole() {
    let (backend, node) = start("{cache: {}}");
    let line = format!("GET /?{FRESH}&size=1000&etag=one");
    node.call(&line, &[], "").await;
    let part = node.call(&line, &["range: bytes=990-"], "").await;
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(part.field("content-range"), "bytes 990-999/1000");
    let beyond = node.call(&line, &["range: bytes=1000-"], "").await;
    assert_eq!((beyond.status, beyond.field("content-range")), (416, "bytes */1000"));
    let held = node.call(&line, &["if-none-match: \"one\""], "").await;
    assert_eq!((held.status, held.body.len()), (304, 0));
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn a_thousand_misses_at_once_are_one_request_at_the_origin() {
    let (backend, node) = start("{cache: {}}");
    let target = format!("http://api.test/?{FRESH}&delay_ms=500");
    let mut calls = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let client = Http2::to(node.address).await;
        for _ in 0..50 {
            let (mut sender, target) = (client.sender.clone(), target.clone());
            calls.spawn(async move {
                let request = Request::get(target).body(full("")).unwrap();
                collected(sender.send_request(request).await.unwrap()).await
            });
        }
        clients.push(client);
    }
    let answers = calls.join_all().await;
    assert_eq!((answers.len(), backend.requests()), (1000, 1));
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body));
    let collapsed = node.metric("tollgate_cache_requests_total{outcome=\"collapsed\"}");
    let hits = node.metric("tollgate_cache_requests_total{outcome=\"hit\"}");
    assert_eq!(collapsed + hits, 999);
    assert!(collapsed > 500, "{collapsed}");
}

#[tokio::test]
async fn who_waited_for_what_cannot_be_stored_goes_on_at_once() {
    let (backend, node) = start("{cache: {wait: 20s}}");
    let target = "/?set=cache-control:no-store&delay_ms=100";
    let calls = (0..10).map(|_| node.get(target));
    let started = std::time::Instant::now();
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(backend.requests(), 10);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_policy_says() {
    let (backend, node) = start("{cache: {wait: 50ms}}");
    let target = format!("/?{FRESH}&delay_ms=1500");
    let (first, second) = tokio::join!(node.get(&target), node.get(&target));
    assert_eq!((first.status, second.status, backend.requests()), (200, 200, 2));
}

#[tokio::test]
async fn what_is_stale_is_given_at_once_and_fetched_beside_it() {
    let (backend, node) =
        start("{rate_limit: {limit: 3, window: 1h, by: ip, mode: exact}}, {cache: {}}");
    let target =
        format!("/?set=cache-control:max-age=60,stale-while-revalidate=600&{STALE}&etag=one");
    node.get(&target).await;
    let second = node.get(&target).await;
    assert!(status(&second).starts_with("tollgate; hit; ttl=-"), "{second:?}");
    eventually(|| (backend.requests() == 2).then_some(())).await;
    assert_eq!(node.records(2).await[1]["cache"], "stale");
    // Who fetches is counted by nobody.
    assert!(node.get(&target).await.field("ratelimit").starts_with("\"default\";r=0;"));
    eventually(|| (backend.requests() == 3).then_some(())).await;
    // What was fetched was read to its end: its connection serves again.
    assert!(backend.connections() <= 2);
}

#[tokio::test]
async fn what_is_stale_stands_in_while_the_upstream_is_away() {
    let (backend, node) = start("{cache: {}}");
    let excused = format!("/?set=cache-control:max-age=60,stale-if-error=600&{STALE}");
    let strict = format!("/?set=cache-control:max-age=60,must-revalidate&{STALE}&etag=one");
    let fresh = format!("/?{FRESH}");
    let first = node.get(&excused).await;
    node.get(&strict).await;
    node.get(&fresh).await;
    drop(backend);
    let answer = node.get(&excused).await;
    assert_eq!((answer.status, &answer.body), (200, &first.body));
    assert_eq!(status(&answer), "tollgate; fwd=stale; fwd-status=502");
    assert_eq!(node.get(&fresh).await.status, 200);
    let answer = node.get(&strict).await;
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
}

#[tokio::test]
async fn no_caller_gets_what_another_got() {
    let callers = format!(
        "---\nkind: Application\nname: one\nspec: {{}}\n---\nkind: Credential\nname: ones\nspec: {{application: one, api_key: {{value: {API_KEY}}}}}\n\
         ---\nkind: Application\nname: two\nspec: {{}}\n---\nkind: Credential\nname: twos\nspec: {{application: two, api_key: {{value: sk-other-001}}}}\n"
    );
    let mine = format!("x-api-key: {API_KEY}");
    for (policy, said, requests) in [
        ("{cache: {}}", "max-age=60", 4),
        ("{cache: {}}", "max-age=60,public", 1),
        ("{cache: {per: application}}", "max-age=60", 2),
        ("{cache: {ttl: 1h}}", "x", 4),
    ] {
        let set = "{headers: {request: {set: {x-application: '{application}'}}}}";
        let (backend, node) = start_with(&format!("{{api_key: {{}}}}, {policy}, {set}"), &callers);
        let line = format!("GET /?set=cache-control:{said}");
        for _ in 0..2 {
            for (key, name) in [(mine.as_str(), "one"), ("x-api-key: sk-other-001", "two")] {
                let answer = node.call(&line, &[key], "").await;
                let is_own = answer.seen("x-application") == name;
                assert!(is_own || said.contains("public"), "{policy} {said}");
            }
        }
        assert_eq!(backend.requests(), requests, "{policy} {said}");
        // And nobody without a key.
        assert_eq!(node.call(&line, &[], "").await.status, 401);
    }
}

#[tokio::test]
async fn what_broke_off_is_not_stored() {
    let (backend, node) = start("{cache: {}}");
    for (number, end) in [(2, "cut&pause_ms=20"), (4, "cut&chunked&pause_ms=20")] {
        let target = format!("/?{FRESH}&size=1000&{end}");
        for _ in 0..2 {
            assert!(!node.get(&target).await.is_whole, "{end}");
        }
        assert_eq!(backend.requests(), number, "{end}");
    }
    // The client goes before the end.
    let target = format!("/?{FRESH}&size=40000&piece=2000&pause_ms=20");
    let mut wire = node.wire().await;
    wire.send(crate::support::request(&format!("GET {target}"), &[], "")).await;
    wire.head().await;
    drop(wire);
    node.records(5).await;
    let answer = node.get(&target).await;
    assert_eq!((answer.body.len(), backend.requests()), (40_000, 6));
    assert!(status(&node.get(&target).await).contains("hit"));
}

#[tokio::test]
async fn bodies_in_pieces_are_stored_whole_and_large_ones_are_not() {
    let (backend, node) = start("{cache: {max_body: 10KiB}}");
    let small = format!("/?{FRESH}&size=10240&piece=100&chunked");
    let large = format!("/?{FRESH}&size=10241&piece=100&chunked");
    for _ in 0..2 {
        assert_eq!(node.get(&small).await.body.len(), 10_240);
        assert_eq!(node.get(&large).await.body.len(), 10_241);
    }
    assert_eq!(backend.requests(), 3);
}

#[tokio::test]
async fn a_change_lets_what_is_stored_go() {
    let (backend, node) = start("{cache: {}}");
    let target = format!("/?{FRESH}");
    node.get(&target).await;
    assert_eq!(node.call(&format!("POST {target}&status=500"), &[], "x").await.status, 500);
    assert!(status(&node.get(&target).await).contains("hit"));
    node.call(&format!("POST {target}"), &[], "x").await;
    assert_eq!(status(&node.get(&target).await), "tollgate; fwd=uri-miss; stored");
    assert_eq!(backend.requests(), 4);
}

#[tokio::test]
async fn only_what_is_cached_where_a_client_wants_that() {
    let (backend, node) = start("{cache: {}}");
    let answer = node.call("GET /", &["cache-control: only-if-cached"], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "not_cached"));
    assert_eq!(backend.requests(), 0);
}
