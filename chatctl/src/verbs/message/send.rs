//! `chatctl send`: text from the arguments or from standard input.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use proto::ids::MessageId;
use proto::rpc::methods::MessageSend;
use proto::rpc::types::{Format, MessageState, Priority, SendParams, SendResult};
use proto::time::{Timestamp, parse_duration};
use proto::wire::MAX_TEXT_BYTES;

use crate::client::message_id::Id;
use crate::client::names;
use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::stdin_lines;
use crate::show::sent;
use crate::term::output::note;
use crate::verbs::message::outcome::{self, AWAITING_ACCEPTANCE};
use crate::verbs::message::send_lines;

/// How long `--wait` waits unless told.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a person at a terminal waits to see what became of a message.
const GLANCE: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A name, name@domain or label
    who: String,
    /// The text, joined by spaces; standard input if left out
    #[arg(allow_negative_numbers = true)]
    text: Vec<OsString>,
    /// Send a message for each line of standard input
    #[arg(long, conflicts_with = "text")]
    stdin_lines: bool,
    /// Send a file; hidden until there is such a thing
    #[arg(long, value_name = "FILE", hide = true)]
    file: Option<PathBuf>,
    /// A tag; may be given several times
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// How urgent it is
    #[arg(long, value_enum, default_value_t = Urgency::Normal, hide_default_value = true)]
    priority: Urgency,
    /// How it is to be shown
    #[arg(long, value_enum, default_value_t = Markup::Plain, hide_default_value = true)]
    format: Markup,
    /// The message that this one answers: its id, the end of that, or last for the newest that came
    #[arg(long, value_name = "ID")]
    reply_to: Option<Id>,
    /// Give it this id; sent again under the same one, it stays one message
    #[arg(long, value_name = "ID", conflicts_with = "stdin_lines")]
    id: Option<MessageId>,
    /// Let it end by itself if it is not delivered after this long, such as 10m, or never [default: the settings']
    #[arg(long, value_name = "DURATION", value_parser = crate::verbs::account::settings::lifetime)]
    lifetime: Option<u64>,
    /// Return when the message is in this state [default: queued]
    #[arg(long, value_enum, value_name = "STATE")]
    wait: Option<Until>,
    /// Wait no longer than this, such as 30s or 10m [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    timeout: Option<Duration>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Urgency {
    Low,
    Normal,
    High,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Markup {
    Plain,
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    Queued,
    Delivered,
    Read,
}

impl Until {
    fn state(self) -> MessageState {
        match self {
            Self::Queued => MessageState::Queued,
            Self::Delivered => MessageState::Delivered,
            Self::Read => MessageState::Read,
        }
    }
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    if args.file.is_some() {
        return Err(Failure::Usage("send --file: this version does not send files".to_owned()));
    }
    let body = match (args.stdin_lines, args.text.is_empty()) {
        (true, _) => String::new(),
        (false, true) => from_stdin(io::stdin().lock(), io::stdin().is_terminal())?,
        (false, false) => from_arguments(&args.text)?,
    };
    let reply_to = match &args.reply_to {
        Some(id) => Some(id.resolve(session, Some(&args.who), Some(false)).await?),
        None => None,
    };
    let params = SendParams {
        account: session.account(),
        to: args.who,
        body,
        format: match args.format {
            Markup::Plain => Format::Plain,
            Markup::Markdown => Format::Markdown,
        },
        tags: args.tag,
        priority: match args.priority {
            Urgency::Low => Priority::Low,
            Urgency::Normal => Priority::Normal,
            Urgency::High => Priority::High,
        },
        reply_to,
        id: Some(args.id.unwrap_or_else(MessageId::now)),
        lifetime: args.lifetime,
    };
    let timeout = args.timeout.unwrap_or(DEFAULT_TIMEOUT);
    // What is sent matters more than who reads the report.
    session.out.outlive_reader();
    if args.stdin_lines {
        return many(session, params, args.wait, timeout).await;
    }
    one(session, &params, args.wait, timeout).await
}

