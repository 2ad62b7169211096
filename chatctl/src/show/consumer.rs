//! Durable readers of the feed, as a list.

use proto::rpc::types::Consumer;

use super::words::clock::clock;
use super::words::count;
use crate::term::table::Table;

/// An empty list, to be filled page by page.
pub fn list() -> Table<4> {
    Table::new([0; 4]).titled(["NAME", "READER", "PLACE", "WAITING"])
}

/// A row of [`list`].
pub fn row(consumer: &Consumer) -> [String; 4] {
    let mut notes = vec![format!("{} waiting", count(consumer.waiting, "event"))];
    if consumer.attempts > 0 {
        notes.push(format!("{} on the first", count(consumer.attempts, "attempt")));
    }
    if consumer.dead_letters > 0 {
        notes.push(count(consumer.dead_letters, "dead letter"));
    }
    let reading = if consumer.reading { "being read" } else { "not read" };
    [
        consumer.name.clone(),
        reading.to_owned(),
        format!("at {} ({})", consumer.seq, clock(consumer.at)),
        notes.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::time::Timestamp;

    #[test]
    fn what_is_nothing_is_left_out() {
        let mut consumer = Consumer {
            name: "bot".into(),
            seq: 4,
            at: Timestamp(0),
            waiting: 1,
            attempts: 0,
            dead_letters: 0,
            reading: false,
        };
        let [name, reading, place, waiting] = row(&consumer);
        assert_eq!((name.as_str(), reading.as_str(), waiting.as_str()), ("bot", "not read", "1 event waiting"));
        assert!(place.starts_with("at 4 (1970-"), "{place}");
        (consumer.reading, consumer.attempts, consumer.dead_letters) = (true, 1, 2);
        let [_, reading, _, waiting] = row(&consumer);
        assert_eq!(reading, "being read");
        assert_eq!(waiting, "1 event waiting, 1 attempt on the first, 2 dead letters");
    }
}
