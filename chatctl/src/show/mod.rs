//! Messages, events and contacts as lines for people. Everything that others chose is neutralised here.

pub mod clock;
pub mod reasons;

use std::fmt::Write as _;

use proto::reason::Reason;
use proto::rpc::event::{Event, EventType};
use proto::rpc::types::{Contact, ContactState, Format, Message, MessageState, Priority, Trust};

use crate::client::message_id;
use crate::show::clock::clock;
use crate::show::reasons::words;
use crate::term::escape::{self, Place};
use crate::term::markdown;
use crate::term::style::{self, DIM, RED};

/// How messages are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Styles may be used.
    pub colour: bool,
    /// With the end of their ids, for somebody who may type one.
    pub ids: bool,
}

/// `14:02 bob: text`, with marks for what is special about it; further lines of the text are indented. A line of its own
/// says before it what was missing there. `answered` is what stands for the message that it answers.
pub fn message(message: &Message, look: Look, answered: Option<&str>) -> String {
    let colour = look.colour;
    let from = style::name(&message.from, colour);
    let line = lines(message, &from, "\n      ", look, answered);
    if message.missing == 0 {
        return line;
    }
    let gap = format!("-- {} missing --", missing(message.missing, &from));
    format!("{}\n{line}", style::paint(&gap, DIM, colour))
}

/// `3 messages of bob are`, of a name that is fit to print.
fn missing(count: u64, who: &str) -> String {
    if count == 1 { format!("1 message of {who} is") } else { format!("{count} messages of {who} are") }
}

/// A message among those of other conversations, on one line: `14:02 bob to alice: text`.
pub fn hit(message: &Message, look: Look, answered: Option<&str>) -> String {
    let name = |name: &str| style::name(name, look.colour);
    lines(message, &format!("{} to {}", name(&message.from), name(&message.to)), " ", look, answered)
}

fn lines(message: &Message, from: &str, line_break: &str, look: Look, answered: Option<&str>) -> String {
    let colour = look.colour;
    // A CR before an LF, or at the end, is how other systems end lines.
    let text = message.body.replace("\r\n", "\n");
    let text = text.strip_suffix('\r').unwrap_or(&text);
    let body = match message.format {
        Format::Markdown => markdown::render(text, colour),
        Format::Plain => escape::neutralise(text, Place::Body).into_owned(),
    };
    let own = message.received_at.is_none();
    let at = message.received_at.unwrap_or(message.sent_at);
    let mut line = style::paint(&clock(at), DIM, colour);
    if look.ids {
        let _ = write!(line, " {}", style::paint(&message_id::short(message.id), DIM, colour));
    }
    let _ = write!(line, " {from}: ");
    if message.priority == Priority::High {
        line.push_str(&style::paint("! ", RED, colour));
    }
    line.push_str(&body.replace('\n', line_break));
    for tag in &message.tags {
        let _ = write!(line, " {}", style::paint(&format!("[{}]", escape::line(tag)), DIM, colour));
    }
    if let Some(id) = message.reply_to {
        let answered = answered.map_or_else(|| message_id::short(id), |text| escape::line(text).into_owned());
        let _ = write!(line, " {}", style::paint(&format!("(answers {answered})"), DIM, colour));
    }
    if message.late {
        line.push_str(&style::paint(" (late)", DIM, colour));
    }
    if own {
        let reason = message.reason.as_deref().map(|r| format!(": {}", words(r))).unwrap_or_default();
        line.push_str(&style::paint(&format!(" ({}{reason})", message.state.as_str()), DIM, colour));
    }
    line
}

