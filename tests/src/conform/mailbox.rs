//! Mailboxes.

use anyhow::{Context, Result, bail, ensure};
use proto::directory::api::{
    Base64, ClientFrame, DEPOSIT_TOKEN_HEADER, DepositAnswer, ErrorCode, MAX_DEPOSIT_BYTES, ServerFrame, decode_push,
    delete_message,
};
use proto::ids::{DeviceId, PrekeyId};
use proto::wire::envelope::Outer;

use super::cases::gone;
use super::people::give;
use super::target::{Outcome, Said, Session, Target, expect, refused};
use crate::registry::Registrant;

const TOKEN: [u8; 32] = [9; 32];

fn with(token: &[u8; 32]) -> String {
    format!("{DEPOSIT_TOKEN_HEADER}: {}\r\n", Base64::text(token))
}

/// The outside of an envelope is all that a directory looks at.
fn envelope(to: &Registrant, text: &[u8]) -> Vec<u8> {
    let to_device = DeviceId::of_key(&to.device.verifying_key().to_bytes());
    Outer { suite: 2, to_device, prekey_id: PrekeyId([7; 8]), ttl: 86_400, ciphertext: text, work: None }.encode()
}

/// What lies there, until it is said that this is all.
async fn drain(session: &mut Session) -> Result<Vec<(u64, Vec<u8>)>> {
    session.say(&ClientFrame::Mailbox).await?;
    let mut mail = Vec::new();
    loop {
        match session.said().await? {
            Said::Mail(bytes) => {
                let (number, envelope) = decode_push(&bytes).context("a push that is none")?;
                mail.push((number, envelope.to_vec()));
            }
            Said::Frame(ServerFrame::Drained { .. }) => return Ok(mail),
            Said::Frame(other) => bail!("in the place of mail: {other:?}"),
        }
    }
}

pub async fn mailbox(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let bob = target.registered(&mut http).await?;
    give(target, &mut http, &bob, &TOKEN).await?;
    let path = format!("/v1/mailbox/{}", bob.account());
    let sent: Vec<Vec<u8>> = (0..3_u8).map(|n| envelope(&bob, &[n; 100])).collect();
    let mut last = 0;
    for envelope in &sent {
        let answer = http.request("POST", &path, &with(&TOKEN), Some(envelope)).await?;
        expect(&answer, 201, "a deposit")?;
        let left: DepositAnswer = answer.json()?;
        ensure!(left.number > last, "numbers do not grow: {} after {last}", left.number);
        last = left.number;
    }
    let (mut session, _) = target.session(&mut http, &bob).await?;
    let mail = drain(&mut session).await?;
    ensure!(mail.iter().map(|(_, envelope)| envelope).eq(&sent), "not what was left, in its order");
    let numbers: Vec<u64> = mail.iter().map(|(number, _)| *number).collect();
    // Signed by somebody else it goes nowhere.
    let signature = |who: &Registrant| Base64(who.sign(&delete_message(&target.origin, &numbers)));
    let stranger = target.person()?;
    session.say(&ClientFrame::Delete { numbers: numbers.clone(), signature: signature(&stranger) }).await?;
    let ServerFrame::Error { .. } = session.frame().await? else { bail!("somebody else deletes it") };
    session.say(&ClientFrame::Delete { numbers: numbers.clone(), signature: signature(&bob) }).await?;
    match session.frame().await? {
        ServerFrame::Deleted { numbers: gone } if gone == numbers => {}
        other => bail!("in the place of a deletion: {other:?}"),
    }
    session.close().await;
    let (mut session, _) = target.session(&mut http, &bob).await?;
    ensure!(drain(&mut session).await?.is_empty(), "what was deleted lies there");
    session.close().await;
    gone(target, &mut http, &[&bob]).await
}

pub async fn refusals(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (bob, nobody) = (target.registered(&mut http).await?, target.person()?);
    let path = |who: &Registrant| format!("/v1/mailbox/{}", who.account());
    let answer = http.request("POST", &path(&bob), &with(&[1; 32]), Some(&envelope(&bob, b"x"))).await?;
    refused(&answer, 403, ErrorCode::TokenRevoked, "a token that nobody gave")?;
    give(target, &mut http, &bob, &TOKEN).await?;
    let answer = http.request("POST", &path(&bob), &with(&TOKEN), Some(&envelope(&nobody, b"x"))).await?;
    refused(&answer, 404, ErrorCode::NotFound, "an envelope for a device of somebody else")?;
    let answer = http.request("POST", &path(&nobody), &with(&TOKEN), Some(&envelope(&nobody, b"x"))).await?;
    ensure!(matches!(answer.status, 403 | 404), "for nobody: {} {}", answer.status, answer.text());
    let answer = http.request("POST", &path(&bob), &with(&TOKEN), Some(b"no envelope")).await?;
    refused(&answer, 400, ErrorCode::Malformed, "no envelope")?;
    // Under the policy `members` an envelope of somebody else is none of a member's.
    let answer = http.request("POST", &path(&bob), "", Some(&envelope(&bob, b"x"))).await?;
    refused(&answer, 403, ErrorCode::NotAllowed, "an envelope of a stranger")?;
    let large =
        target.http().await?.request("POST", &path(&bob), &with(&TOKEN), Some(&vec![0; MAX_DEPOSIT_BYTES + 1])).await;
    if let Ok(answer) = large {
        refused(&answer, 413, ErrorCode::TooLarge, "an envelope that is too large")?;
    }
    gone(target, &mut http, &[&bob]).await
}
