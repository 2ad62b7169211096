//! Accounts that are gone: what is addressed to them ends or rests, and nobody is hammered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatd::model::{Format, Priority};
use chatd::policy::contact::Event;
use chatd::store::Store;
use chatd::store::contacts::requests;
use chatd::store::history::search::Indexer;
use chatd::store::log::outgoing::{self, NewMessage};
use chatd::store::peers::NewContact;
use chatd::store::peers::{names, trust};
use proto::ids::MessageId;
use proto::wire::payload::Kind;
use tests::http::Http;
use tests::{Daemon, Directory, DirectoryOptions, Pair};

use crate::util::{somebody, text};

const MANY: usize = 500;
/// Two looks, half a minute apart, spread over another half; and a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn hello(id: MessageId) -> NewMessage {
    NewMessage {
        id,
        body: "are you there?".into(),
        format: Format::Plain,
        priority: Priority::Normal,
        tags: Vec::new(),
        reply_to: None,
        expires: None,
    }
}

/// Gives alice, whose daemon is stopped, this many requests and this many contacts with a message each; none of them is in the
/// directory. The messages' ids.
async fn owe(daemon: &Daemon, requests: usize, contacts: usize) -> Vec<MessageId> {
    let folder = std::fs::read_dir(daemon.data_dir().join("accounts")).unwrap().next().unwrap().unwrap();
    let indexer = Indexer::start();
    let store = Store::open(&folder.path(), &indexer).unwrap();
    let rows: Vec<NewContact> = (0..requests + contacts).map(somebody).collect();
    let ids: Vec<MessageId> = (0..contacts).map(|_| MessageId::now()).collect();
    let messages = ids.clone();
    let written = store.write(move |tx| {
        for (n, row) in rows.iter().enumerate() {
            let contact = trust::upsert_contact(tx, row)?;
            names::confirm_name(tx, contact, &row.name, &row.origin)?;
            let Some(place) = n.checked_sub(requests) else {
                requests::apply_user_event(tx, contact, Event::UserAdds, "hello")?;
                continue;
            };
            requests::contact_signal(tx, contact, Kind::ContactRequest, MessageId::now(), "hello", Some(&[7; 32]))?;
            requests::apply_user_event(tx, contact, Event::UserAccepts, "")?;
            outgoing::send(tx, contact, &[hello(messages[place])])?;
        }
        Ok(())
    });
    written.await.unwrap();
    store.close().await;
    drop((store, indexer));
    ids
}

/// Look-ups, reaches and deposits that the directory was asked for, by outcome.
async fn asked(directory: &Directory) -> (u64, u64) {
    let mut http = Http::connect(directory.address()).await.unwrap();
    let page = http.get("/metrics").await.unwrap().text();
    let (mut all, mut refused) = (0, 0);
    for line in page.lines().filter(|line| line.starts_with("directoryd_operations_total{")) {
        let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        if ["lookup", "reach", "deposit"].iter().any(|op| line.contains(&format!("operation=\"{op}\""))) {
            all += count;
            refused += if line.contains("refused") { count } else { 0 };
        }
    }
    (all, refused)
}

/// Clock ticks of processor time that a process has used.
fn ticks(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid().unwrap())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// 2,700 of them cost a quarter of a processor for ever, and thousands of lines.
#[tokio::test(flavor = "multi_thread")]
async fn requests_to_accounts_that_are_gone_end_and_messages_rest() {
    let mut pair = Pair::start();
    pair.alice_daemon.stop();
    let ids = owe(&pair.alice_daemon, MANY, MANY).await;
    let (before, lines) = (asked(&pair.directory).await.0, pair.alice_daemon.log_text().lines().count());
    pair.alice_daemon.restart();
    let alice = &pair.alice;
    let given_up = |contacts: &[serde_json::Value]| contacts.iter().filter(|c| c["state"] == "given_up").count();
    tests::wait::wait_within(PATIENCE, "all requests are given up, and all contacts known to be gone", async || {
        let contacts = alice.list(["contacts"], "contacts");
        let gone = contacts.iter().filter(|c| c["reason"] == "account_gone").count();
        (given_up(&contacts) == MANY && gone == 2 * MANY).then_some(())
    })
    .await;
    assert!(alice.ok(["contacts"]).stdout.contains("given up"));
    let told = alice.json(["trace", &ids[0].to_string()]);
    assert_eq!((text(&told["state"]), text(&told["reason"])), ("queued", "account_gone"), "{told}");
    let in_all = asked(&pair.directory).await.0 - before;
    println!(
        "figure: {MANY} requests and {MANY} messages to accounts that are gone: {in_all} questions to the directory"
    );
    // Two looks by two ways, of a few questions each.
    assert!(in_all <= 20 * 2 * MANY as u64, "{in_all}");

    // At rest. Not a wait for something to happen: a span over which nothing does.
    let (used, questions, since) = (ticks(&pair.alice_daemon), asked(&pair.directory).await.0, Instant::now());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (used, questions) = (ticks(&pair.alice_daemon) - used, asked(&pair.directory).await.0 - questions);
    let log = pair.alice_daemon.log_text().lines().count() - lines;
    println!("figure: at rest for {:?}: {used} ticks, {questions} questions; {log} lines of log", since.elapsed());
    assert!(used <= 50, "{used} ticks in 10 s, of 1,000");
    assert!(questions <= 20, "{questions} questions in 10 s");
    assert!(log <= 200, "{log} lines");

    // A start does not begin anew with those who are known to be gone.
    let before = asked(&pair.directory).await.0;
    pair.alice_daemon.restart();
    pair.bob.ok(["send", "alice", "are you back?", "--wait", "delivered"]);
    let again = asked(&pair.directory).await.0 - before;
    assert!(again <= 60, "{again} questions after a restart");
}

/// One daemon that was limited logged 47,051 lines in six minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_asks_to_wait_is_left_alone() {
    let config = "limit_loopback = true\n[limits]\nlookup_burst = 20\nlookup_per_minute = 6\nmember_per_minute = 6\n\
                  deposit_burst = 20\ndeposit_per_minute = 6\n";
    let directory = Directory::start_with(DirectoryOptions { config: Some(config.into()), ..Default::default() });
    let place = Arc::clone(directory.place());
    let mut daemon = Daemon::start(tests::DaemonOptions::new("alice", directory.url()).place(&place));
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice"]);
    daemon.stop();
    owe(&daemon, MANY, 0).await;
    let (lines, before) = (daemon.log_text().lines().count(), asked(&directory).await);
    daemon.restart();
    // The burst is used up within a second; from then on it says how long to wait.
    tests::wait::wait_within(PATIENCE, "it is limited", async || (asked(&directory).await.1 > before.1).then_some(()))
        .await;
    // Not a wait for something to happen: a span over which little does.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let after = asked(&directory).await;
    let (all, refused) = (after.0 - before.0, after.1 - before.1);
    let log = daemon.log_text().lines().count() - lines;
    println!(
        "figure: {MANY} requests at a directory of 6 a minute: {all} questions in 20 s, {refused} of them refused; {log} lines"
    );
    // What was on its way when it first said so, which is the more the busier this machine is; after each pause one asks whether
    // it is over. If all of them asked, there were five hundred, and as many again and again.
    assert!(refused <= 300, "{refused} refusals of {all}");
    assert!(log <= 100, "{log} lines");
    // What came back of its quota meanwhile is its owner's; soon there is none left.
    let told = (0..MANY).map(|_| alice.run(["add", "nobody"])).find(|run| run.code != Some(1)).unwrap();
    assert!(told.expect_code(5).stderr.contains("wait"), "and its owner is told");
}
