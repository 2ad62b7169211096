//! An account, its settings, its profile and the key of its directory, as facts.

use proto::rpc::types::{AccountInfo, DirectoryKeyResult, Profile, SettingsResult};

use super::facts;
use super::words::{account_state, address, clock};
use crate::term::span::Line;

/// An account.
pub fn account(account: &AccountInfo) -> Vec<Line> {
    facts(&[
        ("account", address(&account.address, account.default)),
        ("fingerprint", account.fingerprint.clone()),
        ("id", account.id.to_string()),
        ("directory", account.directory.clone().unwrap_or_else(|| "none (reachable by invite and LAN)".to_owned())),
        ("state", account_state(account.logged_in, account.online, account.directory.is_some()).to_owned()),
    ])
}

/// Its settings.
pub fn settings(settings: &SettingsResult) -> Vec<Line> {
    facts(&[
        ("read receipts", if settings.read_receipts { "on" } else { "off" }.to_owned()),
        ("lifetime", settings.lifetime.map_or_else(|| "never".to_owned(), clock::span)),
    ])
}

/// A profile, one's own or a contact's.
pub fn profile(profile: &Profile) -> Vec<Line> {
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    facts(&[
        ("display name", shown(&profile.display_name)),
        ("status", shown(&profile.status)),
        ("bio", shown(&profile.bio)),
    ])
}

/// The key that a directory is known by, and the one that it shows.
pub fn directory_key(result: &DirectoryKeyResult) -> Vec<Line> {
    let key = |key: &Option<String>, none: &str| key.clone().unwrap_or_else(|| none.to_owned());
    let none = result.problem.clone().unwrap_or_else(|| "none".to_owned());
    facts(&[
        ("directory", format!("{} ({})", result.url, result.origin)),
        ("known key", key(&result.known, "none yet")),
        ("shown key", key(&result.shown, &none)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::render::samples::plain;

    #[test]
    fn facts_are_aligned_and_harmless() {
        let mut profile = Profile { display_name: "Bob\n".into(), status: String::new(), bio: "\u{1b}[2J".into() };
        assert_eq!(
            plain(&super::profile(&profile)),
            "display name  Bob\\u{a}\nstatus        -\nbio           \\u{1b}[2J"
        );
        profile.bio.clear();
        assert!(plain(&super::profile(&profile)).ends_with("bio           -"));
    }

    #[test]
    fn a_directory_that_shows_no_key_says_why() {
        let mut result = DirectoryKeyResult {
            url: "https://example.org".into(),
            origin: "example.org".into(),
            known: None,
            shown: None,
            problem: None,
        };
        assert!(plain(&directory_key(&result)).ends_with("known key  none yet\nshown key  none"));
        (result.known, result.problem) = (Some("k1".into()), Some("it does not answer".into()));
        assert!(plain(&directory_key(&result)).ends_with("known key  k1\nshown key  it does not answer"));
    }
}
