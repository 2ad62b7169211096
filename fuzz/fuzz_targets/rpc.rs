//! What a local client may send: the cutting of the stream, which must not depend on how the bytes trickle in, and the
//! parameters of methods behind it. Bombs show as memory (libFuzzer's limit) or as time (the limit here).
#![no_main]

use std::time::Duration;

use bytes::BufMut;
use fuzz::timed;
use libfuzzer_sys::fuzz_target;
use proto::rpc::codec::{FrameError, FrameReader, Incoming, Scanner, decode, decode_params, decode_value, salvage_id};
use proto::rpc::types::{
    BackupBeginParams, HistoryParams, KeyRecoverParams, RegisterParams, RestoreFinishParams, SearchParams, SendParams,
    SubscribeParams, UsersParams, WhoParams,
};

/// For a few KiB of input and an instrumented build; a megabyte takes a few milliseconds without.
const MOST: Duration = Duration::from_millis(50);

fuzz_target!(|data: &[u8]| {
    let Some((step, stream)) = data.split_first() else { return };
    let (whole, time) = timed(|| cut(stream, stream.len().max(1)));
    assert!(time < MOST, "{time:?} for {} bytes", stream.len());
    assert_eq!(cut(stream, usize::from(*step).max(1)), whole, "it matters how the bytes come in");
    let (frames, _) = whole;
    for frame in frames {
        let ((), time) = timed(|| read(&frame));
        assert!(time < MOST, "{time:?} for {} bytes", frame.len());
    }
    let _ = salvage_id(stream);
});

/// The messages of a stream that comes in pieces of `step` bytes.
fn cut(stream: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let (mut reader, mut frames) = (FrameReader::default(), vec![]);
    for piece in stream.chunks(step) {
        reader.buffer().put_slice(piece);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame.to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn read(frame: &[u8]) {
    assert_eq!(Scanner::default().scan(frame), Ok(Some(frame.len())), "a message is one value");
    let _ = decode_value::<serde_json::Value>(frame);
    match decode(frame) {
        Ok(Incoming::Request { params, .. } | Incoming::Notification { params, .. }) => {
            let _ = decode_params::<SendParams>(params);
            let _ = decode_params::<RegisterParams>(params);
            let _ = decode_params::<SubscribeParams>(params);
            let _ = decode_params::<HistoryParams>(params);
            let _ = decode_params::<SearchParams>(params);
            let _ = decode_params::<UsersParams>(params);
            let _ = decode_params::<WhoParams>(params);
            let _ = decode_params::<BackupBeginParams>(params);
            let _ = decode_params::<RestoreFinishParams>(params);
            if let Ok(params) = decode_params::<KeyRecoverParams>(params) {
                let printed = format!("{:?}", params.recovery_key);
                assert_eq!(printed, "(secret)", "a log tells a secret");
            }
            let _ = decode_params::<serde_json::Value>(params);
        }
        Ok(Incoming::Response { outcome: Ok(result), .. }) => {
            let _ = decode_value::<serde_json::Value>(result);
        }
        _ => {}
    }
}
