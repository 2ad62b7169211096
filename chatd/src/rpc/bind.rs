//! The service behind the API: every method is passed on if the caller may call it, and every error gets its code here and
//! nowhere else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use proto::directory::api::ErrorCode as DirectoryCode;
use proto::rpc::methods::Method;
use proto::rpc::types::{HelloParams, HelloResult, SendParams, SendResult, SubscribeParams, SubscribeResult};
use proto::rpc::{ErrorCode, RpcError, methods as m};

use super::api::{Api, FeedSource, with_methods};
use super::calls;
use crate::crypto::archive::ArchiveError;
use crate::directory::DirectoryError;
use crate::model::{Caller, Clients, Event, Grant};
use crate::service::feed::Feed;
use crate::service::messages::send;
use crate::service::tokens::admit;
use crate::service::{Service, ServiceError};
use crate::store::snapshot::SnapshotError;
use crate::store::{SearchError, StoreError};

impl FeedSource for Feed {
    async fn next(&mut self) -> Option<Arc<Vec<Event>>> {
        Feed::next(self).await
    }
}

macro_rules! bind_api {
    ($($kind:ident $marker:ident $function:ident;)*) => {
        impl Api for Service {
            type Sending = Pin<Box<dyn Future<Output = Vec<Result<SendResult, RpcError>>> + Send>>;
            type Feed = Feed;

            async fn system_hello(
                &self,
                caller: &Caller,
                params: HelloParams,
            ) -> Result<(HelloResult, Option<Arc<Grant>>), RpcError> {
                calls::system_hello(self, caller, params).await.map_err(|error| wire(&error))
            }

            async fn message_send(&self, caller: &Caller, batch: Vec<SendParams>) -> Self::Sending {
                let admitted = admit::admit_sends(self, caller, m::MessageSend::NAME, m::MessageSend::NEEDS).await;
                if let Err(error) = admitted {
                    let error = wire(&error);
                    return Box::pin(async move { batch.iter().map(|_| Err(error.clone())).collect() });
                }
                let sending = send::send(self, caller, batch.into_iter().map(Into::into).collect()).await;
                Box::pin(async move {
                    let results = sending.outcome().await.into_iter();
                    results.map(|result| result.map(Into::into).map_err(|error| wire(&error))).collect()
                })
            }

            async fn feed_subscribe(
                &self,
                caller: &Caller,
                params: SubscribeParams,
            ) -> Result<(SubscribeResult, Feed), RpcError> {
                let admitted = admit::admit(self, caller, m::FeedSubscribe::NAME, m::FeedSubscribe::NEEDS).await;
                admitted.map_err(|error| wire(&error))?;
                calls::feed_subscribe(self, caller, params).await.map_err(|error| wire(&error))
            }

            fn client_count(&self, clients: u64) {
                self.clients().counted(clients);
            }

            fn told_clients(&self, clients: Arc<dyn Clients>) {
                self.clients().ask(clients);
            }

            fn has_account(&self, uid: u32) -> bool {
                Service::has_account(self, uid)
            }

            $(
                async fn $function(
                    &self,
                    caller: &Caller,
                    params: <m::$marker as Method>::Params,
                ) -> Result<<m::$marker as Method>::Result, RpcError> {
                    let admitted = admit::admit(self, caller, m::$marker::NAME, m::$marker::NEEDS).await;
                    admitted.map_err(|error| wire(&error))?;
                    calls::$function(self, caller, params).await.map_err(|error| wire(&error))
                }
            )*
        }
    };
}
with_methods!(bind_api);

fn wire(error: &ServiceError) -> RpcError {
    let code = code(error);
    if code == ErrorCode::Internal {
        tracing::error!(%error, "a call failed");
    }
    let mut text = error.to_string();
    // The last cause says what the system said; those between repeat each other.
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    if let Some(last) = cause.map(ToString::to_string).filter(|last| !text.contains(last.as_str())) {
        text = format!("{text}: {last}");
    }
    RpcError::new(code, text).advise(error.advice())
}

