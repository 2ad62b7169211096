//! The account: making it, its state, its keys and what is set.

pub mod key;
pub mod login;
pub mod logout;
pub mod profile;
pub mod register;
pub mod settings;
pub mod token;
pub mod unregister;
pub mod use_account;
pub mod whoami;

use crate::failure::Failure;
use crate::term::output::{Out, OutputError, note, say};

/// Prints a key that is told this once. If standard output does not take it, it goes to standard error and the run fails:
/// a reader that has left is no reason to lose it.
pub(in crate::verbs) fn print_once(
    out: &mut Out,
    what: &str,
    key: &str,
    print: impl FnOnce(&mut Out) -> Result<(), OutputError>,
) -> Result<(), Failure> {
    print(out).and_then(|()| out.flush()).map_err(|failure| {
        say(&format!("{failure}; the {what} follows here, and is shown this once"));
        note(key);
        Failure::other(format!("the {what} could not be printed to standard output"))
    })
}
