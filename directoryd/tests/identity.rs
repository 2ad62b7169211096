//! The directory's own key: made once, never silently anew, proved when asked, and its word on who is a member.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::process::*;
use common::*;
use directoryd::store::OpenError;
use directoryd::{Config, Opened, RunError, identity::IdentityError};
use proto::directory::api::*;
use proto::directory::membership::{MembershipError, identity_message};
use proto::directory::{SignedMembership, verified};
use proto::ids::unhex;
use proto::time::Timestamp;
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;

async fn key_of(directory: &Directory) -> [u8; 32] {
    let answer: DirectoryAnswer = directory.get("/v1/directory").await.json().await.unwrap();
    unhex(&answer.key).unwrap()
}

async fn statement(directory: &Directory, bearer: &str) -> SignedMembership {
    let answer: MembershipAnswer = directory.get_as("/v1/membership", bearer).await.json().await.unwrap();
    SignedMembership::decode(&answer.membership).unwrap()
}

#[tokio::test]
async fn members_get_a_statement_that_outlives_a_restart() {
    let mut directory = Directory::start().await;
    let key = key_of(&directory).await;
    let challenge = [7; 32];
    let url = format!("/v1/directory?challenge={}", Base64::text(&challenge));
    let proof: DirectoryAnswer = directory.get(&url).await.json().await.unwrap();
    let signature: [u8; 64] = proof.signature.unwrap().0.try_into().unwrap();
    assert!(verified(&key, &identity_message(ORIGIN, &challenge), &signature));
    assert!(!verified(&key, &identity_message(ORIGIN, &[8; 32]), &signature));
    let alice = person("alice");
    assert!(directory.publish(&alice, 1).await.status().is_success());
    let session = directory.session(&alice).await;
    let signed = statement(&directory, &session.token).await;
    let now = Timestamp::now().unix_seconds();
    signed.verify(&key, ORIGIN, alice.account(), now).unwrap();
    let other = signed.verify(&key, ORIGIN, person("bob").account(), now);
    assert_eq!(other.unwrap_err(), MembershipError::Account);
    // Nobody without a session is told anything.
    let nobody = directory.get("/v1/membership").await;
    assert_eq!(refused(nobody).await, (StatusCode::FORBIDDEN, ErrorCode::NotAllowed));
    directory.restart().await;
    assert_eq!(key_of(&directory).await, key);
    signed.verify(&key, ORIGIN, alice.account(), now).unwrap();
    directory.stop().await;
}

#[tokio::test]
async fn who_gives_the_name_up_is_a_member_no_more() {
    let directory = Directory::start().await;
    let alice = person("alice");
    assert!(directory.publish(&alice, 1).await.status().is_success());
    let session = directory.session(&alice).await;
    assert!(directory.unregister(&alice).await.status().is_success());
    let answer = directory.get_as("/v1/membership", &session.token).await;
    assert!(!answer.status().is_success());
    directory.stop().await;
}

fn open(folder: &Path, anew: bool) -> Result<String, IdentityError> {
    let config = Config { data_dir: folder.to_owned(), new_identity: anew, ..Config::default() };
    match Opened::open(config, CancellationToken::new()) {
        Ok(opened) => Ok(opened.identity().to_string()),
        Err(RunError::Store(OpenError::Identity(error))) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

/// Opens it again once the thread of the life before has let go of the lock.
fn again(folder: &Path, anew: bool) -> Result<String, IdentityError> {
    let begun = std::time::Instant::now();
    while std::fs::File::open(folder.join("lock")).unwrap().try_lock().is_err() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    open(folder, anew)
}

#[test]
fn the_key_is_made_once_and_never_silently_anew() {
    let data = tempfile::tempdir().unwrap();
    let (folder, file) = (data.path().join("d"), data.path().join("d/identity.pem"));
    let key = open(&folder, false).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&file), 0o600);
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert_eq!(again(&folder, false).unwrap(), key);
    assert_eq!(again(&folder, true).unwrap(), key, "asked for, but there is nothing wrong with this one");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(again(&folder, false), Err(IdentityError::Permissions { mode: 0o640, .. })));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Lost: told, with what to do, and nothing is made.
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = again(&folder, false).unwrap_err().to_string();
    assert!(error.contains(&key) && error.contains("--new-identity") && !file.exists(), "{error}");
    let other = again(&folder, true).unwrap();
    assert_ne!(other, key);
    assert_eq!(again(&folder, false).unwrap(), other);
    // The old one comes back from a backup: members of today know the new one.
    std::fs::write(&file, kept).unwrap();
    assert!(matches!(again(&folder, false), Err(IdentityError::Other { .. })));
    std::fs::write(&file, "no key").unwrap();
    let damaged = again(&folder, false).unwrap_err();
    assert!(matches!(damaged, IdentityError::Damaged { .. }));
    let text = damaged.to_string();
    assert!(text.contains("identity.pem") && text.contains("backup") && text.contains("--new-identity"), "{text}");
}

/// `directoryd --check` on a data folder: whether it found nothing wrong, and what it said.
fn checked(folder: &Path, extra: &[&str]) -> (bool, String) {
    let output = command(folder, &[&["--check"], extra].concat()).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_check_finds_a_lost_key_and_leaves_nothing_behind() {
    let data = tempfile::tempdir().unwrap();
    let (folder, file) = (data.path().join("d ?#%41é"), data.path().join("d ?#%41é/identity.pem"));
    assert!(checked(&folder, &[]).0 && !folder.exists());
    Process::start(&folder, &[]).stop();
    let there = files(&folder);
    assert_eq!(there, ["directory.db", "identity.pem", "lock"]);
    let (fine, said) = checked(&folder, &[]);
    let key = said.lines().find_map(|line| line.trim().strip_prefix("key")).unwrap().trim().to_owned();
    assert!(fine && unhex::<32>(&key).is_some(), "{said}");
    let kept = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let (fine, said) = checked(&folder, &[]);
    assert!(!fine && said.contains("is missing") && said.contains(&key), "{said}");
    assert!(checked(&folder, &["--new-identity"]).0 && !file.exists());
    // Somebody else's.
    let other = data.path().join("other");
    Process::start(&other, &[]).stop();
    std::fs::copy(other.join("identity.pem"), &file).unwrap();
    let (fine, said) = checked(&folder, &[]);
    assert!(!fine && said.contains("members know this directory by") && said.contains(&key), "{said}");
    std::fs::write(&file, kept).unwrap();
    assert!(checked(&folder, &[]).0);
    assert_eq!(files(&folder), there, "a check leaves nothing behind");
    // After an end that was not clean, the key may be in the log only.
    let killed = data.path().join("killed");
    Process::start(&killed, &[]).kill();
    assert!(files(&killed).contains(&"directory.db-wal".to_owned()));
    let log = std::fs::read(killed.join("directory.db-wal")).unwrap();
    std::fs::remove_file(killed.join("identity.pem")).unwrap();
    let (fine, said) = checked(&killed, &[]);
    assert!(!fine && said.contains("is missing"), "{said}");
    assert_eq!(std::fs::read(killed.join("directory.db-wal")).unwrap(), log);
}
