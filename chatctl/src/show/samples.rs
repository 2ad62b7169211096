//! What tests show: everything hostile that can be in it is in it.

use proto::ids::{AccountId, ConversationId, MessageId};
use proto::rpc::types::{Contact, ContactState, Encryption, Format, Message, MessageState, Priority, Trust};
use proto::time::Timestamp;

/// A message of bob's to alice.
pub fn message() -> Message {
    Message {
        id: MessageId([7; 16]),
        conversation: ConversationId([1; 16]),
        from: "bob".into(),
        to: "alice".into(),
        peer: AccountId([9; 16]),
        label: None,
        body: "hi\n\x1b[2Jthere".into(),
        format: Format::Plain,
        tags: vec!["wor\x07k".into()],
        priority: Priority::High,
        sent_at: Timestamp(1_760_000_000_000),
        received_at: Some(Timestamp(1_760_000_000_500)),
        state: MessageState::Delivered,
        reason: None,
        state_at: None,
        reply_to: None,
        late: false,
        missing: 0,
    }
}

/// How everybody's messages are sealed.
pub fn encryption() -> Encryption {
    Encryption {
        suite: 2,
        sealed: "mlkem768x25519".into(),
        signed: "ed25519".into(),
        post_quantum_confidentiality: true,
        post_quantum_authentication: false,
    }
}

/// Carol, who asks alice.
pub fn contact() -> Contact {
    Contact {
        who: "%7".into(),
        name: "carol".into(),
        address: "carol@example.org".into(),
        label: None,
        handle: Some("%7".into()),
        account: AccountId([2; 16]),
        conversation: ConversationId([3; 16]),
        state: ContactState::Pending,
        reason: None,
        trust: Trust::Unverified,
        fingerprint: "ab12-cd34".into(),
        new_fingerprint: None,
        encryption: Some(encryption()),
        confirmed: false,
        blocked: false,
        muted_until: None,
        online: Some(true),
        online_since: None,
        unread: 0,
        profile: None,
        message: Some("it is me\u{202e}, carol".into()),
        since: Some(Timestamp(1_760_000_000_000)),
    }
}
