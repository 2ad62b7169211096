//! What waits for the writer thread: who may put how much into it, and whose turn is next.
//!
//! Each contact has a lane of its own, and so has the account itself (its clients, and what the daemon does by itself). The order
//! is that of coming, but for lanes that have had [`SLACK`] more of the thread than others: they wait until the others, if there
//! is something in them, have had as much. The account's own lane counts for [`OWN_SHARE`] contacts.
//!
//! Invariants: what waits is bounded for each lane and for all contacts; nobody's operations stand in front of all others',
//! however many there are and however long they take, until so many contacts fill their lanes ([`OF_ONE`]) that all places
//! ([`OF_ALL`]) are taken. Within a lane, the order is always that of coming.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::model::ids::PeerId;

/// Operations of the account itself that may wait. Each is a batch of its own (up to 512 messages), so this bounds memory, not
/// throughput.
const OWN: usize = 128;
/// Operations of one contact that may wait: half of what one transaction takes.
const OF_ONE: usize = 32;
/// Operations of all contacts together that may wait; an envelope is 64 KiB at most. What is beyond waits in the order of coming,
/// [`OF_ONE`] of each.
const OF_ALL: usize = 256;
/// For how many contacts the account itself counts when time is shared.
const OWN_SHARE: u64 = 4;
/// So much more than others, in nanoseconds, a lane may have before it has to wait: a few ordinary transactions.
const SLACK: u64 = 20_000_000;
/// Lanes remembered before those that owe nothing are forgotten.
const REMEMBERED: usize = 64;

/// For whom an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::store) enum Lane {
    /// The account itself.
    Own,
    /// A contact, or whoever it may be that is in the place of one.
    Contact(PeerId),
}

/// An operation, when it came, and what gives its place free.
struct Waiting<T> {
    item: T,
    number: u64,
    _places: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
}

struct Line<T> {
    waiting: VecDeque<Waiting<T>>,
    /// Nanoseconds of the thread that it has had, its share counted in.
    had: u64,
    places: Arc<Semaphore>,
}

struct Lines<T> {
    lines: HashMap<Lane, Line<T>>,
    /// The least that any lane had had in which something waited: who comes from nothing begins here.
    now: u64,
    came: u64,
    taken: u64,
    closed: bool,
}

/// See the module.
pub(in crate::store) struct Queue<T> {
    lines: Mutex<Lines<T>>,
    of_all: Arc<Semaphore>,
    filled: Notify,
}

