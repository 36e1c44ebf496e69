use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use proptest::prelude::*;
use tollgate_policy::limit::{Enforcement, OnFailure};

use super::super::script::model::Model;
use super::*;

/// A window of 32 s: a slot is one second.
const SLOT: Duration = Duration::from_secs(1);

fn definition(limit: u64) -> Definition {
    Definition {
        id: Arc::from("limit"),
        limit,
        window: (SLOT * 32).into(),
        enforcement: Enforcement::Leased,
        on_failure: OnFailure::Closed,
        is_settled: false,
    }
}

fn subject() -> Subject {
    Subject::new("key".to_owned())
}

fn reply(granted: u64, left: u64) -> Reply {
    Reply { granted, left, reset: Duration::from_secs(20), slot: 100, slot_left: SLOT / 2 }
}

fn waits(
    subject: &Subject,
    cost: u64,
    now_ms: u64,
) -> (oneshot::Receiver<Option<Decision>>, Refill) {
    match subject.enroll(&definition(100), cost, now_ms) {
        Enrolled::Waits(receiver, refill) => (receiver, refill),
        Enrolled::Spent(decision) => panic!("{decision:?}"),
    }
}

fn is_spent(subject: &Subject, now_ms: u64) -> bool {
    matches!(subject.spend(&definition(100), 1, now_ms), Spend::Done(..))
}

/// A subject that was granted permits in slot 100 at millisecond 0, one of which is spent.
fn with_block(granted: u64) -> Subject {
    let subject = subject();
    let (mut receiver, _) = waits(&subject, 1, 0);
    let plan = subject.plan(Reason::Demand, 0).unwrap();
    assert_eq!(subject.settle(&plan, &reply(granted, 50), 1), Refill::WillCome);
    assert!(receiver.try_recv().unwrap().unwrap().is_admitted);
    subject
}

#[test]
fn a_block_is_spent_to_the_last_permit_and_not_beyond() {
    let subject = with_block(10);
    assert_eq!((0..20).filter(|_| is_spent(&subject, 10)).count(), 9);
}

#[test]
fn a_block_ends_with_the_slot_after_its_own() {
    let subject = with_block(10);
    // Half a slot was left when it was taken.
    assert!(is_spent(&subject, 1_499));
    assert!(!is_spent(&subject, 1_500));
}

#[test]
fn no_block_is_held_for_long() {
    let subject = subject();
    let (_receiver, _) = waits(&subject, 1, 0);
    let plan = subject.plan(Reason::Demand, 0).unwrap();
    let long = Reply { slot_left: Duration::from_secs(86_400), ..reply(10, 50) };
    subject.settle(&plan, &long, 1);
    assert!(is_spent(&subject, LONGEST_MS - 1) && !is_spent(&subject, LONGEST_MS));
}

#[test]
fn all_who_wait_share_one_call() {
    let subject = subject();
    let (first, refill) = waits(&subject, 1, 0);
    assert_eq!(refill, Refill::IsNeeded);
    let (second, refill) = waits(&subject, 2, 0);
    assert_eq!(refill, Refill::WillCome);
    let plan = subject.plan(Reason::Demand, 0).unwrap();
    assert_eq!((plan.need, plan.fewest), (3, 1));
    assert!(subject.plan(Reason::Demand, 0).is_none(), "a second call while one is under way");
    // One comes while the call is under way: it is served from what was taken ahead.
    let (third, refill) = waits(&subject, 1, 0);
    assert_eq!(refill, Refill::WillCome);
    assert_eq!(subject.settle(&plan, &reply(4, 50), 1), Refill::WillCome);
    for mut receiver in [first, second, third] {
        assert!(receiver.try_recv().unwrap().unwrap().is_admitted);
    }
}

#[test]
fn who_comes_too_late_for_a_call_gets_another() {
    let subject = subject();
    let (mut first, _) = waits(&subject, 1, 0);
    let plan = subject.plan(Reason::Demand, 0).unwrap();
    let (mut second, _) = waits(&subject, 1, 0);
    assert_eq!(subject.settle(&plan, &reply(1, 50), 1), Refill::IsNeeded);
    assert!(first.try_recv().unwrap().unwrap().is_admitted && second.try_recv().is_err());
    let plan = subject.plan(Reason::Demand, 1).unwrap();
    assert_eq!(subject.settle(&plan, &reply(1, 49), 2), Refill::WillCome);
    assert!(second.try_recv().unwrap().unwrap().is_admitted);
}

