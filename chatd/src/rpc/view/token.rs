//! Tokens, and what was done with them.

use proto::rpc::types::{Rate, Token, TokenUse, TokensResult};

use crate::model;
use crate::service::tokens::manage::{TokenNow, UseNow};

impl From<TokenNow> for Token {
    fn from(now: TokenNow) -> Self {
        let TokenNow { row, account, within, send_to } = now;
        Self {
            name: row.name,
            account,
            allow: row.scopes,
            within,
            send_to,
            rate: row.rate.map(|rate| Rate { count: rate.count.get(), seconds: rate.seconds.get() }),
            created: row.created,
            expires: row.expires,
            used: row.used,
            ended: row.ended,
            reason: row.ended.map(|_| if row.expired { "expired" } else { "revoked" }.to_owned()),
        }
    }
}

impl From<model::Page<TokenNow>> for TokensResult {
    fn from(page: model::Page<TokenNow>) -> Self {
        let model::Page { entries, next } = page;
        Self { tokens: entries.into_iter().map(Into::into).collect(), next }
    }
}

impl From<UseNow> for TokenUse {
    fn from(now: UseNow) -> Self {
        let model::TokenUse { id: _, method, about: _, uid, refused, count, first, last } = now.entry;
        Self { first, last, count, method, who: now.who, uid, refused }
    }
}
