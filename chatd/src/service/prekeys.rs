//! An account's prekeys and clock over time: a new one daily, the old ones destroyed when nothing can come for them any more.
//!
//! Not its job: the decisions (`policy::prekeys`, `policy::clock`), and destroying as such (the store).
//!
//! Invariants: a secret is committed before a record names it; the one that the own record names is never destroyed; a secret
//! is destroyed by what has surely passed, never by what a clock shows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::directory::SignedRecord;
use proto::fault;
use proto::ids::{PrekeyId, recipient_hash};
use proto::name::Address;
use proto::rpc::types::{ClockStatus, ClockWitness};
use proto::time::Timestamp;
use tokio::time::MissedTickBehavior;

use super::account::Account;
use super::identity::{Facts, make_record};
use super::{Service, ServiceError, session};
use crate::crypto::prekey::PrekeySecret;
use crate::policy::clock::Reading;
use crate::policy::prekeys::{Fate, Mailbox, fate, renewal_due};
use crate::policy::timekeeper::{AccountClock, Skew, Whose};
use crate::store::{PrekeyAge, PrekeyStore, StoreError, account};

/// How often clocks are looked at, and what is due by them.
const LOOK: Duration = Duration::from_secs(60);
/// The same while a test moves the clocks.
const LOOK_OFTEN: Duration = Duration::from_millis(200);
/// The directory is asked for the time if it was not heard for so many seconds.
const ASK_AFTER_SECONDS: i64 = 3_600;

/// What the machine's clocks show now.
fn read_clocks() -> Reading {
    static STARTED: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    Reading {
        wall: Timestamp::now().unix_seconds(),
        uptime: STARTED.elapsed().as_secs().saturating_add(fault::uptime_shift()),
        asleep: asleep(),
    }
}

/// Seconds that the machine has slept since it was booted. Where nobody can tell, sleep looks like a jump of the wall clock
/// while the machine is awake, and does not count.
fn asleep() -> u64 {
    #[cfg(target_os = "linux")]
    {
        use nix::time::{ClockId, clock_gettime};
        let seconds = |id| clock_gettime(id).map_or(0, |time| u64::try_from(time.tv_sec()).unwrap_or(0));
        let awake = seconds(ClockId::CLOCK_MONOTONIC);
        seconds(ClockId::CLOCK_BOOTTIME).saturating_sub(awake)
    }
    #[cfg(not(target_os = "linux"))]
    0
}

/// The clock of an account that is opened.
pub(super) fn open_clock(prekeys: &PrekeyStore) -> Result<AccountClock, StoreError> {
    Ok(match prekeys.checkpoint()? {
        Some(checkpoint) => AccountClock::resume(&checkpoint, read_clocks),
        None => {
            let clock = AccountClock::new(read_clocks().wall, read_clocks);
            if let Some(first) = clock.checkpoint(None) {
                prekeys.set_checkpoint(&first)?;
            }
            clock
        }
    })
}

/// Looks after the prekeys of an account until it is gone.
pub(super) async fn watch(service: Service, account: Arc<Account>) {
    let mut looks = tokio::time::interval(if fault::clocks_move() { LOOK_OFTEN } else { LOOK });
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unpublished = false;
    loop {
        tokio::select! {
            biased;
            () = account.gone.cancelled() => return,
            _ = looks.tick() => {}
        }
        let tended = Arc::clone(&account);
        match tokio::task::spawn_blocking(move || tended.tend_prekeys()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, account = %account.id, "prekeys were not looked after"),
            Err(_) => return,
        }
        if !account.is_running() {
            continue;
        }
        // What time it is, is known better once the directory was heard or could not be reached.
        account.settled().await;
        match renew_if_due(&service, &account).await {
            Ok(renewed) => unpublished |= renewed,
            Err(error) => tracing::warn!(%error, account = %account.id, "the prekey was not renewed"),
        }
        if unpublished && account.session().up {
            match session::publish(&service, &account).await {
                Ok(()) => unpublished = false,
                Err(error) => tracing::warn!(%error, account = %account.id, "the new record was not published"),
            }
        }
        ask_the_time(&account).await;
    }
}

async fn ask_the_time(account: &Account) {
    let Some(client) = account.directory.as_ref().filter(|_| account.session().up) else { return };
    if account.clock.unheard().is_none_or(|seconds| seconds >= ASK_AFTER_SECONDS)
        && let Err(error) = client.nonce().await
    {
        tracing::debug!(%error, "the directory did not tell the time");
    }
}

/// A new prekey every day, and with it a new record; whether there is one.
async fn renew_if_due(service: &Service, account: &Arc<Account>) -> Result<bool, ServiceError> {
    let (now, judged) = (account.clock.moment(), account.clock.judged());
    let asked = Arc::clone(account);
    let blocking = tokio::task::spawn_blocking(move || asked.offered_prekey());
    let offered = blocking.await.map_err(|_| ServiceError::ShuttingDown)??;
    // None: the secret of what is offered is not here.
    if offered.is_some_and(|offered| !renewal_due(offered.created, offered.born, judged, now)) {
        return Ok(false);
    }
    // Not while the identity key is being replaced, which is what signs the record.
    let _alone = account.rotating.lock().await;
    service.renew_record(account).await?;
    Ok(true)
}

