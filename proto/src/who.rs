//! How somebody is named in commands and calls: by a word that people use, by the number of a request, by an account id.
//!
//! The job: telling the three apart by their spelling. Whom a word means is the daemon's to say: it knows labels and names.
//!
//! Invariants: no name and no label is spelled like a handle or an id, for neither may hold `%` at its beginning or a `:`.

use std::fmt;

use crate::ids::AccountId;
use crate::name::fold_query;

/// Begins the handle of a request.
pub const HANDLE_MARK: char = '%';
/// Begins an account id.
const ID_MARK: &str = "id:";

/// One of the three.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// `id:` and 32 hex digits: an account, whatever it is called now or later. What programs use among themselves.
    Id(AccountId),
    /// `%7`: who made this request, for ever.
    Handle(u64),
    /// A label, `bob` or `bob@example.org`, as it was typed.
    Word(String),
}

impl Who {
    /// Reads what somebody typed. What is neither an id nor a handle is a word, also if nobody can be called so.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let id = text.get(..ID_MARK.len()).filter(|mark| mark.eq_ignore_ascii_case(ID_MARK));
        if let Some(id) = id.and_then(|_| text.get(ID_MARK.len()..)?.parse().ok()) {
            return Self::Id(id);
        }
        let digits = text.strip_prefix(HANDLE_MARK).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(number) => Self::Handle(number),
            None => Self::Word(text.to_owned()),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{ID_MARK}{id}"),
            Self::Handle(number) => write!(f, "{HANDLE_MARK}{number}"),
            Self::Word(word) => f.write_str(word),
        }
    }
}

/// What labels are compared by: `José` is `josé`, composed or not. Names have a normal form of their own
/// ([`crate::name::Name`]).
pub fn label_key(label: &str) -> String {
    fold_query(label.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_are_told_apart() {
        let id = AccountId([0xab; 16]);
        for (text, who) in [
            ("bob", Who::Word("bob".into())),
            (" Bob@Example.org ", Who::Word("Bob@Example.org".into())),
            ("%7", Who::Handle(7)),
            ("%", Who::Word("%".into())),
            ("%7x", Who::Word("%7x".into())),
            ("%-7", Who::Word("%-7".into())),
            ("%99999999999999999999", Who::Word("%99999999999999999999".into())),
            ("7", Who::Word("7".into())),
            ("id:abababababababababababababababab", Who::Id(id)),
            ("ID:ABABABABABABABABABABABABABABABAB", Who::Id(id)),
            ("id:ab", Who::Word("id:ab".into())),
            ("abababababababababababababababab", Who::Word("abababababababababababababababab".into())),
            ("", Who::Word(String::new())),
            ("é:", Who::Word("é:".into())),
        ] {
            let parsed = Who::parse(text);
            assert_eq!(parsed, who, "{text}");
            assert_eq!(Who::parse(&parsed.to_string()), who, "{text}");
        }
    }

    #[test]
    fn labels_are_compared_as_people_read_them() {
        assert_eq!(label_key(" Jose\u{301} "), label_key("JOSÉ"));
        assert_ne!(label_key("jose"), label_key("josé"));
    }
}
