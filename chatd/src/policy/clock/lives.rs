//! For how long what is no message is kept on its way: nothing is repeated for ever to somebody who is not there.

use proto::wire::payload::Kind;

/// A day.
const DAY: i64 = 86_400;

/// Seconds after which something outside of any chain is given up that its recipient has not acknowledged. A message has the
/// life that its sender gave it.
pub const fn life_seconds(kind: Kind) -> i64 {
    match kind {
        // What somebody says of themselves is said to friends, who may be away for long.
        Kind::Profile => 365 * DAY,
        _ => 30 * DAY,
    }
}
