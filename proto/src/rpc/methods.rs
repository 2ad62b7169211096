//! The table of methods: name, parameters, result, one line of documentation. docs/rpc.md is checked against it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::*;
use crate::scope::{Needs, Scope};

/// A method's types, by a marker of its name.
pub trait Method {
    /// `noun.verb`.
    const NAME: &'static str;
    /// The one map in `params`.
    type Params: Serialize + DeserializeOwned + Send + 'static;
    /// What comes back.
    type Result: Serialize + DeserializeOwned + Send + 'static;
    /// What a token must grant for it.
    const NEEDS: Needs;
}

/// One row of [`METHODS`].
#[derive(Debug, Clone, Copy)]
pub struct MethodInfo {
    /// `noun.verb`.
    pub name: &'static str,
    /// Name of the parameters' type in [`super::types`].
    pub params: &'static str,
    /// Name of the result's type.
    pub result: &'static str,
    /// What a token must grant for it.
    pub needs: Needs,
    /// What it does.
    pub doc: &'static str,
}

/// The column of the table that says what a token must grant: `nothing`, `owner`, or scopes; `within` where the method looks
/// itself at which conversations a token is for.
macro_rules! needs {
    (nothing) => { Needs::Nothing };
    (owner) => { Needs::Owner };
    ([$($scope:ident)+]) => { Needs::Scope { any: &[$(Scope::$scope),+], within: false } };
    ([$($scope:ident)+] within) => { Needs::Scope { any: &[$(Scope::$scope),+], within: true } };
}

macro_rules! methods {
    ($($marker:ident $name:literal $needs:tt $($within:ident)? ($params:ident) -> $result:ident : $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[derive(Debug, Clone, Copy)]
            pub struct $marker;
            impl Method for $marker {
                const NAME: &'static str = $name;
                type Params = $params;
                type Result = $result;
                const NEEDS: Needs = needs!($needs $($within)?);
            }
        )*
        /// Every method.
        pub const METHODS: &[MethodInfo] = &[
            $(MethodInfo {
                name: $name,
                params: stringify!($params),
                result: stringify!($result),
                needs: needs!($needs $($within)?),
                doc: $doc,
            },)*
        ];
    };
}

