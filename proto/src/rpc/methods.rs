//! The table of methods: name, parameters, result, one line of documentation. docs/rpc.md is checked against it.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::types::*;

/// A method's types, by a marker of its name.
pub trait Method {
    /// `noun.verb`.
    const NAME: &'static str;
    /// The one map in `params`.
    type Params: Serialize + DeserializeOwned + Send + 'static;
    /// What comes back.
    type Result: Serialize + DeserializeOwned + Send + 'static;
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
    /// What it does.
    pub doc: &'static str,
}

macro_rules! methods {
    ($($marker:ident $name:literal ($params:ident) -> $result:ident : $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[derive(Debug, Clone, Copy)]
            pub struct $marker;
            impl Method for $marker {
                const NAME: &'static str = $name;
                type Params = $params;
                type Result = $result;
            }
        )*
        /// Every method.
        pub const METHODS: &[MethodInfo] = &[
            $(MethodInfo { name: $name, params: stringify!($params), result: stringify!($result), doc: $doc },)*
        ];
    };
}

methods! {
    SystemHello "system.hello" (HelloParams) -> HelloResult: "Says who the client is and learns versions and accounts. Optional.";
    SystemStatus "system.status" (AccountParams) -> StatusResult: "Connectivity, queues and versions, for one account or all of the caller's.";
    AccountRegister "account.register" (RegisterParams) -> RegisterResult: "Makes an account and claims its name in the directory.";
    AccountLogin "account.login" (AccountParams) -> AccountInfo: "Brings the account online; remembered across restarts.";
    AccountLogout "account.logout" (AccountParams) -> AccountInfo: "Takes the account offline; remembered across restarts.";
    AccountUnregister "account.unregister" (UnregisterParams) -> UnregisterResult: "Gives the name up and deletes the account from this daemon.";
    AccountList "account.list" (Empty) -> AccountListResult: "The caller's accounts.";
    AccountWhoami "account.whoami" (AccountParams) -> AccountInfo: "One account.";
    AccountUse "account.use" (AccountParams) -> AccountInfo: "Makes an account the caller's default: the one that calls mean which name none.";
    AccountSettings "account.settings" (SettingsParams) -> SettingsResult: "Changes settings; answers how they are then.";
    KeyRotate "key.rotate" (AccountParams) -> KeyResult: "A new identity key, signed by the one before.";
    KeyRecover "key.recover" (KeyRecoverParams) -> KeyResult: "A new identity key and a new recovery key, signed by the recovery key.";
    BackupBegin "backup.begin" (BackupBeginParams) -> BackupBeginResult: "Makes an encrypted copy of the account, to be read with `backup.read`.";
    BackupRead "backup.read" (BackupReadParams) -> BackupReadResult: "The next part of a backup.";
    BackupEnd "backup.end" (TransferParams) -> Done: "Drops a backup that was read.";
    RestoreBegin "restore.begin" (Empty) -> RestoreBeginResult: "Begins to take a backup.";
    RestoreWrite "restore.write" (RestoreWriteParams) -> Done: "The next part of the backup.";
    RestoreFinish "restore.finish" (RestoreFinishParams) -> RestoreResult: "Opens the backup and makes the account from it.";
    RestoreEnd "restore.end" (TransferParams) -> Done: "Drops an upload that was not finished.";
    DirectoryKey "directory.key" (DirectoryKeyParams) -> DirectoryKeyResult: "The key that a directory is known by and the one that it shows; accepts another one.";
    DirectoryUsers "directory.users" (UsersParams) -> UsersResult: "Who is in the account's directory, a page at a time.";
    ContactAdd "contact.add" (ContactAddParams) -> Contact: "Asks somebody to become a contact. Asking again is no error.";
    ContactRequests "contact.requests" (PageParams) -> ContactsResult: "Requests that wait for an answer.";
    ContactAccept "contact.accept" (WhoParams) -> Contact: "Accepts a request.";
    ContactReject "contact.reject" (WhoParams) -> Contact: "Refuses a request; the asker is told.";
    ContactList "contact.list" (PageParams) -> ContactsResult: "All contacts, whatever their state.";
    ContactPing "contact.ping" (WhoParams) -> PingResult : "Asks a contact's daemon whether it is there: by which way, and how long that took.";
    ContactShow "contact.show" (WhoParams) -> Contact: "Who is meant: one contact, or one who asks.";
    ContactRemove "contact.remove" (WhoParams) -> Contact: "Ends a contact; history stays.";
    ContactRename "contact.rename" (RenameParams) -> Contact: "Gives a contact a label of one's own.";
    ContactVerify "contact.verify" (VerifyParams) -> VerifyResult: "Shows the safety number, or compares one and marks the contact verified.";
    ContactBlock "contact.block" (WhoParams) -> Contact: "Nothing comes in from, and nothing goes out to, this one.";
    ContactUnblock "contact.unblock" (WhoParams) -> Contact: "Ends a block.";
    ContactMute "contact.mute" (MuteParams) -> Contact: "Marks events of this one as muted for a while.";
    ContactUnmute "contact.unmute" (WhoParams) -> Contact: "Ends muting.";
    InviteCreate "invite.create" (InviteCreateParams) -> InviteCreateResult: "Makes an invite: whoever uses it first becomes a contact, without asking.";
    InviteList "invite.list" (AccountParams) -> InviteListResult: "Invites that are out, and those that were used, until their time is over.";
    InviteRevoke "invite.revoke" (InviteRevokeParams) -> Done: "Makes an invite worthless.";
    MessageSend "message.send" (SendParams) -> SendResult: "Stores a message durably and answers; delivery follows by itself.";
    MessageWait "message.wait" (WaitParams) -> SendResult: "Answers when a message reaches a state, or at the timeout with the state it is in.";
    MessageHistory "message.history" (HistoryParams) -> MessagesResult: "A page of a conversation, in the order of arrival.";
    MessageFind "message.find" (MessageFindParams) -> MessageFindResult: "Messages by the end of their id, or the last one.";
    MessageSearch "message.search" (SearchParams) -> MessagesResult: "Full-text search, newest first.";
    MessageUnread "message.unread" (PageParams) -> UnreadResult: "Unread counts.";
    MessageRead "message.read" (ReadParams) -> ReadResult: "Marks messages as read.";
    MessageForget "message.forget" (ForgetParams) -> ForgetResult: "Deletes messages of a conversation here, own and received; what waits for its recipient stays.";
    MessageTrace "message.trace" (TraceParams) -> TraceResult: "Every attempt on a message: when, path, outcome, next.";
    FeedSubscribe "feed.subscribe" (SubscribeParams) -> SubscribeResult: "Begins the event feed on this connection.";
    FeedUnsubscribe "feed.unsubscribe" (UnsubscribeParams) -> Done: "Ends a subscription.";
    FeedAck "feed.ack" (FeedAckParams) -> Done: "Remembers durably how far a consumer came.";
    FeedAttempt "feed.attempt" (FeedAttemptParams) -> FeedAttemptResult: "Counts one more attempt of a consumer on an event, durably, before it is made.";
    FeedGiveUp "feed.give_up" (FeedGiveUpParams) -> Done: "Makes an event a dead letter of a consumer, which goes on behind it.";
    ConsumerList "consumer.list" (PageParams) -> ConsumersResult: "Durable consumers, a page at a time.";
    ConsumerReset "consumer.reset" (ConsumerResetParams) -> Consumer: "Puts a consumer that nobody reads to another place; attempts and dead letters are forgotten.";
    ConsumerRemove "consumer.remove" (ConsumerParams) -> Done: "Forgets a consumer that nobody reads, and its dead letters.";
    ConsumerDeadLetters "consumer.dead_letters" (DeadLettersParams) -> DeadLettersResult: "Events that a consumer gave up, a page at a time.";
    ProfileShow "profile.show" (ProfileShowParams) -> Profile: "One's own profile, or a contact's.";
    ProfileSet "profile.set" (ProfileSetParams) -> Profile: "Changes one's profile; contacts are told.";
}

/// Methods whose parameters or results hold a [`super::secret::Secret`]: buffers that held one of their messages are overwritten.
const WITH_SECRETS: [&str; 6] = [
    AccountRegister::NAME,
    KeyRotate::NAME,
    KeyRecover::NAME,
    BackupBegin::NAME,
    RestoreFinish::NAME,
    InviteCreate::NAME,
];

/// Whether a method's messages hold secrets.
pub fn carries_secrets(method: &str) -> bool {
    WITH_SECRETS.contains(&method)
}
