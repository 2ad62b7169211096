//! Events as lines.

use proto::reason::Reason;
use proto::rpc::event::{Event, EventType};
use proto::rpc::types::{DeadLetter, MessageState};

use super::words::clock::clock;
use super::words::{argument, count, reasons, short_id};
use super::{Look, contact, message};
use crate::term::span::{Line, Span};

/// The lines of an event; `None` for those that say nothing to a person (a message on its way).
pub fn event(event: &Event, look: Look, answered: Option<&str>) -> Option<Vec<Line>> {
    if event.kind == EventType::MessageReceived {
        // What is missing before it was told by an event of its own.
        let mut lines = message::alone(event.message.as_ref()?, look, answered);
        if let Some(last) = lines.last_mut().filter(|_| event.muted) {
            last.push(Span::dim(" (muted)"));
        }
        return Some(lines);
    }
    Some(vec![said(event, look)?.after(" ").after(Span::dim(clock(event.at)))])
}

fn said(event: &Event, look: Look) -> Option<Line> {
    let who = || Span::name(event.who.as_deref().unwrap_or("somebody"));
    let about = |before: &str, after: &str| Line::from([before.into(), who(), after.into()]);
    Some(match event.kind {
        EventType::MessageReceived => return None,
        EventType::MessageState => {
            let state = event.state.filter(|s| !matches!(s, MessageState::Queued | MessageState::Sent))?;
            let id = event.id.map(|id| if look.ids { short_id(id) } else { id.to_string() }).unwrap_or_default();
            let reason = event.reason.as_deref().map(|r| format!(" ({})", reasons::words(r))).unwrap_or_default();
            about("message to ", &format!(" is {}{reason}: {id}", state.as_str()))
        }
        EventType::MessageGap => match event.reason.as_deref() {
            None => {
                let (before, after) = message::missing(event.count.unwrap_or(1));
                about(&before, &format!("{after} missing here"))
            }
            Some(reason) if reason == Reason::ChainBroken.as_str() => {
                about("the messages of ", " do not follow from each other: their sender is broken or lies")
            }
            Some(other) => about("the messages of ", &format!(": {}", reasons::words(other))),
        },
        EventType::ContactRequest => match &event.contact {
            Some(contact) => contact::request(contact),
            None => about("", " asks to be a contact"),
        },
        EventType::ContactAccepted => about("", " is a contact now"),
        EventType::ContactRejected => about("", " refused to be a contact"),
        EventType::ContactGivenUp => {
            let reason = event.reason.as_deref().map(|r| format!(": {}", reasons::words(r))).unwrap_or_default();
            about("the request to ", &format!(" is given up{reason}"))
        }
        EventType::ContactRemoved => about("", " is no longer a contact"),
        EventType::ContactKeyChanged => {
            let name = argument(event.who.as_deref().unwrap_or("WHO"));
            key_change(event.reason.as_deref(), who(), &name)
        }
        EventType::ContactProfile => {
            let status = event.contact.as_ref().and_then(|c| c.profile.as_ref()).map(|p| p.status.as_str());
            about("", &format!(" changed the profile: {}", status.unwrap_or_default()))
        }
        EventType::Presence => about("", if event.online == Some(true) { " is online" } else { " is offline" }),
        EventType::FeedLagged => {
            let upto = event.upto.unwrap_or(event.seq);
            format!("events up to {upto} are no longer stored; going on after them").into()
        }
    })
}

