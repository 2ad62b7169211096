//! sd_notify(3): tells systemd that a daemon answers, is alive, or stops. Does nothing where there is no systemd.
//!
//! Not its job: to find out whether that is so.

use std::time::Duration;

/// So many times in the span that systemd waits for, a daemon looks whether it is alive.
const LOOKS: u32 = 4;

/// What a daemon may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Ready,
    /// It still does.
    Alive,
    /// It ends because it was told to.
    Stopping,
}

/// Says it. Not being heard is a warning in the log, and no reason to stop.
pub fn notify(state: State) {
    if let Err(error) = send(state) {
        tracing::warn!(often = "notify", %error, ?state, "systemd cannot be told how the daemon is");
    }
}

#[cfg(target_os = "linux")]
fn send(state: State) -> std::io::Result<()> {
    use sd_notify::NotifyState;
    sd_notify::notify(&[match state {
        State::Ready => NotifyState::Ready,
        State::Alive => NotifyState::Watchdog,
        State::Stopping => NotifyState::Stopping,
    }])
}

#[cfg(not(target_os = "linux"))]
fn send(_state: State) -> std::io::Result<()> {
    Ok(())
}

/// How often to look whether the daemon is alive, and to say [`State::Alive`] then; `None` if nobody wants to know. A look that
/// takes twice as long is still in time.
pub fn look_every() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    let limit = sd_notify::watchdog_enabled();
    #[cfg(not(target_os = "linux"))]
    let limit: Option<Duration> = None;
    limit.map(|limit| limit / LOOKS).filter(|span| !span.is_zero())
}
