//! Tokens, and what was done with them, as lists.

use proto::rpc::types::{Token, TokenUse};

use super::words::clock::{clock, span};
use crate::term::table::Table;

/// What a token grants, in words.
pub fn grants(token: &Token) -> String {
    let mut parts: Vec<String> = Vec::new();
    for scope in &token.allow {
        parts.push(match (scope.as_str(), &token.within, &token.send_to) {
            ("read", Some(people), _) => format!("read in {}", people.join(" ")),
            ("send", _, Some(people)) => format!("send to {}", people.join(" ")),
            (scope, ..) => scope.to_owned(),
        });
    }
    if let Some(rate) = token.rate {
        parts.push(format!("{} in {}", rate.count, span(rate.seconds.into())));
    }
    parts.join(", ")
}

/// An empty list of tokens.
pub fn list() -> Table<4> {
    Table::new([0; 4]).titled(["NAME", "GRANTS", "ENDS", "USED"])
}

/// A row of [`list`].
pub fn row(token: &Token) -> [String; 4] {
    let ends = match (token.ended, token.expires) {
        (Some(at), _) => format!("{} {}", token.reason.as_deref().unwrap_or("ended"), clock(at)),
        (None, Some(at)) => clock(at),
        (None, None) => "never".to_owned(),
    };
    [token.name.clone(), grants(token), ends, token.used.map_or_else(|| "never".to_owned(), clock)]
}

/// An empty list of what was done.
pub fn log() -> Table<5> {
    Table::new([0; 5]).titled(["LAST", "TIMES", "WHAT", "WHO", "BY"])
}

/// A row of [`log`].
pub fn entry(entry: &TokenUse) -> [String; 5] {
    let what = match &entry.refused {
        Some(why) => format!("{} refused ({why})", entry.method),
        None => entry.method.clone(),
    };
    let who = entry.who.clone().unwrap_or_else(|| "-".to_owned());
    [clock(entry.last), entry.count.to_string(), what, who, format!("uid {}", entry.uid)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::rpc::types::Rate;
    use proto::scope::Scope;
    use proto::time::Timestamp;

    #[test]
    fn what_is_granted_is_said() {
        let mut token = Token {
            name: "grafana".into(),
            account: "alice@example.org".into(),
            allow: vec![Scope::Read, Scope::Send, Scope::Contacts],
            within: None,
            send_to: Some(vec!["ops".into(), "bob".into()]),
            rate: Some(Rate { count: 10, seconds: 60 }),
            created: Timestamp(0),
            expires: None,
            used: None,
            ended: None,
            reason: None,
        };
        assert_eq!(grants(&token), "read, send to ops bob, contacts, 10 in 1 min");
        assert_eq!(row(&token)[2..], ["never", "never"]);
        (token.ended, token.reason, token.within) =
            (Some(Timestamp(0)), Some("revoked".into()), Some(vec!["bob".into()]));
        assert!(row(&token)[1].starts_with("read in bob, ") && row(&token)[2].starts_with("revoked 1970-"));
    }
}
