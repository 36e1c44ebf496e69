use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tollgate_policy::stored::Rules;

use super::*;

fn cache(kib: u32) -> MemoryCache {
    MemoryCache::with_room(Size::from_kib(kib)).unwrap()
}

fn key(target: u8, part: Option<u8>) -> Key {
    Key::new([target; 32], part.map(|part| [part; 32]))
}

fn stored(body: usize) -> Stored {
    let now = clock::unix_micros();
    Stored {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::from(vec![b'x'; body]),
        requested_unix_micros: now,
        received_unix_micros: now,
        initial_age_micros: 0,
        rules: Rules::default(),
        selecting: Box::default(),
        groups: Box::default(),
    }
}

fn grouped(groups: &[u8]) -> Stored {
    Stored { groups: groups.iter().map(|group| [*group; 32]).collect(), ..stored(10) }
}

#[test]
fn what_is_of_a_purged_group_is_not_found_and_gives_its_memory_back() {
    let cache = cache(1024);
    let keys = [key(1, None), key(2, None), key(3, Some(1)), key(4, None)];
    let early = early_by(grouped(&[100]), 1);
    for (key, groups) in keys.iter().zip([&[100, 101][..], &[101], &[100], &[]]) {
        cache.store(key, grouped(groups));
    }
    let found = || keys.map(|key| cache.lookup(&key).is_some());
    assert_eq!(found(), [true; 4]);
    cache.purge(&[100; 32]);
    assert_eq!(found(), [false, true, false, true]);
    // It was asked for before.
    cache.store(&keys[0], early);
    assert_eq!(found(), [false, true, false, true]);
    cache.sweep();
    assert_eq!(cache.filling().entries, 2);
    std::thread::sleep(Duration::from_millis(1));
    cache.store(&keys[0], grouped(&[100]));
    assert_eq!(found(), [true, true, false, true]);
    cache.purge_all();
    assert_eq!((found(), cache.filling().entries), ([false; 4], 0));
    // What was under way then is not stored either.
    cache.store(&keys[0], early_by(grouped(&[]), 1));
    assert_eq!(found(), [false; 4]);
}

#[test]
fn one_variant_of_a_purged_group_leaves_the_others() {
    let cache = cache(1024);
    let selected = |value: u8| -> tollgate_policy::stored::Selecting {
        [(http::header::ACCEPT, Some(Box::from([value])))].into()
    };
    cache.store(&key(1, None), Stored { selecting: selected(1), ..grouped(&[100]) });
    cache.store(&key(1, None), Stored { selecting: selected(2), ..grouped(&[101]) });
    cache.purge(&[100; 32]);
    let left = cache.lookup(&key(1, None)).unwrap();
    let left: Vec<_> = left.iter().map(|stored| stored.groups[0][0]).collect();
    assert_eq!(left, [101]);
}

#[test]
fn what_was_asked_for_before_an_invalidation_is_not_kept_however_both_meet() {
    let cache = cache(1024);
    for round in 0..4_000_u32 {
        let mut target = [7; 32];
        target[..4].copy_from_slice(&round.to_be_bytes());
        let (key, response) = (Key::new(target, None), stored(10));
        std::thread::scope(|scope| {
            scope.spawn(|| cache.store(&key, response));
            cache.invalidate(&target);
        });
        assert!(cache.lookup(&key).is_none(), "round {round}");
    }
}

#[test]
fn variants_that_are_stored_at_once_are_all_kept() {
    let cache = cache(1024);
    for round in 0..200 {
        let key = key(round, None);
        std::thread::scope(|scope| {
            for value in 0..4 {
                let selecting = [(http::header::ACCEPT, Some(Box::from([value])))].into();
                let cache = &cache;
                scope.spawn(move || cache.store(&key, Stored { selecting, ..stored(10) }));
            }
        });
        assert_eq!(cache.lookup(&key).unwrap().iter().count(), 4, "round {round}");
    }
}

fn early_by(stored: Stored, seconds: u64) -> Stored {
    let requested_unix_micros = stored.requested_unix_micros - seconds * 1_000_000;
    Stored { requested_unix_micros, ..stored }
}

#[test]
fn what_is_stored_is_found_until_its_target_is_invalidated_for_all_parts() {
    let cache = cache(1024);
    let keys = [key(1, None), key(1, Some(1)), key(1, Some(2)), key(2, None)];
    for key in &keys {
        cache.store(key, stored(10));
    }
    let found = || keys.map(|key| cache.lookup(&key).is_some());
    assert_eq!(found(), [true; 4]);
    cache.invalidate(&[1; 32]);
    assert_eq!(found(), [false, false, false, true]);
    std::thread::sleep(Duration::from_millis(1));
    cache.store(&keys[1], stored(10));
    assert_eq!(found(), [false, true, false, true]);
}

#[test]
fn what_was_asked_for_before_an_invalidation_is_not_stored_after_it() {
    let cache = cache(1024);
    let early = stored(10);
    cache.invalidate(&[1; 32]);
    cache.store(&key(1, None), early);
    assert!(cache.lookup(&key(1, None)).is_none());
}

#[test]
fn bytes_stay_within_the_budget() {
    let cache = cache(64);
    for target in 0..200 {
        cache.store(&key(target, None), stored(4096));
    }
    let filling = cache.filling();
    assert!(filling.bytes <= 64 * 1024 && filling.entries <= 16, "{filling:?}");
    assert_eq!(filling.stored, 200);
    assert!(filling.evictions >= 180, "{filling:?}");
    // What is larger than all of it goes at once.
    cache.store(&key(201, None), stored(100_000));
    assert!(cache.filling().bytes <= 64 * 1024);
}

#[tokio::test]
async fn one_leads_and_the_others_wait_until_it_is_done() {
    let cache = Arc::new(cache(64));
    let Turn::Lead(lead) = cache.turn(&key(1, None), Duration::from_secs(5)) else {
        panic!("nobody is under way");
    };
    let Turn::Wait(wait) = cache.turn(&key(1, None), Duration::from_secs(20)) else {
        panic!("one is under way");
    };
    let Turn::Wait(short) = cache.turn(&key(1, None), Duration::from_millis(1)) else {
        panic!("one is under way");
    };
    assert!(!short.await);
    // Dropped on another thread than that of who waits.
    std::thread::spawn(move || drop(lead)).join().unwrap();
    assert!(wait.await);
    assert!(matches!(cache.turn(&key(1, None), Duration::from_secs(5)), Turn::Lead(_)));
}

#[test]
fn nobody_waits_for_what_cannot_be_stored() {
    let cache = cache(64);
    cache.pass(&key(1, None));
    assert!(matches!(cache.turn(&key(1, None), Duration::from_secs(5)), Turn::Alone));
    assert!(MemoryCache::with_room(Size::from_kib(0)).is_none());
}
