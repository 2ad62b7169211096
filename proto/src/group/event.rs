//! An event of a group: `[bin body, bin signature]`, signed by the author's device over `"chatd/gevent/1\0" || body`.
//!
//! The key that an event brings stands at the body's very end, its recipient last, so that "the body without the recipient",
//! which the key's secret is derived from, is a part of the bytes as received.

use super::act::Act;
use super::{GroupId, MAX_EVENT_BYTES, MAX_EVENTS, MAX_PREVIOUS_BYTES, MAX_UNOPENED, Signatures, group_of_genesis};
use crate::directory::record::MAX_RECIPIENT_BYTES;
use crate::ids::{AccountId, ConversationId, DeviceId, sha256};
use crate::wire::reader::write;
use crate::wire::{Reader, VERSION, WireError};

const EVENT: &[u8] = b"chatd/gevent/1\0";
const FIELDS: usize = 11;

/// Why bytes are no event of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not the encoding.
    #[error("the event cannot be read")]
    Wire(#[from] WireError),
    /// A signature in it does not hold.
    #[error("the event is not signed by those whose word it is")]
    Signature,
    /// Of another group.
    #[error("the event is of another group")]
    Group,
    /// A genesis in the middle, or another event as the first.
    #[error("a group has one genesis, and begins with it")]
    Genesis,
}

/// A new key of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOffer {
    /// How to seal to it.
    pub suite: u8,
    /// The event secret before, sealed to the new one.
    pub previous: Vec<u8>,
    /// The recipient's public bytes in the suite's form.
    pub recipient: Vec<u8>,
}

impl KeyOffer {
    /// What a wrap names the key by.
    pub fn recipient_hash(&self) -> [u8; 32] {
        crate::ids::recipient_hash(self.suite, &self.recipient)
    }
}

/// What a member says to the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The group; zeros in the genesis, whose hash it is.
    pub group: ConversationId,
    /// The hash of the entry of the event before it; zeros in the genesis.
    pub prev: [u8; 32],
    /// Its place in the chain; the genesis has 0.
    pub number: u32,
    /// Who says it.
    pub author: AccountId,
    /// With which device: its public key, so that the signature can be checked before any state is known.
    pub device_key: [u8; 32],
    /// The author's clock in Unix milliseconds. For display only.
    pub time: i64,
    /// Events before it that the author could not open, ascending. Those of whom he outranks never count.
    pub unopened: Vec<u32>,
    /// What it does.
    pub act: Act,
    /// The key that it brings.
    pub key: Option<KeyOffer>,
}

impl Event {
    /// The device that signs.
    pub fn device(&self) -> DeviceId {
        DeviceId::of_key(&self.device_key)
    }

    /// What the secret of the key that it brings is derived from, with a seed; the recipient follows from both and is not in it.
    /// Its length is, so that something of that length stands in its place meanwhile.
    pub fn key_context(&self) -> [u8; 32] {
        context(&self.encode(), self.key.as_ref())
    }

    /// `[ver, group, prev, number, author, device key, time, unopened, kind, payload, key]`.
    pub fn encode(&self) -> Vec<u8> {
        let payload = self.act.encode();
        let mut out = Vec::with_capacity(payload.len() + 1_536);
        write::array(&mut out, FIELDS);
        write::uint(&mut out, VERSION.into());
        write::bin(&mut out, self.group.as_bytes());
        write::bin(&mut out, &self.prev);
        write::uint(&mut out, self.number.into());
        write::bin(&mut out, self.author.as_bytes());
        write::bin(&mut out, &self.device_key);
        write::sint(&mut out, self.time);
        write::array(&mut out, self.unopened.len());
        self.unopened.iter().for_each(|number| write::uint(&mut out, (*number).into()));
        write::str(&mut out, self.act.kind());
        write::bin(&mut out, &payload);
        match &self.key {
            Some(key) => {
                write::array(&mut out, 3);
                write::uint(&mut out, key.suite.into());
                write::bin(&mut out, &key.previous);
                write::bin(&mut out, &key.recipient);
            }
            None => write::nil(&mut out),
        }
        out
    }

    /// Reads what [`Event::encode`] wrote; no signature is looked at.
    ///
    /// # Errors
    /// Any departure from the format, or from a limit of it.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(FIELDS, "event")?;
        match r.u8("version")? {
            VERSION => {}
            other => return Err(WireError::Version(other)),
        }
        let group = r.conversation("event group")?;
        let prev = r.fixed("event prev")?;
        let number = r.u32("event number")?;
        if number >= MAX_EVENTS {
            return Err(WireError::Malformed("event number"));
        }
        let (author, device_key, time) = (r.account("event author")?, r.fixed("event device")?, r.i64("event time")?);
        let count = r.array("unopened")?;
        if count > MAX_UNOPENED {
            return Err(WireError::Malformed("unopened"));
        }
        let mut unopened: Vec<u32> = Vec::with_capacity(count);
        for _ in 0..count {
            let listed = r.u32("unopened")?;
            if listed >= number || unopened.last().is_some_and(|last| *last >= listed) {
                return Err(WireError::Malformed("unopened"));
            }
            unopened.push(listed);
        }
        let kind = r.str("event kind")?;
        let act = Act::decode(kind, r.bin("event payload")?)?;
        let key = if r.nil() { None } else { Some(key(&mut r)?) };
        r.finish("event")?;
        Ok(Self { group, prev, number, author, device_key, time, unopened, act, key })
    }
}

