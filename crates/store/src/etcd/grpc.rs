//! gRPC over one HTTP/2 connection: a call with one answer, and a stream of messages both ways.
//!
//! Nothing is tried twice here; a [`Failure`] says whether the server may have acted. Next hop of a failure: [`super::session`].

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request};
use prost::Message;

use crate::wire::connect::Link;

/// gRPC's code for a fault of the request.
pub const INVALID_ARGUMENT: u32 = 3;
/// gRPC's code for a right that is missing.
pub const PERMISSION_DENIED: u32 = 7;
/// gRPC's code for a full disk or too many requests.
pub const RESOURCE_EXHAUSTED: u32 = 8;
/// gRPC's code for a condition that isn't met.
pub const FAILED_PRECONDITION: u32 = 9;
/// gRPC's code for a revision that can't be read.
pub const OUT_OF_RANGE: u32 = 11;
/// gRPC's code for a server that can't answer now.
pub const UNAVAILABLE: u32 = 14;
/// gRPC's code for a token that isn't valid (any more).
pub const UNAUTHENTICATED: u32 = 16;

/// Why a call has no answer.
#[derive(Debug)]
pub enum Failure {
    /// It did not reach the server.
    NotSent(String),
    /// It was sent; what became of it isn't known.
    Lost(String),
    /// The server refuses, with gRPC's code and etcd's words.
    Status {
        /// One of the codes above, or another.
        code: u32,
        /// For example `etcdserver: no leader`.
        message: String,
    },
}

impl Link {
    fn request(&self, path: &str, token: Option<&str>) -> Result<Request<()>, Failure> {
        let mut request = Request::post(format!("{}://{}{path}", self.scheme, self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "tortie");
        if let Some(token) = token {
            request = request.header("token", token);
        }
        request.body(()).map_err(|error| Failure::NotSent(error.to_string()))
    }

    /// Ask for one answer at `path`, for example `/etcdserverpb.KV/Range`.
    pub async fn call<Answer: Message + Default>(
        &self,
        path: &str,
        message: &impl Message,
        token: Option<&str>,
    ) -> Result<Answer, Failure> {
        let request = self.request(path, token)?;
        let not_sent = |error: h2::Error| Failure::NotSent(error.to_string());
        let mut send = self.send.clone().ready().await.map_err(not_sent)?;
        let (answer, mut body) = send.send_request(request, false).map_err(not_sent)?;
        body.send_data(frame(message), true).map_err(lost)?;
        let answer = answer.await.map_err(lost)?;
        let mut stream = Messages::begin(answer)?;
        let message = stream.next().await?.ok_or_else(|| Failure::Lost("an empty answer".to_owned()))?;
        // The status comes behind the message.
        match stream.next::<Answer>().await? {
            None => Ok(message),
            Some(_) => Err(Failure::Lost("two answers to one request".to_owned())),
        }
    }

    /// Open a stream at `path` and send the first message on it.
    pub async fn open(
        &self,
        path: &str,
        first: &impl Message,
        token: Option<&str>,
    ) -> Result<(Outgoing, Messages), Failure> {
        let request = self.request(path, token)?;
        let mut send = self.send.clone().ready().await.map_err(lost)?;
        let (answer, body) = send.send_request(request, false).map_err(lost)?;
        let mut outgoing = Outgoing { body };
        outgoing.send(first)?;
        let answer = answer.await.map_err(lost)?;
        Ok((outgoing, Messages::begin(answer)?))
    }
}

/// The half of a stream that goes to the server. Dropped, it resets the stream.
pub struct Outgoing {
    body: SendStream<Bytes>,
}

impl Outgoing {
    /// Send a message.
    pub fn send(&mut self, message: &impl Message) -> Result<(), Failure> {
        self.body.send_data(frame(message), false).map_err(lost)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.body.send_reset(Reason::CANCEL);
    }
}

/// The messages that come from the server.
pub struct Messages {
    body: RecvStream,
    read: BytesMut,
}

impl Messages {
    fn begin(answer: http::Response<RecvStream>) -> Result<Messages, Failure> {
        if !answer.status().is_success() {
            return Err(Failure::Lost(format!("HTTP status {}: is this etcd?", answer.status())));
        }
        // A refusal may come without a message, in the headers alone.
        status(answer.headers())?;
        Ok(Messages { body: answer.into_body(), read: BytesMut::new() })
    }

    /// The next message, or `None` if the server has ended the stream well. Nothing is lost if it isn't awaited to its end.
    pub async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Failure> {
        loop {
            if let Some(message) = self.buffered()? {
                return Ok(Some(message));
            }
            match self.body.data().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(lost)?;
                    self.body.flow_control().release_capacity(chunk.len()).map_err(lost)?;
                    self.read.extend_from_slice(&chunk);
                }
                None => {
                    let trailers = self.body.trailers().await.map_err(lost)?.unwrap_or_default();
                    return status(&trailers).map(|()| None);
                }
            }
        }
    }

    /// A message that has come whole: a zero byte (not compressed), its length in four bytes, the message.
    fn buffered<M: Message + Default>(&mut self) -> Result<Option<M>, Failure> {
        const PREFIX: usize = 5;
        let Some(&[compressed, a, b, c, d]) = self.read.get(..PREFIX) else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if self.read.len() - PREFIX < length {
            self.read.reserve(PREFIX + length - self.read.len());
            return Ok(None);
        }
        if compressed != 0 {
            return Err(Failure::Lost("a compressed answer, which nobody asked for".to_owned()));
        }
        self.read.advance(PREFIX);
        let message = self.read.split_to(length);
        M::decode(message)
            .map(Some)
            .map_err(|error| Failure::Lost(format!("an answer that isn't etcd's: {error}")))
    }
}

fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    frame.put(message.encode_to_vec().as_slice());
    frame.freeze()
}

fn lost(error: h2::Error) -> Failure {
    match error.reason() {
        // The server says that it hasn't looked at it.
        Some(Reason::REFUSED_STREAM) => Failure::NotSent(error.to_string()),
        _ => Failure::Lost(error.to_string()),
    }
}

/// What `grpc-status` and `grpc-message` say; a status that isn't there is none.
fn status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let Some(code) = headers.get("grpc-status").map(text) else { return Ok(()) };
    match code.parse() {
        Ok(0) => Ok(()),
        Ok(code) => {
            let message = headers.get("grpc-message").map(text).unwrap_or_default();
            Err(Failure::Status { code, message: percent_decoded(&message) })
        }
        Err(_) => Err(Failure::Lost(format!("a status that isn't gRPC's: {code:?}"))),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = tail.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_decoded() {
        assert_eq!(percent_decoded("a%20b%C3%A4%"), "a b\u{e4}%");
        assert_eq!(percent_decoded("100%zz"), "100%zz");
    }
}
