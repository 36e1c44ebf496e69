use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::LazyLock;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::settings::{MasterKey, Settings};

/// Everything that a set of files may stand for: its revision and its resources.
type State = (u64, BTreeMap<String, v1::Resource>);

fn key(byte: u8) -> CacheKey {
    let settings = Settings { master_key: Some(MasterKey::new([byte; 32])), ..Settings::default() };
    CacheKey::open(&settings).unwrap()
}

fn resource(name: &str, version: u64) -> v1::Resource {
    v1::Resource {
        kind: "Upstream".to_owned(),
        tenant: "default".to_owned(),
        name: name.to_owned(),
        version,
        spec: format!("{{\"made\":{version}}}").into_bytes().into(),
    }
}

fn digest_of(resources: &BTreeMap<String, v1::Resource>) -> Digest {
    let mut digest = Digest::default();
    resources.values().for_each(|resource| digest.toggle(resource));
    digest
}

fn saved((revision, resources): &State) -> Saved {
    Saved {
        epoch: 9,
        revision: *revision,
        digest: digest_of(resources),
        credential_key: Zeroizing::new([3; 32]),
        resources: resources.values().cloned().collect(),
    }
}

fn state(saved: &Saved) -> State {
    let by_name = saved.resources.iter().map(|resource| (resource.name.clone(), resource.clone()));
    let state: State = (saved.revision, by_name.collect());
    assert_eq!(saved.digest, digest_of(&state.1));
    assert_eq!((saved.epoch, *saved.credential_key), (9, [3; 32]));
    state
}

/// The next revision: writes one resource, removes another.
fn change(state: &mut State) -> v1::Delta {
    let from = state.0;
    let to = from + 1;
    let (new, gone) = (format!("r{to}"), format!("r{}", to - 3));
    let written = resource(&new, to);
    state.0 = to;
    state.1.insert(new, written.clone());
    let removed = state.1.remove(&gone).map(|resource| wire::id_of(&resource));
    v1::Delta {
        from,
        to,
        upserts: vec![written],
        removals: removed.into_iter().collect(),
        digest: digest_of(&state.1).as_bytes().to_vec().into(),
        committed_unix_micros: 1,
    }
}

/// Two generations, each with a log of three records; every state that there was.
fn history(folder: &Path) -> Vec<State> {
    let files = LastGood::new(folder, key(1));
    let mut now: State =
        (10, (0..4).map(|i| (format!("s{i}"), resource(&format!("s{i}"), 1))).collect());
    let mut states = vec![now.clone()];
    let mut position = None;
    for _generation in 0..2 {
        let mut at = files.write_base(saved(&now), position).unwrap();
        for _record in 0..3 {
            let delta = change(&mut now);
            files.append(&mut at, &[delta]).unwrap();
            states.push(now.clone());
        }
        position = Some(at);
    }
    states
}

fn load(folder: &Path) -> Option<(State, bool)> {
    let found = LastGood::new(folder, key(1)).load()?;
    assert_eq!(found.position.revision, found.saved.revision);
    Some((state(&found.saved), found.is_newest))
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join("config").join(name)
}

const BASE_1: &str = "base-0000000000000001";
const LOG_1: &str = "log-0000000000000001";
const BASE_2: &str = "base-0000000000000002";
const LOG_2: &str = "log-0000000000000002";

#[test]
fn what_is_written_is_read_with_every_delta() {
    let folder = tempfile::tempdir().unwrap();
    let states = history(folder.path());
    assert_eq!(load(folder.path()), Some((states.last().unwrap().clone(), true)));
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path()).is_none());
    assert!(load(&folder.path().join("not-there")).is_none());
}

#[test]
fn a_configuration_of_several_pieces_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut now: State = (1, BTreeMap::new());
    for i in 0..40_u64 {
        let mut big = resource(&format!("b{i}"), 1);
        // Does not compress.
        let mut output = blake3::Hasher::new().update(&i.to_le_bytes()).finalize_xof();
        let mut spec = vec![0; 100_000];
        output.fill(&mut spec);
        big.spec = spec.into();
        now.1.insert(big.name.clone(), big);
    }
    let files = LastGood::new(folder.path(), key(1));
    let position = files.write_base(saved(&now), None).unwrap();
    assert!(position.base_bytes > 3 << 20);
    assert_eq!(load(folder.path()), Some((now, true)));
}

