//! What each request does, decided from what is read, and what it answers.
//!
//! Invariant: the rules know no database. They read and write by [`Commands`], in the order in which requests came, and
//! one transaction's requests see each other.

mod batch;
mod devices;
mod groups;
mod mailbox;
mod names;

pub use batch::Batch;
pub use groups::{GroupRead, entries, look, read_slots};
pub use names::addresses;

use super::command::{Applied, Commands, Failure, Sums};
use super::error::StoreError;
use super::groups::{GroupRequest, Reply};
use super::request::Request;

/// Answers one request, once it is known whether the transaction was committed.
pub type Answer = Box<dyn FnOnce(Result<(), StoreError>)>;

/// Does what one request asks for. Without a usable transaction nothing is done, and the answer will be the transaction's
/// error.
pub fn apply<C: Commands>(db: Option<&mut C>, request: Request, batch: &mut Batch) -> (Result<(), C::Error>, Answer) {
    match request {
        Request::Publish(publish, reply) => finish(reply, db.map(|db| names::publish(db, *publish, batch))),
        Request::Release { account, reply } => finish(reply, db.map(|db| names::release(db, account, batch))),
        Request::Reach(reach, reply) => finish(reply, db.map(|db| devices::reach(db, &reach, batch))),
        Request::Tokens { account, add, remove, reply } => {
            finish(reply, db.map(|db| devices::tokens(db, account, &add, &remove)))
        }
        Request::Session { account, device, number, reply } => {
            finish(reply, db.map(|db| devices::session(db, account, device, number)))
        }
        Request::Deposit(deposit, reply) => finish(reply, db.map(|db| mailbox::deposit(db, &deposit, batch))),
        Request::Delete { account, device, numbers, reply } => {
            finish(reply, db.map(|db| mailbox::delete(db, account, device, &numbers, batch)))
        }
        Request::Group(request) => of_group(db, request, batch),
        Request::Sweep(reply) => finish(reply, db.map(|db| mailbox::sweep(db, batch))),
    }
}

fn of_group<C: Commands>(
    db: Option<&mut C>,
    request: GroupRequest,
    batch: &mut Batch,
) -> (Result<(), C::Error>, Answer) {
    match request {
        GroupRequest::Create(new, reply) => finish(reply, db.map(|db| groups::create(db, &new, batch))),
        GroupRequest::State(log, new, reply) => finish(reply, db.map(|db| groups::state(db, log, &new, batch))),
        GroupRequest::Append(new, reply) => finish(reply, db.map(|db| groups::append(db, &new, batch))),
        GroupRequest::Stage(new, reply) => finish(reply, db.map(|db| groups::stage(db, &new, batch))),
        GroupRequest::Slot(new, reply) => finish(reply, db.map(|db| groups::put_slot(db, &new, batch))),
        GroupRequest::Keep(asked, reply) => finish(reply, db.map(|db| groups::keep(db, &asked, batch))),
        GroupRequest::Remove { account, log, reply } => {
            finish(reply, db.map(|db| groups::remove(db, account, log, batch)))
        }
    }
}

/// What belongs to a transaction as a whole, before COMMIT; what lies in mailboxes then, if it has changed.
///
/// # Errors
/// Those of the commands.
pub fn conclude<C: Commands>(db: &mut C, batch: &Batch) -> Applied<Option<Sums>, C::Error> {
    if batch.deposited || batch.appended > 0 {
        db.save_uptime(batch.now)?;
    }
    if batch.touched() { db.sums().map(Some) } else { Ok(None) }
}

fn finish<T: 'static, E>(reply: Reply<T>, applied: Option<Applied<T, E>>) -> (Result<(), E>, Answer) {
    let (result, value) = match applied {
        Some(Ok(value)) => (Ok(()), Some(Ok(value))),
        Some(Err(Failure::Refused(refusal))) => (Ok(()), Some(Err(refusal))),
        Some(Err(Failure::Engine(error))) => (Err(error), None),
        None => (Ok(()), None),
    };
    let answer: Answer = Box::new(move |committed| {
        let lost = || StoreError::Unavailable("the transaction was lost".into());
        let value = committed.and_then(|()| value.unwrap_or_else(|| Err(lost())));
        // Whoever asked may be gone; what is stored stays stored.
        let _ = reply.send(value);
    });
    (result, answer)
}
