//! Ids of messages, as people read and type them: the end of one, for those of a minute begin alike (UUIDv7).

use std::fmt::Write as _;
use std::str::FromStr;

use proto::ids::MessageId;
use proto::rpc::methods::MessageFind;
use proto::rpc::types::MessageFindParams;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::words::ID_DIGITS as DIGITS;
use crate::show::words::clock::clock;
use crate::term::escape;

/// A message as it is named on the command line: an id, the end of one, or `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id(String);

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.chars().filter(|c| *c != '-');
        let fits = (DIGITS..=32).contains(&digits.clone().count()) && digits.clone().all(|c| c.is_ascii_hexdigit());
        if text == "last" || fits {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text} is not a message id, the end of one ({DIGITS} digits at least), or last"))
    }
}

impl Id {
    /// The message that is meant, in the conversation with `who` if one is given; `own` tells whose the last one is.
    ///
    /// # Errors
    /// Exit 2 with the candidates when several end so; exit 1 when none does.
    pub async fn resolve(
        &self,
        session: &mut Session,
        who: Option<&str>,
        own: Option<bool>,
    ) -> Result<MessageId, Failure> {
        if let Ok(id) = self.0.parse() {
            return Ok(id);
        }
        let own = own.filter(|_| self.0 == "last");
        let who = who.map(str::to_owned);
        let params = MessageFindParams { account: session.account(), id: self.0.clone(), who, own };
        let found = session.call::<MessageFind>(&params).await?.messages;
        match found.as_slice() {
            [only] => Ok(only.id),
            [] if self.0 == "last" => Err(Failure::other("there is no message yet")),
            [] => Err(Failure::other(format!("no message has an id that ends with {}", self.0))),
            several => {
                let mut text = format!("several ids end with {}:", self.0);
                for message in several {
                    let (from, begin) = (escape::line(&message.from), escape::line(&message.text));
                    // Writing to a String does not fail.
                    let _ = write!(text, "\n  {}  {} {from}: {begin}", message.id, clock(message.at));
                }
                Err(Failure::Other {
                    exit: Exit::Usage,
                    text,
                    hint: Some("give more digits of the one meant".to_owned()),
                })
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_for_an_id() {
        for good in ["last", "a1b2c3d4", "A1B2-C3D4", "01977e5c-0000-7000-8000-0000000000ab"] {
            assert!(good.parse::<Id>().is_ok(), "{good}");
        }
        for bad in ["", "xyz", "a1b2c3d", "LAST", "01977e5c-0000-7000-8000-0000000000abc", "a1b2c3dg"] {
            assert!(bad.parse::<Id>().unwrap_err().contains("is not a message id"), "{bad}");
        }
    }
}
