use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::Claims;
use crate::policies::AnyPolicy;
use crate::ports::Decision;
use crate::support::{World, caller, chain, name, policy, request};

fn definition_of(text: &str) -> crate::limit::Definition {
    let policy = policy(text);
    let AnyPolicy::RateLimit(limit) = &*policy else { panic!("{text} is not a rate limit") };
    limit.definition().clone()
}

#[tokio::test]
async fn a_subject_over_its_limit_is_refused_with_429_and_told_when_to_come_back() {
    let (world, chain) = (World::default(), chain(&["rate_limit: {limit: 2, window: 32s}"]));
    for left in ["1", "0"] {
        let met = world.exchange(&chain, request(&[])).await;
        assert_eq!(met.refused(), None);
        assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=2;w=32"#]);
        assert!(met.answered("ratelimit")[0].starts_with(&format!(r#""default";r={left};t="#)));
    }
    let met = world.exchange(&chain, request(&[])).await;
    assert_eq!(met.refused(), Some((429, "rate_limited")));
    assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=2;w=32"#]);
    assert!(met.answered("ratelimit")[0].starts_with(r#""default";r=0;t=3"#));
    let retry_after: u64 = met.answered("retry-after")[0].parse().unwrap();
    assert!((32..=33).contains(&retry_after), "{retry_after}");
}

#[tokio::test]
async fn who_waits_as_long_as_told_is_admitted() {
    let (mut world, chain) = (World::default(), chain(&["rate_limit: {limit: 1, window: 5s}"]));
    world.exchange(&chain, request(&[])).await;
    let met = world.exchange(&chain, request(&[])).await;
    let retry_after: u64 = met.answered("retry-after")[0].parse().unwrap();
    world.now_unix_micros += retry_after * 1_000_000;
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
}

#[tokio::test]
async fn seconds_are_rounded_up() {
    let mut world = World::default();
    for (millis, seconds) in [(0, "0"), (1, "1"), (1_000, "1"), (1_001, "2")] {
        world.counters.fixed = Some(Decision {
            is_admitted: false,
            remaining: 0,
            reset: Duration::from_millis(millis),
            booked: None,
        });
        let met =
            world.exchange(&chain(&["rate_limit: {limit: 1, window: 1s}"]), request(&[])).await;
        assert_eq!(met.answered("retry-after"), [seconds]);
        assert_eq!(met.answered("ratelimit"), [format!(r#""default";r=0;t={seconds}"#)]);
    }
}

#[tokio::test]
async fn each_kind_of_subject_is_counted_for_itself() {
    for (by, expected) in [
        ("application", "web-shop"),
        ("credential", "first"),
        ("ip", "192.0.2.7"),
        ("route", "orders/item"),
        ("'{header.x-user}'", "u1"),
        ("'{application}:{query.color}'", "web-shop:red"),
    ] {
        let world =
            World { identity: Some(Arc::new(caller("web-shop", "first"))), ..World::default() };
        let chain = chain(&[&format!("rate_limit: {{limit: 1, window: 1s, by: {by}}}")]);
        world.exchange(&chain, request(&[("x-user", "u1")])).await;
        let subject = format!("Api/default/orders/default default {expected}");
        assert_eq!(world.counters.subjects(), [subject], "{by}");
    }
}

#[tokio::test]
async fn a_call_without_an_identity_counts_for_its_address() {
    for by in ["application", "credential"] {
        let world = World::default();
        world
            .exchange(
                &chain(&[&format!("rate_limit: {{limit: 1, window: 1s, by: {by}}}")]),
                request(&[]),
            )
            .await;
        assert_eq!(world.counters.subjects(), ["Api/default/orders/default default 192.0.2.7"]);
    }
}

#[tokio::test]
async fn applications_of_the_same_name_in_two_tenants_are_counted_apart() {
    let chain = chain(&["rate_limit: {limit: 1, window: 1s}"]);
    let mut world =
        World { identity: Some(Arc::new(caller("web-shop", "first"))), ..World::default() };
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    world.route.tenant = name("other");
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), Some((429, "rate_limited")));
}

#[tokio::test]
async fn routes_of_the_same_name_in_two_apis_are_counted_apart() {
    let chain = chain(&["rate_limit: {limit: 1, window: 1s, by: route}"]);
    let mut world = World::default();
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    world.route.api = name("invoices");
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
}

#[tokio::test]
async fn counters_that_are_elsewhere_are_waited_for() {
    let mut world = World::default();
    world.counters.are_elsewhere = true;
    let chain = chain(&["rate_limit: {limit: 1, window: 1s, mode: exact}"]);
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), None);
    assert_eq!(world.exchange(&chain, request(&[])).await.refused(), Some((429, "rate_limited")));
}

#[tokio::test]
async fn two_limits_both_count_and_both_report() {
    let chain = chain(&[
        "rate_limit: {limit: 1, window: 1s, name: second}",
        "rate_limit: {limit: 9, window: 1h, name: hour}",
    ]);
    let world = World::default();
    let met = world.exchange(&chain, request(&[])).await;
    assert_eq!(met.answered("ratelimit-policy"), [r#""hour";q=9;w=3600"#, r#""second";q=1;w=1"#]);
    assert_eq!(world.counters.subjects().len(), 2);
}

#[test]
fn an_edit_of_the_numbers_keeps_the_counter() {
    let before = definition_of("rate_limit: {limit: 1, window: 1s, mode: exact}");
    let after =
        definition_of("rate_limit: {limit: 9, window: 1h, mode: leased, by: ip, on_failure: open}");
    assert_eq!(before.id, after.id);
    assert_ne!(before.id, definition_of("rate_limit: {limit: 1, window: 1s, name: other}").id);
}

#[test]
fn what_is_left_out_is_leased_and_falls_back_to_a_local_share() {
    let definition = definition_of("rate_limit: {limit: 1, window: 1s}");
    assert_eq!(definition.enforcement, crate::limit::Enforcement::Leased);
    assert_eq!(definition.on_failure, crate::limit::OnFailure::LocalShare);
}

#[tokio::test]
async fn a_request_takes_what_it_costs() {
    let (world, chain) =
        (World::default(), chain(&["rate_limit: {limit: 10, window: 1h, cost: 4, by: ip}"]));
    let mut left = Vec::new();
    for _ in 0..3 {
        let met = world.exchange(&chain, request(&[])).await;
        let is_refused = met.refused() == Some((429, "rate_limited"));
        left.push((is_refused, met.answered("ratelimit").join(",")));
    }
    assert_eq!((left[0].0, left[1].0, left[2].0), (false, false, true));
    assert!(left[0].1.contains("r=6") && left[1].1.contains("r=2"), "{left:?}");
}

#[tokio::test]
async fn one_that_only_watches_counts_and_refuses_nobody() {
    let world = World::default();
    let chain = chain(&[
        "rate_limit: {limit: 1, window: 1h, by: ip, shadow: true}",
        "quota: {limit: 1, window: day, by: ip, shadow: true, name: daily}",
    ]);
    for count in 0..3 {
        let (mut cx, mut request, mut carries) =
            (world.cx(), request(&[]), crate::chain::Carries::default());
        let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
        assert!(matches!(flow, crate::policy::Flow::Next(())));
        assert_eq!(cx.shadowed, (count > 0).then_some("rate_limited"));
        let mut response = http::Response::new(crate::Body::Empty);
        chain.on_response(&mut carries, &mut cx, &mut response).await;
        assert!(response.headers().is_empty(), "{:?}", response.headers());
    }
    assert_eq!(world.counters.subjects().len(), 2);
}

/// A limit of ten whose cost is this.
fn ten(cost: &str) -> crate::chain::Chain {
    chain(&[&format!("rate_limit: {{limit: 10, window: 1h, by: ip, cost: {cost}}}")])
}

/// What is left of ten after one request with this field.
async fn left_of_ten(cost: &str, units: &str) -> Result<String, (u16, String)> {
    let world = World::default();
    let met = world.exchange(&ten(cost), request(&[("x-units", units)])).await;
    let counted = world.counters.subjects().len();
    match met.refused() {
        Some((status, code)) => {
            assert_eq!((counted, met.answered("ratelimit").len()), (0, 0), "{units}");
            assert_eq!(met.answered("ratelimit-policy"), [r#""default";q=10;w=3600"#]);
            assert!(met.answered("retry-after").is_empty());
            Err((status, code.to_owned()))
        }
        None => {
            let told = met.answered("ratelimit").join(",");
            let left = told.strip_prefix(r#""default";r="#).unwrap_or_default();
            Ok(left.split(';').next().unwrap().to_owned())
        }
    }
}

const UNITS: &str = r#"'int(request.headers["x-units"])'"#;
const UNITS_OR_SEVEN: &str = r#"{expression: 'int(request.headers["x-units"])', otherwise: 7}"#;

#[tokio::test]
async fn an_expression_says_what_a_request_costs() {
    for (units, left) in [("1", "9"), ("4", "6"), ("10", "0")] {
        for cost in [UNITS, UNITS_OR_SEVEN] {
            assert_eq!(left_of_ten(cost, units).await.as_deref(), Ok(left), "{cost}");
        }
    }
    let by_path = |path: &str| format!("'request.path.startsWith(\"{path}\") ? 5 : 1'");
    assert_eq!(left_of_ten(&by_path("/items/"), "").await.as_deref(), Ok("5"));
    assert_eq!(left_of_ten(&by_path("/bulk/"), "").await.as_deref(), Ok("9"));
    assert_eq!(left_of_ten("size(request.query.color)", "").await.as_deref(), Ok("8"));
    assert_eq!(left_of_ten("'3'", "").await.as_deref(), Ok("7"));
}

#[tokio::test]
async fn who_makes_the_cost_unreadable_is_refused_or_pays_otherwise() {
    let unknown = Err((400, "cost_unknown".to_owned()));
    for units in [
        "",
        "many",
        "-1",
        "1.5",
        "1e1",
        "0x4",
        " ",
        "4, 4",
        "1000001",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
    ] {
        assert_eq!(left_of_ten(UNITS, units).await, unknown, "{units}");
        assert_eq!(left_of_ten(UNITS_OR_SEVEN, units).await.as_deref(), Ok("3"), "{units}");
    }
    let world = World::default();
    let met = world.exchange(&ten(UNITS), request(&[])).await;
    assert_eq!(met.refused(), Some((400, "cost_unknown")));
    let twice = request(&[("x-units", "1"), ("x-units", "1")]);
    assert_eq!(world.exchange(&ten(UNITS), twice).await.refused(), Some((400, "cost_unknown")));
    assert!(world.counters.subjects().is_empty());
}

#[tokio::test]
async fn what_costs_more_than_the_limit_is_never_let_in() {
    let above = Err((400, "cost_above_limit".to_owned()));
    for units in ["11", "1000000"] {
        for cost in [UNITS, UNITS_OR_SEVEN] {
            assert_eq!(left_of_ten(cost, units).await, above, "{cost}");
        }
    }
}

#[tokio::test]
async fn what_costs_nothing_is_not_counted_and_told_nothing() {
    let (world, chain) = (World::default(), ten(UNITS));
    let free = async || {
        let met = world.exchange(&chain, request(&[("x-units", "0")])).await;
        assert_eq!(met.refused(), None);
        assert!(met.response.headers().is_empty(), "{:?}", met.response.headers());
    };
    free().await;
    assert!(world.counters.subjects().is_empty());
    world.exchange(&chain, request(&[("x-units", "10")])).await;
    let met = world.exchange(&chain, request(&[("x-units", "1")])).await;
    assert_eq!(met.refused(), Some((429, "rate_limited")));
    // Also where the limit is used up.
    free().await;
}

#[tokio::test]
async fn a_claim_costs_where_it_is_a_whole_number() {
    for (units, left) in [
        (json!(4), Some("6")),
        (json!("4"), None),
        (json!(4.5), None),
        (json!(true), None),
        (json!(null), None),
        (json!([4]), None),
    ] {
        let all = json!({"units": units}).as_object().unwrap().clone();
        let claims = Some(Arc::new(Claims { all, ..Claims::default() }));
        let world = World { claims, ..World::default() };
        let met = world.exchange(&ten("claims.units"), request(&[])).await;
        let refused = left.is_none().then_some((400, "cost_unknown"));
        assert_eq!(met.refused(), refused, "{units}");
        let start = left.map(|left| format!(r#""default";r={left};"#)).unwrap_or_default();
        assert!(met.answered("ratelimit").join(",").starts_with(&start), "{units}");
    }
}

#[tokio::test]
async fn one_that_only_watches_lets_on_what_has_no_cost() {
    for (units, shadowed) in
        [("many", Some("cost_unknown")), ("2", Some("cost_above_limit")), ("0", None), ("1", None)]
    {
        let world = World::default();
        let chain = chain(&[&format!(
            "rate_limit: {{limit: 1, window: 1h, by: ip, shadow: true, cost: {UNITS}}}"
        )]);
        let (mut cx, mut request) = (world.cx(), request(&[("x-units", units)]));
        let mut carries = crate::chain::Carries::default();
        let flow = chain.on_request(&mut cx, &mut request, &mut carries).await;
        assert!(matches!(flow, crate::policy::Flow::Next(())), "{units}");
        assert_eq!(cx.shadowed, shadowed, "{units}");
        let mut response = http::Response::new(crate::Body::Empty);
        chain.on_response(&mut carries, &mut cx, &mut response).await;
        assert!(response.headers().is_empty(), "{units}");
        assert_eq!(world.counters.subjects().len(), usize::from(units == "1"), "{units}");
    }
}

/// Meets a limit of ten that takes four, and is answered with these fields.
async fn settled(world: &World, more: &str, fields: &[(&str, &str)]) -> crate::support::Met {
    let chain = chain(&[&format!(
        "rate_limit: {{limit: 10, window: 1m, cost: 4, settle: {{header: x-units}}{more}}}"
    )]);
    world.exchange_answered(&chain, request(&[]), fields).await
}

fn left(met: &crate::support::Met) -> u64 {
    let field = met.answered("ratelimit")[0];
    field.split(['=', ';']).nth(2).unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_an_answer_tells_takes_the_place_of_what_was_taken() {
    for (told, expected) in [
        (&[("x-units", "1")][..], 9),
        (&[("x-units", "0")], 10),
        (&[("x-units", "4")], 6),
        (&[("x-units", "9")], 1),
        // More than there is: nothing is left, and what is missing is missing for others.
        (&[("x-units", "25")], 0),
        // Nothing of use.
        (&[], 6),
        (&[("x-units", "-1")], 6),
        (&[("x-units", "+1")], 6),
        (&[("x-units", "")], 6),
        (&[("x-units", "1000000001")], 6),
        (&[("x-units", "1"), ("x-units", "1")], 6),
    ] {
        let world = World::default();
        let met = settled(&world, "", told).await;
        assert_eq!((left(&met), met.answered("x-units").len()), (expected, 0), "{told:?}");
        // The next one meets what is left; 4 of it are taken, if they are there.
        let met = settled(&world, "", &[]).await;
        assert_eq!(met.refused().is_some(), expected < 4, "{told:?}");
        assert_eq!(left(&met), if expected < 4 { expected } else { expected - 4 }, "{told:?}");
    }
}

#[tokio::test]
async fn limits_of_several_levels_hear_the_same() {
    let world = World::default();
    let limit = |name: &str| {
        policy(&format!(
            "rate_limit: {{name: {name}, limit: 10, window: 1m, settle: {{header: x-units}}}}"
        ))
    };
    let chain = crate::chain::Chain::assemble([&[limit("outer")][..], &[limit("inner")]]);
    let met = world.exchange_answered(&chain, request(&[]), &[("x-units", "7")]).await;
    let fields = met.answered("ratelimit");
    assert!(fields[0].starts_with("\"inner\";r=3;") && fields[1].starts_with("\"outer\";r=3;"));
    assert!(met.answered("x-units").is_empty());
}

#[tokio::test]
async fn a_limit_that_watches_settles_too() {
    let world = World::default();
    for units in ["25", "1"] {
        let met = settled(&world, ", shadow: true", &[("x-units", units)]).await;
        assert_eq!((met.refused(), met.answered("x-units").len()), (None, 0));
    }
    let met = settled(&world, "", &[]).await;
    assert_eq!((met.refused(), left(&met)), (Some((429, "rate_limited")), 0));
}

#[tokio::test]
async fn what_is_free_stays_so() {
    let world = World::default();
    let chain = chain(&[
        "rate_limit: {limit: 10, window: 1m, cost: 'size(request.query.color) - 3', settle: {header: x-units}}",
    ]);
    let met = world.exchange_answered(&chain, request(&[]), &[("x-units", "9")]).await;
    assert_eq!((met.answered("ratelimit").len(), met.answered("x-units").len()), (0, 0));
    assert!(world.counters.subjects().is_empty());
}
