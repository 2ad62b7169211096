//! A machine that stands in front of a directory and hands on what comes: one of several that the DNS names, and that may die.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

#[derive(Debug, Default)]
struct Shared {
    /// Connections are taken, and nothing is handed on.
    stalled: AtomicBool,
    stop: AtomicBool,
    taken: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

/// See the module. Its threads end with it.
#[derive(Debug)]
pub struct Forward {
    shared: Arc<Shared>,
    port: u16,
}

impl Forward {
    /// On any port, to `host:port`.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(to: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (port, shared) = (listener.local_addr()?.port(), Arc::new(Shared::default()));
        let (serving, to) = (Arc::clone(&shared), to.to_owned());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                serving.taken.fetch_add(1, Ordering::SeqCst);
                let _ = serving.forward(stream, &to);
            }
        });
        Ok(Self { shared, port })
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections that it took.
    pub fn taken(&self) -> usize {
        self.shared.taken.load(Ordering::SeqCst)
    }

    /// Hands nothing on any more, of what comes and what stands, and closes nothing: as a machine whose cable was pulled out.
    pub fn stall(&self) {
        self.shared.stalled.store(true, Ordering::SeqCst);
    }

    /// Dies: what stands ends, and nobody listens any more.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections, which then lets the port go.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in self.shared.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn forward(self: &Arc<Self>, near: TcpStream, to: &str) -> io::Result<()> {
        let far = TcpStream::connect(to)?;
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
            self.open.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                let _ = shared.copy(from, &to);
                if !shared.stalled.load(Ordering::SeqCst) {
                    let _ = to.shutdown(Shutdown::Both);
                }
            });
        }
        Ok(())
    }

    fn copy(&self, mut from: TcpStream, mut to: &TcpStream) -> io::Result<()> {
        use std::io::{Read, Write};
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            if !self.stalled.load(Ordering::SeqCst) {
                to.write_all(&buffer[..read])?;
            }
        }
    }
}
