//! What a contact may have sent again: bytes that were sent and dropped before they were acknowledged. No IO.
//!
//! A `resume` of a hundred bytes has a whole window sent once more. A contact whose network fails often needs that; one that asks
//! again and again uses this machine's bandwidth for nothing.

use std::time::Instant;

/// Bytes that may be sent again at once: eight full windows.
const BURST: u64 = 32 << 20;
/// And in a second from then on: a full window every eight seconds.
const PER_SECOND: u64 = 512 << 10;

/// See the module.
#[derive(Debug)]
pub struct ResendBudget {
    left: u64,
    at: Option<Instant>,
}

impl Default for ResendBudget {
    fn default() -> Self {
        Self { left: BURST, at: None }
    }
}

impl ResendBudget {
    fn refill(&mut self, now: Instant) {
        let since = self.at.map_or(0, |at| now.saturating_duration_since(at).as_millis() as u64);
        if since > 0 || self.at.is_none() {
            self.left = self.left.saturating_add(since.saturating_mul(PER_SECOND) / 1_000).min(BURST);
            self.at = Some(now);
        }
    }

    /// So many bytes will have to be sent again.
    pub fn spend(&mut self, bytes: usize, now: Instant) {
        self.refill(now);
        self.left = self.left.saturating_sub(bytes as u64);
    }

    /// Whether nothing more may be sent again now.
    pub fn is_over(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn eight_windows_at_once_and_one_every_eight_seconds() {
        let (mut budget, start) = (ResendBudget::default(), Instant::now());
        for _ in 0..8 {
            assert!(!budget.is_over(start));
            budget.spend(4 << 20, start);
        }
        assert!(budget.is_over(start));
        let mut windows = 0;
        for second in 1..=800 {
            let now = start + Duration::from_secs(second);
            if !budget.is_over(now) && budget.left >= 4 << 20 {
                budget.spend(4 << 20, now);
                windows += 1;
            }
        }
        assert_eq!(windows, 100);
    }
}
