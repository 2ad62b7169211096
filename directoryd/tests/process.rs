//! The real program: parity rows A3 (kill -9) and A4 (log), start and stop, bad input on the command line.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::process::*;
use common::*;
use ed25519_dalek::Signer;
use proto::directory::SignedRecord;
use proto::directory::api::*;

fn fails(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

async fn register(http: &reqwest::Client, url: &str, name: &str) -> Result<(), reqwest::Error> {
    let person = person(name);
    let bytes = SignedRecord::sign(&person.record(1), &person.identity).unwrap().encode();
    let nonce = http.get(format!("{url}/v1/nonce")).send().await?.json::<NonceAnswer>().await?.nonce;
    let signature = Base64(person.identity.sign(&publish_message(ORIGIN, &nonce, &bytes)).to_bytes().to_vec());
    let request = PublishRequest { record: Base64(bytes), nonce, signature, recovery: None };
    let answer = http.put(format!("{url}/v1/records/{name}")).json(&request).send().await?.error_for_status()?;
    answer.json::<PublishAnswer>().await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a3_every_acknowledged_registration_survives_kill_9() {
    let data = tempfile::tempdir().unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..3 {
        let process = Process::start(data.path(), &[]);
        let done = Arc::new(AtomicUsize::new(0));
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..4 {
            let (http, url, done) = (http.clone(), process.url.clone(), Arc::clone(&done));
            clients.spawn(async move {
                let mut mine = Vec::new();
                for number in 0.. {
                    let name = format!("user-{round}-{client}-{number}");
                    if register(&http, &url, &name).await.is_err() {
                        break;
                    }
                    mine.push(name);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                mine
            });
        }
        while done.load(Ordering::Relaxed) < 40 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // In the midst of it.
        let (_, status) = process.end(nix::sys::signal::Signal::SIGKILL);
        assert!(!status.success());
        while let Some(mine) = clients.join_next().await {
            acknowledged.extend(mine.unwrap());
        }
        let process = Process::start(data.path(), &[]);
        for name in &acknowledged {
            let answer = http.get(format!("{}/v1/records/{name}", process.url)).send().await.unwrap();
            assert!(answer.status().is_success(), "{name} was acknowledged and is lost");
        }
        let (_, status) = process.end(nix::sys::signal::Signal::SIGTERM);
        assert!(status.success());
    }
    assert!(acknowledged.len() >= 120);
}

#[tokio::test]
async fn a4_one_line_an_operation_with_name_and_address() {
    let data = tempfile::tempdir().unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let file = data.path().join("directoryd.toml");
    for format in ["text", "json"] {
        std::fs::write(&file, "log_names = true").unwrap();
        let process = Process::start(data.path(), &["--config", file.to_str().unwrap(), "--log-format", format]);
        let name = format!("alice-{format}");
        register(&http, &process.url, &name).await.unwrap();
        let evil = http.get(format!("{}/v1/records/%1b%5b31mred%0ayes", process.url)).send().await.unwrap();
        assert_eq!(evil.status(), 400);
        let (log, status) = process.end(nix::sys::signal::Signal::SIGINT);
        assert!(status.success());
        let line = log.lines().find(|line| line.contains("publish") && line.contains(&name)).unwrap();
        assert!(line.contains("127.0.0.1") && line.contains("201"), "{line}");
        assert_eq!(log.lines().filter(|line| line.contains("lookup")).count(), 1, "no line of its own: {log}");
        assert!(!log.contains('\u{1b}'), "{log}");
        if format == "json" {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&line["operation"], &line["name"]), (&"publish".into(), &name.into()));
        }
    }
}

#[test]
fn one_data_directory_one_daemon() {
    let data = tempfile::tempdir().unwrap();
    let process = Process::start(data.path(), &[]);
    let error = fails(command(data.path(), &[]));
    assert!(error.contains("in use by another directoryd") && error.contains("--data-dir"), "{error}");
    let (_, status) = process.end(nix::sys::signal::Signal::SIGTERM);
    assert!(status.success());
}

#[test]
fn bad_configurations_say_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("directoryd.toml");
    let with_file = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_directoryd"));
        command.arg("--config").arg(&file).arg("--check");
        command
    };
    let error = fails(with_file("orgin = 'example.org'"));
    assert!(error.contains("`orgin`") && error.contains("`origin`"), "{error}");
    let error = fails(with_file("tls_cert = 'c.pem'"));
    assert!(error.contains("tls_cert and tls_key"), "{error}");
    let told = with_file("listen = '0.0.0.0:7470'").output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("a certificate of its own key"), "nothing crosses a network in the clear: {told}");
    assert!(with_file("listen = '0.0.0.0:7470'\nproxies = ['127.0.0.1']").output().unwrap().status.success());
    let error = fails(with_file("origin = 'not a domain'"));
    assert!(error.contains("not a domain"), "{error}");
    // Others could write to it.
    let open = data.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let error = fails(command(&open, &[]));
    assert!(error.contains("chmod go-w"), "{error}");
    // No directory, but a file.
    let error = fails(command(&file, &[]));
    assert!(error.contains("cannot use the data directory"), "{error}");
}

#[tokio::test]
async fn sighup_reads_the_log_filter_again() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("directoryd.toml");
    std::fs::write(&file, "log = 'warn'\nlog_names = true").unwrap();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let process = Process::start(data.path(), &["--config", file.to_str().unwrap()]);
    register(&http, &process.url, "alice").await.unwrap();
    // A bad filter is reported, and changes nothing.
    for (filter, answer) in [("=nonsense=", "stays as it is"), ("info", "read again")] {
        std::fs::write(&file, format!("log = '{filter}'\nlog_names = true")).unwrap();
        process.signal(nix::sys::signal::Signal::SIGHUP);
        tests::wait::wait_for(answer, || process.log().contains(answer));
    }
    register(&http, &process.url, "bob").await.unwrap();
    let (log, status) = process.end(nix::sys::signal::Signal::SIGTERM);
    assert!(status.success() && log.contains("bob") && !log.contains("alice"), "{log}");
}
