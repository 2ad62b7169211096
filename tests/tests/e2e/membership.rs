//! Who is a member: by the directory's word, not by what somebody's record says; and which directory it is.

use tests::people::{contact_state, named};
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, DirectoryOptions, Pair};

use crate::impostor::Impostor;

fn has_request(ctl: &Ctl, name: &str) -> bool {
    named(&ctl.list(["requests"], "contacts"), name).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_origin_over_a_link_is_a_strangers() {
    let pair = Pair::strangers();
    // Their records say example.org, as alice's does.
    for salt in ["4.1", "4.2", "4.3"] {
        let impostor = Impostor::new("hank", salt).await;
        let _link =
            impostor.say(&pair.directory, &pair.alice_daemon, "alice", "contact.request", "I am one of you").await;
        // What was sent before on this daemon was judged before.
        pair.bob.ok(["add", "alice"]);
        wait_for("bob's request", || has_request(&pair.alice, "bob"));
        pair.alice.ok(["reject", "bob"]);
        assert!(!has_request(&pair.alice, "hank"));
    }
    assert!(!pair.alice_daemon.log_text().contains("panicked"));
}

#[test]
fn a_member_may_ask_while_the_directory_is_away_and_after_it_came_back() {
    let mut pair = Pair::strangers();
    // The request waits, with the statement of the day, and the directory goes.
    pair.bob.ok(["logout"]);
    pair.alice.ok(["add", "bob"]);
    wait_for("bob's node was asked", || pair.alice_daemon.log_text().contains("the peer refused"));
    pair.directory.kill9();
    pair.bob.ok(["login"]);
    wait_for("the request came over a link, with nobody to ask", || has_request(&pair.bob, "alice"));
    // The same key after the restart: those who know it believe what it says now.
    pair.directory.try_again(&[]).unwrap();
    let (_daemon, carol) = pair.join("carol");
    carol.ok(["add", "bob"]);
    wait_for("carol's request", || has_request(&pair.bob, "carol"));
    pair.bob.ok(["accept", "alice"]);
    wait_for("accepted", || contact_state(&pair.alice, "bob").as_deref() == Some("accepted"));
}

#[test]
fn a_directory_with_another_key_is_refused_until_the_owner_accepts_it() {
    let mut pair = Pair::strangers();
    let alice = pair.alice.clone();
    let known = alice.json(["key", "directory"])["known"].as_str().unwrap().to_owned();
    assert_eq!(alice.json(["whoami"])["directory_key"], known.as_str());
    std::fs::remove_file(pair.directory.data_dir().join("identity.pem")).unwrap();
    pair.directory.restart_with(&["--new-identity"]);
    wait_for("the change is told", || {
        let status = alice.run(["status"]);
        status.stdout.contains("chatctl key directory --accept")
            || status.stderr.contains("chatctl key directory --accept")
    });
    alice.run(["users"]).expect_code(4).says(&[&known, "chatctl key directory --accept"]);
    let answer = alice.run(["key", "directory", "--json"]).expect_code(4).stdout;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let shown = answer["shown"].as_str().unwrap();
    assert!(answer["known"] == known.as_str() && shown != known, "{answer}");
    alice.run(["key", "directory", "--accept", &known]).expect_code(4).says(&["nothing was changed"]);
    alice.run(["key", "directory", "--accept", "abc"]).expect_code(2);
    alice.ok(["key", "directory", "--accept", shown]);
    wait_for("alice is online again", || alice.json(["whoami"])["online"] == true);
    assert!(alice.ok(["users"]).stdout.contains("bob"));
    // Bob has not accepted it: what it says of alice proves nothing to him.
    pair.bob.run(["users"]).expect_code(4);
    pair.bob.ok(["key", "directory", "--accept", shown]);
    alice.ok(["add", "bob"]);
    wait_for("the request", || has_request(&pair.bob, "alice"));
}

/// Twelve without a directory's word close the ordinary lane of one who takes requests from anyone; an honest stranger's
/// daemon does the work that is asked for by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_honest_stranger_gets_past_a_crowd_of_junk_by_work() {
    let config = "first_contact = \"open\"\n[limits]\nrequest_work_bits = 8\nconnections_per_address = 64\n";
    let pair = Pair::strangers_with(config, DirectoryOptions::default());
    // Kept: who goes takes what was not sent yet along.
    let mut junk = Vec::new();
    for n in 0..12 {
        let impostor = Impostor::new("junk", &format!("15.{n}")).await;
        let link = impostor.say(&pair.directory, &pair.alice_daemon, "alice", "contact.request", "buy").await;
        junk.push((impostor, link));
    }
    wait_for("the lane is full", || pair.alice.list(["requests"], "contacts").len() == 10);
    // Without a directory of alice's: nobody vouches for her.
    let carol_directory = tests::Directory::start_with(DirectoryOptions::default().args(&["--origin", "carol.test"]));
    let config = format!("[directories]\n\"example.org\" = \"{}\"\n", pair.directory.url());
    let daemon = Daemon::start(DaemonOptions::new("carol", carol_directory.url()).config(&config));
    let carol = daemon.ctl("carol");
    carol.ok(["register", "carol"]);
    carol.ok(["add", "alice@example.org"]);
    wait_for("carol's request passed", || has_request(&pair.alice, "carol"));
    assert_eq!(pair.alice.list(["requests"], "contacts").len(), 11);
    assert!(daemon.log_text().contains("doing work"), "{}", daemon.log_text());
}
