//! Figures, printed on demand: `cargo test -p chatd --lib link::tests::figures -- --ignored --nocapture`.

use std::time::Instant;

use super::*;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// User and system time of this process (fields 14 and 15 of proc(5)'s stat, in ticks of 10 ms).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or("");
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn throughput() {
    for (carrier, mut ends) in both_carriers().await {
        ends.bob.sender.mark_authenticated();
        let sender = ends.alice.sender.clone();
        let (frames, bytes) = (4_000, 65_536);
        let (started, cpu) = (Instant::now(), cpu_seconds());
        let send = tokio::spawn(async move {
            for n in 0..frames {
                sender.send(envelope(n, bytes)).await.unwrap();
            }
        });
        for n in 0..frames {
            let Some(Frame::Envelope { number, .. }) = ends.bob.receiver.recv().await.unwrap() else { panic!() };
            assert_eq!(number, n);
        }
        send.await.unwrap();
        let megabytes = (frames as usize * bytes) as f64 / 1e6;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{carrier}: {:.0} MB/s, {:.2} ms of CPU per MB, both sides",
            megabytes / seconds,
            (cpu_seconds() - cpu) * 1e3 / megabytes
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn a_thousand_links() {
    let before = resident_kib();
    let caps = LinkCaps { max_inbound: 2_000, max_unauthenticated: 2_000, ..LinkCaps::default() };
    let (bob, mut bobs) = node(caps).await;
    println!("one node: {} KiB", resident_kib() - before);
    let mut dialers = Vec::new();
    for _ in 0..10 {
        dialers.push(node(LinkCaps::default()).await.0);
    }
    let before = resident_kib();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (id, addresses) = (bob.node_id(), bob.local_addresses());
    let dials: Vec<_> = dialers
        .iter()
        .cloned()
        .map(|alice| {
            let addresses = addresses.clone();
            tokio::spawn(async move {
                let mut links = Vec::new();
                for _ in 0..100 {
                    links.push(alice.dial(id, &addresses).await.unwrap());
                }
                links
            })
        })
        .collect();
    let mut accepted = Vec::new();
    while accepted.len() < 1_000 {
        accepted.push(within(bobs.recv()).await.unwrap());
    }
    println!(
        "1,000 links: {:?}, {:.2} s of CPU, {} KiB",
        started.elapsed(),
        cpu_seconds() - cpu,
        resident_kib() - before
    );
    drop(dials);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn one_dial() {
    let (bob, mut bobs) = node(LinkCaps::default()).await;
    let (alice, _) = node(LinkCaps::default()).await;
    let mut keep = vec![];
    for _ in 0..8 {
        let started = Instant::now();
        let dial = alice.dial(bob.node_id(), &bob.local_addresses()).await.unwrap();
        let dialed = started.elapsed();
        let accepted = bobs.recv().await.unwrap();
        println!("dialed {dialed:?} accepted {:?}", started.elapsed());
        keep.push((dial, accepted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures"]
async fn round_trips() {
    for (carrier, ends) in both_carriers().await {
        let Ends { mut alice, bob, _nodes } = ends;
        let Link { sender, mut receiver, .. } = bob;
        let echo = tokio::spawn(async move {
            while let Ok(Some(frame)) = receiver.recv().await {
                if sender.send(frame).await.is_err() {
                    break;
                }
            }
        });
        for pause in [Duration::ZERO, Duration::from_millis(5)] {
            let mut times = Vec::new();
            for n in 0..300 {
                tokio::time::sleep(pause).await;
                let started = Instant::now();
                alice.sender.send(envelope(n, 600)).await.unwrap();
                alice.receiver.recv().await.unwrap();
                times.push(started.elapsed());
            }
            times.sort();
            println!("{carrier}, every {pause:?}: p50 {:?}, p99 {:?}", times[150], times[297]);
        }
        drop(alice);
        within(echo).await.unwrap();
    }
}
