//! Whether an account's store answers.

use std::sync::mpsc;
use std::time::Duration;

use tokio::time::timeout;

use super::account_of;
use crate::service::status::stores_answer;
use crate::store::tests::fixture::Person;

/// For so long nothing happens that would have happened at once.
const A_WHILE: Duration = Duration::from_millis(100);

#[test]
fn a_store_that_hangs_is_no_sign_of_life() {
    let accounts = [account_of(&Person::new("alice")), account_of(&Person::new("bob"))];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        stores_answer(&accounts).await;
        let (release, held) = mpsc::channel::<()>();
        let hangs = accounts[1].store.enqueue(move |_| Ok(held.recv().ok())).await.unwrap();
        let mut asked = std::pin::pin!(stores_answer(&accounts));
        assert!(timeout(A_WHILE, asked.as_mut()).await.is_err(), "one of them hangs");
        release.send(()).unwrap();
        asked.await;
        hangs.outcome().await.unwrap();
    });
}
