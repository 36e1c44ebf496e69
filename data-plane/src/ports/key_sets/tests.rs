use std::time::Duration;

use tokio::time::timeout;
use tollgate_policy::jose::{KeySet, Named};
use tollgate_testkit::tokens::{Signer, key_set};
use tollgate_testkit::upstream::Upstream;

use super::*;

const SHORT: Duration = Duration::from_millis(20);

fn source(provider: &Upstream, query: &str) -> KeySource {
    let url = format!("http://{}/keys?{query}", provider.address());
    let (cache, wait) = (Duration::from_secs(10), Duration::from_secs(5));
    KeySource::new(Named::KeySet, &url, cache, wait, true).unwrap()
}

fn document(signer: &Signer) -> String {
    key_set(&[signer]).unwrap().to_string()
}

async fn found(keys: FoundKeys<'_>) -> Option<Arc<KeySet>> {
    match keys {
        FoundKeys::Now(set) => set,
        FoundKeys::Wait(set) => set.await,
    }
}

async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.unwrap();
}

#[tokio::test]
async fn keys_are_renewed_before_they_are_stale_without_a_request() {
    let (one, two) = (Signer::p256("one").unwrap(), Signer::p256("two").unwrap());
    let provider = Upstream::start("id").unwrap();
    provider.set_document(document(&one));
    let sets = NodeKeySets::with(Fetcher::with_shortest(SHORT), Handle::current());
    let source = source(&provider, "document&set=cache-control:max-age=0");
    let first = found(sets.keys(&source)).await.unwrap();
    provider.set_document(document(&two));
    until(|| sets.generation(&source).is_some_and(|now| now != first.generation())).await;
    // What cannot be read does not take the place of what can.
    let second = sets.generation(&source);
    provider.set_document("not a set of keys");
    let before = provider.requests();
    until(|| provider.requests() > before).await;
    assert_eq!(sets.generation(&source), second);
}

#[tokio::test]
async fn the_same_keys_stay_the_same_however_often_they_are_fetched() {
    let provider = Upstream::start("id").unwrap();
    provider.set_document(document(&Signer::p256("one").unwrap()));
    let sets = NodeKeySets::with(Fetcher::with_shortest(SHORT), Handle::current());
    let source = source(&provider, "document&set=cache-control:no-store");
    let first = found(sets.keys(&source)).await.unwrap();
    until(|| provider.requests() >= 4).await;
    assert!(Arc::ptr_eq(&first, &found(sets.keys(&source)).await.unwrap()));
}

#[tokio::test]
async fn a_set_that_nobody_asks_for_is_given_up_and_the_node_holds_no_more_than_its_bound() {
    let provider = Upstream::start("id").unwrap();
    let sets = NodeKeySets::new(Handle::current());
    let one = source(&provider, "hang");
    assert!(sets.generation(&one).is_none());
    let FoundKeys::Wait(_) = sets.keys(&one) else { panic!("nothing is held yet") };
    sets.0.give_up(one.id());
    assert!(sets.0.sets.load().is_empty() && sets.0.tasks.lock().unwrap().is_empty());
    for number in 0..MAX_SETS {
        sets.held(&source(&provider, &format!("hang&{number}"))).unwrap();
    }
    assert!(found(sets.keys(&one)).await.is_none());
}

#[test]
fn a_provider_is_asked_for_an_unknown_key_once_in_thirty_seconds() {
    let provider = Upstream::start("id").unwrap();
    let held = Held::new(source(&provider, "hang"), Duration::ZERO);
    let at = Duration::from_secs;
    let asked: Vec<bool> =
        [1, 1, 2, 30, 31, 32, 60, 61].map(|seconds| held.may_renew(at(seconds))).to_vec();
    assert_eq!(asked, [true, false, false, false, true, false, false, true]);
    held.note_wanted(at(3600));
    assert_eq!(held.idle_for(at(3600 + 90)), at(60));
}
