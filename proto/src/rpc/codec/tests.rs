#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::rpc::event::{Event, EventType};
use crate::rpc::types::{AccountParams, MuteParams, SendParams, UsersParams};
use crate::time::Timestamp;

fn feed(reader: &mut FrameReader, bytes: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    reader.buffer().extend_from_slice(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame.to_vec());
    }
    Ok(frames)
}

fn to_bob(body: &str) -> SendParams {
    SendParams { to: "bob".to_owned(), body: body.to_owned(), ..SendParams::default() }
}

/// Some of everything that travels.
fn stream(bodies: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for (index, body) in bodies.iter().enumerate() {
        let id = index as u32 * 0x4321;
        encode_request(&mut out, id, "message.send", &to_bob(body)).unwrap();
        encode_response(&mut out, id, &to_bob(body)).unwrap();
        encode_error(&mut out, Some(id), &RpcError::new(ErrorCode::NotFound, body.as_str()));
        let event = Event::new(id.into(), EventType::Presence, Timestamp(0), body.clone());
        encode_notification(&mut out, "feed.event", &event).unwrap();
    }
    out
}

/// Any MessagePack value, as bytes.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just(vec![0xc0]),
        any::<u8>().prop_map(|n| vec![0xcc, n]),
        any::<u64>().prop_map(|n| [&[0xcf][..], &n.to_be_bytes()].concat()),
        prop::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bin| { [&[0xc5][..], &(bin.len() as u16).to_be_bytes(), &bin].concat() }),
        Just(vec![0xd8; 18]),
        Just(vec![0xc7, 2, 9, 1, 1]),
    ];
    leaf.prop_recursive(6, 64, 5, |inner| {
        prop::collection::vec(inner, 0..5).prop_flat_map(|items| {
            let array = [&[0x90 | items.len() as u8][..], &items.concat()].concat();
            let pairs = items.len() / 2;
            let map = [&[0xdf, 0, 0, 0, pairs as u8][..], &items.get(..2 * pairs).unwrap().concat()].concat();
            prop_oneof![Just(array), Just(map)]
        })
    })
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_messages(
        bodies in prop::collection::vec(".{0,80}", 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let bytes = stream(&bodies);
        let whole = feed(&mut FrameReader::default(), &bytes).unwrap();
        prop_assert_eq!(whole.len(), bodies.len() * 4);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut reader = FrameReader::default();
        let mut pieces = Vec::new();
        for pair in cuts.windows(2) {
            pieces.extend(feed(&mut reader, &bytes[pair[0]..pair[1]]).unwrap());
        }
        prop_assert_eq!(pieces, whole);
        prop_assert!(reader.rest().is_empty());
    }

    #[test]
    fn the_end_of_any_value_is_found(values in prop::collection::vec(value(), 1..8), step in 1_usize..7) {
        let bytes = values.concat();
        let mut reader = FrameReader::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(step) {
            found.extend(feed(&mut reader, piece).unwrap());
        }
        prop_assert_eq!(found, values);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = feed(&mut FrameReader::default(), &bytes).map(|frames| {
            for frame in frames {
                let _ = decode(&frame);
            }
        });
        let _ = decode(&bytes);
        let _ = salvage_id(&bytes);
        let _ = decode_params::<SendParams>(&bytes);
    }

    #[test]
    fn no_params_panic(map in value()) {
        let params = [&[0x91][..], &map].concat();
        prop_assert!(decode_params::<SendParams>(&params).is_err());
    }
}

#[test]
fn the_three_kinds_of_message_come_back() {
    let bytes = stream(&["hello".to_owned()]);
    let frames = feed(&mut FrameReader::default(), &bytes).unwrap();
    let Incoming::Request { id: 0, method: "message.send", params } = decode(&frames[0]).unwrap() else { panic!() };
    assert_eq!(decode_params::<SendParams>(params).unwrap(), to_bob("hello"));
    let Incoming::Response { id: 0, outcome: Ok(result) } = decode(&frames[1]).unwrap() else { panic!() };
    assert_eq!(decode_value::<SendParams>(result).unwrap(), to_bob("hello"));
    let Incoming::Response { id: 0, outcome: Err(error) } = decode(&frames[2]).unwrap() else { panic!() };
    assert_eq!(error, RpcError::new(ErrorCode::NotFound, "hello"));
    let Incoming::Notification { method: "feed.event", params } = decode(&frames[3]).unwrap() else { panic!() };
    assert_eq!(decode_params::<Event>(params).unwrap().account, "hello");
}

