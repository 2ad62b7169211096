//! A cursor over MessagePack bytes that never recurses, never allocates more than it was given and names what it missed.

use crate::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, PrekeyId};

/// Bytes that are not what the wire format says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field is missing, of another type, or of a wrong size.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A version that this program does not speak.
    #[error("version {0} is not spoken here, only {ours}", ours = super::VERSION)]
    Version(u8),
    /// Larger than the format allows.
    #[error("{what} is {size} bytes, more than {limit}")]
    TooLarge {
        /// The object.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Bytes after the end of the object.
    #[error("{0} bytes left over after {1}")]
    Trailing(usize, &'static str),
}

/// Reads one array after the other from a slice.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Fails unless everything was read.
    ///
    /// # Errors
    /// [`WireError::Trailing`].
    pub fn finish(self, what: &'static str) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.rest.len(), what)) }
    }

    /// The next array's length.
    ///
    /// # Errors
    /// When the next value is no array, or claims more elements than bytes are left.
    pub fn array(&mut self, what: &'static str) -> Result<usize, WireError> {
        let len = rmp::decode::read_array_len(&mut self.rest).map_err(|_| WireError::Malformed(what))? as usize;
        // Every element takes a byte at least: a larger claim is a lie, refused before anything is reserved for it.
        if len > self.rest.len() { Err(WireError::Malformed(what)) } else { Ok(len) }
    }

    /// An array of exactly `len` elements.
    ///
    /// # Errors
    /// When it is not that.
    pub fn array_of(&mut self, len: usize, what: &'static str) -> Result<(), WireError> {
        if self.array(what)? == len { Ok(()) } else { Err(WireError::Malformed(what)) }
    }

    /// An unsigned integer.
    ///
    /// # Errors
    /// When it is none.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        rmp::decode::read_int(&mut self.rest).map_err(|_| WireError::Malformed(what))
    }

    /// An unsigned integer that fits 32 bits.
    ///
    /// # Errors
    /// When it does not.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        u32::try_from(self.u64(what)?).map_err(|_| WireError::Malformed(what))
    }

    /// An unsigned integer that fits 8 bits.
    ///
    /// # Errors
    /// When it does not.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        u8::try_from(self.u64(what)?).map_err(|_| WireError::Malformed(what))
    }

    /// A signed integer.
    ///
    /// # Errors
    /// When it is none.
    pub fn i64(&mut self, what: &'static str) -> Result<i64, WireError> {
        rmp::decode::read_int(&mut self.rest).map_err(|_| WireError::Malformed(what))
    }

    /// A boolean.
    ///
    /// # Errors
    /// When it is none.
    pub fn bool(&mut self, what: &'static str) -> Result<bool, WireError> {
        rmp::decode::read_bool(&mut self.rest).map_err(|_| WireError::Malformed(what))
    }

    /// Raw bytes, borrowed.
    ///
    /// # Errors
    /// When the next value is no `bin` or runs past the end.
    pub fn bin(&mut self, what: &'static str) -> Result<&'a [u8], WireError> {
        let len = rmp::decode::read_bin_len(&mut self.rest).map_err(|_| WireError::Malformed(what))? as usize;
        self.take(len, what)
    }

    /// UTF-8 text, borrowed.
    ///
    /// # Errors
    /// When the next value is no valid text.
    pub fn str(&mut self, what: &'static str) -> Result<&'a str, WireError> {
        let len = rmp::decode::read_str_len(&mut self.rest).map_err(|_| WireError::Malformed(what))? as usize;
        std::str::from_utf8(self.take(len, what)?).map_err(|_| WireError::Malformed(what))
    }

    /// Whether the next value is nil; it is consumed if so.
    pub fn nil(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0xc0, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Exactly `N` raw bytes.
    ///
    /// # Errors
    /// When it is not that.
    pub fn fixed<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        self.bin(what)?.try_into().map_err(|_| WireError::Malformed(what))
    }

    /// An account id.
    ///
    /// # Errors
    /// When it is not 16 bytes.
    pub fn account(&mut self, what: &'static str) -> Result<AccountId, WireError> {
        self.fixed(what).map(AccountId)
    }

    /// A device id.
    ///
    /// # Errors
    /// When it is not 16 bytes.
    pub fn device(&mut self, what: &'static str) -> Result<DeviceId, WireError> {
        self.fixed(what).map(DeviceId)
    }

    /// A conversation id.
    ///
    /// # Errors
    /// When it is not 16 bytes.
    pub fn conversation(&mut self, what: &'static str) -> Result<ConversationId, WireError> {
        self.fixed(what).map(ConversationId)
    }

    /// An epoch.
    ///
    /// # Errors
    /// When it is not 8 bytes.
    pub fn epoch(&mut self, what: &'static str) -> Result<Epoch, WireError> {
        self.fixed(what).map(Epoch)
    }

    /// A message id.
    ///
    /// # Errors
    /// When it is not 16 bytes.
    pub fn message(&mut self, what: &'static str) -> Result<MessageId, WireError> {
        self.fixed(what).map(MessageId)
    }

    /// A prekey id.
    ///
    /// # Errors
    /// When it is not 8 bytes.
    pub fn prekey(&mut self, what: &'static str) -> Result<PrekeyId, WireError> {
        self.fixed(what).map(PrekeyId)
    }

    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(WireError::Malformed(what))?;
        self.rest = rest;
        Ok(head)
    }
}

/// Appends to a byte vector. Writing to a `Vec` cannot fail, so the results of `rmp` carry nothing.
pub(crate) mod write {
    pub fn array(out: &mut Vec<u8>, len: usize) {
        let _ = rmp::encode::write_array_len(out, len as u32);
    }
    pub fn uint(out: &mut Vec<u8>, value: u64) {
        let _ = rmp::encode::write_uint(out, value);
    }
    pub fn sint(out: &mut Vec<u8>, value: i64) {
        let _ = rmp::encode::write_sint(out, value);
    }
    pub fn bin(out: &mut Vec<u8>, bytes: &[u8]) {
        let _ = rmp::encode::write_bin(out, bytes);
    }
    pub fn str(out: &mut Vec<u8>, text: &str) {
        let _ = rmp::encode::write_str(out, text);
    }
    pub fn nil(out: &mut Vec<u8>) {
        let _ = rmp::encode::write_nil(out);
    }
    pub fn bool(out: &mut Vec<u8>, value: bool) {
        let _ = rmp::encode::write_bool(out, value);
    }
}
