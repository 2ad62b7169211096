//! A guest's session with the directory of another domain: it tells who of an account's contacts there is online.
//!
//! It proves nothing but the tokens that those contacts gave. As with a member's session, each begins empty, and says anew whom
//! to watch.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use daemonkit::chain::chain;
use futures_util::StreamExt;
use proto::directory::api::{GuestHello, ServerFrame};
use proto::ids::{AccountId, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::again::{Again, Failure};
use super::connection::{
    AFTER_MOVE, Ended, MOVED, READY_TIMEOUT, Silence, Socket, close, frames, next_frame, send, upgrade,
};
use super::talk::SessionCommand;
use crate::directory::client::DirectoryClient;
use crate::directory::error::told;
use crate::directory::net::Moves;

/// A watch that told nothing is asked again after this, and after twice as long each time: the other side's token may have been on
/// its way.
const UNSURE_PAUSE: Duration = Duration::from_secs(2);
/// Up to so many times the pause.
const UNSURE_PAUSES: u32 = 32;

/// Whom to watch, each with the token that it gave.
pub type Watched = HashMap<AccountId, [u8; 32]>;

/// What a guest is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestEvent {
    /// Of somebody who is watched.
    Presence {
        /// Who.
        account: AccountId,
        /// Whether a device is connected. One that may not be told looks offline.
        online: bool,
    },
    /// The session ended: nothing is known of anybody there any more.
    Down,
}

/// Keeps a session as a guest for as long as there is somebody to watch, until the sender of `watched` is gone or nobody takes the
/// events. `node` is what the contacts there are reached from: it may use their relay.
pub async fn run(
    client: DirectoryClient,
    node: NodeId,
    mut watched: watch::Receiver<Watched>,
    events: mpsc::Sender<GuestEvent>,
) {
    let (mut again, mut moves) = (Again::default(), client.moves());
    loop {
        // Nobody is asked on behalf of nobody.
        if watched.wait_for(|watched| !watched.is_empty()).await.is_err() {
            return;
        }
        let (mut useful, mut stood) = (false, false);
        let opened = moves.clone().cut(AFTER_MOVE, open(&client, node)).await;
        let ended = match opened.unwrap_or_else(|| Err(Ended::new(MOVED))) {
            Ok(mut socket) => {
                stood = true;
                let ended = serve((&mut socket, client.moves()), &mut watched, &events, &mut useful).await;
                close(&mut socket).await;
                ended
            }
            Err(ended) => Err(ended),
        };
        if useful {
            again.begin();
        }
        if events.send(GuestEvent::Down).await.is_err() {
            return;
        }
        let Err(ended) = ended else { continue };
        tracing::debug!(directory = client.url(), reason = ended.reason, "no session as a guest");
        // Where nobody honours our tokens nobody will do so soon, unless we get other ones.
        let why = if !useful && stood { Failure::Refused } else { ended.failure };
        let pause = again.pause(why, Instant::now(), rand::random()).max(ended.wait.unwrap_or_default());
        moves.count();
        tokio::select! {
            () = sleep(pause) => {}
            () = moves.next() => again.begin(),
            changed = watched.changed() => {
                if changed.is_err() {
                    return;
                }
                watched.mark_changed();
            }
            () = events.closed() => return,
        }
    }
}

async fn open(client: &DirectoryClient, node: NodeId) -> Result<Socket, Ended> {
    let mut socket = upgrade(client).await?;
    send(&mut socket, serde_json::to_string(&GuestHello { guest: true, node: Some(node) }).map_err(Ended::new)?)
        .await?;
    match timeout(READY_TIMEOUT, next_frame(&mut socket)).await.map_err(Ended::new)?? {
        ServerFrame::Welcome { relay, .. } => {
            client.offered(socket.get_ref(), relay);
            Ok(socket)
        }
        ServerFrame::Error { code, message } => Err(Ended { code: Some(code), ..Ended::new(told(&message)) }),
        _ => Err(Ended::new("the directory does not welcome guests")),
    }
}

