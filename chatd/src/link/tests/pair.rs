//! What a link promises, checked on both carriers.

use super::*;

#[tokio::test]
async fn the_ends_agree_on_who_they_are() {
    for (carrier, ends) in both_carriers().await {
        let (alice, bob) = (&ends.alice, &ends.bob);
        assert!(alice.dialed && !bob.dialed, "{carrier}");
        assert_ne!(alice.id, bob.id, "{carrier}");
        assert_eq!(alice.exporter, bob.exporter, "{carrier}");
        assert_ne!(alice.exporter, [0; 32], "{carrier}");
        assert_eq!((alice.version, bob.version), (1, 1), "{carrier}");
        assert!(alice.peer_time_offset.abs() <= 1 && bob.peer_time_offset.abs() <= 1, "{carrier}");
        match &ends._nodes {
            Some((a, b)) => {
                assert_eq!((alice.peer, bob.peer), (b.node_id(), a.node_id()));
                let PathKind::Direct(address) = alice.sender.path().kind else { panic!("not direct") };
                assert!(b.local_addresses().contains(&address));
            }
            None => {
                assert_eq!(alice.peer, bob.peer);
                assert_eq!(alice.sender.path().to_string(), "in process");
            }
        }
    }
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_both_ways_and_in_order() {
    for (carrier, mut ends) in both_carriers().await {
        let frames = || (0..200).map(|n| envelope(n, [0, 1, 100, 3_000, 65_536, 70_000][n as usize % 6]));
        let (alice, bob) = (&mut ends.alice, &mut ends.bob);
        // Small windows until authenticated; the frames above are far more than one window.
        bob.sender.mark_authenticated();
        let send = async |sender: LinkSender| {
            for frame in frames() {
                sender.send(frame).await.unwrap();
            }
        };
        let receive = async |receiver: &mut LinkReceiver| {
            for frame in frames() {
                assert_eq!(receiver.recv().await.unwrap(), Some(frame), "{carrier}");
            }
        };
        let (to_bob, to_alice) = (alice.sender.clone(), bob.sender.clone());
        within(async {
            tokio::join!(send(to_bob), send(to_alice), receive(&mut alice.receiver), receive(&mut bob.receiver))
        })
        .await;
    }
}

#[tokio::test]
async fn what_was_queued_before_a_close_arrives_before_its_reason() {
    for (carrier, mut ends) in both_carriers().await {
        let sender = ends.alice.sender.clone();
        for n in 0..20 {
            sender.send(envelope(n, 10)).await.unwrap();
        }
        sender.close(CloseCode::Idle, "not needed now");
        sender.close(CloseCode::Malformed, "too late to say");
        assert!(sender.is_closed(), "{carrier}");
        assert!(matches!(sender.send(envelope(99, 1)).await, Err(LinkError::Closed(_))), "{carrier}");
        for n in 0..20 {
            assert_eq!(within(ends.bob.receiver.recv()).await.unwrap(), Some(envelope(n, 10)), "{carrier}");
        }
        assert_eq!(within(ends.bob.receiver.recv()).await.unwrap(), None, "{carrier}");
        let reason = within(ends.bob.sender.closed()).await;
        assert_eq!((reason.origin, reason.code), (CloseOrigin::Peer, CloseCode::Idle), "{carrier}");
        assert_eq!(reason.text, "not needed now", "{carrier}");
        let own = ends.alice.sender.closed().await;
        assert_eq!((own.origin, own.code), (CloseOrigin::Local, CloseCode::Idle), "{carrier}");
        assert_eq!(within(ends.alice.receiver.recv()).await.unwrap(), None, "{carrier}");
    }
}

#[tokio::test]
async fn a_refusing_close_is_a_frame_and_then_an_error() {
    for (carrier, mut ends) in both_carriers().await {
        ends.alice.sender.close(CloseCode::RateLimited, "slow down");
        let refuse = Frame::Refuse { code: proto::wire::frame::RefuseCode::RateLimited, envelope: None, device: None };
        assert_eq!(within(ends.bob.receiver.recv()).await.unwrap(), Some(refuse), "{carrier}");
        for _ in 0..2 {
            let Err(LinkError::Closed(reason)) = within(ends.bob.receiver.recv()).await else { panic!("{carrier}") };
            assert_eq!((reason.code, reason.text.as_str()), (CloseCode::RateLimited, "slow down"), "{carrier}");
        }
    }
}

#[tokio::test]
async fn dropping_either_half_ends_the_link_for_both() {
    for drop_sender in [true, false] {
        for (carrier, ends) in both_carriers().await {
            let Ends { alice, mut bob, _nodes } = ends;
            let Link { sender, receiver, .. } = alice;
            sender.send(envelope(1, 1)).await.unwrap();
            let clone = sender.clone();
            drop(clone);
            assert!(!sender.is_closed(), "{carrier}: a clone is not the half");
            let kept: Box<dyn Send> = if drop_sender {
                drop(sender);
                Box::new(receiver)
            } else {
                drop(receiver);
                Box::new(sender)
            };
            assert_eq!(within(bob.receiver.recv()).await.unwrap(), Some(envelope(1, 1)), "{carrier}");
            assert_eq!(within(bob.receiver.recv()).await.unwrap(), None, "{carrier}");
            assert!(bob.sender.is_closed(), "{carrier}");
            drop(kept);
        }
    }
}

#[tokio::test]
async fn a_frame_too_large_is_refused_before_it_is_sent() {
    for (carrier, mut ends) in both_carriers().await {
        let huge = || envelope(1, proto::wire::MAX_FRAME_BYTES);
        assert!(matches!(ends.alice.sender.send(huge()).await, Err(LinkError::FrameTooLarge { .. })), "{carrier}");
        assert!(matches!(ends.alice.sender.try_send(huge()), Err(LinkError::FrameTooLarge { .. })), "{carrier}");
        ends.alice.sender.send(envelope(2, 2)).await.unwrap();
        assert_eq!(within(ends.bob.receiver.recv()).await.unwrap(), Some(envelope(2, 2)), "{carrier}");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_fills_a_bounded_queue_and_loses_nothing() {
    for (carrier, mut ends) in both_carriers().await {
        let sender = ends.alice.sender.clone();
        let mut sent = 0;
        // Queue and windows are a few MiB: 70 MB never fit.
        let full = loop {
            assert!(sent < 1_000, "{carrier}: no bound");
            match sender.try_send(envelope(sent, 70_000)) {
                Ok(()) => sent += 1,
                // Full for good, or only until the writer had its turn?
                Err(error) => match tokio::time::timeout(Duration::from_millis(100), sender.room()).await {
                    Ok(()) => {}
                    Err(_) => break error,
                },
            }
        };
        assert!(matches!(full, LinkError::Full), "{carrier}");
        // Dropping a waiting send queues nothing.
        let waiting = tokio::time::timeout(Duration::from_millis(20), sender.send(envelope(u64::MAX, 1))).await;
        assert!(waiting.is_err(), "{carrier}");
        for n in 0..sent {
            assert_eq!(within(ends.bob.receiver.recv()).await.unwrap(), Some(envelope(n, 70_000)), "{carrier}");
        }
        sender.send(envelope(sent, 1)).await.unwrap();
        assert_eq!(within(ends.bob.receiver.recv()).await.unwrap(), Some(envelope(sent, 1)), "{carrier}");
    }
}

#[tokio::test]
async fn a_peer_that_never_reads_is_dropped_and_others_do_not_notice() {
    let (alice, _) = node(LinkCaps { write_stall: Duration::from_millis(200), ..LinkCaps::default() }).await;
    let (bob, mut bobs) = node(LinkCaps::default()).await;
    let (carol, mut carols) = node(LinkCaps::default()).await;
    let (stuck, _unread) = connect(&alice, &bob, &mut bobs).await;
    let (fine, mut read) = connect(&alice, &carol, &mut carols).await;
    let flood = async {
        for n in 0.. {
            if let Err(error) = stuck.sender.send(envelope(n, 70_000)).await {
                return error;
            }
        }
        unreachable!()
    };
    let mut flood = std::pin::pin!(flood);
    let mut n = 0;
    let error = loop {
        n += 1;
        fine.sender.send(envelope(n, 100)).await.unwrap();
        assert_eq!(within(read.receiver.recv()).await.unwrap(), Some(envelope(n, 100)));
        if let Ok(error) = tokio::time::timeout(Duration::from_millis(1), &mut flood).await {
            break error;
        }
    };
    let LinkError::Closed(reason) = error else { panic!("{error}") };
    assert_eq!((reason.origin, reason.code), (CloseOrigin::Local, CloseCode::TooSlow));
    assert!(!fine.sender.is_closed());
}

#[tokio::test]
async fn a_dropped_recv_loses_nothing() {
    for (carrier, mut ends) in both_carriers().await {
        let sender = ends.alice.sender.clone();
        let send = async {
            for n in 0..50 {
                sender.send(envelope(n, 60_000)).await.unwrap();
            }
        };
        let receive = async {
            let mut n = 0;
            while n < 50 {
                let next = tokio::time::timeout(Duration::from_micros(200), ends.bob.receiver.recv()).await;
                if let Ok(frame) = next {
                    assert_eq!(frame.unwrap(), Some(envelope(n, 60_000)), "{carrier}");
                    n += 1;
                }
            }
        };
        within(async { tokio::join!(send, receive) }).await;
    }
}

/// The owners of links run on many threads.
#[test]
fn every_future_may_move_between_threads() {
    fn send<T: Send>(_: Option<T>) {}
    fn of<A, F: Future + Send>(_: impl Fn(A) -> F) {}
    send(None::<(Link, Node)>);
    of(|mut receiver: LinkReceiver| async move { receiver.recv().await });
    of(|sender: LinkSender| async move { sender.send(envelope(1, 1)).await });
    of(|sender: LinkSender| async move { sender.closed().await });
    of(|node: Node| async move { node.dial(node.node_id(), &[]).await });
    of(|node: Node| async move { node.close().await });
    of(|node: Node| async move { node.network_change().await });
    of(|config: LinkConfig| async move { Node::bind(config).await });
}

#[tokio::test]
async fn every_link_has_an_exporter_of_its_own() {
    let (alice, _) = node(LinkCaps::default()).await;
    let (bob, mut bobs) = node(LinkCaps::default()).await;
    let first = connect(&alice, &bob, &mut bobs).await;
    let second = connect(&alice, &bob, &mut bobs).await;
    assert_eq!(second.0.exporter, second.1.exporter);
    assert_ne!(first.0.exporter, second.0.exporter);
    assert_ne!(in_process_pair(alice.node_id()).0.exporter, in_process_pair(alice.node_id()).0.exporter);
}

#[tokio::test]
async fn a_node_that_closes_says_so() {
    let (alice, _) = node(LinkCaps::default()).await;
    let (bob, mut bobs) = node(LinkCaps::default()).await;
    let (mut link, _accepted) = connect(&alice, &bob, &mut bobs).await;
    within(bob.close()).await;
    assert_eq!(within(link.receiver.recv()).await.unwrap(), None);
    let reason = link.sender.closed().await;
    assert_eq!((reason.origin, reason.code), (CloseOrigin::Peer, CloseCode::ShuttingDown));
    assert!(within(bobs.recv()).await.is_none());
    assert!(matches!(bob.dial(alice.node_id(), &alice.local_addresses()).await, Err(LinkError::Closed(_))));
}
