//! Aligned columns.

use unicode_width::UnicodeWidthStr;

use crate::failure::Failure;
use crate::term::output::Out;
use crate::term::style;

/// Rows of a fixed number of harmless, unstyled cells.
pub struct Table<const N: usize> {
    rows: Vec<[String; N]>,
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
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.width());
        }
        self.rows.push(cells);
    }

    /// Prints and forgets the rows; the widths stay, so that pages of one list stand under each other.
    pub fn print(&mut self, out: &mut Out) -> Result<(), Failure> {
        let titled = out.person && !self.rows.is_empty();
        if let Some(titles) = self.titles.take_if(|_| titled) {
            self.rows.insert(0, titles.map(str::to_owned));
            for (width, title) in self.widths.iter_mut().zip(titles) {
                *width = (*width).max(title.width());
            }
            let lines = self.take_lines();
            for (n, line) in lines.iter().enumerate() {
                if n == 0 {
                    out.line(&style::paint(line, style::DIM, out.colour))?;
                } else {
                    out.line(line)?;
                }
            }
            return Ok(());
        }
        for line in self.take_lines() {
            out.line(&line)?;
        }
        Ok(())
    }

    fn take_lines(&mut self) -> Vec<String> {
        let widths = self.widths;
        let lines = self.rows.iter().map(|row| {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', (width + 2).saturating_sub(cell.width())));
            }
            line.truncate(line.trim_end().len());
            line
        });
        let lines = lines.collect();
        self.rows.clear();
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new([0, 0, 0]);
        table.row(["alice".into(), "online".into(), String::new()]);
        table.row(["鮑勃".into(), "-".into(), "contact".into()]);
        assert_eq!(table.take_lines(), ["alice  online", "鮑勃   -       contact"]);
    }
}