/// One line for an event; `None` for those that say nothing to a person (a message on its way).
pub fn event(event: &Event, look: Look, answered: Option<&str>) -> Option<String> {
    let colour = look.colour;
    let who = || style::name(event.who.as_deref().unwrap_or("somebody"), colour);
    let said = match event.kind {
        EventType::MessageReceived => {
            let muted = if event.muted { style::paint(" (muted)", DIM, colour) } else { String::new() };
            // What is missing before it was told by an event of its own.
            let plain = |m: &Message| lines(m, &style::name(&m.from, colour), "\n      ", look, answered);
            return event.message.as_ref().map(|m| plain(m) + &muted);
        }
        EventType::MessageState => {
            let state = event.state.filter(|s| !matches!(s, MessageState::Queued | MessageState::Sent))?;
            let id =
                event.id.map(|id| if look.ids { message_id::short(id) } else { id.to_string() }).unwrap_or_default();
            let reason = event.reason.as_deref().map(|r| format!(" ({})", words(r))).unwrap_or_default();
            format!("message to {} is {}{reason}: {id}", who(), state.as_str())
        }
        EventType::MessageGap => match event.reason.as_deref() {
            None => format!("{} missing here", missing(event.count.unwrap_or(1), &who())),
            Some(reason) if reason == Reason::ChainBroken.as_str() => {
                format!("the messages of {} do not follow from each other: their sender is broken or lies", who())
            }
            Some(other) => format!("the messages of {}: {}", who(), words(other)),
        },
        EventType::ContactRequest => match &event.contact {
            Some(contact) => request(contact, colour),
            None => format!("{} asks to be a contact", who()),
        },
        EventType::ContactAccepted => format!("{} is a contact now", who()),
        EventType::ContactRejected => format!("{} refused to be a contact", who()),
        EventType::ContactGivenUp => {
            let reason = event.reason.as_deref().map(|r| format!(": {}", words(r))).unwrap_or_default();
            format!("the request to {} is given up{reason}", who())
        }
        EventType::ContactRemoved => format!("{} is no longer a contact", who()),
        EventType::ContactKeyChanged => {
            let name = event.who.as_deref().unwrap_or("WHO");
            key_change(event.reason.as_deref(), &who(), &argument(name), colour)
        }
        EventType::ContactProfile => {
            let status = event.contact.as_ref().and_then(|c| c.profile.as_ref()).map(|p| p.status.as_str());
            format!("{} changed the profile: {}", who(), escape::line(status.unwrap_or_default()))
        }
        EventType::Presence => {
            format!("{} is {}", who(), if event.online == Some(true) { "online" } else { "offline" })
        }
        EventType::FeedLagged => {
            format!("events up to {} are no longer stored; going on after them", event.upto.unwrap_or(event.seq))
        }
    };
    Some(format!("{} {said}", style::paint(&clock(event.at), DIM, colour)))
}

/// What became of somebody's key, and what to do about it.
fn key_change(reason: Option<&str>, who: &str, name: &str, colour: bool) -> String {
    let text = match reason.and_then(Reason::read).map(|said| said.reason) {
        Some(Reason::Rotated) => {
            return format!("{who} has a new key, signed by the old one; to compare again: chatctl verify {name}");
        }
        Some(Reason::Accepted) => return format!("the new key of {who} is accepted; what waited is sent"),
        Some(Reason::Kept) => {
            return format!("the old key of {who} holds; the other one is refused, and what waited is sent");
        }
        Some(Reason::Recovered) => {
            format!(
                "{who} HAS A NEW KEY, by the recovery key: the old one may be in other hands; compare: chatctl verify {name}"
            )
        }
        _ => format!(
            "THE KEY OF {who} CHANGED and nobody vouches for the new one; nothing is sent. Compare: chatctl verify {name}"
        ),
    };
    style::paint(&text, RED, colour)
}

