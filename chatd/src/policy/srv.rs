//! In which order the machines of a domain's directory are tried (RFC 2782).
//!
//! A lower priority comes first. Among equals chance decides, by weight; those of weight 0 come first seldom. Who failed a moment ago
//! is tried last, but is tried: it may be the only one that is left.

use std::collections::HashSet;

/// Machines that are tried at most: more than anybody has, and few enough to be done with.
pub const MAX_TARGETS: usize = 16;

/// Where a directory is, as the DNS says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Lower ones first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// The name of the machine, in lower case, without a final dot; empty says that there is no service.
    pub host: String,
    /// Of TCP.
    pub port: u16,
}

/// What a domain says of its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// It has none: the only target is the root of all names.
    None,
    /// These, in the order in which they are tried; [`MAX_TARGETS`] at most, perhaps none at all.
    Targets(Vec<Target>),
}

/// Puts the records of a domain in order. `random(n)` is a number from 0 to `n`, `n` included.
pub fn order(mut records: Vec<Target>, mut random: impl FnMut(u32) -> u32) -> Offer {
    if let [only] = records.as_slice()
        && only.host.is_empty()
    {
        return Offer::None;
    }
    // Beside others the root says nothing, and nobody listens on port 0.
    records.retain(|target| !target.host.is_empty() && target.port != 0);
    // Weight 0 first, as the rule wants it; the order of an answer, which caches turn about, counts for nothing.
    records.sort_unstable();
    records.dedup();
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let equals = records.iter().take_while(|target| target.priority == priority).count();
        let sum: u32 = records[..equals].iter().map(|target| u32::from(target.weight)).sum();
        let chosen = random(sum).min(sum);
        let mut running = 0;
        let at = records[..equals].iter().position(|target| {
            running += u32::from(target.weight);
            running >= chosen
        });
        ordered.push(records.remove(at.unwrap_or(0)));
    }
    ordered.truncate(MAX_TARGETS);
    Offer::Targets(ordered)
}

/// The same with those at the end that failed a moment ago.
pub fn failed_last(mut targets: Vec<Target>, failed: &HashSet<(String, u16)>) -> Vec<Target> {
    targets.sort_by_key(|target| failed.contains(&(target.host.clone(), target.port)));
    targets
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn target(priority: u16, weight: u16, host: &str) -> Target {
        Target { priority, weight, host: host.into(), port: 7470 }
    }

    fn hosts(records: &[Target], random: impl FnMut(u32) -> u32) -> Vec<String> {
        match order(records.to_vec(), random) {
            Offer::Targets(targets) => targets.into_iter().map(|target| target.host).collect(),
            Offer::None => panic!("none"),
        }
    }

    #[test]
    fn lower_priorities_come_first_whatever_they_weigh() {
        let records = [target(20, 60_000, "c"), target(10, 0, "a"), target(15, 1, "b")];
        for luck in [0, 1, u32::MAX] {
            assert_eq!(hosts(&records, |sum| luck.min(sum)), ["a", "b", "c"]);
        }
    }

    #[test]
    fn equals_share_by_weight_and_zero_is_seldom_first() {
        let records = [target(1, 0, "none"), target(1, 10, "small"), target(1, 30, "large")];
        let (mut rng, mut first) = (StdRng::seed_from_u64(7), HashMap::<String, u32>::new());
        for _ in 0..41_000 {
            let order = hosts(&records, |sum| rng.random_range(0..=sum));
            assert_eq!(order.len(), 3);
            *first.entry(order[0].clone()).or_default() += 1;
        }
        // Of 41 numbers 0 is the one of weight 0, then come ten and thirty.
        assert!((700..1_300).contains(&first["none"]), "{first:?}");
        assert!((9_500..10_500).contains(&first["small"]), "{first:?}");
        assert!((29_500..30_500).contains(&first["large"]), "{first:?}");
    }

    #[test]
    fn the_root_alone_says_that_there_is_none() {
        assert_eq!(order(vec![target(0, 0, "")], |_| 0), Offer::None);
        assert_eq!(hosts(&[target(0, 0, ""), target(1, 0, "a")], |_| 0), ["a"]);
        assert_eq!(order(vec![], |_| 0), Offer::Targets(vec![]));
        let nowhere = Target { port: 0, ..target(0, 0, "a") };
        assert_eq!(order(vec![nowhere], |_| 0), Offer::Targets(vec![]));
    }

    #[test]
    fn who_failed_comes_last_and_is_not_forgotten() {
        let records = vec![target(1, 0, "a"), target(2, 0, "b"), target(3, 0, "c")];
        let failed = HashSet::from([("a".to_owned(), 7470), ("b".to_owned(), 1)]);
        let order: Vec<String> = failed_last(records, &failed).into_iter().map(|target| target.host).collect();
        assert_eq!(order, ["b", "c", "a"]);
    }

    proptest! {
        #[test]
        fn any_records_give_each_target_once_by_priority(
            records in prop::collection::vec((0_u16..4, any::<u16>(), "[a-d]{0,2}", 0_u16..3), 0..40),
            luck in any::<u64>(),
        ) {
            let records: Vec<Target> = records
                .into_iter()
                .map(|(priority, weight, host, port)| Target { priority, weight, host, port })
                .collect();
            let mut rng = StdRng::seed_from_u64(luck);
            // Also a source of chance that does not keep to its bounds.
            let ordered = order(records.clone(), |_| rng.random());
            if let Offer::Targets(ordered) = ordered {
                prop_assert!(ordered.len() <= MAX_TARGETS);
                prop_assert!(ordered.windows(2).all(|two| two[0].priority <= two[1].priority));
                let once: HashSet<&Target> = ordered.iter().collect();
                prop_assert_eq!(once.len(), ordered.len());
                prop_assert!(ordered.iter().all(|one| records.contains(one) && !one.host.is_empty() && one.port != 0));
            }
        }
    }
}
