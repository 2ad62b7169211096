//! The peer table: which links are open to which node. One task owns it; everybody else asks.
//!
//! Its job: one dial per node and address, however many ask; handing every new link (dialled, accepted or in process) to
//! whoever runs it. Not its job: when to dial again, or what goes over a link.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proto::ids::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{CloseCode, CloseReason, Link, LinkError, LinkSender, Neighbours, Node, Relay, in_process_pair};

/// Questions that wait for the table at most; askers wait for room.
const QUEUE: usize = 256;

/// Dials to one node at a time at most: as many as begin, one every [`AGAIN`], while the first goes on. Those from before a move do not
/// count, up to as many again.
const MAX_DIALS: usize = 5;
/// First packets are repeated at ever longer intervals, and who is back a moment after one would wait for the next. So whoever goes on
/// asking for a node gets another dial beside one that is older than this: something goes out to it every 1.5 s.
pub const AGAIN: Duration = Duration::from_millis(2_400);
/// None is begun for that while so many are under way.
const MANY_DIALS: usize = 64;

/// How a node may be reached.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Directly.
    pub addresses: Vec<SocketAddr>,
    /// Through a relay.
    pub relay: Option<Relay>,
}

type Answer = oneshot::Sender<Result<LinkSender, LinkError>>;

enum Ask {
    Get { peer: NodeId, way: Way, answer: Answer },
    Open { peer: NodeId, answer: oneshot::Sender<Option<LinkSender>> },
    Dialed { peer: NodeId, result: Result<Link, LinkError> },
    Ended { peer: NodeId, link: u64 },
    Moved,
}

/// A handle to the table; cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerTable {
    asks: mpsc::Sender<Ask>,
    open: Arc<AtomicU64>,
    neighbours: Neighbours,
}

impl PeerTable {
    /// Starts the table's task. Every link of the node comes out of `links`; the task ends when `incoming` and all handles
    /// are gone.
    pub fn spawn(node: Node, incoming: mpsc::Receiver<Link>, links: mpsc::Sender<Link>) -> Self {
        let (asks, queue) = mpsc::channel(QUEUE);
        let open = Arc::new(AtomicU64::new(0));
        let neighbours = node.neighbours().clone();
        let (open_links, peers) = (Arc::clone(&open), HashMap::new());
        let table = Table { node, links, asks: asks.clone(), open: open_links, peers, dialing: 0 };
        tokio::spawn(table.run(queue, incoming));
        Self { asks, open, neighbours }
    }

    /// A live link to a node: an open one, else one that is dialled now this way.
    ///
    /// # Errors
    /// Those of the dial.
    pub async fn get(&self, peer: NodeId, way: Way) -> Result<LinkSender, LinkError> {
        let (answer, result) = oneshot::channel();
        let gone = || LinkError::Closed(CloseReason::local(CloseCode::ShuttingDown, "the node stops"));
        self.asks.send(Ask::Get { peer, way, answer }).await.map_err(|_| gone())?;
        result.await.unwrap_or_else(|_| Err(gone()))
    }

    /// An open link to a node, if there is one: nobody is dialled.
    pub async fn open(&self, peer: NodeId) -> Option<LinkSender> {
        let (answer, open) = oneshot::channel();
        self.asks.send(Ask::Open { peer, answer }).await.ok()?;
        open.await.ok().flatten()
    }

    /// The network is another one: dials that are under way may lead nowhere, and whoever asks gets one beside them.
    pub async fn moved(&self) {
        let _ = self.asks.send(Ask::Moved).await;
    }

    /// Whether a node says on the local network where it is: it is looked for there beside all ways.
    pub fn is_near(&self, node: NodeId) -> bool {
        self.neighbours.is_near(node)
    }

