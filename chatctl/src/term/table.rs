//! Aligned columns.

use unicode_width::UnicodeWidthStr;

use super::escape;
use super::span::{Line, Span};

/// Rows of a fixed number of cells.
pub struct Table<const N: usize> {
    rows: Vec<[Span; N]>,
    widths: [usize; N],
    /// Titles of the columns, told once and to people only.
    titles: Option<[&'static str; N]>,
}

impl<const N: usize> Table<N> {
    /// No rows; columns are at least as wide as given.
    pub fn new(widths: [usize; N]) -> Self {
        Self { rows: Vec::new(), widths, titles: None }
    }

    /// With titles over the columns on a terminal; programs, which are none, get the rows alone.
    pub fn titled(mut self, titles: [&'static str; N]) -> Self {
        self.titles = Some(titles);
        self
    }

    /// One more row.
    pub fn row(&mut self, cells: [String; N]) {
        // Made harmless here already: a cell is as wide as what is shown of it.
        let cells = cells.map(|cell| Span::from(escape::line(&cell).into_owned()));
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.text.width());
        }
        self.rows.push(cells);
    }

    /// Hands out the rows and forgets them; the widths stay, so that pages of one list stand under each other. For people,
    /// the titles come before the first.
    pub fn take_lines(&mut self, people: bool) -> Vec<Line> {
        let mut lines = Vec::with_capacity(self.rows.len() + 1);
        let titled = people && !self.rows.is_empty();
        if let Some(titles) = self.titles.take_if(|_| titled) {
            for (width, title) in self.widths.iter_mut().zip(titles) {
                *width = (*width).max(title.width());
            }
            // One span: a title is behind the rest with the room around it.
            let title = aligned(titles.map(Span::from), self.widths);
            let title: String = title.spans().iter().map(|span| span.text.as_str()).collect();
            lines.push(Span::dim(title).into());
        }
        lines.extend(std::mem::take(&mut self.rows).into_iter().map(|row| aligned(row, self.widths)));
        lines
    }
}

/// Cells, each filled up to its width; nothing is behind the last one that has a text.
fn aligned<const N: usize>(cells: [Span; N], widths: [usize; N]) -> Line {
    let last = cells.iter().rposition(|cell| !cell.text.trim_end().is_empty());
    let mut line = Line::default();
    for (n, (mut cell, width)) in cells.into_iter().zip(widths).enumerate().take(last.map_or(0, |last| last + 1)) {
        if Some(n) == last {
            cell.text.truncate(cell.text.trim_end().len());
            line.push(cell);
        } else {
            let gap = " ".repeat((width + 2).saturating_sub(cell.text.width()));
            line.push(cell);
            line.push(gap);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::render::samples::plain;
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new([0, 0, 0]);
        table.row(["alice".into(), "online".into(), String::new()]);
        table.row(["鮑勃".into(), "-".into(), "contact".into()]);
        assert_eq!(plain(&table.take_lines(false)), "alice  online\n鮑勃   -       contact");
        assert!(table.take_lines(false).is_empty());
    }

    #[test]
    fn people_are_told_the_titles_once() {
        let mut table = Table::new([0, 0]).titled(["WHO", "UNREAD"]);
        assert!(table.take_lines(true).is_empty(), "no titles over nothing");
        table.row(["bo\tb".into(), "2 ".into()]);
        let lines = table.take_lines(true);
        assert_eq!(lines[0].spans(), [Span::dim("WHO       UNREAD")]);
        assert_eq!(plain(&lines[1..]), "bo\\u{9}b  2", "as wide as what is shown");
        table.row(["carol".into(), "1".into()]);
        assert_eq!(plain(&table.take_lines(true)), "carol     1");
    }
}
