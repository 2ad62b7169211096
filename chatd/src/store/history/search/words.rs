//! From what a user typed, or a message's text, to what FTS5 gets.
//!
//! `fold` makes the tokens; FTS5 gets them with spaces between, and its `ascii` tokenizer cuts there only: all that is not
//! ASCII is a part of a token to it. Text that is ASCII goes as it is, for that tokenizer does the same with it.
//!
//! Each word or phrase of a query is one FTS5 string; the strings stand side by side, which is FTS5's AND that ignores strings
//! without tokens. No other syntax is passed on, so no query can be a syntax error or a column filter. Two kinds of string are
//! prefixes: the last word, from [`MIN_PREFIX_CHARS`] letters on, as people type it; and a single character of a script without
//! spaces, whose pairs begin with it. Prefixes of up to three characters have an index of their own, so that a short one
//! is a walk down one list, newest first, and a long one has few words to collect.

use std::fmt::Write as _;

use crate::model::ids::ConversationRow;
use crate::store::error::SearchError;
use crate::store::history::search::fold::{Folder, Kind, Token};

/// Length of a query: a longer one is pasted text, not words.
pub const MAX_QUERY_BYTES: usize = 1_024;
/// Words and phrases of a query: bounds the doclists that are walked side by side.
pub const MAX_TERMS: usize = 32;
/// Letters of the last word of a query from which on it also stands for longer words.
pub const MIN_PREFIX_CHARS: usize = 2;

/// The first character of a conversation's token. It is made a token character for this alone and taken out of everything that
/// people write, so no message can claim to be in another conversation.
const MARK: char = '\u{1}';

/// The FTS5 arguments that the index and the in-memory tail share: both must cut text the same way.
pub(in crate::store) const FTS5_ARGUMENTS: &str =
    "body, content='', contentless_delete=1, prefix='2 3', tokenize=\"ascii tokenchars '\u{1}'\"";

static FOLDER: Folder = Folder::new();

/// Writes to `out` the indexed text of a message: its conversation's token, then the tokens of the body.
pub(in crate::store) fn document(out: &mut String, conversation: ConversationRow, body: &str) {
    out.clear();
    // As u64: a minus sign would be a separator. Writing to a String does not fail.
    let _ = write!(out, "{MARK}{} ", conversation.0.cast_unsigned());
    // Neither folding nor cutting reaches across ASCII white space, and most of most texts needs neither.
    for part in body.split_inclusive(|c: char| c.is_ascii_whitespace()) {
        if !part.is_ascii() {
            FOLDER.tokens(part, |_, token| {
                out.push_str(token);
                out.push(' ');
            });
        } else if part.contains(MARK) {
            out.extend(part.chars().map(|c| if c == MARK { ' ' } else { c }));
        } else {
            out.push_str(part);
        }
    }
}

/// The MATCH expression of a user's query.
pub(in crate::store) fn expression(query: &str, conversation: Option<ConversationRow>) -> Result<String, SearchError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(SearchError::TooLong { got: query.len(), max: MAX_QUERY_BYTES });
    }
    let mut terms: Vec<(Vec<Token>, bool)> = Vec::new();
    for (term, quoted) in split(query) {
        let mut tokens = Vec::new();
        FOLDER.tokens(term, |kind, text| tokens.push(Token { text: text.to_owned(), kind }));
        if !tokens.is_empty() {
            terms.push((tokens, quoted));
        }
    }
    if terms.is_empty() {
        return Err(SearchError::NoWords);
    }
    if terms.len() > MAX_TERMS {
        return Err(SearchError::TooManyWords { got: terms.len(), max: MAX_TERMS });
    }
    let mut out = String::with_capacity(2 * query.len() + 3 * terms.len() + 32);
    if let Some(id) = conversation {
        let _ = write!(out, "\"{MARK}{}\" AND ", id.0.cast_unsigned());
    }
    // The group keeps what follows the conversation together.
    out.push('(');
    let last = terms.len() - 1;
    for (i, (tokens, quoted)) in terms.iter().enumerate() {
        string(&mut out, tokens, i == last && !quoted);
    }
    out.push(')');
    Ok(out)
}

/// One FTS5 string: the tokens as a phrase. `open`: the last word may go on.
fn string(out: &mut String, tokens: &[Token], open: bool) {
    let (tokens, prefix) = match tokens {
        // In the text the run may go on, and then this character stands in a pair.
        [.., before, last] if last.kind == Kind::Last && before.kind == Kind::Pair => {
            (&tokens[..tokens.len() - 1], false)
        }
        [.., last] if last.kind == Kind::Last => (tokens, true),
        [.., last] => {
            (tokens, open && last.kind == Kind::Word && last.text.chars().nth(MIN_PREFIX_CHARS - 1).is_some())
        }
        [] => return,
    };
    let text: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let _ = write!(out, "\"{}\"{} ", text.join(" "), if prefix { " *" } else { "" });
}

/// Words, and the phrases between pairs of double quotes (true); a quote without a partner only separates.
fn split(query: &str) -> Vec<(&str, bool)> {
    let parts: Vec<&str> = query.split('"').collect();
    let mut terms = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        if i % 2 == 1 && i + 1 < parts.len() {
            terms.push((*part, true));
        } else {
            terms.extend(part.split_whitespace().map(|word| (word, false)));
        }
    }
    terms
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_phrases_kept() {
        for (query, want) in [
            ("hello", r#"("hello" * )"#),
            ("  two   words ", r#"("two" "words" * )"#),
            (r#"see "you soon" Alice"#, r#"("see" "you soon" "alice" * )"#),
            (r#"see "you soon""#, r#"("see" "you soon" )"#),
            (r#"a "b c"#, r#"("a" "b" "c" )"#),
            (r#"" " x"#, r#"("x" )"#),
            ("body:x* NEAR(", r#"("body x" "near" * )"#),
            ("don't", r#"("don t" )"#),
            ("会", r#"("会" * )"#),
            ("会议 室", r#"("会议" "室" * )"#),
            ("会议室", r#"("会议 议室" )"#),
            ("手机ab", r#"("手机 机 ab" * )"#),
            ("\"手机 ab\"", r#"("手机 机 ab" )"#),
            ("🎉", r#"("🎉" )"#),
            ("... wait", r#"("wait" * )"#),
        ] {
            assert_eq!(expression(query, None).unwrap(), want, "{query}");
        }
        assert_eq!(expression("a", Some(ConversationRow(-1))).unwrap(), "\"\u{1}18446744073709551615\" AND (\"a\" )");
        assert_eq!(expression("\u{1}7\0b", None).unwrap(), r#"("7 b" )"#);
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        for query in ["", "   ", "\"\"", "!?", "*", "-", "\u{1}\u{0}", "\u{200b}", "。", "\u{fe0f}"] {
            assert!(matches!(expression(query, None), Err(SearchError::NoWords)), "{query:?}");
        }
        assert!(matches!(expression(&"x".repeat(1_025), None), Err(SearchError::TooLong { got: 1_025, .. })));
        assert!(matches!(expression(&"x ".repeat(33), None), Err(SearchError::TooManyWords { got: 33, .. })));
    }

    #[test]
    fn a_body_cannot_forge_a_conversation() {
        let mut out = String::from("old");
        document(&mut out, ConversationRow(3), "hi \u{1}4 there");
        assert_eq!(out, "\u{1}3 hi  4 there");
        document(&mut out, ConversationRow(3), "hé\u{1}4 there");
        assert_eq!(out, "\u{1}3 he 4 there");
    }
}
