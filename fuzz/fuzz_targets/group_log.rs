//! The log of a group at a directory: requests to append, statements, slots, and what a session pushes. The first byte chooses which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::directory::groups::{
    Append, MAX_APPEND_BYTES, MAX_ENTRY_BYTES, Pushed, SignedHeader, SignedRoot, SignedSlot,
};
use proto::ids::LogId;

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 5 {
        0 => {
            if let Ok(append) = Append::decode(data) {
                assert!(data.len() <= MAX_APPEND_BYTES && append.entry.len() <= MAX_ENTRY_BYTES);
                assert_eq!(Append::decode(&append.encode()).as_ref(), Ok(&append));
                let _ = append.is_proved_by(LogId([7; 16]), &[8; 32]);
            }
        }
        1 => {
            if let Ok(root) = SignedRoot::decode(data) {
                assert_eq!(root.encode(), data, "a root has one encoding");
                let _ = root.is_by(&root.says.root_key);
            }
        }
        2 => {
            if let Ok(header) = SignedHeader::decode(data) {
                assert_eq!(header.encode(), data, "a header has one encoding");
                let _ = header.is_by(&header.says.read);
            }
        }
        3 => {
            if let Ok(slot) = SignedSlot::decode(data) {
                assert_eq!(slot.encode(), data, "a slot has one encoding");
                let _ = slot.holds();
            }
        }
        _ => {
            if let Some(pushed) = Pushed::decode(data) {
                assert_eq!(pushed.encode(), data);
            }
        }
    }
});