fn code(error: &ServiceError) -> ErrorCode {
    match error {
        ServiceError::Advised { error, .. } => code(error),
        ServiceError::Nobody { .. } => ErrorCode::NotFound,
        ServiceError::NoAccount(_) => ErrorCode::NoAccount,
        ServiceError::AmbiguousAccount(_) => ErrorCode::AmbiguousAccount,
        ServiceError::AmbiguousWho(_) => ErrorCode::AmbiguousWho,
        ServiceError::AlreadyExists(_) => ErrorCode::AlreadyExists,
        ServiceError::NameTaken(_) | ServiceError::NameRests { .. } => ErrorCode::NameTaken,
        ServiceError::Name(_) => ErrorCode::NameNotAllowed,
        ServiceError::NotFound(_) => ErrorCode::NotFound,
        ServiceError::NotAContact(_) => ErrorCode::NotAContact,
        ServiceError::LoggedOut(_) | ServiceError::AlreadyLoggedOut(_) | ServiceError::Superseded => {
            ErrorCode::LoggedOut
        }
        ServiceError::AlreadyLoggedIn(_) => ErrorCode::AlreadyLoggedIn,
        ServiceError::InvalidText(_) => ErrorCode::InvalidText,
        ServiceError::InvalidParams(_) => ErrorCode::InvalidParams,
        ServiceError::KeyNotTrusted(_) => ErrorCode::KeyNotTrusted,
        ServiceError::PeerUnreachable(_) => ErrorCode::PeerUnreachable,
        ServiceError::Refused(_) => ErrorCode::Refused,
        ServiceError::Unanswered(_) => ErrorCode::TimedOut,
        ServiceError::TooOften(_) => ErrorCode::RateLimited,
        ServiceError::NotGranted(_) => ErrorCode::NotAllowed,
        ServiceError::TooFast(_) => ErrorCode::RateLimited,
        ServiceError::LimitReached(_) => ErrorCode::LimitReached,
        ServiceError::InUse(_) => ErrorCode::InUse,
        ServiceError::ShuttingDown => ErrorCode::ShuttingDown,
        ServiceError::Directory(error) => directory_code(error),
        ServiceError::Store(error) => store_code(error),
        ServiceError::Archive(error) => match error {
            ArchiveError::Keys | ArchiveError::Recipient(_) | ArchiveError::Identity | ArchiveError::Passphrase => {
                ErrorCode::InvalidParams
            }
            ArchiveError::Io(_) => ErrorCode::StoreUnavailable,
            _ => ErrorCode::BackupUnusable,
        },
        ServiceError::Snapshot(SnapshotError::Store(error)) => store_code(error),
        ServiceError::Snapshot(_) => ErrorCode::BackupUnusable,
        ServiceError::DataDir(_) | ServiceError::Io { .. } => ErrorCode::StoreUnavailable,
        ServiceError::KeyFile(_)
        | ServiceError::Crypto(_)
        | ServiceError::Link(_)
        | ServiceError::Record(_)
        | ServiceError::Reach(_) => ErrorCode::Internal,
    }
}

fn directory_code(error: &DirectoryError) -> ErrorCode {
    match error {
        DirectoryError::Unreachable { .. } | DirectoryError::Protocol { .. } => ErrorCode::DirectoryUnreachable,
        DirectoryError::KeyChanged { .. } | DirectoryError::NotTrusted { .. } => ErrorCode::KeyNotTrusted,
        DirectoryError::WorkWanted { .. } => ErrorCode::DirectoryRefused,
        DirectoryError::NotFound | DirectoryError::NoDirectory(_) => ErrorCode::NotFound,
        DirectoryError::NameTaken | DirectoryError::NameRests { .. } => ErrorCode::NameTaken,
        DirectoryError::RateLimited { .. } => ErrorCode::RateLimited,
        DirectoryError::BadUrl { .. } | DirectoryError::PlainHttp(_) | DirectoryError::OtherDomain { .. } => {
            ErrorCode::InvalidParams
        }
        DirectoryError::Refused { code: DirectoryCode::NameNotAllowed, .. } => ErrorCode::NameNotAllowed,
        DirectoryError::Conflict { .. } | DirectoryError::Refused { .. } => ErrorCode::DirectoryRefused,
    }
}

fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::NotFound(_) => ErrorCode::NotFound,
        StoreError::IdTaken(_) => ErrorCode::AlreadyExists,
        StoreError::Contact(_) => ErrorCode::NotAContact,
        StoreError::Closed => ErrorCode::ShuttingDown,
        StoreError::ShareUsed(_) => ErrorCode::LimitReached,
        StoreError::Search(SearchError::NoWords | SearchError::TooLong { .. } | SearchError::TooManyWords { .. }) => {
            ErrorCode::InvalidParams
        }
        _ => ErrorCode::StoreUnavailable,
    }
}

#[cfg(test)]
#[path = "tests/errors.rs"]
mod tests;
