//! Which of the prekeys that a record offers is sealed to, and when none is.
//!
//! A suite is a way to seal; a higher number is a stronger one. A device offers a prekey for each that it can open. The sender
//! takes the highest that it knows, and tells rather than seal more weakly than the recipient asks for, or than it could before:
//! whoever got hold of an identity key could else have everybody fall back by publishing a record that offers less.
//!
//! Not its job: to seal, and to remember what was offered before.

use proto::directory::Prekey;
use proto::reason::Reason;
use proto::wire::SUITE_HYBRID;

/// What this program can seal and open.
pub const KNOWN: &[u8] = &[SUITE_HYBRID];

/// What a choice has to keep to.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'r> {
    /// Suites that can be sealed: [`KNOWN`].
    pub known: &'r [u8],
    /// The lowest that the recipient's record allows.
    pub min: u8,
    /// The highest that the recipient ever offered of those known; 0 if it never did.
    pub floor: u8,
}

/// Why nothing can be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSuite {
    /// What is offered may not be sealed to any more, or nothing is.
    #[error("the recipient's keys have expired")]
    Expired,
    /// Only suites are offered, or allowed, that this program does not know.
    #[error("the recipient asks for encryption suite {0}, which this program does not know")]
    Unknown(u8),
    /// What is offered is weaker than what was offered before.
    #[error("the recipient offers encryption suite {offered} now, and {floor} before")]
    Weaker {
        /// The best of what is offered now.
        offered: u8,
        /// The best of what was.
        floor: u8,
    },
}

impl NoSuite {
    /// What is shown of it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Expired => Reason::RecipientKeysExpired,
            Self::Unknown(_) => Reason::SuiteUnknown,
            Self::Weaker { .. } => Reason::SuiteWeaker,
        }
    }
}

/// The prekey to seal to at `now` (Unix seconds) out of those of one device: the newest of the best suite.
///
/// # Errors
/// [`NoSuite`].
pub fn choose<'p>(
    prekeys: impl Iterator<Item = &'p Prekey>,
    rules: Rules<'_>,
    now: i64,
) -> Result<&'p Prekey, NoSuite> {
    let alive: Vec<&Prekey> = prekeys.filter(|prekey| prekey.not_after > now).collect();
    let allowed = |prekey: &&&Prekey| rules.known.contains(&prekey.suite) && prekey.suite >= rules.min;
    match alive.iter().filter(allowed).max_by_key(|prekey| (prekey.suite, prekey.created)) {
        Some(best) if best.suite >= rules.floor => Ok(best),
        Some(best) => Err(NoSuite::Weaker { offered: best.suite, floor: rules.floor }),
        None => Err(alive
            .iter()
            .map(|prekey| prekey.suite.max(rules.min))
            .find(|suite| !rules.known.contains(suite))
            .map_or(NoSuite::Expired, NoSuite::Unknown)),
    }
}

/// The best suite that is offered of those known; 0 without any.
pub fn best<'p>(prekeys: impl Iterator<Item = &'p Prekey>, known: &[u8]) -> u8 {
    prekeys.map(|prekey| prekey.suite).filter(|suite| known.contains(suite)).max().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::ids::DeviceId;

    use super::*;

    /// A suite that does not exist.
    const INVENTED: u8 = 3;
    const TODAY: Rules<'static> = Rules { known: KNOWN, min: SUITE_HYBRID, floor: 0 };
    const LATER: Rules<'static> = Rules { known: &[SUITE_HYBRID, INVENTED], ..TODAY };

    fn prekey(suite: u8, created: i64) -> Prekey {
        Prekey { device: DeviceId([1; 16]), suite, recipient: vec![1], created, not_after: created + 100 }
    }

    fn chosen(prekeys: &[Prekey], rules: Rules<'_>, now: i64) -> Result<(u8, i64), NoSuite> {
        choose(prekeys.iter(), rules, now).map(|prekey| (prekey.suite, prekey.created))
    }

    #[test]
    fn the_best_that_both_know_and_the_newest_of_it() {
        let both = [prekey(SUITE_HYBRID, 30), prekey(INVENTED, 10), prekey(SUITE_HYBRID, 20)];
        assert_eq!(chosen(&both, TODAY, 50), Ok((SUITE_HYBRID, 30)));
        assert_eq!(chosen(&both, LATER, 50), Ok((INVENTED, 10)));
        // An old program and a new one, either way round.
        assert_eq!(chosen(&both[..1], LATER, 50), Ok((SUITE_HYBRID, 30)));
        assert_eq!(chosen(&both[1..2], TODAY, 50), Err(NoSuite::Unknown(INVENTED)));
    }

    #[test]
    fn nothing_below_what_the_recipient_asks_for() {
        let both = [prekey(SUITE_HYBRID, 10), prekey(INVENTED, 10)];
        let strict = Rules { min: INVENTED, ..LATER };
        assert_eq!(chosen(&both, strict, 50), Ok((INVENTED, 10)));
        assert_eq!(chosen(&both[..1], strict, 50), Err(NoSuite::Expired));
        // Who does not know it does not fall back to what it does.
        assert_eq!(chosen(&both, Rules { min: INVENTED, ..TODAY }, 50), Err(NoSuite::Unknown(INVENTED)));
        assert_eq!(chosen(&both[..1], Rules { min: INVENTED, ..TODAY }, 50), Err(NoSuite::Unknown(INVENTED)));
        // Suite 1, with a curve alone, was never in a release.
        assert_eq!(chosen(&[prekey(1, 10)], TODAY, 50), Err(NoSuite::Expired));
    }

    #[test]
    fn nothing_weaker_than_before() {
        let weak = [prekey(SUITE_HYBRID, 10)];
        let held = Rules { floor: INVENTED, ..LATER };
        let refused = NoSuite::Weaker { offered: SUITE_HYBRID, floor: INVENTED };
        assert_eq!(chosen(&weak, held, 50), Err(refused));
        assert_eq!(refused.reason(), Reason::SuiteWeaker);
        // Nor when the better one ran out: its owner renews both together.
        let late = [prekey(SUITE_HYBRID, 40), prekey(INVENTED, 10)];
        assert_eq!(chosen(&late, held, 120), Err(refused));
        assert_eq!(chosen(&late, LATER, 120), Ok((SUITE_HYBRID, 40)));
        // Better than before is taken.
        assert_eq!(chosen(&[prekey(INVENTED, 10)], Rules { floor: SUITE_HYBRID, ..LATER }, 50), Ok((INVENTED, 10)));
    }

    #[test]
    fn what_is_over_is_not_sealed_to() {
        let prekeys = [prekey(SUITE_HYBRID, 10), prekey(SUITE_HYBRID, 20)];
        assert_eq!(chosen(&prekeys, TODAY, 119), Ok((SUITE_HYBRID, 20)));
        assert_eq!(chosen(&prekeys, TODAY, 120), Err(NoSuite::Expired));
        assert_eq!(chosen(&[], TODAY, 0), Err(NoSuite::Expired));
        assert_eq!(chosen(&[prekey(INVENTED, 10)], TODAY, 110), Err(NoSuite::Expired));
    }

    #[test]
    fn what_was_offered_counts_if_it_is_known() {
        let both = [prekey(SUITE_HYBRID, 10), prekey(INVENTED, 10), prekey(200, 10)];
        assert_eq!(best(both.iter(), KNOWN), SUITE_HYBRID);
        assert_eq!(best(both.iter(), LATER.known), INVENTED);
        assert_eq!(best(both[1..].iter(), KNOWN), 0);
    }
}
