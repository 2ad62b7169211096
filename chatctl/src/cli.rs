//! The command line: global flags and the table of verbs. What a verb takes and does is in its own file.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::term::output::Color;
use crate::verbs;

/// Chat with people, without a server in between.
#[derive(Debug, Parser)]
#[command(name = "chatctl", version, propagate_version = true, disable_help_subcommand = false)]
#[command(after_help = "Exit codes: 0 ok; 1 failed; 2 usage; 3 daemon not reachable; 4 key not trusted or changed; \
                        5 rate-limited; 6 timed out, still queued; 7 refused by the peer.")]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Flags of every verb.
#[derive(Debug, clap::Args)]
pub struct Globals {
    /// Print JSON: one object, or one object per line for streams
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,
    /// Colours: auto (on a terminal, unless NO_COLOR is set), always, never
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    #[arg(help_heading = "Global options", hide_possible_values = true)]
    pub color: Color,
    /// The account to use, when the daemon has several of yours [default: CHATD_ACCOUNT, then that of `chatctl use`]
    #[arg(long, global = true, value_name = "NAME", env = "CHATD_ACCOUNT", hide_env_values = true)]
    #[arg(help_heading = "Global options")]
    pub account: Option<String>,
    /// The daemon's socket [default: your own daemon's, then the system's]
    #[arg(long, global = true, value_name = "PATH", env = "CHATD_SOCKET", hide_env_values = true)]
    #[arg(help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// Act by this token instead of your own rights; others see a command line, so CHATD_TOKEN is the better place
    #[arg(long, global = true, value_name = "TOKEN", env = "CHATD_TOKEN", hide_env_values = true)]
    #[arg(help_heading = "Global options")]
    pub token: Option<String>,
}

