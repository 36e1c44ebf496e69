//! TLS at a listener: what clients are shown, what they must show, and what comes of it upstream.

#![expect(clippy::large_futures, reason = "a test's future is on the heap and alone")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tollgate_testkit::pki::{Authority, Issued};

use crate::support::tls::{Client, H2, Tls, call_on, clients, free_address, gateway, names_of};
use crate::support::{Wire, collected, full, published, request, soon};

#[tokio::test]
async fn both_versions_carry_calls_and_the_upstream_is_told_of_https() {
    let tls = Tls::simple();
    for (version, name) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let client = Client::made(&tls.root, None, &[version]);
        let stream = client.connect(tls.address, "api.test").await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(name));
        let answer = call_on(stream, &[]).await.unwrap();
        assert_eq!((answer.status, answer.seen("x-forwarded-proto").as_str()), (200, "https"));
        assert!(answer.seen("forwarded").ends_with("host=\"api.test\";proto=https"), "{answer:?}");
    }
    assert_eq!(tls.node.metric("tollgate_tls_handshakes_total"), 2);
    assert_eq!(tls.node.get("/").await.seen("x-forwarded-proto"), "http");
}

#[tokio::test]
async fn alpn_decides_which_http_is_spoken() {
    let tls = Tls::simple();
    let client = tls.client().with_alpn(&["h2", "http/1.1"]);
    let stream = client.connect(tls.address, "api.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut h2 = H2::on(stream).await;
    let answer = h2.get("https://api.test/").await;
    assert_eq!((answer.status, answer.seen("via").as_str()), (200, "2.0 tollgate"));

    let client = tls.client().with_alpn(&["http/1.1"]);
    let stream = client.connect(tls.address, "api.test").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    assert_eq!(call_on(stream, &[]).await.unwrap().status, 200);

    let client = tls.client().with_alpn(&["spdy/3"]);
    client.connect(tls.address, "api.test").await.unwrap_err();
}

#[tokio::test]
async fn the_older_version_is_refused_where_it_is_not_wanted() {
    let tls = Tls::start(&[("api", &["api.test"])], "{min_version: 1.3}");
    let old = Client::made(&tls.root, None, &[&TLS12]);
    old.connect(tls.address, "api.test").await.unwrap_err();
    tls.client().connect(tls.address, "api.test").await.unwrap();
    tls.failed(1).await;
}

#[tokio::test]
async fn a_client_is_shown_the_exact_name_then_the_wildcard_then_the_first() {
    let all: [(&str, &[&str]); 3] = [
        ("a-first", &["first.test", "other.test"]),
        ("b-wild", &["*.shop.test"]),
        ("c-exact", &["api.shop.test"]),
    ];
    let tls = Tls::start(&all, "{}");
    assert_eq!(tls.shown("api.shop.test").await, ["dns:api.shop.test"]);
    assert_eq!(tls.shown("www.shop.test").await, ["dns:*.shop.test"]);
    assert_eq!(tls.shown("other.test").await, ["dns:first.test", "dns:other.test"]);
    let mut client = tls.client();
    client.config.enable_sni = false;
    let stream = client.connect(tls.address, "first.test").await.unwrap();
    assert_eq!(names_of(&stream), ["dns:first.test", "dns:other.test"]);
    // No certificate is for it, so the client gives up, not the node.
    client.connect(tls.address, "unknown.test").await.unwrap_err();
}

#[tokio::test]
async fn a_tenants_certificate_is_shown_for_the_hosts_that_it_owns_alone() {
    let mut tls = Tls::start(&[("mine", &["api.test"])], "{}");
    let theirs = tls.root.server(&["api.test", "theirs.test", "mine.test"]).unwrap();
    let theirs = theirs.document("theirs").replace("name: theirs", "name: theirs\ntenant: acme");
    let tenant = "kind: Tenant\nname: acme\nspec: {hosts: [theirs.test]}\n---\n";
    assert_eq!(tls.node.apply(&(tenant.to_owned() + &theirs)), []);
    assert_eq!(tls.shown("api.test").await, ["dns:api.test"]);
    assert_eq!(tls.shown("theirs.test").await.len(), 3);
    tls.client().connect(tls.address, "mine.test").await.unwrap_err();
}

#[tokio::test]
async fn a_new_certificate_is_shown_at_once_and_open_connections_stay() {
    let mut tls = Tls::start(&[("api", &["api.test", "old.test"])], "{certificates: [api]}");
    let client = tls.client().with_alpn(&["h2"]);
    let mut open = H2::on(client.connect(tls.address, "api.test").await.unwrap()).await;
    assert_eq!(open.get("https://api.test/").await.status, 200);
    let new = tls.root.server(&["api.test", "new.test"]).unwrap();
    assert_eq!(tls.node.apply(&new.document("api")), []);
    assert_eq!(tls.shown("api.test").await, ["dns:api.test", "dns:new.test"]);
    assert_eq!(open.get("https://api.test/").await.status, 200);
    assert_eq!(tls.backend.requests(), 2);
}

#[tokio::test]
async fn sessions_are_resumed_on_any_thread_and_after_a_change_of_certificates() {
    let mut tls = Tls::simple();
    for version in [&TLS13, &TLS12] {
        let client = Client::made(&tls.root, None, &[version]);
        let kind = async |address| {
            let mut stream = client.connect(address, "api.test").await.unwrap();
            let kind = stream.get_ref().1.handshake_kind().unwrap();
            // Tickets of TLS 1.3 come with the first bytes.
            stream
                .write_all(request("GET /", &["connection: close"], "").as_bytes())
                .await
                .unwrap();
            soon(stream.read_to_end(&mut Vec::new())).await.unwrap();
            kind
        };
        assert_ne!(kind(tls.address).await, HandshakeKind::Resumed);
        for _ in 0..4 {
            assert_eq!(kind(tls.address).await, HandshakeKind::Resumed);
        }
        let new = tls.root.server(&["api.test"]).unwrap();
        tls.node.apply(&new.document("api"));
        assert_eq!(kind(tls.address).await, HandshakeKind::Resumed);
    }
    assert_eq!(tls.node.metric("tollgate_tls_handshakes_resumed_total"), 10);
}

#[tokio::test]
async fn a_required_client_certificate_is_asked_for_and_verified() {
    let people = Authority::new("people").unwrap();
    let tls = Tls::start(&[("api", &["api.test"])], &clients("required", &people));
    let good = people.client("web", "spiffe://shop/web").unwrap();
    let stranger = Authority::new("people").unwrap().client("web", "spiffe://shop/web").unwrap();
    for (own, is_taken) in [(None, false), (Some(&stranger), false), (Some(&good), true)] {
        for version in [&TLS12, &TLS13] {
            let client = Client::made(&tls.root, own, &[version]);
            // In TLS 1.3 the client hears of the refusal with its first read.
            let answer = match client.connect(tls.address, "api.test").await {
                Ok(stream) => call_on(stream, &[]).await.ok(),
                Err(_) => None,
            };
            assert_eq!(answer.is_some_and(|answer| answer.status == 200), is_taken);
        }
    }
    assert_eq!(tls.backend.requests(), 2);
    tls.failed(4).await;
}

#[tokio::test]
async fn an_optional_client_certificate_may_be_left_out_but_not_be_a_strangers() {
    let people = Authority::new("people").unwrap();
    let tls = Tls::start(&[("api", &["api.test"])], &clients("optional", &people));
    let stream = tls.client().connect(tls.address, "api.test").await.unwrap();
    assert_eq!(call_on(stream, &[]).await.unwrap().status, 200);
    let stranger = Authority::new("x").unwrap().client("web", "spiffe://shop/web").unwrap();
    let client = Client::made(&tls.root, Some(&stranger), &[&TLS12]);
    client.connect(tls.address, "api.test").await.unwrap_err();
}

fn partners(certificate: &str) -> String {
    format!(
        "kind: Application\nname: partner\nspec: {{}}\n---\n\
         kind: Credential\nname: theirs\nspec: {{application: partner, certificate: {certificate}}}\n"
    )
}

#[tokio::test]
async fn a_client_certificate_tells_which_application_calls() {
    let people = Authority::new("people").unwrap();
    let mut tls = Tls::start(&[("api", &["api.test"])], &clients("optional", &people));
    let api = published(
        tls.backend.address(),
        "",
        "policies: [{mtls_identity: {}}, {headers: {request: {set: {x-caller: '{application}'}}}}]",
    );
    tls.node.apply(&(api + "---\n" + &partners("{san: 'uri:spiffe://shop/web'}")));
    let known = people.client("web", "spiffe://shop/web").unwrap();
    let unknown = people.client("web", "spiffe://shop/other").unwrap();
    for version in [&TLS12, &TLS13] {
        // The second time the session is resumed, and the certificate is still known.
        let client = Client::made(&tls.root, Some(&known), &[version]);
        for _ in 0..2 {
            let stream = client.connect(tls.address, "api.test").await.unwrap();
            let answer = call_on(stream, &[]).await.unwrap();
            assert_eq!((answer.status, answer.seen("x-caller").as_str()), (200, "partner"));
        }
        for own in [None, Some(&unknown)] {
            let client = Client::made(&tls.root, own, &[version]);
            let stream = client.connect(tls.address, "api.test").await.unwrap();
            let answer = call_on(stream, &[]).await.unwrap();
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthenticated"));
        }
    }
    let der = CertificateDer::from_pem_slice(known.chain.as_bytes()).unwrap();
    let facts = tollgate_model::certificate::Facts::of(&der).unwrap();
    let client = Client::made(&tls.root, Some(&known), &[&TLS13]);
    for (certificate, status) in [
        (format!("{{fingerprint: '{}'}}", facts.fingerprint_text()), 200),
        ("{subject: CN=web}".to_owned(), 200),
        ("{subject: CN=nobody}".to_owned(), 401),
    ] {
        assert_eq!(tls.node.apply(&partners(&certificate)), []);
        let stream = client.connect(tls.address, "api.test").await.unwrap();
        assert_eq!(call_on(stream, &[]).await.unwrap().status, status, "{certificate}");
    }
    // In the clear there is none.
    assert_eq!(tls.node.get("/").await.code(), "unauthenticated");
}

#[tokio::test]
async fn a_session_is_not_resumed_where_other_clients_are_wanted_since() {
    let (old, new) = (Authority::new("old").unwrap(), Authority::new("new").unwrap());
    let mut tls = Tls::start(&[("api", &["api.test"])], &clients("required", &old));
    let own = old.client("web", "spiffe://shop/web").unwrap();
    let client = Client::made(&tls.root, Some(&own), &[&TLS12]);
    let stream = client.connect(tls.address, "api.test").await.unwrap();
    assert_eq!(call_on(stream, &[]).await.unwrap().status, 200);
    tls.node.apply(&gateway(tls.address, &clients("required", &new), ""));
    client.connect(tls.address, "api.test").await.unwrap_err();
}

#[tokio::test]
async fn a_request_for_a_host_that_the_certificate_is_not_for_is_misdirected() {
    let tls = Tls::start(&[("a", &["a.test", "*.a.test"]), ("b", &["b.test"])], "{}");
    let client = tls.client().with_alpn(&["h2"]);
    let mut h2 = H2::on(client.connect(tls.address, "a.test").await.unwrap()).await;
    for (uri, status) in [
        ("https://a.test/", 200),
        ("https://A.test:443/", 200),
        ("https://www.a.test/", 200),
        ("https://b.test/", 421),
    ] {
        let answer = h2.get(uri).await;
        assert_eq!(answer.status, status, "{uri}");
        if status == 421 {
            assert_eq!(answer.code(), "misdirected_request");
        }
    }
    assert_eq!(tls.backend.requests(), 3);
}

#[tokio::test]
async fn plain_http_is_told_that_tls_is_spoken() {
    let tls = Tls::simple();
    let mut wire = Wire::to(tls.address).await;
    let answer = wire.call("GET /", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "tls_required"));
    assert!(wire.rest().await.is_empty());
    assert_eq!(tls.backend.requests(), 0);
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let tls = Tls::simple();
    for garbage in [&[0_u8; 64][..], b"\x16\x03\x01\xff\xff garbage garbage", &[0x80; 4096]] {
        let mut wire = Wire::to(tls.address).await;
        wire.send(garbage).await;
        while wire.more().await {}
    }
    let stream = tls.client().connect(tls.address, "api.test").await.unwrap();
    assert_eq!(call_on(stream, &[]).await.unwrap().status, 200);
    tls.failed(3).await;
}

