//! The envelope's layers, from outside in: [`Outer`] (all that a mailbox sees), the age plaintext's [`Wrap`] (signed, one
//! per device and send) and body, and the [`Core`]s in it (stable across retries).

use super::reader::write;
use super::stamp::Stamp;
use super::{MAX_ACK_ENTRIES, MAX_ACK_RANGES, MAX_CORE_BYTES, MAX_TTL_SECONDS, Reader, VERSION, WireError};
use crate::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, PrekeyId};

/// The outside of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outer<'a> {
    /// Encryption suite of the ciphertext.
    pub suite: u8,
    /// The device that can open it.
    pub to_device: DeviceId,
    /// Which of the device's prekeys it is sealed to.
    pub prekey_id: PrekeyId,
    /// Lifetime in a mailbox in seconds, 1..=604,800, counted by the mailbox from its own receipt.
    pub ttl: u32,
    /// One age file.
    pub ciphertext: &'a [u8],
    /// From a stranger to whom a lane was full: see [`super::work`].
    pub work: Option<Stamp>,
}

impl<'a> Outer<'a> {
    /// `[ver, suite, to_device, prekey_id, ttl, ciphertext, work]`; `work` is `[window, nonce]` or nil.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.ciphertext.len() + 48);
        write::array(&mut out, 7);
        write::uint(&mut out, VERSION.into());
        write::uint(&mut out, self.suite.into());
        write::bin(&mut out, self.to_device.as_bytes());
        write::bin(&mut out, self.prekey_id.as_bytes());
        write::uint(&mut out, self.ttl.into());
        write::bin(&mut out, self.ciphertext);
        match &self.work {
            Some(Stamp { window, nonce }) => {
                write::array(&mut out, 2);
                write::uint(&mut out, *window);
                write::uint(&mut out, *nonce);
            }
            None => write::nil(&mut out),
        }
        out
    }

    /// Reads what [`Outer::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(7, "envelope")?;
        version(&mut r)?;
        let outer = Self {
            suite: r.u8("suite")?,
            to_device: r.device("to_device")?,
            prekey_id: r.prekey("prekey_id")?,
            ttl: r.u32("ttl")?,
            ciphertext: r.bin("ciphertext")?,
            work: stamp(&mut r)?,
        };
        r.finish("envelope")?;
        if (1..=MAX_TTL_SECONDS).contains(&outer.ttl) { Ok(outer) } else { Err(WireError::Malformed("ttl")) }
    }
}

fn stamp(r: &mut Reader<'_>) -> Result<Option<Stamp>, WireError> {
    if r.nil() {
        return Ok(None);
    }
    r.array_of(2, "work")?;
    Ok(Some(Stamp { window: r.u64("work window")?, nonce: r.u64("work nonce")? }))
}

fn version(r: &mut Reader<'_>) -> Result<(), WireError> {
    match r.u8("version")? {
        VERSION => Ok(()),
        other => Err(WireError::Version(other)),
    }
}

/// What a device has of one sender's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AckEntry {
    /// The sending device of the acknowledged cores.
    pub from_device: DeviceId,
    /// Their conversation.
    pub conversation: ConversationId,
    /// Their epoch.
    pub epoch: Epoch,
    /// Everything from 1 up to this is committed; 0 when nothing is.
    pub contiguous: u64,
    /// Inclusive ranges above it, ascending and disjoint, at most 8.
    pub ranges: Vec<(u64, u64)>,
    /// The beginning of the SHA-256 of the highest core that is committed, if it is known; as each core names the one before, of all.
    /// Whoever has given the number to another core since sees that nothing of it is acknowledged.
    pub head: Option<[u8; HEAD_BYTES]>,
}

/// Of a hash in an acknowledgement: enough to tell two histories of one honest device apart, which is all that it is for.
pub const HEAD_BYTES: usize = 8;

