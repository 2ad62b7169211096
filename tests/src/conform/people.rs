//! Who is there.

use anyhow::{Result, bail, ensure};
use proto::directory::api::{Base64, ClientFrame, GuestHello, ServerFrame, Watch, token_hash};
use proto::ids::{AccountId, hex};

use super::cases::gone;
use super::target::{Outcome, Session, Target};

pub async fn presence(target: &Target) -> Result<Outcome> {
    let mut http = target.http().await?;
    let (alice, bob) = (target.registered(&mut http).await?, target.registered(&mut http).await?);
    let token = [7; 32];
    give(target, &mut http, &alice, &token).await?;
    let (mut member, _) = target.session(&mut http, &bob).await?;
    let mut guest = target.open().await?;
    guest.say(&GuestHello { guest: true, node: None }).await?;
    let ServerFrame::Welcome { .. } = guest.frame().await? else { bail!("a guest is not welcome") };
    let watch = |token: &[u8; 32]| ClientFrame::Watch {
        accounts: vec![Watch { account: alice.account(), token: Base64(token.to_vec()) }],
    };
    for session in [&mut member, &mut guest] {
        session.say(&watch(&[8; 32])).await?;
        ensure!(!online(session, alice.account()).await?, "with a wrong token she looks online");
        session.say(&watch(&token)).await?;
        ensure!(!online(session, alice.account()).await?, "she is not there yet");
    }
    let (hers, _) = target.session(&mut http, &alice).await?;
    for session in [&mut member, &mut guest] {
        ensure!(online(session, alice.account()).await?, "she came");
    }
    hers.close().await;
    for session in [&mut member, &mut guest] {
        ensure!(!online(session, alice.account()).await?, "she went");
    }
    // A guest may do nothing else.
    guest.say(&ClientFrame::Mailbox).await?;
    let ServerFrame::Error { .. } = guest.frame().await? else { bail!("a guest has a mailbox") };
    member.close().await;
    guest.close().await;
    gone(target, &mut http, &[&alice, &bob]).await
}

async fn online(session: &mut Session, who: AccountId) -> Result<bool> {
    match session.frame().await? {
        ServerFrame::Presence { account, online, .. } if account == who => Ok(online),
        other => bail!("in the place of presence: {other:?}"),
    }
}

/// Lets an account honour a token.
pub async fn give(
    target: &Target,
    http: &mut crate::http::Http,
    who: &crate::registry::Registrant,
    token: &[u8; 32],
) -> Result<()> {
    let (mut session, _) = target.session(http, who).await?;
    session.say(&ClientFrame::Tokens { add: vec![hex(&token_hash(token))], remove: vec![] }).await?;
    let ServerFrame::TokensStored { count: 1 } = session.frame().await? else { bail!("a token is not stored") };
    session.close().await;
    Ok(())
}
