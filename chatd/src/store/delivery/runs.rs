//! Marks that lie side by side, as one row: `runs` says which part of it reached the state when.

use rusqlite::params;

use crate::model::MessageState;
use crate::model::ids::OutStreamRow;
use crate::store::engine::numbers::state_number;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// Marks that count what was issued again in a day are of no use after so long.
const COUNTED_MS: i64 = 2 * 86_400_000;

/// Parts that one row takes at most: a mark is read by going through them.
const MAX_RUNS: usize = 256;

/// Numbers that reached a state at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Run {
    pub low: i64,
    pub high: i64,
    pub at: i64,
}

/// The column of runs that follow each other without a hole; empty for one, of which the row's own columns say all.
pub(in crate::store) fn encode(runs: &[Run]) -> Vec<u8> {
    if runs.len() < 2 {
        return Vec::new();
    }
    let mut at = 0;
    let mut numbers = Vec::with_capacity(runs.len() * 2);
    for run in runs {
        numbers.extend([run.high - run.low + 1, run.at - at]);
        at = run.at;
    }
    rmp_serde::to_vec(&numbers).unwrap_or_default()
}

/// The runs of a row.
pub(in crate::store) fn decode(whole: Run, column: &[u8]) -> Result<Vec<Run>, StoreError> {
    if column.is_empty() {
        return Ok(vec![whole]);
    }
    let damaged = || StoreError::Damaged("runs of a mark");
    let numbers: Vec<i64> = rmp_serde::from_slice(column).map_err(|_| damaged())?;
    let (mut low, mut at) = (whole.low, 0i64);
    let mut out = Vec::with_capacity(numbers.len() / 2);
    for pair in numbers.chunks_exact(2) {
        at = at.saturating_add(pair[1]);
        let high = low.saturating_add(pair[0] - 1);
        if high < low || high > whole.high {
            return Err(damaged());
        }
        out.push(Run { low, high, at });
        low = high + 1;
    }
    if low == whole.high + 1 { Ok(out) } else { Err(damaged()) }
}

/// A row of `marks`.
struct Row {
    key: (OutStreamRow, i64, i64),
    cause: String,
    runs: Vec<Run>,
}

/// Whether `next` goes on where a group ends, and there is room for it.
fn goes_on_in(group: &[Row], next: &Row) -> bool {
    let Some(before) = group.last() else { return false };
    let runs: usize = group.iter().map(|row| row.runs.len()).sum();
    (before.key.0, before.key.1, &before.cause) == (next.key.0, next.key.1, &next.cause)
        && before.runs.last().map(|run| run.high + 1) == next.runs.first().map(|run| run.low)
        && runs + next.runs.len() <= MAX_RUNS
}

/// Writes runs that follow each other without a hole as one mark.
pub(in crate::store) fn mark_runs(
    tx: &mut Tx<'_>,
    stream: OutStreamRow,
    state: i64,
    runs: &[Run],
    cause: &str,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (runs.first(), runs.last()) else { return Ok(()) };
    tx.conn
        .prepare_cached(
            "INSERT OR IGNORE INTO marks (stream, state, high, low, at, cause, runs)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![stream, state, last.high, first.low, first.at, cause, encode(runs)])?;
    Ok(())
}

/// Merges the marks behind a key, and drops those that only counted; where to go on, if there are more.
pub(in crate::store) fn merge_marks(
    tx: &mut Tx<'_>,
    (stream, state, high): (OutStreamRow, i64, i64),
    limit: i64,
) -> Result<Option<(OutStreamRow, i64, i64)>, StoreError> {
    let rows: Vec<(Row, Vec<u8>)> = tx
        .conn
        .prepare_cached(
            "SELECT stream, state, high, low, at, cause, runs FROM marks WHERE (stream, state, high) > (?1, ?2, ?3)
             ORDER BY stream, state, high LIMIT ?4",
        )?
        .query_map(params![stream, state, high, limit], |row| {
            let key: (OutStreamRow, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let whole = Run { low: row.get(3)?, high: key.2, at: row.get(4)? };
            Ok((Row { key, cause: row.get(5)?, runs: vec![whole] }, row.get(6)?))
        })?
        .collect::<Result<_, _>>()?;
    let full = rows.len() as i64 == limit;
    let mut groups: Vec<Vec<Row>> = Vec::new();
    let mergeable = [MessageState::Mailboxed, MessageState::Delivered, MessageState::Read].map(state_number);
    let mut last = None;
    for (mut row, column) in rows {
        row.runs = decode(row.runs[0], &column)?;
        last = Some(row.key);
        if row.key.1 == state_number(MessageState::Queued) {
            if row.runs[0].at < tx.now.0.saturating_sub(COUNTED_MS) {
                drop_mark(tx, row.key)?;
            }
        } else if mergeable.contains(&row.key.1) {
            match groups.last_mut() {
                Some(group) if goes_on_in(group, &row) => group.push(row),
                _ => groups.push(vec![row]),
            }
        }
    }
    let mut next = last.filter(|_| full);
    if full && let Some(group) = groups.pop() {
        // It may go on behind this slice: the next one begins with it, unless it is all there is.
        match groups.is_empty() {
            true => groups.push(group),
            false => next = group.first().map(|row| (row.key.0, row.key.1, row.key.2 - 1)),
        }
    }
    for group in groups.into_iter().filter(|group| group.len() > 1) {
        let (stream, state, _) = group[0].key;
        for row in &group {
            drop_mark(tx, row.key)?;
        }
        let runs: Vec<Run> = group.iter().flat_map(|row| row.runs.iter().copied()).collect();
        mark_runs(tx, stream, state, &runs, &group[0].cause)?;
    }
    Ok(next)
}

fn drop_mark(tx: &mut Tx<'_>, (stream, state, high): (OutStreamRow, i64, i64)) -> Result<(), StoreError> {
    tx.conn
        .prepare_cached("DELETE FROM marks WHERE stream = ?1 AND state = ?2 AND high = ?3")?
        .execute(params![stream, state, high])?;
    Ok(())
}

/// What of a range none of others covers.
pub(in crate::store) fn subtract(range: (u64, u64), others: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = vec![range];
    for (low, high) in others {
        left = left
            .into_iter()
            .flat_map(|(from, to)| {
                [(from, to.min(low.saturating_sub(1))), (from.max(high.saturating_add(1)), to)]
                    .into_iter()
                    .filter(|(from, to)| from <= to)
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    left
}
