//! Names that rest and names that were burnt: by no wall clock, and not for ever.
#![allow(clippy::unwrap_used)]

mod common;

use common::process::*;
use common::*;
use directoryd::store::RESERVED_SECONDS;
use ed25519_dalek::{Signer, SigningKey};
use proto::directory::api::*;
use proto::directory::{MAX_SEQ_STEP, Record, Rotation, SignedRecord, Statement, recovery_hash};
use reqwest::StatusCode;

const DAY: i64 = 86_400;

/// A record as somebody makes it whose clock is as wrong as the directory's.
fn shifted(person: &Person, seq: u64, by: i64) -> Record {
    let mut record = person.record(seq);
    (record.issued, record.expires) = (record.issued + by, record.expires + by);
    for prekey in &mut record.prekeys {
        (prekey.created, prekey.not_after) = (prekey.created + by, prekey.not_after + by);
    }
    record
}

#[tokio::test]
async fn no_wall_clock_frees_a_name_early_or_holds_it_for_ever() {
    let data = tempfile::tempdir().unwrap();
    let (wall, up) = (data.path().join("wall"), data.path().join("up"));
    let start = || Process::start_with_clocks(data.path(), &wall, &up);
    let (alice, mut thief) = (person("alice"), person("mallory"));
    thief.name = "alice".into();
    let ten_years = 10 * 365 * DAY;
    // Given up while the clock is ten years ahead: it must not rest until then.
    std::fs::write(&wall, ten_years.to_string()).unwrap();
    let process = start();
    let record = shifted(&alice, 1, ten_years);
    assert_eq!(process.client().publish_record(&alice, &record).await.status(), StatusCode::CREATED);
    assert!(process.client().unregister(&alice).await.status().is_success());
    process.stop();
    let mut early = 0;
    for shift in [0, 31 * DAY, -31 * DAY, ten_years, -ten_years, 2 * ten_years] {
        std::fs::write(&wall, shift.to_string()).unwrap();
        let process = start();
        let response = process.client().publish_record(&thief, &shifted(&thief, 1, shift)).await;
        early += usize::from(response.status() != StatusCode::CONFLICT);
        let answer: ErrorAnswer = response.json().await.unwrap();
        assert_eq!(answer.error.code, ErrorCode::NameTaken, "{shift}");
        let left = answer.error.reserved_until.unwrap() - answer.time;
        assert!((RESERVED_SECONDS - 600..=RESERVED_SECONDS).contains(&left), "{shift}: {left} s left");
        process.kill();
    }
    println!("figure: a name that rests, wall clocks off by up to twenty years: freed early {early} of 6 times");
    assert_eq!(early, 0);
    // The one clock that counts, whatever the other says.
    std::fs::write(&up, (RESERVED_SECONDS + 2).to_string()).unwrap();
    std::fs::write(&wall, (-ten_years).to_string()).unwrap();
    let process = start();
    let response = process.client().publish_record(&thief, &shifted(&thief, 1, -ten_years)).await;
    assert_eq!(response.status(), StatusCode::CREATED, "free after 30 days that it was up");
    process.stop();
}

fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

/// Alice with a recovery key of her own.
fn alice_with(recovery: &SigningKey, seq: u64) -> (Person, Record) {
    let alice = person("alice");
    let mut record = alice.record(seq);
    record.recovery_hash = recovery_hash(&public(recovery));
    record.rotations = vec![Rotation::genesis(&alice.identity, record.recovery_hash)];
    (alice, record)
}

/// What `key recover` makes of it: another identity key, signed by the recovery key.
fn recovered(record: &Record, recovery: &SigningKey, seq: u64) -> (Person, Record) {
    let (next, next_recovery) = (SigningKey::from_bytes(&[91; 32]), SigningKey::from_bytes(&[92; 32]));
    let mut new = record.clone();
    (new.seq, new.identity_key, new.recovery_hash) = (seq, public(&next), recovery_hash(&public(&next_recovery)));
    let (account, identity_key, recovery_hash) = (record.account(), new.identity_key, new.recovery_hash);
    let statement = Statement { account, number: 1, identity_key, recovery_hash };
    new.rotations.push(Rotation::by_recovery(&statement, recovery));
    (Person { identity: next, ..person("alice") }, new)
}

#[tokio::test]
async fn the_recovery_key_takes_a_burnt_name_back() {
    let directory = Directory::start().await;
    let recovery = SigningKey::from_bytes(&[90; 32]);
    let (alice, first) = alice_with(&recovery, 1);
    assert_eq!(directory.publish_record(&alice, &first).await.status(), StatusCode::CREATED);
    // Whoever has stolen the identity key goes as far as it lets him, and no further in one step.
    let far = Record { seq: i64::MAX as u64, ..first.clone() };
    assert_eq!(refused(directory.publish_record(&alice, &far).await).await.1, ErrorCode::Conflict);
    let mut seq = 1;
    for _ in 0..5 {
        seq += MAX_SEQ_STEP;
        let next = Record { seq, ..first.clone() };
        assert_eq!(directory.publish_record(&alice, &next).await.status(), StatusCode::OK);
    }
    // The owner knows of none of it, and goes on from number 1.
    let (owner, record) = recovered(&first, &recovery, 2);
    assert_eq!(directory.publish_record(&owner, &record).await.status(), StatusCode::OK);
    let kept: RecordAnswer = directory.get("/v1/records/alice").await.json().await.unwrap();
    assert_eq!(SignedRecord::decode(&kept.record).unwrap().verify().unwrap().seq, 2);
    // And the thief's key says nothing any more, whatever number it says it under.
    for seq in [seq, seq + 1] {
        let again = Record { seq, ..first.clone() };
        let answer = directory.publish_record(&alice, &again).await;
        assert_eq!(refused(answer).await.1, ErrorCode::Conflict, "{seq}");
    }
    directory.stop().await;
}

#[tokio::test]
async fn the_recovery_key_takes_a_name_back_that_a_thief_burnt_and_gave_up() {
    let directory = Directory::start().await;
    let recovery = SigningKey::from_bytes(&[90; 32]);
    let (alice, first) = alice_with(&recovery, 1);
    assert_eq!(directory.publish_record(&alice, &first).await.status(), StatusCode::CREATED);
    let burnt = Record { seq: 1 + MAX_SEQ_STEP, ..first.clone() };
    assert_eq!(directory.publish_record(&alice, &burnt).await.status(), StatusCode::OK);
    assert!(directory.unregister(&alice).await.status().is_success());
    let (owner, record) = recovered(&first, &recovery, 2);
    let bytes = SignedRecord::sign(&record, &owner.identity).unwrap().encode();
    for shows in [None, Some(SigningKey::from_bytes(&[93; 32])), Some(recovery)] {
        let nonce = directory.nonce().await;
        let signature = owner.identity.sign(&publish_message(ORIGIN, &nonce, &bytes)).to_bytes().to_vec();
        let right = shows.as_ref().is_some_and(|key| recovery_hash(&public(key)) == first.recovery_hash);
        let recovery = shows.map(|key| RecoveryProof {
            key: Base64(public(&key).to_vec()),
            signature: Base64(key.sign(&reclaim_message(ORIGIN, &nonce, &bytes)).to_bytes().to_vec()),
        });
        let (record, signature) = (Base64(bytes.clone()), Base64(signature));
        let request = PublishRequest { record, nonce, signature, recovery };
        let status = directory.put("/v1/records/alice", &request).await.status();
        assert_eq!(status, if right { StatusCode::CREATED } else { StatusCode::CONFLICT });
    }
    directory.stop().await;
}