impl AckEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        write::array(out, 6);
        write::bin(out, self.from_device.as_bytes());
        write::bin(out, self.conversation.as_bytes());
        write::bin(out, self.epoch.as_bytes());
        write::uint(out, self.contiguous);
        write::array(out, self.ranges.len());
        for (low, high) in &self.ranges {
            write::array(out, 2);
            write::uint(out, *low);
            write::uint(out, *high);
        }
        write::bin(out, self.head.as_ref().map_or(&[], |head| &head[..]));
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, WireError> {
        r.array_of(6, "ack entry")?;
        let (from_device, conversation, epoch) =
            (r.device("ack device")?, r.conversation("ack conversation")?, r.epoch("ack epoch")?);
        let contiguous = r.u64("ack seq")?;
        let count = r.array("ack ranges")?;
        if count > MAX_ACK_RANGES {
            return Err(WireError::Malformed("ack ranges"));
        }
        let mut ranges = Vec::with_capacity(count);
        let mut above = contiguous;
        for _ in 0..count {
            r.array_of(2, "ack range")?;
            let (low, high) = (r.u64("ack range")?, r.u64("ack range")?);
            // A range that touches the mark below it would be part of that mark.
            if low <= above.saturating_add(1) || high < low {
                return Err(WireError::Malformed("ack range"));
            }
            above = high;
            ranges.push((low, high));
        }
        let head = match r.bin("ack head")? {
            [] => None,
            head => Some(head.try_into().map_err(|_| WireError::Malformed("ack head"))?),
        };
        Ok(Self { from_device, conversation, epoch, contiguous, ranges, head })
    }

    pub(super) fn encode_list(entries: &[Self], out: &mut Vec<u8>) {
        write::array(out, entries.len());
        for entry in entries {
            entry.encode(out);
        }
    }

    pub(super) fn decode_list(r: &mut Reader<'_>) -> Result<Vec<Self>, WireError> {
        let count = r.array("acks")?;
        if count > MAX_ACK_ENTRIES {
            return Err(WireError::Malformed("acks"));
        }
        (0..count).map(|_| Self::decode(r)).collect()
    }
}

/// The signed binding of a body to its recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrap {
    /// SHA-256 of the body's bytes.
    pub body_hash: [u8; 32],
    /// The signing account. Named here because an envelope without cores must name its signer too.
    pub from: AccountId,
    /// The signing device.
    pub from_device: DeviceId,
    /// The device it is for.
    pub to_device: DeviceId,
    /// The prekey it is sealed to.
    pub prekey_id: PrekeyId,
    /// The whole hash of that prekey's recipient.
    pub recipient_hash: [u8; 32],
    /// Encryption suite.
    pub suite: u8,
    /// Sequence number of the sender's record at the time of sealing; 0 without a directory.
    pub record_seq: u64,
    /// SHA-256 of that record; zeros without one.
    pub record_hash: [u8; 32],
    /// Acknowledgements that ride along.
    pub acks: Vec<AckEntry>,
}

impl Wrap {
    /// `[body hash, from, from_device, to_device, prekey_id, recipient hash, suite, record seq, record hash, acks]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        write::array(&mut out, 10);
        write::bin(&mut out, &self.body_hash);
        write::bin(&mut out, self.from.as_bytes());
        write::bin(&mut out, self.from_device.as_bytes());
        write::bin(&mut out, self.to_device.as_bytes());
        write::bin(&mut out, self.prekey_id.as_bytes());
        write::bin(&mut out, &self.recipient_hash);
        write::uint(&mut out, self.suite.into());
        write::uint(&mut out, self.record_seq);
        write::bin(&mut out, &self.record_hash);
        AckEntry::encode_list(&self.acks, &mut out);
        out
    }

    /// Reads what [`Wrap::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(10, "wrap")?;
        let wrap = Self {
            body_hash: r.fixed("body hash")?,
            from: r.account("wrap from")?,
            from_device: r.device("wrap from_device")?,
            to_device: r.device("wrap to_device")?,
            prekey_id: r.prekey("wrap prekey_id")?,
            recipient_hash: r.fixed("recipient hash")?,
            suite: r.u8("suite")?,
            record_seq: r.u64("record seq")?,
            record_hash: r.fixed("record hash")?,
            acks: AckEntry::decode_list(&mut r)?,
        };
        r.finish("wrap")?;
        Ok(wrap)
    }
}

