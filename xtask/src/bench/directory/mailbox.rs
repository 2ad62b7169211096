//! The mailbox at the directory: how fast envelopes are left in it, each answered after its commit, and how fast a device
//! fetches and deletes what has gathered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ed25519_dalek::Signer;
use futures_util::{SinkExt, StreamExt};
use proto::directory::api::{
    Base64, ClientFrame, DEPOSIT_TOKEN_HEADER, PUSH_WINDOW, ServerFrame, decode_push, delete_message, token_hash,
};
use proto::ids::{DeviceId, PrekeyId, hex};
use proto::wire::envelope::Outer;
use proto::wire::{MAX_TTL_SECONDS, SUITE_HYBRID};
use tests::Directory;
use tests::directory::ORIGIN;
use tests::http::Http;
use tests::registry::Registrant;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::super::Scale;
use super::super::table::Row;

/// Clients at the same time in the second measurement; each deposits for somebody else.
const CLIENTS: usize = 32;
/// Bytes of a ciphertext: a short message, sealed and padded.
const CIPHERTEXT_BYTES: usize = 800;
/// Numbers in one deletion: half a window, so that the other half is on its way meanwhile.
const DELETE_AT_ONCE: usize = PUSH_WINDOW / 2;
/// The contact's token; the same for all.
const TOKEN: [u8; 32] = [42; 32];
const LIMITS: &str = "loopback exempt; quotas as by default";

type Socket = WebSocketStream<TcpStream>;

/// Measures it.
pub async fn measure(scale: Scale) -> Result<Vec<Row>> {
    let directory = Directory::try_start(Default::default())?;
    let address = directory.address().to_owned();
    let mut rows = Vec::new();
    let mailbox = scale.of(4_000, 500);
    for (clients, each) in [(1, mailbox), (CLIENTS, scale.of(1_000, 50))] {
        let people = recipients(&address, &format!("m{clients}x"), clients).await?;
        let took = deposits(&address, &people, each).await?;
        let (count, noun) = (clients * each, if clients == 1 { "client" } else { "clients" });
        let rate = count as f64 / took.as_secs_f64();
        let note = format!("{count} of {CIPHERTEXT_BYTES} B, durable when answered; {LIMITS}");
        rows.push(Row::new(format!("mailbox deposits, {clients} {noun}"), rate, "/s", "", note));
        if let [bob] = people.as_slice() {
            let took = fetch(&address, bob, each).await?;
            let rate = each as f64 / took.as_secs_f64();
            let note = format!("pushed, and deleted {DELETE_AT_ONCE} at a time with a signature each; {LIMITS}");
            rows.push(Row::new(format!("fetching a mailbox of {each} envelopes"), rate, "/s", "", note));
        }
    }
    Ok(rows)
}

/// People who have given the token away.
async fn recipients(address: &str, prefix: &str, count: usize) -> Result<Vec<Registrant>> {
    let mut http = Http::connect(address).await?;
    let mut people = Vec::with_capacity(count);
    for number in 0..count {
        let person = Registrant::new(&format!("{prefix}{number}"), "bench", ORIGIN)?;
        person.register(&mut http).await?;
        let mut session = person.session(&mut http, address).await?;
        let tokens = ClientFrame::Tokens { add: vec![hex(&token_hash(&TOKEN))], remove: Vec::new() };
        send(&mut session, &tokens).await?;
        ensure!(matches!(said(&mut session).await?, Said::Frame(ServerFrame::TokensStored { count: 1 })), "no token");
        people.push(person);
    }
    Ok(people)
}

async fn deposits(address: &str, people: &[Registrant], each: usize) -> Result<Duration> {
    let mut clients = Vec::new();
    for person in people {
        let envelopes: Vec<Vec<u8>> = (0..each).map(|number| envelope(person, number)).collect();
        clients.push((Http::connect(address).await?, format!("/v1/mailbox/{}", person.account()), envelopes));
    }
    let header = format!("{DEPOSIT_TOKEN_HEADER}: {}\r\n", Base64::text(&TOKEN));
    let since = Instant::now();
    let mut running = JoinSet::new();
    for (mut http, path, envelopes) in clients {
        let header = header.clone();
        running.spawn(async move {
            for envelope in envelopes {
                let answer = http.request("POST", &path, &header, Some(&envelope)).await?;
                ensure!(answer.status == 201, "{} {}", answer.status, answer.text());
            }
            Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a client panicked")??;
    }
    Ok(since.elapsed())
}

async fn fetch(address: &str, person: &Registrant, count: usize) -> Result<Duration> {
    let mut session = person.session(&mut Http::connect(address).await?, address).await?;
    let since = Instant::now();
    send(&mut session, &ClientFrame::Mailbox).await?;
    let (mut taken, mut deleted, mut waiting) = (0, 0, Vec::new());
    while deleted < count {
        match said(&mut session).await? {
            Said::Mail(number) => {
                taken += 1;
                waiting.push(number);
            }
            Said::Frame(ServerFrame::Deleted { numbers }) => deleted += numbers.len(),
            Said::Frame(ServerFrame::Drained { .. }) => ensure!(taken == count, "drained after {taken}"),
            Said::Frame(other) => bail!("the directory says {other:?}"),
        }
        if waiting.len() == DELETE_AT_ONCE || (taken == count && !waiting.is_empty()) {
            let numbers = std::mem::take(&mut waiting);
            let signature = person.device.sign(&delete_message(ORIGIN, &numbers)).to_bytes().to_vec().into();
            send(&mut session, &ClientFrame::Delete { numbers, signature }).await?;
        }
    }
    Ok(since.elapsed())
}

fn envelope(to: &Registrant, number: usize) -> Vec<u8> {
    let mut ciphertext = vec![7; CIPHERTEXT_BYTES];
    ciphertext[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let to_device = DeviceId::of_key(&to.device.verifying_key().to_bytes());
    let (prekey_id, ttl) = (PrekeyId([7; 8]), MAX_TTL_SECONDS);
    Outer { suite: SUITE_HYBRID, to_device, prekey_id, ttl, ciphertext: &ciphertext, work: None }.encode()
}

enum Said {
    Mail(u64),
    Frame(ServerFrame),
}

async fn said(session: &mut Socket) -> Result<Said> {
    loop {
        match session.next().await.context("the session ended")?? {
            Message::Text(text) => return Ok(Said::Frame(serde_json::from_str(&text)?)),
            Message::Binary(bytes) => return Ok(Said::Mail(decode_push(&bytes).context("a short push")?.0)),
            Message::Close(_) => bail!("the session was closed"),
            _ => {}
        }
    }
}

async fn send(session: &mut Socket, frame: &ClientFrame) -> Result<()> {
    Ok(session.send(Message::text(serde_json::to_string(frame)?)).await?)
}
