//! What a directory and its clients say to each other: frames of a session and the answers of the API, as JSON. Whatever is taken
//! says the same when it is written and read again. The first byte chooses which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::directory::api::{ErrorAnswer, NonceAnswer, PublishRequest, ReachAnswer, RecordAnswer, UsersPage};
use proto::directory::mailbox::DepositAnswer;
use proto::directory::membership::{DirectoryAnswer, MembershipAnswer};
use proto::directory::session::{ClientFrame, ServerFrame, SessionHello};
use serde::Serialize;
use serde::de::DeserializeOwned;

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 12 {
        0 => round_trip::<ServerFrame>(data),
        1 => round_trip::<ClientFrame>(data),
        2 => round_trip::<SessionHello>(data),
        3 => round_trip::<RecordAnswer>(data),
        4 => round_trip::<ReachAnswer>(data),
        5 => round_trip::<UsersPage>(data),
        6 => round_trip::<ErrorAnswer>(data),
        7 => round_trip::<DepositAnswer>(data),
        8 => round_trip::<NonceAnswer>(data),
        10 => round_trip::<DirectoryAnswer>(data),
        11 => round_trip::<MembershipAnswer>(data),
        _ => round_trip::<PublishRequest>(data),
    }
});

fn round_trip<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else { return };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("and be read again");
    assert_eq!(serde_json::to_vec(&again).expect("and written"), written);
}
