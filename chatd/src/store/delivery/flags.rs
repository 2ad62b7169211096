//! The column `messages.flags`: bits 0-1 priority, 2-3 format, 4 late, from 8 on how many are missing before it.

use crate::model::{Format, Priority};

pub(in crate::store) fn flags(priority: Priority, format: Format, late: bool) -> i64 {
    let priority = i64::from(wire_priority(priority));
    let format = match format {
        Format::Plain => 0,
        Format::Markdown => 1,
    };
    priority | format << 2 | i64::from(late) << 4
}

/// The numbers of a priority and a format on the wire.
pub(in crate::store) fn wire_priority(priority: Priority) -> u8 {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    }
}

pub(in crate::store) fn format_of(wire: u8) -> Format {
    if wire == 1 { Format::Markdown } else { Format::Plain }
}

pub(in crate::store) fn priority_of(wire: u8) -> Priority {
    match wire {
        0 => Priority::Low,
        2 => Priority::High,
        _ => Priority::Normal,
    }
}

/// How many messages were missing before one when it was shown.
pub(in crate::store) fn missing_of(flags: i64) -> u64 {
    (flags >> MISSING_SHIFT).max(0) as u64
}

pub(in crate::store) fn missing_flags(missing: u64) -> i64 {
    (missing.min(MAX_MISSING) as i64) << MISSING_SHIFT
}

/// Where `messages.flags` counts what was missing before a message.
const MISSING_SHIFT: u32 = 8;

/// More than that is not counted.
const MAX_MISSING: u64 = 1 << 40;
