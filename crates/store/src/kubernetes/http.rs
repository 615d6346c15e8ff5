//! A call over HTTP/2: a request with its answer, or with an answer that goes on.
//!
//! Nothing is tried twice here; a [`Failure`] says whether the server may have acted. Next hop of a failure: `session`.

use bytes::{Buf, Bytes, BytesMut};
use h2::{Reason, RecvStream};
use http::{Method, Request, StatusCode};

use crate::wire::connect::Link;

/// A list may be large; an answer that is larger than this is none.
const MOST_BYTES: usize = 512 << 20;

/// Why a call has no answer.
#[derive(Debug)]
pub enum Failure {
    /// It did not reach the server.
    NotSent(String),
    /// It was sent; what became of it isn't known.
    Lost(String),
}

impl Failure {
    /// In words.
    pub fn into_words(self) -> String {
        match self {
            Failure::NotSent(cause) | Failure::Lost(cause) => cause,
        }
    }
}

/// What to ask.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// What to do.
    pub method: Method,
    /// Path and query, for example `/api/v1/pods?limit=500`.
    pub path: &'a str,
    /// Its media type and its bytes.
    pub body: Option<(&'static str, Bytes)>,
    /// The value of the header `authorization`.
    pub authorization: Option<&'a str>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// 200, 404 and so on.
    pub status: StatusCode,
    /// After how many seconds to ask again, if it says so.
    pub retry_after: Option<u64>,
    /// All of it.
    pub body: Bytes,
}

/// An answer that goes on: one JSON document in each line.
pub struct Lines {
    body: RecvStream,
    read: BytesMut,
    /// How much of `read` has no end of line.
    searched: usize,
}

/// Makes a call and reads the whole answer.
pub async fn ask(link: &Link, call: Call<'_>) -> Result<Answer, Failure> {
    let (head, mut body) = send(link, call).await?;
    let retry_after = head.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(lost)?;
        body.flow_control().release_capacity(chunk.len()).map_err(lost)?;
        if bytes.len() + chunk.len() > MOST_BYTES {
            return Err(Failure::Lost(format!("an answer of more than {} MB", MOST_BYTES >> 20)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Answer { status: head.status, retry_after, body: bytes.freeze() })
}

/// Makes a call whose answer goes on. One that is refused is an [`Answer`].
pub async fn open(link: &Link, call: Call<'_>) -> Result<Result<Lines, Answer>, Failure> {
    let (head, mut body) = send(link, call).await?;
    if head.status == StatusCode::OK {
        return Ok(Ok(Lines { body, read: BytesMut::new(), searched: 0 }));
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = body.data().await {
        bytes.extend_from_slice(&chunk.map_err(lost)?);
    }
    Ok(Err(Answer { status: head.status, retry_after: None, body: bytes.freeze() }))
}

async fn send(link: &Link, call: Call<'_>) -> Result<(http::response::Parts, RecvStream), Failure> {
    let Call { method, path, body, authorization } = call;
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}://{}{path}", link.scheme, link.authority))
        .header("accept", "application/json")
        .header("user-agent", concat!("tortie/", env!("CARGO_PKG_VERSION")));
    if let Some((media, _)) = &body {
        request = request.header("content-type", *media);
    }
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let not_sent = |error: h2::Error| Failure::NotSent(error.to_string());
    let request = request.body(()).map_err(|error| Failure::NotSent(error.to_string()))?;
    let mut sender = link.send.clone().ready().await.map_err(not_sent)?;
    let (answer, mut sending) = sender.send_request(request, body.is_none()).map_err(not_sent)?;
    if let Some((_, bytes)) = body {
        sending.send_data(bytes, true).map_err(lost)?;
    }
    Ok(answer.await.map_err(lost)?.into_parts())
}

impl Lines {
    /// The next line, or `None` if the server has ended the answer well. Nothing is lost if it isn't awaited to its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Some(end) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(self.searched + end);
                self.read.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line.freeze()));
            }
            self.searched = self.read.len();
            match self.body.data().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(lost)?;
                    self.body.flow_control().release_capacity(chunk.len()).map_err(lost)?;
                    self.read.extend_from_slice(&chunk);
                }
                None if self.read.is_empty() => return Ok(None),
                None => return Err(Failure::Lost("the answer broke off".to_owned())),
            }
        }
    }
}

fn lost(error: h2::Error) -> Failure {
    match error.reason() {
        // The server says that it hasn't looked at it.
        Some(Reason::REFUSED_STREAM) => Failure::NotSent(error.to_string()),
        _ => Failure::Lost(error.to_string()),
    }
}
