//! One table: test, figure, verdict.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// How one part went.
#[derive(Debug, Serialize)]
pub struct Row {
    test: String,
    figure: String,
    held: bool,
    seconds: f64,
}

impl Row {
    /// A row.
    pub fn new(test: &str, figure: String, held: bool, took: Duration) -> Self {
        Self { test: test.into(), figure, held, seconds: took.as_secs_f64() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.held { "held" } else { "FAILED" };
        write!(f, "{}: {verdict}, {} ({:.0} s)", self.test, self.figure, self.seconds)
    }
}

/// All of them.
#[derive(Debug, Default, Serialize)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Adds a row.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Whether anything did not hold.
    pub fn has_failures(&self) -> bool {
        self.rows.iter().any(|row| !row.held)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| test | figure | verdict | seconds |\n| --- | --- | --- | ---: |")?;
        for row in &self.rows {
            let verdict = if row.held { "held" } else { "**FAILED**" };
            // A figure of several lines stays one cell.
            let figure = row.figure.replace('\n', "; ").replace('|', "\\|");
            writeln!(f, "| {} | {figure} | {verdict} | {:.0} |", row.test, row.seconds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests_of_table {
    use super::*;

    #[test]
    fn a_failure_is_seen() {
        let mut table = Table::default();
        table.add(Row::new("kills", "lost = 0".into(), true, Duration::from_secs(1)));
        assert!(!table.has_failures());
        table.add(Row::new("fuzz", "a | b\nc".into(), false, Duration::from_secs(2)));
        assert!(table.has_failures());
        let text = table.to_string();
        assert!(text.contains("| fuzz | a \\| b; c | **FAILED** | 2 |"), "{text}");
    }
}
