//! The mailbox over real sockets: what is left for bob is pushed to him, in order, and goes when he has signed for it.
#![allow(clippy::unwrap_used)]

mod common;

use common::mail::*;
use common::*;
use ed25519_dalek::Signer;
use proto::directory::api::*;
use reqwest::StatusCode;

#[tokio::test]
async fn what_is_left_is_pushed_in_order_and_goes_when_it_is_signed_for() {
    let directory = Directory::start().await;
    let (bob, mut session) = bob_at(&directory).await;
    assert_eq!(session.drain().await, (vec![], 0), "nothing lies there");
    // While he is there.
    let first = envelope(bob.device_id(), DAY, b"one");
    let answer = directory.deposit(&bob, Some(&TOKEN), first.clone()).await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let answer = left(answer).await;
    assert_eq!((answer.number, answer.expires_in), (1, DAY.into()));
    assert_eq!(session.mail().await, (1, first.clone()));
    drop(session);
    // And while he is not.
    let numbers = fill(&directory, &bob, 0, 5).await;
    assert!(numbers.is_sorted() && numbers[0] > 1);
    let mut session = directory.session(&bob).await;
    let (mail, upto) = session.drain().await;
    assert_eq!(mail[0], (1, first), "what was not deleted comes again");
    assert_eq!(mail[1..].iter().map(|(n, _)| *n).collect::<Vec<_>>(), numbers);
    assert_eq!(upto, *numbers.last().unwrap());
    session.delete(&bob, &[1, numbers[0], numbers[1], 999]).await;
    drop(session);
    let mut session = directory.session(&bob).await;
    let (mail, _) = session.drain().await;
    assert_eq!(mail.iter().map(|(n, _)| *n).collect::<Vec<_>>(), numbers[2..]);
    session.delete(&bob, &numbers).await;
    assert_eq!(directory.session(&bob).await.drain().await.0, vec![]);
    // Numbers are not used again, although nothing lies there.
    assert!(fill(&directory, &bob, 100, 1).await[0] > *numbers.last().unwrap());
    directory.stop().await;
}

#[tokio::test]
async fn a_repeated_deposit_lies_there_once() {
    let mut directory = Directory::start().await;
    let (bob, session) = bob_at(&directory).await;
    drop(session);
    let bytes = envelope(bob.device_id(), 60, b"the answer was lost");
    let first = left(directory.deposit(&bob, Some(&TOKEN), bytes.clone()).await).await;
    directory.restart().await;
    let again = directory.deposit(&bob, Some(&TOKEN), bytes.clone()).await;
    assert_eq!(again.status(), StatusCode::OK);
    let again = left(again).await;
    assert_eq!(again.number, first.number);
    assert!((1..=61).contains(&again.expires_in), "{}", again.expires_in);
    let mut session = directory.session(&bob).await;
    assert_eq!(session.drain().await.0, vec![(first.number, bytes)]);
    directory.stop().await;
}

#[tokio::test]
async fn at_most_a_window_is_under_way() {
    let directory = Directory::start().await;
    let (bob, session) = bob_at(&directory).await;
    drop(session);
    let numbers = fill(&directory, &bob, 0, PUSH_WINDOW as u32 + 10).await;
    let mut session = directory.session(&bob).await;
    session.send(&ClientFrame::Mailbox).await;
    for number in &numbers[..PUSH_WINDOW] {
        assert_eq!(session.mail().await.0, *number);
    }
    // The next thing said is the answer to the next frame: nothing was pushed beyond the window.
    session.send(&ClientFrame::Tokens { add: vec![], remove: vec![] }).await;
    assert_eq!(session.said().await, Some(Said::Frame(ServerFrame::TokensStored { count: 1 })));
    // Three could not be stored, two are deleted: room for five.
    session.send(&ClientFrame::Release { numbers: numbers[..3].to_vec() }).await;
    for number in &numbers[PUSH_WINDOW..PUSH_WINDOW + 3] {
        assert_eq!(session.mail().await.0, *number);
    }
    session.send_delete(&bob, &numbers[3..5]).await;
    let mut said = Vec::new();
    for _ in 0..3 {
        said.push(session.said().await.unwrap());
    }
    assert!(said.contains(&Said::Frame(ServerFrame::Deleted { numbers: numbers[3..5].to_vec() })));
    session.delete_and_take(&bob, &numbers[5..PUSH_WINDOW + 5], &numbers[PUSH_WINDOW + 5..]).await;
    session.delete_and_take(&bob, &numbers[PUSH_WINDOW + 5..], &[]).await;
    // Those that were released come again when he asks again, and nothing else does.
    let (mail, upto) = session.drain().await;
    assert_eq!(mail.iter().map(|(n, _)| *n).collect::<Vec<_>>(), numbers[..3]);
    assert_eq!(upto, numbers[2]);
    directory.stop().await;
}

