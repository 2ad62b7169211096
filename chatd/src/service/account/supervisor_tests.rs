//! The supervisor with tasks that do what a test wants: time stands still unless everything waits for it.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use proto::ids::{AccountId, DeviceId};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

const ONLINE: [Task; 3] = [Task::Delivery, Task::Session, Task::Connection];

/// What happened to the tasks, in order.
type Log = Arc<Mutex<Vec<(&'static str, Task)>>>;

#[derive(Clone)]
struct Fake {
    log: Log,
    /// Told to end with an error.
    fail: Arc<HashMap<Task, Notify>>,
    /// The session ends when this is told, after it was to stop.
    goodbye: Arc<Notify>,
    /// It hears nothing.
    deaf: bool,
}

/// Says when a task has ended, however it does.
struct Ended(Log, Task);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(("ended", self.1));
    }
}

impl Fake {
    fn new() -> Self {
        let fail = STANDING.into_iter().chain(ONLINE).map(|task| (task, Notify::new())).collect();
        Self { log: Log::default(), fail: Arc::new(fail), goodbye: Arc::default(), deaf: false }
    }

    fn job(&self, task: Task, until: impl Future<Output = ()> + Send + 'static) -> Job {
        let (log, fail) = (Arc::clone(&self.log), Arc::clone(&self.fail));
        Box::pin(async move {
            log.lock().unwrap().push(("began", task));
            let _ended = Ended(log, task);
            tokio::select! {
                () = until => {}
                () = fail[&task].notified() => panic!("{task:?} meets something that nobody thought of"),
            }
        })
    }

    fn count(&self, what: &str, task: Task) -> usize {
        self.log.lock().unwrap().iter().filter(|entry| **entry == (what, task)).count()
    }

