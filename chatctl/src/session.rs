//! One run of the program: its global flags, its output, its connection.

use std::path::PathBuf;

use proto::rpc::client::Client;
use proto::rpc::methods::{AccountWhoami, ContactList, Method};
use proto::rpc::types::{AccountInfo, AccountParams, Contact, WhoParams};

use crate::cli::Globals;
use crate::failure::{Exit, Failure};
use crate::names::{self, Labels};
use crate::output::{Out, note};
use crate::socket;

/// What every verb gets.
pub struct Session {
    /// Standard output.
    pub out: Out,
    account: Option<String>,
    socket: Option<PathBuf>,
    client: Option<Client>,
    connected: Option<PathBuf>,
}

impl Session {
    /// A run with these flags; connects when a verb first needs it.
    pub fn new(globals: Globals) -> Self {
        let account = globals.account.filter(|name| !name.is_empty());
        let socket = globals.socket.filter(|path| !path.as_os_str().is_empty());
        Self { out: Out::new(globals.json), account, socket, client: None, connected: None }
    }

    /// The connection.
    pub async fn client(&mut self) -> Result<Client, Failure> {
        match &self.client {
            Some(client) => Ok(client.clone()),
            None => self.reconnect().await,
        }
    }

    /// A new connection in place of one that ended.
    pub async fn reconnect(&mut self) -> Result<Client, Failure> {
        self.client = None;
        let (client, path) = socket::connect(self.socket.as_deref()).await?;
        self.connected = Some(path);
        Ok(self.client.insert(client).clone())
    }

    /// The socket in use, once there was a call.
    pub fn connected(&self) -> Option<&std::path::Path> {
        self.connected.as_deref()
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

    /// The contact under `--json`, else what `text` says of the name by which its owner calls it.
    pub async fn tell(&mut self, contact: &Contact, text: impl FnOnce(&str) -> String) -> Result<Exit, Failure> {
        if self.out.json {
            self.out.object(contact)?;
        } else {
            let home = self.home().await;
            note(&text(names::called(contact, &home)));
        }
        Ok(Exit::Ok)
    }

    /// The labels of all contacts, for people; none under `--json`.
    pub async fn labels(&mut self) -> Result<Labels, Failure> {
        if self.out.json {
            return Ok(Labels::default());
        }
        let params = self.account_params();
        let contacts = self.call::<ContactList>(&params).await?.contacts;
        if contacts.iter().all(|contact| contact.label.is_none()) {
            return Ok(Labels::default());
        }
        let home = self.home().await;
        Ok(Labels::new(contacts, &home))
    }
}
