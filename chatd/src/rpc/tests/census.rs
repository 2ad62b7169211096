#![allow(clippy::unwrap_used)]

use super::*;

fn limits(clients: usize, clients_per_uid: usize) -> Limits {
    Limits { clients, clients_per_uid, ..Limits::default() }
}

fn take(census: &Arc<Census>, uid: u32, count: usize, limits: &Limits) -> Vec<Seat> {
    (0..count).map(|_| census.admit(uid, None, true, limits).unwrap()).collect()
}

fn alive(seats: &[Seat]) -> usize {
    seats.iter().filter(|seat| !seat.end().is_cancelled()).count()
}

#[test]
fn forty_users_with_sixteen_clients_each() {
    let (census, limits) = (Arc::new(Census::new(|_| ())), Limits::default());
    let all: Vec<Seat> = (1_000..1_040).flat_map(|uid| take(&census, uid, 16, &limits)).collect();
    assert_eq!((alive(&all), census.lock().counted().count()), (640, 640));
    drop(all);
    assert_eq!(census.lock().counted().count(), 0);
}

#[test]
fn one_user_may_have_all_until_others_come() {
    let (census, limits) = (Arc::new(Census::new(|_| ())), Limits::default());
    let loud = take(&census, 1_000, 1_024, &limits);
    assert!(census.admit(1_000, None, true, &limits).is_err());
    let others: Vec<Seat> = (1_001..1_040).flat_map(|uid| take(&census, uid, 16, &limits)).collect();
    assert_eq!((alive(&others), alive(&loud)), (39 * 16, 1_024 - 39 * 16));
    assert_eq!(census.lock().counted().count(), 1_024, "never more than there are places");
    // Who has its share already takes none from others.
    assert!(census.admit(1_001, None, true, &limits).is_err());
    // When everybody has just the share, nobody loses a place to one more.
    let (census, limits) = (Arc::new(Census::new(|_| ())), self::limits(32, 16));
    let even = [take(&census, 1, 16, &limits), take(&census, 2, 16, &limits)].concat_seats();
    assert!(census.admit(3, None, true, &limits).is_err());
    assert_eq!(alive(&even), 32);
}

trait ConcatSeats {
    fn concat_seats(self) -> Vec<Seat>;
}

impl ConcatSeats for [Vec<Seat>; 2] {
    fn concat_seats(self) -> Vec<Seat> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn watches_leave_room_for_short_commands() {
    let (census, limits) = (Arc::new(Census::new(|_| ())), limits(64, 4));
    let watches = take(&census, 1, 48, &limits);
    watches.iter().for_each(|seat| seat.follow(&limits).unwrap());
    let short = take(&census, 1, 16, &limits);
    assert_eq!(short[0].follow(&limits).unwrap_err().code, ErrorCode::LimitReached);
    drop(short);
    let other = take(&census, 2, 1, &limits);
    other[0].follow(&limits).unwrap();
    assert_eq!(alive(&watches), 47, "another user's first watch takes the place of one of forty-eight");
}

#[test]
fn users_without_an_account_get_least() {
    let (census, limits) = (Arc::new(Census::new(|_| ())), Limits::default());
    let few: Vec<Seat> = (0..WITHOUT_ACCOUNT).map(|_| census.admit(7, None, false, &limits).unwrap()).collect();
    assert!(census.admit(7, None, false, &limits).is_err());
    let many: Vec<Seat> = (100..1_000).filter_map(|uid| census.admit(uid, None, false, &limits).ok()).collect();
    assert_eq!(few.len() + many.len(), 256, "a quarter of all places");
    assert_eq!(alive(&take(&census, 8, 16, &limits)), 16);
}

#[test]
fn what_is_given_up_while_it_is_weighed_weighs_nothing() {
    let (census, limits) = (Arc::new(Census::new(|_| ())), Limits::default());
    for _ in 0..2_000 {
        let seat = census.admit(1, None, true, &limits).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (1..50).for_each(|bytes| seat.weigh(bytes, Doing::Working)));
            scope.spawn(|| census.lock().doom(&seat.client));
        });
    }
    assert_eq!(census.lock().weight, 0);
}

#[test]
fn who_holds_most_memory_pays() {
    let (census, limits) = (Arc::new(Census::new(|_| ())), Limits::default());
    let honest = take(&census, 1, 16, &limits);
    honest.iter().for_each(|seat| seat.weigh(1 << 20, Doing::Working));
    let loud = take(&census, 2, 200, &limits);
    for seat in &loud {
        seat.weigh(1 << 20, Doing::Working);
        assert!(census.lock().weight <= BUFFER_BYTES);
    }
    assert_eq!((alive(&honest), alive(&loud)), (16, 32));
    drop(loud);
    drop(honest);
    assert_eq!(census.lock().weight, 0);
}

#[test]
fn status_knows_who_they_are() {
    let (census, limits) = (Arc::new(Census::new(|_| ())), Limits::default());
    let own = i32::try_from(std::process::id()).unwrap();
    let before = Timestamp::now();
    let seat = census.admit(1, Some(own), true, &limits).unwrap();
    let _other = census.admit(2, None, true, &limits).unwrap();
    let does = || census.of_user(1).remove(0).does;
    assert_eq!(does(), "has asked nothing yet");
    seat.weigh(0, Doing::Idle);
    seat.asks("message.send");
    assert_eq!(does(), "runs message.send");
    seat.weigh(0, Doing::Idle);
    seat.asks("\u{1b}[2J");
    assert_eq!(does(), "idle since message.send", "words of its own are not shown");
    seat.weigh(0, Doing::Waiting);
    assert_eq!(does(), "waits for a message's state");
    seat.weigh(100, Doing::Following);
    seat.asks("message.send");
    let [client] = &census.of_user(1)[..] else { panic!("one client") };
    assert_eq!((client.pid, client.does.as_str()), (Some(std::process::id()), "follows events"));
    let program = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert!(!client.program.is_empty() && (client.program == program.trim_end()), "{}", client.program);
    assert!((before..=Timestamp::now()).contains(&client.since), "{:?}", client.since);
    assert_eq!(census.by_user().iter().map(|user| (user.uid, user.clients)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}