#[tokio::test]
async fn what_is_not_http_inside_tls_is_refused_as_in_the_clear() {
    let tls = Tls::simple();
    let mut stream = tls.client().connect(tls.address, "api.test").await.unwrap();
    let bad = request("POST /", &["content-length: 1", "transfer-encoding: chunked"], "");
    soon(stream.write_all(bad.as_bytes())).await.unwrap();
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(tls.node.metric("tollgate_framing_violations_total"), 1);
}

#[tokio::test]
async fn a_slow_handshake_is_cut() {
    let mut tls = Tls::simple();
    tls.node.apply(&gateway(tls.address, "{}", "limits: {head_time: 200ms}"));
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut wire = Wire::to(tls.address).await;
        wire.send(beginning).await;
        let ended =
            tokio::time::timeout(Duration::from_secs(5), async { while wire.more().await {} });
        ended.await.unwrap();
    }
    tls.failed(2).await;
}

#[tokio::test]
async fn a_listener_without_its_certificate_is_refused_and_the_others_go_on() {
    let mut tls = Tls::simple();
    let other = free_address();
    let both = format!(
        "kind: Gateway\nname: default\nspec:\n  listeners:\n    - {{name: a, address: '{}', tls: {{certificates: [api]}}}}\n    - {{name: b, address: '{other}', tls: {{certificates: [missing]}}}}\n",
        tls.address
    );
    let rejections = tls.node.apply(&both);
    assert_eq!(rejections.len(), 1);
    let issue = &rejections[0].issues[0];
    assert_eq!(
        (issue.pointer.as_str(), issue.code.as_str()),
        ("/spec/listeners/1/tls/certificates/0", "certificate_unavailable")
    );
    TcpStream::connect(other).await.unwrap_err();
    tls.client().connect(tls.address, "api.test").await.unwrap();

    let missing = tls.root.server(&["api.test"]).unwrap();
    assert_eq!(tls.node.apply(&missing.document("missing")), []);
    tls.client().connect(other, "api.test").await.unwrap();
    assert_eq!(tls.node.remove(&[("Certificate", "missing")]).len(), 1);
    tls.client().connect(tls.address, "api.test").await.unwrap();
}

