//! Messages as lines.

use proto::rpc::types::{Format, Message, Priority};

use super::Look;
use super::words::clock::clock;
use super::words::reasons;
use super::words::short_id;
use crate::term::markdown;
use crate::term::render::INDENT;
use crate::term::span::{Line, Span, Style};

/// `14:02 bob: text`, with marks for what is special about it; further lines of the text are indented. A line of its own
/// says before it what was missing there. `answered` is what stands for the message that it answers.
pub fn message(message: &Message, look: Look, answered: Option<&str>) -> Vec<Line> {
    let mut lines = Vec::new();
    if message.missing > 0 {
        let (before, after) = missing(message.missing);
        let after = Span::dim(format!("{after} missing --"));
        lines.push([Span::dim(format!("-- {before}")), Span::name(&message.from), after].into());
    }
    lines.extend(alone(message, look, answered));
    lines
}

/// The same without what was missing before it.
pub fn alone(message: &Message, look: Look, answered: Option<&str>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut begun = head(message, vec![Span::name(&message.from)], look);
    for line in body(message) {
        begun.append(line);
        lines.push(std::mem::replace(&mut begun, INDENT.into()));
    }
    if let Some(last) = lines.last_mut() {
        last.append(tail(message, answered));
    }
    lines
}

/// A message among those of other conversations, on one line: `14:02 bob to alice: text`.
pub fn hit(message: &Message, look: Look, answered: Option<&str>) -> Line {
    let names = vec![Span::name(&message.from), " to ".into(), Span::name(&message.to)];
    let mut hit = head(message, names, look);
    for (n, line) in body(message).into_iter().enumerate() {
        if n > 0 {
            hit.push(" ");
        }
        hit.append(line);
    }
    hit.append(tail(message, answered));
    hit
}

/// What stands around a name that messages are missing of: `3 messages of `, ` are`.
pub fn missing(count: u64) -> (String, &'static str) {
    if count == 1 { ("1 message of ".to_owned(), " is") } else { (format!("{count} messages of "), " are") }
}

/// Time, id and names.
fn head(message: &Message, names: Vec<Span>, look: Look) -> Line {
    let mut head = Line::from(Span::dim(clock(message.received_at.unwrap_or(message.sent_at))));
    if look.ids {
        head.push(" ");
        head.push(Span::dim(short_id(message.id)));
    }
    head.push(" ");
    head.append(names.into_iter().collect());
    head.push(": ");
    if message.priority == Priority::High {
        head.push(Span::alert("! "));
    }
    head
}

/// The lines of the text; one at least.
fn body(message: &Message) -> Vec<Line> {
    // A CR before an LF, or at the end, is how other systems end lines.
    let text = message.body.replace("\r\n", "\n");
    let text = text.strip_suffix('\r').unwrap_or(&text);
    match message.format {
        Format::Markdown => markdown::lines(text),
        Format::Plain => text.split('\n').map(|line| Span::body(line, Style::default()).into()).collect(),
    }
}

/// Tags, what it answers, and how it stands.
fn tail(message: &Message, answered: Option<&str>) -> Line {
    let mut tail = Line::default();
    for tag in &message.tags {
        tail.push(" ");
        tail.push(Span::dim(format!("[{tag}]")));
    }
    if let Some(id) = message.reply_to {
        let answered = answered.map_or_else(|| short_id(id), str::to_owned);
        tail.push(" ");
        tail.push(Span::dim(format!("(answers {answered})")));
    }
    if message.late {
        tail.push(Span::dim(" (late)"));
    }
    if message.received_at.is_none() {
        let reason =
            message.reason.as_deref().map(|reason| format!(": {}", reasons::words(reason))).unwrap_or_default();
        tail.push(Span::dim(format!(" ({}{reason})", message.state.as_str())));
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::term::render::samples::plain;
    use proto::rpc::types::MessageState;

    fn message(message: &Message, look: Look, answered: Option<&str>) -> String {
        plain(&super::message(message, look, answered))
    }

    fn hit(message: &Message, look: Look, answered: Option<&str>) -> String {
        plain(&[super::hit(message, look, answered)])
    }

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
        let people = Look { ids: true };
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
    }

    #[test]
    fn a_hit_is_one_line_and_names_both() {
        let line = hit(&samples::message(), Look::default(), None);
        assert!(line.ends_with(" bob to alice: ! hi \\u{1b}[2Jthere [wor\\u{7}k]"), "{line:?}");
    }

    #[test]
    fn every_part_says_what_it_is() {
        let mut own = samples::message();
        (own.body, own.format, own.received_at, own.missing) = ("a **b**\nc".into(), Format::Markdown, None, 1);
        let lines = super::message(&own, Look { ids: true }, None);
        let name = Span::name("bob");
        assert_eq!(lines[0].spans(), [Span::dim("-- 1 message of "), name.clone(), Span::dim(" is missing --")]);
        let (bold, text) = (Style { bold: true, ..Style::default() }, |text: &str| Span::body(text, Style::default()));
        let (at, id) = (Span::dim(clock(own.sent_at)), Span::dim("07070707"));
        let head = [at, " ".into(), id, " ".into(), name, ": ".into(), Span::alert("! ")];
        let body = [text("a "), Span::mark("**", bold), Span::body("b", bold), Span::mark("**", bold)];
        assert_eq!(lines[1].spans(), [&head[..], &body[..]].concat());
        let tail = [Span::from(INDENT), text("c"), " ".into(), Span::dim("[wor\u{7}k]"), Span::dim(" (delivered)")];
        assert_eq!(lines[2].spans(), tail, "as it came: what draws it makes it harmless");
    }
}
