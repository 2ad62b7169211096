//! Tokens: what each grants and what it does not, however it is tried.

use std::collections::BTreeMap;

use proto::rpc::RpcError;
use proto::rpc::methods::METHODS;
use proto::scope::Needs;
use serde_json::{Value, json};

use crate::token_house::{House, Raw, code};
use crate::util::{follow, send, text};

#[test]
fn a_token_sends_to_whom_it_is_for_and_does_nothing_else() {
    let house = House::start();
    let made = house.alice.ok([
        "token",
        "create",
        "--name",
        "grafana",
        "--send-to",
        "bob",
        "--rate",
        "3/h",
        "--expires",
        "90d",
    ]);
    let token = made.stdout.trim().to_owned();
    assert!(made.stderr.contains("send to bob, 3 in 1 h") && made.stdout.lines().count() == 1, "{made:?}");
    let holder = house.holder(&token);
    holder.ok(["send", "bob", "disk full", "--wait", "delivered", "--priority", "high"]);
    let history = house.bob.list(["history", "alice"], "messages");
    assert_eq!(history.last().unwrap()["body"], "disk full");
    assert_eq!(holder.json(["whoami"])["name"], "alice");
    for refused in [
        &["send", "carol", "hi"][..],
        &["history", "bob"],
        &["search", "disk"],
        &["contacts"],
        &["add", "dave"],
        &["status"],
        &["watch"],
        &["consumers"],
        &["settings"],
        &["token", "list"],
        &["token", "create", "--name", "more", "--allow", "admin"],
        &["backup", "-", "--recipient", "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"],
        &["unregister", "--yes"],
        &["whoami", "--account", "bob"],
    ] {
        let output = holder.run(refused);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    // Three in an hour, of which one was for carol.
    holder.ok(["send", "bob", "second"]);
    let fast = holder.run(["send", "bob", "third"]).expect_code(5);
    assert!(fast.stderr.contains("over its rate"), "{fast:?}");
    // The hash of it is all that is kept.
    let secret = token.strip_prefix("chatd_").unwrap();
    let data = house.daemon.home().join("data");
    let mut files = 0;
    let mut folders = vec![data];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&entry).unwrap_or_default();
            assert!(!bytes.windows(64).any(|part| part == secret.as_bytes()), "{}", entry.display());
        }
    }
    assert!(files > 5);
    assert!(!house.daemon.log_text().contains(secret), "nor is it in the log");
    let listed = house.alice.json(["token", "list"]);
    assert_eq!(
        (&listed["name"], &listed["send_to"], &listed["allow"]),
        (&json!("grafana"), &json!(["bob"]), &json!(["send"]))
    );
    let log = house.alice.json_lines(["token", "log", "grafana"]);
    let has = |method: &str, refused: Value, who: Value, count: u64| {
        let like = |entry: &&Value| entry["method"] == method && entry["refused"] == refused && entry["who"] == who;
        let found: u64 = log.iter().filter(like).map(|entry| entry["count"].as_u64().unwrap()).sum();
        assert_eq!(found, count, "{method} {refused} {who}: {log:#?}");
    };
    has("token.create", Value::Null, Value::Null, 1);
    has("message.send", Value::Null, json!("bob"), 2);
    has("message.send", json!("conversation"), Value::Null, 1);
    has("message.send", json!("rate"), Value::Null, 1);
    has("message.history", json!("scope"), Value::Null, 1);
    has("token.create", json!("scope"), Value::Null, 1);
    let shown = house.alice.ok(["token", "log", "grafana"]).stdout;
    assert!(shown.contains("message.history refused (scope)"), "{shown}");
}