#[test]
fn where_nothing_is_left_all_who_wait_are_refused_and_the_next_is_at_once() {
    let subject = subject();
    let (mut receiver, _) = waits(&subject, 1, 0);
    let plan = subject.plan(Reason::Demand, 0).unwrap();
    subject.settle(&plan, &reply(0, 0), 1);
    let refused = receiver.try_recv().unwrap().unwrap();
    assert_eq!((refused.is_admitted, refused.reset), (false, Duration::from_secs(20)));
    let Spend::Denied(again) = subject.spend(&definition(100), 1, 500) else {
        panic!("not remembered")
    };
    assert!(!again.is_admitted && again.reset > Duration::from_secs(19), "{again:?}");
    // Other nodes may have given permits back.
    assert!(matches!(subject.spend(&definition(100), 1, 1 + denial::LONGEST_MS), Spend::Nothing));
}

#[test]
fn a_refusal_is_of_its_limit_and_its_cost() {
    let subject = subject();
    subject.deny(&definition(100), 5, &reply(0, 3), 0);
    assert!(subject.denial(&definition(100), 5, 1).is_some());
    assert!(subject.denial(&definition(100), 3, 1).is_none(), "less may be had");
    assert!(subject.denial(&definition(200), 5, 1).is_none(), "the limit was raised");
    let longer = Definition { window: (SLOT * 64).into(), ..definition(100) };
    assert!(subject.denial(&longer, 5, 1).is_none(), "the window was edited");
}

#[test]
fn a_block_is_of_its_definition() {
    let subject = with_block(10);
    for edited in [definition(50), Definition { window: (SLOT * 64).into(), ..definition(100) }] {
        assert!(matches!(subject.spend(&edited, 1, 10), Spend::Nothing));
    }
}

#[test]
fn what_is_not_spent_goes_back_to_its_slot() {
    let subject = with_block(10);
    assert!(subject.plan(Reason::Sweep, 1_499).is_none());
    let plan = subject.plan(Reason::Sweep, 1_500).unwrap();
    assert_eq!((plan.want, plan.give_back.as_slice()), (0, &[(100, 9)][..]));
    subject.settle(&plan, &reply(0, 59), 1_501);
    assert!(!subject.stays_listed());
}

#[test]
fn a_node_that_goes_away_gives_back_what_it_could_still_spend() {
    let subject = with_block(10);
    let plan = subject.plan(Reason::Release, 10).unwrap();
    assert_eq!(plan.give_back.as_slice(), &[(100, 9)]);
    assert!(!is_spent(&subject, 10));
}

#[test]
fn blocks_of_one_slot_are_spent_together_and_those_of_two_are_not() {
    for (slot, expected, owed) in [(100, 9 + 20, 0), (101, 20, 9)] {
        let subject = with_block(10);
        subject.ledger().wanted = 20;
        let plan = Plan {
            definition: definition(100),
            need: 0,
            want: 20,
            fewest: 0,
            give_back: SmallVec::new(),
            asked_at_ms: 10,
        };
        subject.settle(&plan, &Reply { slot, ..reply(20, 30) }, 11);
        assert_eq!((0..99).filter(|_| is_spent(&subject, 12)).count(), expected);
        let plan = subject.plan(Reason::Sweep, 12);
        assert_eq!(plan.map_or(0, |plan| plan.give_back[0].1), owed);
    }
}

#[test]
fn the_next_block_is_asked_for_once_and_before_the_last_permit() {
    let subject = with_block(1);
    // A first burst: the block grows with the demand.
    let mut now_ms = 1;
    for _ in 0..6 {
        now_ms += 20;
        let (_receiver, _) = waits(&subject, 1, now_ms);
        let plan = subject.plan(Reason::Demand, now_ms).unwrap();
        subject.settle(&plan, &reply(plan.want, 1_000_000), now_ms);
        while is_spent(&subject, now_ms) {}
    }
    let (_receiver, _) = waits(&subject, 1, now_ms);
    let plan = subject.plan(Reason::Demand, now_ms).unwrap();
    assert!(plan.want > 100, "{}", plan.want);
    subject.settle(&plan, &reply(plan.want, 1_000_000), now_ms);
    let mut due = Vec::new();
    for left in (0..plan.want - 1).rev() {
        match subject.spend(&definition(100), 1, now_ms) {
            Spend::Done(_, NextBlock::IsDue) => due.push(left),
            Spend::Done(_, NextBlock::CanWait) => {}
            Spend::Denied(_) | Spend::Nothing => panic!("the block is not spent yet"),
        }
    }
    assert!(matches!(due[..], [left] if left > 0 && left < plan.want / 2), "{due:?}");
}

