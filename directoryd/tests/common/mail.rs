//! What tests of the mailbox share: bob, and mail for him.

use proto::directory::api::DepositAnswer;
use reqwest::Response;

use super::*;

pub const TOKEN: [u8; 32] = [42; 32];
pub const DAY: u32 = 86_400;

/// Bob is registered and has given a token away.
pub async fn bob_at(directory: &Directory) -> (Person, Session) {
    let bob = person("bob");
    assert!(directory.publish(&bob, 1).await.status().is_success());
    let mut session = directory.session(&bob).await;
    session.give_token(&TOKEN).await;
    (bob, session)
}

pub async fn left(response: Response) -> DepositAnswer {
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    response.json().await.unwrap()
}

/// Deposits `count` different envelopes, of which the first carries `from`; their numbers.
pub async fn fill(directory: &Directory, to: &Person, from: u32, count: u32) -> Vec<u64> {
    let mut numbers = Vec::new();
    for n in from..from + count {
        let bytes = envelope(to.device_id(), DAY, &n.to_be_bytes());
        numbers.push(left(directory.deposit(to, Some(&TOKEN), bytes).await).await.number);
    }
    numbers
}
