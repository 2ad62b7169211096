//! Frames out of a byte stream: length checked before anything is reserved, pace enforced within a frame.
//!
//! Invariants: [`FrameReader::next`] may be dropped at any await and called again without losing a byte or resetting
//! the pace; the buffer is small until a large frame comes and small again when the link falls quiet.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use proto::wire::MAX_FRAME_BYTES;
use proto::wire::frame::Frame;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::LinkError;

/// Bytes that a quiet link keeps for reading.
const IDLE_BUFFER_BYTES: usize = 2 << 10;
/// Bytes read at once at most while frames keep coming: two large frames.
const BUSY_BUFFER_BYTES: usize = 160 << 10;
/// A link without a new frame for so long gives its large buffer back.
const QUIET: Duration = Duration::from_secs(1);
/// Bytes of the length prefix.
const PREFIX: usize = 4;

/// What ends the reading.
#[derive(Debug)]
pub(super) enum Broken {
    /// The stream or the connection below is gone; the connection knows why.
    Stream,
    /// The peer misbehaved.
    Peer(LinkError),
}

#[derive(Debug)]
pub(super) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    /// Bytes that the buffer is made for: [`IDLE_BUFFER_BYTES`] or [`BUSY_BUFFER_BYTES`].
    room: usize,
    pace: Pace,
    /// When the frame at the front of the buffer began.
    began: Option<Instant>,
}

/// The slowest that a peer may go on with a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) grace: Duration,
    pub(super) bytes_per_second: u32,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(stream: R, pace: Pace) -> Self {
        Self { stream, buffer: BytesMut::new(), room: IDLE_BUFFER_BYTES, pace, began: None }
    }

    /// The next frame; `None` when the stream ends between two frames.
    pub(super) async fn next(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            let wanted = match self.front()? {
                Front::Frame(frame) => return Ok(Some(frame)),
                Front::Wants(bytes) => bytes,
            };
            let read = if self.buffer.is_empty() { self.first_bytes().await } else { self.more_bytes(wanted).await? };
            match read {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(Broken::Peer(LinkError::Protocol("the stream ended within a frame"))),
                Ok(_) => {}
                Err(_) => return Err(Broken::Stream),
            }
        }
    }

    /// Waits for a frame to begin, however long.
    async fn first_bytes(&mut self) -> io::Result<usize> {
        self.began = None;
        // The buffer is empty: this moves it back to its start, and allocates only for the very first frame.
        self.buffer.reserve(self.room);
        if self.room > IDLE_BUFFER_BYTES {
            let quiet = Instant::now() + QUIET;
            if let Ok(read) = timeout_at(quiet, self.stream.read_buf(&mut self.buffer)).await {
                return read;
            }
            self.room = IDLE_BUFFER_BYTES;
            self.buffer = BytesMut::with_capacity(self.room);
        }
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Waits for more of the frame at the front, as long as the pace allows.
    async fn more_bytes(&mut self, wanted: usize) -> Result<io::Result<usize>, Broken> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let paid = self.buffer.len() as f64 / f64::from(self.pace.bytes_per_second.max(1));
        let deadline = began + self.pace.grace + Duration::from_secs_f64(paid);
        // A frame larger than the idle buffer tells that more of its kind will follow: read several at once.
        if wanted > IDLE_BUFFER_BYTES {
            self.room = BUSY_BUFFER_BYTES;
        }
        if self.buffer.capacity() < wanted {
            self.buffer.reserve(self.room - self.buffer.len());
        }
        // The stream is asked before the clock: bytes that were there while nobody asked are not late.
        timeout_at(deadline, self.stream.read_buf(&mut self.buffer))
            .await
            .map_err(|_| Broken::Peer(LinkError::TooSlow("half a frame, and then too little")))
    }

    /// The frame at the front of the buffer, or how many bytes it takes.
    fn front(&mut self) -> Result<Front, Broken> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(Front::Wants(PREFIX));
        };
        let size = u32::from_be_bytes(*prefix) as usize;
        if size > MAX_FRAME_BYTES {
            return Err(Broken::Peer(LinkError::FrameTooLarge { size }));
        }
        let Some(bytes) = rest.get(..size) else {
            return Ok(Front::Wants(PREFIX + size));
        };
        let frame = Frame::decode(bytes).map_err(|error| Broken::Peer(LinkError::Malformed(error)))?;
        self.buffer.advance(PREFIX + size);
        self.began = None;
        Ok(Front::Frame(frame))
    }
}