    async fn until(&self, what: &str, task: Task, times: usize) {
        while self.count(what, task) < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Work for Fake {
    fn standing(&self, task: Task) -> Job {
        self.job(task, std::future::pending())
    }

    fn online(&self, _: &AccountRow, stops: &Stops) -> (Online, Vec<(Task, Job)>) {
        let (delivery, commands) = (Delivery::unattended().0, mpsc::channel(1).0);
        let jobs = ONLINE.map(|task| {
            let (stops, goodbye, deaf) = (stops.clone(), Arc::clone(&self.goodbye), self.deaf);
            let until = async move {
                match task {
                    _ if deaf => std::future::pending().await,
                    Task::Connection => stops.connection.cancelled().await,
                    Task::Session => {
                        stops.work.cancelled().await;
                        goodbye.notified().await;
                    }
                    _ => stops.work.cancelled().await,
                }
            };
            (task, self.job(task, until))
        });
        (Online { delivery, commands }, jobs.into())
    }
}

struct Run {
    state: Arc<Published>,
    fake: Fake,
    damage: watch::Sender<Option<String>>,
    supervisor: JoinHandle<()>,
}

impl Run {
    fn new(fake: Fake) -> Self {
        let row = AccountRow {
            id: AccountId([1; 16]),
            device: DeviceId([1; 16]),
            name: "alice".into(),
            origin: "a.test".into(),
            directory: String::new(),
            uid: 1000,
            user: String::new(),
            logged_in: true,
            preferred: 0,
            standing: Default::default(),
        };
        let (state, orders) = Published::new(row, CancellationToken::new());
        let (state, damage) = (Arc::new(state), watch::Sender::new(None));
        let (its, work, found) = (Arc::clone(&state), fake.clone(), damage.subscribe());
        let supervisor = tokio::spawn(async move { Supervisor::new(&its, work).run(orders, found).await });
        Self { state, fake, damage, supervisor }
    }

    async fn wait_for(&self, what: impl Fn(&Phase) -> bool) {
        self.state.subscribe().wait_for(|state| what(&state.phase)).await.unwrap();
    }

    fn is_online(&self) -> bool {
        self.state.now().online().is_some()
    }

    /// So that a stop needs nobody to say goodbye.
    fn say_goodbye(&self) {
        self.fake.goodbye.notify_one();
    }
}

#[tokio::test(start_paused = true)]
async fn the_watch_says_each_state_in_order() {
    let mut run = Run::new(Fake::new());
    assert!(matches!(run.state.now().phase, Phase::Offline));
    run.state.order(Order::GoOnline).await;
    assert!(matches!(run.state.now().phase, Phase::Online(_)), "when the order is obeyed");
    run.state.change(|state| {
        state.drained = Some(std::time::Instant::now());
        state.set_session(SessionState { up: true, bearer: Some("token".into()), error: None });
    });
    let orders = Arc::clone(&run.state);
    let offline = tokio::spawn(async move { orders.order(Order::GoOffline).await });
    run.wait_for(|phase| matches!(phase, Phase::GoingOffline)).await;
    assert_eq!(run.state.now().session, SessionState::default(), "at once");
    assert!(run.state.now().drained.is_none() && !run.is_online() && !offline.is_finished());
    run.say_goodbye();
    offline.await.unwrap();
    assert!(matches!(run.state.now().phase, Phase::Offline));
    run.state.order(Order::GoOnline).await;
    run.say_goodbye();
    run.state.order(Order::Restart).await;
    assert!(run.is_online(), "offline and online again");
    assert_eq!(run.fake.count("ended", Task::Delivery), 2);
    run.say_goodbye();
    run.state.gone.cancel();
    run.state.closed().await;
    assert!(matches!(run.state.now().phase, Phase::Closed));
    (&mut run.supervisor).await.unwrap();
    run.state.order(Order::GoOnline).await;
    assert!(!run.is_online(), "who has ended obeys no more, and keeps nobody waiting");
}

#[tokio::test(start_paused = true)]
async fn the_connection_ends_after_what_the_directory_has_to_hear() {
    let run = Run::new(Fake::new());
    run.state.order(Order::GoOnline).await;
    run.fake.until("began", Task::Connection, 1).await;
    assert!(run.state.order_soon(Order::GoOffline));
    run.fake.until("ended", Task::Delivery, 1).await;
    assert_eq!((run.fake.count("ended", Task::Session), run.fake.count("ended", Task::Connection)), (0, 0));
    run.say_goodbye();
    run.wait_for(|phase| matches!(phase, Phase::Offline)).await;
    let log = run.fake.log.lock().unwrap().clone();
    let ended: Vec<Task> = log.into_iter().filter(|(what, _)| *what == "ended").map(|(_, task)| task).collect();
    assert_eq!(ended, [Task::Delivery, Task::Session, Task::Connection]);
    assert!(STANDING.iter().all(|task| run.fake.count("ended", *task) == 0), "these go on");
}

#[tokio::test(start_paused = true)]
async fn stop_ends_all_also_what_hangs() {
    let mut run = Run::new(Fake { deaf: true, ..Fake::new() });
    run.state.order(Order::GoOnline).await;
    for task in STANDING.into_iter().chain(ONLINE) {
        run.fake.until("began", task, 1).await;
    }
    let began = Instant::now();
    run.state.gone.cancel();
    (&mut run.supervisor).await.unwrap();
    assert!(began.elapsed() >= GOODBYE && began.elapsed() < GOODBYE * 2, "{:?}", began.elapsed());
    for task in STANDING.into_iter().chain(ONLINE) {
        assert_eq!((run.fake.count("began", task), run.fake.count("ended", task)), (1, 1), "{task:?}");
    }
    assert!(matches!(run.state.now().phase, Phase::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_with_an_error_is_told_and_all_that_belong_to_it_begin_anew() {
    let run = Run::new(Fake::new());
    run.state.order(Order::GoOnline).await;
    run.fake.until("began", Task::Connection, 1).await;
    run.say_goodbye();
    run.fake.fail[&Task::Delivery].notify_one();
    run.wait_for(|phase| matches!(phase, Phase::Offline)).await;
    for task in ONLINE {
        assert_eq!(run.fake.count("ended", task), 1, "{task:?}");
    }
    let mut state = run.state.subscribe();
    state.wait_for(|state| state.session.error.is_some()).await.unwrap();
    let told = run.state.now().session.error.clone().unwrap();
    assert!(told.text.contains("Delivery ended with an error"), "{}", told.text);
    let failed = Instant::now();
    run.wait_for(|phase| matches!(phase, Phase::Online(_))).await;
    assert!(failed.elapsed() > AGAIN / 2, "not at once: what made it fail is likely to be there still");
    run.fake.until("began", Task::Connection, 2).await;
    // Logged out meanwhile, it stays offline.
    run.say_goodbye();
    run.fake.fail[&Task::Session].notify_one();
    run.wait_for(|phase| matches!(phase, Phase::Offline)).await;
    run.state.change(|state| state.row.logged_in = false);
    tokio::time::sleep(AGAIN * 2).await;
    assert!(!run.is_online());
    assert!(STANDING.iter().all(|task| run.fake.count("began", *task) == 1), "these had nothing to do with it");
}

#[tokio::test(start_paused = true)]
async fn a_standing_task_that_ends_with_an_error_begins_anew_alone() {
    let run = Run::new(Fake::new());
    run.state.order(Order::GoOnline).await;
    run.fake.until("began", Task::Lifetimes, 1).await;
    let failed = Instant::now();
    run.fake.fail[&Task::Lifetimes].notify_one();
    run.fake.until("began", Task::Lifetimes, 2).await;
    assert!(failed.elapsed() >= AGAIN, "{:?}", failed.elapsed());
    assert!(run.is_online() && run.state.now().session.error.is_none());
    assert_eq!((run.fake.count("began", Task::Delivery), run.fake.count("began", Task::Prekeys)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn damage_takes_the_account_offline_and_keeps_it_there() {
    let run = Run::new(Fake::new());
    run.state.order(Order::GoOnline).await;
    run.say_goodbye();
    run.damage.send_replace(Some("a page".into()));
    run.wait_for(|phase| matches!(phase, Phase::Offline)).await;
    run.state.order(Order::Restart).await;
    assert!(!run.is_online(), "a disk with room again is no cure");
    assert_eq!(run.fake.count("began", Task::Delivery), run.fake.count("ended", Task::Delivery));
}
