//! One run of the program: its global flags, its output, its connection.

use std::hash::BuildHasher;
use std::path::PathBuf;
use std::time::Duration;

use proto::rpc::client::Client;
use proto::rpc::methods::{AccountWhoami, ContactShow, MessageUnread, Method, SystemHello};
use proto::rpc::secret::Secret;
use proto::rpc::types::{
    AccountInfo, AccountParams, Contact, ContactsResult, HelloParams, PageParams, UnreadResult, WhoParams,
};
use tokio::time::Instant;

use crate::client::names;
use crate::client::socket;
use crate::failure::{Exit, Failure};
use crate::show::Look;
use crate::term::output::{Out, note, say};

/// Entries that one call lists at most.
const PAGE: u32 = 1_000;
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
    /// What it presents instead of its user's rights.
    token: Option<Secret>,
    client: Option<Client>,
    /// Somebody has taken a connection of it.
    met: bool,
}

impl Session {
    /// A run for this account, at this socket, by this token, where they are given; connects when a verb first needs it.
    pub fn new(out: Out, account: Option<String>, socket: Option<PathBuf>, token: Option<String>) -> Self {
        let account = account.filter(|name| !name.is_empty());
        let socket = socket.filter(|path| !path.as_os_str().is_empty());
        let token = token.filter(|token| !token.is_empty()).map(Secret::from);
        Self { out, account, socket, token, client: None, met: false }
    }

    /// How messages are shown in this run.
    pub fn look(&self) -> Look {
        Look { ids: self.out.person }
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

    /// A new connection in place of one that ended, to the same socket: another daemon is another world. A daemon that serves
    /// as many clients as it can is asked again for [`PATIENCE`].
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
    async fn admitted(&mut self) -> Result<Client, Failure> {
        let (client, path) = socket::connect(self.socket.as_deref()).await?;
        self.met = true;
        let hello = HelloParams {
            client: concat!("chatctl ", env!("CARGO_PKG_VERSION")).to_owned(),
            token: self.token.clone(),
        };
        client.call::<SystemHello>(&hello).await?;
        self.socket = Some(path);
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

    /// Whether a daemon was there in this run, and be it that it went before it said a word.
    pub fn has_met_a_daemon(&self) -> bool {
        self.met
    }

    /// The socket in use, once there was a call.
    pub fn connected(&self) -> Option<&std::path::Path> {
        self.socket.as_deref()
    }

    /// One call.
    pub async fn call<M: Method>(&mut self, params: &M::Params) -> Result<M::Result, Failure> {
        Ok(self.client().await?.call::<M>(params).await?)
    }

    /// Whether the run acts by a token.
    pub fn by_token(&self) -> bool {
        self.token.is_some()
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