macro_rules! verbs {
    ($($(#[$meta:meta])* $variant:ident => $($module:ident)::+,)*) => {
        /// What to do.
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($(#[$meta])* $variant(verbs::$($module)::+::Args),)*
        }

        impl Verb {
            /// Does it.
            pub async fn run(self, session: &mut Session) -> Result<Exit, Failure> {
                match self {
                    // Boxed: the future of one verb is alive at a time, and the largest would size them all.
                    $(Self::$variant(args) => Box::pin(verbs::$($module)::+::run(args, session)).await,)*
                }
            }
        }
    };
}

verbs! {
    /// Make an account and claim its name
    Register => account::register,
    /// Bring the account online
    Login => account::login,
    /// Take the account offline
    Logout => account::logout,
    /// Give the name up and delete the account from this daemon
    Unregister => account::unregister,
    /// Show the account
    Whoami => account::whoami,
    /// Make one of your accounts the default
    Use => account::use_account,
    /// Show connectivity, queues, unread counts and versions, for each of your accounts
    Status => system::status,
    /// Look for what is wrong, and say what to do about it
    Doctor => system::doctor,
    /// Look at what the network allows: UDP, IPv4, IPv6, NAT, directory, relay, SRV, each with its time
    Netcheck => system::netcheck,
    /// Show who is in the directory
    #[command(visible_alias = "list")]
    Users => contact::users,
    /// Ask somebody to become a contact
    #[command(visible_alias = "connect")]
    Add => contact::add,
    /// Make an invite: whoever uses it first becomes a contact, with or without a directory
    Invite => contact::invite,
    /// Show contact requests that wait for an answer
    Requests => contact::requests,
    /// Accept a contact request
    Accept => contact::accept,
    /// Refuse a contact request
    Reject => contact::reject,
    /// Show the contacts
    Contacts => contact::contacts,
    /// End a contact; history stays
    Remove => contact::remove,
    /// Give a contact a label of your own
    Rename => contact::rename,
    /// Show a contact's safety number, or compare one
    Verify => contact::verify,
    /// Send a message
    Send => message::send,
    /// Follow events as they happen
    Watch => feed::watch,
    /// Show, reset or remove durable readers of the feed
    Consumers => feed::consumers,
    /// Show a conversation
    History => message::history,
    /// Search all messages
    Search => message::search,
    /// Show unread counts
    Unread => message::unread,
    /// Mark messages as read
    Read => message::read,
    /// Delete messages of a conversation here
    Forget => message::forget,
    /// Talk live, line by line
    Chat => message::chat,
    /// Let nothing in from somebody, and nothing out to them
    Block => contact::filter::block,
    /// End a block
    Unblock => contact::filter::unblock,
    /// Mark somebody's messages as muted for a while
    Mute => contact::filter::mute,
    /// End muting
    Unmute => contact::filter::unmute,
    /// Show or change a profile
    Profile => account::profile,
    /// Ask a contact's daemon whether it is there, by which way, and how long that takes
    Ping => contact::ping,
    /// Show every attempt on a message
    Trace => message::trace,
    /// Replace the identity key
    Key => account::key,
    /// Make, show or end tokens, by which programs act for the account within bounds
    Token => account::token,
    /// Show or change settings
    Settings => account::settings,
    /// Write the account to an encrypted file
    Backup => safekeeping::backup,
    /// Print everything that the account has, as JSON
    Export => safekeeping::export,
    /// Make the account anew from a backup
    Restore => safekeeping::restore,
    /// Print a completion script
    Completion => system::completion,
    /// Print a manual page
    Man => system::man,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_parses_and_what_does_not() {
        let good = [
            "send bob hello there",
            "send bob hello --wait delivered --timeout 30s",
            "send bob --stdin-lines --tag work --tag urgent --priority high",
            "send bob --format markdown --reply-to 01977e5c-0000-7000-8000-000000000000 hi",
            "send bob -- --json",
            "send bob -1",
            "list --online",
            "users bo --name bob --ip 127.0.0.1",
            "users --ip [::1]:7470",
            "connect bob@example.org --message hello",
            "mute bob 30s",
            "mute bob",
            "watch bob --since 12 --type message.received --type presence",
            "watch --consumer bot --json",
            "watch --since 3 --consumer bot",
            "watch --consumer bot --exec ./bot --max-attempts 3",
            "watch --consumer bot --ack-stdin",
            "watch --consumer bot --ack printed --json",
            "consumers",
            "consumers list",
            "consumers reset bot --since 12",
            "consumers remove bot",
            "consumers dead-letters bot",
            "history bob -n 100 --tag work",
            "verify bob 12345 67890",
            "profile show",
            "profile set --status away",
            "unregister --yes",
            "trace 01977e5c-0000-7000-8000-000000000000",
            "trace 5f3a9c01",
            "trace last",
            "history bob --before 5f3a9c01 --peek",
            "read bob --up-to last",
            "send bob --reply-to last yes",
            "send bob --id 01977e5c-0000-7000-8000-000000000000 hi",
            "watch --peek",
            "history bob --color always",
            "--color never contacts",
            "man key rotate",
            "--json whoami",
            "whoami --json --account alice --socket /tmp/s",
            "completion bash",
            "key rotate",
            "key recover --recovery-file /tmp/key --new-recovery-file /tmp/new",
            "backup /tmp/alice.age --recipient age1x --recipient age1y",
            "restore /tmp/alice.age --identity-file /tmp/key",
            "settings",
            "token create --name grafana --send-to ops --rate 10/m --expires 90d",
            "token create --name bot --allow read,send --in bob carol --in dave",
            "token create --name bot --allow read --allow contacts --rate 3/90s",
            "token list",
            "token log grafana",
            "token revoke grafana",
            "send ops hello --token chatd_0",
            "doctor --json",
            "netcheck --json --account alice",
            "export --json",
            "settings --read-receipts off --lifetime never",
            "send bob --lifetime 10m hello",
        ];
        for line in good {
            let parsed = Cli::try_parse_from(format!("chatctl {line}").split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        let bad = [
            ("snd bob hello", "similar subcommand exists: 'send'"),
            ("send", "required arguments"),
            ("send bob --wait sent hello", "possible values: queued, delivered, read"),
            ("send bob hello --timeout 30", "30s, 10m, 2h or 7d"),
            ("send bob text --stdin-lines", "cannot be used with"),
            ("send bob hello --priority urgent", "possible values: low, normal, high"),
            ("mute bob soon", "30s, 10m, 2h or 7d"),
            ("mute bob 0s", "1s is the least"),
            ("watch --type message.recieved", "message.received"),
            ("watch --exec ./bot", "--consumer"),
            ("watch --ack-stdin", "--consumer"),
            ("watch --ack printed", "--consumer"),
            ("watch --consumer bot --ack seen", "possible values: printed"),
            ("watch --consumer bot --exec ./bot --ack-stdin", "cannot be used with"),
            ("watch --consumer bot --max-attempts 3", "--exec"),
            ("watch --consumer bot --exec ./bot --max-attempts 0", "not in 1"),
            ("consumers reset", "required arguments"),
            ("users --ip bob", "not an IP address"),
            ("trace xyz", "is not a message id"),
            ("history bob -n 0", "not in 1"),
            ("profile set", "required arguments"),
            ("key recover", "--recovery-file"),
            ("key", "rotate"),
            ("backup f --recipient age1x --passphrase-file p", "cannot be used with"),
            ("token", "create"),
            ("token create", "--name"),
            ("token create --name x --allow everything", "possible values: read, send, contacts, admin"),
            ("token create --name x --send-to ops --rate 10", "10/m"),
            ("token create --name x --send-to ops --rate 0/m", "1 is the least"),
            ("settings --lifetime 0s", "or never"),
            ("settings --read-receipts maybe", "possible values: on, off"),
            ("whoami bob", "unexpected argument 'bob'"),
        ];
        for (line, says) in bad {
            let error = Cli::try_parse_from(format!("chatctl {line}").split(' ')).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
