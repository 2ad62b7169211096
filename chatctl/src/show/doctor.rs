//! What is wrong, a line for each thing that was looked at.

use proto::rpc::types::{Check, CheckLevel};

use super::words::advice;
use crate::term::span::Line;
use crate::term::table::Table;

/// All that was looked at.
pub fn report(checks: &[Check]) -> Vec<Line> {
    let mut table = Table::new([0; 3]);
    for check in checks {
        let level = match check.level {
            CheckLevel::Ok => "ok",
            CheckLevel::Warning => "warning",
            CheckLevel::Error => "error",
        };
        let of = check.account.as_ref().map(|account| format!(" of {account}")).unwrap_or_default();
        let text = advice::told(&check.text, check.advice.as_ref());
        table.row([level.to_owned(), format!("{}{of}", check.what), text]);
    }
    table.take_lines(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::render::samples::plain;
    use proto::advice::Step;

    #[test]
    fn each_line_says_how_bad_it_is_and_what_to_do() {
        let check = |what: &str, level, account: Option<&str>, advice| Check {
            what: what.into(),
            account: account.map(str::to_owned),
            level,
            text: "found\u{1b}[2J".into(),
            advice,
        };
        let checks = [
            check("disk", CheckLevel::Ok, None, None),
            check("consumers", CheckLevel::Warning, Some("alice"), Some(Step::RemoveConsumer.of("bot"))),
        ];
        let shown = plain(&report(&checks));
        assert_eq!(
            shown,
            "ok       disk                found\\u{1b}[2J\n\
             warning  consumers of alice  found\\u{1b}[2J: chatctl consumers remove bot"
        );
    }
}
