//! Every list of the RPC is whole when it is read by pages of two: each entry once, however many pages.

use std::collections::BTreeSet;

use proto::rpc::client::Client;
use proto::rpc::methods::{
    ConsumerDeadLetters, ConsumerList, ContactList, ContactRequests, DirectoryUsers, FeedGiveUp, FeedSubscribe,
    FeedUnsubscribe, MessageHistory, MessageSearch, MessageUnread, Method,
};
use proto::rpc::types::{
    DeadLettersParams, FeedGiveUpParams, HistoryParams, PageParams, SearchParams, SubscribeParams, UnsubscribeParams,
    UsersParams,
};
use tests::people::befriend;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Directory, Pair};

const FRIENDS: [&str; 5] = ["bob", "carol", "dora", "emil", "fred"];
const STRANGERS: [&str; 3] = ["gina", "hank", "ida"];

/// All pages; `next` puts the place of the next one into the parameters, if there is one.
async fn pages<M: Method<Params: Clone>>(
    client: &Client,
    mut params: M::Params,
    next: impl Fn(M::Result, &mut M::Params) -> (Vec<String>, bool),
) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = client.call::<M>(&params).await.unwrap();
        let (entries, more) = next(page, &mut params);
        assert!((1..=2).contains(&entries.len()), "{}: a page of {entries:?}", M::NAME);
        all.extend(entries);
        if !more {
            let once: BTreeSet<_> = all.iter().collect();
            assert_eq!(once.len(), all.len(), "{}: {all:?}", M::NAME);
            return all;
        }
        assert!(all.len() < 100, "{} has no end: {all:?}", M::NAME);
    }
}

