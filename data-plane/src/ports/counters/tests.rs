use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tollgate_policy::limit::{Definition, Enforcement, OnFailure, Usage};

use super::script::model::Model;
use super::script::{Call, Reply};

const START: u64 = 1_700_000_000_000_000;

fn definition(limit: u64, window: Duration) -> Definition {
    Definition {
        id: Arc::from("limit"),
        limit,
        window,
        enforcement: Enforcement::Exact,
        on_failure: OnFailure::Closed,
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
    slot_micros: u64,
    look_back: u64,
    /// How many slots ago something was taken that is given back now, and how much.
    give_back: Option<(u64, u64)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let times = prop_oneof![Just(0), 0..50_000_u64, 0..2_000_000_u64];
    let slots = prop_oneof![4 => Just(31_250_u64), 1 => Just(62_500_u64), 1 => 1_000..100_000_u64];
    let asked = (0..6_u64, 0..40_u64, 0..3_u64, 1..9_u64);
    let given_back = prop::option::weighted(0.2, (0..3_u64, 0..20_u64));
    let step = (times, asked, 1..60_u64, slots, 32..34_u64, given_back).prop_map(
        |(micros, (need, ahead, fewest, divisor), limit, slot_micros, look_back, give_back)| Step {
            micros,
            need,
            ahead,
            fewest: fewest.min(need),
            divisor,
            limit,
            slot_micros,
            look_back,
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
            let give_back: Vec<(u64, u64)> = step
                .give_back
                .iter()
                .map(|(ago, count)| (now / step.slot_micros - ago, *count))
                .collect();
            let call = Call {
                key: &key,
                need: step.need,
                want: step.need + step.ahead,
                fewest: step.fewest,
                divisor: step.divisor,
                limit: step.limit,
                slot_micros: step.slot_micros,
                look_back: step.look_back,
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
        let call = Call { now_unix_micros: Some(now), ..Call::all_or_none("key", &definition, 1) };
        call.by_text().query(&mut connection).unwrap()
    };
    let first = take(START);
    let second = take(START - 5_000_000);
    assert_eq!((first.granted, second.granted), (1, 1));
    assert_eq!(first.slot, second.slot);
    assert_eq!(take(START).granted, 0);
}

proptest! {
    /// The node's own memory and Redis come to the same decisions.
    #[test]
    fn the_model_does_what_usage_does(
        limit in 1_u64..30,
        steps in prop::collection::vec((0_u64..400_000, 1_u64..5, prop::bool::weighted(0.05)), 1..200),
    ) {
        let (mut usage, mut model, mut now) = (Usage::default(), Model::default(), START);
        let mut definition = definition(limit, Duration::from_secs(1));
        for (micros, cost, is_edited) in steps {
            now += micros;
            if is_edited {
                definition.window = if definition.window.as_secs() == 1 { Duration::from_secs(7) } else { Duration::from_secs(1) };
            }
            let decision = usage.take(&definition, limit, cost, now);
            let reply = model.take(&Call::all_or_none("key", &definition, cost), now);
            prop_assert_eq!(decision.is_admitted, reply.granted == cost);
            prop_assert_eq!((decision.remaining, decision.reset), (reply.left, reply.reset));
        }
    }
}
