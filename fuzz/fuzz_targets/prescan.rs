//! The pre-scan of age headers against age itself. What the pre-scan accepts, age parses as the same header with the
//! same stanzas; what age makes, the pre-scan accepts; and neither takes longer than [`MOST`] for anything.
//!
//! Bytes that begin with 0 are a script: age makes an envelope, and the rest of the bytes are changes to its header. All
//! others are taken as they are.
#![no_main]

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use age_core::format::{FileKey, Stanza};
use chatd::crypto::prescan::{MAX_GREASE_ARGS, MAX_GREASE_BODY_BYTES, MAX_HEADER_BYTES, prescan};
use fuzz::envelope::Pair;
use fuzz::timed;
use libfuzzer_sys::fuzz_target;

/// What a hostile header may cost, of the processor's time: the promise of docs/security.md.
const MOST: Duration = Duration::from_millis(5);

thread_local! {
    static PAIR: Pair = Pair::new();
}

fuzz_target!(|data: &[u8]| {
    let Some(script) = data.strip_prefix(&[0]) else {
        compare(data);
        return;
    };
    let (plaintext, changes) = script.split_at(script.len().min(1));
    let mut file = PAIR.with(|pair| pair.encrypt(plaintext));
    assert_eq!(prescan(&file).map(|at| file.len() - at), Ok(32 + plaintext.len()), "{}", file.escape_ascii());
    for change in changes.chunks_exact(4) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % file.len();
        match change[2] % 4 {
            0 => file[at] = change[3],
            1 => file.insert(at, change[3]),
            2 => drop(file.remove(at)),
            // A line twice.
            _ => {
                let line: Vec<u8> =
                    file[at..].iter().copied().take_while(|byte| *byte != b'\n').chain([b'\n']).collect();
                file.splice(at..at, line);
            }
        }
        if file.is_empty() {
            return;
        }
    }
    compare(&file);
});

fn compare(file: &[u8]) {
    let (verdict, time) = best(|| prescan(file));
    told("prescan", time, file);
    let Ok(payload) = verdict else { return };
    assert!(payload <= MAX_HEADER_BYTES && payload + 32 <= file.len());
    let (_, time) = best(|| age::Decryptor::new_buffered(file).is_ok());
    told("age", time, file);
    let mut rest = file;
    let Ok(decryptor) = age::Decryptor::new_buffered(&mut rest) else {
        panic!("age does not take what the pre-scan took")
    };
    let stanzas = Recorder::default();
    let identity: &dyn age::Identity = &stanzas;
    assert!(decryptor.decrypt(std::iter::once(identity)).is_err(), "the recorder has no key");
    // age has read the header and the nonce behind it.
    assert_eq!(file.len() - rest.len(), payload + 16, "the header ends elsewhere for age");
    let stanzas = stanzas.0.into_inner();
    let (hybrid, other): (Vec<_>, Vec<_>) = stanzas.iter().partition(|stanza| stanza.tag == "mlkem768x25519");
    let [recipient] = hybrid[..] else { panic!("{} recipients for age", hybrid.len()) };
    assert!(recipient.args.len() == 1 && recipient.args[0].len() == 1_494 && recipient.body.len() == 32);
    assert!(other.len() <= 1, "{} other stanzas for age", other.len());
    for grease in other {
        assert!(grease.tag.ends_with("-grease") && grease.args.len() <= MAX_GREASE_ARGS, "{grease:?}");
        assert!(grease.body.len() <= MAX_GREASE_BODY_BYTES, "{grease:?}");
    }
}

/// What `work` gives, and the least time that it took of a few: a virtual machine may charge a pause to whoever runs.
fn best<T>(work: impl Fn() -> T) -> (T, Duration) {
    let (result, mut least) = timed(&work);
    for _ in 0..5 {
        if least < Duration::from_micros(100) {
            break;
        }
        least = least.min(timed(&work).1);
    }
    (result, least)
}

/// Says when there is a new worst case, and fails at one that is too bad.
fn told(what: &str, time: Duration, file: &[u8]) {
    static WORST: AtomicU64 = AtomicU64::new(0);
    let micros = time.as_micros() as u64;
    if WORST.fetch_max(micros, Ordering::Relaxed) < micros {
        eprintln!("worst: {micros} us in {what} for {} bytes", file.len());
    }
    assert!(time < MOST, "{time:?} in {what} for {} bytes", file.len());
}

/// Takes down what age found in a header, and opens nothing.
#[derive(Default)]
struct Recorder(RefCell<Vec<Stanza>>);

impl age::Identity for Recorder {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        let (tag, args, body) = (stanza.tag.clone(), stanza.args.clone(), stanza.body.clone());
        self.0.borrow_mut().push(Stanza { tag, args, body });
        None
    }
}
