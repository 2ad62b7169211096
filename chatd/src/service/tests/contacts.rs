//! Whom a word means, and what is done with them.

use proto::advice::Step;
use proto::who::Who;

use super::account_of;
use crate::model::{ContactStage, PageOf};
use crate::service::contacts;
use crate::service::error::ServiceError;
use crate::service::resolve::{About, known, known_or_found, resolve, to_add};
use crate::store::peers::names;
use crate::store::tests::fixture::{HOME, Person, run};

fn text<T>(result: Result<T, ServiceError>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn a_word_means_a_label_a_name_an_id_or_nobody() {
    let (alice, bob, carol) = (Person::new("alice"), Person::new("bob"), Person::new("carol"));
    alice.befriend(&bob);
    alice.befriend(&carol);
    let account = account_of(&alice);
    let who = |word: &str| run(known(&account, word)).map(|row| row.account);
    for word in ["bob", " Bob ", &format!("bob@{HOME}"), &format!("{}", Who::Id(bob.account))] {
        assert_eq!(who(word).unwrap(), bob.account, "{word:?}");
    }
    assert!(text(who("id:00000000000000000000000000000000")).contains("nobody with the account id"));
    let handle = who("%77").unwrap_err();
    assert!(handle.to_string().contains("no request has the handle %77"));
    assert_eq!(handle.advice(), Some(Step::ListRequests.alone()));
    // A label comes beside the names, in any spelling; what means two is refused.
    let id = alice.id(&carol);
    alice.write(move |tx| names::set_label(tx, id, Some("Chief"))).unwrap();
    assert_eq!(who("chief").unwrap(), carol.account);
    alice.write(move |tx| names::set_label(tx, id, Some("bob"))).unwrap();
    let error = text(who("bob"));
    assert!(error.contains("names two people") && error.contains(&format!("carol@{HOME}")), "{error}");
    assert_eq!(who(&format!("bob@{HOME}")).unwrap(), bob.account, "its address names one alone");
    alice.write(move |tx| names::set_label(tx, id, None)).unwrap();
    let error = who("carl").unwrap_err();
    assert!(matches!(&error, ServiceError::Nobody { nearest: Some(name), .. } if name == "carol"), "{error}");
    assert!(error.is_not_found() && error.advice().is_none(), "the text says whom");
    assert_eq!(who("zebra").unwrap_err().advice(), Some(Step::Ask.of("zebra")));
}

#[test]
fn whom_nobody_knows_here_is_asked_of_a_directory_and_there_is_none() {
    let alice = Person::new("alice");
    let account = account_of(&alice);
    let unknown = |word: &str| text(run(known_or_found(&account, word)));
    assert!(unknown("dave@b.test").contains("the directory at b.test cannot be reached"));
    assert!(unknown("alice").contains("yourself"));
    assert!(unknown("chat:abc").contains("an invite is nobody's name"));
    assert!(unknown("%3").contains("no request has the handle %3"), "a handle is nobody else's affair");
    assert!(text(run(to_add(&account, "a b"))).contains("cannot be a name"));
}

#[test]
fn a_request_is_answered_and_a_contact_ends() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let account = account_of(&alice);
    alice.befriend(&bob);
    let row = run(resolve(&account, "bob", About::Contact)).unwrap();
    assert_eq!(row.account, bob.account);
    let carol = Person::new("carol");
    alice.meet(&carol);
    let error = run(contacts::accept(&account, "carol")).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.advice()), ("carol has not asked", Some(Step::ListAskers.alone())));
    let renamed = run(contacts::rename(&account, "bob", " Bobby ")).unwrap();
    assert_eq!((renamed.contact.who.as_str(), renamed.presence), ("Bobby", None));
    for bad in ["a@b", "#a", "a:b", "%1", "a\u{202e}b", &"x".repeat(65)] {
        assert!(matches!(run(contacts::rename(&account, "bob", bad)), Err(ServiceError::InvalidParams(_))), "{bad:?}");
    }
    let muted = run(contacts::mute(&account, "Bobby", Some(60))).unwrap();
    assert!(muted.contact.muted_until.is_some());
    assert!(run(contacts::unmute(&account, "Bobby")).unwrap().contact.muted_until.is_none());
    let error = run(contacts::mute(&account, "bob", Some(0))).unwrap_err();
    assert_eq!(error.advice(), Some(Step::Unmute.alone()));
    let page = run(contacts::list(&account, None, &PageOf::default())).unwrap();
    assert_eq!(
        (page.entries.iter().filter(|now| now.contact.stage == ContactStage::Accepted).count(), page.next),
        (1, None)
    );
    assert!(run(contacts::list(&account, None, &PageOf { after: Some("no id".into()), limit: None })).is_err());
    let gone = run(contacts::remove(&account, "bob")).unwrap();
    assert_eq!(gone.contact.stage, ContactStage::Removed);
    let blocked = run(contacts::block(&account, "bob")).unwrap();
    assert!(blocked.contact.blocked);
    let error = run(contacts::add(&account, &format!("id:{}", bob.account), String::new())).unwrap_err();
    assert_eq!(error.advice(), Some(Step::Unblock.of(format!("id:{}", bob.account))), "{error}");
}
