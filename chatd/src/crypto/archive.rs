//! Backups: whole files of age, for recipients that the owner names or for a passphrase.
//!
//! The one place that builds or tries a passphrase stanza. Nothing of it is reachable from the network: what peers send
//! goes through [`super::prescan`], which refuses `scrypt`.
//!
//! Not its job: what is in the file, and where it lies.

use std::io::{self, BufRead, Read, Write};

use age::secrecy::SecretString;
use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
/// Recipients, and keys to try, at most.
pub const MAX_KEYS: usize = 16;
/// Bytes of a header at most: sixteen recipients need 26 KB of it. age takes seconds for much longer ones.
const MAX_HEADER_BYTES: usize = 28 * 1024;
/// Lines of a header at most: sixteen recipients have two each, age's grease up to four. With thousands, age takes minutes.
const MAX_HEADER_LINES: usize = 64;
/// scrypt's log2(N) for new files: 64 MiB of memory, a quarter of a second.
const WORK_FACTOR: u8 = 16;
/// And the most that is tried: 256 MiB, a second. What `age -p` makes on fast machines is this much.
const MAX_WORK_FACTOR: u8 = 18;
/// Bytes of a passphrase at most.
const MAX_PASSPHRASE_BYTES: usize = 1_024;

/// Why a backup can be neither made nor opened.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Neither recipients nor a passphrase, or both, or too many.
    #[error("a backup needs either a passphrase or up to {MAX_KEYS} recipients, and not both")]
    Keys,
    /// Neither `age1pq1...` nor `age1...`.
    #[error("{0:?} is not a recipient: it begins with age1pq1, as `age-keygen -pq` prints it, or with age1")]
    Recipient(String),
    /// Of both kinds: each recipient opens the whole file, so that it would be as weak as the weaker.
    #[error(
        "recipients that begin with age1pq1 and others do not go together: the file would be no stronger than the others"
    )]
    Mixed,
    /// Neither `AGE-SECRET-KEY-PQ-1...` nor `AGE-SECRET-KEY-1...`.
    #[error("the identity file holds no key of age: a line that begins with AGE-SECRET-KEY-PQ-1 or AGE-SECRET-KEY-1")]
    Identity,
    /// Too short or too long.
    #[error("a passphrase has 1 to {MAX_PASSPHRASE_BYTES} bytes")]
    Passphrase,
    /// No header of age.
    #[error("this is no backup: it is not a file of age")]
    NotAge,
    /// Made for keys, and a passphrase was given.
    #[error("the backup is encrypted to keys: open it with --identity-file")]
    NeedsIdentity,
    /// The other way round.
    #[error("the backup is encrypted with a passphrase: open it with --passphrase-file, or type it")]
    NeedsPassphrase,
    /// Wrong key or passphrase.
    #[error("the backup does not open with this {0}")]
    Wrong(&'static str),
    /// More scrypt than is reasonable.
    #[error("the backup asks for {0} doublings of work, and {MAX_WORK_FACTOR} are the most here")]
    Work(u8),
    /// Changed or cut.
    #[error("the backup is damaged: it was changed, or its end is missing")]
    Damaged,
    /// age failed otherwise.
    #[error("cannot encrypt: {0}")]
    Encrypt(String),
    /// Reading or writing failed.
    #[error("cannot read or write the backup: {0}")]
    Io(#[from] io::Error),
}

/// What opens a file: keys or a passphrase.
pub struct Secrets {
    identities: Vec<Box<dyn age::Identity + Send + Sync>>,
    passphrase: Option<SecretString>,
}

fn passphrase(text: &str) -> Result<SecretString, ArchiveError> {
    let secret = SecretString::from(text.to_owned());
    let size = age::secrecy::ExposeSecret::expose_secret(&secret).len();
    if (1..=MAX_PASSPHRASE_BYTES).contains(&size) { Ok(secret) } else { Err(ArchiveError::Passphrase) }
}

/// Begins a file; what is written to the result is encrypted, and [`StreamWriter::finish`] ends it.
///
/// # Errors
/// [`ArchiveError`] for keys that are none, and those of the output.
pub fn encrypt<W: Write>(
    recipients: &[String],
    secret: Option<&str>,
    output: W,
) -> Result<StreamWriter<W>, ArchiveError> {
    let encryptor = match secret {
        Some(text) if recipients.is_empty() => {
            let mut recipient = age::scrypt::Recipient::new(passphrase(text)?);
            recipient.set_work_factor(WORK_FACTOR);
            Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        }
        None if (1..=MAX_KEYS).contains(&recipients.len()) => {
            let keys: Vec<Box<dyn age::Recipient>> =
                recipients.iter().map(|text| recipient(text)).collect::<Result<_, _>>()?;
            Encryptor::with_recipients(keys.iter().map(AsRef::as_ref))
        }
        _ => return Err(ArchiveError::Keys),
    };
    let encryptor = encryptor.map_err(|error| match error {
        EncryptError::IncompatibleRecipients { .. } => ArchiveError::Mixed,
        error => ArchiveError::Encrypt(error.to_string()),
    })?;
    Ok(encryptor.wrap_output(output)?)
}

/// Whether a file for these recipients, or for a passphrase if there are none, withstands a quantum computer.
pub fn is_post_quantum(recipients: &[String]) -> bool {
    recipients.iter().all(|text| hybrid::Recipient::parse(text.trim()).is_ok())
}

fn recipient(text: &str) -> Result<Box<dyn age::Recipient>, ArchiveError> {
    let (shown, text) = (|| ArchiveError::Recipient(text.chars().take(80).collect()), text.trim());
    if let Ok(recipient) = hybrid::Recipient::parse(text) {
        return Ok(Box::new(recipient));
    }
    let recipient: age::x25519::Recipient = text.parse().map_err(|_| shown())?;
    let (_, point) = bech32::decode(text).map_err(|_| shown())?;
    // age panics on these.
    if hybrid::is_small_order(&point.try_into().map_err(|_| shown())?) {
        return Err(shown());
    }
    Ok(Box::new(recipient))
}

fn identity(text: &str) -> Result<Box<dyn age::Identity + Send + Sync>, ArchiveError> {
    if let Ok(identity) = hybrid::Identity::parse(text) {
        return Ok(Box::new(identity));
    }
    let identity: age::x25519::Identity = text.parse().map_err(|_| ArchiveError::Identity)?;
    Ok(Box::new(identity))
}

impl Secrets {
    /// Lines of an identity file, comments among them, or a passphrase.
    ///
    /// # Errors
    /// [`ArchiveError::Keys`], [`ArchiveError::Identity`], [`ArchiveError::Passphrase`].
    pub fn new(lines: &[impl AsRef<str>], secret: Option<&str>) -> Result<Self, ArchiveError> {
        match secret {
            Some(text) if lines.is_empty() => Ok(Self { identities: Vec::new(), passphrase: Some(passphrase(text)?) }),
            None if !lines.is_empty() => {
                let keys = lines
                    .iter()
                    .map(|line| line.as_ref().trim())
                    .filter(|line| !line.is_empty() && !line.starts_with('#'));
                let identities: Vec<_> = keys.map(identity).collect::<Result<_, _>>()?;
                if identities.is_empty() {
                    return Err(ArchiveError::Identity);
                }
                if identities.len() > MAX_KEYS {
                    return Err(ArchiveError::Keys);
                }
                Ok(Self { identities, passphrase: None })
            }
            _ => Err(ArchiveError::Keys),
        }
    }

    /// Opens a file and copies what is in it.
    ///
    /// # Errors
    /// [`ArchiveError`]; what was written until then is worth nothing.
    pub fn decrypt(&self, mut input: impl BufRead, mut output: impl Write) -> Result<u64, ArchiveError> {
        let header = read_header(&mut input)?;
        let decryptor = Decryptor::new_buffered(header.as_slice().chain(input)).map_err(explain)?;
        let mut reader = match (&self.passphrase, decryptor.is_scrypt()) {
            (Some(_), false) => return Err(ArchiveError::NeedsIdentity),
            (None, true) => return Err(ArchiveError::NeedsPassphrase),
            (Some(secret), true) => {
                let mut identity = age::scrypt::Identity::new(secret.clone());
                identity.set_max_work_factor(MAX_WORK_FACTOR);
                let opened = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity));
                opened.map_err(|error| wrong(error, "passphrase"))?
            }
            (None, false) => {
                let opened = decryptor.decrypt(self.identities.iter().map(|key| key.as_ref() as &dyn age::Identity));
                opened.map_err(|error| wrong(error, "key"))?
            }
        };
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            // age tells of a changed or missing part as an error of reading.
            let count = reader.read(&mut buffer).map_err(|_| ArchiveError::Damaged)?;
            if count == 0 {
                return Ok(total);
            }
            output.write_all(&buffer[..count])?;
            total += count as u64;
        }
    }
}

