use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tollgate_model::Name;
use tollgate_policy::limit::calendar::{Unit, Zone};
use tollgate_policy::limit::{Calendar, Definition, Enforcement, OnFailure, Usage, Window};
use tollgate_policy::ports::Take;

use super::script::model::Model;
use super::script::{Call, Reply, Slots};

const START: u64 = 1_700_000_000_000_000;

fn definition(limit: u64, window: Duration) -> Definition {
    Definition {
        id: Arc::from("limit"),
        limit,
        window: window.into(),
        enforcement: Enforcement::Exact,
        on_failure: OnFailure::Closed,
        is_settled: false,
    }
}

/// One call with all that may vary, and how far time goes on before it.
#[derive(Clone, Debug)]
struct Step {
    micros: u64,
    need: u64,
    ahead: u64,
    fewest: u64,
    divisor: u64,
    limit: u64,
    slots: Counted,
    /// How many slots ago something was taken that is given back now, and how much; below 0, charged.
    give_back: Option<(u64, i64)>,
}

#[derive(Clone, Copy, Debug)]
enum Counted {
    Rolling {
        slot_micros: u64,
        look_back: u64,
    },
    /// Windows of so many microseconds, and how far the node's clock is ahead.
    Calendar {
        micros: u64,
        ahead: i64,
    },
}

impl Counted {
    fn slots(self, now: u64) -> Slots {
        match self {
            Self::Rolling { slot_micros, look_back } => Slots::Rolling { slot_micros, look_back },
            Self::Calendar { micros, ahead } => {
                let node_micros = now.saturating_add_signed(ahead);
                let from = node_micros - node_micros % micros;
                let bounds = [from - micros, from, from + micros, from + 2 * micros];
                Slots::Calendar { bounds, node_micros }
            }
        }
    }

    fn slot(self, now: u64, ago: u64) -> u64 {
        match self {
            Self::Rolling { slot_micros, .. } => now / slot_micros - ago,
            Self::Calendar { micros, .. } => now - now % micros - ago * micros,
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let times = prop_oneof![Just(0), 0..50_000_u64, 0..2_000_000_u64];
    let lengths =
        prop_oneof![4 => Just(31_250_u64), 1 => Just(62_500_u64), 1 => 1_000..100_000_u64];
    let rolling = (lengths, 32..34_u64)
        .prop_map(|(slot_micros, look_back)| Counted::Rolling { slot_micros, look_back });
    let windows = prop_oneof![4 => Just(1_000_000_u64), 1 => 100_000..2_000_000_u64];
    let ahead =
        prop_oneof![4 => Just(0), 2 => -500_000..500_000_i64, 1 => -9_000_000..9_000_000_i64];
    let calendar = (windows, ahead).prop_map(|(micros, ahead)| Counted::Calendar { micros, ahead });
    let slots = prop_oneof![2 => rolling, 1 => calendar];
    let asked = (0..6_u64, 0..40_u64, 0..3_u64, 1..9_u64);
    let given_back = prop::option::weighted(0.2, (0..40_u64, -20..20_i64));
    let step = (times, asked, 1..60_u64, slots, given_back).prop_map(
        |(micros, (need, ahead, fewest, divisor), limit, slots, give_back)| Step {
            micros,
            need,
            ahead,
            fewest: fewest.min(need),
            divisor,
            limit,
            slots,
            give_back,
        },
    );
    prop::collection::vec(step, 1..60)
}

#[test]
fn the_script_does_what_the_model_does() {
    let server = tollgate_testkit::redis::Redis::start().unwrap();
    let mut connection = redis::Client::open(server.address()).unwrap().get_connection().unwrap();
    let mut cases = 0;
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(100));
    let case = std::cell::RefCell::new((&mut connection, &mut cases));
    let check = |steps: Vec<Step>| {
        let (connection, cases) = &mut *case.borrow_mut();
        **cases += 1;
        let key = format!("tollgate:{{case-{cases}}}");
        let (mut model, mut now) = (Model::default(), START);
        for step in steps {
            now += step.micros;
            let give_back: Vec<(u64, i64)> = step
                .give_back
                .iter()
                .map(|(ago, count)| (step.slots.slot(now, *ago), *count))
                .collect();
            let call = Call {
                key: &key,
                need: step.need,
                want: step.need + step.ahead,
                fewest: step.fewest,
                divisor: step.divisor,
                limit: step.limit,
                slots: step.slots.slots(now),
                now_unix_micros: Some(now),
                give_back: &give_back,
            };
            let reply: Reply = call.by_text().query(&mut **connection).unwrap();
            prop_assert_eq!(reply, model.take(&call, now), "{:?}", call);
        }
        Ok(())
    };
    runner.run(&steps(), check).unwrap();
}

#[test]
fn a_clock_that_steps_back_counts_into_the_newest_slot() {
    let server = tollgate_testkit::redis::Redis::start().unwrap();
    let mut connection = redis::Client::open(server.address()).unwrap().get_connection().unwrap();
    let definition = definition(2, Duration::from_secs(32));
    let mut take = |now| -> Reply {
        let take = take(&definition, 1, now);
        let call = Call { now_unix_micros: Some(now), ..Call::all_or_none("key", &take) };
        call.by_text().query(&mut connection).unwrap()
    };
    let first = take(START);
    let second = take(START - 5_000_000);
    assert_eq!((first.granted, second.granted), (1, 1));
    assert_eq!(first.slot, second.slot);
    assert_eq!(take(START).granted, 0);
}

#[test]
fn a_clock_that_steps_back_over_a_windows_beginning_counts_on_in_the_newest() {
    let server = tollgate_testkit::redis::Redis::start().unwrap();
    let mut connection = redis::Client::open(server.address()).unwrap().get_connection().unwrap();
    let days = Arc::new(Calendar::new(Unit::Day, Zone::default()));
    let mut definition = definition(2, Duration::from_secs(1));
    definition.window = Window::Calendar(Arc::clone(&days));
    let midnight = days.window_at(START).until;
    let mut usage = Usage::default();
    let mut admitted = |now| {
        let take = take(&definition, 1, now);
        let call = Call { now_unix_micros: Some(now), ..Call::all_or_none("key", &take) };
        let reply: Reply = call.by_text().query(&mut connection).unwrap();
        assert_eq!(usage.take(&definition, 2, 1, now).is_admitted, reply.granted == 1);
        reply.granted
    };
    // The old window is full; the new one is not, and then it is, whatever the clock says.
    let moments = [-1, -1, -1, 0, -5, -5, 0, 86_399_999_999];
    let granted: Vec<u64> =
        moments.into_iter().map(|at| admitted(midnight.saturating_add_signed(at))).collect();
    assert_eq!(granted, [1, 1, 0, 1, 1, 0, 0, 0]);
    assert_eq!(admitted(midnight + 86_400_000_000), 1);
}

fn take(definition: &Definition, cost: u64, now_unix_micros: u64) -> Take<'_> {
    static TENANT: std::sync::LazyLock<Name> = std::sync::LazyLock::new(Name::default_name);
    Take { definition, tenant: &TENANT, subject: "subject", cost, now_unix_micros }
}

