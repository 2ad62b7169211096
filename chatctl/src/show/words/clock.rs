//! Times for people: a clock in the local zone, with the day when it is not today's. JSON has RFC 3339 instead.

use std::sync::OnceLock;

use jiff::tz::TimeZone;
use proto::time::Timestamp;

/// The local zone, read once and only when a time is shown; UTC where the system has none.
fn zone() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| named_zone().or_else(|| TimeZone::try_system().ok()).unwrap_or(TimeZone::UTC))
}

/// The zone that `TZ=Europe/Berlin` names. jiff's own database of names would walk a directory of 1,800 files first.
fn named_zone() -> Option<TimeZone> {
    let name = std::env::var("TZ").ok()?;
    let name = name.strip_prefix(':').unwrap_or(&name);
    if name.is_empty() || name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return None;
    }
    let data = std::fs::read(format!("/usr/share/zoneinfo/{name}")).ok()?;
    TimeZone::tzif(name, &data).ok()
}

/// `14:02`, `Nov 19 14:02` or `2025-11-19 14:02`, whichever says enough.
pub fn clock(at: Timestamp) -> String {
    clock_in(at, Timestamp::now(), zone())
}

/// `14:02:07.123`, with the day as in [`clock`]: for traces, where order within a second matters.
pub fn precise(at: Timestamp) -> String {
    let text = clock(at);
    let rest = at.0.rem_euclid(60_000);
    format!("{text}:{:02}.{:03}", rest / 1000, rest % 1000)
}

fn clock_in(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let zoned = |time: Timestamp| {
        let limits = jiff::Timestamp::MIN.as_millisecond()..=jiff::Timestamp::MAX.as_millisecond();
        let ms = time.0.clamp(*limits.start(), *limits.end());
        jiff::Timestamp::from_millisecond(ms).unwrap_or_default().to_zoned(zone.clone())
    };
    let (at, now) = (zoned(at), zoned(now));
    let format = match () {
        () if at.date() == now.date() => "%H:%M",
        () if at.year() == now.year() => "%b %d %H:%M",
        () => "%Y-%m-%d %H:%M",
    };
    at.strftime(format).to_string()
}

/// `3 d 4 h`, `2 h 10 min`, `5 min`, `12 s`.
pub fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_shown_when_it_is_another() {
        let utc = TimeZone::UTC;
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = at("2026-01-31T12:00:00Z");
        assert_eq!(clock_in(at("2026-01-31T09:05:00Z"), now, &utc), "09:05");
        assert_eq!(clock_in(at("2026-01-30T23:59:00Z"), now, &utc), "Jan 30 23:59");
        assert_eq!(clock_in(at("2025-12-31T23:59:00Z"), now, &utc), "2025-12-31 23:59");
        assert_eq!(clock_in(Timestamp(i64::MAX), now, &utc).len(), "9999-12-30 22:00".len(), "a peer's nonsense");
        assert!(!clock_in(Timestamp(i64::MIN), now, &utc).is_empty());
    }

    #[test]
    fn spans() {
        let shown: Vec<_> = [5, 300, 7_800, 273_600].into_iter().map(span).collect();
        assert_eq!(shown, ["5 s", "5 min", "2 h 10 min", "3 d 4 h"]);
    }
}