enum Front {
    Frame(Frame),
    Wants(usize),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, duplex};

    const PACE: Pace = Pace { grace: Duration::from_millis(60), bytes_per_second: 1_024 };

    fn envelope(number: u64, bytes: usize) -> Frame {
        Frame::Envelope { number, outer: vec![7; bytes] }
    }

    #[tokio::test]
    async fn frames_of_every_size_arrive_however_they_are_cut() {
        let sizes = [0, 1, 100, 2_040, 2_048, 5_000, 65_536, 70_000, 3, 70_000, 70_000, 1];
        let frames: Vec<_> = sizes.iter().enumerate().map(|(n, size)| envelope(n as u64, *size)).collect();
        for cut in [1, 7, 1_452, 1 << 20] {
            let (mut alice, bob) = duplex(4_096);
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            let write = async move {
                for piece in bytes.chunks(cut) {
                    alice.write_all(piece).await.unwrap();
                }
            };
            let read = async {
                let mut reader = FrameReader::new(bob, Pace { grace: Duration::from_secs(9), ..PACE });
                for expected in &frames {
                    assert_eq!(reader.next().await.unwrap().as_ref(), Some(expected));
                }
                assert!(reader.next().await.unwrap().is_none());
            };
            tokio::join!(write, read);
        }
    }

    #[tokio::test]
    async fn an_oversized_length_is_refused_before_it_is_reserved() {
        let (mut alice, bob) = duplex(64);
        alice.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        let mut reader = FrameReader::new(bob, PACE);
        let Err(Broken::Peer(LinkError::FrameTooLarge { size })) = reader.next().await else { panic!("accepted") };
        assert_eq!(size, u32::MAX as usize);
        assert!(reader.buffer.capacity() <= IDLE_BUFFER_BYTES);
    }

    #[tokio::test]
    async fn garbage_and_a_cut_frame_are_the_peers_fault() {
        let (mut alice, bob) = duplex(64);
        alice.write_all(&[0, 0, 0, 3, 0xc1, 0xc1, 0xc1]).await.unwrap();
        assert!(matches!(FrameReader::new(bob, PACE).next().await, Err(Broken::Peer(LinkError::Malformed(_)))));

        let (mut alice, bob) = duplex(64);
        alice.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
        drop(alice);
        assert!(matches!(FrameReader::new(bob, PACE).next().await, Err(Broken::Peer(LinkError::Protocol(_)))));
    }

    #[tokio::test]
    async fn half_a_frame_and_silence_is_too_slow_but_silence_between_frames_is_not() {
        let (mut alice, bob) = duplex(4_096);
        let mut reader = FrameReader::new(bob, PACE);
        let silence = tokio::time::timeout(PACE.grace * 2, reader.next()).await;
        assert!(silence.is_err(), "an idle link is not closed here");

        let bytes = envelope(1, 500).encode();
        alice.write_all(&bytes[..100]).await.unwrap();
        // Dropping and asking again must not give the peer more time.
        let started = Instant::now();
        let broken = loop {
            match tokio::time::timeout(Duration::from_millis(10), reader.next()).await {
                Err(_) => assert!(started.elapsed() < Duration::from_secs(5), "never noticed"),
                Ok(result) => break result,
            }
        };
        assert!(matches!(broken, Err(Broken::Peer(LinkError::TooSlow(_)))));
        // 60 ms of grace, and 100 bytes that paid for 98 ms.
        assert!(started.elapsed() >= Duration::from_millis(140), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn a_buffer_that_grew_is_given_back_when_the_link_is_quiet() {
        let (mut alice, bob) = duplex(1 << 20);
        let mut reader = FrameReader::new(bob, PACE);
        alice.write_all(&envelope(1, 70_000).encode()).await.unwrap();
        assert_eq!(reader.next().await.unwrap(), Some(envelope(1, 70_000)));
        assert!(reader.buffer.capacity() > IDLE_BUFFER_BYTES);
        let quiet = tokio::time::timeout(QUIET + Duration::from_millis(100), reader.next()).await;
        assert!(quiet.is_err());
        assert!(reader.buffer.capacity() <= IDLE_BUFFER_BYTES);
    }
}
