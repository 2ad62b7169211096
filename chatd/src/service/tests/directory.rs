//! What the directory has to be told.

use proto::directory::api::token_hash;

use super::account_of;
use crate::directory::session::SessionCommand;
use crate::model::ContactStage;
use crate::service::contacts;
use crate::service::directory::subscriptions::{Told, changed_tokens, sync};
use crate::store::tests::fixture::{Person, run};

#[test]
fn tokens_are_told_once_and_taken_back_with_the_contact() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let account = account_of(&alice);
    let mut told = Told::default();
    assert_eq!(run(changed_tokens(&account, &mut told)).unwrap(), None, "nobody has one");
    alice.befriend(&bob);
    let given = token_hash(&alice.row(&bob).token_given.unwrap());
    let tokens = |add: &[[u8; 32]], remove: &[[u8; 32]]| {
        Some(SessionCommand::Tokens { add: add.to_vec(), remove: remove.to_vec() })
    };
    assert_eq!(run(changed_tokens(&account, &mut told)).unwrap(), tokens(&[given], &[]));
    assert_eq!(run(changed_tokens(&account, &mut told)).unwrap(), None, "it is told");
    // To a new session all of it is told anew.
    assert_eq!(run(changed_tokens(&account, &mut Told::default())).unwrap(), tokens(&[given], &[]));
    let removed = run(contacts::remove(&account, "bob")).unwrap();
    assert_eq!(removed.contact.stage, ContactStage::Removed);
    assert_eq!(run(changed_tokens(&account, &mut told)).unwrap(), tokens(&[], &[given]));
}

#[test]
fn contacts_of_the_own_domain_are_watched_until_they_are_none() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let account = account_of(&alice);
    let mut told = Told::default();
    alice.meet(&bob);
    run(sync(&account, &mut told)).unwrap();
    assert!(told.watched.is_empty(), "a stranger's presence is nobody's business");
    alice.befriend(&bob);
    run(sync(&account, &mut told)).unwrap();
    let held = alice.row(&bob).token_held.unwrap();
    assert_eq!(told.watched.get(&bob.account), Some(&held));
    account.state.change(|state| state.session.up = true);
    assert!(account.set_presence(bob.account, true) && !account.set_presence(bob.account, true), "news, and none");
    assert!(account.presence(bob.account).is_some_and(|presence| presence.online));
    run(contacts::block(&account, "bob")).unwrap();
    run(sync(&account, &mut told)).unwrap();
    assert!(told.watched.is_empty() && account.presence(bob.account).is_none(), "and what was known is forgotten");
}
