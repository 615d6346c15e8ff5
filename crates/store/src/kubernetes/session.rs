//! A session with the API server: one connection for all calls and watches, opened when it is needed, and what is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::credentials::Authorization;
use super::http::{self as wire_http, Answer, Call, Failure, Lines};
use super::options::Options;
use super::trouble::{self, WORDS};
use crate::wire::connect::{self, Link, Rest};
use crate::wire::driver::Driver;
use crate::wire::tls::{self, Tls};
use crate::{Error, Result};

/// After so long without a call, and nobody who looks after it, a connection is not trusted any more.
const IDLE: Duration = Duration::from_secs(5);

/// How often a connection on which somebody watches is asked for a sign of life, and how long that is waited for.
const BEAT: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(3);

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads.
    Harmless,
    /// It writes: it is made again only if the first is known to have done nothing.
    Never,
}

/// A call, as often as it is made.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What is being done, for messages.
    pub attempt: &'a str,
    /// What to do.
    pub method: Method,
    /// Path and query behind the server's own.
    pub path: &'a str,
    /// Its media type and its bytes.
    pub body: Option<(&'static str, Bytes)>,
}

/// See the module.
pub struct Session {
    options: Options,
    authorization: Authorization,
    driver: Driver,
    connection: Mutex<Connection>,
    /// Whether the server has ever answered: one that never did is not waited for.
    answered: AtomicBool,
    /// Whether the connection is being watched over.
    guarded: AtomicBool,
}

#[derive(Default)]
struct Connection {
    live: Option<Live>,
    tls: Option<Tls>,
    count: u64,
}

/// A connection, ready for calls.
#[derive(Clone)]
pub struct Live {
    link: Link,
    number: u64,
    used: Instant,
}

impl Session {
    /// A session that has not connected yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system has no descriptors left.
    pub fn new(options: Options) -> Result<Session> {
        Ok(Session {
            authorization: Authorization::new(options.credentials.clone()),
            options,
            driver: Driver::new("kubernetes")?,
            connection: Mutex::default(),
            answered: AtomicBool::new(false),
            guarded: AtomicBool::new(false),
        })
    }