#[tokio::test]
async fn the_nodes_own_address_takes_the_gateways_word_and_never_falls_back_to_clear() {
    let mut tls = Tls::simple();
    let own = tls.node.address;
    let listener = |name: &str| gateway(own, &format!("{{certificates: [{name}]}}"), "");
    assert_eq!(tls.node.apply(&listener("api")), []);
    tls.client().connect(own, "api.test").await.unwrap();
    assert_eq!(tls.node.apply(&listener("missing")).len(), 1);
    let mut wire = Wire::to(own).await;
    wire.send(request("GET /", &[], "")).await;
    while wire.more().await {}
    assert_eq!(wire.read_bytes(), 0);
    assert_eq!(tls.backend.requests(), 0);
}

#[tokio::test]
async fn a_certificate_that_is_refused_leaves_its_last_good_version() {
    let mut tls = Tls::start(&[("api", &["api.test"])], "{certificates: [api]}");
    let bad = tls.root.server(&["other.test"]).unwrap();
    let bad = Issued { key: tls.root.server(&["x.test"]).unwrap().key, ..bad };
    let rejections = tls.node.apply(&bad.document("api"));
    assert_eq!(rejections[0].issues[0].code, "key_mismatch");
    assert_eq!(tls.shown("api.test").await, ["dns:api.test"]);
}

