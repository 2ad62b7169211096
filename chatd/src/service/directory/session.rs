//! An account's life with its directory: it follows the session, and tells it what it has to know.
//!
//! Not its job: the connection itself (`crate::directory::session`); what is told (`subscriptions`, `publisher`).

use std::sync::Arc;
use std::time::Duration;

use proto::directory::api;
use proto::ids::AccountId;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::subscriptions::{Told, changed_tokens, sync};
use super::{mailbox, membership, publisher};
use crate::delivery::News;
use crate::directory::Place;
use crate::directory::session::{self, Counted, SessionCommand, SessionEvent};
use crate::model::{Standing, Trouble};
use crate::service::account::state::{SessionState, Stops};
use crate::service::account::{Account, clock};
use crate::service::context::Service;
use crate::service::error::ServiceError;
use crate::store::delivery::deposits;
use crate::store::log::recovery::epochs;
use crate::store::{account, emit, peers};

/// Commands to the session that wait at most.
pub(in crate::service) const COMMANDS: usize = 64;
/// Events of the session that wait at most.
const EVENTS: usize = 64;
/// Tokens, watches and names are brought up to date this often at most while contacts change.
const SYNC_PAUSE: Duration = Duration::from_millis(200);
/// A watch that told nothing is asked again after this, and after twice as long each time: the other side's token may have been on
/// its way.
const UNSURE_PAUSE: Duration = Duration::from_secs(2);
/// Up to so many times the pause; later changes of contacts begin anew. Of thousands who are gone each answer costs something.
const UNSURE_PAUSES: u32 = 32;
/// How long going online waits for the directory to hear where we are.
const FIRST_REACH: Duration = Duration::from_secs(2);

/// Whether a directory is on this machine, by the word of whoever named it.
pub(in crate::service) fn is_local(place: &str) -> bool {
    Place::parse(place).is_ok_and(|place| place.is_near())
}

/// What runs for a session.
pub(in crate::service) struct Parts<C, M, S> {
    /// The connection.
    pub connection: C,
    /// What empties the mailbox.
    pub mailbox: M,
    /// What follows the session.
    pub session: S,
}

/// The parts of an account's session; `None` without a directory. The connection ends last: by its own token.
pub(in crate::service) fn parts(
    service: &Service,
    account: &Arc<Account>,
    origin: &str,
    (last_words, commands): (mpsc::Sender<SessionCommand>, mpsc::Receiver<SessionCommand>),
    stops: &Stops,
) -> Option<Parts<impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>, impl Future<Output = ()> + use<>>>
{
    let client = account.directory.clone()?;
    let (events_in, events) = mpsc::channel(EVENTS);
    let (mail_in, mail_queue) = mpsc::channel(session::MAIL_QUEUE);
    let outlets = session::Outlets { events: events_in, mail: mail_in };
    let device_key = account.keys.device.clone();
    let sign: session::SessionSign = Arc::new(move |message: &[u8]| device_key.sign(&[message]));
    let store = account.store.clone();
    let number: session::SessionNumber = Arc::new(move || {
        let store = store.clone();
        Box::pin(async move {
            let given = store.write(account::next_session).await;
            // The directory counts, then, as well as it can.
            given.inspect_err(|error| tracing::warn!(%error, "the session has no number of this device")).ok()
        })
    });
    let member = session::Member { account: account.id, device: account.device, origin: origin.to_owned() };
    let stop = stops.connection.clone();
    let first = (service.clone(), Arc::clone(account));
    let connection = async move {
        // Who is told that we are online asks at once where we are: that must be known first. A directory that cannot
        // be reached now hears it when the session is up.
        let published = tokio::time::timeout(FIRST_REACH, publisher::publish_reach(&first.0, &first.1, true));
        if !matches!(stop.run_until_cancelled(published).await, Some(Ok(Ok(())))) {
            tracing::debug!("reach was not published before the session");
        }
        session::run(client, member, (sign, number), commands, outlets, stop).await;
    };
    let mailbox = mailbox::run(Arc::clone(account), mail_queue);
    let (service, account, stop) = (service.clone(), Arc::clone(account), stops.work.clone());
    let session = async move {
        let mut told = Told::default();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = live(&service, &account, events, &mut told) => {}
        }
        service.inner.relays.set(account.id, None).await;
        // A token that a contact was given a moment ago is worth nothing to it before the directory knows it.
        if let Ok(Some(tokens)) = changed_tokens(&account, &mut told).await {
            let _ = last_words.try_send(tokens);
        }
    };
    Some(Parts { connection, mailbox, session })
}

async fn live(service: &Service, account: &Arc<Account>, mut events: mpsc::Receiver<SessionEvent>, told: &mut Told) {
    let mut changes = account.store.outbox_watch();
    let mut due = tokio::time::interval(membership::LOOK);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsure = tokio::time::interval(UNSURE_PAUSE);
    // While nothing is unsure nobody looks at it: what was missed then must not come all at once.
    unsure.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => handle(service, account, told, event).await,
                None => return,
            },
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                if account.session().up
                    && let Err(error) = sync(account, told).await
                {
                    tracing::warn!(%error, "tokens and watches are not up to date");
                }
                // Not a wait for something to happen: a bound on how often the same question is asked.
                tokio::time::sleep(SYNC_PAUSE).await;
            }
            _ = due.tick() => {
                if let Some(bearer) = account.session().bearer {
                    membership::tend(account, &bearer).await;
                }
            }
            _ = unsure.tick(), if !told.unsure.is_empty() => {
                told.unsure.retain(|_, pauses| { *pauses += 1; *pauses <= UNSURE_PAUSES });
                let due = told.unsure.iter().filter(|(_, pauses)| pauses.is_power_of_two());
                let again: Vec<_> = due.filter_map(|(who, _)| Some((*who, *told.watched.get(who)?))).collect();
                if !again.is_empty() {
                    account.command(SessionCommand::Watch(again)).await;
                }
            }
        }
    }
}

