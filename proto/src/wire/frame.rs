//! Frames of a link: u32be length (<= [`MAX_FRAME_BYTES`]), then a MessagePack array `[type, ...]`.

use super::envelope::AckEntry;
use super::reader::write;
pub use super::refuse::RefuseCode;
use super::{MAX_FRAME_BYTES, Reader, WireError};
use crate::ids::{DeviceId, MessageId};

/// Message ids in one [`Frame::Ack`] at most.
pub const MAX_ACK_IDS: usize = 256;
/// Versions in one [`Frame::Hello`] at most.
pub const MAX_VERSIONS: usize = 16;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// First frame of each side; names no account.
    Hello {
        /// Link versions spoken, best first.
        versions: Vec<u8>,
        /// Seconds since the Unix epoch by the sender's clock.
        unix_time: i64,
    },
    /// "This link speaks for `from_device` towards `to_device`", bound to this TLS session.
    Claim {
        /// The claiming device.
        from_device: DeviceId,
        /// The contact's device that it wants to talk with.
        to_device: DeviceId,
        /// Ed25519 by the claiming device; see docs/wire.md.
        signature: [u8; 64],
    },
    /// The newest record of the account of `from_device`.
    Record {
        /// Whose.
        from_device: DeviceId,
        /// For whom.
        to_device: DeviceId,
        /// A signed record's bytes.
        record: Vec<u8>,
    },
    /// The newest reach of `from_device`.
    Reach {
        /// Whose.
        from_device: DeviceId,
        /// For whom.
        to_device: DeviceId,
        /// A signed reach's bytes.
        reach: Vec<u8>,
    },
    /// A sealed envelope.
    Envelope {
        /// Counts up per link and direction; a refusal names it.
        number: u64,
        /// An encoded [`super::envelope::Outer`].
        outer: Vec<u8>,
    },
    /// Committed on the sending side of this frame.
    Ack {
        /// The device that committed.
        from_device: DeviceId,
        /// The device whose cores they are.
        to_device: DeviceId,
        /// What is committed of that device's streams.
        entries: Vec<AckEntry>,
        /// Committed cores outside of any chain (seq 0), by id; at most [`MAX_ACK_IDS`].
        ids: Vec<MessageId>,
    },
    /// What the sending side has of the other's streams, after a claim.
    Resume {
        /// The device that speaks.
        from_device: DeviceId,
        /// The device whose streams they are.
        to_device: DeviceId,
        /// Highest contiguous seq and ranges.
        entries: Vec<AckEntry>,
    },
    /// Something was not taken.
    Refuse {
        /// Why.
        code: RefuseCode,
        /// The refused envelope's number, if it was one.
        envelope: Option<u64>,
        /// The device that the refusal is about, if it was a claim or an envelope.
        device: Option<DeviceId>,
    },
    /// A stranger's envelope was not taken: the lane is full, and work opens it (see [`super::work`]).
    Work {
        /// The envelope's number.
        envelope: u64,
        /// The device that it was for.
        device: DeviceId,
        /// Zero bits that are asked for.
        bits: u8,
        /// The window that it is now, by the clock of whoever asks.
        window: u64,
    },
    /// Round-trip probe.
    Ping {
        /// Returned unchanged.
        nonce: u64,
        /// Whether this is the answer.
        reply: bool,
    },
    /// "I hold an invite of somebody here": asks for their record, without which nothing can be sealed to them.
    Knock {
        /// The invite's token.
        token: [u8; 32],
    },
    /// The answer to a knock; both empty if nobody here has such an invite out.
    Welcome {
        /// SHA-256 of the token.
        token_hash: [u8; 32],
        /// A signed record's bytes.
        record: Vec<u8>,
        /// A signed reach's bytes.
        reach: Vec<u8>,
    },
}