/// A request that waits, with the command that accepts it. What its sender chose is in quotes, and said to be so.
pub fn request(contact: &Contact, colour: bool) -> String {
    let key = escape::line(&contact.fingerprint);
    let mut line = if contact.confirmed {
        format!("{} asks to be a contact (key {key})", style::name(&contact.who, colour))
    } else {
        let claim = escape::line(&contact.address);
        format!("somebody who says to be \"{claim}\" (name not confirmed; key {key}) asks to be a contact")
    };
    if let Some(text) = contact.message.as_deref().filter(|text| !text.is_empty()) {
        // A quotation mark within would seem to end what the other wrote.
        let _ = write!(line, ", and writes: \"{}\"", escape::line(text).replace('"', "\\\""));
    }
    let form = contact.handle.as_deref().unwrap_or(&contact.who);
    let _ = write!(line, "; chatctl accept {}", argument(form));
    line
}

/// A name as an argument that a shell can be given: quoted when it holds more than letters, digits, `@`, `.`, `_`, `-`.
pub fn argument(name: &str) -> String {
    let shown = escape::line(name);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '@' | '.' | '_' | '-' | '#' | '%' | ':');
    if !shown.is_empty() && shown.chars().all(plain) && !shown.starts_with('-') {
        shown.into_owned()
    } else {
        format!("'{}'", shown.replace('\'', "'\\''"))
    }
}

/// Where a contact stands, in a word or two.
pub fn contact_state(contact: &Contact) -> &'static str {
    match contact.state {
        _ if contact.blocked => "blocked",
        ContactState::Requested => "asked",
        ContactState::Pending => "asks you",
        ContactState::Accepted => "contact",
        ContactState::Rejected => "refused",
        ContactState::Removed => "removed",
        ContactState::GivenUp => "given up",
    }
}

/// How far a key is trusted, in a word or two.
pub fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Unverified => "unverified",
        Trust::Verified => "verified",
        Trust::Rotated => "verify again",
        Trust::Changed => "KEY CHANGED",
    }
}

