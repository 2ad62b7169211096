//! Names and records, lists and searches, reach, refusals.

use anyhow::{Context, Result, ensure};
use proto::directory::api::{
    Base64, DirectoryAnswer, ErrorCode, MAX_BODY_BYTES, NonceAnswer, PublishAnswer, PublishReachRequest,
    PublishRequest, ReachAnswer, RecordAnswer, UnregisterAnswer, UnregisterRequest, UsersPage, publish_message,
    unregister_message,
};
use proto::directory::membership::identity_message;
use proto::directory::{ContactPolicy, Reach, SignedReach, SignedRecord, verified};
use proto::ids::{DeviceId, NodeId, unhex};
use proto::time::Timestamp;

use super::target::{Outcome, Target, expect, refused};
use crate::http::Http;
use crate::registry::{Registrant, nonce};

const SWITCHED_OFF: &str = "the operator lets nobody list";

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

pub async fn identity(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let challenge = [0x5a; 32];
    let answer = http.get(&format!("/v1/directory?challenge={}", Base64::text(&challenge))).await?;
    expect(&answer, 200, "its identity")?;
    let shown: DirectoryAnswer = answer.json()?;
    ensure!(shown.origin == target.origin, "it is {} here and {} there", shown.origin, target.origin);
    let key = unhex(&shown.key).context("its key is none")?;
    let signature = shown.signature.context("it signs nothing")?.0;
    let signature = signature.try_into().ok().context("a signature has 64 bytes")?;
    ensure!(verified(&key, &identity_message(&shown.origin, &challenge), &signature), "its signature does not hold");
    Ok(Outcome::Passed)
}

pub async fn register(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let alice = target.person()?;
    let record = alice.signed(1)?;
    let answer = alice.publish_signed(&mut http, record.clone()).await?;
    expect(&answer, 201, "a new name")?;
    let published: PublishAnswer = answer.json()?;
    ensure!((published.account, published.seq) == (alice.account(), 1), "it stored something else: {published:?}");
    expect(&alice.publish_signed(&mut http, record).await?, 200, "the same again")?;
    expect(&alice.publish(&mut http, 2).await?, 200, "an update")?;
    let conflict = refused(&alice.publish(&mut http, 1).await?, 409, ErrorCode::Conflict, "an older record")?;
    ensure!(conflict.error.record.is_some(), "the stored record does not come along");
    let impostor = Registrant::new(alice.name.as_str(), "another", &target.origin)?;
    refused(&impostor.publish(&mut http, 3).await?, 409, ErrorCode::NameTaken, "another key")?;
    // Signed by a key that is not the record's.
    let mut forged = alice.clone();
    forged.identity = impostor.identity;
    refused(
        &forged.publish_signed(&mut http, alice.signed(3)?).await?,
        403,
        ErrorCode::BadSignature,
        "a forged signature",
    )?;
    gone(target, &mut http, &[&alice]).await
}

pub async fn look_up(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let alice = target.registered(&mut http).await?;
    let name = alice.name.as_str().to_owned();
    for path in [
        format!("/v1/records/{name}"),
        format!("/v1/records/{}", name.to_uppercase()),
        format!("/v1/accounts/{}", alice.account()),
    ] {
        let answer = http.get(&path).await?;
        expect(&answer, 200, &path)?;
        let found: RecordAnswer = answer.json()?;
        let record = SignedRecord::decode(&found.record)?.verify()?;
        ensure!(record.name == alice.name && record.account() == alice.account(), "{path}: somebody else's record");
        ensure!((Timestamp::now().unix_seconds() - found.time).abs() < 86_400, "{path}: its clock is a day off");
    }
    let nobody = target.person()?;
    for path in [format!("/v1/records/{}", nobody.name), format!("/v1/accounts/{}", nobody.account())] {
        refused(&http.get(&path).await?, 404, ErrorCode::NotFound, &path)?;
    }
    gone(target, &mut http, &[&alice]).await
}

pub async fn list(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, bob) = (target.registered(&mut http).await?, target.registered(&mut http).await?);
    let (session, token) = target.session(&mut http, &alice).await?;
    let (mut after, mut seen, mut pages) = (None::<String>, Vec::new(), 0);
    loop {
        let mut path = "/v1/users?limit=500".to_owned();
        if let Some(after) = &after {
            path.push_str(&format!("&after={}", encoded(after)));
        }
        let answer = http.request("GET", &path, &bearer(&token), None).await?;
        if answer.status == 403 {
            session.close().await;
            gone(target, &mut http, &[&alice, &bob]).await?;
            return Ok(Outcome::Skipped(SWITCHED_OFF));
        }
        expect(&answer, 200, &path)?;
        let page: UsersPage = answer.json()?;
        ensure!(page.users.windows(2).all(|two| two[0].name.as_str() < two[1].name.as_str()), "a page is not in order");
        seen.extend(page.users.into_iter().map(|user| user.account));
        pages += 1;
        ensure!(pages < 10_000, "the pages have no end");
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    for who in [&alice, &bob] {
        ensure!(
            seen.iter().filter(|account| **account == who.account()).count() == 1,
            "{} is not there once",
            who.name
        );
    }
    let none = http.get("/v1/users?limit=0").await?;
    ensure!(none.status != 200, "a page of nobody was given");
    session.close().await;
    gone(target, &mut http, &[&alice, &bob]).await
}