async fn handle(service: &Service, account: &Arc<Account>, told: &mut Told, event: SessionEvent) {
    match event {
        SessionEvent::Up { token, counted: numbers, record_seq, time } => {
            account.clock.directory_says(time);
            if let Some(clock) = clock::status(&account.clock) {
                tracing::warn!(ahead = clock.ahead, problem = clock.problem, "the clocks differ");
            }
            *told = Told::default();
            // Before anybody hears that the account is online: what it asks others then is asked as a member.
            membership::tend(account, &token).await;
            service.inner.relays.set(account.id, account.directory.as_ref().and_then(|own| own.relay())).await;
            set_session(account, SessionState { up: true, bearer: Some(token.clone()), error: None });
            tracing::info!(name = %account.row().name, session_counter = numbers.number, "directory session is up");
            if let Err(error) = counted(account, numbers).await {
                // Nothing may be left in a mailbox before that: delivery is not told, and the next session tries again.
                tracing::warn!(%error, "the session was not counted here");
            } else {
                if let Err(error) = came_up(service, account, told, record_seq).await {
                    tracing::warn!(%error, "not everything could be told to the directory");
                }
                account.tell(News::Bearer(Some(token))).await;
            }
            // Last: what comes out of it is answered, and that must be as current as it can be.
            account.command(SessionCommand::Mailbox).await;
        }
        SessionEvent::Down { reason, advice, code } => {
            let was_up = account.session().up;
            if was_up {
                tracing::info!(name = %account.row().name, %reason, "directory session is down");
            }
            let error = Some(Trouble { text: reason, advice });
            set_session(account, SessionState { up: false, bearer: None, error });
            account.tell(News::Bearer(None)).await;
            // A directory that lost us (restored, or never had the record) takes the record again.
            let lost = matches!(code, Some(api::ErrorCode::NotFound | api::ErrorCode::BadSignature));
            told.republished = lost && !told.republished;
            if told.republished {
                match publisher::publish(service, account).await {
                    Ok(()) => account.command(SessionCommand::Retry).await,
                    Err(error) => {
                        let error = Some(Trouble { text: error.to_string(), advice: error.advice() });
                        set_session(account, SessionState { up: false, bearer: None, error });
                    }
                }
            }
        }
        // It was not asked for: of somebody who is no contact any more, or an invention of the directory.
        SessionEvent::Presence { account: who, .. } if !told.watched.contains_key(&who) => {}
        SessionEvent::Presence { account: who, online, since } => {
            if online || since.is_some() {
                told.unsure.remove(&who);
            } else {
                told.unsure.entry(who).or_insert(0);
            }
            heard(account, who, online).await;
        }
        SessionEvent::Cloned => {
            account.state.change(|state| state.cloned = true);
            tracing::error!(name = %account.row().name, "cloned: another machine uses a copy of this data directory");
            // Whoever is told so and keeps its session has taken the other's place.
            if account.row().standing == Standing::TakesOver
                && let Err(error) = publisher::stands_alone(account).await
            {
                tracing::warn!(%error, "it was not kept that this copy took the other's place");
            }
        }
        // Two that went on with one key would take the session from each other for ever.
        SessionEvent::Replaced => {
            if let Err(error) = publisher::supersede(account).await {
                tracing::error!(%error, "a copy that should stop for good goes on");
            }
        }
        SessionEvent::Refused { code, message } => {
            tracing::warn!(often = "command", ?code, %message, "the directory refused a command");
        }
        SessionEvent::TokensStored { .. } => {}
    }
}

/// Somebody who is watched came, or went.
pub(super) async fn heard(account: &Account, who: AccountId, online: bool) {
    if !account.set_presence(who, online) {
        return;
    }
    let contact = account.store.read(move |conn| peers::by_account(conn, who)).await.ok().flatten();
    if let Some(contact) = contact {
        let id = contact.id;
        let _ = account
            .store
            .write(move |tx| {
                emit::presence(tx, id, online);
                Ok(())
            })
            .await;
        account.tell(if online { News::Online(id) } else { News::Offline(id) }).await;
    }
}

/// Compares the directory's count of sessions with ours: it tells whether either went back in time.
async fn counted(account: &Account, numbers: Counted) -> Result<(), ServiceError> {
    let mailbox = account.directory.as_ref().map(|client| client.url().to_owned());
    account
        .store
        .write(move |tx| {
            // It was restored from a backup: what was deposited there since is gone.
            let went_back = account::directory_went_back(tx, numbers.before)?;
            let mailbox = mailbox.filter(|_| went_back);
            let lying = mailbox.as_deref().map(|url| deposits::deposited_at(tx, url)).transpose()?;
            epochs::session_counted(tx, numbers.said, numbers.number)?;
            if let (Some(url), Some(contacts)) = (mailbox, lying) {
                deposits::mailbox_went_back(tx, &url, &contacts)?;
            }
            Ok(())
        })
        .await?;
    Ok(())
}

async fn came_up(
    service: &Service,
    account: &Arc<Account>,
    told: &mut Told,
    record_seq: u64,
) -> Result<(), ServiceError> {
    if record_seq != account.store.read(account::own_card).await?.record_seq {
        publisher::publish(service, account).await?;
    }
    publisher::publish_reach(service, account, false).await?;
    sync(account, told).await
}

fn set_session(account: &Account, session: SessionState) {
    account.state.change(|state| state.set_session(session));
}
