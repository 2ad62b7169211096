//! What can be asked of a directory: names and records, reach, mail, and who is there.

use hyper::{Method, StatusCode};
use proto::directory::api::{
    Base64, DEPOSIT_TOKEN_HEADER, DepositAnswer, ErrorCode, MembershipAnswer, NonceAnswer, PublishAnswer,
    PublishReachAnswer, PublishReachRequest, PublishRequest, ReachAnswer, RecordAnswer, RecoveryProof,
    UnregisterAnswer, UnregisterRequest, UsersPage, UsersQuery, publish_message, reclaim_message, unregister_message,
};
use proto::ids::AccountId;
use proto::name::Name;
use url::Url;

use super::client::DirectoryClient;
use super::error::DirectoryError;
use super::request::RequestBuilder;
use crate::crypto::keys::SigningKey;

/// Signs with a key that stays where it is.
pub type Sign<'a> = &'a (dyn Fn(&[u8]) -> [u8; 64] + Send + Sync);

/// What a directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The domain that it serves.
    pub origin: String,
    /// Its clock in Unix seconds.
    pub time: i64,
}

/// A record that the directory has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whether the name is new there.
    pub created: bool,
    /// The seq that it holds now.
    pub seq: u64,
    /// Its clock in Unix seconds.
    pub time: i64,
}

/// Somebody who is in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose the directory says it is; the record tells.
    pub account: AccountId,
    /// The signed record's exact bytes, unverified.
    pub record: Vec<u8>,
    /// Whether a device is connected; `None` if the account does not show it to us.
    pub online: Option<bool>,
    /// Since when, in Unix seconds, if known.
    pub since: Option<i64>,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

impl From<RecordAnswer> for Found {
    fn from(answer: RecordAnswer) -> Self {
        let RecordAnswer { account, record, online, since, time, .. } = answer;
        Self { account, record: record.0, online, since, time }
    }
}