impl Service {
    /// Signs and keeps a new record with a new prekey, in this order: secret, record, then the directory.
    pub(super) async fn renew_record(&self, account: &Arc<Account>) -> Result<(), ServiceError> {
        let prekey = PrekeySecret::generate(account.clock.judged())?;
        account.prekeys.insert(&prekey, account.clock.moment().uptime)?;
        let card = account.store.read(account::own_card).await?;
        let previous = SignedRecord::decode(&card.record)?;
        let row = account.row();
        let address: Address = row.name.parse()?;
        let facts = Facts {
            name: &address.name,
            origin: &row.origin,
            directory: &row.directory,
            recovery_hash: card.recovery_hash,
            config: &self.config(),
        };
        let (record, seq) = make_record(&account.keys, &facts, Some(&previous), &prekey)?;
        account.inbox.add_prekey(prekey);
        account.store.write(move |tx| account::set_own_record(tx, &record, seq)).await?;
        tracing::debug!(account = %account.id, seq, "a new prekey is offered");
        Ok(())
    }
}

impl Account {
    /// Commits the clock if it is time, or if the daemon stops.
    pub(super) fn save_clock(&self, even_if_young: bool) -> Result<(), StoreError> {
        let committed = if even_if_young { None } else { self.prekeys.checkpoint()? };
        match self.clock.checkpoint(committed.as_ref()) {
            Some(checkpoint) => self.prekeys.set_checkpoint(&checkpoint),
            None => Ok(()),
        }
    }

    /// The prekey that the own record names, if its secret is here.
    fn offered_prekey(&self) -> Result<Option<PrekeyAge>, ServiceError> {
        let card = self.store.read_blocking(account::own_card)?;
        let record = SignedRecord::decode(&card.record)?.peek()?;
        let offered: Vec<PrekeyId> = record
            .prekeys
            .iter()
            .map(|prekey| PrekeyId::of_recipient_hash(&recipient_hash(prekey.suite, &prekey.recipient)))
            .collect();
        Ok(self.prekeys.ages()?.into_iter().find(|age| offered.contains(&age.id)))
    }

    /// Commits the clock, and destroys what is due. Blocks.
    fn tend_prekeys(&self) -> Result<(), ServiceError> {
        self.save_clock(false)?;
        let offered = self.offered_prekey()?.map(|age| age.id);
        let mailbox = match self.directory {
            Some(_) => Mailbox::Drained(self.prekeys.drained()?),
            None => Mailbox::Absent,
        };
        let now = self.clock.moment();
        let mut doomed = Vec::new();
        for mut age in self.prekeys.ages()? {
            if age.born.counted.is_none()
                && let Some(born) = self.clock.latest_birth(age.born.uptime)
            {
                self.prekeys.set_born(age.id, born)?;
                age.born.counted = Some(born);
            }
            match fate(age.born, now, mailbox) {
                _ if Some(age.id) == offered => {}
                Fate::Keep => {}
                Fate::Destroy => doomed.push(age.id),
                Fate::DestroyUndrained => {
                    tracing::warn!(
                        prekey = %age.id,
                        "a prekey is destroyed after 30 days though the mailbox was not emptied: what may still lie there \
                         for it cannot be read, and has to be sent again"
                    );
                    doomed.push(age.id);
                }
            }
        }
        let clean = self.prekeys.destroy(&doomed)?;
        self.inbox.remove_prekeys(&doomed);
        if !doomed.is_empty() {
            tracing::info!(account = %self.id, count = doomed.len(), clean, "old prekeys are destroyed");
        }
        if !clean {
            tracing::warn!(account = %self.id, "another program reads prekeys.db: its bytes are cleaned up when that ends");
        }
        Ok(())
    }

    /// Commits that everything that lay in the mailbox is stored here.
    pub(super) fn keep_drained(&self) {
        let now = self.clock.moment();
        let kept = self.prekeys.drained().and_then(|last| {
            // Once an hour is enough for what is counted in days.
            if last.is_some_and(|last| (0..3_600).contains(&(now.counted - last.counted))) {
                return Ok(());
            }
            self.prekeys.set_drained(now)
        });
        match kept {
            Ok(()) => tracing::debug!(account = %self.id, "the mailbox is drained"),
            Err(error) => tracing::warn!(%error, account = %self.id, "it was not kept that the mailbox is drained"),
        }
    }

    /// Whether this machine's clock differs from others', and what to do about it.
    pub(super) fn clock_status(&self) -> Option<ClockStatus> {
        let Skew { ahead, of } = self.clock.skew()?;
        let (of, whose, judged) = match of {
            Whose::Directory => (ClockWitness::Directory, "its directory's", "by the directory's clock"),
            Whose::Contacts => (ClockWitness::Contacts, "those of its contacts", "by this machine's clock"),
        };
        let way = if ahead > 0 { "ahead of" } else { "behind" };
        let problem = format!(
            "this machine's clock is {} {way} {whose}: set the wrong one right (timedatectl shows whether this one is \
             synchronized); until then, whether keys are still valid is judged {judged}",
            span(ahead.unsigned_abs())
        );
        Some(ClockStatus { ahead, of, problem })
    }
}

/// `2 h 5 min`: enough for a clock that is wrong.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {} min", minutes % 60),
        (days, hours) => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (seconds, text) in
            [(301, "5 min"), (3_600, "1 h 0 min"), (93_600, "1 d 2 h"), (3_650 * 86_400 + 5, "3650 d 0 h")]
        {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn uptime_and_sleep_do_not_go_back() {
        let (first, second) = (read_clocks(), read_clocks());
        assert!(second.uptime >= first.uptime && second.asleep + 1 >= first.asleep);
    }
}
