//! What several tests need.

use chatd::store::peers::NewContact;
use serde_json::Value;
use tests::registry::Registrant;
use tests::wait::wait_for;
use tests::{Ctl, Stream};

/// Bodies of the conversation with `who`, oldest first.
#[track_caller]
pub fn bodies(ctl: &Ctl, who: &str, limit: usize) -> Vec<String> {
    let messages = ctl.list(["history", who, "-n", &limit.to_string()], "messages");
    messages.iter().map(|message| text(&message["body"]).to_owned()).collect()
}

/// Waits until the conversation with `who` ends with `body`.
#[track_caller]
pub fn wait_for_body(ctl: &Ctl, who: &str, body: &str) {
    let what = format!("{} has {body:?} from {who}", ctl.name());
    wait_for(&what, || bodies(ctl, who, 1).last().is_some_and(|last| last == body));
}

/// A JSON string.
#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no string"))
}

/// The first account of `status`.
#[track_caller]
pub fn status(ctl: &Ctl) -> Value {
    ctl.json(["status"])["accounts"][0].clone()
}

/// Sends and returns the message's id.
#[track_caller]
pub fn send(ctl: &Ctl, who: &str, body: &str) -> String {
    text(&ctl.json(["send", who, body])["id"]).to_owned()
}

/// The state of an own message.
#[track_caller]
pub fn state_of(ctl: &Ctl, id: &str) -> String {
    text(&ctl.json(["trace", id])["state"]).to_owned()
}

/// `watch --json` of everything that happens from now on. The feed's number pins the moment, so nothing is missed
/// between the start of the process and its subscription.
#[track_caller]
pub fn follow(ctl: &Ctl, args: &[&str]) -> Stream {
    let seq = status(ctl)["seq"].to_string();
    ctl.stream(["watch", "--json", "--since", &seq].iter().chain(args))
}

/// `userN` of example.org as a contact, without a directory that knows of it.
pub fn somebody(n: usize) -> NewContact {
    let somebody = Registrant::new(&format!("user{n}"), "", "example.org").unwrap();
    NewContact {
        account: somebody.account(),
        name: somebody.name.to_string(),
        origin: "example.org".into(),
        record: somebody.signed(1).unwrap(),
        record_seq: 1,
        identity_key: somebody.identity.verifying_key().to_bytes(),
        reach: Vec::new(),
        reach_seq: 0,
    }
}
