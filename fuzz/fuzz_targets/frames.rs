//! Frames of a link and the outside of an envelope: whatever is taken says the same when it is written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::wire::envelope::Outer;
use proto::wire::frame::Frame;

fuzz_target!(|data: &[u8]| {
    if let Ok(frame) = Frame::decode(data) {
        let written = frame.encode();
        assert!(written.len() - 4 <= data.len(), "the shortest form is the longest");
        assert_eq!(written[..4], u32::to_be_bytes((written.len() - 4) as u32));
        assert_eq!(Frame::decode(&written[4..]).as_ref(), Ok(&frame));
        if let Frame::Envelope { outer, .. } = &frame {
            envelope(outer);
        }
    }
    envelope(data);
});

fn envelope(data: &[u8]) {
    if let Ok(outer) = Outer::decode(data) {
        let written = outer.encode();
        assert_eq!(Outer::decode(&written).as_ref(), Ok(&outer));
    }
}
