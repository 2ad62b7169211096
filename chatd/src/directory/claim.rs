//! Claiming a name, keeping its record current, and giving it up.

use proto::directory::api::{
    Base64, ErrorCode, NonceAnswer, PublishAnswer, PublishRequest, RecoveryProof, UnregisterAnswer, UnregisterRequest,
    publish_message, reclaim_message, unregister_message,
};
use proto::name::Name;
use reqwest::{Method, StatusCode};

use super::client::{Published, Sign};
use super::{DirectoryClient, DirectoryError};
use crate::crypto::keys::SigningKey;

impl DirectoryClient {
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
}