/// `online`, `offline`, or `-` where nobody tells.
pub fn presence(online: Option<bool>) -> &'static str {
    match online {
        Some(true) => "online",
        Some(false) => "offline",
        None => "-",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub mod samples {
    //! What tests show: everything hostile that can be in it is in it.
    use super::*;
    use proto::ids::{AccountId, ConversationId, MessageId};
    use proto::time::Timestamp;

    /// A message of bob's to alice.
    pub fn message() -> Message {
        Message {
            id: MessageId([7; 16]),
            conversation: ConversationId([1; 16]),
            from: "bob".into(),
            to: "alice".into(),
            peer: AccountId([9; 16]),
            label: None,
            body: "hi\n\x1b[2Jthere".into(),
            format: Format::Plain,
            tags: vec!["wor\x07k".into()],
            priority: Priority::High,
            sent_at: Timestamp(1_760_000_000_000),
            received_at: Some(Timestamp(1_760_000_000_500)),
            state: MessageState::Delivered,
            reason: None,
            state_at: None,
            reply_to: None,
            late: false,
            missing: 0,
        }
    }

    /// Carol, who asks alice.
    pub fn contact() -> Contact {
        Contact {
            who: "%7".into(),
            name: "carol".into(),
            address: "carol@example.org".into(),
            label: None,
            handle: Some("%7".into()),
            account: AccountId([2; 16]),
            conversation: ConversationId([3; 16]),
            state: ContactState::Pending,
            reason: None,
            trust: Trust::Unverified,
            fingerprint: "ab12-cd34".into(),
            new_fingerprint: None,
            confirmed: false,
            blocked: false,
            muted_until: None,
            online: Some(true),
            online_since: None,
            unread: 0,
            profile: None,
            message: Some("it is me\u{202e}, carol".into()),
            since: Some(Timestamp(1_760_000_000_000)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proto::time::Timestamp;

    #[test]
    fn a_message_is_harmless_and_readable() {
        let line = message(&samples::message(), Look::default(), None);
        assert!(line.ends_with(" bob: ! hi\n      \\u{1b}[2Jthere [wor\\u{7}k]"), "{line:?}");
        let mut own = samples::message();
        (own.received_at, own.state, own.reason) = (None, MessageState::Queued, Some("awaiting_acceptance".into()));
        assert!(message(&own, Look::default(), None).ends_with(" (queued: not accepted yet)"));
        (own.state, own.reason) = (MessageState::Read, None);
        assert!(message(&own, Look::default(), None).ends_with("] (read)"), "{own:?}");
    }

    #[test]
    fn for_somebody_who_may_answer_it() {
        let mut reply = samples::message();
        (reply.body, reply.reply_to) = ("yes\r\nof course\r".into(), Some(proto::ids::MessageId([9; 16])));
        let people = Look { ids: true, ..Look::default() };
        let line = message(&reply, people, Some("alice: \"lunch?\u{1b}\""));
        assert!(line.contains(" 07070707 bob: ! yes\n      of course ["), "{line:?}");
        assert!(line.ends_with("(answers alice: \"lunch?\\u{1b}\")"), "{line:?}");
        let line = message(&reply, Look::default(), None);
        assert!(
            line.contains(" bob: ") && !line.contains("07070707") && line.ends_with("(answers 09090909)"),
            "{line:?}"
        );
    }

    #[test]
    fn what_is_missing_is_said_before_what_follows() {
        let mut after = samples::message();
        after.missing = 3;
        assert!(message(&after, Look::default(), None).starts_with("-- 3 messages of bob are missing --\n"));
        (after.missing, after.late) = (0, true);
        assert!(message(&after, Look::default(), None).ends_with(" (late)"));
        let mut gap = Event::new(1, EventType::MessageGap, Timestamp(0), "alice".into());
        (gap.who, gap.count) = (Some("bob".into()), Some(1));
        assert!(event(&gap, Look::default(), None).unwrap().ends_with(" 1 message of bob is missing here"));
    }

    #[test]
    fn a_hit_is_one_line_and_names_both() {
        let line = hit(&samples::message(), Look::default(), None);
        assert!(line.ends_with(" bob to alice: ! hi \\u{1b}[2Jthere [wor\\u{7}k]"), "{line:?}");
    }

    #[test]
    fn a_request_shows_the_command() {
        let mut contact = samples::contact();
        assert_eq!(
            request(&contact, false),
            "somebody who says to be \"carol@example.org\" (name not confirmed; key ab12-cd34) asks to be a contact, \
             and writes: \"it is me\\u{202e}, carol\"; chatctl accept %7"
        );
        (contact.confirmed, contact.who) = (true, "carol".into());
        contact.message = Some("hi\"; chatctl accept %1".into());
        assert_eq!(
            request(&contact, false),
            "carol asks to be a contact (key ab12-cd34), and writes: \"hi\\\"; chatctl accept %1\"; chatctl accept %7"
        );
    }

    #[test]
    fn a_name_is_no_shell_command() {
        assert_eq!(argument("bob"), "bob");
        assert_eq!(argument("x; rm -rf ~"), "'x; rm -rf ~'");
        assert_eq!(argument("it's"), "'it'\\''s'");
        assert_eq!(argument("-rf"), "'-rf'");
        assert_eq!(argument(""), "''");
    }

    #[test]
    fn every_event_has_a_line() {
        for kind in EventType::ALL {
            let mut e = Event::new(1, kind, Timestamp(0), "alice".into());
            e.who = Some("bo\x1bb".into());
            e.state = Some(MessageState::Delivered);
            e.message = Some(samples::message());
            e.contact = Some(samples::contact());
            e.reason = Some("\u{9b}x".into());
            let line = event(&e, Look::default(), None).unwrap();
            assert!(!line.chars().any(|c| c != '\n' && escape::acts(c)), "{kind:?}: {line:?}");
        }
        let mut sent = Event::new(1, EventType::MessageState, Timestamp(0), "alice".into());
        sent.state = Some(MessageState::Sent);
        assert_eq!(event(&sent, Look::default(), None), None, "nothing to tell");
    }
}
