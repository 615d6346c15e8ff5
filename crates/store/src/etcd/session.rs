//! A session with a cluster: one connection at a time, opened when it is needed, and what is tried again.
//!
//! What was answered is remembered, to recognise a cluster that is another one, or whose history went back.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::grpc::Failure;
use super::messages::{
    AuthenticateRequest, AuthenticateResponse, Headed, RangeRequest, RangeResponse, ResponseHeader,
};
use super::options::Options;
use super::trouble;
use super::trouble::{Verdict, verdict};
use crate::wire::connect::{self, Link, Rest};
use crate::wire::driver::Driver;
use crate::wire::tls::{self, Tls};
use crate::{Error, Result, Revision};

/// After so long without a call, and nobody who looks after it, a connection is not trusted any more.
const IDLE: Duration = Duration::from_secs(5);

/// After so long without an answer a server that isn't the only one is asked for a sign of life, and how long for that.
const SILENCE: Duration = Duration::from_secs(2);
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Whether a call may be made twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads.
    Harmless,
    /// It writes: it is made again only if the first is known to have done nothing.
    Never,
}

/// See the module.
pub struct Session {
    options: Options,
    driver: Driver,
    connection: AsyncMutex<Connection>,
    known: Mutex<Known>,
    /// What was said when the datastore turned out to be another one.
    replaced: OnceLock<String>,
}

#[derive(Default)]
struct Connection {
    live: Option<Live>,
    tls: Option<Tls>,
    /// The server to begin with.
    first: usize,
    /// How many connections there were.
    count: u64,
}

/// A connection, ready for calls.
#[derive(Clone)]
pub struct Live {
    /// Where to make them.
    pub link: Link,
    /// What shows who we are, if that is asked.
    pub token: Option<String>,
    number: u64,
    used: Instant,
}

/// What all answers so far have said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    cluster: u64,
    term: u64,
    /// The highest revision.
    pub revision: u64,
}

impl Session {
    /// A session that has not connected yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the system has no descriptors left.
    pub fn new(options: Options) -> Result<Session> {
        Ok(Session {
            options,
            driver: Driver::new("etcd")?,
            connection: AsyncMutex::default(),
            known: Mutex::default(),
            replaced: OnceLock::new(),
        })
    }

