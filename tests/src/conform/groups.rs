//! Logs of groups.

use anyhow::{Context, Result, bail, ensure};
use proto::directory::api::{ClientFrame, ErrorCode, ServerFrame};
use proto::directory::groups::access::read_token;
use proto::directory::groups::api::{EntriesAnswer, GroupAnswer, KeeperAnswer, SlotsAnswer, StagedAnswer};
use proto::directory::groups::{Append, EntryKind, MAX_ENTRY_BYTES, Pushed, Running, entry_hash};

use super::cases::gone;
use super::target::{Outcome, Said, Session, Target, expect, refused};
use crate::http::Http;
use crate::registry::{Registrant, nonce};
use crate::team::{Team, event, key, public, with_bearer, with_token};

const SWITCHED_OFF: &str = "the operator lets nobody make logs";

/// Somebody who has made a log, her session and its token; nothing if the operator wants no logs.
async fn founded(target: &Target, http: &mut Http) -> Result<(Registrant, Session, String, Option<Team>)> {
    let alice = target.registered(http).await?;
    let (session, token) = target.session(http, &alice).await?;
    let team = Team::new(alice.name.as_str());
    let answer = team.create(http, &token).await?;
    if answer.status == 403 {
        return Ok((alice, session, token, None));
    }
    expect(&answer, 201, "a new log")?;
    Ok((alice, session, token, Some(team)))
}

/// Gives the log and the name up, so that nothing of a case is left.
async fn over(
    target: &Target,
    http: &mut Http,
    who: (Registrant, Session, String),
    team: Option<Team>,
) -> Result<Outcome> {
    let (alice, session, token) = who;
    if let Some(team) = &team {
        let answer = http.request("DELETE", &team.path(""), &with_bearer(&token), None).await?;
        expect(&answer, 200, "a log is given up")?;
        let answer = http.request("GET", &team.path(""), &team.reads(), None).await?;
        refused(&answer, 404, ErrorCode::NotFound, "a log that is gone")?;
    }
    session.close().await;
    gone(target, http, &[&alice]).await?;
    Ok(if team.is_some() { Outcome::Passed } else { Outcome::Skipped(SWITCHED_OFF) })
}

pub async fn log(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, session, token, team) = founded(target, &mut http).await?;
    let Some(team) = team else { return over(target, &mut http, (alice, session, token), None).await };
    expect(&team.create(&mut http, &token).await?, 200, "the same log again")?;
    let by_nobody = Team::new("nobody's").create(&mut http, "AAAA").await?;
    refused(&by_nobody, 403, ErrorCode::NotAllowed, "a log of no member")?;
    let mut texts = Vec::new();
    let mut running = Running::start(team.log);
    for n in 0..3_u8 {
        // With a session, and with the token alone, as somebody of another domain would.
        let headers = if n == 1 { with_bearer(&token) } else { String::new() };
        let text = vec![n; 1_000];
        let added = team.say(&mut http, &headers, &text).await?;
        running = running.with(&entry_hash(EntryKind::Message, &text));
        ensure!((added.number, added.hash.0) == (running.number, running.hash), "another number or hash: {added:?}");
        texts.push((added.number, Some(text)));
    }
    let again = Append::new(EntryKind::Message, vec![1; 1_000]);
    let answer = team.append(&mut http, "", &again).await?;
    expect(&answer, 200, "the same entry again")?;
    let (found, place) = team.read(&mut http, Running::start(team.log)).await?;
    ensure!(found == texts && place == running, "not what was appended, in its order");
    let answer = http.request("GET", &team.path(""), &team.reads(), None).await?;
    expect(&answer, 200, "the log")?;
    let head: GroupAnswer = answer.json()?;
    ensure!(head.head.is_some_and(|head| head.number == 3) && head.event == 0, "another head: {head:?}");
    for (path, headers) in [("", String::new()), ("", with_token(&[0; 32])), ("/entries", team.writes())] {
        let answer = http.request("GET", &team.path(path), &headers, None).await?;
        let (status, code) = if headers.is_empty() { (400, ErrorCode::Malformed) } else { (404, ErrorCode::NotFound) };
        refused(&answer, status, code, "a token that reads nothing")?;
    }
    let large = Append::new(EntryKind::Message, vec![7; MAX_ENTRY_BYTES]);
    expect(&team.append(&mut http, "", &large).await?, 201, "the largest entry")?;
    let larger = Append::new(EntryKind::Message, vec![7; MAX_ENTRY_BYTES + 1]);
    refused(&team.append(&mut http, "", &larger).await?, 400, ErrorCode::Malformed, "a larger one")?;
    over(target, &mut http, (alice, session, token), Some(team)).await
}

pub async fn events(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, session, token, team) = founded(target, &mut http).await?;
    let Some(team) = team else { return over(target, &mut http, (alice, session, token), None).await };
    team.added(&mut http, "", &event(0, b"genesis")).await?;
    let answer = team.stage(&mut http, "", b"seeds").await?;
    expect(&answer, 201, "keys that are staged")?;
    let staged: StagedAnswer = answer.json()?;
    ensure!(staged.hash.0 == entry_hash(EntryKind::Keys, b"seeds") && staged.expires_in > 0, "{staged:?}");
    ensure!(team.page(&mut http, 0, 10).await?.entries.len() == 1, "what is staged is read");
    let add = Append { staged: vec![staged.hash.0], ..event(1, b"add") };
    ensure!(team.added(&mut http, "", &add).await?.number == 3, "the keys are not before their event");
    let lost = team.append(&mut http, "", &event(1, b"another")).await?;
    let lost = refused(&lost, 409, ErrorCode::LostRace, "an event that is not the next")?;
    let newer = lost.error.newer;
    ensure!(newer.len() == 1 && newer[0].number == 3, "what came first is not told: {newer:?}");
    expect(&team.append(&mut http, "", &event(3, b"another")).await?, 201, "the next event")?;
    over(target, &mut http, (alice, session, token), Some(team)).await
}

