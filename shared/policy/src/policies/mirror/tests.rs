use crate::chain::Carries;
use crate::policies::AnyPolicy;
use crate::policy::{Flow, Scope};
use crate::support::{World, chain, name, request, yaml};

/// The upstreams that get a copy, each with how much may wait for it; and whether the field of copies is still there.
async fn copies(policies: &[&str], request_id: &str) -> (Vec<(String, usize)>, bool) {
    let (chain, world) = (chain(policies), World::default());
    let mut request = request(&[("x-tollgate-mirror", "1")]);
    let (mut cx, mut carries) = (world.cx(), Carries::default());
    cx.request_id = request_id;
    let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
    assert!(matches!(flow, Flow::Next(())));
    assert_eq!(cx.onward.upstream(), None);
    let mirrors = cx.onward.mirrors().iter();
    let mirrors = mirrors.map(|to| (to.upstream.as_str().to_owned(), to.most_waiting_bytes));
    (mirrors.collect(), request.headers().contains_key("x-tollgate-mirror"))
}

#[tokio::test]
async fn every_mirror_gets_one_copy_and_no_caller_passes_for_one() {
    let policies = [
        "mirror: {upstream: a}",
        "mirror: {upstream: b, buffer: 2KiB}",
        "mirror: {upstream: a, buffer: 1B}",
    ];
    let expected = vec![("a".to_owned(), 1024 * 1024), ("b".to_owned(), 2048)];
    assert_eq!(copies(&policies, "x").await, (expected, false));
    assert_eq!(copies(&["mirror: {upstream: a, percent: 0}"], "x").await, (vec![], false));
}

#[tokio::test]
async fn a_share_of_the_calls_is_drawn() {
    let mut drawn = 0;
    for number in 0..2_000 {
        let id = format!("{number:032x}");
        drawn += copies(&["mirror: {upstream: a, percent: 25}"], &id).await.0.len();
    }
    // 500 are expected, with five times their deviation on both sides.
    assert!((400..600).contains(&drawn), "{drawn}");
}

#[test]
fn it_stands_where_a_tenant_is_known_whose_upstream_it_names() {
    let compile = |place| {
        let scope = Scope { place, parameters: None };
        AnyPolicy::compile("mirror", &yaml("{upstream: a}"), scope)
    };
    let Err(issues) = compile("Gateway/default/edge/0") else { panic!("it was taken") };
    assert_eq!(issues.0[0].code, "wrong_place");
    let policy = compile("Api/acme/shop/0").unwrap_or_else(|issues| panic!("{issues:?}"));
    let references = policy.references(&name("acme"));
    assert_eq!(references.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Upstream acme/a"]);
}
