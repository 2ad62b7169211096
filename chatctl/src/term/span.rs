//! What is shown, before it is bytes: lines of spans, each with what it is and how it stands out.
//!
//! Messages, events and tables are made of these, so that whoever draws them (a terminal line by line, a full screen)
//! draws the same. Not the job: escape codes, the width of rows, and making text harmless; that is [`super::render`]'s.
//! Nothing depends on a style: every line reads the same without.

/// Colours that a name may have. Which one it gets is its own for ever.
pub const NAME_COLOURS: u8 = 10;

/// What a span stands out by, beside its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// Like the text around.
    #[default]
    Plain,
    /// Behind the rest: times, ids, marks.
    Dim,
    /// What needs attention.
    Alert,
    /// Code in somebody's text.
    Code,
    /// A name, in one of [`NAME_COLOURS`] colours.
    Name(u8),
}

/// How a span is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Its colour, by what it is.
    pub tone: Tone,
    /// In heavy letters.
    pub bold: bool,
    /// In slanted letters.
    pub italic: bool,
}

/// What a span is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A part of a line, whoever wrote it: no control character of it passes, and nothing that nobody sees.
    #[default]
    Text,
    /// A part of a message's text: tabs pass.
    Body,
    /// A mark of emphasis as it was typed, such as `**`: for those who cannot draw what it means.
    Mark,
}

/// A piece of a line in one style. Its text is as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    pub text: String,
    pub style: Style,
    pub kind: Kind,
}

impl Span {
    fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), style: Style { tone, ..Style::default() }, kind: Kind::Text }
    }

    /// Behind the rest.
    pub fn dim(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Dim)
    }

    /// What needs attention.
    pub fn alert(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Alert)
    }

    /// A name of somebody, in the colour that is always that name's.
    pub fn name(name: &str) -> Self {
        // FNV-1a: stable across runs and machines, unlike the standard library's hasher.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self::toned(name, Tone::Name((hash % u64::from(NAME_COLOURS)) as u8))
    }

    /// A part of a message's text.
    pub fn body(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style, kind: Kind::Body }
    }

    /// A mark of emphasis.
    pub fn mark(text: &str, style: Style) -> Self {
        Self { text: text.to_owned(), style, kind: Kind::Mark }
    }
}

impl From<&str> for Span {
    fn from(text: &str) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl From<String> for Span {
    fn from(text: String) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// One line. A line feed in one of its spans is no line break; it is shown as what it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line(Vec<Span>);

impl Line {
    /// The spans, from the first to the last as they were put.
    pub fn spans(&self) -> &[Span] {
        &self.0
    }

    /// One more span at the end.
    pub fn push(&mut self, span: impl Into<Span>) {
        self.0.push(span.into());
    }

    /// Everything of another line at the end.
    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The line behind a span.
    #[must_use]
    pub fn after(mut self, span: impl Into<Span>) -> Self {
        self.0.insert(0, span.into());
        self
    }
}

impl<S: Into<Span>> From<S> for Line {
    fn from(span: S) -> Self {
        Self(vec![span.into()])
    }
}

impl<const N: usize> From<[Span; N]> for Line {
    fn from(spans: [Span; N]) -> Self {
        Self(spans.into())
    }
}

impl FromIterator<Span> for Line {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        Self(spans.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(Span::name("bob"), Span::name("bob"));
        assert!(matches!(Span::name("bob").style.tone, Tone::Name(colour) if colour < NAME_COLOURS));
        let tones: Vec<_> = (0..50).map(|n| Span::name(&format!("user{n}")).style.tone).collect();
        let different = (0..NAME_COLOURS).filter(|colour| tones.contains(&Tone::Name(*colour))).count();
        assert!(different > 5, "names differ in colour");
    }

    #[test]
    fn lines_are_put_together_in_order() {
        let mut line = Line::from([Span::name("bob"), ": ".into()]);
        line.push("hi");
        line.append(Line::from(Span::dim(" (late)")));
        let line = line.after("08:30 ");
        let texts: Vec<_> = line.spans().iter().map(|span| span.text.as_str()).collect();
        assert_eq!(texts, ["08:30 ", "bob", ": ", "hi", " (late)"]);
    }
}
