//! One run of the program: its global flags, its output, its connection.

use std::path::PathBuf;

use proto::rpc::client::Client;
use proto::rpc::methods::{AccountWhoami, ContactShow, MessageUnread, Method};
use proto::rpc::types::{AccountInfo, AccountParams, Contact, ContactsResult, PageParams, UnreadResult, WhoParams};

use crate::cli::Globals;
use crate::failure::{Exit, Failure};
use crate::names;
use crate::output::{Out, note};
use crate::socket;

/// Entries that one call lists at most.
const PAGE: u32 = 1_000;

/// What every verb gets.
pub struct Session {
    /// Standard output.
    pub out: Out,
    account: Option<String>,
    socket: Option<PathBuf>,
    client: Option<Client>,
}

impl Session {
    /// A run with these flags; connects when a verb first needs it.
    pub fn new(globals: Globals) -> Self {
        let account = globals.account.filter(|name| !name.is_empty());
        let socket = globals.socket.filter(|path| !path.as_os_str().is_empty());
        Self { out: Out::new(globals.json), account, socket, client: None }
    }

    /// The connection.
    pub async fn client(&mut self) -> Result<Client, Failure> {
        match &self.client {
            Some(client) => Ok(client.clone()),
            None => self.reconnect().await,
        }
    }

    /// Keeps to the account in use until the run ends, whatever becomes the default, and whoever takes its name.
    pub async fn stay(&mut self) -> Result<(), Failure> {
        let account = self.whoami().await?;
        self.account = Some(names::by_id(account.id));
        Ok(())
    }

    /// A new connection in place of one that ended, to the same socket: another daemon is another world.
    pub async fn reconnect(&mut self) -> Result<Client, Failure> {
        self.client = None;
        let (client, path) = socket::connect(self.socket.as_deref()).await?;
        self.socket = Some(path);
        Ok(self.client.insert(client).clone())
    }

    /// One call.
    pub async fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Result, Failure> {
        Ok(self.client().await?.call::<M>(params).await?)
    }

    /// The account as the user named it, if so.
    pub fn account(&self) -> Option<String> {
        self.account.clone()
    }

    /// Parameters of methods that take nothing but the account.
    pub fn account_params(&self) -> AccountParams {
        AccountParams { account: self.account() }
    }

    /// Parameters of methods that take a person.
    pub fn who_params(&self, who: &str) -> WhoParams {
        WhoParams { account: self.account(), who: who.to_owned() }
    }

    /// The account in use, as the daemon knows it.
    pub async fn whoami(&mut self) -> Result<AccountInfo, Failure> {
        let params = self.account_params();
        self.call::<AccountWhoami>(&params).await
    }

    /// The own address, to which names are relative; empty if the daemon does not tell, and then names are full.
    pub async fn home(&mut self) -> String {
        self.whoami().await.map(|account| account.address).unwrap_or_default()
    }

    /// Who is meant, once: what follows in the same run goes by the account.
    pub async fn person(&mut self, who: &str) -> Result<Contact, Failure> {
        let params = self.who_params(who);
        self.call::<ContactShow>(&params).await
    }

    /// The contact under `--json`, else what `text` says of the form that names it.
    pub async fn tell(&mut self, contact: &Contact, text: impl FnOnce(&str) -> String) -> Result<Exit, Failure> {
        self.out.either(contact, |_, contact| {
            note(&text(&contact.who));
            Ok(())
        })?;
        Ok(Exit::Ok)
    }

    /// All contacts that a list has, page by page.
    pub async fn contacts<M>(&mut self) -> Result<ContactsResult, Failure>
    where
        M: Method<Params = PageParams, Result = ContactsResult>,
    {
        let mut params = self.first_page();
        let mut all = ContactsResult { contacts: Vec::new(), next: None };
        loop {
            let page = self.call::<M>(&params).await?;
            all.contacts.extend(page.contacts);
            if page.next.is_none() || page.next == params.after {
                return Ok(all);
            }
            params.after = page.next;
        }
    }

    /// All conversations with unread messages, page by page.
    pub async fn unread(&mut self) -> Result<UnreadResult, Failure> {
        let mut params = self.first_page();
        let mut all = UnreadResult { conversations: Vec::new(), total: 0, next: None };
        loop {
            let page = self.call::<MessageUnread>(&params).await?;
            all.conversations.extend(page.conversations);
            all.total = page.total;
            if page.next.is_none() || page.next == params.after {
                return Ok(all);
            }
            params.after = page.next;
        }
    }

    fn first_page(&self) -> PageParams {
        PageParams { account: self.account(), after: None, limit: Some(PAGE) }
    }
}