    /// Wait for `future` on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.driver.block_on(future)
    }

    /// Run `task` beside everything else. From the first one on the connection is watched over: one that was cut off says
    /// nothing by itself.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there can be no more threads.
    pub fn spawn(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<tokio::task::AbortHandle> {
        if !self.guarded.swap(true, Ordering::Relaxed) {
            let session = Arc::downgrade(self);
            self.driver.spawn(async move {
                loop {
                    sleep(BEAT).await;
                    let Some(session) = session.upgrade() else { return };
                    let live = session.connection.lock().await.live.clone();
                    if let Some(live) = live
                        && !live.link.is_alive(SILENCE).await
                    {
                        tracing::info!(server = %session.options.server, "the Kubernetes API is silent");
                        session.forget(&live).await;
                    }
                }
            })?;
        }
        self.driver.spawn(task)
    }

    /// How long a call waits.
    pub fn patience(&self) -> Duration {
        self.options.patience
    }

    /// A connection that can be used. Those who ask at the same time wait for the same one.
    async fn live(&self) -> Result<Live> {
        let mut connection = self.connection.lock().await;
        let driven = self.driver.is_driven();
        if let Some(live) = connection.live.as_mut().filter(|live| driven || live.used.elapsed() < IDLE) {
            live.used = Instant::now();
            return Ok(live.clone());
        }
        let server = &self.options.server;
        if connection.tls.is_none() && server.tls {
            connection.tls = Some(tls::connector(self.options.trust(), WORDS)?);
        }
        let connected =
            connect::connect(std::slice::from_ref(server), 0, connection.tls.as_ref(), WORDS).await;
        let (link, _) =
            connected.map_err(|cause| Error::unavailable("connect to the Kubernetes API", cause))?;
        connection.count += 1;
        let live = Live { link, number: connection.count, used: Instant::now() };
        connection.live = Some(live.clone());
        Ok(live)
    }

    /// Don't use this connection again, and end what is under way on it.
    pub async fn forget(&self, live: &Live) {
        live.link.close();
        let mut connection = self.connection.lock().await;
        if connection.live.as_ref().is_some_and(|known| known.number == live.number) {
            connection.live = None;
        }
    }

    /// Make a call and wait for its answer, as long as [`Options::patience`] says. A server that never answered is not waited
    /// for. What the server refuses for good is an answer.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unknown`].
    pub async fn ask(&self, request: Request<'_>, repeat: Repeat) -> Result<Answer> {
        let deadline = Instant::now() + self.patience();
        let mut rest = Rest::new();
        let mut renewed = false;
        loop {
            let before = self.answered.load(Ordering::Relaxed);
            let left = deadline.saturating_duration_since(Instant::now());
            let outcome = timeout(left, self.once(&request)).await;
            let (error, again) = match outcome {
                Ok(Ok(answer)) => {
                    self.answered.store(true, Ordering::Relaxed);
                    match verdict(&answer, repeat) {
                        Verdict::Take => return Ok(answer),
                        Verdict::Renew if !renewed && self.authorization.forget().await => {
                            renewed = true;
                            continue;
                        }
                        Verdict::Renew => return Ok(answer),
                        Verdict::Unknown => {
                            let (_, words) = trouble::said(&answer.body);
                            return Err(Error::Unknown { attempt: request.attempt.to_owned(), cause: words });
                        }
                        Verdict::Again => {
                            // One that has just started says so many seconds for what is ready in a moment.
                            if let Some(seconds) = answer.retry_after
                                && answer.status == StatusCode::TOO_MANY_REQUESTS
                            {
                                sleep(Duration::from_secs(seconds).min(left)).await;
                            }
                            (trouble::explain(request.attempt, &answer), true)
                        }
                    }
                }
                Ok(Err(Trouble::Before(error))) => {
                    // Who was there once may come back.
                    let again = before && matches!(error, Error::Unavailable { .. });
                    (error, again)
                }
                Ok(Err(Trouble::During(live, failure))) => {
                    self.forget(&live).await;
                    let lost = matches!(failure, Failure::Lost(_));
                    let cause =
                        format!("the connection to the Kubernetes API is lost: {}", failure.into_words());
                    let attempt = request.attempt.to_owned();
                    if lost && repeat == Repeat::Never {
                        return Err(Error::Unknown { attempt, cause });
                    }
                    (Error::Unavailable { attempt, cause }, true)
                }
                Err(_) => {
                    let cause = format!("no answer within {} s", self.patience().as_secs_f32());
                    let attempt = request.attempt.to_owned();
                    return Err(match repeat {
                        Repeat::Harmless => Error::Unavailable { attempt, cause },
                        Repeat::Never => Error::Unknown { attempt, cause },
                    });
                }
            };
            if !again || Instant::now() >= deadline {
                return Err(error);
            }
            rest.wait().await;
        }
    }

    async fn once(&self, request: &Request<'_>) -> Result<Answer, Trouble> {
        let live = self.live().await.map_err(Trouble::Before)?;
        let authorization = self.authorization.header().await.map_err(Trouble::Before)?;
        let path = format!("{}{}", self.options.path, request.path);
        let call = Call {
            method: request.method.clone(),
            path: &path,
            body: request.body.clone(),
            authorization: authorization.as_deref(),
        };
        wire_http::ask(&live.link, call).await.map_err(|failure| Trouble::During(live, failure))
    }

    /// Begin to read an answer that goes on, without trying again: an answer that refuses is [`Opened::Refused`].
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn open(&self, attempt: &str, path: &str) -> Result<Opened> {
        let lost = |cause: String| Error::unavailable(attempt, cause);
        let work = async {
            let live = self.live().await?;
            let authorization = self.authorization.header().await?;
            let path = format!("{}{path}", self.options.path);
            let call = Call {
                method: Method::GET,
                path: &path,
                body: None,
                authorization: authorization.as_deref(),
            };
            match wire_http::open(&live.link, call).await {
                Ok(Ok(lines)) => Ok(Opened::Lines(live, lines)),
                Ok(Err(answer)) => {
                    if answer.status == StatusCode::UNAUTHORIZED {
                        self.authorization.forget().await;
                    }
                    Ok(Opened::Refused(answer))
                }
                Err(failure) => {
                    self.forget(&live).await;
                    Err(lost(failure.into_words()))
                }
            }
        };
        let silence = || lost(format!("no answer within {} s", self.patience().as_secs_f32()));
        timeout(self.patience(), work).await.unwrap_or_else(|_| Err(silence()))
    }
}

/// What became of [`Session::open`].
pub enum Opened {
    /// It goes on, over this connection.
    Lines(Live, Lines),
    /// The server's refusal.
    Refused(Answer),
}

/// Why a call has no answer.
enum Trouble {
    /// There was no connection, or nobody says who we are.
    Before(Error),
    /// It was on its way.
    During(Live, Failure),
}

/// What to do about an answer.
enum Verdict {
    /// It is the caller's.
    Take,
    /// Say anew who we are.
    Renew,
    /// The call has done nothing, or only reads: make it again.
    Again,
    /// It may have been done.
    Unknown,
}

fn verdict(answer: &Answer, repeat: Repeat) -> Verdict {
    match answer.status {
        StatusCode::UNAUTHORIZED => Verdict::Renew,
        // Turned away at the door.
        StatusCode::TOO_MANY_REQUESTS => Verdict::Again,
        _ if trouble::is_future(answer) => Verdict::Take,
        status if status.is_server_error() => match repeat {
            Repeat::Harmless => Verdict::Again,
            Repeat::Never => Verdict::Unknown,
        },
        _ => Verdict::Take,
    }
}