    /// Open links.
    pub fn open_links(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

struct Table {
    node: Node,
    links: mpsc::Sender<Link>,
    asks: mpsc::Sender<Ask>,
    open: Arc<AtomicU64>,
    peers: HashMap<NodeId, Peer>,
    /// Dials under way, to all of them.
    dialing: usize,
}

#[derive(Default)]
struct Peer {
    /// Newest last. Both sides may have dialled at once; frames may come on any.
    links: Vec<LinkSender>,
    /// Dials under way, those of them that began before the last move, and when the last one began.
    dialing: usize,
    outdated: usize,
    dialed_at: Option<Instant>,
    /// Where they go; a newer address is tried at once, beside an older one that may be dead.
    targets: Vec<SocketAddr>,
    relays: Vec<Relay>,
    waiting: Vec<Answer>,
}

impl Peer {
    /// Whether one more dial may begin.
    fn has_room(&self) -> bool {
        self.dialing.saturating_sub(self.outdated.min(MAX_DIALS)) < MAX_DIALS
    }

    /// The newest that is open.
    fn link(&self) -> Option<&LinkSender> {
        self.links.iter().rev().find(|sender| !sender.is_closed())
    }
}

impl Table {
    async fn run(mut self, mut queue: mpsc::Receiver<Ask>, mut incoming: mpsc::Receiver<Link>) {
        loop {
            tokio::select! {
                ask = queue.recv() => match ask {
                    Some(ask) => self.ask(ask).await,
                    None => break,
                },
                link = incoming.recv() => match link {
                    Some(link) => self.admit(link).await,
                    None => break,
                },
            }
        }
    }

    async fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Get { peer, way, answer } => self.get(peer, way, answer).await,
            Ask::Open { peer, answer } => {
                let _ = answer.send(self.peers.get(&peer).and_then(Peer::link).cloned());
            }
            Ask::Dialed { peer, result } => {
                self.dialing = self.dialing.saturating_sub(1);
                let waiting = {
                    let entry = self.peers.entry(peer).or_default();
                    entry.dialing = entry.dialing.saturating_sub(1);
                    // Mostly those end first.
                    entry.outdated = entry.outdated.saturating_sub(1);
                    if entry.dialing > 0 && result.is_err() {
                        return;
                    }
                    entry.targets.clear();
                    entry.relays.clear();
                    std::mem::take(&mut entry.waiting)
                };
                match result {
                    Ok(link) => {
                        let sender = link.sender.clone();
                        self.admit(link).await;
                        for answer in waiting {
                            let _ = answer.send(Ok(sender.clone()));
                        }
                    }
                    Err(error) => {
                        // One error for many who asked: each gets its words.
                        let text = error.to_string();
                        for answer in waiting {
                            let _ = answer.send(Err(LinkError::Unreached(text.clone())));
                        }
                        self.forget_if_empty(peer);
                    }
                }
            }
            Ask::Ended { peer, link } => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.links.retain(|sender| sender.link_id() != link);
                }
                self.open.fetch_sub(1, Ordering::Relaxed);
                self.forget_if_empty(peer);
            }
            Ask::Moved => {
                for peer in self.peers.values_mut() {
                    peer.targets.clear();
                    peer.relays.clear();
                    (peer.outdated, peer.dialed_at) = (peer.dialing, None);
                }
            }
        }
    }

    async fn get(&mut self, peer: NodeId, mut way: Way, answer: Answer) {
        let entry = self.peers.entry(peer).or_default();
        if let Some(sender) = entry.link() {
            let _ = answer.send(Ok(sender.clone()));
            return;
        }
        if peer == self.node.node_id() {
            let (near, far) = in_process_pair(peer);
            let _ = answer.send(Ok(near.sender.clone()));
            self.admit(near).await;
            // The far end only answers on its own link; it is not offered for sending.
            self.hand_out(far).await;
            return;
        }
        entry.waiting.retain(|answer| !answer.is_closed());
        entry.waiting.push(answer);
        // First: what a neighbour says of itself is newer than what anybody remembers of it.
        let near = self.node.neighbours().addresses(peer);
        way.addresses.retain(|address| !near.contains(address));
        way.addresses.splice(..0, near);
        let new = way.addresses.iter().any(|address| !entry.targets.contains(address))
            || way.relay.iter().any(|relay| !entry.relays.contains(relay));
        let again = self.dialing < MANY_DIALS && entry.dialed_at.is_none_or(|at| at.elapsed() >= AGAIN);
        if entry.dialing == 0 || ((new || again) && entry.has_room()) {
            entry.dialing += 1;
            entry.dialed_at = Some(Instant::now());
            self.dialing += 1;
            entry.targets.extend(&way.addresses);
            entry.relays.extend(way.relay.clone());
            let (node, asks) = (self.node.clone(), self.asks.clone());
            tokio::spawn(async move {
                let result = node.dial_by(peer, &way.addresses, way.relay.as_ref()).await;
                let _ = asks.send(Ask::Dialed { peer, result }).await;
            });
        }
    }

    /// Registers a link and hands it out.
    async fn admit(&mut self, link: Link) {
        let (peer, sender) = (link.peer, link.sender.clone());
        self.peers.entry(peer).or_default().links.push(sender.clone());
        self.open.fetch_add(1, Ordering::Relaxed);
        let (asks, id) = (self.asks.clone(), link.id);
        tokio::spawn(async move {
            sender.closed().await;
            let _ = asks.send(Ask::Ended { peer, link: id }).await;
        });
        self.hand_out(link).await;
    }

    async fn hand_out(&self, link: Link) {
        // Whoever runs links is gone only when the daemon stops; the link ends with the dropped value.
        let _ = self.links.send(link).await;
    }

    fn forget_if_empty(&mut self, peer: NodeId) {
        if self.peers.get(&peer).is_some_and(|p| p.links.is_empty() && p.dialing == 0 && p.waiting.is_empty()) {
            self.peers.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dials_from_before_a_move_keep_no_place_and_all_together_are_bounded() {
        let (mut peer, mut begun) = (Peer::default(), Vec::new());
        for _ in 0..4 {
            let mut now = 0;
            while peer.has_room() {
                peer.dialing += 1;
                now += 1;
            }
            begun.push(now);
            peer.outdated = peer.dialing;
        }
        assert_eq!(begun, [MAX_DIALS, MAX_DIALS, 0, 0], "however often the network is another one");
    }
}
