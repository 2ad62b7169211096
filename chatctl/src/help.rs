//! What help and manual pages say beyond the definition of flags: verbs in groups, examples, files.

use clap::Command;

/// The verbs by what they are for; [`crate::command`] shows them so, and a test holds that none is left out.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Talk", &["send", "chat", "history", "search", "unread", "read", "forget", "watch", "trace"]),
    (
        "People",
        &[
            "users", "add", "requests", "accept", "reject", "contacts", "remove", "rename", "verify", "block",
            "unblock", "mute", "unmute", "ping", "invite",
        ],
    ),
    ("Your account", &["register", "login", "logout", "unregister", "whoami", "use", "profile", "settings", "key"]),
    ("Safe keeping", &["backup", "restore", "export"]),
    ("Programs", &["token", "consumers", "completion", "man"]),
    ("The daemon", &["status", "doctor", "netcheck", "help"]),
];

/// Command lines and what each is for, by verb; `""` is the program itself.
const EXAMPLES: [(&str, &[(&str, &str)]); 14] = [
    (
        "",
        &[
            ("chatctl register alice", "make an account"),
            ("chatctl add bob --message 'hi, it is alice'", "ask bob to become a contact"),
            ("chatctl send bob 'lunch at noon?' --wait delivered", "send, and wait until bob's machine has it"),
            ("chatctl chat bob", "talk, line by line"),
        ],
    ),
    ("register", &[("chatctl register alice --recovery-file ~/alice.recovery", "the recovery key goes to a new file")]),
    ("add", &[("chatctl add bob@example.org --message 'hi, it is alice'", "somebody of another domain")]),
    ("accept", &[("chatctl requests", "what waits"), ("chatctl accept %7", "the one with this handle")]),
    (
        "send",
        &[
            ("chatctl send bob 'backup done' --wait delivered --timeout 10s", "exit 6 if bob does not have it by then"),
            ("journalctl -f -p err | chatctl send ops --stdin-lines", "a message for each line"),
            ("chatctl send bob -- \"$text\"", "whatever the text begins with"),
        ],
    ),
    (
        "watch",
        &[
            ("chatctl watch bob", "what bob does and writes"),
            ("chatctl watch --consumer bot --type message.received --exec ./bot", "run ./bot for each message, once"),
        ],
    ),
    ("history", &[("chatctl history bob -n 500", "more of it"), ("chatctl history bob --before last", "older ones")]),
    ("search", &[("chatctl search --in bob 'noon lun'", "both words, the second as a beginning")]),
    (
        "verify",
        &[("chatctl verify bob", "the number to compare"), ("chatctl verify bob 12345 67890 ...", "compare it")],
    ),
    (
        "token",
        &[
            (
                "chatctl token create --name grafana --send-to ops --rate 10/m --expires 90d",
                "may write to ops, and no more",
            ),
            ("CHATD_TOKEN=chatd_... chatctl send ops 'disk full'", "as whoever holds it"),
            ("chatctl token log grafana", "what was done with it"),
        ],
    ),
    ("mute", &[("chatctl mute bob 8h", "until tomorrow")]),
    ("ping", &[("chatctl ping bob --until-direct", "until no relay is needed any more; exit 6 if that does not come")]),
    (
        "backup",
        &[
            ("chatctl backup alice.age", "asks for a passphrase"),
            ("chatctl backup - | ssh nas 'cat >a.age'", "elsewhere"),
        ],
    ),
    ("completion", &[("source <(chatctl completion bash)", "in ~/.bashrc; names of contacts are completed, too")]),
];

/// Paths and what lies there, for manual pages.
pub const FILES: [(&str, &str); 3] = [
    ("$XDG_RUNTIME_DIR/chatd/chatd.sock", "the socket of your own daemon"),
    ("~/.local/state/chatd/chatd.sock", "the same where there is no XDG_RUNTIME_DIR"),
    ("/run/chatd/chatd.sock", "the socket of the system's daemon"),
];