/// Until nobody is watched any more, or it ends otherwise.
async fn serve(
    (socket, mut moves): (&mut Socket, Moves),
    watched: &mut watch::Receiver<Watched>,
    events: &mpsc::Sender<GuestEvent>,
    useful: &mut bool,
) -> Result<(), Ended> {
    let (mut known, mut unsure, mut silent) = (Watched::new(), HashMap::<AccountId, u32>::new(), Silence::new());
    let mut again = tokio::time::interval(UNSURE_PAUSE);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    watched.mark_changed();
    loop {
        tokio::select! {
            _ = again.tick(), if !unsure.is_empty() => {
                unsure.retain(|who, pauses| { *pauses += 1; *pauses <= UNSURE_PAUSES && known.contains_key(who) });
                let due = unsure.iter().filter(|(_, pauses)| pauses.is_power_of_two());
                let due: Vec<_> = due.filter_map(|(who, _)| Some((*who, *known.get(who)?))).collect();
                if !due.is_empty() {
                    say(socket, SessionCommand::Watch(due)).await?;
                }
            }
            changed = watched.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let wanted = watched.borrow_and_update().clone();
                if wanted.is_empty() {
                    return Ok(());
                }
                for command in difference(&known, &wanted) {
                    say(socket, command).await?;
                }
                known = wanted;
            }
            frame = socket.next() => {
                silent = Silence::new();
                match frame {
                    Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                        Ok(ServerFrame::Presence { account, online, since }) if known.contains_key(&account) => {
                            // Who is not known there, or honours no token yet, looks so.
                            if online || since.is_some() {
                                *useful = true;
                                unsure.remove(&account);
                            } else {
                                unsure.entry(account).or_insert(0);
                            }
                            let event = GuestEvent::Presence { account, online };
                            events.send(event).await.map_err(|_| Ended::new("nobody wants to know"))?;
                        }
                        Ok(ServerFrame::Error { message, .. }) => {
                            tracing::debug!(message = told(&message), "a guest was refused something");
                        }
                        // Newer than this program, of somebody else, or out of place.
                        _ => {}
                    },
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(_)) | None => return Err(Ended::new("the directory closed the session")),
                    Some(Err(error)) => return Err(Ended::new(chain(&error))),
                }
            }
            () = moves.next() => silent.ask(socket).await?,
            () = sleep_until(silent.until) => return Err(Ended::new(silent.why)),
            () = events.closed() => return Ok(()),
        }
    }
}

async fn say(socket: &mut Socket, command: SessionCommand) -> Result<(), Ended> {
    for frame in frames(command) {
        send(socket, serde_json::to_string(&frame).map_err(Ended::new)?).await?;
    }
    Ok(())
}

fn difference(known: &Watched, wanted: &Watched) -> Vec<SessionCommand> {
    let gone: Vec<AccountId> = known.keys().filter(|who| !wanted.contains_key(*who)).copied().collect();
    let new = wanted.iter().filter(|(who, token)| known.get(*who) != Some(*token));
    let new: Vec<_> = new.map(|(who, token)| (*who, *token)).collect();
    let unwatch = (!gone.is_empty()).then_some(SessionCommand::Unwatch(gone));
    unwatch.into_iter().chain((!new.is_empty()).then_some(SessionCommand::Watch(new))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_said() {
        let who = |n: u8| (AccountId([n; 16]), [n; 32]);
        let (one, two, three) = (who(1), who(2), who(3));
        let known = Watched::from([one, two]);
        assert_eq!(difference(&known, &known), []);
        let wanted = Watched::from([two, three]);
        let said = [SessionCommand::Unwatch(vec![one.0]), SessionCommand::Watch(vec![three])];
        assert_eq!(difference(&known, &wanted), said);
        let again = Watched::from([(one.0, [9; 32]), two]);
        assert_eq!(difference(&known, &again), [SessionCommand::Watch(vec![(one.0, [9; 32])])], "another token");
    }
}
