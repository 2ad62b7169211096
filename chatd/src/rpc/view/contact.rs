//! Contacts, their profiles, and what is unread of them.

use proto::rpc::types::{
    Contact, ContactState, ContactsResult, Encryption, Invite, PageParams, PingResult, Profile, Route, Trust, Unread,
    UnreadResult, VerifyResult,
};
use proto::who::Who;
use proto::wire::SUITE_HYBRID;

use crate::model;

impl From<model::Pong> for PingResult {
    fn from(pong: model::Pong) -> Self {
        let model::Pong { who, route, address, round_trip } = pong;
        let route = match route {
            model::Route::Direct => Route::Direct,
            model::Route::Relayed => Route::Relayed,
            model::Route::Local => Route::Local,
        };
        Self { who, route, address, round_trip_us: u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX) }
    }
}

impl From<model::Trust> for Trust {
    fn from(trust: model::Trust) -> Self {
        match trust {
            model::Trust::Unverified => Self::Unverified,
            model::Trust::Verified => Self::Verified,
            model::Trust::Rotated => Self::Rotated,
            model::Trust::Changed => Self::Changed,
        }
    }
}

impl From<model::ContactStage> for ContactState {
    fn from(stage: model::ContactStage) -> Self {
        match stage {
            model::ContactStage::Requested => Self::Requested,
            model::ContactStage::Pending => Self::Pending,
            model::ContactStage::Accepted => Self::Accepted,
            model::ContactStage::Rejected => Self::Rejected,
            model::ContactStage::Removed => Self::Removed,
            model::ContactStage::GivenUp => Self::GivenUp,
        }
    }
}

impl From<model::Invite> for Invite {
    fn from(invite: model::Invite) -> Self {
        let model::Invite { id, label, created, expires, used_by } = invite;
        Self { id, label, created, expires, used_by }
    }
}

impl From<model::ProfileRow> for Profile {
    fn from(profile: model::ProfileRow) -> Self {
        // The version is an affair of the two daemons.
        let model::ProfileRow { version: _, display_name, status, bio } = profile;
        Self { display_name, status, bio }
    }
}

/// What a suite is worth. What is signed is signed by the same key, whatever the suite.
impl From<model::Suite> for Encryption {
    fn from(suite: model::Suite) -> Self {
        let (suite, sealed) = match suite {
            model::Suite::Hybrid => (SUITE_HYBRID, "mlkem768x25519"),
        };
        Self {
            suite,
            sealed: sealed.into(),
            signed: "ed25519".into(),
            post_quantum_confidentiality: true,
            post_quantum_authentication: false,
        }
    }
}

/// Without presence: who knows of it adds it.
impl From<model::Contact> for Contact {
    fn from(contact: model::Contact) -> Self {
        let model::Contact {
            who,
            name,
            address,
            label,
            handle,
            account,
            conversation,
            stage,
            reason,
            trust,
            fingerprint,
            new_fingerprint,
            suite,
            confirmed,
            blocked,
            muted_until,
            unread,
            profile,
            request_text,
            request_at,
        } = contact;
        Self {
            who,
            name,
            address,
            label,
            handle: handle.map(|number| Who::Handle(number).to_string()),
            account,
            conversation,
            state: stage.into(),
            reason,
            trust: trust.into(),
            fingerprint,
            new_fingerprint,
            encryption: suite.map(Into::into),
            confirmed,
            blocked,
            muted_until,
            online: None,
            online_since: None,
            unread,
            profile: profile.map(Into::into),
            message: request_text,
            since: request_at,
        }
    }
}

impl From<model::ContactNow> for Contact {
    fn from(now: model::ContactNow) -> Self {
        let model::ContactNow { contact, presence } = now;
        let (online, online_since) = presence.map(|presence| (presence.online, presence.since)).unzip();
        Self { online, online_since, ..contact.into() }
    }
}

impl From<model::Page<model::ContactNow>> for ContactsResult {
    fn from(page: model::Page<model::ContactNow>) -> Self {
        let model::Page { entries, next } = page;
        Self { contacts: entries.into_iter().map(Into::into).collect(), next }
    }
}

impl From<model::Verified> for VerifyResult {
    fn from(verified: model::Verified) -> Self {
        let model::Verified { safety_number, contact } = verified;
        Self { safety_number, contact: contact.into() }
    }
}

/// Whose account it is about is said apart.
impl From<PageParams> for model::PageOf {
    fn from(params: PageParams) -> Self {
        let PageParams { account: _, after, limit } = params;
        Self { after, limit }
    }
}

impl From<model::UnreadPage> for UnreadResult {
    fn from(unread: model::UnreadPage) -> Self {
        let model::UnreadPage { page: model::Page { entries, next }, total } = unread;
        Self { conversations: entries.into_iter().map(Into::into).collect(), total, next }
    }
}

impl From<model::Unread> for Unread {
    fn from(unread: model::Unread) -> Self {
        let model::Unread { who, account, conversation, count } = unread;
        Self { who, account, conversation, count }
    }
}
