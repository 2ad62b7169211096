//! One run of the program: its global flags, its output, its connection.

use std::hash::BuildHasher;
use std::path::PathBuf;
use std::time::Duration;

use proto::rpc::client::Client;
use proto::rpc::methods::{AccountWhoami, ContactList, Method, SystemHello};
use proto::rpc::types::{AccountInfo, AccountParams, Contact, HelloParams, WhoParams};
use tokio::time::Instant;

use crate::cli::Globals;
use crate::failure::{Exit, Failure};
use crate::names::{self, Labels};
use crate::output::{Out, note, say};
use crate::socket;

/// First pause before connecting again: a restarting daemon is back soon.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long a place at a daemon that has none is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// After so long it is said that one waits.
const SILENCE: Duration = Duration::from_secs(2);

/// Between 0.5 and 1, another one each time.
fn spread() -> f64 {
    // Keyed by the system's randomness; chatctl has no other use for any.
    let random = std::hash::RandomState::new().hash_one(0);
    0.5 + f64::from(random as u32) / f64::from(u32::MAX) / 2.0
}

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

    /// A new connection in place of one that ended. A daemon that serves as many clients as it can is asked again for
    /// [`PATIENCE`].
    pub async fn reconnect(&mut self) -> Result<Client, Failure> {
        self.client = None;
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut told = false;
        loop {
            let busy = match self.admitted().await {
                Err(failure) if failure.is_busy() && began.elapsed() < PATIENCE => failure,
                result => return Ok(self.client.insert(result?).clone()),
            };
            if began.elapsed() > SILENCE && !std::mem::replace(&mut told, true) {
                say(&format!("{busy}; waiting for a place"));
            }
            // Not all of those that wait come back at the same moment.
            tokio::time::sleep(pause.mul_f64(spread())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A connection that the daemon has taken: whoever is turned away hears it in answer to the first request, which is
    /// this one and changes nothing.
    async fn admitted(&self) -> Result<Client, Failure> {
        let client = socket::connect(self.socket.as_deref()).await?;
        let hello = HelloParams { client: concat!("chatctl ", env!("CARGO_PKG_VERSION")).to_owned() };
        client.call::<SystemHello>(&hello).await?;
        Ok(client)
    }

    /// A new connection, for as long as it takes until a daemon is there again.
    ///
    /// # Errors
    /// When one answers but refuses.
    pub async fn wait_for_daemon(&mut self) -> Result<Client, Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.reconnect().await {
                Err(failure) if failure.is_disconnect() || failure.is_busy() => {}
                result => return result,
            }
        }
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
