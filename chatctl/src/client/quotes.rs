//! What stands for the message that another one answers: `alice: "are you there?" 5f3a9c01`.

use std::collections::HashMap;

use proto::ids::MessageId;
use proto::rpc::client::Client;
use proto::rpc::methods::MessageFind;
use proto::rpc::types::{Message, MessageFindParams};

use crate::show::words::short_id;

/// Characters of a text that are quoted.
const CHARS: usize = 40;
/// Quotes that are remembered; beyond that the memory begins anew.
const MAX_KNOWN: usize = 1_000;

/// Looks up each message once. Under `--json` there is nothing to look up.
#[derive(Default)]
pub struct Quotes {
    known: HashMap<MessageId, Option<String>>,
}

impl Quotes {
    /// The quote for what `message` answers; `None` if it answers nothing, or that is not here.
    pub async fn of(&mut self, client: &Client, account: Option<String>, message: &Message) -> Option<String> {
        let id = message.reply_to?;
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        let params = MessageFindParams { account, id: id.to_string(), who: None, own: None };
        // What only adorns a message may fail.
        let found = client.call::<MessageFind>(&params).await.ok()?.messages.into_iter().next();
        let quote = found.map(|found| {
            let mut text: String = found.text.chars().take(CHARS).collect();
            if text.len() < found.text.len() {
                text.push('…');
            }
            format!("{}: \"{text}\" {}", found.from, short_id(id))
        });
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(id, quote.clone());
        quote
    }
}
