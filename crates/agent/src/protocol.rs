//! What commands ask a running agent: one JSON object a connection, one JSON object back.
//!
//! Each side ends what it says by closing its half. CNI calls come by the same socket; a question
//! is told from a call by its key `ask`.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ledger::RuleName;
use crate::status::Status;
use crate::{Error, Result};

/// The longest answer that is read, bytes: the status of a node with some 100,000 rules.
const LONGEST_ANSWER: u64 = 64 << 20;
/// How long a command waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "ask")]
pub enum Question {
    /// Everything that `tortie status` shows.
    Status,
    /// The tables' verdict on a packet.
    #[serde(rename_all = "camelCase")]
    Judge {
        /// From.
        source: IpAddr,
        /// To.
        destination: IpAddr,
        /// The IP protocol's number.
        protocol: u8,
        /// The destination port, if the protocol has ports.
        port: Option<u16>,
        /// ICMP's type and code.
        icmp: Option<(u8, u8)>,
    },
    /// A policy as the agent's hops hold it.
    Trace {
        /// Its kind, `NetworkPolicy` and so on.
        kind: String,
        /// `namespace/name` or `name`.
        name: String,
    },
    /// Answer when all that the agent has heard of by now is in force. The store may hold more already.
    Settle,
}

/// The tables' verdict on one side of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SideVerdict {
    /// The endpoint, `namespace/name`.
    pub endpoint: String,
    /// `allow` or `deny`.
    pub action: String,
    /// Who decided.
    pub rule: RuleName,
    /// The Log and Pass rules and ends of tiers met before.
    pub passed: Vec<RuleName>,
}

/// The tables' verdict on a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableVerdict {
    /// The sender's side, if it is an endpoint of this node.
    pub egress: Option<SideVerdict>,
    /// The receiver's side.
    pub ingress: Option<SideVerdict>,
}

/// What one hop on a policy's way into the kernel holds of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The crate.
    pub at: String,
    /// A line for each thing; as its type prints itself, which is for people who know the code.
    pub holds: Vec<String>,
}

impl Hop {
    /// A hop.
    pub fn new(at: &str, holds: Vec<String>) -> Self {
        Self { at: at.to_owned(), holds }
    }
}

/// What the agent answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// To [`Question::Status`].
    Status(Box<Status>),
    /// To [`Question::Judge`].
    Verdict(Box<TableVerdict>),
    /// To [`Question::Trace`].
    Trace(Vec<Hop>),
    /// To [`Question::Settle`].
    Settled,
    /// It can't be answered.
    Error(String),
}

/// Asks the agent at a socket.
///
/// # Errors
/// [`Error::Socket`] if nobody answers, or not in time.
pub fn ask<T: DeserializeOwned>(socket: &Path, question: &impl Serialize) -> Result<T> {
    let failed = |source| Error::Socket { path: socket.to_owned(), source };
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let asked = serde_json::to_vec(question).map_err(|error| failed(error.into()))?;
    stream.write_all(&asked).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).map_err(failed)?;
    serde_json::from_slice(&answer).map_err(|error| failed(error.into()))
}