async fn one(
    session: &mut Session,
    params: &SendParams,
    until: Option<Until>,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let client = session.client().await?;
    let mut result = match client.call::<MessageSend>(params).await.map_err(Failure::from) {
        Err(failure) if failure.is_disconnect() => return Err(retry(&failure, "may be stored", params)),
        result => result?,
    };
    let who = &params.to;
    let wanted = until.map_or(MessageState::Queued, Until::state);
    let glance = until.is_none() && io::stderr().is_terminal();
    if !glance {
        tell_awaiting(&result, who);
    }
    let waited = match glance {
        true if result.state < MessageState::Delivered && !awaits(&result) => {
            outcome::wait(&client, session.account(), result.id, MessageState::Delivered, GLANCE).await
        }
        false if result.state < wanted => outcome::wait(&client, session.account(), result.id, wanted, timeout).await,
        _ => Ok(result.clone()),
    };
    match waited {
        Ok(after) => result = after,
        // It is stored, and that was all that was asked for.
        Err(failure) if failure.is_disconnect() && until.is_none() => {}
        Err(failure) if failure.is_disconnect() => return Err(retry(&failure, "is stored", params)),
        Err(failure) => return Err(failure),
    }
    if session.out.json {
        session.out.object(&result)?;
    }
    if let Err(failure) = session.out.end() {
        return Err(retry(&failure.into(), "is stored", params));
    }
    let exit = outcome::judge(&result, wanted, who, timeout)?;
    if glance {
        let since = if result.state == MessageState::Mailboxed { offline_since(session, who).await } else { None };
        session.out.note(&sent::describe(&result, who, since))?;
    }
    Ok(exit)
}

/// The same failure, with how to send again and yet send once.
fn retry(failure: &Failure, stands: &str, params: &SendParams) -> Failure {
    let id = params.id.map(|id| id.to_string()).unwrap_or_default();
    let text = format!("{failure}; the message {stands} as {id}");
    let hint = Some(format!("`--id {id}` makes a retry the same message"));
    Failure::Other { exit: failure.exit(), text, hint }
}

async fn many(
    session: &mut Session,
    mut params: SendParams,
    until: Option<Until>,
    timeout: Duration,
) -> Result<Exit, Failure> {
    // A daemon that goes before the first line does not end it, as it does not later. One that was never there does.
    let who = loop {
        match settle(session, &mut params).await {
            Err(failure) if failure.is_disconnect() && session.has_met_a_daemon() => {
                session.out.remark("chatctl: the daemon went away; waiting for it to come back")?;
                session.wait_for_daemon().await?;
                session.out.remark("chatctl: the daemon is back")?;
            }
            settled => break settled?,
        }
    };
    let sent = send_lines::send_lines(session, params).await?;
    if sent.awaiting {
        note(&format!("queued: waiting for {who} to accept your request"));
    }
    let (Some(until), Some(last)) = (until, sent.last) else { return Ok(Exit::Ok) };
    if until == Until::Queued {
        return Ok(Exit::Ok);
    }
    // A conversation is delivered in order, so the last one stands for all.
    let client = session.client().await?;
    let result = outcome::wait(&client, session.account(), last, until.state(), timeout).await?;
    outcome::judge(&result, until.state(), &who, timeout)
}

/// Whoever is meant now is meant by every line, by whoever sends now. Somebody who is not known yet is asked for by the first. How they are
/// called.
async fn settle(session: &mut Session, params: &mut SendParams) -> Result<String, Failure> {
    session.stay().await?;
    params.account = session.account();
    match session.person(&params.to).await {
        Ok(contact) => {
            params.to = names::by_id(contact.account);
            Ok(contact.who)
        }
        Err(failure) if failure.is_disconnect() => Err(failure),
        Err(_) => Ok(params.to.clone()),
    }
}

fn awaits(result: &SendResult) -> bool {
    result.reason.as_deref() == Some(AWAITING_ACCEPTANCE)
}

fn tell_awaiting(result: &SendResult, who: &str) {
    if awaits(result) {
        note(&sent::describe(result, who, None));
    }
}

