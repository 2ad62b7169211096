//! `chatctl export`: everything that the account has, as a stream of JSON objects.

use std::collections::BTreeMap;

use proto::rpc::methods::{AccountSettings, ConsumerList, ContactList, MessageHistory, ProfileShow, TokenList};
use proto::rpc::types::{HistoryParams, PageParams, ProfileShowParams, SettingsParams};
use serde::Serialize;

use crate::client::names;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::output::say;

/// Messages in one call.
const PAGE: u32 = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// One line: what it is, and the thing itself under that name.
#[derive(Serialize)]
struct Entry<'a, T> {
    kind: &'a str,
    #[serde(flatten)]
    thing: BTreeMap<&'a str, &'a T>,
}

fn print<T: Serialize>(session: &mut Session, kind: &str, thing: &T) -> Result<(), Failure> {
    Ok(session.out.object(&Entry { kind, thing: BTreeMap::from([(kind, thing)]) })?)
}

/// The last line: without it, the stream was cut off.
#[derive(Serialize)]
struct End {
    kind: &'static str,
    contacts: u64,
    messages: u64,
    /// Messages may be missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<String>,
}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    session.out.json = true;
    session.stay().await?;
    let account = session.whoami().await?;
    print(session, "account", &account)?;
    let params = SettingsParams { account: session.account(), read_receipts: None, lifetime: None };
    let settings = session.call::<AccountSettings>(&params).await?;
    print(session, "settings", &settings)?;
    let params = ProfileShowParams { account: session.account(), who: None };
    let profile = session.call::<ProfileShow>(&params).await?;
    print(session, "profile", &profile)?;
    let mut end = End { kind: "end", contacts: 0, messages: 0, damaged: None };
    let mut page = PageParams { account: session.account(), ..PageParams::default() };
    loop {
        let found = session.call::<ContactList>(&page).await?;
        for contact in found.contacts {
            print(session, "contact", &contact)?;
            end.contacts += 1;
            messages(session, names::by_id(contact.account), &mut end).await?;
        }
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    loop {
        let found = session.call::<ConsumerList>(&page).await?;
        for consumer in &found.consumers {
            print(session, "consumer", consumer)?;
        }
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    loop {
        let found = session.call::<TokenList>(&page).await?;
        for token in &found.tokens {
            print(session, "token", token)?;
        }
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    session.out.object(&end)?;
    match end.damaged {
        Some(damaged) => {
            say(&format!("messages may be missing: {damaged}"));
            Ok(Exit::Failed)
        }
        None => Ok(Exit::Ok),
    }
}

/// A conversation, page by page from its end: only one page is ever in memory.
async fn messages(session: &mut Session, who: String, end: &mut End) -> Result<(), Failure> {
    let mut params = HistoryParams { account: session.account(), who, limit: Some(PAGE), ..HistoryParams::default() };
    loop {
        let page = session.call::<MessageHistory>(&params).await?;
        for message in page.messages.iter().rev() {
            print(session, "message", message)?;
            end.messages += 1;
        }
        end.damaged = page.damaged.or(end.damaged.take());
        params.before = page.messages.first().map(|message| message.id);
        if !page.more || params.before.is_none() {
            return Ok(());
        }
    }
}
