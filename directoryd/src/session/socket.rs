//! Sending to a client, with a limit on how long it may take.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use proto::directory::api::ServerFrame;
use tokio::time::timeout;

/// For the client to take a frame.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a session ends, unless its client has closed it.
pub type Ended = Result<(), &'static str>;

/// See the module.
pub struct Socket {
    /// To receive from.
    pub socket: WebSocket,
}

impl Socket {
    pub async fn send(&mut self, frame: &ServerFrame) -> Ended {
        let text = serde_json::to_string(frame).map_err(|_| "a frame that has no JSON")?;
        self.message(Message::Text(text.into())).await
    }

    pub async fn binary(&mut self, bytes: Vec<u8>) -> Ended {
        self.message(Message::Binary(bytes.into())).await
    }

    pub async fn ping(&mut self) -> Ended {
        self.message(Message::Ping(axum::body::Bytes::new())).await
    }

    pub async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = self.message(Message::Close(Some(frame))).await;
    }

    async fn message(&mut self, message: Message) -> Ended {
        match timeout(SEND_TIMEOUT, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("the connection broke"),
            Err(_) => Err("too slow to take a frame"),
        }
    }
}