impl<T> Queue<T> {
    pub fn new() -> Self {
        let lines = Lines { lines: HashMap::new(), now: 0, came: 0, taken: 0, closed: false };
        Self { lines: Mutex::new(lines), of_all: Arc::new(Semaphore::new(OF_ALL)), filled: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Lines<T>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place and takes it; `false`: the queue is closed.
    pub async fn push(&self, lane: Lane, item: T) -> bool {
        let places = self.lock().line(lane).map(|line| Arc::clone(&line.places));
        let Some(places) = places else { return false };
        let Ok(own) = places.acquire_owned().await else { return false };
        let common = match lane {
            Lane::Own => None,
            Lane::Contact(_) => match Arc::clone(&self.of_all).acquire_owned().await {
                Ok(common) => Some(common),
                Err(_) => return false,
            },
        };
        let mut lines = self.lock();
        lines.came += 1;
        let (number, now) = (lines.came, lines.now);
        let Some(line) = lines.line(lane) else { return false };
        if line.waiting.is_empty() {
            line.had = line.had.max(now);
        }
        line.waiting.push_back(Waiting { item, number, _places: (own, common) });
        drop(lines);
        self.filled.notify_one();
        true
    }

    /// Whoever's turn it is, if anything waits.
    pub fn pop(&self) -> Option<(Lane, T)> {
        self.lock().pop()
    }

    /// The same, waiting for something to come; `None` once the queue is closed and empty. For one caller at a time.
    pub async fn recv(&self) -> Option<(Lane, T)> {
        loop {
            {
                let mut lines = self.lock();
                if let Some(next) = lines.pop() {
                    return Some(next);
                }
                if lines.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// An operation of a lane took so long of the processor.
    pub fn charge(&self, lane: Lane, took: Duration) {
        let share = if lane == Lane::Own { OWN_SHARE } else { 1 };
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX) / share;
        if let Some(line) = self.lock().lines.get_mut(&lane) {
            line.had = line.had.saturating_add(took.max(1));
        }
    }

    /// Takes nothing more; what waits is still given out.
    pub fn close(&self) {
        let mut lines = self.lock();
        lines.closed = true;
        lines.lines.values().for_each(|line| line.places.close());
        self.of_all.close();
        drop(lines);
        self.filled.notify_one();
    }

    /// Takes nothing more, and lets go of what waits.
    pub fn end(&self) {
        self.close();
        let dropped = std::mem::take(&mut self.lock().lines);
        drop(dropped);
    }

    /// Operations that were given out so far.
    #[cfg(test)]
    pub fn taken(&self) -> u64 {
        self.lock().taken
    }
}

impl<T> Lines<T> {
    /// `None` when closed.
    fn line(&mut self, lane: Lane) -> Option<&mut Line<T>> {
        if self.closed {
            return None;
        }
        if self.lines.len() >= REMEMBERED && !self.lines.contains_key(&lane) {
            let now = self.now;
            // Who owes time, or is waiting for a place, is remembered.
            self.lines
                .retain(|_, line| !line.waiting.is_empty() || line.had > now || Arc::strong_count(&line.places) > 1);
        }
        let (places, had) = (if lane == Lane::Own { OWN } else { OF_ONE }, self.now);
        Some(self.lines.entry(lane).or_insert_with(|| Line {
            waiting: VecDeque::new(),
            had,
            places: Arc::new(Semaphore::new(places)),
        }))
    }

    fn pop(&mut self) -> Option<(Lane, T)> {
        // One that is below all others by more than the slack has waited, or its operations are small: it goes first, too.
        let least = self.lines.values().filter(|line| !line.waiting.is_empty()).map(|line| line.had).min()?;
        let turn = |(lane, line): (&Lane, &Line<T>)| {
            let front = line.waiting.front()?;
            Some((if line.had <= least + SLACK { 0 } else { line.had }, front.number, *lane))
        };
        let (_, _, lane) = self.lines.iter().filter_map(turn).min()?;
        self.taken += 1;
        let line = self.lines.get_mut(&lane)?;
        self.now = self.now.max(least);
        let waiting = line.waiting.pop_front()?;
        Some((lane, waiting.item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::fixture::run;

    /// Puts in what finds a place at once.
    fn fill(queue: &Arc<Queue<u64>>, lane: Lane, count: u64) -> usize {
        run(async {
            let mut done = 0;
            for n in 0..count {
                let put = tokio::task::unconstrained(queue.push(lane, n));
                done += usize::from(tokio::time::timeout(Duration::ZERO, put).await == Ok(true));
            }
            done
        })
    }

    #[test]
    fn what_waits_is_bounded_for_each_and_for_all() {
        let queue = Arc::new(Queue::new());
        assert_eq!(fill(&queue, Lane::Contact(PeerId(1)), 1_000), OF_ONE);
        for contact in 2..100 {
            fill(&queue, Lane::Contact(PeerId(contact)), 1_000);
        }
        let waiting = |queue: &Queue<u64>| queue.lock().lines.values().map(|line| line.waiting.len()).sum::<usize>();
        assert_eq!(waiting(&queue), OF_ALL);
        assert_eq!(fill(&queue, Lane::Own, 1_000), OWN, "contacts take nothing of what is the account's own");
        while queue.pop().is_some() {}
        assert_eq!(fill(&queue, Lane::Contact(PeerId(7)), 1), 1, "places come back");
        while queue.pop().is_some() {}
        for contact in 1_000..2_000 {
            fill(&queue, Lane::Contact(PeerId(contact)), 1);
            queue.pop();
        }
        let remembered = queue.lock().lines.len();
        assert!(remembered <= REMEMBERED + 1, "{remembered}");
    }

    #[test]
    fn one_with_much_to_do_stands_in_front_of_nobody() {
        let queue = Arc::new(Queue::new());
        fill(&queue, Lane::Contact(PeerId(1)), 30);
        let (first, _) = queue.pop().unwrap();
        queue.charge(first, Duration::from_millis(50));
        fill(&queue, Lane::Contact(PeerId(2)), 3);
        fill(&queue, Lane::Own, 3);
        // Each of theirs takes a millisecond: six of them before the other's next, and of its own order.
        let next: Vec<Lane> = (0..6)
            .map(|_| {
                let (lane, _) = queue.pop().unwrap();
                queue.charge(lane, Duration::from_millis(1));
                lane
            })
            .collect();
        assert!(!next.contains(&Lane::Contact(PeerId(1))), "{next:?}");
        let rest: Vec<(Lane, u64)> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(rest, (1..30).map(|n| (Lane::Contact(PeerId(1)), n)).collect::<Vec<_>>());
    }

    #[test]
    fn time_is_shared_and_idleness_is_not_saved_up() {
        let queue = Arc::new(Queue::new());
        let mut had: HashMap<Lane, u64> = HashMap::new();
        let lanes = [Lane::Own, Lane::Contact(PeerId(1)), Lane::Contact(PeerId(2))];
        for round in 0..3_000 {
            for lane in lanes {
                // The second contact comes late: it has no claim to what it did not use.
                if (lane != Lane::Contact(PeerId(2)) || round >= 1_000)
                    && queue.lock().line(lane).unwrap().waiting.is_empty()
                {
                    fill(&queue, lane, 1);
                }
            }
            let (lane, _) = queue.pop().unwrap();
            // The first contact's operations are ten times as long.
            let took = if lane == Lane::Contact(PeerId(1)) { 10 } else { 1 };
            queue.charge(lane, Duration::from_millis(took));
            if round >= 1_000 {
                *had.entry(lane).or_default() += took;
            }
        }
        let (own, slow, quick) = (had[&lanes[0]], had[&lanes[1]], had[&lanes[2]]);
        // The slack, and one operation.
        let slack = 30;
        assert!(slow.abs_diff(quick) <= slack, "{had:?}");
        assert!(own.abs_diff(slow * OWN_SHARE) <= slack * (OWN_SHARE + 1), "{had:?}");
    }

    #[test]
    fn as_long_as_nobody_had_much_more_the_order_is_that_of_coming() {
        let queue = Arc::new(Queue::new());
        for n in 0..10 {
            fill(&queue, if n % 2 == 0 { Lane::Own } else { Lane::Contact(PeerId(n as i64)) }, 1);
        }
        let order: Vec<Lane> = std::iter::from_fn(|| {
            let (lane, _) = queue.pop()?;
            queue.charge(lane, Duration::from_millis(1));
            Some(lane)
        })
        .collect();
        let expected: Vec<Lane> =
            (0..10).map(|n| if n % 2 == 0 { Lane::Own } else { Lane::Contact(PeerId(n)) }).collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn a_closed_queue_gives_out_what_it_has() {
        let queue = Arc::new(Queue::new());
        fill(&queue, Lane::Own, 2);
        queue.close();
        assert!(!run(queue.push(Lane::Own, 3)) && !run(queue.push(Lane::Contact(PeerId(1)), 3)));
        assert_eq!(run(queue.recv()), Some((Lane::Own, 0)));
        assert_eq!(run(queue.recv()), Some((Lane::Own, 1)));
        assert_eq!(run(queue.recv()), None);
    }
}