methods! {
    SystemHello "system.hello" nothing (HelloParams) -> HelloResult: "Says who the client is and learns versions and accounts. Optional.";
    SystemStatus "system.status" [Read Admin] (AccountParams) -> StatusResult: "Connectivity, queues and versions, for one account or all of the caller's.";
    SystemDoctor "system.doctor" [Admin] (AccountParams) -> DoctorResult: "What is wrong with the daemon and the caller's accounts, piece by piece, and what to do about it.";
    SystemNetcheck "system.netcheck" [Admin] (AccountParams) -> NetcheckResult: "What the network allows, seen from the directories of the caller's accounts: UDP, IPv4, IPv6, the NAT, relay, directory and SRV, each with its time.";
    AccountRegister "account.register" owner (RegisterParams) -> RegisterResult: "Makes an account and claims its name in the directory.";
    AccountLogin "account.login" [Admin] (AccountParams) -> AccountInfo: "Brings the account online; remembered across restarts.";
    AccountLogout "account.logout" [Admin] (AccountParams) -> AccountInfo: "Takes the account offline; remembered across restarts.";
    AccountUnregister "account.unregister" owner (UnregisterParams) -> UnregisterResult: "Gives the name up and deletes the account from this daemon.";
    AccountList "account.list" [Read Send Contacts Admin] within (Empty) -> AccountListResult: "The caller's accounts.";
    AccountWhoami "account.whoami" [Read Send Contacts Admin] within (AccountParams) -> AccountInfo: "One account.";
    AccountUse "account.use" owner (AccountParams) -> AccountInfo: "Makes an account the caller's default: the one that calls mean which name none.";
    AccountSettings "account.settings" [Admin] (SettingsParams) -> SettingsResult: "Changes settings; answers how they are then.";
    KeyRotate "key.rotate" owner (AccountParams) -> KeyResult: "A new identity key, signed by the one before.";
    KeyRecover "key.recover" owner (KeyRecoverParams) -> KeyResult: "A new identity key and a new recovery key, signed by the recovery key.";
    BackupBegin "backup.begin" owner (BackupBeginParams) -> BackupBeginResult: "Makes an encrypted copy of the account, to be read with `backup.read`.";
    BackupRead "backup.read" owner (BackupReadParams) -> BackupReadResult: "The next part of a backup.";
    BackupEnd "backup.end" owner (TransferParams) -> Done: "Drops a backup that was read.";
    RestoreBegin "restore.begin" owner (Empty) -> RestoreBeginResult: "Begins to take a backup.";
    RestoreWrite "restore.write" owner (RestoreWriteParams) -> Done: "The next part of the backup.";
    RestoreFinish "restore.finish" owner (RestoreFinishParams) -> RestoreResult: "Opens the backup and makes the account from it.";
    RestoreEnd "restore.end" owner (TransferParams) -> Done: "Drops an upload that was not finished.";
    DirectoryKey "directory.key" [Admin] (DirectoryKeyParams) -> DirectoryKeyResult: "The key that a directory is known by and the one that it shows; accepts another one.";
    DirectoryUsers "directory.users" [Contacts] (UsersParams) -> UsersResult: "Who is in the account's directory, a page at a time.";
    ContactAdd "contact.add" [Contacts] (ContactAddParams) -> Contact: "Asks somebody to become a contact. Asking again is no error.";
    ContactRequests "contact.requests" [Contacts] (PageParams) -> ContactsResult: "Requests that wait for an answer.";
    ContactAccept "contact.accept" [Contacts] (WhoParams) -> Contact: "Accepts a request.";
    ContactReject "contact.reject" [Contacts] (WhoParams) -> Contact: "Refuses a request; the asker is told.";
    ContactList "contact.list" [Read Contacts] within (PageParams) -> ContactsResult: "All contacts, whatever their state.";
    ContactPing "contact.ping" [Contacts] (WhoParams) -> PingResult : "Asks a contact's daemon whether it is there: by which way, and how long that took.";
    ContactShow "contact.show" [Read Contacts] within (WhoParams) -> Contact: "Who is meant: one contact, or one who asks.";
    ContactRemove "contact.remove" [Contacts] (WhoParams) -> Contact: "Ends a contact; history stays.";
    ContactRename "contact.rename" [Contacts] (RenameParams) -> Contact: "Gives a contact a label of one's own.";
    ContactVerify "contact.verify" [Admin] (VerifyParams) -> VerifyResult: "Shows the safety number, or compares one and marks the contact verified.";
    ContactBlock "contact.block" [Contacts] (WhoParams) -> Contact: "Nothing comes in from, and nothing goes out to, this one.";
    ContactUnblock "contact.unblock" [Contacts] (WhoParams) -> Contact: "Ends a block.";
    ContactMute "contact.mute" [Contacts] (MuteParams) -> Contact: "Marks events of this one as muted for a while.";
    ContactUnmute "contact.unmute" [Contacts] (WhoParams) -> Contact: "Ends muting.";
    InviteCreate "invite.create" [Contacts] (InviteCreateParams) -> InviteCreateResult: "Makes an invite: whoever uses it first becomes a contact, without asking.";
    InviteList "invite.list" [Contacts] (AccountParams) -> InviteListResult: "Invites that are out, and those that were used, until their time is over.";
    InviteRevoke "invite.revoke" [Contacts] (InviteRevokeParams) -> Done: "Makes an invite worthless.";
    MessageSend "message.send" [Send] within (SendParams) -> SendResult: "Stores a message durably and answers; delivery follows by itself.";
    MessageWait "message.wait" [Read Send] within (WaitParams) -> SendResult: "Answers when a message reaches a state, or at the timeout with the state it is in.";
    MessageHistory "message.history" [Read] within (HistoryParams) -> MessagesResult: "A page of a conversation, in the order of arrival.";
    MessageFind "message.find" [Read] within (MessageFindParams) -> MessageFindResult: "Messages by the end of their id, or the last one.";
    MessageSearch "message.search" [Read] within (SearchParams) -> MessagesResult: "Full-text search, newest first.";
    MessageUnread "message.unread" [Read] within (PageParams) -> UnreadResult: "Unread counts.";
    MessageRead "message.read" [Read] within (ReadParams) -> ReadResult: "Marks messages as read.";
    MessageForget "message.forget" [Admin] (ForgetParams) -> ForgetResult: "Deletes messages of a conversation here, own and received; what waits for its recipient stays.";
    MessageTrace "message.trace" [Read Send] within (TraceParams) -> TraceResult: "Every attempt on a message: when, path, outcome, next.";
    FeedSubscribe "feed.subscribe" [Read] within (SubscribeParams) -> SubscribeResult: "Begins the event feed on this connection.";
    FeedUnsubscribe "feed.unsubscribe" [Read] within (UnsubscribeParams) -> Done: "Ends a subscription.";
    FeedAck "feed.ack" [Read] within (FeedAckParams) -> Done: "Remembers durably how far a consumer came.";
    FeedAttempt "feed.attempt" [Read] within (FeedAttemptParams) -> FeedAttemptResult: "Counts one more attempt of a consumer on an event, durably, before it is made.";
    FeedGiveUp "feed.give_up" [Read] within (FeedGiveUpParams) -> Done: "Makes an event a dead letter of a consumer, which goes on behind it.";
    ConsumerList "consumer.list" [Read] within (PageParams) -> ConsumersResult: "Durable consumers, a page at a time.";
    ConsumerReset "consumer.reset" [Read] within (ConsumerResetParams) -> Consumer: "Puts a consumer that nobody reads to another place; attempts and dead letters are forgotten.";
    ConsumerRemove "consumer.remove" [Read] within (ConsumerParams) -> Done: "Forgets a consumer that nobody reads, and its dead letters.";
    ConsumerDeadLetters "consumer.dead_letters" [Read] within (DeadLettersParams) -> DeadLettersResult: "Events that a consumer gave up, a page at a time.";
    TokenCreate "token.create" owner (TokenCreateParams) -> TokenCreateResult: "Makes a token, by which whoever may open the socket acts for the account within its scope.";
    TokenList "token.list" owner (PageParams) -> TokensResult: "Tokens, those that ended included, the newest first, a page at a time.";
    TokenRevoke "token.revoke" owner (TokenParams) -> Token: "Ends a token, on open connections too.";
    TokenLog "token.log" owner (TokenLogParams) -> TokenLogResult: "What was done with a token, and what was refused, the newest first, a page at a time.";
    ProfileShow "profile.show" [Read Contacts] within (ProfileShowParams) -> Profile: "One's own profile, or a contact's.";
    ProfileSet "profile.set" [Admin] (ProfileSetParams) -> Profile: "Changes one's profile; contacts are told.";
}

/// Methods whose parameters or results hold a [`super::secret::Secret`]: buffers that held one of their messages are overwritten.
const WITH_SECRETS: [&str; 8] = [
    SystemHello::NAME,
    AccountRegister::NAME,
    KeyRotate::NAME,
    KeyRecover::NAME,
    BackupBegin::NAME,
    RestoreFinish::NAME,
    InviteCreate::NAME,
    TokenCreate::NAME,
];

/// Whether a method's messages hold secrets.
pub fn carries_secrets(method: &str) -> bool {
    WITH_SECRETS.contains(&method)
}
