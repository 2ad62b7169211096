//! From a QUIC connection to a link: one bidirectional stream, opened by the dialler, and a hello in each direction.

use std::io;
use std::time::Duration;

use iroh::endpoint::{Connection, SendStream, VarInt};
use proto::ids::NodeId;
use proto::time::Timestamp;
use proto::wire::frame::Frame;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caps::Slot;
use super::config::{DRAIN, SEND_QUEUE_FRAMES};
use super::error::{CloseCode, CloseReason, LinkError};
use super::halves::Source;
use super::reader::{Broken, FrameReader, Pace};
use super::shared::{Carrier, Shared};
use super::writer::Writer;
use super::{EXPORTER_LABEL, Link, LinkCaps, LinkReceiver, LinkSender};

/// Link versions spoken here, best first.
pub(super) const VERSIONS: [u8; 1] = [proto::wire::VERSION];

/// What every link of a node is made with.
#[derive(Debug, Clone)]
pub(super) struct Handshaker {
    pub(super) pace: Pace,
    pub(super) write_stall: Duration,
    pub(super) unauthenticated_for: Duration,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Handshaker {
    pub(super) fn new(caps: &LinkCaps) -> Self {
        Self {
            pace: Pace { grace: caps.mid_frame_grace, bytes_per_second: caps.min_mid_frame_bytes_per_second },
            write_stall: caps.write_stall,
            unauthenticated_for: caps.unauthenticated_for,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        }
    }

    /// Makes a link of a connection. On failure the peer was told why and the connection is closed.
    ///
    /// # Errors
    /// Whatever the peer did instead of a hello.
    pub(super) async fn link(
        &self,
        connection: Connection,
        dialed: bool,
        slot: Option<Slot>,
    ) -> Result<Link, LinkError> {
        let lost = |error| LinkError::from_end(CloseReason::from(error));
        let (mut send, recv) =
            if dialed { connection.open_bi().await } else { connection.accept_bi().await }.map_err(lost)?;
        if recv.is_0rtt() {
            connection.close(VarInt::from_u32(CloseCode::Malformed.to_wire()), b"early data is not taken");
            return Err(LinkError::Protocol("early data is not taken"));
        }
        let hello = Frame::Hello { versions: VERSIONS.to_vec(), unix_time: Timestamp::now().unix_seconds() };
        send.write_chunk(hello.encode().into()).await.map_err(|_| end_of(&connection))?;

        let mut reader = FrameReader::new(recv, self.pace);
        let (version, peer_time_offset) = match hello_of(&mut reader, &connection).await {
            Ok(hello) => hello,
            Err(error) => {
                refuse(&connection, &mut send, &error).await;
                return Err(error);
            }
        };
        let mut exporter = [0; 32];
        if connection.export_keying_material(&mut exporter, EXPORTER_LABEL, b"").is_err() {
            connection.close(VarInt::from_u32(CloseCode::Unavailable.to_wire()), b"no exporter");
            return Err(LinkError::Protocol("the TLS session has no exporter"));
        }

        let (queue, queued) = mpsc::channel(SEND_QUEUE_FRAMES);
        let shared = Shared::new(Carrier::Quic(connection.weak_handle()), slot);
        let link = Link {
            id: shared.id,
            peer: NodeId(*connection.remote_id().as_bytes()),
            dialed,
            version,
            exporter,
            peer_time_offset,
            sender: LinkSender::new(queue, shared.clone(), None),
            receiver: LinkReceiver::new(Source::Quic(Box::new(reader)), shared.clone()),
        };
        let writer = Writer {
            shared,
            connection,
            stream: send,
            queue: queued,
            shutdown: self.shutdown.clone(),
            write_stall: self.write_stall,
            unauthenticated_for: self.unauthenticated_for,
        };
        self.tasks.spawn(writer.run());
        Ok(link)
    }
}

/// The peer's hello: the agreed version, and how many seconds its clock is ahead.
async fn hello_of<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut FrameReader<R>,
    connection: &Connection,
) -> Result<(u8, i64), LinkError> {
    match reader.next().await {
        Ok(Some(Frame::Hello { versions, unix_time })) => {
            let offset = unix_time.saturating_sub(Timestamp::now().unix_seconds());
            match VERSIONS.into_iter().find(|version| versions.contains(version)) {
                Some(version) => Ok((version, offset)),
                None => Err(LinkError::Version { theirs: versions }),
            }
        }
        Ok(Some(Frame::Refuse { code, .. })) => Err(LinkError::Refused(code)),
        Ok(Some(_)) => Err(LinkError::Protocol("the first frame is no hello")),
        Ok(None) | Err(Broken::Stream) => Err(end_of(connection)),
        Err(Broken::Peer(error)) => Err(error),
    }
}

fn end_of(connection: &Connection) -> LinkError {
    match connection.close_reason() {
        Some(error) => LinkError::from_end(error.into()),
        None => LinkError::Protocol("the stream ended before the hello"),
    }
}

/// Tells the peer what it did, twice: in a frame that it may show, and in the close.
async fn refuse(connection: &Connection, send: &mut SendStream, error: &LinkError) {
    let code = error.close_code();
    let last_word = async {
        if let Some(code) = code.refusal() {
            let frame = Frame::Refuse { code, envelope: None, device: None };
            send.write_chunk(frame.encode().into()).await.map_err(io::Error::from)?;
        }
        send.finish().map_err(io::Error::from)?;
        send.stopped().await.map_err(io::Error::from)
    };
    let _ = timeout(DRAIN, last_word).await;
    connection.close(VarInt::from_u32(code.to_wire()), error.to_string().as_bytes());
}