pub async fn search_by_name(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let alice = target.registered(&mut http).await?;
    let name = alice.name.as_str().to_owned();
    let names = |page: UsersPage| page.users.into_iter().map(|user| user.name.as_str().to_owned()).collect::<Vec<_>>();
    let answer = http.get(&format!("/v1/users?name={}", encoded(&name))).await?;
    expect(&answer, 200, "a whole name, asked for by anybody")?;
    ensure!(names(answer.json()?) == [name.clone()], "a whole name finds somebody else");
    let (session, token) = target.session(&mut http, &alice).await?;
    let part = name["conform-".len()..].to_uppercase();
    let answer = http.request("GET", &format!("/v1/users?query={}", encoded(&part)), &bearer(&token), None).await?;
    let outcome = if answer.status == 403 {
        Outcome::Skipped(SWITCHED_OFF)
    } else {
        expect(&answer, 200, "a part of a name")?;
        ensure!(names(answer.json()?).contains(&name), "a part of a name does not find it");
        Outcome::Passed
    };
    session.close().await;
    gone(target, &mut http, &[&alice]).await?;
    Ok(outcome)
}

/// A signed reach of somebody's device.
fn reach_of(who: &Registrant, address: &str) -> Result<Vec<u8>> {
    let reach = Reach {
        account: who.account(),
        device: DeviceId::of_key(&who.device.verifying_key().to_bytes()),
        node: NodeId(who.identity.verifying_key().to_bytes()),
        relay: None,
        addresses: vec![address.parse()?],
        seq: 1,
        issued: Timestamp::now().unix_seconds(),
    };
    Ok(SignedReach::sign(&reach, &who.device, &who.identity).context("cannot sign a reach")?.encode())
}

async fn put_reach(http: &mut Http, who: &Registrant, address: &str) -> Result<Vec<u8>> {
    let reach = reach_of(who, address)?;
    let body = serde_json::to_vec(&PublishReachRequest { reach: Base64(reach.clone()) })?;
    expect(&http.request("PUT", "/v1/reach", "", Some(&body)).await?, 200, "a reach")?;
    Ok(reach)
}

pub async fn search_by_address(target: &Target) -> Result<Outcome> {
    // Of a network for documentation (RFC 5737).
    const ADDRESS: &str = "192.0.2.177:4711";
    let mut http = target.http().await?;
    let (shown, hidden) = (target.person()?, target.registered(&mut http).await?);
    let mut record = shown.record(1);
    record.list_address = true;
    let record = SignedRecord::sign(&record, &shown.identity).context("cannot sign the record")?.encode();
    expect(&shown.publish_signed(&mut http, record).await?, 201, "who shows its address")?;
    for who in [&shown, &hidden] {
        put_reach(&mut http, who, ADDRESS).await?;
    }
    let (session, token) = target.session(&mut http, &shown).await?;
    let answer = http.request("GET", "/v1/users?address=192.0.2.177", &bearer(&token), None).await?;
    let outcome = if answer.status == 403 {
        Outcome::Skipped(SWITCHED_OFF)
    } else {
        expect(&answer, 200, "an address")?;
        let page: UsersPage = answer.json()?;
        ensure!(
            page.users.iter().any(|user| user.account == shown.account()),
            "who shows its address is not found by it"
        );
        ensure!(page.users.iter().all(|user| user.account != hidden.account()), "who shows no address is found by it");
        Outcome::Passed
    };
    session.close().await;
    gone(target, &mut http, &[&shown, &hidden]).await?;
    Ok(outcome)
}

pub async fn reach(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, bob, open) =
        (target.registered(&mut http).await?, target.registered(&mut http).await?, target.person()?);
    let mut record = open.record(1);
    record.policy = ContactPolicy::Open;
    let record = SignedRecord::sign(&record, &open.identity).context("cannot sign the record")?.encode();
    expect(&open.publish_signed(&mut http, record).await?, 201, "who is open")?;
    for who in [&alice, &open] {
        let reach = put_reach(&mut http, who, "192.0.2.1:1").await?;
        let (session, token) = target.session(&mut http, &bob).await?;
        let path = format!("/v1/reach/{}", who.account());
        let answer = http.request("GET", &path, &bearer(&token), None).await?;
        expect(&answer, 200, "asked for by a member")?;
        let told: ReachAnswer = answer.json()?;
        ensure!(told.reach.len() == 1 && told.reach[0].0 == reach, "another reach than was published");
        session.close().await;
    }
    let by_anybody = http.get(&format!("/v1/reach/{}", alice.account())).await?;
    refused(&by_anybody, 404, ErrorCode::NotFound, "a member's reach, asked for by anybody")?;
    expect(&http.get(&format!("/v1/reach/{}", open.account())).await?, 200, "an open one, asked for by anybody")?;
    gone(target, &mut http, &[&alice, &bob, &open]).await
}

