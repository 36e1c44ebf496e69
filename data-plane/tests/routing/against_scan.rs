//! Against a plain scan.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tollgate_data_plane::route::{Because, RouteTable, Verdict};

use crate::generated::{any_apis, any_request, any_versions};
use crate::published::{Outcome, Published, Request, find, label, table};
use crate::scan::{scan, scan_outcome};

fn by_name(apis: &[Published]) -> BTreeMap<String, Published> {
    apis.iter().map(|api| (api.id.name.to_string(), api.clone())).collect()
}

/// Whether the table finds, and explains, what the scan does.
fn check(
    table: &RouteTable<String>,
    apis: &BTreeMap<String, Published>,
    request: &Request,
) -> Result<(), TestCaseError> {
    let candidates = scan(apis, request);
    let expected = scan_outcome(&candidates, request);
    let actual = find(table, request);
    prop_assert_eq!(&actual, &expected);
    let explained = table.explain(&request.input());
    let on_path: Vec<&String> = explained
        .iter()
        .filter(|one| one.verdict != Verdict::Lost { because: Because::Path })
        .map(|one| one.payload)
        .collect();
    // An API on two of the request's hosts is explained for both; it counts for the first.
    let mut first_of_each: Vec<&String> = Vec::new();
    for payload in on_path {
        if !first_of_each.contains(&payload) {
            first_of_each.push(payload);
        }
    }
    let ranked: Vec<String> =
        candidates.iter().map(|(_, published, route)| label(&published.id, *route)).collect();
    prop_assert_eq!(first_of_each, ranked.iter().collect::<Vec<_>>());
    let won = explained.iter().find(|one| one.verdict == Verdict::Won).map(|one| one.payload);
    match expected {
        Outcome::Route(label) => prop_assert_eq!(won, Some(&label)),
        Outcome::MethodNotAllowed(_) | Outcome::NoRoute => prop_assert_eq!(won, None),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_equals_a_plain_scan(
        apis in any_apis(),
        requests in prop::collection::vec(any_request(), 40),
    ) {
        let table = table(&apis);
        let apis = by_name(&apis);
        for request in &requests {
            check(&table, &apis, request)?;
        }
    }

    #[test]
    fn changes_in_any_order_equal_a_fresh_table_and_leave_clones_alone(
        changes in prop::collection::vec((0..9_usize, prop::bool::weighted(0.7)), 1..40),
        versions in prop::collection::vec(any::<prop::sample::Index>(), 40),
        pool in any_versions(),
        requests in prop::collection::vec(any_request(), 10),
    ) {
        let mut live = RouteTable::default();
        let mut expected: BTreeMap<String, Published> = BTreeMap::new();
        let mut clones = Vec::new();
        for ((api, is_insert), version) in changes.into_iter().zip(versions) {
            let next = version.get(&pool[api]);
            let name = next.id.name.to_string();
            if let Some(current) = expected.remove(&name) {
                current.remove_from(&mut live);
            }
            if is_insert {
                next.insert_into(&mut live);
                // Once more changes nothing.
                next.insert_into(&mut live);
                expected.insert(name, next.clone());
            }
            clones.push((live.clone(), expected.clone()));
        }
        for (table, apis) in &clones {
            for request in &requests {
                check(table, apis, request)?;
            }
        }
        for api in expected.values() {
            api.remove_from(&mut live);
        }
        for request in &requests {
            prop_assert_eq!(find(&live, request), Outcome::NoRoute);
            prop_assert!(live.explain(&request.input()).is_empty());
        }
    }
}
