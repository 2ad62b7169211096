//! An error and its causes in one line, none of them twice.

use std::error::Error;

/// The error's text, then those of its causes that are not said yet, with `: ` in between. Some errors quote their cause,
/// others leave it to whoever prints; either way each text stands there once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("cannot open the box")]
        Silent(#[source] io::Error),
        #[error("cannot open the box: {0}")]
        Quoting(#[source] io::Error),
        #[error(transparent)]
        Through(Box<Failed>),
        #[error("no box today")]
        Above(#[source] Box<Failed>),
    }

    #[test]
    fn nothing_is_said_twice() {
        let cause = || io::Error::other("no key");
        let once = "cannot open the box: no key";
        assert_eq!(chain(&Failed::Silent(cause())), once);
        assert_eq!(chain(&Failed::Quoting(cause())), once);
        assert_eq!(chain(&Failed::Through(Box::new(Failed::Quoting(cause())))), once);
        let above = Failed::Above(Box::new(Failed::Quoting(cause())));
        assert_eq!(chain(&above), format!("no box today: {once}"));
    }
}
