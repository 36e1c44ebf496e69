//! What goes upstream and what comes back.

use ::http::{Request, Version};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tollgate_testkit::upstream::Upstream;

use crate::support::{Http2, TestNode, full, plainly, published, request};

fn start(upstream: &str, api: &str) -> (Upstream, TestNode) {
    let backend = Upstream::start("a").unwrap();
    let node = TestNode::with(&published(backend.address(), upstream, api));
    (backend, node)
}

#[tokio::test]
async fn method_path_query_and_body_arrive_unchanged() {
    let (_backend, node) = start("", "");
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let answer =
            node.call(&format!("{method} /a/b%20c;v=1,2?x=1&x=%2F&y"), &[], "the body").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = answer.json();
        assert_eq!(seen["method"], method);
        assert_eq!(seen["target"], "/a/b%20c;v=1,2?x=1&x=%2F&y");
        assert_eq!(seen["body"], "the body");
        assert_eq!(seen["version"], "HTTP/1.1");
        assert_eq!(answer.seen("content-length"), "8");
        assert_eq!(answer.seen("transfer-encoding"), "");
    }
}

#[tokio::test]
async fn a_chunked_body_arrives_as_it_is() {
    let (_backend, node) = start("", "");
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["transfer-encoding: chunked"], "")).await;
    for piece in ["3\r\nabc\r\n", "4;ext=1\r\ndefg\r\n", "0\r\n\r\n"] {
        wire.send(piece).await;
    }
    let answer = wire.answer().await;
    assert_eq!(answer.json()["body"], "abcdefg");
    assert_eq!(answer.seen("transfer-encoding"), "chunked");
    assert_eq!(wire.call("GET /", &[], "").await.status, 200);
}

#[tokio::test]
async fn the_base_path_is_taken_off_where_the_api_says_so() {
    let backend = Upstream::start("a").unwrap();
    let yaml = plainly(backend.address())
        .replace("base_path: /", "base_path: /shop\n  strip_base_path: true");
    let node = TestNode::with(&yaml);
    for (sent, seen) in [
        ("/shop/items?a=1", "/items?a=1"),
        ("/shop", "/"),
        ("/shop/", "/"),
        ("/shop?a=1", "/?a=1"),
        ("/shop/%7eme/%c3%a4", "/~me/%C3%A4"),
    ] {
        assert_eq!(node.get(sent).await.json()["target"], seen, "{sent}");
    }
    assert_eq!(node.get("/shopping").await.status, 404);
}

#[tokio::test]
async fn a_path_goes_upstream_in_the_form_it_was_matched_in() {
    let (_backend, node) = start("", "");
    assert_eq!(node.get("/%61/%7Eb/%c3?q=%61").await.json()["target"], "/a/~b/%C3?q=%61");
}

#[tokio::test]
async fn the_endpoint_gets_its_own_host_or_the_clients() {
    let (backend, node) = start("", "");
    assert_eq!(node.get("/").await.seen("host"), backend.address().to_string());
    let (_backend, node) = start("preserve_host: true", "");
    assert_eq!(node.get("/").await.seen("host"), "api.test");
}

#[tokio::test]
async fn the_upstream_is_told_who_calls_and_nothing_that_an_untrusted_client_made_up() {
    let (_backend, node) = start("", "");
    let made_up = [
        "x-forwarded-for: 6.6.6.6",
        "x-forwarded-host: evil.test",
        "x-forwarded-proto: https",
        "forwarded: for=6.6.6.6",
        "via: 1.0 before",
    ];
    let answer = node.call("GET /", &made_up, "").await;
    assert_eq!(answer.seen("x-forwarded-for"), "127.0.0.1");
    assert_eq!(answer.seen("x-forwarded-host"), "api.test");
    assert_eq!(answer.seen("x-forwarded-proto"), "http");
    assert_eq!(answer.seen("forwarded"), "for=127.0.0.1;host=\"api.test\";proto=http");
    assert_eq!(answer.seen("via"), "1.0 before, 1.1 tollgate");
}