impl DirectoryClient {
    /// The domain that the directory serves, and its clock.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn info(&self) -> Result<Info, DirectoryError> {
        let NonceAnswer { origin, time, .. } = self.nonce().await?;
        Ok(Info { origin, time })
    }

    /// Publishes an encoded signed record under its name; `sign` is by the record's identity key.
    ///
    /// # Errors
    /// [`DirectoryError::NameTaken`], [`DirectoryError::Conflict`] with the stored record, or another one.
    pub async fn publish(&self, name: &Name, record: &[u8], sign: Sign<'_>) -> Result<Published, DirectoryError> {
        self.claim(name, record, sign, None).await
    }

    /// The same for a name that may rest: `recovery` is the recovery key of the account that gave it up.
    ///
    /// # Errors
    /// As [`DirectoryClient::publish`].
    pub async fn claim(
        &self,
        name: &Name,
        record: &[u8],
        sign: Sign<'_>,
        recovery: Option<&SigningKey>,
    ) -> Result<Published, DirectoryError> {
        let send = |nonce: NonceAnswer| {
            let signature = sign(&publish_message(&nonce.origin, &nonce.nonce, record)).to_vec();
            let recovery = recovery.map(|key| RecoveryProof {
                key: Base64(key.public().to_vec()),
                signature: Base64(key.sign(&[&reclaim_message(&nonce.origin, &nonce.nonce, record)]).to_vec()),
            });
            let (record, signature) = (Base64(record.to_vec()), Base64(signature));
            let body = PublishRequest { record, nonce: nonce.nonce, signature, recovery };
            self.request(Method::PUT, &["v1", "records", name.as_str()]).json(&body)
        };
        let (status, answer) = match self.ask::<PublishAnswer>(send(self.nonce().await?)).await {
            // The directory was restarted between the two requests.
            Err(DirectoryError::Refused { code: ErrorCode::StaleNonce, .. }) => {
                self.ask(send(self.nonce().await?)).await?
            }
            done => done?,
        };
        Ok(Published { created: status == StatusCode::CREATED, seq: answer.seq, time: answer.time })
    }

    /// Gives the name up; until when it is kept for the account, in Unix seconds. `sign` is by the identity key.
    ///
    /// # Errors
    /// When the name is not ours, or the directory does not answer.
    pub async fn unregister(&self, name: &Name, sign: Sign<'_>) -> Result<i64, DirectoryError> {
        let nonce = self.nonce().await?;
        let signature = Base64(sign(&unregister_message(&nonce.origin, &nonce.nonce)).to_vec());
        let body = UnregisterRequest { nonce: nonce.nonce, signature };
        let request = self.request(Method::DELETE, &["v1", "records", name.as_str()]).json(&body);
        Ok(self.ask::<UnregisterAnswer>(request).await?.1.reserved_until)
    }

    /// Publishes an encoded signed reach; the seq that the directory holds now, which is higher than the one sent if
    /// that came late.
    ///
    /// # Errors
    /// When the directory does not take it.
    pub async fn publish_reach(&self, reach: &[u8]) -> Result<u64, DirectoryError> {
        let body = PublishReachRequest { reach: Base64(reach.to_vec()) };
        let request = self.request(Method::PUT, &["v1", "reach"]).json(&body);
        Ok(self.ask::<PublishReachAnswer>(request).await?.1.seq)
    }

    /// Who has this name. `bearer` is the token of a session there, which shows presence to members.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when nobody has; [`DirectoryError::Unreachable`] when nobody can say.
    pub async fn lookup(&self, name: &Name, bearer: Option<&str>) -> Result<Found, DirectoryError> {
        self.find(&["v1", "records", name.as_str()], bearer).await
    }

    /// Who has this account id.
    ///
    /// # Errors
    /// As [`DirectoryClient::lookup`].
    pub async fn lookup_account(&self, account: AccountId, bearer: Option<&str>) -> Result<Found, DirectoryError> {
        self.find(&["v1", "accounts", &account.to_string()], bearer).await
    }

    async fn find(&self, path: &[&str], bearer: Option<&str>) -> Result<Found, DirectoryError> {
        let ask = |bearer| self.ask::<RecordAnswer>(with_bearer(self.request(Method::GET, path), bearer));
        match ask(bearer).await {
            // The session of the token has just ended: anybody may know, but for who is there.
            Err(DirectoryError::Refused { code: ErrorCode::NotAllowed, .. }) if bearer.is_some() => {
                Ok(ask(None).await?.1.into())
            }
            found => Ok(found?.1.into()),
        }
    }

    /// Where an account's devices are: encoded signed reach, unverified. `token` is the deposit token that the account
    /// gave us as a contact.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] also when we may not know.
    pub async fn reach(
        &self,
        account: AccountId,
        bearer: Option<&str>,
        token: Option<&[u8; 32]>,
    ) -> Result<Vec<Vec<u8>>, DirectoryError> {
        let mut request = with_bearer(self.request(Method::GET, &["v1", "reach", &account.to_string()]), bearer);
        if let Some(token) = token {
            request = request.header(DEPOSIT_TOKEN_HEADER, Base64::text(token));
        }
        let answer: ReachAnswer = self.ask(request).await?.1;
        Ok(answer.reach.into_iter().map(|reach| reach.0).collect())
    }

    /// Leaves an envelope in an account's mailbox; the answer is given after it is on the directory's disk. `token` is the
    /// deposit token that the account gave us, and without one it is a stranger's.
    ///
    /// # Errors
    /// `ErrorCode::MailboxFull`, `ErrorCode::TokenRevoked` and others as [`DirectoryError::Refused`];
    /// [`DirectoryError::NotFound`] when the envelope's device is none of the account's.
    pub async fn deposit(
        &self,
        account: AccountId,
        envelope: Vec<u8>,
        bearer: Option<&str>,
        token: Option<&[u8; 32]>,
    ) -> Result<DepositAnswer, DirectoryError> {
        let mut request = self.request(Method::POST, &["v1", "mailbox", &account.to_string()]);
        request = with_bearer(request, bearer).header("content-type", "application/octet-stream").body(envelope);
        if let Some(token) = token {
            request = request.header(DEPOSIT_TOKEN_HEADER, Base64::text(token));
        }
        Ok(self.ask(request).await?.1)
    }

    /// The directory's word that the account of this session is a member: an encoded statement, unverified.
    ///
    /// # Errors
    /// When it does not give it.
    pub async fn membership(&self, bearer: &str) -> Result<Vec<u8>, DirectoryError> {
        let request = self.request(Method::GET, &["v1", "membership"]).bearer_auth(bearer);
        Ok(self.ask::<MembershipAnswer>(request).await?.1.membership.0)
    }

    /// A page of those who are in the directory.
    ///
    /// # Errors
    /// `ErrorCode::NotAllowed` when the operator does not let us.
    pub async fn users(&self, query: &UsersQuery, bearer: Option<&str>) -> Result<UsersPage, DirectoryError> {
        let request = RequestBuilder::new(Method::GET, self.users_url(query));
        Ok(self.ask(with_bearer(request, bearer)).await?.1)
    }

    fn users_url(&self, query: &UsersQuery) -> Url {
        let mut url = self.path(&["v1", "users"]);
        {
            let mut pairs = url.query_pairs_mut();
            let texts =
                [("query", &query.query), ("name", &query.name), ("address", &query.address), ("after", &query.after)];
            for (key, value) in texts {
                if let Some(value) = value {
                    pairs.append_pair(key, value);
                }
            }
            if let Some(online) = query.online {
                pairs.append_pair("online", if online { "true" } else { "false" });
            }
            if let Some(limit) = query.limit {
                pairs.append_pair("limit", &limit.to_string());
            }
        }
        url
    }
}

fn with_bearer(request: RequestBuilder, bearer: Option<&str>) -> RequestBuilder {
    match bearer {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_terms_stay_in_their_place() {
        let client = DirectoryClient::new("127.0.0.1:1").unwrap();
        assert_eq!(client.path(&["v1", "records", "a+b.é"]).path(), "/v1/records/a+b.%C3%A9");
        let query = proto::directory::api::UsersQuery {
            query: Some("a&limit=9 é".into()),
            online: Some(true),
            ..Default::default()
        };
        assert_eq!(client.users_url(&query).query(), Some("query=a%26limit%3D9+%C3%A9&online=true"));
    }
}
