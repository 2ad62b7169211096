//! Events of groups. A signature would stop every change at the door, so that bodies are signed here: what is fuzzed is what
//! comes behind the door. The first byte chooses which.
#![no_main]

use ed25519_dalek::Signer;
use fuzz::key;
use libfuzzer_sys::fuzz_target;
use proto::group::{DeviceList, Ed25519, Event, GroupId, MAX_EVENT_BYTES, SignedEvent, group_of_genesis};
use proto::ids::ConversationId;

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 4 {
        0 => {
            if let Ok(signed) = SignedEvent::decode(data) {
                assert_eq!(signed.encode(), data, "an event has one encoding outside");
                look_at(&signed);
            }
        }
        1 => {
            if let Ok(event) = Event::decode(data) {
                assert_eq!(Event::decode(&event.encode()).as_ref(), Ok(&event));
            }
        }
        2 => {
            if let Ok(list) = DeviceList::decode(data) {
                assert_eq!(DeviceList::decode(&list.encode()).as_ref(), Ok(&list));
                assert!(!list.identity_keys().is_empty() && !list.devices.is_empty());
            }
        }
        _ => {
            let signature = key(10).sign(&[b"chatd/gevent/1\0", data].concat()).to_bytes();
            look_at(&SignedEvent { body: data.to_vec(), signature });
        }
    }
});

fn look_at(signed: &SignedEvent) {
    let group = GroupId { id: ConversationId([7; 16]), nonce: [8; 32] };
    if let Ok(verified) = signed.verify(&group, &Ed25519) {
        assert_eq!(verified.event().group, group.id);
        assert!(verified.event().encode().len() <= MAX_EVENT_BYTES);
    }
    if let Ok((group, verified)) = signed.verify_genesis(&Ed25519) {
        assert_eq!((group.id, verified.event().number), (group_of_genesis(&signed.encode()), 0));
    }
}
