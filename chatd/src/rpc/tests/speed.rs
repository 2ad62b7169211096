use std::time::Instant;

use proto::rpc::types::AccountParams;

use super::*;

/// One client, two cores: `cargo test --release -p chatd --lib rpc::tests::speed -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn pipelined_round_trips() {
    let calls = 500_000_u32;
    let server = Server::start(Limits::default()).await;
    server.fake.open_all();
    let client = server.client().await;
    for round in 1..=3 {
        let started = Instant::now();
        let (sender, mut pending) = tokio::sync::mpsc::channel(1_024);
        let submitter = client.clone();
        let submitting = tokio::spawn(async move {
            for _ in 0..calls {
                let call = submitter.submit::<m::MessageUnread>(&AccountParams::default()).await.unwrap();
                sender.send(call).await.unwrap();
            }
        });
        let mut answered = 0;
        while let Some(call) = pending.recv().await {
            call.await.unwrap();
            answered += 1;
        }
        submitting.await.unwrap();
        assert_eq!(answered, calls);
        eprintln!(
            "message.unread, round {round}: {:.0} round trips/s",
            f64::from(calls) / started.elapsed().as_secs_f64()
        );
        server.fake.log.lock().unwrap().clear();
        let started = Instant::now();
        let mut sends = Vec::new();
        for _ in 0..calls / 5 {
            sends.push(client.submit::<m::MessageSend>(&to("bob", "hello, this is alice")).await.unwrap());
        }
        for send in sends {
            send.await.unwrap();
        }
        let rate = f64::from(calls / 5) / started.elapsed().as_secs_f64();
        eprintln!("message.send, round {round}: {rate:.0} answers/s in {} batches", server.fake.log().len());
    }
}