#[test]
fn the_generation_before_is_kept_and_older_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let states = history(folder.path());
    let files = LastGood::new(folder.path(), key(1));
    let found = files.load().unwrap();
    files.write_base(saved(states.last().unwrap()), Some(found.position)).unwrap();
    let mut names: Vec<_> = fs::read_dir(files.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [BASE_2, "base-0000000000000003", LOG_2]);
    for name in names {
        let mode = fs::metadata(files.folder().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_torn_record_costs_only_itself_and_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let states = history(folder.path());
    let path = file(folder.path(), LOG_2);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let files = LastGood::new(folder.path(), key(1));
    let mut found = files.load().unwrap();
    let mut now = state(&found.saved);
    assert_eq!(now, states[states.len() - 2]);
    assert!(!files.ends_at(&found.position));
    let delta = change(&mut now);
    files.append(&mut found.position, &[delta]).unwrap();
    assert!(files.ends_at(&found.position));
    assert_eq!(load(folder.path()), Some((now, true)));
}

#[test]
fn a_damaged_base_gives_way_to_the_generation_before() {
    let folder = tempfile::tempdir().unwrap();
    let states = history(folder.path());
    let path = file(folder.path(), BASE_2);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    // The log of the generation before ends where the damaged one began.
    assert_eq!(load(folder.path()), Some((states[3].clone(), false)));
    fs::write(file(folder.path(), BASE_1), "").unwrap();
    assert!(load(folder.path()).is_none());
}

#[test]
fn files_of_another_key_another_generation_or_another_format_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let states = history(folder.path());
    assert!(LastGood::new(folder.path(), key(2)).load().is_none());
    // A log that is moved to another generation.
    fs::copy(file(folder.path(), LOG_1), file(folder.path(), LOG_2)).unwrap();
    assert_eq!(load(folder.path()), Some((states[3].clone(), true)));
    // A base that is.
    fs::rename(file(folder.path(), BASE_1), file(folder.path(), "base-0000000000000007")).unwrap();
    assert_eq!(load(folder.path()), Some((states[3].clone(), false)));
    let path = file(folder.path(), BASE_2);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    fs::write(&path, bytes).unwrap();
    assert!(load(folder.path()).is_none());
}

#[test]
fn what_is_secret_is_not_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut secret = resource("s", 1);
    secret.spec = b"sk-very-secret-value".as_slice().into();
    let now: State = (1, [("s".to_owned(), secret.clone())].into());
    let files = LastGood::new(folder.path(), key(1));
    let mut position = files.write_base(saved(&now), None).unwrap();
    let delta = v1::Delta { from: 1, to: 2, upserts: vec![secret], ..v1::Delta::default() };
    files.append(&mut position, &[delta]).unwrap();
    for name in [BASE_1, LOG_1] {
        let bytes = fs::read(file(folder.path(), name)).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret" || window == [3; 6]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Of one generation or of two: an exact state that there was, or none.
    #[test]
    fn any_cut_or_flipped_file_gives_an_exact_earlier_state_or_none(
        name in prop::sample::select(vec![BASE_1, LOG_1, BASE_2, LOG_2]),
        place in any::<prop::sample::Index>(),
        bit in prop::option::of(0_u32..8),
        has_previous in any::<bool>(),
    ) {
        static HISTORY: LazyLock<(TempDir, Vec<State>)> = LazyLock::new(|| {
            let folder = tempfile::tempdir().unwrap();
            let states = history(folder.path());
            (folder, states)
        });
        let (original, states) = &*HISTORY;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("config")).unwrap();
        for name in [BASE_1, LOG_1, BASE_2, LOG_2] {
            fs::copy(file(original.path(), name), file(folder.path(), name)).unwrap();
        }
        if !has_previous {
            fs::remove_file(file(folder.path(), BASE_1)).unwrap();
        }
        let path = file(folder.path(), name);
        if path.exists() {
            let mut bytes = fs::read(&path).unwrap();
            let place = place.index(bytes.len());
            match bit {
                Some(bit) => bytes[place] ^= 1 << bit,
                None => bytes.truncate(place),
            }
            fs::write(&path, bytes).unwrap();
        }
        match load(folder.path()) {
            Some((state, _)) => prop_assert!(states.contains(&state)),
            None => prop_assert!(!has_previous && name == BASE_2),
        }
    }
}
