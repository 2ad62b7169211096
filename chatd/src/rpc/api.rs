//! What the service offers to clients: one function for every method.

use std::future::Future;
use std::sync::Arc;

use proto::rpc::RpcError;
use proto::rpc::methods as m;
use proto::rpc::methods::Method;
use proto::rpc::types::{HelloParams, HelloResult, SendParams, SendResult, SubscribeParams, SubscribeResult};

use crate::model::{Caller, Clients, Event, Grant};

/// Where a subscription's events come from.
pub trait FeedSource: Send + 'static {
    /// The next events, in order; waits until there are some. `None`: there will be no more (the account is gone, the
    /// daemon stops); the connection is then closed, so that the client notices. Called only when the client has taken
    /// what was sent before, so a slow client holds back nothing but its own feed. Need not be cancel-safe.
    fn next(&mut self) -> impl Future<Output = Option<Arc<Vec<Event>>>> + Send;
}

/// Calls `$then!` with the table of the methods that are one call and one answer: how they run, marker, function.
///
/// `ordered` ones run one after the other, in the order in which they came, behind all `message.send` that came before
/// them (which are then in the store's queue). `concurrent` ones start in that order too, but nothing waits for them.
macro_rules! with_methods {
    ($then:ident) => {
        $then! {
            concurrent SystemStatus system_status;
            concurrent SystemDoctor system_doctor;
            concurrent SystemNetcheck system_netcheck;
            ordered AccountRegister account_register;
            ordered AccountLogin account_login;
            ordered AccountLogout account_logout;
            ordered AccountUnregister account_unregister;
            concurrent AccountList account_list;
            concurrent AccountWhoami account_whoami;
            ordered AccountUse account_use;
            ordered AccountSettings account_settings;
            ordered KeyRotate key_rotate;
            ordered KeyRecover key_recover;
            ordered BackupBegin backup_begin;
            ordered BackupRead backup_read;
            ordered BackupEnd backup_end;
            ordered RestoreBegin restore_begin;
            ordered RestoreWrite restore_write;
            ordered RestoreFinish restore_finish;
            ordered RestoreEnd restore_end;
            ordered DirectoryKey directory_key;
            concurrent DirectoryUsers directory_users;
            ordered ContactAdd contact_add;
            concurrent ContactRequests contact_requests;
            ordered ContactAccept contact_accept;
            ordered ContactReject contact_reject;
            concurrent ContactList contact_list;
            concurrent ContactShow contact_show;
            concurrent ContactPing contact_ping;
            ordered ContactRemove contact_remove;
            ordered ContactRename contact_rename;
            ordered ContactVerify contact_verify;
            ordered ContactBlock contact_block;
            ordered ContactUnblock contact_unblock;
            ordered ContactMute contact_mute;
            ordered ContactUnmute contact_unmute;
            ordered InviteCreate invite_create;
            concurrent InviteList invite_list;
            ordered InviteRevoke invite_revoke;
            wait MessageWait message_wait;
            concurrent MessageHistory message_history;
            concurrent MessageFind message_find;
            concurrent MessageSearch message_search;
            concurrent MessageUnread message_unread;
            ordered MessageRead message_read;
            ordered MessageForget message_forget;
            concurrent MessageTrace message_trace;
            ordered FeedAck feed_ack;
            ordered FeedAttempt feed_attempt;
            ordered FeedGiveUp feed_give_up;
            concurrent ConsumerList consumer_list;
            ordered ConsumerReset consumer_reset;
            ordered ConsumerRemove consumer_remove;
            concurrent ConsumerDeadLetters consumer_dead_letters;
            ordered TokenCreate token_create;
            concurrent TokenList token_list;
            ordered TokenRevoke token_revoke;
            concurrent TokenLog token_log;
            concurrent ProfileShow profile_show;
            ordered ProfileSet profile_set;
        }
    };
}
pub(super) use with_methods;

macro_rules! declare_api {
    ($($kind:ident $marker:ident $function:ident;)*) => {
        /// The methods, by name with the dot as an underscore. Their parameters, results and meaning are those of the
        /// markers in [`proto::rpc::methods`]. `feed.unsubscribe` is the connection's own affair, and so is who it is after `system.hello`.
        pub trait Api: Send + Sync + 'static {
            /// Resolves after COMMIT, with one result for each message of the batch.
            type Sending: Future<Output = Vec<Result<SendResult, RpcError>>> + Send + 'static;
            /// A subscription.
            type Feed: FeedSource;

            /// `system.hello`. With a token: what it grants, which is all that the connection has from then on. An error
            /// then ends the connection.
            fn system_hello(
                &self,
                caller: &Caller,
                params: HelloParams,
            ) -> impl Future<Output = Result<(HelloResult, Option<Arc<Grant>>), RpcError>> + Send;

            /// `message.send`, many at once. Awaiting puts the batch into the store's queue as a whole and in order, and
            /// waits when that is full; awaiting what comes out waits for COMMIT.
            fn message_send(&self, caller: &Caller, batch: Vec<SendParams>) -> impl Future<Output = Self::Sending> + Send;

            /// `feed.subscribe`. The connection numbers its subscriptions: what [`SubscribeResult::subscription`] says
            /// is overwritten.
            fn feed_subscribe(
                &self,
                caller: &Caller,
                params: SubscribeParams,
            ) -> impl Future<Output = Result<(SubscribeResult, Self::Feed), RpcError>> + Send;

            /// So many clients are connected now.
            fn client_count(&self, clients: u64);

            /// Who they are can be asked here, as long as the daemon serves.
            fn told_clients(&self, _clients: Arc<dyn Clients>) {}

            /// Whether a user has an account here; who has none gets least of everything.
            fn has_account(&self, uid: u32) -> bool;

            $(
                #[doc = concat!("See [`m::", stringify!($marker), "`].")]
                fn $function(
                    &self,
                    caller: &Caller,
                    params: <m::$marker as Method>::Params,
                ) -> impl Future<Output = Result<<m::$marker as Method>::Result, RpcError>> + Send;
            )*
        }
    };
}
with_methods!(declare_api);
