//! Who may leave how much for whom, and for how long.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::mail::*;
use common::*;
use directoryd::cluster::Monotonic;
use proto::directory::ContactPolicy;
use proto::directory::api::*;
use reqwest::StatusCode;

#[tokio::test]
async fn a_revoked_token_leaves_nothing() {
    let directory = Directory::start().await;
    let (bob, mut session) = bob_at(&directory).await;
    fill(&directory, &bob, 0, 1).await;
    session.revoke_token(&TOKEN).await;
    let bytes = envelope(bob.device_id(), DAY, b"too late");
    let answer = directory.deposit(&bob, Some(&TOKEN), bytes.clone()).await;
    assert_eq!(refused(answer).await, (StatusCode::FORBIDDEN, ErrorCode::TokenRevoked));
    let answer = directory.deposit(&bob, Some(&[9; 32]), bytes).await;
    assert_eq!(refused(answer).await, (StatusCode::FORBIDDEN, ErrorCode::TokenRevoked));
    let url = format!("{}/v1/mailbox/{}", directory.url, bob.account());
    let answer = directory.http.post(url).header(DEPOSIT_TOKEN_HEADER, "no token").send().await.unwrap();
    assert_eq!(refused(answer).await, (StatusCode::BAD_REQUEST, ErrorCode::Malformed));
    let text = directory.get("/metrics").await.text().await.unwrap();
    assert!(text.contains("directoryd_deposits_refused_total{reason=\"token\"} 2\n"), "{text}");
    assert!(text.contains("directoryd_mailbox_envelopes 1\n"), "{text}");
    directory.stop().await;
}

#[tokio::test]
async fn a_full_mailbox_refuses_and_evicts_nothing() {
    let directory = Directory::with(|config| {
        config.mailbox_envelopes = 5;
        config.mailbox_strangers = 2;
    })
    .await;
    let (mut bob, mut session) = bob_at(&directory).await;
    bob.policy = ContactPolicy::Open;
    assert!(directory.publish(&bob, 2).await.status().is_success());
    let numbers = fill(&directory, &bob, 0, 5).await;
    let one_more = envelope(bob.device_id(), DAY, b"one more");
    let full = (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::MailboxFull);
    assert_eq!(refused(directory.deposit(&bob, Some(&TOKEN), one_more.clone()).await).await, full);
    // A repetition needs no room.
    let again = directory.deposit(&bob, Some(&TOKEN), envelope(bob.device_id(), DAY, &0u32.to_be_bytes())).await;
    assert_eq!(again.status(), StatusCode::OK);
    // Strangers have room of their own, and it ends as well.
    for n in 0..2u8 {
        left(directory.deposit(&bob, None, envelope(bob.device_id(), DAY, &[n])).await).await;
    }
    assert_eq!(refused(directory.deposit(&bob, None, one_more.clone()).await).await, full);
    assert_eq!(session.drain().await.0.len(), 7);
    session.delete(&bob, &numbers[..1]).await;
    left(directory.deposit(&bob, Some(&TOKEN), one_more).await).await;
    assert_eq!(refused(directory.deposit(&bob, None, envelope(bob.device_id(), DAY, b"3")).await).await, full);
    directory.stop().await;
}

#[tokio::test]
async fn bytes_are_counted_for_an_account_and_for_all() {
    let directory = Directory::with(|config| {
        config.mailbox_bytes = 10_000;
        config.mailbox_total_bytes = 15_000;
    })
    .await;
    let (bob, _session) = bob_at(&directory).await;
    let alice = person("alice");
    assert!(directory.publish(&alice, 1).await.status().is_success());
    let mut hers = directory.session(&alice).await;
    hers.give_token(&TOKEN).await;
    let large = |to: &Person, n: u8| envelope(to.device_id(), DAY, &[n; 4_900]);
    let full = (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::MailboxFull);
    for n in 0..2 {
        left(directory.deposit(&bob, Some(&TOKEN), large(&bob, n)).await).await;
    }
    assert_eq!(refused(directory.deposit(&bob, Some(&TOKEN), large(&bob, 2)).await).await, full);
    // Hers has room; the directory has for one more only.
    let number = left(directory.deposit(&alice, Some(&TOKEN), large(&alice, 0)).await).await.number;
    assert_eq!(refused(directory.deposit(&alice, Some(&TOKEN), large(&alice, 1)).await).await, full);
    assert_eq!(hers.drain().await.0.len(), 1);
    hers.delete(&alice, &[number]).await;
    left(directory.deposit(&alice, Some(&TOKEN), large(&alice, 1)).await).await;
    directory.stop().await;
}

