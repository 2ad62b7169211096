use bech32::Hrp;
use proto::ids::hex;
use sha3::Shake256;
use sha3::digest::{ExtendableOutput, Update, XofReader};

use super::*;

fn made(store: &PrekeyStore, count: i64) -> Vec<PrekeySecret> {
    let keys: Vec<PrekeySecret> = (0..count).map(|n| PrekeySecret::generate(1_800_000_000 + n).unwrap()).collect();
    keys.iter().enumerate().for_each(|(n, key)| store.insert(key, n as i64).unwrap());
    keys
}

/// The files of a folder in which a secret can be read: raw, in hexadecimal, or as age writes it.
fn found(folder: &Path, secret: &[u8; 32]) -> Vec<String> {
    let bech32 = age_core::primitives::bech32_encode(Hrp::parse("age-secret-key-pq-").unwrap(), secret);
    // What the seed is expanded to is as good as the seed.
    let mut expanded = [0; 96];
    let mut hash = Shake256::default();
    hash.update(secret);
    hash.finalize_xof().read(&mut expanded);
    // Half of it would be as bad.
    let needles = [
        secret[..16].to_vec(),
        secret[16..].to_vec(),
        hex(&secret[..16]).into_bytes(),
        bech32.clone().into_bytes(),
        bech32.to_uppercase().into_bytes(),
        expanded[..16].to_vec(),
        expanded[32..48].to_vec(),
        expanded[64..80].to_vec(),
    ];
    let mut hits = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let bytes = std::fs::read(entry.path()).unwrap();
        if needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle)) {
            hits.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    hits
}

fn ids(keys: &[PrekeySecret]) -> Vec<PrekeyId> {
    keys.iter().map(PrekeySecret::id).collect()
}

#[test]
fn what_was_destroyed_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = PrekeyStore::open(folder.path()).unwrap();
    let keys = made(&store, 3);
    for key in &keys {
        assert!(!found(folder.path(), key.secret_bytes()).is_empty(), "the control: it is there before");
    }
    assert!(store.destroy(&ids(&keys[..2])).unwrap());
    for key in &keys[..2] {
        assert_eq!(found(folder.path(), key.secret_bytes()), Vec::<String>::new());
    }
    assert_eq!(found(folder.path(), keys[2].secret_bytes()), ["prekeys.db"], "and the other one stays");
    assert_eq!(ids(&store.all().unwrap()), [keys[2].id()]);
}

/// Pages fill and empty, rows move to other pages, and must leave nothing where they were.
#[test]
fn nor_after_many_came_and_went() {
    let folder = tempfile::tempdir().unwrap();
    let store = PrekeyStore::open(folder.path()).unwrap();
    let mut state = 7u64;
    let mut below = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    let mut gone: Vec<[u8; 16]> = Vec::new();
    let mut live = Vec::new();
    for _ in 0..3 {
        live.extend(made(&store, 150));
        while live.len() > 5 {
            let doomed: Vec<PrekeySecret> =
                (0..live.len().min(15)).map(|_| live.swap_remove(below(live.len()))).collect();
            assert!(store.destroy(&ids(&doomed)).unwrap());
            gone.extend(doomed.iter().map(|key| <[u8; 16]>::try_from(&key.secret_bytes()[8..24]).unwrap()));
            let wanted: std::collections::HashSet<&[u8]> = gone.iter().map(|part| &part[..]).collect();
            for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
                let bytes = std::fs::read(entry.path()).unwrap();
                let hit = bytes.windows(16).any(|window| wanted.contains(window));
                assert!(!hit, "a destroyed secret is still in {:?}", entry.file_name());
            }
        }
    }
    assert_eq!(store.all().unwrap().len(), live.len());
}

#[test]
fn while_somebody_reads_the_file_it_is_not_called_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let store = PrekeyStore::open(folder.path()).unwrap();
    let keys = made(&store, 2);
    let reader = Connection::open(folder.path().join("prekeys.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    let _: i64 = reader.query_row("SELECT count(*) FROM prekeys", [], |row| row.get(0)).unwrap();
    assert!(!store.destroy(&ids(&keys[..1])).unwrap());
    assert_eq!(ids(&store.all().unwrap()), [keys[1].id()], "it opens nothing any more");
    assert!(!found(folder.path(), keys[0].secret_bytes()).is_empty(), "but is in a file");
    assert!(!store.destroy(&[]).unwrap());
    drop(reader);
    assert!(store.destroy(&[]).unwrap());
    assert_eq!(found(folder.path(), keys[0].secret_bytes()), Vec::<String>::new());
}

#[test]
fn a_database_of_the_first_version_is_taken_over_and_a_newer_one_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prekeys.db");
    let key = PrekeySecret::generate(1_800_000_000).unwrap();
    let old = Connection::open(&path).unwrap();
    old.pragma_update(None, "journal_mode", "WAL").unwrap();
    old.execute_batch(V1).unwrap();
    old.execute(
        "INSERT INTO prekeys (id, suite, secret, created, not_after) VALUES (?1, 2, ?2, ?3, ?4)",
        params![key.id().as_bytes(), &key.secret_bytes()[..], key.created(), key.not_after()],
    )
    .unwrap();
    drop(old);
    for _ in 0..2 {
        let store = PrekeyStore::open(folder.path()).unwrap();
        assert_eq!(ids(&store.all().unwrap()), [key.id()]);
        let age = store.ages().unwrap()[0];
        assert_eq!((age.created, age.born), (key.created(), Birth { uptime: 0, counted: None }));
        assert_eq!(store.checkpoint().unwrap(), None);
    }
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["prekeys.db"], "no copy of secrets is made");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 3).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(PrekeyStore::open(folder.path()), Err(StoreError::NewerSchema { found: 3, newest: 2 })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn the_clock_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = PrekeyStore::open(folder.path()).unwrap();
    let at = Moment { uptime: 7, counted: 1_800_000_007 };
    store.set_drained(at).unwrap();
    assert_eq!(store.drained().unwrap(), None, "there is no clock yet");
    let mut clock =
        Checkpoint { moment: at, wall: -5, directory: Some(9), agreed: 3, claims: vec![i64::MIN, 60, i64::MAX, 0] };
    store.set_checkpoint(&clock).unwrap();
    store.set_drained(at).unwrap();
    clock.directory = None;
    clock.claims.clear();
    store.set_checkpoint(&clock).unwrap();
    drop(store);
    let store = PrekeyStore::open(folder.path()).unwrap();
    assert_eq!((store.checkpoint().unwrap(), store.drained().unwrap()), (Some(clock), Some(at)));
    let key = &made(&store, 1)[0];
    store.set_born(key.id(), 42).unwrap();
    assert_eq!(store.ages().unwrap()[0].born, Birth { uptime: 0, counted: Some(42) });
}
