//! Since when, and until when, which device was a member's.

use std::collections::BTreeMap;

use proto::ids::{AccountId, DeviceId};

/// One stay of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// The event that brought it.
    from: u32,
    /// The event that ended it, and the entry of the log that this is.
    until: Option<(u32, u64)>,
}

/// All stays of all devices. What ended is kept: messages from before are judged by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Spans(BTreeMap<(AccountId, DeviceId), Vec<Span>>);

impl Spans {
    pub(super) fn begin(&mut self, account: AccountId, device: DeviceId, number: u32) {
        self.0.entry((account, device)).or_default().push(Span { from: number, until: None });
    }

    pub(super) fn end(&mut self, account: AccountId, device: DeviceId, number: u32, place: u64) {
        let open = self.0.get_mut(&(account, device)).and_then(|spans| spans.last_mut());
        if let Some(span) = open.filter(|span| span.until.is_none()) {
            span.until = Some((number, place));
        }
    }

    /// Whether the device was the member's after event `number`, and if so, at which entry that stay ended.
    pub(super) fn after(&self, account: AccountId, device: DeviceId, number: u32) -> Option<Option<u64>> {
        let spans = self.0.get(&(account, device))?;
        let at = spans.partition_point(|span| span.from <= number).checked_sub(1)?;
        let span = spans.get(at)?;
        match span.until {
            Some((end, _)) if end <= number => None,
            until => Some(until.map(|(_, place)| place)),
        }
    }

    /// Devices whose stay was ended by event `number`.
    pub(super) fn ended_by(&self, number: u32) -> impl Iterator<Item = (AccountId, DeviceId)> {
        let ends = move |spans: &Vec<Span>| spans.iter().any(|span| span.until.is_some_and(|(at, _)| at == number));
        self.0.iter().filter(move |(_, spans)| ends(spans)).map(|(whose, _)| *whose)
    }
}