/// When the recipient was seen to go offline. What only adorns an answer may fail.
async fn offline_since(session: &mut Session, who: &str) -> Option<Timestamp> {
    let contact = session.person(who).await.ok()?;
    contact.online_since.filter(|_| contact.online == Some(false))
}

fn from_arguments(words: &[OsString]) -> Result<String, Failure> {
    let joined = words.join(" ".as_ref());
    let text = joined.into_string().map_err(|_| Failure::other("the text is not UTF-8; a message is UTF-8 text"))?;
    check(text)
}

fn from_stdin(input: impl Read, terminal: bool) -> Result<String, Failure> {
    if terminal {
        note("(type the text; Ctrl-D on a line of its own ends it)");
    }
    let mut bytes = Vec::new();
    // The text, its final LF, and one byte more to know that it is too long; never all of an endless input.
    let limit = MAX_TEXT_BYTES as u64 + 2;
    let read = input.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| Failure::other(stdin_lines::LineError::Read(error.to_string()).to_string()))?;
    let cut = bytes.len() as u64 == limit;
    if bytes.last() == Some(&b'\n') && !cut {
        bytes.pop();
    }
    if bytes.len() > MAX_TEXT_BYTES {
        let text = format!("standard input is too long: a message has at most {} bytes", grouped(MAX_TEXT_BYTES));
        let hint = Some("`--stdin-lines` sends a message for each line".to_owned());
        return Err(Failure::Other { exit: Exit::Failed, text, hint });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::other(format!("standard input is not UTF-8 (at byte {at}); a message is UTF-8 text"))
    })?;
    check(text)
}

fn check(text: String) -> Result<String, Failure> {
    if text.is_empty() {
        return Err(Failure::Usage("the text is empty; give some, or pipe it in".to_owned()));
    }
    if text.len() > MAX_TEXT_BYTES {
        let (has, limit) = (grouped(text.len()), grouped(MAX_TEXT_BYTES));
        return Err(Failure::other(format!("the text has {has} bytes; a message has at most {limit}")));
    }
    Ok(text)
}

/// `61,440`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn text_of_arguments() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(from_arguments(&words(&["hello", "bob"])).unwrap(), "hello bob");
        assert_eq!(from_arguments(&words(&["two\nlines\n"])).unwrap(), "two\nlines\n", "as given");
        assert_eq!(from_arguments(&words(&[""])).unwrap_err().exit(), Exit::Usage);
        let broken = from_arguments(&[OsString::from_vec(vec![b'a', 0xff])]).unwrap_err();
        assert_eq!((broken.exit(), broken.to_string().contains("UTF-8")), (Exit::Failed, true));
        let long = from_arguments(&[OsString::from("x".repeat(61_441))]).unwrap_err();
        assert_eq!(long.to_string(), "the text has 61,441 bytes; a message has at most 61,440");
        assert!(from_arguments(&[OsString::from("x".repeat(61_440))]).is_ok());
    }

    #[test]
    fn text_of_standard_input() {
        let read = |text: &[u8]| from_stdin(text, false);
        assert_eq!(read(b"hello\n").unwrap(), "hello");
        assert_eq!(read(b"hello\n\n").unwrap(), "hello\n", "one LF is dropped");
        assert_eq!(read(b"a\r\n").unwrap(), "a\r");
        for empty in [&b""[..], b"\n"] {
            assert_eq!(read(empty).unwrap_err().exit(), Exit::Usage);
        }
        assert!(read(b"ab\xff").unwrap_err().to_string().contains("at byte 2"));
        let fits = "x".repeat(MAX_TEXT_BYTES);
        assert_eq!(read(format!("{fits}\n").as_bytes()).unwrap().len(), MAX_TEXT_BYTES);
        for long in [format!("{fits}x"), format!("{fits}\n\n"), format!("{fits}{fits}")] {
            assert!(read(long.as_bytes()).unwrap_err().to_string().contains("61,440"));
        }
        assert!(from_stdin(io::repeat(b'x'), false).is_err(), "an endless input ends");
    }
}
