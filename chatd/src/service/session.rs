//! An account's life with its directory: the session, publishing record and reach, tokens, presence.

use std::sync::Arc;
use std::time::Duration;

use proto::directory::{MAX_SEQ_STEP, SignedRecord, api};
use proto::name::Name;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::account::{Account, SUPERSEDED, SessionState};
use super::identity::make_reach;
use super::told::{Told, changed_tokens, sync};
use super::{Service, ServiceError, mail, membership};
use crate::delivery::News;
use crate::directory::DirectoryError;
use crate::directory::session::{self, SessionCommand, SessionEvent};
use crate::model::Standing;
use crate::store::delivery::deposits;
use crate::store::log::recovery::epochs;
use crate::store::{Tx, account, emit, peers};

/// Commands to the session that wait at most.
pub(super) const COMMANDS: usize = 64;
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

/// Whether a directory's URL is on this machine.
pub(super) fn is_local(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else { return false };
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()),
        None => false,
    }
}

/// Starts the session of an account and the task that lives with it. `goodbye` is cancelled when both have ended.
pub(super) fn spawn(
    service: Service,
    account: Arc<Account>,
    (last_words, commands): (mpsc::Sender<SessionCommand>, mpsc::Receiver<SessionCommand>),
    stop: CancellationToken,
    goodbye: CancellationToken,
) {
    let Some(client) = account.directory.clone() else { return };
    let (events_in, events) = mpsc::channel(EVENTS);
    let (mail_in, mail_queue) = mpsc::channel(session::MAIL_QUEUE);
    let outlets = session::Outlets { events: events_in, mail: mail_in };
    let device_key = account.keys.device.clone();
    let sign: session::SessionSign = Arc::new(move |message: &[u8]| device_key.sign(&[message]));
    let member = session::Member { account: account.id, device: account.device, origin: account.row().origin };
    // Of its own: what the directory has to know is told before the session ends.
    let session_stop = CancellationToken::new();
    let told_all = session_stop.clone();
    let first = (service.clone(), Arc::clone(&account));
    tokio::spawn(async move {
        // Who is told that we are online asks at once where we are: that must be known first. A directory that cannot
        // be reached now hears it when the session is up.
        let published = tokio::time::timeout(FIRST_REACH, publish_reach(&first.0, &first.1, true));
        if !matches!(session_stop.run_until_cancelled(published).await, Some(Ok(Ok(())))) {
            tracing::debug!("reach was not published before the session");
        }
        session::run(client, member, sign, commands, outlets, session_stop).await;
        goodbye.cancel();
    });
    let (mail_stop, mail_account) = (stop.clone(), Arc::clone(&account));
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = mail_stop.cancelled() => {}
            () = mail::run(mail_account, mail_queue) => {}
        }
    });
    tokio::spawn(async move {
        let mut told = Told::default();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = live(&service, &account, events, &mut told) => {}
        }
        // A token that a contact was given a moment ago is worth nothing to it before the directory knows it.
        if let Ok(Some(tokens)) = changed_tokens(&account, &mut told).await {
            let _ = last_words.try_send(tokens);
        }
        told_all.cancel();
    });
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
                if let Some(bearer) = account.bearer() {
                    membership::tend(account, &bearer).await;
                }
                tokio::spawn(membership::meet_others(Arc::clone(account)));
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
        SessionEvent::Up { token, session_counter, record_seq, time } => {
            account.clock.directory_says(time);
            if let Some(clock) = account.clock_status() {
                tracing::warn!(ahead = clock.ahead, "{}", clock.problem);
            }
            *told = Told::default();
            // Before anybody hears that the account is online: what it asks others then is asked as a member.
            membership::tend(account, &token).await;
            account.set_session(SessionState { up: true, bearer: Some(token.clone()), error: None });
            tracing::info!(name = %account.row().name, session_counter, "directory session is up");
            if let Err(error) = counted(account, session_counter).await {
                // Nothing may be left in a mailbox before that: delivery is not told, and the next session tries again.
                tracing::warn!(%error, "the session was not counted here");
            } else {
                if let Err(error) = came_up(service, account, told, record_seq).await {
                    tracing::warn!(%error, "not everything could be told to the directory");
                }
                tell(account, News::Bearer(Some(token))).await;
            }
            // Last: what comes out of it is answered, and that must be as current as it can be.
            account.command(SessionCommand::Mailbox).await;
        }
        SessionEvent::Down { reason, code } => {
            let was_up = account.session().up;
            if was_up {
                tracing::info!(name = %account.row().name, %reason, "directory session is down");
            }
            account.set_session(SessionState { up: false, bearer: None, error: Some(reason) });
            tell(account, News::Bearer(None)).await;
            // A directory that lost us (restored, or never had the record) takes the record again.
            let lost = matches!(code, Some(api::ErrorCode::NotFound | api::ErrorCode::BadSignature));
            told.republished = lost && !told.republished;
            if told.republished {
                match publish(service, account).await {
                    Ok(()) => account.command(SessionCommand::Retry).await,
                    Err(error) => {
                        account.set_session(SessionState { up: false, bearer: None, error: Some(error.to_string()) });
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
                tell(account, if online { News::Online(id) } else { News::Offline(id) }).await;
            }
        }
        SessionEvent::Cloned => {
            account.set_cloned();
            tracing::error!(name = %account.row().name, "cloned: another machine uses a copy of this data directory");
            // Whoever is told so and keeps its session has taken the other's place.
            if account.row().standing == Standing::TakesOver
                && account.store.write(|tx| account::set_standing(tx, Standing::Alone)).await.is_ok()
            {
                account.set_standing(Standing::Alone);
            }
        }
        // Two that went on with one key would take the session from each other for ever.
        SessionEvent::Replaced => {
            if let Err(error) = supersede(account).await {
                tracing::error!(%error, "a copy that should stop for good goes on");
            }
        }
        SessionEvent::Refused { code, message } => {
            tracing::warn!(often = "command", ?code, %message, "the directory refused a command");
        }
        SessionEvent::TokensStored { .. } => {}
    }
}