#[tokio::test]
async fn a_listener_changes_between_clear_and_tls() {
    let mut tls = Tls::simple();
    let clear = format!(
        "kind: Gateway\nname: default\nspec: {{listeners: [{{name: tls, address: '{}'}}]}}\n",
        tls.address
    );
    assert_eq!(tls.node.apply(&clear), []);
    assert_eq!(Wire::to(tls.address).await.call("GET /", &[], "").await.status, 200);
    assert_eq!(tls.node.apply(&gateway(tls.address, "{}", "")), []);
    tls.client().connect(tls.address, "api.test").await.unwrap();
}

#[tokio::test]
async fn a_handshake_follows_the_header_of_the_proxy_protocol() {
    let mut tls = Tls::simple();
    let listener =
        format!("{{name: tls, address: '{}', proxy_protocol: true, tls: {{}}}}", tls.address);
    tls.node.apply(&format!(
        "kind: Gateway\nname: default\nspec: {{trusted_proxies: [127.0.0.1], listeners: [{listener}]}}\n"
    ));
    let mut stream = soon(TcpStream::connect(tls.address)).await.unwrap();
    stream.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 443\r\n").await.unwrap();
    let connector = TlsConnector::from(Arc::new(tls.client().config));
    let name = ServerName::try_from("api.test").unwrap();
    let stream = soon(connector.connect(name, stream)).await.unwrap();
    assert_eq!(call_on(stream, &[]).await.unwrap().seen("x-forwarded-for"), "192.0.2.7");
}

#[tokio::test]
async fn large_bodies_go_both_ways_over_tls() {
    let tls = Tls::simple();
    let client = tls.client().with_alpn(&["h2"]);
    let mut h2 = H2::on(client.connect(tls.address, "api.test").await.unwrap()).await;
    let body = "x".repeat(3 << 20);
    let request = Request::post("https://api.test/").version(Version::HTTP_2);
    let request = request.body(full(&body)).unwrap();
    let answer = collected(soon(h2.sender.send_request(request)).await.unwrap()).await;
    assert_eq!((answer.status, answer.is_whole), (200, true));
    let _: Bytes = answer.body.into();
}
