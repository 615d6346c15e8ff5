//! Connecting: to the first server that answers, trying the next when one is slow or refuses.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use h2::client::SendRequest;
use h2::{Ping, PingPong};

use super::tls::Tls;
use super::{Endpoint, Words};

/// How long a server may be silent before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long one attempt waits for TCP. A lost packet is repeated by a new attempt, not by the kernel's longer and longer
/// ones: so a server that was cut off is found within a second of its return.
const TCP: Duration = Duration::from_millis(700);

/// How long one attempt waits for a name's addresses, and for TLS and HTTP/2 on top of TCP.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How much a server may send ahead, on one stream and on all: a page of a list without a wait.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 32 << 20;

/// What is written at once, in bytes; more goes to the kernel as it is.
const AT_ONCE: usize = 1 << 10;

/// A connection of HTTP/2; clones share it. The last one that goes ends it.
#[derive(Clone)]
pub struct Link {
    /// The half of the connection that sends.
    pub send: SendRequest<Bytes>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `HOST:PORT`.
    pub authority: String,
    ping: Arc<Mutex<PingPong>>,
    task: AbortHandle,
}

impl Link {
    /// Whether the other side shows a sign of life within `patience`.
    pub async fn is_alive(&self, patience: Duration) -> bool {
        let mut ping = self.ping.lock().await;
        matches!(timeout(patience, ping.ping(Ping::opaque())).await, Ok(Ok(_)))
    }

    /// End it, and all that is under way on it.
    pub fn close(&self) {
        self.task.abort();
    }
}

/// A connection to one of `endpoints`, the `first`th before the others, and which it is.
///
/// # Errors
/// Why each of them can't be reached, in words.
pub async fn connect(
    endpoints: &[Endpoint],
    first: usize,
    tls: Option<&Tls>,
    words: Words,
) -> Result<(Link, usize), String> {
    let count = endpoints.len();
    let mut attempts = JoinSet::new();
    let mut waiting = (0..count).map(|step| (first + step) % count);
    let mut failures = Vec::new();
    loop {
        let next = waiting.next();
        if let Some(number) = next {
            let (endpoint, tls) = (endpoints[number].clone(), tls.cloned());
            attempts.spawn(async move { attempt(&endpoint, tls, words).await.map(|link| (link, number)) });
        }
        // With nobody left to try, wait for those who were.
        let patience = if next.is_some() { HEAD_START } else { TCP + 2 * HANDSHAKE };
        match timeout(patience, attempts.join_next()).await {
            Ok(Some(Ok(Ok(connected)))) => return Ok(connected),
            Ok(Some(Ok(Err(failure)))) => failures.push(failure),
            Ok(Some(Err(error))) => failures.push(error.to_string()),
            Ok(None) => return Err(failures.join("; ")),
            Err(_) => {}
        }
    }
}

async fn attempt(endpoint: &Endpoint, tls: Option<Tls>, words: Words) -> Result<Link, String> {
    let told = |error: io::Error| format!("{endpoint}: {error}");
    let stream = dial(endpoint).await?;
    stream.set_nodelay(true).map_err(told)?;
    let shaken = async {
        match tls.filter(|_| endpoint.tls) {
            None => shake(endpoint, stream).await,
            Some(tls) => {
                let stream = tls.connect(&endpoint.host, stream).await;
                shake(endpoint, stream.map_err(|error| format!("{endpoint}: {}", explained(&error, words)))?)
                    .await
            }
        }
    };
    timeout(HANDSHAKE, shaken)
        .await
        .unwrap_or_else(|_| Err(format!("{endpoint}: it took the connection but says nothing")))
}

/// TCP to one of the addresses that a name has.
async fn dial(endpoint: &Endpoint) -> Result<TcpStream, String> {
    let addresses = timeout(HANDSHAKE, lookup_host((endpoint.host.as_str(), endpoint.port))).await;
    let addresses = match addresses {
        Ok(found) => found.map_err(|error| format!("{endpoint}: {error}"))?,
        Err(_) => {
            return Err(format!("{endpoint}: no address for this name within {} s", HANDSHAKE.as_secs()));
        }
    };
    let mut failure = format!("{endpoint}: the name has no address");
    for address in addresses {
        match timeout(TCP, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = format!("{endpoint}: {error}"),
            Err(_) => failure = format!("{endpoint}: no answer within {} ms", TCP.as_millis()),
        }
    }
    Err(failure)
}

/// HTTP/2 on a stream, driven by a task until the last [`Link`] is gone.
async fn shake<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    endpoint: &Endpoint,
    stream: S,
) -> Result<Link, String> {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_push(false);
    // What begins the connection waits for the first call, and goes with it: nobody answers before.
    let shaken = builder.handshake::<_, Bytes>(BufWriter::with_capacity(AT_ONCE, stream)).await;
    let (send, mut connection) = shaken.map_err(|error| format!("{endpoint}: {error}"))?;
    let ping = connection.ping_pong().ok_or_else(|| format!("{endpoint}: no pings"))?;
    let server = endpoint.to_string();
    let task = tokio::spawn(async move {
        yield_now().await;
        if let Err(error) = connection.await {
            tracing::debug!(%error, server, "a connection has ended");
        }
    });
    let ping = Arc::new(Mutex::new(ping));
    Ok(Link {
        send,
        scheme: endpoint.scheme(),
        authority: endpoint.authority(),
        ping,
        task: task.abort_handle(),
    })
}

/// What went wrong with TLS, and what to try.
fn explained(error: &io::Error, words: Words) -> String {
    use tokio_rustls::rustls::{CertificateError, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let hint = match inner {
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "does this server speak TLS? if not it is http://"
        }
        Some(Error::InvalidMessage(_)) => "does this server speak TLS? if not it is http://",
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => words.authority,
        Some(Error::AlertReceived(_)) => words.certificate,
        _ => "",
    };
    if hint.is_empty() { error.to_string() } else { format!("{error}; {hint}") }
}

/// Waits before the next attempt, longer each time.
pub struct Rest(Duration);

impl Rest {
    /// The first wait is short.
    pub fn new() -> Rest {
        Rest(Duration::from_millis(20))
    }

    /// Wait.
    pub async fn wait(&mut self) {
        sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_millis(200));
    }
}