proptest! {
    /// The node's own memory and Redis come to the same decisions.
    #[test]
    fn the_model_does_what_usage_does(
        limit in 1_u64..30,
        steps in prop::collection::vec((
            prop_oneof![9 => 0_u64..400_000, 1 => 0..90_000_000_000_u64],
            1_u64..5,
            prop::option::weighted(0.05, 0..5_usize),
            prop::option::weighted(0.2, (0..8_usize, 0_u64..9)),
        ), 1..200),
    ) {
        let (mut usage, mut model, mut now) = (Usage::default(), Model::default(), START);
        let mut definition = definition(limit, Duration::from_secs(1));
        let calendar = |unit| Window::Calendar(Arc::new(Calendar::new(unit, Zone::default())));
        let windows = [
            definition.window.clone(),
            Duration::from_secs(7).into(),
            Duration::from_secs(86_400).into(),
            calendar(Unit::Minute),
            calendar(Unit::Day),
        ];
        let mut booked = Vec::new();
        for (micros, cost, edited, settled) in steps {
            now += micros;
            if let Some(edited) = edited {
                definition.window = windows[edited].clone();
            }
            let decision = usage.take(&definition, limit, cost, now);
            let reply = model.take(&Call::all_or_none("key", &take(&definition, cost, now)), now);
            prop_assert_eq!(decision.is_admitted, reply.granted == cost);
            prop_assert_eq!((decision.remaining, decision.reset), (reply.left, reply.reset));
            let slot = decision.booked.map(|booked| booked.slot);
            prop_assert_eq!(slot, decision.is_admitted.then_some(reply.slot));
            booked.extend(slot.map(|slot| (slot, cost)));
            // One of the newest is settled, also after an edit.
            let Some((ago, did_cost)) = settled.filter(|(ago, _)| *ago < booked.len()) else { continue };
            let (slot, cost) = booked.remove(booked.len() - 1 - ago);
            let differences = (cost.saturating_sub(did_cost), did_cost.saturating_sub(cost));
            usage.settle(&definition, slot, differences, now);
            let back = [(slot, i64::try_from(cost).unwrap() - i64::try_from(did_cost).unwrap())];
            let nothing = take(&definition, 0, now);
            let call = Call { give_back: &back, ..Call::all_or_none("key", &nothing) };
            let left = model.take(&call, now).left;
            prop_assert_eq!(limit.saturating_sub(usage.used()), left);
        }
    }
}
