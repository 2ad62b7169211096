//! Which kind of event a line tells of: an id that programs can look for, and that outlives restarts, upgrades and moves of the source.
//!
//! It is made of the program's name and of the words of the line, which therefore are the same each time: what differs stands in
//! fields. docs/log-events.md lists them all, and a test holds it to the sources.
//!
//! Not the job: lines below INFO, which are for whoever reads the source, and lines of others' libraries.

/// Programs whose lines have ids.
const OWN: [&str; 3] = ["chatd", "directoryd", "daemonkit"];

/// Lines whose words have changed since somebody may look for them: the new words, and those by which they are known.
const REWORDED: [(&str, &str); 0] = [];

/// What the log says when it had to drop lines.
pub const DROPPED: &str = "lines of the log were dropped: whoever reads it was too slow, or its disk was full";
/// What it says of kinds that came all the time.
pub const COUNTED: &str = "more lines came from the same place in a minute, and were only counted";

/// The id of the line with these words, from a module of one of our programs: eight hexadecimal digits.
pub fn id(target: &str, words: &str) -> Option<String> {
    let program = target.split(':').next().unwrap_or_default();
    if !OWN.contains(&program) {
        return None;
    }
    let known = REWORDED.iter().find(|(new, _)| *new == words).map_or(words, |(_, old)| old);
    // FNV-1a (draft-eastlake-fnv): it has to be the same for ever, and nobody attacks it, for the words are ours.
    let bytes = program.bytes().chain([0]).chain(known.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    Some(format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_words_and_program_and_of_nothing_else() {
        let ready = id("chatd", "ready");
        assert_eq!(ready.as_deref(), Some("1890f675"), "whoever looks for it has it written down");
        assert_eq!(ready, id("chatd::daemon::pulse", "ready"));
        assert_ne!(ready, id("directoryd", "ready"));
        assert_ne!(ready, id("chatd", "stopped"));
        assert_eq!(id("iroh::socket", "ready"), None);
    }
}
