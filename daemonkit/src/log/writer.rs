//! Lines on their way to stderr: gathered in memory, written by a thread of its own.
//!
//! `tracing-appender` was looked at first. Its queue is bounded in lines, not in bytes; its worker tells nobody of lines that
//! could not be written; and its guard prints with `println!` when the worker hangs, which may hang or panic for the same
//! reason. What is needed is small: a buffer, a thread, two counters.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that wait at most: a few thousand lines, enough for any burst that a reader keeps up with.
pub(super) const BUFFER_BYTES: usize = 1 << 20;
/// Bytes of one line at most; what is longer is cut. A line has some ten values of 256 bytes.
pub(super) const MAX_LINE_BYTES: usize = 8 * 1024;
/// Between two reports of dropped lines.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// What the writer's thread has to say for itself.
pub(super) trait Told: Send + 'static {
    /// How it says that so many lines were dropped since the last time.
    fn dropped(&mut self, lines: u64) -> String;
    /// Called about once in `every`, whether there are lines or not: more lines.
    fn tick(&mut self) -> Vec<String>;
    /// How often.
    fn every(&self) -> Duration;
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// The thread has taken bytes, and they are not written yet.
    writing: bool,
    dropped: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Something to write.
    filled: Condvar,
    /// Everything was written.
    drained: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8]) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let kept = line.get(..MAX_LINE_BYTES).unwrap_or(line);
        let mut state = self.lock();
        if state.waiting.len() + kept.len() >= BUFFER_BYTES {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(kept);
        state.waiting.push(b'\n');
        drop(state);
        self.filled.notify_one();
    }
}

/// Where lines are put. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Writer(Arc<Shared>);

impl Writer {
    /// A writer onto `target`, with its thread.
    pub(super) fn start(target: impl Write + Send + 'static, told: impl Told) -> io::Result<Self> {
        let writer = Self::default();
        let shared = Arc::clone(&writer.0);
        std::thread::Builder::new().name("log".into()).spawn(move || run(&shared, target, told))?;
        Ok(writer)
    }

    /// Takes a line, with or without its end; never waits. A line for which there is no room is counted.
    pub(super) fn put(&self, line: &[u8]) {
        self.0.put(line);
    }

    /// Waits until everything is written, but no longer than `limit`: the process ends, and nobody may hold it.
    pub(super) fn finish(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut state = self.0.lock();
        while !state.waiting.is_empty() || state.writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.0.drained.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread has the other one.
        if Arc::strong_count(&self.0) <= 2 {
            self.0.lock().closed = true;
            self.0.filled.notify_one();
        }
    }
}

fn run(shared: &Arc<Shared>, mut target: impl Write, mut told: impl Told) {
    let put = |line: &str| shared.put(line.as_bytes());
    let mut next_tick = Instant::now() + told.every();
    let mut next_report = Instant::now();
    let mut taken = Vec::new();
    loop {
        let mut state = shared.lock();
        state.writing = false;
        if state.waiting.is_empty() {
            shared.drained.notify_all();
        }
        while state.waiting.is_empty() && !state.closed {
            let left = next_tick.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = shared.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.closed && state.waiting.is_empty() {
            return;
        }
        // The two buffers change places: neither is made anew for each burst.
        std::mem::swap(&mut state.waiting, &mut taken);
        state.writing = !taken.is_empty();
        drop(state);
        let written = target.write_all(&taken).and_then(|()| target.flush());
        let mut dropped = 0;
        match written {
            Ok(()) if !taken.is_empty() && Instant::now() >= next_report => {
                dropped = std::mem::take(&mut shared.lock().dropped);
            }
            Ok(()) => {}
            // A full disk, or a reader that is gone. Told when something can be written again.
            Err(_) => shared.lock().dropped += taken.iter().filter(|byte| **byte == b'\n').count() as u64,
        }
        // From here on nothing is locked: `put` locks, and this thread would wait for itself, and all others for it.
        if dropped > 0 {
            next_report = Instant::now() + REPORT_EVERY;
            put(&told.dropped(dropped));
        }
        taken.clear();
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + told.every();
            told.tick().iter().for_each(|line| put(line));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;

    use super::*;

    struct Reports(mpsc::Sender<u64>);

    impl Told for Reports {
        fn dropped(&mut self, lines: u64) -> String {
            let _ = self.0.send(lines);
            format!("{lines} dropped")
        }

        fn tick(&mut self) -> Vec<String> {
            Vec::new()
        }

        fn every(&self) -> Duration {
            Duration::from_secs(60)
        }
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_and_what_was_dropped_is_told() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (tell, told) = mpsc::channel();
        let log = Writer::start(writer, Reports(tell)).unwrap();
        let line = [b'x'; 1_000];
        let since = Instant::now();
        for _ in 0..20_000 {
            log.put(&line);
        }
        log.finish(Duration::from_millis(50));
        assert!(since.elapsed() < Duration::from_secs(20), "20 MB went nowhere, and took {:?}", since.elapsed());
        let dropped = log.0.lock().dropped;
        assert!((15_000..20_000).contains(&dropped), "{dropped}");
        assert!(log.0.lock().waiting.len() <= BUFFER_BYTES);
        // As soon as somebody reads, the number is told.
        let mut all = [0; 4_096];
        let reported = loop {
            assert!(reader.read(&mut all).unwrap() > 0);
            if let Ok(lines) = told.try_recv() {
                break lines;
            }
        };
        assert_eq!(reported, dropped);
    }

    /// What is told at times; often here.
    struct Ticks;

    impl Told for Ticks {
        fn dropped(&mut self, lines: u64) -> String {
            format!("{lines} dropped")
        }

        fn tick(&mut self) -> Vec<String> {
            vec!["and 7 more of these".into()]
        }

        fn every(&self) -> Duration {
            Duration::from_millis(1)
        }
    }

    /// Both daemons stood still for good a minute after the first line that was counted instead of written.
    #[test]
    fn what_the_thread_tells_by_itself_stops_nobody() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let log = Writer::start(writer, Ticks).unwrap();
        let (done, ended) = mpsc::channel();
        let lines = log.clone();
        std::thread::spawn(move || {
            for _ in 0..1_000 {
                lines.put(b"a line");
                lines.finish(Duration::from_millis(1));
            }
            let _ = done.send(());
        });
        std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        assert!(ended.recv_timeout(Duration::from_secs(60)).is_ok(), "the log holds its users");
    }

    #[test]
    fn a_full_disk_costs_lines_and_nothing_else() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (tell, told) = mpsc::channel();
        let log = Writer::start(full, Reports(tell)).unwrap();
        for _ in 0..100 {
            log.put(b"a line\n");
        }
        log.finish(Duration::from_secs(10));
        let state = log.0.lock();
        assert!(state.waiting.is_empty());
        assert_eq!(state.dropped, 100);
        assert!(told.try_recv().is_err(), "nothing can be told on a full disk");
    }

    #[test]
    fn a_long_line_is_cut() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let log = Writer::start(writer, Reports(mpsc::channel().0)).unwrap();
        log.put(&vec![b'x'; 100_000]);
        log.finish(Duration::from_secs(10));
        drop(log);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), MAX_LINE_BYTES + 1);
    }
}
