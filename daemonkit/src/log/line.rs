//! One event as one line: text for people, JSON for programs.
//!
//! Values come from anywhere: names of 30 KB, newlines that would forge a line, escapes that a terminal obeys. Each is cut
//! at [`MAX_VALUE_BYTES`], and what acts is shown as an escape.

use std::fmt::{self, Debug, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::event as kinds;
use super::veil::{self, Private};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object a line.
    Json,
}

/// Bytes of one value at most.
pub const MAX_VALUE_BYTES: usize = 256;

/// A value as far as it is shown.
#[derive(Default)]
struct Bounded {
    text: String,
    cut: bool,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            // An escape is as long as ten bytes.
            if self.text.len() + 10 > MAX_VALUE_BYTES {
                self.cut = true;
                // Ends the formatting: a value of a megabyte costs no more than its beginning.
                return Err(fmt::Error);
            }
            let acts = c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
            if acts {
                write!(self.text, "\\u{{{:x}}}", u32::from(c))?;
            } else {
                self.text.push(c);
            }
        }
        Ok(())
    }
}

fn bounded(value: &dyn Debug) -> String {
    let mut out = Bounded::default();
    let _ = write!(out, "{value:?}");
    if out.cut {
        out.text.push('…');
    }
    out.text
}

/// The fields of an event; a value each.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
    private: Private,
    /// Above DEBUG.
    loud: bool,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == super::throttle::OFTEN {
            return;
        }
        let text = veil::value(self.private, field.name(), bounded(value), self.loud);
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, Value::String(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}

/// The event as a line.
pub(super) fn line(format: Format, private: Private, event: &Event<'_>) -> String {
    let loud = *event.metadata().level() <= Level::INFO;
    let mut fields = Fields { private, loud, ..Fields::default() };
    event.record(&mut fields);
    if loud && let Some(id) = kinds::id(event.metadata().target(), &fields.message) {
        fields.others.push(("event", id.into()));
    }
    write_out(format, event.metadata().level(), event.metadata().target(), fields)
}

/// A line of the log about itself.
pub(super) fn own(format: Format, level: Level, message: &str, mut others: Vec<(&'static str, Value)>) -> String {
    others.extend(kinds::id("daemonkit::log", message).map(|id| ("event", id.into())));
    write_out(format, &level, "daemonkit::log", Fields { message: message.to_owned(), others, ..Fields::default() })
}

fn write_out(format: Format, level: &Level, target: &str, fields: Fields) -> String {
    let now = jiff::Timestamp::now();
    match format {
        Format::Text => {
            let mut out = format!("{now:.6} {:>5} {target}: {}", level.as_str(), fields.message);
            for (name, value) in fields.others {
                let _ = match value {
                    Value::String(text) if text.is_empty() || text.contains([' ', '"', '=']) => {
                        write!(out, " {name}={text:?}")
                    }
                    Value::String(text) => write!(out, " {name}={text}"),
                    other => write!(out, " {name}={other}"),
                };
            }
            out
        }
        Format::Json => {
            let mut out = Map::new();
            out.insert("timestamp".into(), format!("{now:.6}").into());
            out.insert("level".into(), level.as_str().into());
            out.insert("target".into(), target.into());
            out.insert("message".into(), fields.message.into());
            for (name, value) in fields.others {
                out.insert(name.into(), value);
            }
            Value::Object(out).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_bounded_and_forges_nothing() {
        let long = bounded(&format_args!("{}", "n".repeat(30_000)));
        assert!(long.len() <= MAX_VALUE_BYTES && long.ends_with('…'), "{} bytes", long.len());
        assert_eq!(
            bounded(&format_args!("bob\n2026 INFO all is well \x1b[2J")),
            "bob\\u{a}2026 INFO all is well \\u{1b}[2J"
        );
        assert_eq!(bounded(&format_args!("josé 🎉")), "josé 🎉");
    }
}
