//! Connections: accepted up to a cap, each served by its own task, slow ones dropped.
//!
//! Written out because `axum::serve` has no limits: a head must be complete within `HEAD_TIMEOUT` (which also ends
//! idle connections), a request answered within `REQUEST_TIMEOUT`, its answer taken (the `memory` module), and nobody
//! holds more connections than allowed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use daemonkit::chain::chain;
use hyper::body::{Body, Incoming};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use proto::directory::api::{ErrorCode, MAX_BODY_BYTES, MAX_DEPOSIT_BYTES};
use proto::directory::groups::MAX_APPEND_BYTES;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;

use super::answer::{Operation, Refusal};
use super::front::Front;
use super::limits::{Class, Peer, Source};
use super::memory::{Answer, Hold, MAX_HELD_BYTES};
use crate::metrics::Op;
use crate::tls::{HandshakeError, Metered, Tls};

/// For a request's head to arrive, counted from the end of the answer before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a request's body to arrive and its answer to be ready.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of what hyper reads ahead.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Between two tries when the system has no file descriptor left: long enough for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Between two rounds that forget who asked long ago.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// Accepts until the directory is told to stop; `router` answers what is admitted.
pub async fn accept(front: &Arc<Front>, tls: Option<&Arc<Tls>>, router: Router, listener: TcpListener) {
    let connections = Arc::new(Connections::default());
    let mut forget = tokio::time::interval(FORGET_EVERY);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = forget.tick() => {
                front.limiter.get().forget();
                continue;
            }
            () = front.stop.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(often = "accept", %error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(counted) = connections.enter(front, address.ip()) else {
            front.metrics.connections_refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (front, tls, router) = (Arc::clone(front), tls.cloned(), router.clone());
        let tasks = front.tasks.clone();
        tasks.spawn(async move {
            let Some(tls) = tls else {
                return serve(&front, false, router, prepared(&front, stream), address, counted).await;
            };
            if let Some(stream) = handshake(&front, &tls, stream, address).await {
                serve(&front, true, router, stream, address, counted).await;
            }
        });
    }
}

/// A connection that is given up when what is written to it is not taken.
type Timed = Pin<Box<TimeoutStream<TcpStream>>>;

fn prepared(front: &Front, stream: TcpStream) -> Timed {
    // Answers are small and are written whole: waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(front.live.get().timing.write));
    Box::pin(stream)
}

/// TLS for a connection, if its client may have one more and is quick. It counts as a request: it costs more than most.
async fn handshake(
    front: &Front,
    tls: &Tls,
    stream: TcpStream,
    address: SocketAddr,
) -> Option<TlsStream<Metered<Timed>>> {
    let ip = address.ip().to_canonical();
    let exempt = front.gate.get().is_proxy(ip) || (ip.is_loopback() && !front.live.get().limit_loopback);
    let allowed = front.limiter.get().check(Source::Address(ip), Peer { address: ip, exempt }, Class::Request);
    let done = match allowed {
        Ok(()) => tokio::select! {
            done = tls.accept(prepared(front, stream)) => match done {
                Err(HandshakeError::Silent) => return None,
                done => done.map_err(|error| chain(&error)),
            },
            () = front.stop.cancelled() => return None,
        },
        Err(_) => Err("too many requests".to_owned()),
    };
    match done {
        Ok(stream) => Some(stream),
        Err(error) => {
            front.metrics.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%address, error, "no handshake");
            None
        }
    }
}

/// Answers requests until the connection ends. `private`: nobody else can read along.
async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    front: &Front,
    private: bool,
    router: Router,
    stream: S,
    address: SocketAddr,
    counted: Connection,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        let peer = front.gate.get().peer(address.ip(), request.headers());
        request.extensions_mut().insert(peer);
        // A session takes it along, and the connection is counted until that ends.
        request.extensions_mut().insert(counted.clone());
        let admitted = admit(front, private || is_near(front, address.ip()), peer, &request);
        let router = router.clone();
        async move {
            let answer = async {
                let (response, _body) = match admitted {
                    Ok(hold) => (router.call(request).await.unwrap_or_else(|never| match never {}), Some(hold)),
                    Err(refusal) => {
                        let operation = Operation::new(Op::Other, peer.address, "", &front.metrics);
                        (operation.finish::<()>(Err(refusal)), None)
                    }
                };
                held(front, peer, response).await
            };
            let too_long = || {
                Refusal::new(
                    ErrorCode::Unavailable,
                    format!("the request took more than {} s", REQUEST_TIMEOUT.as_secs()),
                )
            };
            match timeout(REQUEST_TIMEOUT, answer).await {
                Ok(response) => response,
                Err(_) => held(front, peer, too_long().into_response()).await,
            }
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD_BYTES);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = front.stop.cancelled() => {
            // The request that is being answered is still answered.
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "connection ended");
    }
}

