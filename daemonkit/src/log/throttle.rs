//! How often one kind of line may be written. A kind is a place in the source, or, where a place has a field [`OFTEN`], the
//! value of that: there are some hundred, whoever sends what.
//!
//! Lines for debugging are asked for by name, and are not counted here; the writer's bound holds for them too.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// What is counted anew after this.
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Lines of one kind in a window; the others are counted.
const LINES: u64 = 30;
/// The same for a kind that has the field [`OFTEN`].
const LINES_OF_OFTEN: u64 = 1;
/// Marks lines that tell what others cause, as often as they like: `often = "lookup not_found"`. The value names the kind, is
/// one of few, and is shown in the summary only.
pub(super) const OFTEN: &str = "often";
/// Kinds that are counted at most; the source has a few hundred. What is beyond is not written.
const MAX_KINDS: usize = 1_024;
/// Bytes of a kind's name at most.
const MAX_NAME_BYTES: usize = 64;

#[derive(Debug)]
struct Kind {
    since: Instant,
    seen: u64,
    meta: &'static Metadata<'static>,
}

impl Kind {
    fn most(&self) -> u64 {
        if self.meta.fields().field(OFTEN).is_some() { LINES_OF_OFTEN } else { LINES }
    }
}

/// Lines that were not written, of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) more: u64,
    pub(super) level: Level,
    pub(super) place: String,
}

/// Counts lines by their kind.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<HashMap<(Identifier, String), Kind>>);

/// Finds the kind's name.
#[derive(Default)]
struct Name(String);

impl Visit for Name {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == OFTEN {
            self.0 = format!("{value:?}").chars().take(MAX_NAME_BYTES / 4).collect();
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == OFTEN {
            self.0 = value.chars().take(MAX_NAME_BYTES).collect();
        }
    }
}

impl Throttle {
    /// Whether this line may be written now.
    pub(super) fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let meta = event.metadata();
        if *meta.level() > Level::INFO {
            return true;
        }
        let mut name = Name::default();
        if meta.fields().field(OFTEN).is_some() {
            event.record(&mut name);
        }
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = kinds.len() >= MAX_KINDS;
        let key = (meta.callsite(), name.0);
        if full && !kinds.contains_key(&key) {
            return false;
        }
        let kind = kinds.entry(key).or_insert_with(|| Kind { since: now, seen: 0, meta });
        kind.seen += 1;
        kind.seen <= kind.most()
    }

    /// The kinds whose window is over and that had more lines than were written.
    pub(super) fn over(&self, now: Instant) -> Vec<Summary> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        kinds.retain(|(_, name), kind| {
            if now.saturating_duration_since(kind.since) < WINDOW {
                return true;
            }
            let (meta, most) = (kind.meta, kind.most());
            if kind.seen > most {
                let place = format!("{} line {} {name}", meta.target(), meta.line().unwrap_or_default());
                let place = place.trim_end().to_owned();
                found.push(Summary { more: kind.seen - most, level: *meta.level(), place });
            }
            false
        });
        found
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    struct Counting(Arc<Throttle>, Arc<AtomicU64>, Instant);

    impl<S: tracing::Subscriber> Layer<S> for Counting {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.1.fetch_add(self.0.admits(event, self.2).into(), Ordering::Relaxed);
        }
    }

    #[test]
    fn a_kind_that_comes_all_the_time_is_counted() {
        let (throttle, lines, start) = (Arc::new(Throttle::default()), Arc::new(AtomicU64::new(0)), Instant::now());
        let counting = Counting(Arc::clone(&throttle), Arc::clone(&lines), start);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(counting), || {
            for n in 0..1_000 {
                tracing::info!(n, "by its place");
                let often = if n % 2 == 0 { "even" } else { "odd" };
                tracing::warn!(often, n, "by its name");
                tracing::debug!(n, "was asked for");
            }
        });
        assert_eq!(lines.load(Ordering::Relaxed), LINES + 2 * LINES_OF_OFTEN + 1_000);
        assert_eq!(throttle.over(start + WINDOW / 2), []);
        let mut over = throttle.over(start + WINDOW);
        over.sort_by_key(|summary| summary.more);
        let told: Vec<_> = over.iter().map(|summary| (summary.more, summary.level)).collect();
        assert_eq!(told, [(499, Level::WARN), (499, Level::WARN), (970, Level::INFO)]);
        assert!(over.iter().any(|summary| summary.place.ends_with(" odd")), "{over:?}");
        assert_eq!(throttle.over(start + WINDOW), [], "a new minute begins at nothing");
    }
}