#[tokio::test]
async fn strangers_have_what_the_policy_gives_them() {
    let directory = Directory::start().await;
    let (mut bob, _session) = bob_at(&directory).await;
    let alice = person("alice");
    assert!(directory.publish(&alice, 1).await.status().is_success());
    let member = directory.session(&alice).await;
    let mut seq = 1;
    for (policy, anyone, a_member) in [
        (ContactPolicy::Open, StatusCode::CREATED, StatusCode::CREATED),
        (ContactPolicy::Members, StatusCode::FORBIDDEN, StatusCode::CREATED),
        (ContactPolicy::Invite, StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
        (ContactPolicy::Closed, StatusCode::NOT_FOUND, StatusCode::NOT_FOUND),
    ] {
        bob.policy = policy;
        seq += 1;
        assert!(directory.publish(&bob, seq).await.status().is_success());
        let request = |n: u8| envelope(bob.device_id(), DAY, &[seq as u8, n]);
        let answer = directory.deposit(&bob, None, request(0)).await;
        assert_eq!(answer.status(), anyone, "{policy:?}");
        if anyone == StatusCode::NOT_FOUND {
            // Word for word what somebody gets who is not there.
            let nobody = directory.deposit(&person("nobody"), None, request(0)).await;
            let (a, b): (ErrorAnswer, ErrorAnswer) = (answer.json().await.unwrap(), nobody.json().await.unwrap());
            assert_eq!(a.error, b.error);
        }
        let url = format!("{}/v1/mailbox/{}", directory.url, bob.account());
        let post = || directory.http.post(&url).body(request(1));
        assert_eq!(post().bearer_auth(&member.token).send().await.unwrap().status(), a_member, "{policy:?}");
        let answer = post().bearer_auth("no session").send().await.unwrap();
        assert_eq!(refused(answer).await, (StatusCode::FORBIDDEN, ErrorCode::NotAllowed));
        // A contact's token opens all of them, whatever has become of a session meanwhile.
        left(directory.deposit(&bob, Some(&TOKEN), request(2)).await).await;
        let contact = post().bearer_auth("no session").header(DEPOSIT_TOKEN_HEADER, Base64::text(&TOKEN));
        assert!(contact.send().await.unwrap().status().is_success());
    }
    bob.policy = ContactPolicy::Open;
    assert!(directory.publish(&bob, seq + 1).await.status().is_success());
    let too_large = envelope(bob.device_id(), DAY, &vec![1; proto::wire::MAX_STRANGER_ENVELOPE_BYTES]);
    let answer = directory.deposit(&bob, None, too_large.clone()).await;
    assert_eq!(refused(answer).await, (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge));
    left(directory.deposit(&bob, Some(&TOKEN), too_large).await).await;
    directory.stop().await;
}

#[tokio::test]
async fn a_stranger_does_not_learn_whether_a_request_was_fetched() {
    let directory = Directory::start().await;
    let (mut bob, mut session) = bob_at(&directory).await;
    bob.policy = ContactPolicy::Open;
    assert!(directory.publish(&bob, 2).await.status().is_success());
    let request = envelope(bob.device_id(), DAY, b"hello");
    let first = directory.deposit(&bob, None, request.clone()).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let first = left(first).await;
    // It lies there still.
    let second = directory.deposit(&bob, None, request.clone()).await;
    assert_eq!(second.status(), StatusCode::CREATED);
    let second = left(second).await;
    assert_eq!(session.drain().await.0, vec![(2, request.clone())], "it lies there once");
    session.delete(&bob, &[2]).await;
    // It was fetched.
    let third = directory.deposit(&bob, None, request).await;
    assert_eq!(third.status(), StatusCode::CREATED);
    let third = left(third).await;
    assert_eq!(session.drain().await.0.len(), 1);
    let said = |answer: DepositAnswer| (answer.number, answer.expires_in);
    assert_eq!(said(first), (0, DAY.into()), "nothing is counted for who shows no token");
    assert_eq!((said(second), said(third)), ((0, DAY.into()), (0, DAY.into())), "the answers differ in nothing");
    directory.stop().await;
}

#[tokio::test]
async fn mail_expires_by_the_time_that_the_directory_was_up() {
    let clock = Monotonic::manual();
    let mut directory = Directory::with(|config| {
        config.clock = clock.clone();
        config.timing.sweep = Duration::from_millis(50);
    })
    .await;
    let (bob, session) = bob_at(&directory).await;
    drop(session);
    let bytes = |ttl: u32| envelope(bob.device_id(), ttl, b"until then");
    left(directory.deposit(&bob, Some(&TOKEN), bytes(100)).await).await;
    let week = left(directory.deposit(&bob, Some(&TOKEN), bytes(604_800)).await).await;
    clock.advance(Duration::from_secs(99));
    assert_eq!(directory.session(&bob).await.drain().await.0.len(), 2);
    // A year passes while the directory is down.
    let again = left(directory.deposit(&bob, Some(&TOKEN), bytes(604_800)).await).await;
    assert_eq!((again.number, again.expires_in), (week.number, 604_800 - 99 + 1));
    directory.halt().await;
    clock.advance(Duration::from_secs(365 * 86_400));
    directory.resume().await;
    assert_eq!(directory.session(&bob).await.drain().await.0.len(), 2, "time while it was down does not count");
    clock.advance(Duration::from_secs(2));
    let (mail, _) = directory.session(&bob).await.drain().await;
    assert_eq!(mail.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [week.number], "an expired one is not handed out");
    // And it goes, together with its count.
    directory.until("directoryd_mailbox_envelopes 1\n").await;
    directory.until("directoryd_mailbox_expired_total 1\n").await;
    clock.advance(Duration::from_secs(604_800));
    directory.until("directoryd_mailbox_envelopes 0\n").await;
    directory.stop().await;
}

#[tokio::test]
async fn what_has_expired_is_in_nobodys_way() {
    let clock = Monotonic::manual();
    let directory = Directory::with(|config| {
        config.clock = clock.clone();
        config.mailbox_envelopes = 2;
        config.timing.sweep = Duration::from_secs(3_600);
    })
    .await;
    let (bob, _session) = bob_at(&directory).await;
    fill(&directory, &bob, 0, 2).await;
    let bytes = envelope(bob.device_id(), DAY, b"next");
    assert_eq!(directory.deposit(&bob, Some(&TOKEN), bytes.clone()).await.status(), StatusCode::INSUFFICIENT_STORAGE);
    clock.advance(Duration::from_secs(u64::from(DAY) + 1));
    left(directory.deposit(&bob, Some(&TOKEN), bytes).await).await;
    directory.stop().await;
}

#[tokio::test]
async fn mail_of_devices_and_accounts_that_are_no_more_goes() {
    let directory = Directory::start().await;
    let (bob, session) = bob_at(&directory).await;
    drop(session);
    fill(&directory, &bob, 0, 3).await;
    // An envelope for a device that is not his.
    let answer = directory.deposit(&bob, Some(&TOKEN), envelope(person("eve").device_id(), DAY, b"x")).await;
    assert_eq!(refused(answer).await, (StatusCode::NOT_FOUND, ErrorCode::NotFound));
    // A new machine beside the old one changes nothing; without the old one, what it alone could open goes.
    let new = person("bobs new machine");
    let mut record = bob.record(2);
    record.devices.push(proto::directory::Device::of_key(new.device.verifying_key().to_bytes()));
    assert!(directory.publish_record(&bob, &record).await.status().is_success());
    left(directory.deposit(&bob, Some(&TOKEN), envelope(new.device_id(), DAY, b"for the new one")).await).await;
    directory.until("directoryd_mailbox_envelopes 4\n").await;
    record.devices.remove(0);
    record.prekeys.clear();
    record.seq = 3;
    let mut old = directory.session(&bob).await;
    assert!(directory.publish_record(&bob, &record).await.status().is_success());
    assert_eq!(old.frame_or_end().await, None, "the old machine's session has ended");
    let url = format!("{}/v1/mailbox/{}", directory.url, bob.account());
    let answer =
        directory.http.post(url).bearer_auth(&old.token).body(envelope(new.device_id(), DAY, b"x")).send().await;
    assert_eq!(refused(answer.unwrap()).await, (StatusCode::FORBIDDEN, ErrorCode::NotAllowed));
    directory.until("directoryd_mailbox_envelopes 1\n").await;
    assert!(directory.unregister(&bob).await.status().is_success());
    directory.until("directoryd_mailbox_envelopes 0\n").await;
    directory.until("directoryd_mailbox_bytes 0\n").await;
    directory.stop().await;
}

#[tokio::test]
async fn a_full_disk_refuses_deposits_and_recovers_by_itself() {
    // Schema and indexes take some thirty pages of 4 KiB.
    let directory = Directory::with(|config| config.max_pages = Some(120)).await;
    let (bob, mut session) = bob_at(&directory).await;
    let large = |n: u8| envelope(bob.device_id(), DAY, &[n; 60_000]);
    let mut kept = Vec::new();
    let refusal = loop {
        let answer = directory.deposit(&bob, Some(&TOKEN), large(kept.len() as u8)).await;
        if !answer.status().is_success() {
            break refused(answer).await;
        }
        kept.push(left(answer).await.number);
        assert!(kept.len() < 20, "the disk never got full");
    };
    assert_eq!(refusal, (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable));
    // Everything that was acknowledged is there, look-ups and sessions go on, and deletions find their way.
    assert!(directory.get("/v1/records/bob").await.status().is_success());
    let (mail, _) = session.drain().await;
    assert_eq!(mail.iter().map(|(n, _)| *n).collect::<Vec<_>>(), kept);
    session.delete(&bob, &kept[..2]).await;
    let begun = std::time::Instant::now();
    while !directory.deposit(&bob, Some(&TOKEN), large(99)).await.status().is_success() {
        assert!(begun.elapsed() < PATIENCE, "it does not recover");
        tokio::task::yield_now().await;
    }
    directory.stop().await;
}