    /// Wait for `future` on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.driver.block_on(future)
    }

    /// Run `task` beside everything else, on a thread that looks after the connection from now on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there can be no more threads.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<tokio::task::AbortHandle> {
        self.driver.spawn(task)
    }

    /// How long a call waits.
    pub fn patience(&self) -> Duration {
        self.options.patience
    }

    /// What all answers so far have said.
    pub fn known(&self) -> Known {
        *self.lock_known()
    }

    fn lock_known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Note what an answer says whose request was sent when `before` was known.
    ///
    /// # Errors
    /// [`Error::Replaced`] if it is the answer of another cluster, or of an earlier state of this one.
    pub fn note(&self, header: Option<ResponseHeader>, before: Known) -> Result<Revision> {
        let ResponseHeader { cluster_id, revision, raft_term } = header.unwrap_or_default();
        let revision = u64::try_from(revision).unwrap_or_default();
        let mut known = self.lock_known();
        let other = known.cluster != 0 && known.cluster != cluster_id;
        if other || revision < before.revision || raft_term < before.term {
            let was = format!("cluster {:x}, revision {}", known.cluster, before.revision);
            let is = format!("cluster {cluster_id:x}, revision {revision}");
            drop(self.replaced.set(format!("etcd {} ({was}, and now {is})", self.options.servers())));
        }
        self.still_the_same()?;
        *known = Known {
            cluster: cluster_id,
            term: known.term.max(raft_term),
            revision: known.revision.max(revision),
        };
        Ok(Revision(revision))
    }

    /// Once another datastore has answered nothing more is asked.
    fn still_the_same(&self) -> Result<()> {
        self.replaced.get().map_or(Ok(()), |path| Err(Error::Replaced { path: path.clone() }))
    }

    /// A connection that can be used. Those who ask at the same time wait for the same one.
    pub async fn live(&self) -> Result<Live> {
        let mut connection = self.connection.lock().await;
        let driven = self.driver.is_driven();
        if let Some(live) = connection.live.as_mut().filter(|live| driven || live.used.elapsed() < IDLE) {
            live.used = Instant::now();
            return Ok(live.clone());
        }
        let endpoints = &self.options.endpoints;
        if connection.tls.is_none() && endpoints.iter().any(|endpoint| endpoint.tls) {
            connection.tls = Some(tls::connector(self.options.trust(), trouble::WORDS)?);
        }
        let connected =
            connect::connect(endpoints, connection.first, connection.tls.as_ref(), trouble::WORDS).await;
        let (link, number) = connected.map_err(|cause| {
            let hint = if cause.contains("refused") {
                "; does etcd run there? ETCD_ENDPOINTS says where"
            } else {
                ""
            };
            Error::unavailable("connect to etcd", format!("{cause}{hint}"))
        })?;
        connection.first = number;
        connection.count += 1;
        let token = self.authenticate(&link).await?;
        let live = Live { link, token, number: connection.count, used: Instant::now() };
        connection.live = Some(live.clone());
        Ok(live)
    }

    async fn authenticate(&self, link: &Link) -> Result<Option<String>> {
        let Some((name, password)) = self.options.user.clone() else { return Ok(None) };
        let attempt = format!("log in to etcd as {name:?}");
        let request = AuthenticateRequest { name, password };
        let answer =
            timeout(self.patience(), link.call("/etcdserverpb.Auth/Authenticate", &request, None)).await;
        match answer {
            Ok(Ok(AuthenticateResponse { token })) => Ok(Some(token)),
            Ok(Err(Failure::Status { message, .. })) if message.contains("authentication is not enabled") => {
                Ok(None)
            }
            Ok(Err(failure)) => Err(trouble::explain(&attempt, failure)),
            Err(_) => Err(Error::unavailable(attempt, trouble::silence(self.patience()))),
        }
    }

    /// Don't use this connection again; with `elsewhere` the next one is to another server, if there are several.
    pub async fn forget(&self, live: &Live, elsewhere: bool) {
        let mut connection = self.connection.lock().await;
        if connection.live.as_ref().is_some_and(|known| known.number == live.number) {
            connection.live = None;
            if elsewhere {
                connection.first = (connection.first + 1) % self.options.endpoints.len();
            }
        }
    }

    /// Make a call and wait for its answer, as long as [`Options::patience`] says. A server that never answered is not
    /// waited for.
    ///
    /// # Errors
    /// `Ok(None)` if etcd says that a revision is out of its range. [`Error::Unavailable`], [`Error::Unknown`],
    /// [`Error::Refused`], [`Error::Replaced`].
    pub async fn ask<Answer: Message + Default + Headed>(
        &self,
        attempt: &str,
        path: &str,
        request: &impl Message,
        repeat: Repeat,
    ) -> Result<Option<Answer>> {
        let deadline = Instant::now() + self.patience();
        let mut rest = Rest::new();
        let mut logged_in_anew = false;
        let mut tried = 0;
        loop {
            tried += 1;
            self.still_the_same()?;
            let before = self.known();
            let left = deadline.saturating_duration_since(Instant::now());
            let live = match timeout(left, self.live()).await {
                Ok(Ok(live)) => live,
                // Who was there once may come back.
                Ok(Err(Error::Unavailable { .. }))
                    if before != Known::default() && Instant::now() < deadline =>
                {
                    rest.wait().await;
                    continue;
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(Error::unavailable(attempt, trouble::silence(self.patience()))),
            };
            let failure = match self.call(&live, path, request, deadline).await {
                Ok(answer) => {
                    self.note(Answer::header(&answer), before)?;
                    return Ok(Some(answer));
                }
                Err(failure) => failure,
            };
            // Who never answered is not waited for, but who answers that it can't is, and the others are asked.
            let answered = before != Known::default()
                || matches!(failure, Failure::Status { .. })
                || tried < self.options.endpoints.len();
            let late = Instant::now() >= deadline || !answered;
            let failure = if answered { failure } else { trouble::at_first_contact(failure, &live.link) };
            match verdict(&failure, repeat) {
                Verdict::OutOfRange => return Ok(None),
                Verdict::LogIn if self.options.user.is_some() && !logged_in_anew => {
                    logged_in_anew = true;
                    self.forget(&live, false).await;
                }
                Verdict::Again { elsewhere } if !late => {
                    self.forget(&live, elsewhere).await;
                    rest.wait().await;
                }
                Verdict::Unknown => {
                    self.forget(&live, true).await;
                    let cause = trouble::words(failure);
                    return Err(Error::Unknown { attempt: attempt.to_owned(), cause });
                }
                Verdict::Again { .. } | Verdict::LogIn | Verdict::Final => {
                    return Err(trouble::explain(attempt, failure));
                }
            }
        }
    }
}

impl Session {
    /// Make a call once, and wait for its answer: until `deadline`, or, if there are other servers, until this one shows no sign of
    /// life.
    async fn call<Answer: Message + Default>(
        &self,
        live: &Live,
        path: &str,
        request: &impl Message,
        deadline: Instant,
    ) -> std::result::Result<Answer, Failure> {
        let mut call = std::pin::pin!(live.link.call::<Answer>(path, request, live.token.as_deref()));
        let mut waited = Duration::ZERO;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let is_alone = self.options.endpoints.len() == 1;
            let wait = if is_alone { left } else { left.min(SILENCE) };
            if let Ok(answer) = timeout(wait, &mut call).await {
                return answer;
            }
            waited += wait;
            if wait == left || !self.is_alive(live).await {
                return Err(Failure::Lost(trouble::silence(waited)));
            }
        }
    }

    /// Whether a server answers what it can answer by itself.
    async fn is_alive(&self, live: &Live) -> bool {
        let request = RangeRequest {
            key: vec![0],
            limit: 1,
            serializable: true,
            keys_only: true,
            ..RangeRequest::default()
        };
        let path = "/etcdserverpb.KV/Range";
        let answer = live.link.call::<RangeResponse>(path, &request, live.token.as_deref());
        matches!(timeout(SIGN_OF_LIFE, answer).await, Ok(Ok(_) | Err(Failure::Status { .. })))
    }
}
