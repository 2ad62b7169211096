//! Whether a directory answers as docs/directory-api.md says: cases that need nothing of it but its API, over http or https, so that
//! they run against one that others operate. Each makes people of its own, and gives their names up at its end.

mod cases;
mod groups;
mod mailbox;
mod people;
mod target;

use std::pin::Pin;

use anyhow::Result;

pub use self::target::{Exchange, Outcome, Target};

type Run = for<'a> fn(&'a Target) -> Pin<Box<dyn Future<Output = Result<Outcome>> + Send + 'a>>;

/// Something that a directory does.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// By which it is asked for.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    run: Run,
}

impl Case {
    /// Tries it.
    ///
    /// # Errors
    /// What the directory did otherwise, or why it could not be asked.
    pub async fn run(&self, target: &Target) -> Result<Outcome> {
        (self.run)(target).await
    }
}

macro_rules! cases {
    ($($name:literal, $about:literal, $run:path;)*) => {
        /// All of them, in their order.
        pub const CASES: &[Case] = &[$(Case { name: $name, about: $about, run: |target| Box::pin($run(target)) }),*];
    };
}

cases! {
    "identity", "it proves that it has its key, and says which domain it serves", cases::identity;
    "register", "a name goes to who comes first, and is updated by nobody else", cases::register;
    "look-up", "a record is found by its name, in any spelling, and by its account", cases::look_up;
    "list", "members list who is there, page by page", cases::list;
    "search-by-name", "a whole name is found by anybody, a part of one by members", cases::search_by_name;
    "search-by-address", "who shows its address is found by it, and nobody else is", cases::search_by_address;
    "reach", "where a device is, is told to who may know", cases::reach;
    "presence", "who holds a token is told of coming and going, as a member and as a guest", people::presence;
    "mailbox", "an envelope lies until its device deletes it", mailbox::mailbox;
    "mailbox-refusals", "a mailbox refuses what is not for it", mailbox::refusals;
    "group-log", "the log of a group is appended to, and read by who has its token, member or not", groups::log;
    "group-events", "of two events one is the next, with the keys that were staged for it", groups::events;
    "group-push", "what is appended is pushed to who follows, as a member and as a guest", groups::push;
    "group-tokens", "a token that was replaced reads events, and writes nothing but its slot", groups::tokens;
    "group-keeper", "who has the log key sees who wrote, and drops it", groups::keeper;
    "give-up", "a name that was given up rests", cases::give_up;
    "refusals", "what is no request is refused, each in its way", cases::refusals;
}