/// A token for one conversation, and all methods that there are, by every way to name somebody or something else.
#[test]
fn a_token_for_one_conversation_learns_of_no_other_by_any_method() {
    let house = House::start();
    house.carol.ok(["profile", "set", "--display-name", "Zanzibar", "--status", "zebra"]);
    house.alice.ok(["rename", "carol", "platypus"]);
    let of_carol = send(&house.alice, "platypus", "quokka to carol");
    house.carol.ok(["send", "alice", "quokka from carol", "--wait", "delivered"]);
    send(&house.alice, "bob", "wombat to bob");
    house.bob.ok(["send", "alice", "wombat from bob", "--wait", "delivered"]);
    let contacts = house.alice.list(["contacts"], "contacts");
    let account = text(&contacts.iter().find(|one| one["name"] == "carol").unwrap()["account"]).to_owned();
    // Alice's own consumer gave everything up: its dead letters are all that happened.
    let mut owner = Raw::connect(&house.daemon);
    let begun = owner.call("feed.subscribe", &json!({"account": "alice", "since": 0, "consumer": "bot"})).unwrap();
    let head = begun["head"].as_u64().unwrap();
    for seq in 1..=head {
        let params = json!({"account": "alice", "consumer": "bot", "seq": seq, "reason": "poison"});
        owner.call("feed.give_up", &params).unwrap();
    }
    drop(owner);
    let nobody_id = "01977e5c-0000-7000-8000-0000000000ab";
    let token = house.token(&["--name", "bob-only", "--in", "bob", "--send-to", "bob"]);
    let heard_of = |raw: &Raw, echoed: &str| {
        let shown = String::from_utf8_lossy(&raw.heard).to_lowercase();
        for marker in ["quokka to", "quokka from", "zanzibar", "zebra", "platypus", "carol@", account.as_str()] {
            if !echoed.contains(marker) {
                assert!(!shown.contains(marker), "{marker} after {echoed}");
            }
        }
    };
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let (mut raw, mut other) = (Raw::with_token(&house.daemon, &token), Raw::with_token(&house.daemon, &token));
    let mut compared = 0;
    for method in METHODS {
        let variants = |who: &str, id: &str| {
            let tail = id[id.len() - 8..].to_owned();
            vec![
                json!({}),
                json!({"who": who}),
                json!({"who": who, "limit": 10}),
                json!({"who": "bob"}),
                json!({"who": "bob", "before": id}),
                json!({"who": "bob", "up_to": id}),
                json!({"who": "bob", "after": id}),
                json!({"to": who, "body": "x"}),
                json!({"id": id}),
                json!({"id": tail}),
                json!({"id": tail, "who": who}),
                json!({"id": "last"}),
                json!({"id": "last", "own": true}),
                json!({"id": id, "state": "read", "timeout_ms": 1}),
                json!({"query": "quokka"}),
                json!({"query": "quokka", "who": who}),
                json!({"query": "wombat", "before": id}),
                json!({"since": 0}),
                json!({"since": 0, "who": who}),
                json!({"since": 0, "consumer": "bot"}),
                json!({"consumer": "bot"}),
                json!({"consumer": "bot", "seq": 1}),
                json!({"consumer": "bot", "seq": 1, "reason": "x"}),
                json!({"after": "carol"}),
                json!({"name": "bob-only"}),
                json!({"name": "x", "allow": ["admin", "read"]}),
                json!({"account": who}),
            ]
        };
        let by_id = format!("id:{account}");
        let id_of_nobody = format!("id:{}", "77".repeat(16));
        for (who, nobody) in [("platypus", "nemo"), (by_id.as_str(), id_of_nobody.as_str())] {
            for (with, without) in variants(who, &of_carol).iter().zip(variants(nobody, nobody_id)) {
                if method.name == "message.read" && with["who"] == "bob" && with.as_object().unwrap().len() == 1 {
                    continue;
                }
                if method.name == "feed.subscribe" {
                    // Events would come among the answers to what follows.
                    raw = Raw::with_token(&house.daemon, &token);
                }
                raw.heard.clear();
                let answer = raw.call(method.name, with);
                if method.name == "feed.subscribe" && answer.is_ok() {
                    // What it was to hear comes before what happens next.
                    raw.call("account.whoami", &json!({})).unwrap();
                }
                heard_of(&raw, &with.to_string());
                *answers.entry(format!("{} {}", method.name, code(&answer))).or_default() += 1;
                // Whoever is not for it is refused in the words in which is what is not there.
                if *with != without && answer.is_err() {
                    let same = |answer: Result<Value, RpcError>, who: &str, id: &str| {
                        format!("{answer:?}").replace(who, "WHO").replace(id, "ID").replace(&id[id.len() - 8..], "TAIL")
                    };
                    let other = other.call(method.name, &without);
                    let (left, right) = (same(answer, who, &of_carol), same(other, nobody, nobody_id));
                    assert_eq!(left, right, "{} {with}", method.name);
                    compared += 1;
                }
            }
        }
    }
    println!("figure: {} methods, {compared} refusals like those of what is not there", METHODS.len());
    // It was not refused for nothing: what is bob's can be read.
    for granted in [
        "message.search ok",
        "message.find ok",
        "message.unread ok",
        "message.history ok",
        "contact.list ok",
        "feed.subscribe ok",
        "consumer.list ok",
    ] {
        assert!(answers.contains_key(granted), "{granted}: {answers:#?}");
    }
    let mut raw = Raw::with_token(&house.daemon, &token);
    let search = raw.call("message.search", &json!({"query": "wombat"})).unwrap();
    assert_eq!(search["messages"].as_array().unwrap().len(), 2);
    assert_eq!(raw.call("message.search", &json!({"query": "quokka"})).unwrap()["messages"], json!([]));
    let unread = raw.call("message.unread", &json!({})).unwrap();
    assert_eq!((&unread["total"], unread["conversations"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(raw.call("contact.list", &json!({})).unwrap()["contacts"].as_array().unwrap().len(), 1);
    assert_eq!(raw.call("message.find", &json!({"id": "last"})).unwrap()["messages"][0]["text"], "wombat from bob");
    // The owner's consumer is where it was.
    let bot = house.alice.json_lines(["consumers"]).into_iter().find(|one| one["name"] == "bot").unwrap();
    assert_eq!((&bot["dead_letters"], &bot["seq"]), (&json!(head), &json!(head)), "{bot}");
}

#[test]
fn events_come_of_the_conversations_of_a_token_only() {
    let house = House::start();
    let token = house.token(&["--name", "bob-only", "--in", "bob"]);
    let holder = house.holder(&token);
    let mut watch = holder.stream(["watch", "--json", "--since", "0"]);
    let mut all = follow(&house.alice, &[]);
    for number in 0..5 {
        house.carol.ok(["send", "alice", &format!("secret {number}"), "--wait", "delivered"]);
        house.alice.ok(["send", "carol", "answer", "--wait", "delivered"]);
        house.bob.ok(["send", "alice", &format!("open {number}"), "--wait", "delivered"]);
    }
    let last = |event: &Value| event["message"]["body"] == "open 4";
    let seen = watch.until_json("the last message", |event| {
        assert!(!event.to_string().contains("secret") && event["who"] != "carol", "{event}");
        last(event)
    });
    assert_eq!(seen["who"], "bob");
    all.until_json("the owner sees the same", last);
    // Its consumer is its own, and comes from a place of its own.
    let mut job = holder.stream(["watch", "--json", "--consumer", "bot", "--since", "0", "--ack", "printed"]);
    job.until_json("the last message again", last);
    assert_eq!(holder.json_lines(["consumers"])[0]["name"], "bot");
    assert_eq!(house.alice.json_lines(["consumers"])[0]["name"], "bob-only/bot");
}

#[test]
fn a_token_that_is_revoked_or_has_expired_ends_at_once_and_for_good() {
    let mut house = House::start();
    let [first, second, third] =
        ["first", "second", "third"].map(|name| house.token(&["--name", name, "--allow", "read,send"]));
    let short = house.token(&["--name", "short", "--allow", "read", "--expires", "3s"]);
    let mut watches: Vec<_> =
        [&first, &second, &short].iter().map(|token| house.holder(token).stream(["watch", "--new"])).collect();
    let mut raw = Raw::with_token(&house.daemon, &first);
    raw.call("feed.subscribe", &json!({})).unwrap();
    assert_eq!(house.alice.json(["token", "revoke", "first"])["reason"], "revoked");
    // The connection is over before the owner was answered.
    assert!(raw.try_call("message.send", &json!({"to": "bob", "body": "x"})).is_none(), "{:?}", raw.heard);
    assert_eq!(watches[0].wait().code(), Some(1), "and says why");
    assert_eq!(watches[2].wait().code(), Some(1), "so does one whose time is up");
    let over = house.holder(&first).run(["send", "bob", "x"]).expect_code(1);
    assert!(over.stderr.contains("no token in force"), "{over:?}");
    let unknown = house.holder(&format!("chatd_{}", "0".repeat(64))).run(["send", "bob", "x"]).expect_code(1);
    assert_eq!(unknown.stderr, over.stderr, "what was is told as what never was");
    let listed = house.alice.json_lines(["token", "list"]);
    let reason = |name: &str| listed.iter().find(|one| one["name"] == name).unwrap()["reason"].clone();
    assert_eq!([reason("first"), reason("short"), reason("third")], [json!("revoked"), json!("expired"), Value::Null]);
    // A name is free again, and the log of what it was stays until then.
    house.alice.run(["token", "create", "--name", "third", "--allow", "read"]).expect_code(1);
    house.alice.run(["token", "revoke", "first"]).expect_code(1);
    house.token(&["--name", "first", "--allow", "send"]);
    house.holder(&second).ok(["send", "bob", "still there"]);
    house.daemon.kill9();
    house.daemon.restart();
    for (token, works) in [(&first, false), (&short, false), (&second, true), (&third, true)] {
        let code = if works { 0 } else { 1 };
        house.holder(token).run(["history", "bob"]).expect_code(code);
    }
}

#[test]
fn the_rate_is_the_tokens_over_all_its_connections() {
    let house = House::start();
    let token = house.token(&["--name", "fast", "--send-to", "bob", "--allow", "contacts", "--rate", "10/h"]);
    let mut connections: Vec<Raw> = (0..5).map(|_| Raw::with_token(&house.daemon, &token)).collect();
    let mut codes = BTreeMap::new();
    for _ in 0..4 {
        for raw in &mut connections {
            let answer = raw.call("message.send", &json!({"to": "bob", "body": "x"}));
            *codes.entry(code(&answer)).or_insert(0) += 1;
        }
    }
    assert_eq!(codes, BTreeMap::from([("ok", 10), ("rate_limited", 10)]));
    let muted = connections[0].call("contact.mute", &json!({"who": "bob"}));
    assert_eq!(code(&muted), "rate_limited", "whatever is not reading counts");
    assert_eq!(code(&connections[0].call("contact.list", &json!({}))), "ok");
}

#[test]
fn tokens_have_bounds_and_grant_what_they_say() {
    let house = House::start();
    let all = house.token(&["--name", "all", "--allow", "read,send,contacts,admin"]);
    let mut raw = Raw::with_token(&house.daemon, &all);
    let hello = Raw::connect(&house.daemon).call("system.hello", &json!({"token": all})).unwrap();
    assert_eq!(hello["accounts"].as_array().unwrap().len(), 1, "one account, of the three that the user has: {hello}");
    assert_eq!(hello["token"]["name"], "all");
    for method in METHODS.iter().filter(|method| method.needs == Needs::Owner) {
        let params = match method.name {
            "account.register" => json!({"name": "dave"}),
            "account.unregister" => json!({"confirm": "alice"}),
            "key.recover" => json!({"recovery_key": "x"}),
            "backup.read" => json!({"transfer": "1", "offset": 0}),
            "backup.end" | "restore.end" => json!({"transfer": "1"}),
            "restore.write" => json!({"transfer": "1", "data": []}),
            "restore.finish" => json!({"transfer": "1", "passphrase": "x"}),
            "token.create" => json!({"name": "x", "allow": ["read"]}),
            "token.revoke" | "token.log" => json!({"name": "all"}),
            _ => json!({}),
        };
        let answer = raw.call(method.name, &params);
        assert_eq!(code(&answer), "not_allowed", "{} is its owner's: {answer:?}", method.name);
    }
    assert_eq!(raw.call("system.status", &json!({})).unwrap()["own_clients"], Value::Null, "nobody's programs");
    // Whoever may send to contacts asks nobody to become one, and hears of no names.
    let sender = Raw::with_token(&house.daemon, &house.token(&["--name", "sender", "--allow", "send"]))
        .call("message.send", &json!({"to": "carrol", "body": "x"}));
    let error = sender.unwrap_err();
    assert_eq!((error.code.as_str(), error.text.contains("carol")), ("not_allowed", false), "{error}");
    for bad in [
        &["--name", "Bad", "--allow", "read"][..],
        &["--name", "b/c", "--allow", "read"],
        &["--name", "x"],
        &["--name", "x", "--allow", "admin", "--in", "bob"],
        &["--name", "x", "--in", "nemo"],
    ] {
        let output = house.alice.run(["token", "create"].iter().chain(bad));
        assert!(matches!(output.code, Some(1 | 2)), "{output:?}");
    }
    // As many as there may be, and no more; what ended is not counted.
    let (mut client, mut made) = (Raw::connect(&house.daemon), 2);
    loop {
        let params = json!({"account": "alice", "name": format!("n{made}"), "allow": ["read"]});
        match client.call("token.create", &params) {
            Ok(_) => made += 1,
            Err(error) => {
                assert_eq!(error.code.as_str(), "limit_reached");
                break;
            }
        }
    }
    assert_eq!(made, 64);
    // Consumers of a token have an end, too, long before the account's.
    let mut reader = Raw::with_token(&house.daemon, &all);
    let mut refused = None;
    for number in 0..40 {
        let answer = reader.call("feed.subscribe", &json!({"consumer": format!("c{number}")}));
        if let Ok(begun) = &answer {
            reader.call("feed.unsubscribe", &json!({"subscription": begun["subscription"]})).unwrap();
        } else {
            refused = Some((number, code(&answer)));
            break;
        }
    }
    assert_eq!(refused, Some((16, "limit_reached")));
}