/// The next entry that is pushed.
async fn pushed(session: &mut Session) -> Result<(u64, Vec<u8>)> {
    match session.said().await? {
        Said::Mail(bytes) => {
            let pushed = Pushed::decode(&bytes).context("a push that is none of a log")?;
            Ok((pushed.number, pushed.entry.ok().context("a hash in the place of an entry")?.to_vec()))
        }
        Said::Frame(other) => bail!("in the place of an entry: {other:?}"),
    }
}

pub async fn push(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, mut session, token, team) = founded(target, &mut http).await?;
    let Some(team) = team else { return over(target, &mut http, (alice, session, token), None).await };
    team.say(&mut http, "", b"one").await?;
    let mut guest = target.open().await?;
    guest.say(&serde_json::json!({"guest": true})).await?;
    ensure!(matches!(guest.frame().await?, ServerFrame::Welcome { .. }), "a guest is not welcome");
    let read = read_token(&team.seed).to_vec();
    let follow = |token: Vec<u8>| ClientFrame::Follow { log: team.log, token: token.into(), after: 0 };
    for one in [&mut session, &mut guest] {
        one.say(&follow(vec![0; 32])).await?;
        ensure!(one.frame().await? == ServerFrame::Gone { log: team.log }, "a guessed token follows");
        one.say(&follow(read.clone())).await?;
        let head = one.frame().await?;
        ensure!(matches!(head, ServerFrame::Head { number: Some(1), .. }), "another head: {head:?}");
        ensure!(pushed(one).await? == (1, b"one".to_vec()), "another entry");
    }
    team.say(&mut http, "", b"two").await?;
    for one in [&mut session, &mut guest] {
        ensure!(pushed(one).await? == (2, b"two".to_vec()), "what came is not pushed");
        one.say(&ClientFrame::Read { log: team.log, upto: 2 }).await?;
    }
    guest.close().await;
    over(target, &mut http, (alice, session, token), Some(team)).await
}

pub async fn tokens(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, session, token, team) = founded(target, &mut http).await?;
    let Some(old) = team else { return over(target, &mut http, (alice, session, token), None).await };
    let mut team = old.clone();
    team.added(&mut http, "", &event(0, b"genesis")).await?;
    team.say(&mut http, "", b"before").await?;
    let device = key(alice.name.as_str());
    expect(&team.put_slot(&mut http, &device, 1, b"marks").await?, 200, "a slot")?;
    team.turn(9);
    let forged = Team { log_key: key("mallory"), ..team.clone() }.header()?;
    let answer = team.state(&mut http, "", None, Some(forged)).await?;
    refused(&answer, 403, ErrorCode::BadSignature, "a header of somebody else")?;
    let removed = Append { header: Some(team.header()?), ..event(1, b"removed") };
    // By the token that it replaces.
    old.added(&mut http, "", &removed).await?;
    let seen: EntriesAnswer = old.page(&mut http, 0, 10).await?;
    let numbers: Vec<u64> = seen.entries.iter().map(|entry| entry.number).collect();
    ensure!(numbers == [1, 3] && seen.head.is_none(), "an old token reads {numbers:?}");
    let answer = old.append(&mut http, "", &Append::new(EntryKind::Message, b"hello?".to_vec())).await?;
    refused(&answer, 403, ErrorCode::TokenRevoked, "an old token appends")?;
    expect(&old.put_slot(&mut http, &device, 2, b"what did I miss?").await?, 200, "its own slot")?;
    let answer = old.put_slot(&mut http, &key("another"), 1, b"").await?;
    refused(&answer, 403, ErrorCode::TokenRevoked, "another slot")?;
    let answer = http.request("GET", &team.path("/slots"), &team.reads(), None).await?;
    expect(&answer, 200, "slots")?;
    ensure!(answer.json::<SlotsAnswer>()?.slots.len() == 1, "not the one slot");
    over(target, &mut http, (alice, session, token), Some(team)).await
}

pub async fn keeper(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, session, token, team) = founded(target, &mut http).await?;
    let Some(team) = team else { return over(target, &mut http, (alice, session, token), None).await };
    team.say(&mut http, &with_bearer(&token), b"of a member").await?;
    team.say(&mut http, "", b"of somebody").await?;
    let asked = nonce(&mut http).await?;
    let answer = team.keep(&mut http, &asked, false, &[1, 2, 9], &[]).await?;
    expect(&answer, 200, "the log key asks who wrote")?;
    let told: KeeperAnswer = answer.json()?;
    ensure!(told.writers.len() == 2 && told.dropped == 0, "{told:?}");
    ensure!(told.writers[0].account == Some(alice.account()) && told.writers[1].account.is_none(), "{told:?}");
    let mallory = Team { log_key: key("mallory"), ..team.clone() };
    let asked = nonce(&mut http).await?;
    let answer = mallory.keep(&mut http, &asked, true, &[1], &[public(&key("x"))]).await?;
    refused(&answer, 403, ErrorCode::BadSignature, "another key drops")?;
    let asked = nonce(&mut http).await?;
    let answer = team.keep(&mut http, &asked, true, &[2], &[]).await?;
    ensure!(answer.json::<KeeperAnswer>()?.dropped == 1, "nothing was dropped");
    let (found, _) = team.read(&mut http, Running::start(team.log)).await?;
    ensure!(found == [(1, Some(b"of a member".to_vec())), (2, None)], "not the hash alone: {found:?}");
    over(target, &mut http, (alice, session, token), Some(team)).await
}