#[tokio::test]
async fn a_trusted_proxys_word_is_continued() {
    let (backend, mut node) = start("", "");
    node.apply("kind: Gateway\nname: default\nspec: {trusted_proxies: [127.0.0.0/8]}");
    let fields =
        ["x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https", "forwarded: for=203.0.113.9"];
    let answer = node.call("GET /", &fields, "").await;
    assert_eq!(answer.seen("x-forwarded-for"), "203.0.113.9, 127.0.0.1");
    assert_eq!(answer.seen("x-forwarded-proto"), "https");
    assert!(answer.seen("forwarded").starts_with("for=203.0.113.9, for=127.0.0.1;"));
    assert_eq!(node.records(1).await[0]["client"], "203.0.113.9");
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn a_request_has_one_identifier_on_its_whole_way() {
    let (_backend, node) = start("", "");
    let given = node.call("GET /", &["x-request-id: my-own.1"], "").await;
    assert_eq!(
        (given.field("x-request-id"), given.seen("x-request-id").as_str()),
        ("my-own.1", "my-own.1")
    );
    for malformed in ["x-request-id: a b", "x-request-id: {}", "x-request-id:"] {
        let answer = node.call("GET /", &[malformed], "").await;
        let made = answer.field("x-request-id");
        assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
        assert_eq!(answer.seen("x-request-id"), made);
    }
    let refused = node.call("GET /%00", &["x-request-id: my-own.2"], "").await;
    assert_eq!(
        (refused.field("x-request-id"), refused.code().as_str()),
        ("my-own.2", "ambiguous_path")
    );
}

#[tokio::test]
async fn what_is_for_one_hop_goes_no_further() {
    let (_backend, node) = start("", "");
    let fields = [
        "connection: keep-alive, x-mine, x-request-id, upgrade",
        "x-mine: 1",
        "keep-alive: timeout=5",
        "proxy-authorization: Basic eA==",
        "proxy-connection: close",
        "te: trailers",
        "upgrade: websocket",
        "x-kept: 1",
    ];
    let answer = node
        .call(
            "GET /?set=x-upstream:1&set=keep-alive:timeout=9&set=proxy-authenticate:Basic",
            &fields,
            "",
        )
        .await;
    for gone in
        ["connection", "x-mine", "keep-alive", "proxy-authorization", "proxy-connection", "upgrade"]
    {
        assert_eq!(answer.seen(gone), "", "{gone}");
    }
    assert_eq!((answer.seen("x-kept").as_str(), answer.seen("te").as_str()), ("1", "trailers"));
    assert_eq!(answer.field("x-upstream"), "1");
    assert_eq!((answer.field("keep-alive"), answer.field("proxy-authenticate")), ("", ""));
}

#[tokio::test]
async fn a_client_that_waits_to_send_its_body_is_told_to_go_on() {
    let (_backend, node) = start("", "");
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["expect: 100-continue", "content-length: 3"], "")).await;
    let (status, ..) = wire.head().await;
    assert_eq!(status, 100);
    wire.send("abc").await;
    let answer = wire.answer().await;
    assert_eq!((answer.json()["body"].as_str(), answer.seen("expect").as_str()), (Some("abc"), ""));
    // The same over HTTP/2 upstream, and where the body is chunked.
    let (_backend, node) = start("protocol: http2", "");
    let mut wire = node.wire().await;
    wire.send(request("POST /", &["expect: 100-continue", "transfer-encoding: chunked"], "")).await;
    let (status, ..) = wire.head().await;
    assert_eq!(status, 100);
    wire.send("3\r\nabc\r\n0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.json()["body"].as_str(), answer.seen("expect").as_str()), (Some("abc"), ""));
    // Nor is a body asked for that nobody will read.
    let mut wire = node.wire().await;
    wire.send(request("POST /%00", &["expect: 100-continue", "content-length: 3"], "")).await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.was_continued), (400, false));
}

#[tokio::test]
async fn answers_without_a_body_keep_what_they_say_of_one() {
    let (_backend, node) = start("", "");
    let mut wire = node.wire().await;
    let answer = wire.call("HEAD /?size=12345", &[], "").await;
    assert_eq!((answer.status, answer.field("content-length")), (200, "12345"));
    let answer = wire.call("GET /?status=204&size=0", &[], "").await;
    assert_eq!(
        (answer.status, answer.field("content-length"), answer.field("transfer-encoding")),
        (204, "", "")
    );
    let answer = wire.call("GET /?status=304&size=0&set=etag:%22x%22", &[], "").await;
    assert_eq!((answer.status, answer.field("etag")), (304, "%22x%22"));
    let answer = wire.call("GET /?size=0", &[], "").await;
    assert_eq!((answer.status, answer.field("content-length"), answer.is_whole), (200, "0", true));
    let answer = wire.call("HEAD /%00", &[], "").await;
    assert_eq!(answer.status, 400);
    let answer = wire.call("GET /?size=70000", &[], "").await;
    assert_eq!((answer.body.len(), answer.field("content-length")), (70_000, "70000"));
}