/// Of a body that ends with the key's recipient.
fn context(body: &[u8], key: Option<&KeyOffer>) -> [u8; 32] {
    let end = body.len().saturating_sub(key.map_or(0, |key| key.recipient.len()));
    sha256(&[b"chatd/gseed/1\0", body.get(..end).unwrap_or(body)])
}

fn key(r: &mut Reader<'_>) -> Result<KeyOffer, WireError> {
    r.array_of(3, "key")?;
    let (suite, previous, recipient) = (r.u8("key suite")?, r.bin("event secret")?, r.bin("key recipient")?);
    if previous.len() > MAX_PREVIOUS_BYTES || recipient.is_empty() || recipient.len() > MAX_RECIPIENT_BYTES {
        return Err(WireError::Malformed("key"));
    }
    Ok(KeyOffer { suite, previous: previous.to_vec(), recipient: recipient.to_vec() })
}

/// An event as it is sealed. Nothing is known of it before [`SignedEvent::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedEvent {
    /// What was signed.
    pub body: Vec<u8>,
    /// By the author's device.
    pub signature: [u8; 64],
}

impl SignedEvent {
    /// Signs an event; `sign` has the device's key.
    ///
    /// # Errors
    /// When it breaks a limit: what this returns can be read.
    pub fn sign(event: &Event, sign: impl Fn(&[u8]) -> [u8; 64]) -> Result<Self, WireError> {
        let body = event.encode();
        let signature = sign(&[EVENT, &body].concat());
        let signed = Self { body, signature };
        let size = signed.encode().len();
        if size > MAX_EVENT_BYTES {
            return Err(WireError::TooLarge { what: "event", size, limit: MAX_EVENT_BYTES });
        }
        Event::decode(&signed.body)?;
        Ok(signed)
    }

    /// `[bin body, bin signature]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 72);
        write::array(&mut out, 2);
        write::bin(&mut out, &self.body);
        write::bin(&mut out, &self.signature);
        out
    }

    /// Splits body and signature; nothing is verified.
    ///
    /// # Errors
    /// When it is too large or not the encoding. Only the shortest form is taken, so that a group has one id.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (what, limit) = ("event", MAX_EVENT_BYTES);
        if bytes.len() > limit {
            return Err(WireError::TooLarge { what, size: bytes.len(), limit });
        }
        let mut r = Reader::new(bytes);
        r.array_of(2, what)?;
        let signed = Self { body: r.bin(what)?.to_vec(), signature: r.fixed(what)? };
        r.finish(what)?;
        if signed.encode() == bytes { Ok(signed) } else { Err(WireError::Malformed(what)) }
    }

    /// Reads it and checks all that needs no state: form, limits, group, and every signature.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn verify(&self, group: &GroupId, by: &impl Signatures) -> Result<Verified, EventError> {
        let event = Event::decode(&self.body)?;
        if let Act::Genesis(_) = event.act {
            return Err(EventError::Genesis);
        }
        if event.group != group.id {
            return Err(EventError::Group);
        }
        self.checked(event, group, by)
    }

    /// The same for the first event, which tells what the group is.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn verify_genesis(&self, by: &impl Signatures) -> Result<(GroupId, Verified), EventError> {
        let event = Event::decode(&self.body)?;
        let Act::Genesis(genesis) = &event.act else { return Err(EventError::Genesis) };
        let list = &genesis.founder.list;
        let bare = event.group.0 == [0; 16] && event.prev == [0; 32] && event.number == 0;
        let own = list.account() == event.author && list.devices.iter().any(|device| device.key == event.device_key);
        if !bare || !own {
            return Err(EventError::Genesis);
        }
        let group = GroupId { id: group_of_genesis(&self.encode()), nonce: genesis.nonce };
        self.checked(event, &group, by).map(|verified| (group, verified))
    }

    fn checked(&self, event: Event, group: &GroupId, by: &impl Signatures) -> Result<Verified, EventError> {
        let own = by.hold(&event.device_key, &[EVENT, &self.body].concat(), &self.signature);
        if !own || !event.act.holds(group, event.author, &event.prev, by) {
            return Err(EventError::Signature);
        }
        let context = context(&self.body, event.key.as_ref());
        Ok(Verified { device: event.device(), event, context })
    }
}

/// An event of which every signature holds. Whether it counts, the state at its place tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    event: Event,
    device: DeviceId,
    context: [u8; 32],
}

impl Verified {
    /// What it says.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The device that signed it.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The hash of the body without the key's recipient. The key's secret is derived from a seed *and this*: so nobody can name
    /// a recipient in the event whose secret somebody else has.
    pub fn key_context(&self) -> &[u8; 32] {
        &self.context
    }
}
