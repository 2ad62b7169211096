//! What the daemons tell systemd: played by a socket.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::wait::DEADLINE;
use tests::{Daemon, DaemonOptions, Directory, DirectoryOptions, Place};

/// The watchdog's span. Long beside one look on a busy machine.
const WATCHDOG: Duration = Duration::from_secs(2);

/// systemd's end.
struct Manager {
    socket: UnixDatagram,
    env: Vec<(String, String)>,
}

impl Manager {
    fn new(place: &Place) -> Self {
        let path = place.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let env = [("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", WATCHDOG.as_micros().to_string())];
        Self { socket, env: env.map(|(name, value)| (name.to_owned(), value)).to_vec() }
    }

    fn heard(&self) -> std::io::Result<String> {
        let mut heard = [0; 512];
        let length = self.socket.recv(&mut heard)?;
        Ok(String::from_utf8_lossy(&heard[..length]).trim().to_owned())
    }

    /// Whatever has been said by now is forgotten.
    fn forget(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.heard().is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }

    /// From the start of a daemon to its end.
    fn follow(&self, ask: impl FnOnce(), signal: impl Fn(Signal)) {
        assert_eq!(self.heard().unwrap(), "READY=1");
        ask();
        for _ in 0..3 {
            assert_eq!(self.heard().unwrap(), "WATCHDOG=1");
        }
        // One that hangs says nothing for longer than systemd would wait.
        signal(Signal::SIGSTOP);
        self.forget();
        self.socket.set_read_timeout(Some(WATCHDOG + WATCHDOG / 4)).unwrap();
        assert!(self.heard().is_err(), "nothing is said of a daemon that hangs");
        self.socket.set_read_timeout(Some(DEADLINE)).unwrap();
        signal(Signal::SIGCONT);
        assert_eq!(self.heard().unwrap(), "WATCHDOG=1");
        signal(Signal::SIGTERM);
        let last = std::iter::repeat_with(|| self.heard().unwrap()).find(|heard| heard != "WATCHDOG=1");
        assert_eq!(last.unwrap(), "STOPPING=1");
    }
}

#[test]
fn chatd_is_ready_when_it_answers_and_alive_while_it_does() {
    let place = std::sync::Arc::new(Place::new().unwrap());
    let manager = Manager::new(&place);
    let directory = Directory::start();
    let options = DaemonOptions { env: manager.env.clone(), ..DaemonOptions::new("alice", directory.url()) };
    let daemon = Daemon::start(options.place(&place));
    manager.follow(|| drop(daemon.ctl("alice").ok(["register", "alice"])), |signal| daemon.signal(signal));
}

#[test]
fn directoryd_is_ready_when_it_answers_and_alive_while_it_does() {
    let place = std::sync::Arc::new(Place::new().unwrap());
    let manager = Manager::new(&place);
    let options = DirectoryOptions { env: manager.env.clone(), ..DirectoryOptions::default() };
    let directory = Directory::start_with(options.place(&place));
    manager.follow(|| (), |signal| directory.signal(signal));
    // A look leaves no trace in the log.
    assert!(!directory.log_text().contains("healthz"), "{}", directory.log_text());
}
