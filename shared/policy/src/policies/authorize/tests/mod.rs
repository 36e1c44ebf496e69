use std::collections::HashMap;
use std::sync::Arc;

use http::Request;
use serde_json::{Value, json};
use tollgate_model::certificate::Facts;

use crate::expression::{Condition, begin};
use crate::policy::{Caller, Client, ClientCertificate, Scope};
use crate::support::{World, caller, chain, name, request};
use crate::{Body, Claims};

mod hostile;
mod reference;

const SCOPE: Scope<'_> = Scope { place: "Api/default/orders", parameters: Some(&["id"]) };

fn world(claims: Value) -> World {
    let groups = ["staff", "admin"].map(name);
    let claims = Claims {
        subject: Some("ada".into()),
        scopes: ["orders:read", "orders:write"].map(Box::from).into(),
        groups: ["europe"].map(Box::from).into(),
        all: claims.as_object().unwrap().clone(),
    };
    World {
        identity: Some(Arc::new(Caller { groups: groups.into(), ..caller("shop", "first") })),
        claims: Some(Arc::new(claims)),
        parameters: HashMap::from([("id".to_owned(), "auth0%7C7".to_owned())]),
        ..World::default()
    }
}

fn compiled(expression: &str) -> Condition {
    Condition::compile(expression, SCOPE).unwrap_or_else(|issues| panic!("{expression}: {issues}"))
}

/// Whether an expression is true; none where it has no value.
fn truth(expression: &str, world: &World, request: &Request<Body>) -> Option<bool> {
    let (condition, cx) = (compiled(expression), world.cx());
    let mut evaluation = begin(&cx, request);
    condition.holds(&mut evaluation)
}

fn all_true(world: &World, request: &Request<Body>, expressions: &[&str]) {
    for expression in expressions {
        assert_eq!(truth(expression, world, request), Some(true), "{expression}");
    }
}

fn without_value(world: &World, request: &Request<Body>, expressions: &[&str]) {
    for expression in expressions {
        assert_eq!(truth(expression, world, request), None, "{expression}");
    }
}

#[test]
fn every_name_is_that_of_the_request() {
    let sent = Request::post(
        "http://API.shop.test:8080/a/%7e/%41?color=r%65d&color=blue&%63olor=x+y&flag",
    )
    .header("host", "API.Shop.test.:8080")
    .header("x-one", "1")
    .header("x-two", "a")
    .header("x-two", "b, c")
    .header("cookie", "a=1")
    .header("cookie", "b=2")
    .body(Body::Empty)
    .unwrap();
    let world = world(json!({"role": "admin", "https://shop.test/level": 4}));
    all_true(
        &world,
        &sent,
        &[
            "request.method == 'POST'",
            "request.path == '/a/~/A'",
            "request.host == 'api.shop.test'",
            "request.scheme == 'http'",
            "request.id == 'request-1'",
            "request.query.color == ['red', 'blue', 'x y']",
            "request.query['color'][1] == 'blue' && 'flag' in request.query && request.query.flag == ['']",
            "size(request.query) == 2 && request.query.exists(n, n == 'color') && has(request.query.color)",
            "!has(request.query.other) && !('%63olor' in request.query)",
            "request.headers['x-one'] == '1' && request.headers['x-two'] == 'a, b, c'",
            "request.headers.cookie == 'a=1; b=2'",
            "'x-one' in request.headers && !('X-One' in request.headers) && has(request.headers.host)",
            "request.headers.exists(name, name == 'x-two') && size(request.headers) == 4",
            "client.ip == '192.0.2.7'",
            "path.id == 'auth0|7' && has(path.id)",
            "identity.application == 'shop' && identity.credential == 'first'",
            "identity.groups == ['staff', 'admin', 'europe'] && identity.groups[2] == 'europe'",
            "identity.subject == 'ada' && identity.scopes == ['orders:read', 'orders:write']",
            "claims.role == 'admin' && claims['https://shop.test/level'] == 4",
            "route.tenant == 'default' && route.api == 'orders' && route.route == 'item'",
            "time == timestamp('2023-11-14T22:13:20Z') && int(time) == 1700000000",
            "!has(certificate.subject) && !has(certificate.names) && !has(certificate.fingerprint)",
        ],
    );
}

#[test]
fn who_is_not_known_has_no_name_and_no_groups() {
    let mut world = World::default();
    world.route.route = None;
    all_true(
        &world,
        &request(&[]),
        &[
            "!has(identity.application) && !has(identity.credential) && !has(identity.subject)",
            "identity.groups == [] && identity.scopes == [] && size(claims) == 0",
            "!has(claims.role) && !('role' in claims) && !has(route.route)",
            "identity.application == 'x' || request.method == 'GET'",
            "!(identity.application == 'x' && request.method == 'POST')",
        ],
    );
    without_value(
        &world,
        &request(&[]),
        &["identity.application == ''", "claims.role == 'x'", "route.route == ''", "path.id == ''"],
    );
}