/// Encodes a body: an array of `bin`, each the exact bytes of one core.
pub fn encode_body<'c>(cores: impl ExactSizeIterator<Item = &'c [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    write::array(&mut out, cores.len());
    for core in cores {
        write::bin(&mut out, core);
    }
    out
}

/// The bytes that [`encode_body`] adds for a core of `len` bytes, its own included.
pub const fn body_cost(len: usize) -> usize {
    len + 5
}

/// The cores' bytes of a body.
///
/// # Errors
/// Any departure from the format, or a core over [`MAX_CORE_BYTES`].
pub fn decode_body(bytes: &[u8]) -> Result<Vec<&[u8]>, WireError> {
    let mut r = Reader::new(bytes);
    let count = r.array("body")?;
    let mut cores = Vec::new();
    for _ in 0..count {
        let core = r.bin("core")?;
        if core.len() > MAX_CORE_BYTES {
            return Err(WireError::TooLarge { what: "core", size: core.len(), limit: MAX_CORE_BYTES });
        }
        cores.push(core);
    }
    r.finish("body")?;
    Ok(cores)
}

/// One message, as its sender made it once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core<'a> {
    /// The sending account.
    pub from: AccountId,
    /// The sending device.
    pub from_device: DeviceId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The receiving account or group, 16 bytes.
    pub to: AccountId,
    /// The message id.
    pub id: MessageId,
    /// The run of sequence numbers that `seq` belongs to; zeros where `seq` is 0.
    pub epoch: Epoch,
    /// Counts from 1 per (device, conversation, epoch); 0 for kinds outside of the chain.
    pub seq: u64,
    /// SHA-256 of the core with `seq - 1`; zeros for seq 1 and seq 0.
    pub prev: [u8; 32],
    /// The sender's clock in Unix milliseconds. For display only.
    pub time: i64,
    /// What the payload is; see [`super::payload::Kind`].
    pub kind: &'a str,
    /// Encoded by kind.
    pub payload: &'a [u8],
}

impl<'a> Core<'a> {
    /// `[ver, from, from_device, conversation, to, id, epoch, seq, prev, time, kind, payload]`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + self.kind.len() + 176);
        write::array(&mut out, 12);
        write::uint(&mut out, VERSION.into());
        write::bin(&mut out, self.from.as_bytes());
        write::bin(&mut out, self.from_device.as_bytes());
        write::bin(&mut out, self.conversation.as_bytes());
        write::bin(&mut out, self.to.as_bytes());
        write::bin(&mut out, self.id.as_bytes());
        write::bin(&mut out, self.epoch.as_bytes());
        write::uint(&mut out, self.seq);
        write::bin(&mut out, &self.prev);
        write::sint(&mut out, self.time);
        write::str(&mut out, self.kind);
        write::bin(&mut out, self.payload);
        out
    }

    /// Reads what [`Core::encode`] wrote; borrows from `bytes`.
    ///
    /// # Errors
    /// Any departure from the format.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(12, "core")?;
        version(&mut r)?;
        let core = Self {
            from: r.account("core from")?,
            from_device: r.device("core from_device")?,
            conversation: r.conversation("core conversation")?,
            to: r.account("core to")?,
            id: r.message("core id")?,
            epoch: r.epoch("core epoch")?,
            seq: r.u64("core seq")?,
            prev: r.fixed("core prev")?,
            time: r.i64("core time")?,
            kind: r.str("core kind")?,
            payload: r.bin("core payload")?,
        };
        r.finish("core")?;
        Ok(core)
    }
}