pub async fn give_up(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let alice = target.registered(&mut http).await?;
    gone(target, &mut http, &[&alice]).await?;
    refused(&http.get(&format!("/v1/records/{}", alice.name)).await?, 404, ErrorCode::NotFound, "a name that rests")?;
    let other = Registrant::new(alice.name.as_str(), "another", &target.origin)?;
    let taken = refused(&other.publish(&mut http, 1).await?, 409, ErrorCode::NameTaken, "somebody else takes it")?;
    ensure!(taken.error.reserved_until.is_some(), "it is not said until when it rests");
    let back = alice.publish(&mut http, 2).await?;
    ensure!(matches!(back.status, 200 | 201), "its account does not get it back: {} {}", back.status, back.text());
    gone(target, &mut http, &[&alice]).await
}

pub async fn refusals(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let alice = target.person()?;
    let path = format!("/v1/records/{}", alice.name);
    for body in ["", "{", "{}", "[1,2,3]", "null"] {
        let answer = http.request("PUT", &path, "", Some(body.as_bytes())).await?;
        refused(&answer, 400, ErrorCode::Malformed, &format!("the body {body:?}"))?;
    }
    let record = alice.signed(1)?;
    let put = |nonce: &NonceAnswer, record: &[u8]| {
        let signature = alice.sign_as_identity(&publish_message(&nonce.origin, &nonce.nonce, record));
        let (record, nonce) = (Base64(record.to_vec()), nonce.nonce.clone());
        serde_json::to_vec(&PublishRequest { record, nonce, signature: Base64(signature), recovery: None })
    };
    let stale = NonceAnswer { nonce: Base64(vec![0; 24]), ..nonce(&mut http).await? };
    let answer = http.request("PUT", &path, "", Some(&put(&stale, &record)?)).await?;
    refused(&answer, 401, ErrorCode::StaleNonce, "a nonce that it never gave")?;
    let fresh = nonce(&mut http).await?;
    let answer = http.request("PUT", "/v1/records/somebody-else", "", Some(&put(&fresh, &record)?)).await?;
    ensure!(answer.status == 400, "a record under another name: {} {}", answer.status, answer.text());
    for name in ["a%20b", "%D0%B0lice", "-a", &"a".repeat(33)] {
        let answer = http.get(&format!("/v1/records/{name}")).await?;
        ensure!(matches!(answer.status, 400 | 404), "the name {name}: {} {}", answer.status, answer.text());
    }
    refused(&http.get("/v1/nothing").await?, 404, ErrorCode::NotFound, "a path that is not there")?;
    let answer = http.request("POST", "/v1/nonce", "", Some(b"{}")).await?;
    refused(&answer, 405, ErrorCode::Malformed, "a method that the path does not take")?;
    let answer = http.request("GET", "/v1/users", &bearer("AAAA"), None).await?;
    refused(&answer, 403, ErrorCode::NotAllowed, "a token of no session")?;
    let answer = http.request("GET", "/v1/nonce", "origin: https://conform.invalid\r\n", None).await?;
    refused(&answer, 403, ErrorCode::NotAllowed, "a page of somebody else")?;
    // Whatever it does with the connection, the body is not taken.
    if let Ok(answer) = target.http().await?.request("PUT", &path, "", Some(&vec![b' '; MAX_BODY_BYTES + 1])).await {
        refused(&answer, 413, ErrorCode::TooLarge, "a body that is too large")?;
    }
    Ok(Outcome::Passed)
}

/// Gives names up, so that nothing of a case is left.
pub async fn gone(target: &Target, http: &mut Http, people: &[&Registrant]) -> Result<Outcome> {
    for who in people {
        let nonce = nonce(http).await?;
        let signature = Base64(who.sign_as_identity(&unregister_message(&target.origin, &nonce.nonce)));
        let body = serde_json::to_vec(&UnregisterRequest { nonce: nonce.nonce, signature })?;
        let answer = http.request("DELETE", &format!("/v1/records/{}", who.name), "", Some(&body)).await?;
        expect(&answer, 200, "a name is given up")?;
        let told: UnregisterAnswer = answer.json()?;
        ensure!(told.reserved_until > told.time, "it rests no time at all");
    }
    Ok(Outcome::Passed)
}

/// As it stands in a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") }).collect()
}
