use http::Response;

use crate::body::Body;
use crate::chain::{Carries, Chain};
use crate::policies::AnyPolicy;
use crate::policy::{Flow, Scope};
use crate::support::{World, chain, name, request, yaml};

/// Where a call goes, and the cookies that its answer sets.
async fn meet(
    chain: &Chain,
    world: &World,
    request_id: &str,
    fields: &[(&str, &str)],
) -> (Option<String>, Vec<String>) {
    let (mut request, mut response) = (request(fields), Response::new(Body::Empty));
    let (mut cx, mut carries) = (world.cx(), Carries::default());
    cx.request_id = request_id;
    let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
    assert!(matches!(flow, Flow::Next(())));
    chain.on_response(&mut carries, &mut cx, &mut response).await;
    let set = response.headers().get_all("set-cookie").iter();
    let set = set.map(|value| value.to_str().unwrap().to_owned()).collect();
    (cx.onward.upstream().map(|name| name.as_str().to_owned()), set)
}

/// Where a call goes.
async fn side(policy: &str, request_id: &str, fields: &[(&str, &str)]) -> Option<String> {
    meet(&chain(&[policy]), &World::default(), request_id, fields).await.0
}

#[tokio::test]
async fn each_upstream_has_its_share() {
    let policy = "split: {to: [{upstream: a, percent: 20}, {upstream: b, percent: 2.5}]}";
    let (chain, world) = (chain(&[policy]), World::default());
    let (mut a, mut b) = (0, 0);
    for number in 0..4_000 {
        let id = format!("{number:032x}");
        let side = meet(&chain, &world, &id, &[]).await.0;
        a += u32::from(side.as_deref() == Some("a"));
        b += u32::from(side.as_deref() == Some("b"));
    }
    // 800 and 100 are expected, with five times their deviation on both sides.
    assert!((670..930).contains(&a) && (50..150).contains(&b), "{a} {b}");
    assert_eq!(side("split: {to: [{upstream: a, percent: 100}]}", "x", &[]).await.unwrap(), "a");
    assert_eq!(side("split: {to: [{upstream: a, percent: 0}]}", "x", &[]).await, None);
}

#[tokio::test]
async fn who_is_named_alike_goes_the_same_way_and_stays_while_the_share_grows() {
    let policy = |percent| {
        format!("split: {{to: [{{upstream: a, percent: {percent}}}], by: '{{cookie.visitor}}'}}")
    };
    let mut moved = 0;
    for visitor in 0..300 {
        let cookie = format!("visitor={visitor}");
        let fields = [("cookie", cookie.as_str())];
        let small = side(&policy(30), "x", &fields).await;
        assert_eq!(side(&policy(30), "y", &fields).await, small);
        let large = side(&policy(60), "z", &fields).await;
        assert!(small.is_none() || large == small);
        moved += u32::from(small != large);
    }
    assert!((40..140).contains(&moved), "{moved}");
    // Without the cookie each call is drawn for itself.
    let mut sides = Vec::new();
    for id in 0..40 {
        sides.push(side(&policy(50), &id.to_string(), &[]).await);
    }
    assert!(sides.contains(&None) && sides.iter().any(Option::is_some));
}

#[tokio::test]
async fn what_matches_goes_where_it_says_whatever_the_shares() {
    let policy = "split: {to: [{upstream: a, percent: 100, match: {headers: {x-v: a}}}, \
                  {upstream: b, match: {headers: {x-v: {regex: 'b+'}}, cookies: {lab: {present: true}}}}]}";
    for (fields, expected) in [
        (&[("x-v", "bb"), ("cookie", "lab=")][..], "b"),
        (&[("x-v", "bb"), ("cookie", "law=1")][..], "a"),
        (&[("x-v", "xbb"), ("cookie", "lab=1")][..], "a"),
        (&[("cookie", "lab=1")][..], "a"),
        (&[("x-v", "a"), ("cookie", "lab=1")][..], "a"),
    ] {
        assert_eq!(side(policy, "x", fields).await.as_deref(), Some(expected), "{fields:?}");
    }
}

#[tokio::test]
async fn a_cookie_keeps_a_caller_on_its_side() {
    let policy = |percent| {
        chain(&[&format!(
            "split: {{to: [{{upstream: a, percent: {percent}, match: {{headers: {{x-v: a}}}}}}], \
             sticky: {{cookie: side, max_age: 1h}}}}"
        )])
    };
    let (all, half, none, world) = (policy(100), policy(50), policy(0), World::default());
    let (to, set) = meet(&all, &world, "x", &[]).await;
    assert_eq!((to.as_deref(), set.len()), (Some("a"), 1));
    let (first, rest) = set[0].split_once(';').unwrap();
    assert_eq!(rest, " Path=/; Max-Age=3600; HttpOnly; SameSite=Lax");
    assert!(!first.ends_with("=a"), "names of upstreams are not told");
    let (to, own) = meet(&none, &world, "x", &[]).await;
    assert_eq!((to, own.len()), (None, 1));
    let own = own[0].split_once(';').unwrap().0;

    for id in 0..20 {
        let id = id.to_string();
        for (cookie, side) in [(first, Some("a".to_owned())), (own, None)] {
            assert_eq!(meet(&half, &world, &id, &[("cookie", cookie)]).await, (side, vec![]));
        }
    }
    // A side without a share takes nobody, and a value that is of no side says nothing.
    assert_eq!(meet(&none, &world, "x", &[("cookie", first)]).await.0, None);
    assert_eq!(meet(&all, &world, "x", &[("cookie", own)]).await.0.as_deref(), Some("a"));
    assert_eq!(meet(&all, &world, "x", &[("cookie", "side=7")]).await.1.len(), 1);
    // Who is sent somewhere by `match` is not kept there.
    assert_eq!(meet(&none, &world, "x", &[("x-v", "a")]).await, (Some("a".to_owned()), vec![]));
    let secure = World { scheme: "https", ..World::default() };
    assert!(meet(&all, &secure, "x", &[]).await.1[0].ends_with("; SameSite=Lax; Secure"));
}

#[test]
fn it_stands_where_a_tenant_is_known_whose_upstreams_it_names() {
    let compile = |place| {
        let config = yaml(
            "{to: [{upstream: a, percent: 1}, {upstream: b, percent: 1}], by: '{secret.salt}{client.ip}'}",
        );
        AnyPolicy::compile("split", &config, Scope { place, parameters: None })
    };
    let Err(issues) = compile("Gateway/default/edge/0") else { panic!("it was taken") };
    assert_eq!(issues.0[0].code, "wrong_place");
    let policy = compile("Api/acme/shop/0").unwrap_or_else(|issues| panic!("{issues:?}"));
    let references: Vec<String> =
        policy.references(&name("acme")).iter().map(ToString::to_string).collect();
    assert_eq!(references, ["Upstream acme/a", "Upstream acme/b", "Secret acme/salt"]);
}
