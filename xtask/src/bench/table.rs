//! The table of figures.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// The figure as a number, in `unit`.
    pub value: f64,
    /// Unit of `value`.
    pub unit: &'static str,
    /// What it should be; empty where there is no target.
    pub target: &'static str,
    /// Limits in force, and whatever else decides the figure.
    pub limits: String,
}

impl Row {
    /// A row.
    pub fn new(
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: &'static str,
        limits: impl Into<String>,
    ) -> Self {
        Self { what: what.into(), value, unit, target, limits: limits.into() }
    }

    /// Whether there is a target, `< 10 ms` or `>= 1,000 /s`, and the figure misses it.
    pub fn misses(&self) -> bool {
        if self.target.is_empty() {
            return false;
        }
        let mut words = self.target.split(' ');
        let order = words.next().unwrap_or_default();
        let target = words.next().and_then(|number| number.replace(',', "").parse::<f64>().ok());
        // A target that cannot be read is not met.
        !target.is_some_and(|target| match order {
            "<" => self.value < target,
            "<=" => self.value <= target,
            ">=" => self.value >= target,
            _ => false,
        })
    }

    /// The better of two measurements of the same; what misses nothing stays as it was measured first.
    pub fn better(self, other: Self) -> Self {
        let more_is_better = self.target.starts_with('>');
        let is_better = (other.value > self.value) == more_is_better;
        if self.misses() && is_better { other } else { self }
    }

    fn figure(&self) -> String {
        let value = match self.value {
            value if value.abs() >= 1000.0 => thousands(value),
            value if value.abs() >= 100.0 => format!("{value:.0}"),
            value if value.abs() >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        format!("{value} {}", self.unit)
    }
}

/// `12345.6` as `12,346`.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{sign}{text}")
}

/// The machine and the conditions.
#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    cpu: String,
    kernel: String,
    quick: bool,
}

/// All rows.
#[derive(Debug, Serialize)]
pub struct Table {
    machine: Machine,
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Table {
    /// An empty one.
    pub fn new(quick: bool) -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let machine = Machine {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: model.trim_start_matches(['\t', ' ', ':']).to_owned(),
            kernel: kernel.trim().to_owned(),
            quick,
        };
        Self { machine, rows: Vec::new(), failures: Vec::new() }
    }

    /// Adds a row.
    pub fn add(&mut self, row: Row) {
        eprintln!("  {}: {}", row.what, row.figure());
        self.rows.push(row);
    }

    /// The rows that miss their target, in words.
    pub fn missed(&self) -> Vec<String> {
        let missed = self.rows.iter().filter(|row| row.misses());
        missed.map(|row| format!("{}: {}, not {}", row.what, row.figure(), row.target)).collect()
    }

    /// Adds a scenario that failed.
    pub fn add_failure(&mut self, scenario: &str, error: &anyhow::Error) {
        self.failures.push(format!("{scenario}: {error:#}"));
    }

    /// Whether a scenario failed.
    pub fn has_failures(&self) -> bool {
        !self.failures.is_empty()
    }

    /// As JSON.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, cpu, kernel, quick } = &self.machine;
        writeln!(f, "\n{cores} cores ({cpu}), Linux {kernel}{}\n", if *quick { ", --quick" } else { "" })?;
        let lines: Vec<[String; 4]> = [["what", "figure", "target", "limits in force"].map(String::from)]
            .into_iter()
            .chain(self.rows.iter().map(|row| [row.what.clone(), row.figure(), row.target.into(), row.limits.clone()]))
            .collect();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2].map(width);
        for (index, [what, figure, target, limits]) in lines.iter().enumerate() {
            writeln!(
                f,
                "| {what:<w0$} | {figure:>w1$} | {target:<w2$} | {limits} |",
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2]
            )?;
            if index == 0 {
                writeln!(
                    f,
                    "| {:-<w0$} | {:->w1$} | {:-<w2$} | --- |",
                    "",
                    "",
                    "",
                    w0 = widths[0],
                    w1 = widths[1],
                    w2 = widths[2]
                )?;
            }
        }
        self.failures.iter().try_for_each(|failure| writeln!(f, "FAILED {failure}"))
    }
}

/// Percentile of some durations in milliseconds; 0 of none.
pub fn percentile_ms(durations: &mut [Duration], percent: usize) -> f64 {
    durations.sort_unstable();
    let last = durations.len().saturating_sub(1);
    let at = (durations.len() * percent / 100).min(last);
    durations.get(at).map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests_of_table {
    use super::*;

    #[test]
    fn figures_are_readable() {
        let figure = |value| Row::new("", value, "x", "", "").figure();
        assert_eq!(figure(1_234_567.8), "1,234,568 x");
        assert_eq!(figure(999.4), "999 x");
        assert_eq!(figure(12.34), "12.3 x");
        assert_eq!(figure(0.5), "0.50 x");
    }

    #[test]
    fn a_missed_target_is_seen() {
        let row = |value, target| Row::new("", value, "ms", target, "");
        for (value, target) in [(9.9, "< 10 ms"), (1.6, "<= 1.6 x"), (1_200.0, ">= 1,200 /s"), (5.0, "")] {
            assert!(!row(value, target).misses(), "{value} {target}");
        }
        for (value, target) in [(10.0, "< 10 ms"), (1.61, "<= 1.6 x"), (1_199.0, ">= 1,200 /s"), (f64::NAN, "< 1 s")] {
            assert!(row(value, target).misses(), "{value} {target}");
        }
        for unread in ["< ten", "~ 5 ms", "<10 ms"] {
            assert!(row(5.0, unread).misses(), "{unread}");
        }
        assert_eq!(row(13.0, "< 10 ms").better(row(14.0, "< 10 ms")).value, 13.0);
        assert_eq!(row(13.0, "< 10 ms").better(row(12.0, "< 10 ms")).value, 12.0);
        assert_eq!(row(3.0, ">= 10 /s").better(row(4.0, ">= 10 /s")).value, 4.0);
        assert_eq!(row(5.0, "").better(row(4.0, "")).value, 5.0);
    }

    #[test]
    fn percentiles_of_a_hundred() {
        let mut durations: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile_ms(&mut durations, 50), 51.0);
        assert_eq!(percentile_ms(&mut durations, 99), 100.0);
        assert_eq!(percentile_ms(&mut [], 50), 0.0);
    }
}