/// What became of somebody's key, and what to do about it.
fn key_change(reason: Option<&str>, who: Span, name: &str) -> Line {
    let verify = format!("chatctl verify {name}");
    let (before, after) = match reason.and_then(Reason::read).map(|said| said.reason) {
        Some(Reason::Rotated) => {
            let after = format!(" has a new key, signed by the old one; to compare again: {verify}");
            return [who, after.into()].into();
        }
        Some(Reason::Accepted) => {
            return ["the new key of ".into(), who, " is accepted; what waited is sent".into()].into();
        }
        Some(Reason::Kept) => {
            let after = " holds; the other one is refused, and what waited is sent";
            return ["the old key of ".into(), who, after.into()].into();
        }
        Some(Reason::Recovered) => {
            ("", format!(" HAS A NEW KEY, by the recovery key: the old one may be in other hands; compare: {verify}"))
        }
        _ => {
            ("THE KEY OF ", format!(" CHANGED and nobody vouches for the new one; nothing is sent. Compare: {verify}"))
        }
    };
    [Span::alert(before), who, Span::alert(after)].into()
}

/// An event that a consumer gave up.
pub fn dead_letter(letter: &DeadLetter, look: Look) -> Vec<Line> {
    let attempts = count(letter.attempts, "attempt");
    let mut head =
        Line::from(format!("event {}, given up {} after {attempts} ({})", letter.seq, clock(letter.at), letter.reason));
    let mut lines = Vec::new();
    match letter.event.as_ref().map(|given_up| event(given_up, look, None)) {
        Some(Some(event)) => {
            head.push(":");
            lines.extend(event);
            lines =
                lines.into_iter().enumerate().map(|(n, line)| if n == 0 { line.after("  ") } else { line }).collect();
        }
        Some(None) => {}
        None => head.push("; its message was deleted"),
    }
    lines.insert(0, head);
    lines
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::term::escape;
    use crate::term::render::samples::plain;
    use proto::time::Timestamp;

    fn event(event: &Event, look: Look, answered: Option<&str>) -> Option<String> {
        super::event(event, look, answered).map(|lines| plain(&lines))
    }

    #[test]
    fn what_is_missing_is_an_event() {
        let mut gap = Event::new(1, EventType::MessageGap, Timestamp(0), "alice".into());
        (gap.who, gap.count) = (Some("bob".into()), Some(1));
        assert!(event(&gap, Look::default(), None).unwrap().ends_with(" 1 message of bob is missing here"));
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

    #[test]
    fn what_needs_attention_stands_out_around_the_name() {
        let mut changed = Event::new(1, EventType::ContactKeyChanged, Timestamp(0), "alice".into());
        changed.who = Some("bob".into());
        for (reason, before, stands_out) in [
            (None, "THE KEY OF ", true),
            (Some(Reason::NoValidRotation), "THE KEY OF ", true),
            (Some(Reason::Recovered), "", true),
            (Some(Reason::Accepted), "the new key of ", false),
            (Some(Reason::Kept), "the old key of ", false),
        ] {
            changed.reason = reason.map(|reason| reason.as_str().to_owned());
            let lines = super::event(&changed, Look::default(), None).unwrap();
            let [time, _, first, who, rest] = lines[0].spans() else { panic!("{lines:?}") };
            assert_eq!((time, who), (&Span::dim(clock(changed.at)), &Span::name("bob")));
            assert_eq!(first, &if stands_out { Span::alert(before) } else { before.into() }, "{reason:?}");
            assert_eq!(rest.style, first.style, "{reason:?}: the rest stands out as the beginning does");
        }
    }

    #[test]
    fn a_dead_letter_shows_what_was_given_up() {
        let mut gap = Event::new(7, EventType::MessageReceived, Timestamp(0), "alice".into());
        gap.message = Some(samples::message());
        let reason = "exit code 3\n".to_owned();
        let mut letter = DeadLetter { seq: 7, attempts: 2, reason, at: Timestamp(0), event: Some(gap) };
        let head = format!("event 7, given up {} after 2 attempts (exit code 3\\u{{a}})", clock(letter.at));
        let shown = plain(&dead_letter(&letter, Look::default()));
        assert!(shown.starts_with(&format!("{head}:\n  ")) && shown.ends_with("there [wor\\u{7}k]"), "{shown}");
        letter.event = None;
        assert_eq!(plain(&dead_letter(&letter, Look::default())), format!("{head}; its message was deleted"));
    }
}