impl Frame {
    /// The type's word, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Claim { .. } => "claim",
            Self::Record { .. } => "record",
            Self::Reach { .. } => "reach",
            Self::Envelope { .. } => "envelope",
            Self::Ack { .. } => "ack",
            Self::Resume { .. } => "resume",
            Self::Refuse { .. } => "refuse",
            Self::Ping { .. } => "ping",
            Self::Work { .. } => "work",
            Self::Knock { .. } => "knock",
            Self::Welcome { .. } => "welcome",
        }
    }

    /// The frame with its length prefix, ready to write.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        match self {
            Self::Hello { versions, unix_time } => {
                write::array(&mut out, 3);
                write::uint(&mut out, 0);
                write::array(&mut out, versions.len());
                for version in versions {
                    write::uint(&mut out, (*version).into());
                }
                write::sint(&mut out, *unix_time);
            }
            Self::Claim { from_device, to_device, signature } => {
                write::array(&mut out, 4);
                write::uint(&mut out, 1);
                write::bin(&mut out, from_device.as_bytes());
                write::bin(&mut out, to_device.as_bytes());
                write::bin(&mut out, signature);
            }
            Self::Record { from_device, to_device, record } => {
                devices_and_bytes(&mut out, 2, from_device, to_device, record)
            }
            Self::Reach { from_device, to_device, reach } => {
                devices_and_bytes(&mut out, 3, from_device, to_device, reach)
            }
            Self::Envelope { number, outer } => {
                out.reserve(outer.len() + 16);
                write::array(&mut out, 3);
                write::uint(&mut out, 4);
                write::uint(&mut out, *number);
                write::bin(&mut out, outer);
            }
            Self::Ack { from_device, to_device, entries, ids } => {
                write::array(&mut out, 5);
                write::uint(&mut out, 5);
                write::bin(&mut out, from_device.as_bytes());
                write::bin(&mut out, to_device.as_bytes());
                AckEntry::encode_list(entries, &mut out);
                write::array(&mut out, ids.len());
                for id in ids {
                    write::bin(&mut out, id.as_bytes());
                }
            }
            Self::Resume { from_device, to_device, entries } => {
                write::array(&mut out, 4);
                write::uint(&mut out, 6);
                write::bin(&mut out, from_device.as_bytes());
                write::bin(&mut out, to_device.as_bytes());
                AckEntry::encode_list(entries, &mut out);
            }
            Self::Refuse { code, envelope, device } => {
                write::array(&mut out, 4);
                write::uint(&mut out, 7);
                write::uint(&mut out, code.to_wire().into());
                match envelope {
                    Some(number) => write::uint(&mut out, *number),
                    None => write::nil(&mut out),
                }
                match device {
                    Some(device) => write::bin(&mut out, device.as_bytes()),
                    None => write::nil(&mut out),
                }
            }
            Self::Ping { nonce, reply } => {
                write::array(&mut out, 3);
                write::uint(&mut out, 8);
                write::uint(&mut out, *nonce);
                write::bool(&mut out, *reply);
            }
            Self::Work { envelope, device, bits, window } => {
                write::array(&mut out, 5);
                write::uint(&mut out, 9);
                write::uint(&mut out, *envelope);
                write::bin(&mut out, device.as_bytes());
                write::uint(&mut out, (*bits).into());
                write::uint(&mut out, *window);
            }
            Self::Knock { token } => {
                write::array(&mut out, 2);
                write::uint(&mut out, 10);
                write::bin(&mut out, token);
            }
            Self::Welcome { token_hash, record, reach } => {
                write::array(&mut out, 4);
                write::uint(&mut out, 11);
                write::bin(&mut out, token_hash);
                write::bin(&mut out, record);
                write::bin(&mut out, reach);
            }
        }
        let len = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&len.to_be_bytes());
        out
    }

    /// Reads a frame without its length prefix.
    ///
    /// # Errors
    /// Any departure from the format. An unknown type is an error too: versions are agreed in hello.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(WireError::TooLarge { what: "frame", size: bytes.len(), limit: MAX_FRAME_BYTES });
        }
        let mut r = Reader::new(bytes);
        let len = r.array("frame")?;
        let kind = r.u8("frame type")?;
        let expect = |n: usize| if len == n { Ok(()) } else { Err(WireError::Malformed("frame length")) };
        let frame = match kind {
            0 => {
                expect(3)?;
                let count = r.array("versions")?;
                if count > MAX_VERSIONS {
                    return Err(WireError::Malformed("versions"));
                }
                let versions = (0..count).map(|_| r.u8("version")).collect::<Result<_, _>>()?;
                Self::Hello { versions, unix_time: r.i64("unix time")? }
            }
            1 => {
                expect(4)?;
                Self::Claim {
                    from_device: r.device("claim")?,
                    to_device: r.device("claim")?,
                    signature: r.fixed("claim signature")?,
                }
            }
            2 => {
                expect(4)?;
                Self::Record {
                    from_device: r.device("record")?,
                    to_device: r.device("record")?,
                    record: r.bin("record")?.to_vec(),
                }
            }
            3 => {
                expect(4)?;
                Self::Reach {
                    from_device: r.device("reach")?,
                    to_device: r.device("reach")?,
                    reach: r.bin("reach")?.to_vec(),
                }
            }
            4 => {
                expect(3)?;
                Self::Envelope { number: r.u64("envelope number")?, outer: r.bin("envelope")?.to_vec() }
            }
            5 => {
                expect(5)?;
                let (from_device, to_device) = (r.device("ack")?, r.device("ack")?);
                let entries = AckEntry::decode_list(&mut r)?;
                let count = r.array("ack ids")?;
                if count > MAX_ACK_IDS {
                    return Err(WireError::Malformed("ack ids"));
                }
                let ids = (0..count).map(|_| r.message("ack id")).collect::<Result<_, _>>()?;
                Self::Ack { from_device, to_device, entries, ids }
            }
            6 => {
                expect(4)?;
                Self::Resume {
                    from_device: r.device("resume")?,
                    to_device: r.device("resume")?,
                    entries: AckEntry::decode_list(&mut r)?,
                }
            }
            7 => {
                expect(4)?;
                let wire = r.u8("refuse code")?;
                let code = RefuseCode::ALL.iter().find(|(_, n)| *n == wire).map(|(code, _)| *code);
                let code = code.ok_or(WireError::Malformed("refuse code"))?;
                let envelope = if r.nil() { None } else { Some(r.u64("refused envelope")?) };
                let device = if r.nil() { None } else { Some(r.device("refused device")?) };
                Self::Refuse { code, envelope, device }
            }
            8 => {
                expect(3)?;
                Self::Ping { nonce: r.u64("ping")?, reply: r.bool("ping")? }
            }
            9 => {
                expect(5)?;
                Self::Work {
                    envelope: r.u64("work envelope")?,
                    device: r.device("work device")?,
                    bits: r.u8("work bits")?,
                    window: r.u64("work window")?,
                }
            }
            10 => {
                expect(2)?;
                Self::Knock { token: r.fixed("invite token")? }
            }
            11 => {
                expect(4)?;
                Self::Welcome {
                    token_hash: r.fixed("token hash")?,
                    record: r.bin("record")?.to_vec(),
                    reach: r.bin("reach")?.to_vec(),
                }
            }
            _ => return Err(WireError::Malformed("frame type")),
        };
        r.finish("frame")?;
        Ok(frame)
    }
}

fn devices_and_bytes(out: &mut Vec<u8>, kind: u64, from: &DeviceId, to: &DeviceId, bytes: &[u8]) {
    write::array(out, 4);
    write::uint(out, kind);
    write::bin(out, from.as_bytes());
    write::bin(out, to.as_bytes());
    write::bin(out, bytes);
}
