use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Enforcement, OnFailure};
use super::*;

fn definition(limit: u64, window: Duration) -> Definition {
    Definition {
        id: Arc::from("test"),
        limit,
        window: window.into(),
        enforcement: Enforcement::Local,
        on_failure: OnFailure::Open,
        is_settled: false,
    }
}

const START: u64 = 1_700_000_000_000_000;

#[test]
fn exactly_the_limit_is_admitted_at_once() {
    let definition = definition(100, Duration::from_secs(60));
    let mut usage = Usage::default();
    let admitted = (0..1000).filter(|_| usage.take(&definition, 100, 1, START).is_admitted).count();
    assert_eq!(admitted, 100);
}

#[test]
fn a_refusal_says_when_asking_again_helps() {
    let definition = definition(2, Duration::from_secs(32));
    let mut usage = Usage::default();
    assert!(usage.take(&definition, 2, 2, START).is_admitted);
    let refused = usage.take(&definition, 2, 1, START);
    assert!(!refused.is_admitted);
    let wait = u64::try_from(refused.reset.as_micros()).unwrap();
    assert!(!usage.clone().take(&definition, 2, 1, START + wait - 1).is_admitted);
    assert!(usage.take(&definition, 2, 1, START + wait).is_admitted);
}

#[test]
fn an_edit_of_the_window_keeps_what_is_counted() {
    let (short, long) =
        (definition(5, Duration::from_secs(7)), definition(5, Duration::from_secs(60)));
    for (before, after) in [(&short, &long), (&long, &short)] {
        let mut usage = Usage::default();
        assert!(usage.take(before, 5, 3, START).is_admitted);
        assert!(!usage.take(after, 5, 3, START + 1).is_admitted);
        assert!(usage.take(after, 5, 2, START + 2).is_admitted);
        assert!(!usage.take(before, 5, 1, START + 3).is_admitted);
    }
}

#[test]
fn an_entry_is_idle_when_all_of_it_has_left_the_window() {
    let definition = definition(5, Duration::from_secs(32));
    let mut usage = Usage::default();
    assert!(usage.is_idle(START));
    let reset = usage.take(&definition, 5, 1, START).reset;
    let free_at = START + u64::try_from(reset.as_micros()).unwrap();
    assert!(!usage.is_idle(free_at - 1) && usage.is_idle(free_at));
}

#[test]
fn what_is_charged_counts_where_it_was_taken_or_now() {
    let definition = definition(5, Duration::from_secs(32));
    let slot = START / slot_micros(Duration::from_secs(32));
    let mut usage = Usage::default();
    assert_eq!(usage.take(&definition, 5, 1, START).booked.unwrap().slot, slot);
    // Beyond the limit, too.
    usage.settle(&definition, slot, (0, 6), START);
    assert_eq!(usage.used(), 7);
    let refused = usage.take(&definition, 5, 1, START);
    assert_eq!((refused.is_admitted, refused.remaining, refused.booked), (false, 0, None));
    // Seven leave the window together with the first; what is charged then counts for then.
    let later = START + 34_000_000;
    usage.settle(&definition, slot, (0, 5), later);
    assert_eq!(usage.used(), 5);
    assert!(!usage.take(&definition, 5, 1, later + 31_000_000).is_admitted);
    assert!(usage.take(&definition, 5, 5, later + 34_000_000).is_admitted);
    // What is given back then is nobody's.
    usage.settle(&definition, slot, (5, 0), later + 34_000_000);
    assert_eq!(usage.used(), 5);
}

#[test]
fn what_is_given_back_can_be_taken_again() {
    let definition = definition(5, Duration::from_secs(1));
    let mut usage = Usage::default();
    assert!(usage.take(&definition, 5, 5, START).is_admitted);
    let slot = START / slot_micros(Duration::from_secs(1));
    usage.settle(&definition, slot, (3, 0), START);
    assert_eq!(usage.take(&definition, 5, 3, START).remaining, 0);
}

proptest! {
    #[test]
    fn no_window_ever_sees_more_than_the_limit(
        limit in 1u64..20,
        steps in prop::collection::vec((0u64..400_000, 1u64..4), 1..300),
    ) {
        let definition = definition(limit, Duration::from_secs(1));
        let mut usage = Usage::default();
        let mut now = START;
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        for (step, cost) in steps {
            now += step;
            if usage.take(&definition, limit, cost, now).is_admitted {
                admitted.push((now, cost));
            }
            let in_window: u64 =
                admitted.iter().filter(|(at, _)| now - at < 1_000_000).map(|(_, cost)| cost).sum();
            prop_assert!(in_window <= limit);
        }
    }
}
