//! A client's end of a session.

use super::*;

/// What a session says to a client that fetches its mail.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Mail(u64, Vec<u8>),
    Frame(ServerFrame),
}

pub struct Session {
    pub socket: WebSocketStream<TcpStream>,
    pub token: String,
    pub counter: u64,
    pub record_seq: u64,
}

impl Session {
    pub async fn send(&mut self, frame: &impl serde::Serialize) {
        self.socket.send(Message::Text(serde_json::to_string(frame).unwrap().into())).await.unwrap();
    }

    /// The next frame that is no ping.
    pub async fn frame(&mut self) -> ServerFrame {
        self.frame_or_end().await.expect("the session ended")
    }

    /// The next frame, or `None` when the directory closed the session.
    pub async fn frame_or_end(&mut self) -> Option<ServerFrame> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.socket.next()).await.expect("no frame came") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_) | Err(_)) | None => return None,
            }
        }
    }

    /// The next frame or mail that is no ping.
    pub async fn said(&mut self) -> Option<Said> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match timeout_at(deadline, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => return Some(Said::Frame(serde_json::from_str(&text).unwrap())),
                Some(Ok(Message::Binary(bytes))) => {
                    let (number, envelope) = decode_push(&bytes).unwrap();
                    return Some(Said::Mail(number, envelope.to_vec()));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(_) | Err(_)) | None => return None,
            }
        }
    }

    /// The next thing said, which is mail.
    pub async fn mail(&mut self) -> (u64, Vec<u8>) {
        match self.said().await {
            Some(Said::Mail(number, envelope)) => (number, envelope),
            other => panic!("{other:?}"),
        }
    }

    /// Asks for the mailbox, and takes what comes until `drained`.
    pub async fn drain(&mut self) -> (Vec<(u64, Vec<u8>)>, u64) {
        self.send(&ClientFrame::Mailbox).await;
        let mut mail = Vec::new();
        loop {
            match self.said().await {
                Some(Said::Mail(number, envelope)) => mail.push((number, envelope)),
                Some(Said::Frame(ServerFrame::Drained { upto })) => return (mail, upto),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends a deletion signed by `who`.
    pub async fn send_delete(&mut self, who: &Person, numbers: &[u64]) {
        let signature = Base64(who.device.sign(&delete_message(ORIGIN, numbers)).to_bytes().to_vec());
        self.send(&ClientFrame::Delete { numbers: numbers.to_vec(), signature }).await;
    }

    /// The same, with a directory that may be dead.
    pub async fn try_delete(&mut self, who: &Person, numbers: &[u64]) {
        let signature = Base64(who.device.sign(&delete_message(ORIGIN, numbers)).to_bytes().to_vec());
        let frame = ClientFrame::Delete { numbers: numbers.to_vec(), signature };
        let _ = self.socket.send(Message::Text(serde_json::to_string(&frame).unwrap().into())).await;
    }

    /// Like [`Session::drain`], for more than a window of mail: deletes what comes.
    pub async fn drain_all(&mut self, who: &Person) -> (Vec<(u64, Vec<u8>)>, u64) {
        self.send(&ClientFrame::Mailbox).await;
        let mut mail = Vec::new();
        loop {
            match self.said().await {
                Some(Said::Mail(number, envelope)) => {
                    mail.push((number, envelope));
                    self.send_delete(who, &[number]).await;
                }
                Some(Said::Frame(ServerFrame::Deleted { .. })) => {}
                Some(Said::Frame(ServerFrame::Drained { upto })) => return (mail, upto),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Deletes, and waits until it is durable; nothing else may be said meanwhile.
    pub async fn delete(&mut self, who: &Person, numbers: &[u64]) {
        self.send_delete(who, numbers).await;
        assert_eq!(self.frame().await, ServerFrame::Deleted { numbers: numbers.to_vec() });
    }

    /// Deletes, and takes what the room brings: these numbers, in this order, and the answer somewhere among them.
    pub async fn delete_and_take(&mut self, who: &Person, numbers: &[u64], expected: &[u64]) {
        self.send_delete(who, numbers).await;
        let (mut mail, mut deleted) = (Vec::new(), false);
        while mail.len() < expected.len() || !deleted {
            match self.said().await {
                Some(Said::Mail(number, _)) => mail.push(number),
                Some(Said::Frame(ServerFrame::Deleted { .. })) => deleted = true,
                Some(Said::Frame(ServerFrame::Drained { .. })) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(mail, expected);
    }

    pub async fn presence(&mut self) -> (AccountId, bool) {
        match self.frame().await {
            ServerFrame::Presence { account, online, .. } => (account, online),
            other => panic!("{other:?}"),
        }
    }

    pub async fn give_token(&mut self, token: &[u8; 32]) {
        let add = vec![proto::ids::hex(&token_hash(token))];
        self.send(&ClientFrame::Tokens { add, remove: vec![] }).await;
        assert!(matches!(self.frame().await, ServerFrame::TokensStored { .. }));
    }

    pub async fn revoke_token(&mut self, token: &[u8; 32]) {
        let remove = vec![proto::ids::hex(&token_hash(token))];
        self.send(&ClientFrame::Tokens { add: vec![], remove }).await;
        assert!(matches!(self.frame().await, ServerFrame::TokensStored { .. }));
    }

    /// See [`Directory::session_that_never_reads`].
    pub(super) async fn ask_until_nothing_is_taken(&mut self) {
        let watch = |n: usize| Watch { account: AccountId([n as u8; 16]), token: Base64(vec![0; 32]) };
        let frame = ClientFrame::Watch { accounts: (0..MAX_FRAME_ENTRIES).map(watch).collect() };
        let text = serde_json::to_string(&frame).unwrap();
        let sent = async |socket: &mut WebSocketStream<TcpStream>| {
            let one = socket.send(Message::Text(text.clone().into()));
            matches!(timeout(Duration::from_millis(500), one).await, Ok(Ok(())))
        };
        while sent(&mut self.socket).await {}
    }

    pub async fn watch(&mut self, account: AccountId, token: &[u8; 32]) {
        let watch = Watch { account, token: Base64(token.to_vec()) };
        self.send(&ClientFrame::Watch { accounts: vec![watch] }).await;
    }
}
