//! Which code each error of the service has for clients, and which step goes along.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use proto::advice::{Advice, Step};
use proto::directory::api::ErrorCode as DirectoryCode;
use proto::rpc::ErrorCode;
use proto::time::Timestamp;

use super::wire;
use crate::crypto::archive::ArchiveError;
use crate::directory::DirectoryError;
use crate::policy::contact::ContactError;
use crate::service::ServiceError;
use crate::store::{SearchError, StoreError};

fn text() -> String {
    "why".to_owned()
}

#[test]
fn every_error_has_a_code_and_the_step_that_helps() {
    use ErrorCode as C;
    use ServiceError as E;
    let nobody = |nearest: Option<&str>| E::Nobody { word: "bob".into(), nearest: nearest.map(str::to_owned) };
    let changed = DirectoryError::KeyChanged { url: "u".into(), known: "aa".into(), shown: "bb".into() };
    let rests = E::NameRests { name: "bob".into(), until: Timestamp(0) };
    let refused = |code| DirectoryError::Refused { code, message: text() };
    let cases: Vec<(ServiceError, ErrorCode, Option<Advice>)> = vec![
        (E::NoAccount(text()), C::NoAccount, None),
        (E::AmbiguousAccount(text()), C::AmbiguousAccount, Some(Step::ChooseAccount.alone())),
        (E::AmbiguousWho(text()), C::AmbiguousWho, None),
        (E::AlreadyExists(text()), C::AlreadyExists, None),
        (E::NameTaken(text()), C::NameTaken, None),
        (rests, C::NameTaken, Some(Step::Reclaim.of("bob"))),
        (E::NotFound(text()), C::NotFound, None),
        (nobody(None), C::NotFound, Some(Step::Ask.of("bob"))),
        (nobody(Some("rob")), C::NotFound, None),
        (E::NotAContact(text()), C::NotAContact, None),
        (E::LoggedOut(text()), C::LoggedOut, Some(Step::LogIn.alone())),
        (E::Superseded, C::LoggedOut, Some(Step::GoOnHere.alone())),
        (E::AlreadyLoggedOut(text()), C::LoggedOut, None),
        (E::AlreadyLoggedIn(text()), C::AlreadyLoggedIn, None),
        (E::InvalidText(text()), C::InvalidText, None),
        (E::InvalidParams(text()), C::InvalidParams, None),
        (E::KeyNotTrusted(text()), C::KeyNotTrusted, None),
        (E::Refused(text()), C::Refused, None),
        (E::LimitReached(text()), C::LimitReached, None),
        (E::InUse(text()), C::InUse, None),
        (E::DataDir(text()), C::StoreUnavailable, None),
        (E::ShuttingDown, C::ShuttingDown, None),
        (E::Archive(ArchiveError::Passphrase), C::InvalidParams, None),
        (E::Directory(changed), C::KeyNotTrusted, Some(Step::AcceptDirectoryKey.of("bb"))),
        (E::Directory(DirectoryError::NotFound), C::NotFound, None),
        (E::Directory(refused(DirectoryCode::NameNotAllowed)), C::NameNotAllowed, None),
        (E::Directory(refused(DirectoryCode::NotAllowed)), C::DirectoryRefused, None),
        (E::Directory(DirectoryError::RateLimited { retry_after: Duration::ZERO }), C::RateLimited, None),
        (E::Store(StoreError::NotFound("it")), C::NotFound, None),
        (E::Store(StoreError::Contact(ContactError::NoRequest)), C::NotAContact, None),
        (E::Store(StoreError::Closed), C::ShuttingDown, None),
        (E::Store(StoreError::Search(SearchError::NoWords)), C::InvalidParams, None),
        (E::Store(StoreError::ReadOnly(text())), C::StoreUnavailable, Some(Step::Restore.alone())),
    ];
    for (error, code, advice) in cases {
        let said = error.to_string();
        let told = wire(&error);
        assert_eq!((told.code, told.advice.map(|advice| *advice)), (code, advice), "{said}");
        assert!(told.text.starts_with(&said), "{}", told.text);
        // Advice of a call's own goes before, and changes no code.
        let advised = wire(&error.advise(Step::Unmute.alone()));
        assert_eq!((advised.code, advised.advice.map(|advice| advice.step)), (code, Some(Step::Unmute)), "{said}");
    }
}