/// Whether plain HTTP from an address goes over no network, or over one that the operator answers for.
fn is_near(front: &Front, address: IpAddr) -> bool {
    address.to_canonical().is_loopback() || front.gate.get().is_proxy(address)
}

/// What is asked of every request before it is looked at; the room that its body takes.
fn admit(front: &Front, private: bool, peer: Peer, request: &Request<Incoming>) -> Result<Hold, Refusal> {
    if !private {
        return Err(Refusal::new(
            ErrorCode::NotAllowed,
            "this directory takes plain HTTP of its proxies alone; ask by https, which they end",
        ));
    }
    front.gate.get().admit(request.uri(), request.headers())?;
    let one_more = front.limiter.get().check(Source::Address(peer.address), peer, Class::Request);
    one_more.map_err(Refusal::rate_limited)?;
    let announced = request.body().size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
    let most = MAX_DEPOSIT_BYTES.max(MAX_BODY_BYTES).max(MAX_APPEND_BYTES);
    front.memory.hold(peer, announced.unwrap_or(most).min(most)).ok_or_else(no_room)
}

/// An answer that counts as held until its client has taken it.
async fn held(front: &Front, peer: Peer, response: Response) -> Result<Response<Answer>, Infallible> {
    let (head, body) = response.into_parts();
    // All of it is there already: no route answers in parts.
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    if let Some(hold) = front.memory.hold(peer, body.len()) {
        return Ok(Response::from_parts(head, Answer::new(body, hold)));
    }
    let (head, body) = no_room().into_response().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    // Some hundred bytes for each connection, whose number is bounded.
    Ok(Response::from_parts(head, Answer::unheld(body)))
}

fn no_room() -> Refusal {
    let most = MAX_HELD_BYTES >> 20;
    let text = format!(
        "more than {most} MiB of answers, or a client's share of that, wait to be taken; try again in a moment"
    );
    Refusal::new(ErrorCode::Unavailable, text)
}

/// How many connections each address holds.
#[derive(Debug, Default)]
struct Connections {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

impl Connections {
    /// Counts a connection in, if there may be one more.
    fn enter(self: &Arc<Self>, front: &Arc<Front>, address: IpAddr) -> Option<Connection> {
        let config = front.live.get();
        let open = &front.metrics.connections;
        if open.load(Ordering::Relaxed) >= config.max_connections {
            return None;
        }
        let mut map = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = map.entry(address).or_insert(0);
        // All clients of a proxy come from one address.
        let exempt = front.gate.get().is_proxy(address) || (address.is_loopback() && !config.limit_loopback);
        if !exempt && *count >= config.max_connections_per_address {
            return None;
        }
        *count += 1;
        open.fetch_add(1, Ordering::Relaxed);
        let guard = Guard { connections: Arc::clone(self), front: Arc::clone(front), address };
        Some(Connection { _guard: Arc::new(guard) })
    }
}

/// One TCP connection, counted until the last clone is gone.
#[derive(Debug, Clone)]
pub struct Connection {
    _guard: Arc<Guard>,
}

/// Counts a connection out.
#[derive(Debug)]
struct Guard {
    connections: Arc<Connections>,
    front: Arc<Front>,
    address: IpAddr,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.front.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        let mut map = self.connections.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                map.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn plain_http_is_for_this_machine_and_for_proxies() {
        let config = Config { proxies: vec!["10.0.0.0/8".into()], ..Config::default() };
        let front = Front::new(&config, Arc::default(), tokio_util::sync::CancellationToken::new()).unwrap();
        for (address, near) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("192.0.2.1", false),
            ("192.168.0.1", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_near(&front, address.parse().unwrap()), near, "{address}");
        }
    }
}
