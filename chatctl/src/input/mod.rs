//! What comes in: typed lines and passphrases, standard input, signals, and a shell that asks how a word goes on.

pub mod complete;
pub mod interrupt;
pub mod line_editor;
pub mod prompt;
pub mod secret;
pub mod stdin_lines;
pub mod stop;
