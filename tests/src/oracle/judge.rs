//! Compares the books. Pure, so that it can itself be tested: an oracle that sees nothing is worse than none.

use std::collections::{HashMap, HashSet};

use proto::ids::MessageId;

pub use super::feed::Feed;
pub use super::sender::{Sent, body, number};

/// What the books say. Everything but the first three should be 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages that alice tried to send.
    pub sent: u64,
    /// Answered by her daemon.
    pub acknowledged: u64,
    /// Events that came again because they were not yet acknowledged, as is allowed.
    pub repeated: u64,
    /// Acknowledged, and not in bob's history.
    pub lost: u64,
    /// In bob's history more than once, or shown as two events.
    pub twice: u64,
    /// In bob's history after a later one.
    pub out_of_order: u64,
    /// In bob's history, and never sent, or with another text.
    pub invented: u64,
    /// In bob's history, and never shown to his consumer.
    pub unseen: u64,
    /// Shown to the consumer, and not in history.
    pub vanished: u64,
    /// Shown for the first time in another order than history's.
    pub feed_disorder: u64,
    /// Shown again although acknowledged, with another content, or after the consumer's place went back.
    pub feed_broken: u64,
    /// Gaps and lags told.
    pub holes: u64,
}

impl Verdict {
    /// Whether everything is as promised.
    pub fn is_clean(&self) -> bool {
        let (sent, acknowledged, repeated) = (self.sent, self.acknowledged, self.repeated);
        *self == Self { sent, acknowledged, repeated, ..Self::default() }
    }
}

/// Compares what alice was promised, what bob has (oldest first) and what his consumer was shown.
pub fn judge(sent: &[Sent], history: &[(MessageId, String)], feed: &Feed) -> Verdict {
    let by_id: HashMap<MessageId, &Sent> = sent.iter().map(|one| (one.id, one)).collect();
    let mut places: HashMap<MessageId, usize> = HashMap::new();
    let mut verdict = Verdict {
        sent: sent.len() as u64,
        acknowledged: sent.iter().filter(|one| one.acknowledged).count() as u64,
        repeated: feed.repeated,
        twice: feed.twice,
        feed_broken: feed.again_after_ack + feed.changed + feed.went_back,
        holes: feed.holes,
        ..Verdict::default()
    };
    let mut highest = None;
    for (place, (id, text)) in history.iter().enumerate() {
        if places.insert(*id, place).is_some() {
            verdict.twice += 1;
            continue;
        }
        match by_id.get(id) {
            Some(one) if *text == body(one.number) => {
                verdict.out_of_order += u64::from(highest > Some(one.number));
                highest = highest.max(Some(one.number));
            }
            _ => verdict.invented += 1,
        }
    }
    verdict.lost = sent.iter().filter(|one| one.acknowledged && !places.contains_key(&one.id)).count() as u64;
    let shown: HashSet<MessageId> = feed.shown.iter().map(|(id, _)| *id).collect();
    verdict.unseen = places.keys().filter(|id| !shown.contains(*id)).count() as u64;
    verdict.vanished = shown.iter().filter(|id| !places.contains_key(*id)).count() as u64;
    let order: Vec<usize> = feed.shown.iter().filter_map(|(id, _)| places.get(id).copied()).collect();
    verdict.feed_disorder = order.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
    verdict
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::rpc::event::Event;

    use super::*;

    fn id(number: u64) -> MessageId {
        MessageId([number as u8; 16])
    }

    fn sent(acknowledged: &[bool]) -> Vec<Sent> {
        let one = |(number, acknowledged): (u64, &bool)| Sent { number, id: id(number), acknowledged: *acknowledged };
        (0..).zip(acknowledged).map(one).collect()
    }

    fn history(numbers: &[u64]) -> Vec<(MessageId, String)> {
        numbers.iter().map(|number| (id(*number), body(*number))).collect()
    }

    fn event(seq: u64, number: u64) -> Event {
        serde_json::from_value(serde_json::json!({
            "seq": seq, "type": "message.received", "at": "2026-01-01T00:00:00.000Z", "account": "bob",
            "message": {
                "id": id(number).to_string(), "conversation": "00".repeat(16), "from": "alice", "to": "bob",
                "peer": "11".repeat(16), "body": body(number), "format": "plain", "tags": [], "priority": "normal",
                "sent_at": "2026-01-01T00:00:00.000Z", "state": "delivered",
            },
        }))
        .unwrap()
    }

    fn feed(numbers: &[u64]) -> Feed {
        let mut feed = Feed::default();
        for (seq, number) in (1..).zip(numbers) {
            feed.take(&event(seq, *number));
        }
        feed
    }

    #[test]
    fn every_kind_of_wrong_is_seen() {
        let all = sent(&[true, true, false, true]);
        let clean = judge(&all, &history(&[0, 1, 3]), &feed(&[0, 1, 3]));
        assert!(clean.is_clean() && clean.acknowledged == 3, "what was in doubt may be missing: {clean:?}");
        assert!(judge(&all, &history(&[0, 1, 2, 3]), &feed(&[0, 1, 2, 3])).is_clean(), "or there");
        let of = |numbers: &[u64]| judge(&all, &history(numbers), &feed(numbers));
        assert_eq!(of(&[0, 3]).lost, 1);
        assert_eq!(of(&[0, 1, 1, 3]).twice, 2, "in history, and as two events");
        assert_eq!(of(&[1, 0, 3]).out_of_order, 1);
        assert_eq!(of(&[0, 1, 3, 9]).invented, 1);
        let texts = vec![(id(0), "0 other".into()), (id(1), body(1)), (id(3), body(3))];
        assert_eq!(judge(&all, &texts, &feed(&[0, 1, 3])).invented, 1);
        assert_eq!(judge(&all, &history(&[0, 1, 3]), &feed(&[0, 1])).unseen, 1);
        assert_eq!(judge(&all, &history(&[0, 1, 3]), &feed(&[0, 1, 2, 3])).vanished, 1);
        assert_eq!(judge(&all, &history(&[0, 1, 3]), &feed(&[1, 0, 3])).feed_disorder, 1);
        for wrong in [of(&[0, 3]), of(&[1, 0, 3]), of(&[0, 1, 3, 9])] {
            assert!(!wrong.is_clean());
        }
    }

    #[test]
    fn a_consumer_may_see_again_only_what_it_has_not_acknowledged() {
        let mut book = feed(&[0, 1, 2]);
        book.acknowledged(2);
        book.resumes_at(2);
        book.take(&event(3, 2));
        assert_eq!((book.repeated, book.again_after_ack, book.went_back, book.changed), (1, 0, 0, 0));
        book.resumes_at(1);
        book.take(&event(2, 1));
        assert_eq!((book.again_after_ack, book.went_back), (1, 1));
        book.take(&event(3, 5));
        assert_eq!(book.changed, 1);
        assert_eq!(judge(&sent(&[true; 3]), &history(&[0, 1, 2]), &book).feed_broken, 3);
    }

    #[test]
    fn texts_name_their_number() {
        for one in [0, 7, 12, 99_999] {
            assert_eq!(number(&body(one)), Some(one));
        }
    }
}