fn people() -> PageParams {
    PageParams { account: Some("alice".into()), limit: Some(2), ..PageParams::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_whole_by_pages_of_two() {
    let directory = Directory::start();
    let options = DaemonOptions::new("all", directory.url()).config("[limits]\naccounts_per_uid = 20\n");
    let daemon = Daemon::start(options);
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice"]);
    let join = |name: &str| -> Ctl {
        let ctl = daemon.ctl(name);
        ctl.ok(["register", name]);
        ctl
    };
    for friend in FRIENDS.map(join) {
        befriend(&friend, &alice);
        friend.ok(["send", "alice", "hello", "--wait", "delivered"]);
    }
    for stranger in STRANGERS.map(join) {
        stranger.ok(["add", "alice"]);
    }
    wait_for("all have asked", || alice.list(["requests"], "contacts").len() == STRANGERS.len());
    let client = daemon.client().await;

    let contacts = pages::<ContactList>(&client, people(), |page, params| {
        params.after = page.next;
        (page.contacts.into_iter().map(|contact| contact.name).collect(), params.after.is_some())
    });
    let mut everybody: Vec<&str> = FRIENDS.into_iter().chain(STRANGERS).collect();
    assert_eq!(contacts.await, everybody, "also who asks");
    let requests = pages::<ContactRequests>(&client, people(), |page, params| {
        params.after = page.next;
        (page.contacts.into_iter().map(|contact| contact.name).collect(), params.after.is_some())
    });
    assert_eq!(requests.await.into_iter().collect::<BTreeSet<_>>(), STRANGERS.map(String::from).into());
    let unread = pages::<MessageUnread>(&client, people(), |page, params| {
        assert_eq!(page.total, FRIENDS.len() as u64, "of all pages");
        params.after = page.next;
        (page.conversations.into_iter().map(|unread| unread.who).collect(), params.after.is_some())
    });
    assert_eq!(unread.await, FRIENDS);

    let names = ["five", "four", "one", "three", "two"];
    for name in names {
        let subscribe = SubscribeParams {
            account: Some("alice".into()),
            consumer: Some(name.into()),
            since: Some(0),
            ..SubscribeParams::default()
        };
        let subscription = client.call::<FeedSubscribe>(&subscribe).await.unwrap().subscription;
        client.call::<FeedUnsubscribe>(&UnsubscribeParams { subscription }).await.unwrap();
    }
    for seq in 1..=5 {
        let give_up = FeedGiveUpParams {
            account: Some("alice".into()),
            consumer: "one".into(),
            seq,
            reason: "exit code 1".into(),
        };
        client.call::<FeedGiveUp>(&give_up).await.unwrap();
    }
    let params = PageParams { account: Some("alice".into()), limit: Some(2), after: None };
    let consumers = pages::<ConsumerList>(&client, params, |page, params| {
        params.after = page.next;
        (page.consumers.into_iter().map(|consumer| consumer.name).collect(), params.after.is_some())
    });
    assert_eq!(consumers.await, names);
    let params =
        DeadLettersParams { account: Some("alice".into()), consumer: "one".into(), limit: Some(2), after: None };
    let letters = pages::<ConsumerDeadLetters>(&client, params, |page, params| {
        params.after = page.next;
        (page.dead_letters.into_iter().map(|letter| letter.seq.to_string()).collect(), params.after.is_some())
    });
    assert_eq!(letters.await, ["1", "2", "3", "4", "5"]);

    let params = UsersParams { account: Some("alice".into()), limit: Some(2), ..UsersParams::default() };
    let users = pages::<DirectoryUsers>(&client, params, |page, params| {
        params.after = page.next;
        (page.users.into_iter().map(|user| user.name).collect(), params.after.is_some())
    });
    everybody.insert(0, "alice");
    assert_eq!(users.await, everybody);
}

/// Long messages: fewer fit one answer than were asked for, and all of them are found.
#[tokio::test(flavor = "multi_thread")]
async fn messages_are_read_and_found_over_as_many_answers_as_it_takes() {
    const MANY: usize = 41;
    let pair = Pair::on_one_daemon();
    let text = |n: usize| format!("needle {n} {}", "x".repeat(60_000));
    let lines: String = (0..MANY).map(|n| text(n) + "\n").collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines", "--wait", "delivered"], lines.as_bytes()).expect_code(0);
    let client = pair.alice_daemon.client().await;
    let number = |body: &str| body.split(' ').nth(1).unwrap().to_owned();
    let oldest_first: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
    let newest_first: Vec<String> = oldest_first.iter().rev().cloned().collect();

    let search = SearchParams {
        account: Some("bob".into()),
        query: "needle".into(),
        limit: Some(1_000),
        ..SearchParams::default()
    };
    let page = client.call::<MessageSearch>(&search).await.unwrap();
    assert!(page.more && (2..MANY).contains(&page.messages.len()), "{} in one answer", page.messages.len());
    let found = pages::<MessageSearch>(&client, SearchParams { limit: Some(2), ..search }, |page, params| {
        params.before = page.messages.last().map(|message| message.id);
        (page.messages.iter().map(|message| number(&message.body)).collect(), page.more)
    });
    assert_eq!(found.await, newest_first);
    let history =
        HistoryParams { account: Some("bob".into()), who: "alice".into(), limit: Some(2), ..HistoryParams::default() };
    let read = pages::<MessageHistory>(&client, history, |page, params| {
        params.before = page.messages.first().map(|message| message.id);
        (page.messages.iter().rev().map(|message| number(&message.body)).collect(), page.more)
    });
    assert_eq!(read.await, newest_first);
    // A person asks for so many, and gets them.
    let all = |args: &[&str]| -> Vec<String> {
        let messages = pair.bob.list(args, "messages");
        messages.iter().map(|message| number(message["body"].as_str().unwrap())).collect()
    };
    assert_eq!(all(&["search", "needle", "-n", "100"]), newest_first);
    assert_eq!(all(&["search", "needle", "-n", "30"]), newest_first[..30]);
    assert_eq!(all(&["history", "alice", "-n", "100"]), oldest_first);
}