#[test]
fn a_certificate_is_named_by_what_it_says() {
    let facts = Facts {
        subject: "O=Shop, CN=web".to_owned(),
        alternative_names: vec!["dns:web.test".to_owned()],
        fingerprint: [7; 32],
        not_before: 0,
        not_after: 0,
    };
    let world = World { certificate: Some(ClientCertificate::new(facts)), ..World::default() };
    all_true(
        &world,
        &request(&[]),
        &[
            "certificate.subject == 'O=Shop, CN=web' && 'dns:web.test' in certificate.names",
            "certificate.fingerprint.startsWith('0707') && size(certificate.fingerprint) == 64",
        ],
    );
}

#[test]
fn addresses_are_compared_in_their_own_family() {
    for (address, other) in [("192.0.2.7", "192.0.2.8"), ("::ffff:192.0.2.7", "::ffff:192.0.2.8")] {
        let client = Client { address: address.parse().unwrap(), address_text: address.into() };
        let world = World { client, ..World::default() };
        let request = request(&[("x-ip", other), ("x-no", "nobody")]);
        all_true(
            &world,
            &request,
            &[
                "client.ip == '192.0.2.7'",
                "cidr('192.0.2.0/29').containsIP(client.ip)",
                "cidr('192.0.2.7').containsIP(client.ip)",
                "!cidr('192.0.2.0/29').containsIP(request.headers['x-ip'])",
                "!cidr('::/0').containsIP(client.ip)",
            ],
        );
        without_value(&world, &request, &["cidr('0.0.0.0/0').containsIP(request.headers['x-no'])"]);
    }
}

#[test]
fn moments_are_read_in_their_time_zone() {
    let world =
        world(json!({"iat": 1_699_990_000, "until": "2024-01-01T00:00:00+01:00", "far": i64::MAX}));
    all_true(
        &world,
        &request(&[]),
        &[
            "time.getHours() == 22 && time.getHours('Europe/Berlin') == 23 && time.getMinutes() == 13",
            "time.getDayOfWeek() == 2 && time.getDate() == 14 && time.getDayOfMonth() == 13",
            "time.getMonth() == 10 && time.getFullYear() == 2023 && time.getDayOfYear() == 317",
            "time.getSeconds() == 20 && time.getMilliseconds() == 0",
            "time - timestamp(claims.iat) > duration('2h45m') && time + duration('-1s') < time",
            "timestamp(claims.until) > time && timestamp(claims.iat) < time && time - duration('1h') < time",
            "duration('1h') - duration('30m') == duration('1800s') && duration('1m') + time > time",
        ],
    );
    without_value(
        &world,
        &request(&[]),
        &["timestamp(claims.far) > time", "time.getHours() + claims.iat.getHours() == 1"],
    );
}

#[test]
fn what_cannot_be_said_has_no_value() {
    let claims = json!({
        "n": 1, "zero": 0, "max": i64::MAX, "min": i64::MIN, "t": "text", "l": [1, "a"], "m": {"a": 1},
        "b": true, "d": 1.5, "z": null, "big": u64::MAX,
    });
    let request = request(&[]);
    without_value(
        &world(claims.clone()),
        &request,
        &[
            "claims.n / claims.zero == 1",
            "claims.n % claims.zero == 1",
            "claims.max + 1 > 0",
            "claims.min - 1 > 0",
            "claims.min * -1 > 0",
            "claims.min / -1 > 0",
            "claims.min % -1 > 0",
            "-claims.min > 0",
            "claims.t + claims.n == ''",
            "claims.t < claims.n",
            "claims.n",
            "!claims.n",
            "claims.z.a == 1",
            "claims.m.b == 1",
            "claims.l[2] == 1",
            "claims.l[-1] == 1",
            "claims.l['a'] == 1",
            "claims.t.a == 1",
            "claims.n.startsWith('a')",
            "size(claims.n) == 1",
            "int(claims.t) == 1",
            "int(claims.d) == 1",
            "double(claims.t) == 1.0",
            "claims.big + 1 == 2",
            "claims.l.all(x, x > 0)",
            "claims.n.all(x, true)",
            "1 in claims.t",
            "claims.none || false",
            "claims.none && true",
            "claims.n || claims.b && claims.none",
            "claims.l.exists_one(x, x > 0)",
            "claims.l.filter(x, x > 0).size() == 1",
            "claims.l.map(x, x + 1).size() == 2",
            "has(claims.none.a)",
            "(claims.n ? true : false)",
        ],
    );
    all_true(
        &world(claims),
        &request,
        &[
            "claims.n == 1.0 && claims.d > claims.n && claims.big > 1 && claims.z == null",
            "claims.none || true",
            "!(claims.none && false)",
            "claims.l.exists(x, x > 0)",
            "!claims.l.all(x, x == 'b' || x > 1)",
            "claims.n != claims.t && claims.l == [1, 'a'] && claims.m == claims.m && claims.l != claims.m",
            "claims.l.filter(x, x == 1) == [1] && claims.l.map(x, [x])[1] == ['a']",
            "(claims.b ? claims.t : claims.none) == 'text' && !(claims.l.exists_one(x, false))",
            "claims.l.exists(x, claims.m.exists(k, k == x)) && claims.t.matches('^te.t$') && !('b' in claims.m)",
            "'A\\u00c9'.lowerAscii() == 'a\\u00c9' && size('é') == 1 && string(-5) == '-5' && string(true) == 'true'",
            "int(' 5'.contains('5') ? '5' : 'x') == 5 && -1 - -1 == 0 && -9223372036854775808 < 0 && 7 % -2 == 1",
        ],
    );
}