#[tokio::test]
async fn an_answer_without_a_length_is_chunked_and_ends_where_it_ends() {
    let (_backend, node) = start("", "");
    let mut wire = node.wire().await;
    let answer = wire.call("GET /?size=100000&piece=1000&chunked", &[], "").await;
    assert_eq!(
        (answer.body.len(), answer.is_whole, answer.field("content-length")),
        (100_000, true, "")
    );
    assert_eq!(answer.field("transfer-encoding"), "chunked");
    assert_eq!(wire.call("GET /", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_what_it_understands() {
    let (_backend, node) = start("", "");
    let mut wire = node.wire().await;
    wire.send("GET /?size=5000&chunked HTTP/1.0\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!((answer.status, answer.version, answer.body.len()), (200, 0, 5000));
    assert_eq!(answer.field("transfer-encoding"), "");
    let mut wire = node.wire().await;
    for _ in 0..2 {
        wire.send("GET / HTTP/1.0\r\nhost: api.test\r\nconnection: keep-alive\r\n\r\n").await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.json()["version"].as_str()), (200, Some("HTTP/1.1")));
        assert_eq!(answer.seen("via"), "1.0 tollgate");
    }
}

#[tokio::test]
async fn a_target_in_absolute_form_is_one_like_another() {
    let (_backend, node) = start("preserve_host: true", "");
    let mut wire = node.wire().await;
    for target in ["http://api.test/x?y=1", "HTTP://api.test:80/x?y=1"] {
        let answer = wire.call(&format!("GET {target}"), &[], "").await;
        assert_eq!(answer.json()["target"], "/x?y=1", "{target}");
        assert_eq!(answer.seen("host"), "api.test");
    }
    let answer = wire.call("GET http://other.test/", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "host_mismatch"));
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_their_order() {
    let (backend, node) = start("", "");
    let mut wire = node.wire().await;
    let row: String =
        (0..20).map(|i| request(&format!("GET /{i}?delay_ms={}", 20 - i), &[], "")).collect();
    wire.send(row).await;
    for i in 0..20 {
        let target = wire.answer().await.json()["target"].as_str().unwrap().to_owned();
        assert!(target.starts_with(&format!("/{i}?")), "{target}");
    }
    assert_eq!((backend.requests(), backend.connections()), (20, 1));
}

#[tokio::test]
async fn http_2_goes_to_http_1_and_back() {
    let (_backend, node) = start("preserve_host: true", "");
    let mut client = Http2::to(node.address).await;
    let post = || Request::post("http://api.test/a?b=1");
    let answer =
        client.call(post().header("cookie", "a=1").header("cookie", "b=2"), full("hello")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = answer.json();
    assert_eq!((seen["target"].as_str(), seen["body"].as_str()), (Some("/a?b=1"), Some("hello")));
    assert_eq!(seen["version"], "HTTP/1.1");
    assert_eq!(
        (answer.seen("host").as_str(), answer.seen("via").as_str()),
        ("api.test", "2.0 tollgate")
    );
    assert_eq!(answer.seen("cookie"), "a=1; b=2");
    assert_eq!(answer.field("transfer-encoding"), "");
    let answer = client.call(Request::head("http://api.test/?size=77"), full("")).await;
    assert_eq!((answer.status, answer.field("content-length")), (200, "77"));
}

#[tokio::test]
async fn http_1_goes_to_http_2_and_back() {
    let (_backend, node) = start("protocol: http2\n  preserve_host: true", "");
    let mut wire = node.wire().await;
    let answer = wire.call("POST /a?b=1", &["connection: x", "x: 1"], "hello").await;
    let seen = answer.json();
    assert_eq!(
        (seen["version"].as_str(), seen["body"].as_str()),
        (Some("HTTP/2.0"), Some("hello"))
    );
    assert_eq!(seen["target"], "http://api.test/a?b=1");
    assert_eq!((answer.seen("host"), answer.seen("x")), (String::new(), String::new()));
    let answer = wire.call("GET /?size=3000&piece=1000&chunked", &[], "").await;
    assert_eq!((answer.version, answer.body.len(), answer.is_whole), (1, 3000, true));
    let (backend, node) = start("protocol: http2", "");
    let seen = node.get("/").await.json();
    assert_eq!(seen["target"], format!("http://{}/", backend.address()));
}

#[tokio::test]
async fn http_2_goes_to_http_2_over_one_connection_with_trailers_both_ways() {
    let (backend, node) = start("protocol: http2", "");
    let mut client = Http2::to(node.address).await;
    let mut fields = ::http::HeaderMap::new();
    fields.insert("x-sum", "7".parse().unwrap());
    let frames = [Ok(Frame::data("abc".into())), Ok(Frame::trailers(fields))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let answer = client.call(Request::post("http://api.test/?trailers"), body).await;
    assert_eq!(answer.json()["trailers"]["x-sum"][0], "7");
    assert_eq!(answer.trailers["x-checksum"], "abc");
    let calls = (0..50).map(|i| {
        let request =
            Request::get(format!("http://api.test/{i}?delay_ms=50")).body(full("")).unwrap();
        client.sender.send_request(request)
    });
    let calls: Vec<_> = calls.collect();
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(backend.connections(), 1);
    assert!(backend.most_under_way() > 25);
}

#[tokio::test]
async fn trailers_pass_over_http_1_where_they_are_announced_and_wanted() {
    let (_backend, node) = start("", "");
    let mut wire = node.wire().await;
    wire.send(request(
        "POST /?trailers",
        &["transfer-encoding: chunked", "trailer: x-sum", "te: trailers", "connection: te"],
        "",
    ))
    .await;
    wire.send("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.json()["trailers"]["x-sum"][0], "7");
    assert_eq!(answer.trailers.get("x-checksum").unwrap(), "abc");
    let answer = wire.call("GET /?trailers", &[], "").await;
    assert_eq!((answer.trailers.len(), answer.is_whole), (0, true));
}

#[tokio::test]
async fn trailers_pass_between_the_two_versions() {
    let (_backend, node) = start("", "");
    let mut client = Http2::to(node.address).await;
    let mut fields = ::http::HeaderMap::new();
    fields.insert("x-sum", "7".parse().unwrap());
    let frames = [Ok(Frame::data("abc".into())), Ok(Frame::trailers(fields))];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let request = Request::post("http://api.test/?trailers")
        .header("trailer", "x-sum")
        .header("te", "trailers");
    let answer = client.call(request, body).await;
    assert_eq!(answer.json()["trailers"]["x-sum"][0], "7");
    assert_eq!(answer.trailers["x-checksum"], "abc");

    let (_backend, node) = start("protocol: http2", "");
    let mut wire = node.wire().await;
    let fields = ["transfer-encoding: chunked", "trailer: x-sum", "te: trailers", "connection: te"];
    wire.send(crate::support::request("POST /?trailers", &fields, "")).await;
    wire.send("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n").await;
    let answer = wire.answer().await;
    assert_eq!(answer.json()["trailers"]["x-sum"][0], "7");
    assert_eq!(answer.trailers.get("x-checksum").unwrap(), "abc");
}

#[tokio::test]
async fn an_authority_that_differs_from_the_host_is_refused() {
    let (backend, node) = start("", "");
    let mut client = Http2::to(node.address).await;
    let request = Request::get("http://api.test/").header("host", "other.test");
    let answer = client.call(request, full("")).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "host_mismatch"));
    let request =
        Request::get("http://api.test/").version(Version::HTTP_2).header("host", "API.test");
    assert_eq!(client.call(request, full("")).await.status, 200);
    let connect = Request::connect("api.test:80").body(full("")).unwrap();
    assert_ne!(
        client.send(connect).await.map(|answer| answer.status().as_u16()).unwrap_or(400),
        200
    );
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn hosts_paths_and_methods_decide() {
    let backend = Upstream::start("a").unwrap();
    let api = |name: &str, spec: &str| {
        format!("---\nkind: Api\nname: {name}\nspec:\n  upstream: backend\n  {spec}\n")
    };
    let mark =
        |name: &str| format!("policies: [{{headers: {{response: {{set: {{x-api: {name}}}}}}}}}]");
    let yaml = plainly(backend.address()).replace("base_path: /", "base_path: /none")
        + &api("exact", &format!("hosts: [a.test]\n  base_path: /\n  {}", mark("exact")))
        + &api("wild", &format!("hosts: ['*.b.test']\n  base_path: /\n  {}", mark("wild")))
        + &api(
            "any",
            &format!(
                "base_path: /any\n  {}\n  routes:\n    - {{name: item, match: {{methods: [GET, PUT], path: '/items/{{id}}'}}, \
                 policies: [{{headers: {{request: {{set: {{x-id: '{{path.id}}'}}}}, response: {{set: {{x-item: '{{path.id}}'}}}}}}}}]}}",
                mark("any")
            ),
        );
    let node = TestNode::with(&yaml);
    let mut wire = node.wire().await;
    for (host, target, status, api) in [
        ("a.test", "/", 200, "exact"),
        ("A.TEST:8080", "/x", 200, "exact"),
        ("x.b.test", "/", 200, "wild"),
        ("b.test", "/", 404, ""),
        ("other.test", "/any/items/7", 200, "any"),
        ("other.test", "/any/items", 404, ""),
    ] {
        wire.send(format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, answer.field("x-api")), (status, api), "{host}{target}");
        if status == 404 {
            assert_eq!(answer.code(), "no_route");
        }
    }
    let answer = wire.call("GET /any/items/se%20ven", &[], "").await;
    assert_eq!(answer.seen("x-id"), answer.field("x-item"));
    assert!(answer.field("x-item").contains("ven"), "{answer:?}");
    let answer = wire.call("DELETE /any/items/7", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (405, "method_not_allowed"));
    assert!(answer.field("allow").contains("GET") && answer.field("allow").contains("PUT"));
}

#[tokio::test]
async fn before_its_first_configuration_a_node_says_so() {
    let node = TestNode::empty();
    let answer = node.get("/").await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_configured"));
    assert_eq!(answer.field("retry-after"), "1");
}
