//! From what a user typed, or a message's text, to what FTS5 gets.
//!
//! Each word or phrase of a query is one FTS5 string; the strings stand side by side, which is FTS5's AND that ignores strings
//! without tokens. No other syntax is passed on, so no query can be a syntax error, a column filter or a prefix scan.

use std::fmt::Write as _;

use super::SearchError;

/// Length of a query: a longer one is pasted text, not words.
pub const MAX_QUERY_BYTES: usize = 1_024;
/// Words and phrases of a query: bounds the doclists that are walked side by side.
pub const MAX_TERMS: usize = 32;

/// The first character of a conversation's token. It is made a token character for this alone and taken out of everything that
/// people write, so no message can claim to be in another conversation.
const MARK: char = '\u{1}';

/// The FTS5 arguments that the index and the in-memory tail share: both must cut text the same way.
pub(in crate::store) const FTS5_ARGUMENTS: &str = "body, content='', contentless_delete=1, \
     tokenize=\"unicode61 remove_diacritics 2 tokenchars '\u{1}'\"";

/// Writes to `out` the indexed text of a message: its conversation's token, then the body.
pub(in crate::store) fn document(out: &mut String, conversation: i64, body: &str) {
    out.clear();
    // As u64: a minus sign would be a separator. Writing to a String does not fail.
    let _ = write!(out, "{MARK}{} ", conversation.cast_unsigned());
    if body.contains(MARK) {
        out.extend(body.chars().map(|c| if c == MARK { ' ' } else { c }));
    } else {
        out.push_str(body);
    }
}

/// The MATCH expression of a user's query.
pub(in crate::store) fn expression(query: &str, conversation: Option<i64>) -> Result<String, SearchError> {
    if query.len() > MAX_QUERY_BYTES {
        return Err(SearchError::TooLong { got: query.len(), max: MAX_QUERY_BYTES });
    }
    // Control characters go first: NUL would end the expression early, and the mark is ours.
    let query: String = query.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let terms = terms(&query);
    if !terms.iter().any(|term| term.chars().any(char::is_alphanumeric)) {
        return Err(SearchError::NoWords);
    }
    if terms.len() > MAX_TERMS {
        return Err(SearchError::TooManyWords { got: terms.len(), max: MAX_TERMS });
    }
    let mut out = String::with_capacity(query.len() + 3 * terms.len() + 32);
    if let Some(id) = conversation {
        let _ = write!(out, "\"{MARK}{}\" AND ", id.cast_unsigned());
    }
    // The group keeps a query whose strings have no tokens from matching a whole conversation.
    out.push('(');
    for term in terms {
        let _ = write!(out, "\"{term}\" ");
    }
    out.push(')');
    Ok(out)
}

/// Words, and the phrases between pairs of double quotes; a quote without a partner only separates. No term holds a quote.
fn terms(query: &str) -> Vec<&str> {
    let parts: Vec<&str> = query.split('"').collect();
    let mut terms = Vec::new();
    for (i, part) in parts.iter().enumerate() {
        if i % 2 == 1 && i + 1 < parts.len() {
            terms.push(part.trim());
        } else {
            terms.extend(part.split_whitespace());
        }
    }
    terms.retain(|term| !term.is_empty());
    terms
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_phrases_kept() {
        for (query, want) in [
            ("hello", r#"("hello" )"#),
            ("  two   words ", r#"("two" "words" )"#),
            (r#"see "you soon" alice"#, r#"("see" "you soon" "alice" )"#),
            (r#"a "b c"#, r#"("a" "b" "c" )"#),
            (r#"" " x"#, r#"("x" )"#),
            ("body:x* NEAR(", r#"("body:x*" "NEAR(" )"#),
        ] {
            assert_eq!(expression(query, None).unwrap(), want, "{query}");
        }
        assert_eq!(expression("a", Some(-1)).unwrap(), "\"\u{1}18446744073709551615\" AND (\"a\" )");
        assert_eq!(expression("\u{1}7\0b", None).unwrap(), r#"("7" "b" )"#);
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        for query in ["", "   ", "\"\"", "!?", "*", "-", "\u{1}\u{0}", "\u{200b}"] {
            assert!(matches!(expression(query, None), Err(SearchError::NoWords)), "{query:?}");
        }
        assert!(matches!(expression(&"x".repeat(1_025), None), Err(SearchError::TooLong { got: 1_025, .. })));
        assert!(matches!(expression(&"x ".repeat(33), None), Err(SearchError::TooManyWords { got: 33, .. })));
    }

    #[test]
    fn a_body_cannot_forge_a_conversation() {
        let mut out = String::from("old");
        document(&mut out, 3, "hi \u{1}4 there");
        assert_eq!(out, "\u{1}3 hi  4 there");
    }
}