#[test]
fn near_the_limit_nothing_is_asked_for_ahead() {
    let subject = subject();
    let (_receiver, _) = waits(&subject, 1, 0);
    subject.ledger().wanted = 100;
    let mut plan = subject.plan(Reason::Demand, 0).unwrap();
    plan.want = 100;
    subject.settle(&plan, &reply(20, 100), 1);
    for _ in 0..19 {
        assert!(matches!(
            subject.spend(&definition(100), 1, 2),
            Spend::Done(_, NextBlock::CanWait)
        ));
    }
}

#[test]
fn a_request_that_went_away_leaves_its_permits_to_others() {
    let subject = subject();
    let (receiver, _) = waits(&subject, 1, 0);
    let plan = subject.plan(Reason::Demand, 0).unwrap();
    drop(receiver);
    subject.settle(&plan, &reply(1, 50), 1);
    assert!(is_spent(&subject, 2));
    let (receiver, _) = waits(&subject, 1, 2);
    drop(receiver);
    let plan = subject.plan(Reason::Demand, 2);
    assert_eq!(plan.map_or(0, |plan| plan.need), 0, "nobody waits any more");
}

#[test]
fn while_redis_is_away_nobody_is_kept_waiting() {
    let subject = subject();
    let (mut receiver, _) = waits(&subject, 1, 0);
    subject.plan(Reason::Demand, 0).unwrap();
    subject.fail();
    assert_eq!(receiver.try_recv(), Ok(None));
    assert_eq!(waits(&subject, 1, 1).1, Refill::IsNeeded);
}