/// The header up to its last line, so that age never sees one that is too long.
fn read_header(input: &mut impl BufRead) -> Result<Vec<u8>, ArchiveError> {
    let mut header = Vec::new();
    for _ in 0..MAX_HEADER_LINES {
        let start = header.len();
        let room = (MAX_HEADER_BYTES - start) as u64;
        if input.by_ref().take(room).read_until(b'\n', &mut header)? == 0 || header.last() != Some(&b'\n') {
            return Err(ArchiveError::NotAge);
        }
        if !header.starts_with(b"age-encryption.org/v1\n") {
            return Err(ArchiveError::NotAge);
        }
        if header[start..].starts_with(b"--- ") {
            return Ok(header);
        }
    }
    Err(ArchiveError::NotAge)
}

fn explain(error: DecryptError) -> ArchiveError {
    match error {
        DecryptError::Io(error) => error.into(),
        DecryptError::ExcessiveWork { required, .. } => ArchiveError::Work(required),
        DecryptError::UnknownFormat => ArchiveError::NotAge,
        _ => ArchiveError::Damaged,
    }
}

fn wrong(error: DecryptError, what: &'static str) -> ArchiveError {
    match error {
        DecryptError::NoMatchingKeys | DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            ArchiveError::Wrong(what)
        }
        error => explain(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KEY: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";
    const HYBRID_KEY: &str = "AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG";
    const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    fn file(recipients: &[&str], secret: Option<&str>, text: &[u8]) -> Result<Vec<u8>, ArchiveError> {
        let recipients: Vec<String> = recipients.iter().map(|text| (*text).to_owned()).collect();
        let mut writer = encrypt(&recipients, secret, Vec::new())?;
        writer.write_all(text)?;
        Ok(writer.finish()?)
    }

    fn open(bytes: &[u8], lines: &[&str], secret: Option<&str>) -> Result<Vec<u8>, ArchiveError> {
        let lines: Vec<String> = lines.iter().map(|text| (*text).to_owned()).collect();
        let mut out = Vec::new();
        Secrets::new(&lines, secret)?.decrypt(bytes, &mut out)?;
        Ok(out)
    }

    #[test]
    fn made_and_opened_with_keys_or_a_passphrase() {
        let text = vec![7; 200_000];
        let sealed = file(&[RECIPIENT], None, &text).unwrap();
        assert_eq!(open(&sealed, &["# created: today", KEY, ""], None).unwrap(), text);
        let other = age::x25519::Identity::generate();
        let other = age::secrecy::ExposeSecret::expose_secret(&other.to_string()).to_owned();
        assert!(matches!(open(&sealed, &[&other], None), Err(ArchiveError::Wrong("key"))));
        assert!(matches!(open(&sealed, &[], Some("x")), Err(ArchiveError::NeedsIdentity)));
        let sealed = file(&[], Some("correct horse"), b"hello").unwrap();
        assert_eq!(open(&sealed, &[], Some("correct horse")).unwrap(), b"hello");
        assert!(matches!(open(&sealed, &[], Some("battery")), Err(ArchiveError::Wrong("passphrase"))));
        assert!(matches!(open(&sealed, &[KEY], None), Err(ArchiveError::NeedsPassphrase)));
    }

    /// The recipient of [`HYBRID_KEY`], whose text has two thousand characters.
    fn hybrid() -> String {
        let key = hybrid::Identity::parse(HYBRID_KEY).unwrap();
        age_core::primitives::bech32_encode(bech32::Hrp::parse("age1pq").unwrap(), &key.public().to_bytes())
    }

    #[test]
    fn made_for_hybrid_keys() {
        let to = hybrid();
        let sealed = file(&[&to], None, b"hello").unwrap();
        assert_eq!(open(&sealed, &["# public key: age1pq1...", KEY, HYBRID_KEY], None).unwrap(), b"hello");
        assert!(matches!(open(&sealed, &[KEY], None), Err(ArchiveError::Wrong("key"))));
        assert!(matches!(file(&[&to, RECIPIENT], None, b""), Err(ArchiveError::Mixed)));
        assert!(matches!(file(&[RECIPIENT, &to], None, b""), Err(ArchiveError::Mixed)));
        let many = vec![to.as_str(); MAX_KEYS];
        let sealed = file(&many, None, b"hello").unwrap();
        assert!(sealed.len() > 16 * 1_557, "sixteen stanzas");
        assert_eq!(open(&sealed, &[HYBRID_KEY], None).unwrap(), b"hello");
        assert!(is_post_quantum(&[to.clone(), to]) && is_post_quantum(&[]));
        assert!(!is_post_quantum(&[RECIPIENT.to_owned()]));
    }

    #[test]
    fn what_is_changed_or_cut_does_not_open() {
        let sealed = file(&[RECIPIENT], None, &vec![7; 150_000]).unwrap();
        for cut in [0, 10, 30, 200, 65_536, sealed.len() - 20, sealed.len() - 1] {
            assert!(open(&sealed[..cut], &[KEY], None).is_err(), "cut at {cut}");
        }
        for at in (0..sealed.len()).step_by(997).chain([sealed.len() - 1]) {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&changed, &[KEY], None).is_err(), "byte {at}");
        }
        let mut longer = sealed;
        longer.push(0);
        assert!(open(&longer, &[KEY], None).is_err());
    }

    /// What may be read of a hostile header costs age something; it is somebody's own thread that it costs.
    #[test]
    fn the_longest_header_costs_little() {
        let spent = || {
            let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
            std::time::Duration::from(time)
        };
        let mut worst = std::time::Duration::ZERO;
        for line in ["-> x\n\n", "-> x\nAAAA\n", "-> x\n", &format!("-> x\n{}\n", "A".repeat(64)), "-> x y z\nA\n"] {
            let mut bytes = b"age-encryption.org/v1\n".to_vec();
            while bytes.len() + line.len() + 60 < MAX_HEADER_BYTES {
                bytes.extend_from_slice(line.as_bytes());
            }
            bytes.extend_from_slice(format!("--- {}\n", "A".repeat(43)).as_bytes());
            bytes.extend([0; 48]);
            let before = spent();
            assert!(matches!(open(&bytes, &[HYBRID_KEY], None), Err(ArchiveError::NotAge)), "{line}");
            worst = worst.max(spent() - before);
        }
        println!("figure: the dearest header of a backup costs {} ms of processor", worst.as_millis());
        assert!(worst < std::time::Duration::from_secs(10), "{worst:?}");
    }

    #[test]
    fn what_is_no_key_and_no_file() {
        for bad in ["", "age1", "bob", KEY, &RECIPIENT[..40]] {
            assert!(matches!(file(&[bad], None, b""), Err(ArchiveError::Recipient(_))), "{bad}");
        }
        // The point zero: age itself panics on it.
        let zero = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age").unwrap(), &[0; 32]).unwrap();
        assert!(matches!(file(&[&zero], None, b""), Err(ArchiveError::Recipient(_))));
        assert!(matches!(file(&[], None, b""), Err(ArchiveError::Keys)));
        assert!(matches!(file(&[RECIPIENT], Some("x"), b""), Err(ArchiveError::Keys)));
        assert!(matches!(file(&[], Some(""), b""), Err(ArchiveError::Passphrase)));
        assert!(matches!(open(b"SQLite format 3\0", &[KEY], None), Err(ArchiveError::NotAge)));
        let mut endless = b"age-encryption.org/v1\n".to_vec();
        endless.extend(b"-> x\n\n".repeat(50_000));
        assert!(matches!(open(&endless, &[KEY], None), Err(ArchiveError::NotAge)), "a hostile header");
    }
}
