//! Events on their way to standard output, and what a person has read by that.

use std::collections::HashMap;

use proto::ids::{AccountId, MessageId};
use proto::rpc::client::Client;
use proto::rpc::event::Event;
use proto::rpc::methods::MessageRead;
use proto::rpc::types::ReadParams;

use crate::client::names;
use crate::client::quotes::Quotes;
use crate::client::session::Session;
use crate::failure::Failure;
use crate::show;
use crate::show::words::names::label_event;

/// Prints events.
pub struct EventPrinter {
    quotes: Quotes,
    /// Whether what is shown is read by that: the newest message shown of each conversation, and not marked yet.
    newest: Option<HashMap<AccountId, MessageId>>,
}

impl EventPrinter {
    /// `reads`: a person reads what is printed, and nothing before it is left out.
    pub fn new(reads: bool) -> Self {
        Self { quotes: Quotes::default(), newest: reads.then(HashMap::new) }
    }

    /// Prints an event if it says anything to the reader.
    pub async fn print(&mut self, session: &mut Session, client: &Client, mut event: Event) -> Result<(), Failure> {
        if session.out.json {
            return Ok(session.out.object(&event)?);
        }
        let answered = match &event.message {
            Some(message) => self.quotes.of(client, session.account(), message).await,
            None => None,
        };
        if let (Some(newest), Some(who), Some(message)) = (&mut self.newest, event.peer, &event.message) {
            newest.insert(who, message.id);
        }
        label_event(&mut event);
        if let Some(lines) = show::event::event(&event, session.look(), answered.as_deref()) {
            session.out.show(&lines)?;
        }
        Ok(())
    }

    /// Everything out, and marked as read. A connection that ends under it is noticed by the feed; the mark follows with
    /// the next.
    pub async fn flush(&mut self, session: &mut Session, client: &Client) -> Result<(), Failure> {
        session.out.flush()?;
        let Some(newest) = &mut self.newest else { return Ok(()) };
        for (who, id) in newest.drain() {
            let params = ReadParams { account: session.account(), who: names::by_id(who), up_to: Some(id) };
            match client.call::<MessageRead>(&params).await.map_err(Failure::from) {
                Err(failure) if !failure.is_disconnect() => return Err(failure),
                _ => {}
            }
        }
        Ok(())
    }
}
