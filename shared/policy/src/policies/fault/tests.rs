use tokio::time::Instant;

use crate::chain::{Carries, Chain};
use crate::policy::Flow;
use crate::support::{World, chain, request};

/// How long a request waits, and what it is refused with.
async fn fate(chain: &Chain, request_id: &str, fields: &[(&str, &str)]) -> (u64, Option<u16>) {
    let world = World::default();
    let (mut cx, mut request, mut carries) = (world.cx(), request(fields), Carries::default());
    cx.request_id = request_id;
    let began = Instant::now();
    let refused = match chain.on_request(&mut cx, &mut request, &mut carries).await {
        Flow::Next(()) => None,
        Flow::Refuse(refusal) => {
            assert_eq!(refusal.code, "fault_injected");
            Some(refusal.status.as_u16())
        }
        Flow::Answer(_) => panic!("nobody answers"),
    };
    (u64::try_from(began.elapsed().as_millis()).unwrap(), refused)
}

#[tokio::test(start_paused = true)]
async fn all_calls_wait_and_are_refused_where_no_share_is_given() {
    let both = chain(&["fault: {delay: {time: 300ms}, abort: {status: 503}}"]);
    for id in ["a", "b", "c"] {
        assert_eq!(fate(&both, id, &[]).await, (300, Some(503)));
    }
    let one = chain(&["fault: {delay: {time: 1m}}"]);
    assert_eq!(fate(&one, "a", &[]).await, (60_000, None));
}

#[tokio::test(start_paused = true)]
async fn only_calls_with_the_field_are_meant() {
    let chain = chain(&["fault: {abort: {status: 429}, header: x-break}"]);
    assert_eq!(fate(&chain, "a", &[]).await, (0, None));
    assert_eq!(fate(&chain, "a", &[("x-break", "")]).await, (0, Some(429)));
}

#[tokio::test(start_paused = true)]
async fn a_share_of_the_calls_is_drawn_and_the_same_call_always_alike() {
    let chain =
        chain(&["fault: {delay: {time: 10ms, percent: 20}, abort: {status: 500, percent: 2.5}}"]);
    let (mut waited, mut refused, mut both) = (0, 0, 0);
    for number in 0..4_000 {
        let id = format!("{number:032x}");
        let first = fate(&chain, &id, &[]).await;
        assert_eq!(fate(&chain, &id, &[]).await, first);
        waited += u32::from(first.0 == 10);
        refused += u32::from(first.1 == Some(500));
        both += u32::from(first == (10, Some(500)));
    }
    // 800 and 100 are expected, with five times their deviation on both sides; and the draws are apart.
    assert!((680..920).contains(&waited) && (50..150).contains(&refused), "{waited} {refused}");
    assert!((1..60).contains(&both), "{both}");
}