/// Variables, for manual pages.
pub const ENVIRONMENT: [(&str, &str); 6] = [
    ("CHATD_SOCKET", "the daemon's socket, unless --socket says otherwise"),
    ("CHATD_ACCOUNT", "the account to use, unless --account says otherwise"),
    ("CHATD_TOKEN", "the token to act by, unless --token says otherwise"),
    ("NO_COLOR", "no colours, unless --color always asks for them"),
    ("PAGER", "what shows long output on a terminal (less, if unset); cat, or nothing: none does"),
    ("XDG_RUNTIME_DIR", "where your own daemon's socket is looked for"),
];

/// Exit codes, for manual pages.
pub const EXIT_STATUS: [(&str, &str); 8] = [
    ("0", "done"),
    ("1", "failed; standard error says why"),
    ("2", "not understood, or a name that means more than one person"),
    ("3", "the daemon cannot be reached"),
    ("4", "a key is not trusted, or has changed"),
    ("5", "too many requests; try again later"),
    ("6", "not delivered in time; the message is still on its way"),
    ("7", "refused by the other side"),
];

/// The definition with groups and examples.
pub fn dress(command: Command) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{}\nOptions:\n{{options}}{{after-help}}",
        listed(&command)
    );
    let add = |command: Command, verb: &str| {
        let Some(text) = examples(verb) else { return command };
        let before = command.get_after_help().map(|help| format!("\n\n{help}")).unwrap_or_default();
        command.after_help(format!("{text}{before}"))
    };
    // In place: `mut_subcommand` would change the order.
    let command = add(command, "").mut_subcommands(|verb| {
        let name = verb.get_name().to_owned();
        add(verb, &name)
    });
    command.help_template(template)
}

/// The examples of a verb, as lines.
fn examples(verb: &str) -> Option<String> {
    let (_, lines) = EXAMPLES.iter().find(|(name, _)| *name == verb)?;
    let lines = lines.iter().map(|(line, what)| format!("\n  {line}\n      {what}"));
    Some(format!("Examples:{}", lines.collect::<String>()))
}

/// The examples of a verb, each with what it is for.
pub fn examples_of(verb: &str) -> &'static [(&'static str, &'static str)] {
    EXAMPLES.iter().find(|(name, _)| *name == verb).map_or(&[], |(_, lines)| lines)
}

/// Verbs with what they do, group by group.
fn listed(command: &Command) -> String {
    let mut text = String::new();
    for (title, verbs) in GROUPS {
        text.push_str(&format!("\n{title}:\n"));
        for verb in verbs {
            let (about, aliases) = match command.find_subcommand(verb) {
                Some(found) => (
                    found.get_about().map(ToString::to_string).unwrap_or_default(),
                    found.get_visible_aliases().map(|alias| format!(" [alias: {alias}]")).collect::<String>(),
                ),
                // clap's own.
                None => ("Print this, or the help of a verb".to_owned(), String::new()),
            };
            text.push_str(&format!("  {verb:<11} {about}{aliases}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_stands_in_one_group() {
        let command = crate::command();
        let mut grouped: Vec<&str> =
            GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied().filter(|verb| *verb != "help").collect();
        let mut verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        grouped.sort_unstable();
        verbs.sort_unstable();
        assert_eq!(grouped, verbs);
    }

    #[test]
    fn examples_parse() {
        for (verb, lines) in EXAMPLES {
            for (line, _) in lines {
                let Some(start) = line.find("chatctl ") else { continue };
                let line = line[start..].split([')', '|']).next().unwrap_or_default().trim();
                let words = words(line);
                let parsed = crate::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{verb}: {line}: {:?}", parsed.err().map(|error| error.to_string()));
            }
        }
    }

    /// Words of a line, with quotes as a shell has them.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quote) = (vec![String::new()], None);
        for c in line.chars() {
            match (quote, c) {
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                (None, ' ') => words.push(String::new()),
                _ => words.last_mut().into_iter().for_each(|word| word.push(c)),
            }
        }
        words
    }
}
