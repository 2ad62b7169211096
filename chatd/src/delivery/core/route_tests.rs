use super::*;

fn sending() -> Route {
    let mut route = Route::default();
    route.attach(1, Instant::now());
    route.phase = Phase::Ready;
    route
}

#[test]
fn what_was_in_flight_is_pending_however_the_link_is_left() {
    for leave in [Route::detach, Route::rewind, |route: &mut Route, now| route.attach(2, now)] {
        let mut route = sending();
        route.in_flight.push_back(InFlight { number: 1, epoch: Epoch([1; 8]), high: 9, bytes: 100 });
        route.cursor = (OutStreamRow(1), 9);
        assert!(!route.pending);
        leave(&mut route, Instant::now());
        assert!(route.pending && route.cursor == (OutStreamRow(0), 0));
    }
}

#[test]
fn a_job_from_before_moves_nothing_and_is_done_again() {
    for leave in [Route::detach, Route::rewind, |route: &mut Route, now| route.attach(2, now)] {
        let mut route = sending();
        let life = route.life;
        route.packing = true;
        leave(&mut route, Instant::now());
        assert!(!route.job_ended(life), "its cursor would skip what the peer asked for again");
        assert!(route.pending && !route.packing);
    }
    let mut route = sending();
    assert!(route.job_ended(route.life) && !route.pending);
}

#[test]
fn a_link_that_ends_after_everything_was_acknowledged_is_not_dialled_again() {
    let mut route = sending();
    let ids = [MessageId([1; 16]), MessageId([2; 16])];
    route.signalled.extend(ids);
    route.signals_done(&ids);
    route.detach(Instant::now());
    assert!(!route.pending);
}

#[test]
fn a_link_that_ends_before_its_claim_is_answered_leaves_what_waits_to_the_next() {
    // A job found nothing that may go before the claims: what waits behind them is not looked at yet.
    let mut route = Route { link: Some(1), ..Route::default() };
    route.claiming(Instant::now());
    route.detach(Instant::now());
    assert!(route.pending);
    let mut route = Route { link: Some(1), ..Route::default() };
    route.claiming(Instant::now());
    route.attach(2, Instant::now());
    assert!(route.pending);
}

#[test]
fn another_link_is_claimed_anew() {
    let mut route = sending();
    route.attach(2, Instant::now());
    assert_eq!(route.phase, Phase::Down);
    // A dial that fails after somebody came in another way must not end that way.
    let mut route = Route { phase: Phase::Connecting, ..Route::default() };
    route.attach(2, Instant::now());
    assert_ne!(route.phase, Phase::Connecting);
}

#[test]
fn no_timer_is_set_for_what_cannot_be_done() {
    let past = Some(Instant::now());
    let due = Route { pending: true, retry_at: past, ..Route::default() };
    assert_eq!(due.wake_at(), past);
    let packing = Route { packing: true, ..due };
    assert_eq!(packing.wake_at(), None, "the end of the job goes on");
    let linked = Route { pending: true, retry_at: past, ..sending() };
    assert_eq!(linked.wake_at(), None, "acknowledgements go on");
    let dialing = Route { pending: true, retry_at: past, phase: Phase::Connecting, ..Route::default() };
    assert_eq!(dialing.wake_at(), None, "the end of the dial goes on");
}

#[test]
fn an_account_is_gone_when_its_directory_says_so_twice_and_not_in_one_breath() {
    let (mut route, now) = (Route { pending: true, ..Route::default() }, Instant::now());
    assert!(!route.gone(now, 0));
    assert!(!route.gone(now + Duration::from_secs(1), 0), "the other way asked in the same moment");
    let again = route.retry_at.unwrap_or(now);
    assert!(again >= now + Duration::from_secs(20) && route.mailbox.retry_at == Some(again), "both ways wait for it");
    assert!(route.gone(again, 0));
    assert!(route.retry_at.is_some_and(|at| at >= again + Duration::from_secs(1_800)));
    route.known_gone = true;
    let planned = route.retry_at;
    route.hurry(again, Duration::ZERO, 0);
    assert_eq!(route.retry_at, planned, "another network does not bring it back");
    assert!(route.found() && !route.found() && route.gone_since.is_none());
}

#[test]
fn whoever_asks_to_wait_is_left_alone_for_that_long() {
    let now = Instant::now();
    let pause = Duration::from_secs(60);
    let mut route = Route { pending: true, ..Route::default() };
    route.failed(now, 0);
    route.wait(now, pause, 0);
    route.mailbox.wait(now, pause, u64::MAX);
    assert_eq!((route.retry_at, route.mailbox.retry_at), (Some(now + pause), Some(now + pause * 3 / 2)));
    route.retry_at = Some(now + pause * 9);
    route.wait(now, pause, 0);
    assert_eq!(route.retry_at, Some(now + pause * 9), "and what was to come later comes no sooner");
}

#[test]
fn a_request_is_repeated_less_and_less() {
    let (mut route, mut now) = (Route::default(), Instant::now());
    let mut pauses = Vec::new();
    for _ in 0..10 {
        route.repeat_later(now);
        let at = route.repeat_at.unwrap_or(now);
        pauses.push((at - now).as_secs() / 60);
        now = at;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 240, 240]);
}

#[test]
fn what_is_acknowledged_before_its_job_tells_of_it_is_not_waited_for() {
    let envelope = |number, high| InFlight { number, epoch: Epoch([1; 8]), high, bytes: 100 };
    let mut route = sending();
    route.packing = true;
    route.acknowledged(Epoch([1; 8]), 9, Instant::now());
    assert!(route.job_ended(route.life));
    route.sent([envelope(1, 9), envelope(2, 12)], Instant::now());
    assert_eq!(route.in_flight.iter().map(|one| one.high).collect::<Vec<_>>(), [12]);
    // Said of one job, it says nothing of the next.
    route.sent([envelope(3, 9)], Instant::now());
    assert_eq!(route.in_flight.len(), 2);
}

#[test]
fn a_link_that_ends_while_something_is_sent_has_failed() {
    let mut route = sending();
    assert!(!route.is_unheard());
    route.packing = true;
    assert!(route.is_unheard(), "what the job sends is not known to be in flight yet");
}
