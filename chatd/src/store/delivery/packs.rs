//! Attempts of which nothing waits any more, many in a row.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::model::ids::OutStreamRow;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// Attempts in one pack at most: `trace` goes through all of them.
const MAX_PACKED: usize = 128;

/// One envelope that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Tried {
    pub id: i64,
    pub low: i64,
    pub high: i64,
    pub at: i64,
    pub path: String,
    pub outcome: String,
    pub detail: String,
}

/// The body of a pack: texts once, and seven numbers for each attempt, those of the first four as differences.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Body {
    texts: Vec<String>,
    numbers: Vec<i64>,
}

fn encode(tried: &[Tried]) -> Vec<u8> {
    let mut body = Body::default();
    let mut before = [0; 3];
    for one in tried {
        let mut text = |text: &String| match body.texts.iter().position(|known| known == text) {
            Some(at) => at as i64,
            None => {
                body.texts.push(text.clone());
                body.texts.len() as i64 - 1
            }
        };
        let texts = [text(&one.path), text(&one.outcome), text(&one.detail)];
        let now = [one.id, one.low, one.at];
        let differences = [now[0] - before[0], now[1] - before[1], now[2] - before[2]];
        body.numbers.extend(differences.into_iter().chain([one.high - one.low]).chain(texts));
        before = now;
    }
    rmp_serde::to_vec(&body).unwrap_or_default()
}

fn decode(bytes: &[u8]) -> Result<Vec<Tried>, StoreError> {
    let damaged = || StoreError::Damaged("a pack of attempts");
    let body: Body = rmp_serde::from_slice(bytes).map_err(|_| damaged())?;
    let mut before = [0i64; 3];
    let mut out = Vec::with_capacity(body.numbers.len() / 7);
    for seven in body.numbers.chunks_exact(7) {
        for (value, difference) in before.iter_mut().zip(seven) {
            *value = value.saturating_add(*difference);
        }
        let text = |at: i64| usize::try_from(at).ok().and_then(|at| body.texts.get(at)).cloned().ok_or_else(damaged);
        let [id, low, at] = before;
        let high = low.saturating_add(seven[3]);
        let [path, outcome, detail] = [text(seven[4])?, text(seven[5])?, text(seven[6])?];
        out.push(Tried { id, low, high, at, path, outcome, detail });
    }
    Ok(out)
}

/// Attempts in packs that cover a number, in no order.
pub(in crate::store) fn packed(conn: &Connection, stream: OutStreamRow, seq: i64) -> Result<Vec<Tried>, StoreError> {
    let mut select =
        conn.prepare_cached("SELECT body FROM packs WHERE stream = ?1 AND high >= ?2 AND low <= ?2 ORDER BY id")?;
    let mut rows = select.query(params![stream, seq])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.extend(decode(&row.get::<_, Vec<u8>>(0)?)?.into_iter().filter(|one| (one.low..=one.high).contains(&seq)));
    }
    Ok(out)
}

/// Packs what may be packed behind a place (stream, high, id); where to go on, if there is more.
pub(in crate::store) fn pack_attempts(
    tx: &mut Tx<'_>,
    (stream, high, id): (OutStreamRow, i64, i64),
    limit: i64,
) -> Result<Option<(OutStreamRow, i64, i64)>, StoreError> {
    let rows: Vec<(OutStreamRow, Tried)> = tx
        .conn
        .prepare_cached(
            "SELECT stream, id, low, high, at, path, outcome, detail FROM attempts INDEXED BY attempts_by_stream
             WHERE (stream, high, id) > (?1, ?2, ?3) ORDER BY stream, high, id LIMIT ?4",
        )?
        .query_map(params![stream, high, id, limit], |row| {
            let (id, low, high, at) = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
            let (path, outcome, detail) = (row.get(5)?, row.get(6)?, row.get(7)?);
            Ok((row.get(0)?, Tried { id, low, high, at, path, outcome, detail }))
        })?
        .collect::<Result<_, _>>()?;
    let next = rows.last().map(|(stream, tried)| (*stream, tried.high, tried.id));
    let full = rows.len() as i64 == limit;
    for of_one in rows.chunk_by(|a, b| a.0 == b.0) {
        let stream = of_one[0].0;
        let waits: Option<i64> = tx
            .conn
            .prepare_cached("SELECT min(seq) FROM outbox WHERE stream = ?1")?
            .query_row([stream], |row| row.get(0))?;
        let done: Vec<Tried> = of_one
            .iter()
            .map(|(_, tried)| tried)
            .filter(|tried| waits.is_none_or(|waits| tried.high < waits))
            .cloned()
            .collect();
        pack(tx, stream, done)?;
    }
    Ok(next.filter(|_| full))
}

fn pack(tx: &mut Tx<'_>, stream: OutStreamRow, mut tried: Vec<Tried>) -> Result<(), StoreError> {
    if tried.is_empty() {
        return Ok(());
    }
    for one in &tried {
        tx.conn.prepare_cached("DELETE FROM attempts WHERE id = ?1")?.execute([one.id])?;
    }
    // The newest pack is filled before another is begun.
    let newest: Option<(i64, Vec<u8>)> = tx
        .conn
        .prepare_cached("SELECT id, body FROM packs WHERE stream = ?1 ORDER BY high DESC, id DESC LIMIT 1")?
        .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((id, body)) = newest {
        let mut before = decode(&body)?;
        if before.len() < MAX_PACKED {
            tx.conn.prepare_cached("DELETE FROM packs WHERE id = ?1")?.execute([id])?;
            before.append(&mut tried);
            tried = before;
        }
    }
    for pack in tried.chunks(MAX_PACKED) {
        let low = pack.iter().map(|one| one.low).min().unwrap_or(0);
        let high = pack.iter().map(|one| one.high).max().unwrap_or(0);
        tx.conn
            .prepare_cached("INSERT INTO packs (stream, high, low, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![stream, high, low, encode(pack)])?;
    }
    Ok(())
}