#[tokio::test]
async fn large_envelopes_are_bounded_by_their_bytes() {
    let directory = Directory::start().await;
    let (bob, session) = bob_at(&directory).await;
    drop(session);
    let large = |n: u8| envelope(bob.device_id(), DAY, &vec![n; MAX_DEPOSIT_BYTES - 60]);
    let fit = PUSH_WINDOW_BYTES / large(0).len();
    assert!(fit < PUSH_WINDOW);
    for n in 0..fit as u8 + 2 {
        left(directory.deposit(&bob, Some(&TOKEN), large(n)).await).await;
    }
    let mut session = directory.session(&bob).await;
    session.send(&ClientFrame::Mailbox).await;
    let mut numbers = Vec::new();
    for n in 0..fit as u8 {
        let (number, bytes) = session.mail().await;
        assert!(bytes == large(n));
        numbers.push(number);
    }
    session.send(&ClientFrame::Tokens { add: vec![], remove: vec![] }).await;
    assert_eq!(session.said().await, Some(Said::Frame(ServerFrame::TokensStored { count: 1 })));
    session.delete_and_take(&bob, &numbers, &[numbers[fit - 1] + 1, numbers[fit - 1] + 2]).await;
    directory.stop().await;
}

#[tokio::test]
async fn only_the_device_itself_can_read_and_delete() {
    let directory = Directory::start().await;
    let (bob, session) = bob_at(&directory).await;
    drop(session);
    let (alice, mallory) = (person("alice"), person("mallory"));
    for person in [&alice, &mallory] {
        assert!(directory.publish(person, 1).await.status().is_success());
    }
    let numbers = fill(&directory, &bob, 0, 3).await;
    // Mallory's own session, her own signature: another device's mail is not there for her.
    let mut hers = directory.session(&mallory).await;
    assert_eq!(hers.drain().await, (vec![], 0));
    hers.delete(&mallory, &numbers).await;
    // Bob's signature, seen somewhere, is of no use in her session.
    hers.send_delete(&bob, &numbers).await;
    assert!(matches!(hers.frame().await, ServerFrame::Error { code: ErrorCode::BadSignature, .. }));
    // In his, neither hers nor one of his own for other numbers, another order, another origin or another purpose.
    let mut his = directory.session(&bob).await;
    assert_eq!(his.drain().await.0.len(), 3);
    let reversed: Vec<u64> = numbers.iter().rev().copied().collect();
    let foreign = [
        mallory.device.sign(&delete_message(ORIGIN, &numbers)),
        bob.identity.sign(&delete_message(ORIGIN, &numbers)),
        bob.device.sign(&delete_message(ORIGIN, &numbers[..2])),
        bob.device.sign(&delete_message(ORIGIN, &reversed)),
        bob.device.sign(&delete_message("example.net", &numbers)),
        bob.device.sign(&session_message(ORIGIN, &numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>())),
    ];
    for signature in foreign {
        let signature = Base64(signature.to_bytes().to_vec());
        his.send(&ClientFrame::Delete { numbers: numbers.clone(), signature }).await;
        assert!(matches!(his.frame().await, ServerFrame::Error { code: ErrorCode::BadSignature, .. }));
    }
    his.send(&ClientFrame::Delete { numbers: numbers.clone(), signature: Base64(vec![1; 3]) }).await;
    assert!(matches!(his.frame().await, ServerFrame::Error { code: ErrorCode::BadSignature, .. }));
    his.send_delete(&bob, &vec![1; MAX_DELETE_NUMBERS + 1]).await;
    assert!(matches!(his.frame().await, ServerFrame::Error { code: ErrorCode::TooLarge, .. }));
    drop(his);
    assert_eq!(directory.session(&bob).await.drain().await.0.len(), 3, "all still there");
    directory.stop().await;
}
