//! What an account's owner chose, and what the account says of itself.

use proto::advice::Step;

use super::account_of;
use crate::model::Standing;
use crate::service::account::{info, settings};
use crate::service::error::ServiceError;
use crate::service::profiles;
use crate::store::log::expiry::MAX_LIFETIME_SECONDS;
use crate::store::tests::fixture::{Person, run};

#[test]
fn what_is_left_out_of_the_settings_stays() {
    let account = account_of(&Person::new("alice"));
    let change = |receipts, lifetime| run(settings::change(&account, receipts, lifetime));
    let before = change(None, None).unwrap();
    assert_eq!(before.lifetime, None);
    let after = change(Some(!before.read_receipts), None).unwrap();
    assert_eq!((after.read_receipts, after.lifetime), (!before.read_receipts, None));
    let after = change(None, Some(3_600)).unwrap();
    assert_eq!((after.read_receipts, after.lifetime), (!before.read_receipts, Some(3_600)));
    assert_eq!(change(None, Some(0)).unwrap().lifetime, None, "for ever");
    assert!(change(None, Some(MAX_LIFETIME_SECONDS)).is_ok());
    let error = change(Some(before.read_receipts), Some(MAX_LIFETIME_SECONDS + 1)).unwrap_err();
    assert!(matches!(error, ServiceError::InvalidParams(_)));
    assert_eq!(change(None, None).unwrap().read_receipts, !before.read_receipts, "nothing of it was taken");
}

#[test]
fn a_profile_has_bounds_and_keeps_what_is_left_out() {
    let account = account_of(&Person::new("alice"));
    let set = |name: &str| run(profiles::set(&account, Some(name.into()), None, None));
    run(profiles::set(&account, None, Some("here".into()), None)).unwrap();
    let profile = set("Alice").unwrap();
    assert_eq!((profile.display_name.as_str(), profile.status.as_str()), ("Alice", "here"));
    assert!(matches!(set(&"x".repeat(129)), Err(ServiceError::InvalidText(_))));
    assert_eq!(run(profiles::show(&account, None)).unwrap().display_name, "Alice");
}

#[test]
fn what_is_wrong_with_an_account_is_told_with_the_step_that_helps() {
    let account = account_of(&Person::new("alice"));
    let trouble = || info::trouble(&account.state.now());
    assert_eq!(trouble(), None);
    account.state.change(|state| state.cloned = true);
    let told = trouble().unwrap();
    assert!(told.text.starts_with("cloned: ") && told.advice == Some(Step::OwnCopy.alone()), "{told:?}");
    // A copy that was stopped for good says that first.
    account.state.change(|state| state.row.standing = Standing::Superseded);
    let told = trouble().unwrap();
    assert!(told.text.contains("also runs on another machine") && told.advice == Some(Step::GoOnHere.alone()));
    assert_eq!(told.text, ServiceError::Superseded.to_string());
    assert_eq!(ServiceError::Superseded.advice(), told.advice);
    let info = info::info(&account);
    assert!(!info.fingerprint.is_empty() && info.damage.is_none() && !info.online && info.directory.is_empty());
}
