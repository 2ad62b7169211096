//! The directory: listing, searching, surviving, its log and its REST API.

use std::collections::BTreeSet;

use tests::directory::ORIGIN;
use tests::http::Http;
use tests::people::named;
use tests::registry::{Registrant, register_all};
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, DirectoryOptions, Pair};

use crate::util::text;

fn names(users: &[serde_json::Value]) -> Vec<String> {
    users.iter().map(|user| text(&user["name"]).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_ten_thousand_users_are_listed_completely() {
    let directory = Directory::start();
    let crowd: Vec<String> = (0..10_000).map(|number| format!("user{number:05}")).collect();
    register_all(directory.address(), ORIGIN, crowd.clone(), 32).await.unwrap();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice"]);
    let expected: BTreeSet<String> = crowd.into_iter().chain(["alice".to_owned()]).collect();
    let listed = names(&alice.list(["users"], "users"));
    assert_eq!(listed.len(), expected.len(), "each once");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), expected);
    let some = names(&alice.list(["users", "R0012"], "users"));
    let expected: Vec<String> = (120..130).map(|number| format!("user{number:05}")).collect();
    assert_eq!(some, expected, "a part of a name, in any case of letters");
}

#[test]
fn a2_find_by_name_part_address_and_presence() {
    let pair = Pair::start();
    let (mut carol_daemon, _carol) = pair.join("carol");
    let search = |args: &[&str]| names(&pair.alice.list([&["users"], args].concat(), "users"));
    assert_eq!(search(&[]), ["alice", "bob", "carol"]);
    assert_eq!(search(&["--name", "bob"]), ["bob"]);
    assert_eq!(search(&["--name", "bo"]), [""; 0], "the whole name");
    assert_eq!(search(&["AR"]), ["carol"]);
    assert_eq!(search(&["zzz"]), [""; 0]);
    assert_eq!(search(&["--ip", "203.0.113.9"]), [""; 0]);
    assert_eq!(names(&pair.alice.list(["list"], "users")), search(&[]), "the other name of the verb");
    carol_daemon.stop();
    wait_for("carol is not listed as online", || !search(&["--online"]).contains(&"carol".to_owned()));
    pair.alice.run(["users", "--ip", "not an address"]).expect_code(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_every_acknowledged_registration_survives_kill9() {
    let mut directory = Directory::start();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let address = directory.address().to_owned();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (address, tell) = (address.clone(), tell.clone());
                tokio::spawn(async move {
                    let mut http = Http::connect(&address).await?;
                    for number in 0.. {
                        let person = Registrant::new(&format!("p{round}w{writer}n{number}"), "", ORIGIN)?;
                        person.register(&mut http).await?;
                        // Told only after the directory has answered.
                        tell.send(person.name.as_str().to_owned())?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for _ in 0..200 {
            acknowledged.push(told.recv().await.unwrap());
        }
        directory.kill9();
        for writer in writers {
            assert!(writer.await.unwrap().is_err(), "each writer ends with the connection");
        }
        while let Ok(name) = told.try_recv() {
            acknowledged.push(name);
        }
        directory.restart();
    }
    let mut http = Http::connect(directory.address()).await.unwrap();
    for name in &acknowledged {
        let answer = http.get(&format!("/v1/records/{name}")).await.unwrap();
        assert_eq!(answer.status, 200, "{name} was acknowledged: {}", answer.text());
    }
    assert!(acknowledged.len() >= 600);
}

#[test]
fn a4_one_line_an_operation() {
    let config = Some("log_names = true\n".to_owned());
    let directory = Directory::start_with(DirectoryOptions { config, ..DirectoryOptions::default() });
    let daemon = Daemon::start(DaemonOptions::new("alice", directory.url()));
    daemon.ctl("alice").ok(["register", "alice"]);
    daemon.ctl("alice").ok(["users", "--name", "bob"]);
    let log = directory.log_text();
    let registered: Vec<&str> = log.lines().filter(|line| line.contains("alice")).collect();
    assert!(!registered.is_empty(), "alice's registration is logged:\n{log}");
    assert!(registered.iter().any(|line| line.contains("127.0.0.1")), "with her address: {registered:#?}");
}

#[test]
fn b2_list_while_alone() {
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice"]);
    assert_eq!(names(&alice.list(["users"], "users")), ["alice"]);
    assert!(alice.list(["users", "bob"], "users").is_empty());
    assert!(alice.list(["contacts"], "contacts").is_empty());
    assert!(alice.list(["requests"], "contacts").is_empty());
    assert_eq!(alice.json(["unread"])["total"], 0);
    let people = alice.ok(["contacts"]);
    assert_eq!(people.stdout, "", "nothing to list is nothing on stdout");
}

#[test]
fn c2_found_offline_and_unknown_are_distinct() {
    let pair = Pair::start();
    let (mut carol_daemon, _carol) = pair.join("carol");
    let find = |name: &str| pair.alice.list(["users", "--name", name], "users");
    wait_for("carol is online", || named(&find("carol"), "carol").is_some_and(|user| user["online"] == true));
    carol_daemon.stop();
    wait_for("carol is offline", || named(&find("carol"), "carol").is_some_and(|user| user["online"] != true));
    assert!(find("dave").is_empty(), "unknown is nobody");
    assert_eq!(named(&find("bob"), "bob").unwrap()["contact"], true);
    assert_ne!(named(&find("carol"), "carol").unwrap()["contact"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_rest_answers_as_due() {
    let directory = Directory::start_with(DirectoryOptions::default().args(&["--list", "public"]));
    let mut http = Http::connect(directory.address()).await.unwrap();
    let alice = Registrant::new("alice", "", ORIGIN).unwrap();
    assert_eq!(alice.publish(&mut http, 1).await.unwrap().status, 201, "a new name");
    assert_eq!(alice.publish(&mut http, 2).await.unwrap().status, 200, "an update");
    let stale = alice.publish(&mut http, 1).await.unwrap();
    assert_eq!(stale.status, 409, "an older seq: {}", stale.text());
    let impostor = Registrant::new("alice", "another key", ORIGIN).unwrap().publish(&mut http, 3).await.unwrap();
    assert_eq!(impostor.status, 409, "another key: {}", impostor.text());
    assert!(impostor.text().contains("name_taken"), "{}", impostor.text());

    assert_eq!(http.get("/v1/records/alice").await.unwrap().status, 200);
    assert_eq!(http.get("/v1/records/nobody").await.unwrap().status, 404);
    for (path, body) in [("/v1/records/alice", "{"), ("/v1/records/alice", "{}"), ("/v1/records/alice", "[1,2,3]")] {
        let answer = http.request("PUT", path, "", Some(body.as_bytes())).await.unwrap();
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let users = http.get("/v1/users").await.unwrap();
    assert_eq!(users.status, 200);
    assert!(users.text().contains("alice"));
    let page = http.get("/").await.unwrap();
    assert!(page.status == 200 && page.text().contains("alice"), "who is there, for a browser: {}", page.text());
    assert!(page.head.to_lowercase().contains("text/html"), "{}", page.head);
    for (path, says) in [("/healthz", "ok"), ("/metrics", "# TYPE"), ("/openapi.json", "/v1/records/{name}")] {
        let answer = http.get(path).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.text().contains(says), "{path}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_the_operator_decides_who_may_list() {
    for (policy, listed) in [("members", false), ("off", false), ("public", true)] {
        let directory = Directory::start_with(DirectoryOptions::default().args(&["--list", policy]));
        let mut http = Http::connect(directory.address()).await.unwrap();
        Registrant::new("alice", "", ORIGIN).unwrap().register(&mut http).await.unwrap();
        let users = http.get("/v1/users").await.unwrap();
        assert_eq!(users.status == 200, listed, "{policy}: {} {}", users.status, users.text());
        let page = http.get("/").await.unwrap();
        assert_eq!(page.status, 200);
        assert_eq!(page.text().contains("alice"), listed, "{policy}: {}", page.text());
        assert_eq!(http.get("/v1/records/alice").await.unwrap().status, 200, "an exact name is found under {policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_when_loopback_is_not_exempt() {
    let directory = Directory::start_with(DirectoryOptions {
        config: Some("limit_loopback = true\n".into()),
        ..DirectoryOptions::default()
    });
    let mut http = Http::connect(directory.address()).await.unwrap();
    let mut refused = None;
    for number in 0..40 {
        let answer = Registrant::new(&format!("flood{number}"), "", ORIGIN).unwrap().publish(&mut http, 1).await;
        let answer = answer.unwrap();
        if answer.status == 429 {
            refused = Some((number, answer));
            break;
        }
    }
    let (number, answer) = refused.expect("the burst of 30 registrations ends");
    assert_eq!(number, 30, "{}", answer.text());
    assert!(answer.text().contains("rate_limited"), "{}", answer.text());
    assert_eq!(http.get("/v1/records/flood1").await.unwrap().status, 200, "lookups have a limit of their own");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_leave_it_alive() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut directory = Directory::start();
    let huge = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1 << 20));
    let large = format!("PUT /v1/records/a HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{{", 1_u64 << 40);
    let half = "PUT /v1/records/a HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{\"half";
    let inputs: [&[u8]; 6] =
        [b"\0\xff\xfe garbage\r\n\r\n", b"\r\n\r\n\r\n", huge.as_bytes(), large.as_bytes(), half.as_bytes(), b"G"];
    let mut open = Vec::new();
    for input in inputs {
        let mut stream = tokio::net::TcpStream::connect(directory.address()).await.unwrap();
        let _ = stream.write_all(input).await;
        open.push(stream);
    }
    let mut http = Http::connect(directory.address()).await.unwrap();
    assert_eq!(http.get("/healthz").await.unwrap().status, 200, "idle and half requests block nobody");
    for path in ["/v1/records/%00", "/v1/records/..%2f..%2fetc", "/v1/users?limit=0", "/v1/users?limit=x", "/nothing"] {
        let status = http.get(path).await.unwrap().status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    let mut answer = Vec::new();
    let _ = open.remove(0).read_to_end(&mut answer).await;
    // What a proxy in front could read in another way than we do: where its body ends is said twice, or half.
    let next = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (headers, body) in [
        ("content-length: 5\r\ntransfer-encoding: chunked", "0\r\n\r\n"),
        ("transfer-encoding: chunked\r\ncontent-length: 5", "0\r\n\r\n"),
        ("content-length: 0\r\ncontent-length: 49", ""),
        ("content-length: 0, 49", ""),
        ("content-length: +0", ""),
        ("content-length : 49", ""),
        ("accept: any\r\n content-length: 49", ""),
        ("transfer-encoding:\r\n chunked\r\ncontent-length: 49", ""),
        ("transfer-encoding: xchunked\r\ncontent-length: 49", ""),
        ("transfer-encoding: chunked, identity", "0\r\n\r\n"),
        ("transfer-encoding: chunked", "0;\n"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(directory.address()).await.unwrap();
        let request = format!("PUT /v1/records/a HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n{body}{next}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        // One refusal and the end of the connection: what stands behind it is nobody's request.
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{headers:?}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers:?}: {answer}");
    }
    assert!(directory.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_sql_is_a_name_or_none() {
    let directory = Directory::start_with(DirectoryOptions::default().args(&["--list", "public"]));
    let mut http = Http::connect(directory.address()).await.unwrap();
    for name in ["alice", "bob", "b_b"] {
        Registrant::new(name, "", ORIGIN).unwrap().register(&mut http).await.unwrap();
    }
    let all = |answer: &str| ["alice", "bob", "b_b"].map(|name| answer.contains(&format!("\"{name}\"")));
    let hostile = [
        "' OR '1'='1",
        "'; DROP TABLE accounts; --",
        "\" OR \"\"=\"",
        "alice'--",
        "alice' UNION SELECT record FROM accounts--",
        "a%",
        "%",
        "*",
        "?1",
        "NULL",
        "alice\0",
        "\u{2019} OR 1=1",
    ];
    for text in hostile {
        let escaped: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in ["/v1/records/", "/v1/accounts/", "/v1/reach/", "/v1/users?name=", "/v1/users?query="] {
            let answer = http.get(&format!("{path}{escaped}")).await.unwrap();
            let fine = answer.status == 200 || (400..500).contains(&answer.status);
            assert!(fine && all(&answer.text()) == [false; 3], "{path}{text:?}: {} {}", answer.status, answer.text());
        }
        let answer = http.request("PUT", &format!("/v1/records/{escaped}"), "", Some(b"{}")).await.unwrap();
        assert_eq!(answer.status, 400, "{text:?}: {}", answer.text());
    }
    // What SQL would take for any character is one letter here.
    let found = http.get("/v1/users?query=b_b").await.unwrap();
    assert_eq!(all(&found.text()), [false, false, true], "{}", found.text());
    assert_eq!(all(&http.get("/v1/users").await.unwrap().text()), [true; 3], "all are still there");
}