#[test]
fn threads_spend_each_permit_once() {
    let subject = Arc::new(with_block(100_000));
    let spent = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while is_spent(&subject, 10) {
                    spent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(spent.load(Ordering::Relaxed), 99_999);
}

/// A node of the simulation: its subject, its call under way, who waits.
struct Node {
    subject: Subject,
    under_way: Option<(u64, Plan, Option<Reply>)>,
    waiters: VecDeque<oneshot::Receiver<Option<Decision>>>,
}

#[derive(Clone, Debug)]
enum Event {
    Request {
        node: usize,
        count: u64,
    },
    /// Redis works on the call of a node.
    Redis {
        node: usize,
    },
    /// The answer reaches the node.
    Answer {
        node: usize,
    },
    Sweep {
        node: usize,
    },
    Time {
        micros: u64,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = 0..3_usize;
    let event = prop_oneof![
        6 => (node.clone(), 1..12_u64).prop_map(|(node, count)| Event::Request { node, count }),
        5 => node.clone().prop_map(|node| Event::Redis { node }),
        5 => node.clone().prop_map(|node| Event::Answer { node }),
        1 => node.prop_map(|node| Event::Sweep { node }),
        4 => prop_oneof![0..2_000_u64, 0..40_000_u64, 0..600_000_u64].prop_map(|micros| Event::Time { micros }),
    ];
    prop::collection::vec(event, 1..400)
}

proptest! {
    /// Three nodes, calls that take any time in either direction, time that moves on in the middle of
    /// all: no window of the limit's length sees more than the limit.
    #[test]
    fn no_window_sees_more_than_the_limit(limit in 1_u64..60, events in events()) {
        const START: u64 = 1_700_000_000_000_000;
        const WINDOW: u64 = 1_000_000;
        let definition = Definition { window: Duration::from_micros(WINDOW).into(), ..definition(limit) };
        let mut nodes: Vec<Node> = (0..3)
            .map(|_| Node { subject: subject(), under_way: None, waiters: VecDeque::new() })
            .collect();
        let (mut redis, mut elapsed) = (Model::default(), 0_u64);
        let mut spent: Vec<(u64, u64)> = Vec::new();
        for event in events {
            let now_ms = elapsed / 1_000;
            match event {
                Event::Time { micros } => elapsed += micros,
                Event::Request { node, count } => {
                    let node = &mut nodes[node];
                    for _ in 0..count {
                        match node.subject.spend(&definition, 1, now_ms) {
                            Spend::Done(..) => spent.push((elapsed, 1)),
                            Spend::Denied(_) => {}
                            Spend::Nothing => match node.subject.enroll(&definition, 1, now_ms) {
                                Enrolled::Waits(receiver, _) => node.waiters.push_back(receiver),
                                Enrolled::Spent(decision) => prop_assert!(!decision.is_admitted),
                            },
                        }
                    }
                    if let Some(plan) = node.subject.plan(Reason::Demand, now_ms) {
                        node.under_way = Some((elapsed, plan, None));
                    }
                }
                Event::Sweep { node } => {
                    let node = &mut nodes[node];
                    if let Some(plan) = node.subject.plan(Reason::Sweep, now_ms) {
                        node.under_way = Some((elapsed, plan, None));
                    }
                }
                Event::Redis { node } => {
                    if let Some((_, plan, answer @ None)) = &mut nodes[node].under_way {
                        *answer = Some(redis.take(&plan.call("key", 3, START + elapsed), START + elapsed));
                    }
                }
                Event::Answer { node } => {
                    let node = &mut nodes[node];
                    if let Some((_, plan, Some(answer))) = &node.under_way {
                        node.subject.settle(plan, answer, now_ms);
                        node.under_way = None;
                        node.waiters.retain_mut(|receiver| match receiver.try_recv() {
                            Ok(Some(decision)) => {
                                spent.extend(decision.is_admitted.then_some((elapsed, 1)));
                                false
                            }
                            Ok(None) => false,
                            Err(_) => true,
                        });
                    }
                }
            }
            let in_window: u64 =
                spent.iter().filter(|(at, _)| elapsed - at < WINDOW).map(|(_, count)| count).sum();
            prop_assert!(in_window <= limit, "{in_window} of {limit} at {elapsed}");
        }
    }
}

#[test]
fn what_is_settled_goes_to_the_slot_where_it_was_taken() {
    let subject = with_block(10);
    let definition = definition(100);
    let Spend::Done(decision, _) = subject.spend(&definition, 4, 10) else { panic!("nothing") };
    let booked = decision.booked.unwrap();
    assert_eq!((booked.slot, booked.is_shared), (100, true));
    let tenant = tollgate_model::Name::default_name();
    let take = tollgate_policy::ports::Take {
        definition: &definition,
        tenant: &tenant,
        subject: "subject",
        cost: 4,
        now_unix_micros: 0,
    };
    // The reconciler is asked once for all that is gathered meanwhile.
    for (cost, is_asked) in [(1, true), (9, false), (0, false)] {
        assert_eq!(subject.owe(&Settlement { take, booked, cost }), is_asked);
    }
    let other = Booked { slot: 98, is_shared: true };
    subject.owe(&Settlement { take, booked: other, cost: 5 });
    let plan = subject.plan(Reason::Demand, 11).unwrap();
    assert_eq!(plan.give_back.as_slice(), &[(100, 3 - 5 + 4), (98, -1)]);
}

#[test]
fn a_refusal_is_forgotten_where_permits_come_back() {
    let subject = with_block(1);
    let settled =
        Definition { is_settled: true, enforcement: Enforcement::Exact, ..definition(100) };
    let reply = Reply { granted: 0, left: 0, reset: Duration::from_secs(3_600), ..reply(0, 30) };
    subject.deny(&settled, 1, &reply, 10);
    assert!(subject.denial(&settled, 1, 500).is_some());
    // Other nodes' calls end, too.
    assert!(subject.denial(&settled, 1, 10 + denial::LONGEST_MS).is_none());
    let for_good = Definition { is_settled: false, ..settled.clone() };
    subject.deny(&for_good, 1, &reply, 10);
    assert!(subject.denial(&for_good, 1, 10 + denial::LONGEST_MS).is_some());
    let tenant = tollgate_model::Name::default_name();
    let take = tollgate_policy::ports::Take {
        definition: &settled,
        tenant: &tenant,
        subject: "subject",
        cost: 2,
        now_unix_micros: 0,
    };
    let booked = Booked { slot: 100, is_shared: true };
    subject.deny(&settled, 1, &reply, 10);
    subject.owe(&Settlement { take, booked, cost: 3 });
    assert!(subject.denial(&settled, 1, 11).is_some());
    subject.owe(&Settlement { take, booked, cost: 1 });
    assert!(subject.denial(&settled, 1, 11).is_none());
}
