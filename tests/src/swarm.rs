//! A crowd: many accounts spread over a few daemons, driven through the RPC client, because a process for every step
//! of a thousand people would take minutes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::rpc::client::Client;
use proto::rpc::methods::{AccountRegister, ContactAccept, ContactAdd, ContactRequests, MessageSend, MessageWait};
use proto::rpc::types::{
    ContactAddParams, MessageState, PageParams, RegisterParams, SendParams, WaitParams, WhoParams,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::daemon::{Daemon, DaemonOptions};
use crate::directory::{Directory, DirectoryOptions};
use crate::place::Place;
use crate::wait::{DEADLINE, try_wait};

/// Steps that run at the same time: enough to keep two cores busy, far below every queue's bound.
const AT_ONCE: usize = 32;
/// A message of a crowd that has just started may wait for its turn this long.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(120);

/// A directory, a few daemons and many accounts.
#[derive(Debug)]
pub struct Swarm {
    names: Vec<String>,
    /// The daemons; person `i` is on daemon `i % daemons`.
    pub daemons: Vec<Daemon>,
    /// The directory.
    pub directory: Directory,
}

/// One person: a name, and a client of its daemon.
#[derive(Clone)]
struct Person {
    name: String,
    client: Client,
}

impl Swarm {
    /// Starts a directory and `daemons` daemons with room for `people` accounts.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn try_start(people: usize, daemons: usize) -> Result<Self> {
        let place = Arc::new(Place::new()?);
        let directory = Directory::try_start(DirectoryOptions::default().place(&place))?;
        let daemons = daemons.clamp(1, people.max(1));
        let cap = people.div_ceil(daemons);
        let start = |number: usize| {
            let options = DaemonOptions::new(&format!("node{number}"), directory.url()).place(&place);
            Daemon::try_start(options.config(&format!("[limits]\naccounts_per_uid = {cap}\n")))
        };
        let daemons: Vec<Daemon> = (1..=daemons).map(start).collect::<Result<_>>()?;
        Ok(Self { names: (0..people).map(person_name).collect(), daemons, directory })
    }

    /// The people's names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The daemon of person `index`.
    pub fn daemon_of(&self, index: usize) -> &Daemon {
        &self.daemons[index % self.daemons.len()]
    }

    /// Registers everybody, telling `progress` after each.
    ///
    /// # Errors
    /// When one registration fails.
    pub async fn register_all(&self, progress: impl FnMut(usize)) -> Result<()> {
        let people = self.people().await?;
        for_each(people.into_iter().map(register), progress).await
    }

    /// Has everybody ask the next one, the next one accept, and a message go to the next one; telling `progress` after
    /// each delivery.
    ///
    /// # Errors
    /// When one of them fails.
    pub async fn ring(&self, progress: impl FnMut(usize)) -> Result<()> {
        let people = self.people().await?;
        let next = people.iter().cycle().skip(1).cloned();
        let pairs: Vec<_> = people.iter().cloned().zip(next).map(|(from, to)| greet(from, to)).collect();
        for_each(pairs, progress).await
    }

    async fn people(&self) -> Result<Vec<Person>> {
        let mut clients = Vec::new();
        for daemon in &self.daemons {
            clients.push(Client::connect(daemon.socket()).await.context("cannot connect to a daemon")?);
        }
        let person = |(index, name): (usize, &String)| {
            let client = clients.get(index % clients.len().max(1)).context("no daemon")?;
            Ok(Person { name: name.clone(), client: client.clone() })
        };
        self.names.iter().enumerate().map(person).collect()
    }
}

async fn for_each<F>(steps: impl IntoIterator<Item = F>, mut progress: impl FnMut(usize)) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for step in steps {
        let room = Arc::clone(&room);
        running.spawn(async move {
            let _turn = room.acquire_owned().await.context("the semaphore is closed")?;
            step.await
        });
    }
    let mut done = 0;
    while let Some(ended) = running.join_next().await {
        ended.context("a step panicked")??;
        done += 1;
        progress(done);
    }
    Ok(())
}

async fn register(person: Person) -> Result<()> {
    let params = RegisterParams { name: person.name.clone(), ..RegisterParams::default() };
    let registered = person.client.call::<AccountRegister>(&params).await;
    registered.with_context(|| format!("cannot register {}", person.name)).map(drop)
}

async fn greet(from: Person, to: Person) -> Result<()> {
    let add = ContactAddParams { account: Some(from.name.clone()), who: to.name.clone(), message: None };
    from.client.call::<ContactAdd>(&add).await.with_context(|| format!("{} cannot ask {}", from.name, to.name))?;
    let waiting = PageParams { account: Some(to.name.clone()), ..PageParams::default() };
    let asked = try_wait(DEADLINE, || async {
        let requests = to.client.call::<ContactRequests>(&waiting).await.ok()?;
        requests.contacts.iter().any(|contact| contact.name == from.name).then_some(())
    });
    asked.await.with_context(|| format!("{} never saw the request of {}", to.name, from.name))?;
    let accept = WhoParams { account: Some(to.name.clone()), who: from.name.clone() };
    to.client.call::<ContactAccept>(&accept).await.with_context(|| format!("{} cannot accept", to.name))?;
    let body = format!("hello {}, this is {}", to.name, from.name);
    let send = SendParams { account: Some(from.name.clone()), to: to.name.clone(), body, ..SendParams::default() };
    let sent = from.client.call::<MessageSend>(&send).await.with_context(|| format!("{} cannot send", from.name))?;
    let timeout_ms = u64::try_from(DELIVERY_DEADLINE.as_millis())?;
    let wait = WaitParams { account: Some(from.name.clone()), id: sent.id, state: MessageState::Delivered, timeout_ms };
    let reached = from.client.call::<MessageWait>(&wait).await.context("cannot wait")?;
    let arrived = matches!(reached.state, MessageState::Delivered | MessageState::Read);
    ensure!(arrived, "{}'s message to {} is {:?}: {:?}", from.name, to.name, reached.state, reached.reason);
    Ok(())
}

/// Names of a crowd: alice, bob, carol, dave, then peer5, peer6 ...
pub fn person_name(index: usize) -> String {
    match ["alice", "bob", "carol", "dave"].get(index) {
        Some(name) => (*name).to_owned(),
        None => format!("peer{}", index + 1),
    }
}