async fn tell(account: &Account, news: News) {
    if let Some(delivery) = account.delivery() {
        delivery.tell(news).await;
    }
}

/// Compares the directory's count of sessions with ours: it tells whether either went back in time.
async fn counted(account: &Account, session_counter: u64) -> Result<(), ServiceError> {
    let card = account.store.read(account::own_card).await?;
    // It was restored from a backup: what was deposited there since is gone.
    let went_back = session_counter <= card.session_counter;
    let mailbox = account.directory.as_ref().map(|client| client.url().to_owned()).filter(|_| went_back);
    account
        .store
        .write(move |tx| {
            let lying = mailbox.as_deref().map(|url| deposits::deposited_at(tx, url)).transpose()?;
            epochs::session_counted(tx, session_counter)?;
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
        publish(service, account).await?;
    }
    publish_reach(service, account, false).await?;
    sync(account, told).await
}

/// Publishes the newest own record. If the directory has one of ours that is further (this store is an older copy), a
/// record above it is made and published.
pub(super) async fn publish(service: &Service, account: &Arc<Account>) -> Result<(), ServiceError> {
    match publish_once(account).await {
        Err(ServiceError::Directory(DirectoryError::Conflict { stored: Some(stored), message })) => {
            let theirs = SignedRecord::decode(&stored)?.verify()?;
            if theirs.account() != account.id {
                return Err(DirectoryError::Conflict { stored: Some(stored), message }.into());
            }
            let standing = account.row().standing;
            if theirs.devices.iter().all(|device| device.id != account.device) && standing != Standing::TakesOver {
                supersede(account).await?;
                return Err(ServiceError::Superseded(SUPERSEDED));
            }
            if theirs.identity_key != account.keys.identity().public() {
                // Before a rotation of ours, or after one that is not ours.
                service.outrank(account, &theirs).await?;
                return publish_once(account).await;
            }
            let own = account.store.read(account::own_card).await?.record_seq;
            if theirs.seq.saturating_sub(own) > MAX_SEQ_STEP {
                return Err(ServiceError::KeyNotTrusted(format!(
                    "the directory holds a record of this account with the number {}, far beyond our {own}: somebody else has the \
                     identity key, and used the numbers up. chatctl key recover --recovery-file FILE takes the name back",
                    theirs.seq
                )));
            }
            tracing::warn!(seq = theirs.seq, "the directory has a newer record of this account: going on from there");
            account.store.write(move |tx| account::set_own_record(tx, &stored, theirs.seq)).await?;
            service.renew_record(account).await?;
            publish_once(account).await
        }
        result => result,
    }
}

async fn publish_once(account: &Arc<Account>) -> Result<(), ServiceError> {
    let Some(client) = &account.directory else { return Ok(()) };
    let card = account.store.read(account::own_card).await?;
    let name = Name::parse(&account.row().name)?;
    let identity = account.keys.identity();
    client.publish(&name, &card.record, &move |message: &[u8]| identity.sign(&[message])).await?;
    if account.row().standing == Standing::TakesOver {
        account.store.write(|tx| account::set_standing(tx, Standing::Alone)).await?;
        account.set_standing(Standing::Alone);
    }
    Ok(())
}

/// Another copy of the account took this one's place: two that both went on would take it from each other for ever. This one
/// stays offline, also over restarts, until its owner logs it in.
async fn supersede(account: &Arc<Account>) -> Result<(), ServiceError> {
    tracing::error!(name = %account.row().name, "{SUPERSEDED}");
    let stored = |tx: &mut Tx<'_>| {
        account::set_standing(tx, Standing::Superseded)?;
        account::set_logged_in(tx, false)
    };
    account.store.write(stored).await?;
    account.set_standing(Standing::Superseded);
    account.set_logged_in(false);
    // Not here: this may be the session's own task, which ends by that.
    let account = Arc::clone(account);
    tokio::spawn(async move { account.go_offline().await });
    Ok(())
}

/// Signs and publishes where this node is, for one account.
async fn publish_reach(service: &Service, account: &Arc<Account>, even_offline: bool) -> Result<(), ServiceError> {
    let addresses = service.addresses();
    let card = account.store.read(account::own_card).await?;
    let (reach, seq) =
        make_reach(account.id, &account.keys.device, &service.inner.node_key, &addresses, card.reach_seq)?;
    let bytes = reach.clone();
    account.store.write(move |tx| account::set_own_reach(tx, &bytes, seq)).await?;
    if let Some(client) = account.directory.as_ref().filter(|_| even_offline || account.session().up) {
        client.publish_reach(&reach).await?;
    }
    Ok(())
}

/// Publishes reach whenever the node's addresses change, and tries what waits.
pub(super) async fn watch_addresses(service: Service) {
    let mut addresses = service.inner.node.watch_addresses();
    loop {
        addresses.borrow_and_update();
        for account in service.accounts().into_iter().filter(|account| account.is_running()) {
            if let Err(error) = publish_reach(&service, &account, false).await {
                tracing::debug!(%error, "reach was not published");
            }
        }
        if addresses.changed().await.is_err() {
            return;
        }
        service.tell_all(|| News::TryAll).await;
    }
}