/// What a stock MessagePack library in another language makes of it.
#[test]
fn the_bytes_of_a_request_are_as_documented() {
    let mut out = Vec::new();
    encode_request(&mut out, 200, "account.whoami", &AccountParams { account: Some("alice".to_owned()) }).unwrap();
    let expected = [b"\x94\x00\xcc\xc8\xaeaccount.whoami\x91\x81\xa7account".as_slice(), b"\xa5alice"].concat();
    assert_eq!(out, expected);
}

#[test]
fn bombs_are_refused_at_their_header() {
    for (bytes, error) in [
        (vec![0x91; 100_000], FrameError::TooDeep),
        (vec![0x81; 100_000], FrameError::TooDeep),
        (vec![0xdd, 0xff, 0xff, 0xff, 0xff], FrameError::TooLong),
        (vec![0xdf, 0xff, 0xff, 0xff, 0xff], FrameError::TooLong),
        (vec![0xdb, 0xff, 0xff, 0xff, 0xff], FrameError::TooLong),
        (vec![0xc9, 0xff, 0xff, 0xff, 0xff], FrameError::TooLong),
        (vec![0x94, 0x00, 0x01, 0xdb, 0x00, 0x10, 0x00, 0x00], FrameError::TooLong),
        (vec![0x94, 0xc1], FrameError::Reserved),
    ] {
        assert_eq!(feed(&mut FrameReader::default(), &bytes), Err(error), "{:02x?}", bytes.get(..8));
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let deepest = [vec![0x91; MAX_DEPTH - 1], vec![0x90]].concat();
    assert_eq!(feed(&mut FrameReader::default(), &deepest), Ok(vec![deepest.clone()]));
    let deeper = [vec![0x91; MAX_DEPTH], vec![0x90]].concat();
    assert_eq!(feed(&mut FrameReader::default(), &deeper), Err(FrameError::TooDeep));
    let body = MAX_MESSAGE_BYTES - 5;
    let longest = [vec![0xdb], (body as u32).to_be_bytes().to_vec(), vec![b'a'; body]].concat();
    assert_eq!(feed(&mut FrameReader::default(), &longest).unwrap().len(), 1);
}

/// A frame of half a million values, a few bytes at a time: quadratic work would take minutes.
#[test]
fn a_trickle_is_walked_once() {
    let items = 500_000_u32;
    let bytes = [vec![0xdd], items.to_be_bytes().to_vec(), vec![0x01; items as usize]].concat();
    let mut scanner = Scanner::default();
    for end in (0..bytes.len()).step_by(5) {
        assert_eq!(scanner.scan(&bytes[..end]), Ok(None));
    }
    assert_eq!(scanner.scan(&bytes), Ok(Some(bytes.len())));
}

#[test]
fn a_large_message_does_not_keep_its_memory() {
    let mut reader = FrameReader::default();
    let large = [vec![0xdb, 0, 0x0f, 0, 0], vec![b'a'; 0x0f_0000]].concat();
    assert_eq!(feed(&mut reader, &large).unwrap().len(), 1);
    assert!(reader.buffer().capacity() <= KEEP_BUFFER_BYTES);
}

#[test]
fn a_message_too_long_is_not_begun() {
    let mut out = b"before".to_vec();
    let error = encode_request(&mut out, 1, "message.send", &to_bob(&"x".repeat(MAX_MESSAGE_BYTES))).unwrap_err();
    assert!(matches!(error, EncodeError::TooLong(_)));
    assert_eq!(out, b"before");
}

#[test]
fn errors_name_the_parameter() {
    let pack = |value: serde_json::Value| rmp_serde::to_vec(&serde_json::json!([value])).unwrap();
    for (params, expected) in [
        (serde_json::json!({"to": "bob"}), "missing parameter `body`"),
        (serde_json::json!({"to": "bob", "body": "hi", "colour": 1}), "unknown parameter `colour`, expected one of"),
        (serde_json::json!({"to": 7, "body": "hi"}), "parameter `to`: invalid type: integer `7`, expected a string"),
        (
            serde_json::json!({"to": "bob", "body": "hi", "format": "loud"}),
            "parameter `format`: unknown variant `loud`",
        ),
        (serde_json::json!({"to": "bob", "body": "hi", "tags": "x"}), "parameter `tags`: invalid type: string"),
        (serde_json::json!(["bob", "hi"]), "params must be an array of one map"),
    ] {
        let text = decode_params::<SendParams>(&pack(params)).unwrap_err().to_string();
        assert!(text.starts_with(expected), "{text}");
    }
    let text = decode_params::<MuteParams>(&pack(serde_json::json!({"who": "bob", "seconds": -1}))).unwrap_err();
    assert!(text.to_string().starts_with("parameter `seconds`: invalid value"), "{text}");
}

#[test]
fn no_parameters_can_be_written_in_three_ways() {
    for params in [&[0x90][..], &[0x91, 0x80], &[0x91, 0x90], &[0xdc, 0, 1, 0xde, 0, 0]] {
        assert_eq!(decode_params::<UsersParams>(params), Ok(UsersParams::default()), "{params:02x?}");
    }
    for params in [&[0xc0][..], &[0x80], &[0x92, 0x80, 0x80], &[0x91, 0xc0], &[]] {
        assert!(decode_params::<UsersParams>(params).is_err(), "{params:02x?}");
    }
}

#[test]
fn an_error_of_the_future_keeps_its_text() {
    let mut frame = vec![0x94, 0x01, 0x07, 0x92];
    put_str(&mut frame, "on_fire");
    put_str(&mut frame, "the daemon burns");
    frame.push(0xc0);
    let Incoming::Response { id: 7, outcome: Err(error) } = decode(&frame).unwrap() else { panic!() };
    assert_eq!(error, RpcError::new(ErrorCode::Internal, "on_fire: the daemon burns"));
}

#[test]
fn advice_goes_along_and_what_is_not_known_is_passed_over() {
    use crate::advice::Step;
    let error = RpcError::new(ErrorCode::Refused, "bob is blocked").advise(Some(Step::Unblock.of("bob")));
    let mut frame = Vec::new();
    encode_error(&mut frame, Some(7), &error);
    let Incoming::Response { id: 7, outcome: Err(read) } = decode(&frame).unwrap() else { panic!() };
    assert_eq!(read, error);
    // A step of the future, and advice that is no map.
    let mut future = vec![0x94, 0x01, 0x07, 0x93];
    put_str(&mut future, "refused");
    put_str(&mut future, "bob is blocked");
    let mut no_map = future.clone();
    future.push(0x81);
    put_str(&mut future, "do");
    put_str(&mut future, "dance");
    no_map.push(0x07);
    for mut frame in [future, no_map] {
        frame.push(0xc0);
        let Incoming::Response { outcome: Err(read), .. } = decode(&frame).unwrap() else { panic!() };
        assert_eq!(read, RpcError::new(ErrorCode::Refused, "bob is blocked"));
    }
}

#[test]
fn the_id_is_found_in_a_broken_request() {
    assert_eq!(salvage_id(&[0x94, 0x00, 0xcc, 0xc8, 0xdb, 0xff]), Some(200));
    assert_eq!(salvage_id(&[0x94, 0x01, 0x05]), None);
    assert_eq!(salvage_id(&[0x91; 40]), None);
}

#[test]
fn a_message_with_a_secret_is_overwritten_and_what_follows_is_whole() {
    let mut out = Vec::new();
    encode_request(&mut out, 1, "key.recover", "correct horse").unwrap();
    let whole = out.len();
    encode_request(&mut out, 2, "system.hello", "next").unwrap();
    let mut reader = FrameReader::default();
    reader.buffer().extend_from_slice(&out);
    assert_eq!(reader.next_frame().unwrap().unwrap().len(), whole);
    reader.overwrite();
    assert!(reader.buf[..whole].iter().all(|byte| *byte == 0));
    assert!(reader.next_frame().unwrap().is_some_and(|frame| frame.ends_with(b"next")));
    assert!(reader.next_frame().unwrap().is_none());
    reader.overwrite();
}
