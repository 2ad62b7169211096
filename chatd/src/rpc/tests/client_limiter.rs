#![allow(clippy::unwrap_used)]

use super::*;

fn limits(clients: usize, clients_per_uid: usize) -> Limits {
    Limits { clients, clients_per_uid, ..Limits::default() }
}

fn take(limiter: &Arc<ClientLimiter>, uid: u32, count: usize, limits: &Limits) -> Vec<Permit> {
    (0..count).map(|_| limiter.admit(uid, None, true, limits).unwrap()).collect()
}

fn alive(seats: &[Permit]) -> usize {
    seats.iter().filter(|permit| !permit.end().is_cancelled()).count()
}

#[test]
fn forty_users_with_sixteen_clients_each() {
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), Limits::default());
    let all: Vec<Permit> = (1_000..1_040).flat_map(|uid| take(&limiter, uid, 16, &limits)).collect();
    assert_eq!((alive(&all), limiter.lock().counted().count()), (640, 640));
    drop(all);
    assert_eq!(limiter.lock().counted().count(), 0);
}

#[test]
fn one_user_may_have_all_until_others_come() {
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), Limits::default());
    let loud = take(&limiter, 1_000, 1_024, &limits);
    assert!(limiter.admit(1_000, None, true, &limits).is_err());
    let others: Vec<Permit> = (1_001..1_040).flat_map(|uid| take(&limiter, uid, 16, &limits)).collect();
    assert_eq!((alive(&others), alive(&loud)), (39 * 16, 1_024 - 39 * 16));
    assert_eq!(limiter.lock().counted().count(), 1_024, "never more than there are places");
    // Who has its share already takes none from others.
    assert!(limiter.admit(1_001, None, true, &limits).is_err());
    // When everybody has just the share, nobody loses a place to one more.
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), self::limits(32, 16));
    let even = [take(&limiter, 1, 16, &limits), take(&limiter, 2, 16, &limits)].concat_seats();
    assert!(limiter.admit(3, None, true, &limits).is_err());
    assert_eq!(alive(&even), 32);
}

trait ConcatSeats {
    fn concat_seats(self) -> Vec<Permit>;
}

impl ConcatSeats for [Vec<Permit>; 2] {
    fn concat_seats(self) -> Vec<Permit> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn watches_leave_room_for_short_commands() {
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), limits(64, 4));
    let watches = take(&limiter, 1, 48, &limits);
    watches.iter().for_each(|permit| permit.follow(&limits).unwrap());
    let short = take(&limiter, 1, 16, &limits);
    assert_eq!(short[0].follow(&limits).unwrap_err().code, ErrorCode::LimitReached);
    drop(short);
    let other = take(&limiter, 2, 1, &limits);
    other[0].follow(&limits).unwrap();
    assert_eq!(alive(&watches), 47, "another user's first watch takes the place of one of forty-eight");
}

#[test]
fn users_without_an_account_get_least() {
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), Limits::default());
    let few: Vec<Permit> = (0..WITHOUT_ACCOUNT).map(|_| limiter.admit(7, None, false, &limits).unwrap()).collect();
    assert!(limiter.admit(7, None, false, &limits).is_err());
    let many: Vec<Permit> = (100..1_000).filter_map(|uid| limiter.admit(uid, None, false, &limits).ok()).collect();
    assert_eq!(few.len() + many.len(), 256, "a quarter of all places");
    assert_eq!(alive(&take(&limiter, 8, 16, &limits)), 16);
}

#[test]
fn what_is_given_up_while_it_is_weighed_weighs_nothing() {
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), Limits::default());
    for _ in 0..2_000 {
        let permit = limiter.admit(1, None, true, &limits).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (1..50).for_each(|bytes| permit.weigh(bytes, Doing::Working)));
            scope.spawn(|| limiter.lock().doom(&permit.client));
        });
    }
    assert_eq!(limiter.lock().weight, 0);
}

#[test]
fn who_holds_most_memory_pays() {
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), Limits::default());
    let honest = take(&limiter, 1, 16, &limits);
    honest.iter().for_each(|permit| permit.weigh(1 << 20, Doing::Working));
    let loud = take(&limiter, 2, 200, &limits);
    for permit in &loud {
        permit.weigh(1 << 20, Doing::Working);
        assert!(limiter.lock().weight <= BUFFER_BYTES);
    }
    assert_eq!((alive(&honest), alive(&loud)), (16, 32));
    drop(loud);
    drop(honest);
    assert_eq!(limiter.lock().weight, 0);
}

#[test]
fn status_knows_who_they_are() {
    let (limiter, limits) = (Arc::new(ClientLimiter::new(|_| ())), Limits::default());
    let own = i32::try_from(std::process::id()).unwrap();
    let before = Timestamp::now();
    let permit = limiter.admit(1, Some(own), true, &limits).unwrap();
    let _other = limiter.admit(2, None, true, &limits).unwrap();
    let does = || limiter.of_user(1).remove(0).does;
    assert_eq!(does(), "has asked nothing yet");
    permit.weigh(0, Doing::Idle);
    permit.asks("message.send");
    assert_eq!(does(), "runs message.send");
    permit.weigh(0, Doing::Idle);
    permit.asks("\u{1b}[2J");
    assert_eq!(does(), "idle since message.send", "words of its own are not shown");
    permit.weigh(0, Doing::Waiting);
    assert_eq!(does(), "waits for a message's state");
    permit.weigh(100, Doing::Following);
    permit.asks("message.send");
    let [client] = &limiter.of_user(1)[..] else { panic!("one client") };
    assert_eq!((client.pid, client.does.as_str()), (Some(std::process::id()), "follows events"));
    let program = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert!(!client.program.is_empty() && (client.program == program.trim_end()), "{}", client.program);
    assert!((before..=Timestamp::now()).contains(&client.since), "{:?}", client.since);
    assert_eq!(limiter.by_user().iter().map(|user| (user.uid, user.clients)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
}