#[test]
fn a_header_that_is_no_text_has_no_value_and_is_there() {
    let mut sent = request(&[]);
    sent.headers_mut().insert("x-a", http::HeaderValue::from_bytes(b"\xff").unwrap());
    all_true(
        &World::default(),
        &sent,
        &["'x-a' in request.headers && has(request.headers.host) == false"],
    );
    without_value(&World::default(), &sent, &["request.headers['x-a'] == 'b'"]);
}

async fn refused(config: &str, world: &World) -> Option<(u16, String, String)> {
    let met = world.exchange(&chain(&[config]), request(&[("x-a", "1")])).await;
    let refusal = met.refusal.as_ref()?;
    Some((refusal.status.as_u16(), refusal.code.to_owned(), refusal.detail.to_string()))
}

#[tokio::test]
async fn any_expression_allows_and_any_refuses() {
    let world = World::default();
    for (config, code) in [
        ("{allow_when: ['false', 'true']}", None),
        ("{allow_when: ['false']}", Some("forbidden")),
        ("{deny_when: ['false']}", None),
        ("{deny_when: ['false', 'true']}", Some("forbidden")),
        ("{deny_when: ['true'], allow_when: ['true']}", Some("forbidden")),
        ("{deny_when: ['false'], allow_when: ['true']}", None),
        // What has no value allows nothing, and refuses.
        ("{allow_when: ['claims.a']}", Some("forbidden")),
        ("{allow_when: ['claims.a', 'true']}", None),
        ("{deny_when: ['claims.a']}", Some("authorization_failed")),
        ("{deny_when: ['claims.a'], allow_when: ['true']}", Some("authorization_failed")),
        ("{deny_when: ['has(claims.a) && claims.a']}", None),
    ] {
        let met = refused(&format!("authorize: {config}"), &world).await;
        let met = met.map(|(status, code, _)| (status, code));
        assert_eq!(met, code.map(|code| (403, code.to_owned())), "{config}");
    }
}

#[tokio::test]
async fn a_caller_is_told_the_operators_sentence_and_nothing_of_the_inside() {
    let world = World::default();
    let told = |config: &'static str| async { refused(config, &World::default()).await.unwrap().2 };
    let config = "authorize: {allow_when: ['request.method == \"PUT\"'], detail: ask the shop}";
    assert_eq!(told(config).await, "ask the shop");
    assert_eq!(told("authorize: {deny_when: ['true']}").await, "this call is not allowed");
    let config = "authorize: {deny_when: ['claims.secret_role'], detail: ask the shop}";
    let (_, code, detail) = refused(config, &world).await.unwrap();
    assert_eq!(code, "authorization_failed");
    assert_eq!(detail, "whether this call is allowed could not be decided");
}

#[test]
fn parameters_are_those_of_the_place() {
    let scope = Scope { place: "Gateway/default/default", parameters: None };
    let issues = Condition::compile("path.id == '7'", scope).unwrap_err();
    assert_eq!(issues.0[0].code, "unknown_variable");
    assert!(issues.0[0].problem.starts_with("at character 1: "), "{issues}");
    let issues = Condition::compile("'é' == '' ||\n  path.ids == ''", SCOPE).unwrap_err();
    assert_eq!(
        issues.0[0].problem,
        "at character 16: `path.ids`: the path here has no such parameter; did you mean `id`?"
    );
}

#[test]
fn a_claim_cannot_stand_in_for_a_variable() {
    let world = world(json!({"request": {"method": "PUT"}, "identity": {"groups": ["root"]}}));
    all_true(&world, &request(&[]), &["request.method == 'GET' && !('root' in identity.groups)"]);
}
