//! The way from plugin to agent: a unix socket, one JSON request with the pod's namespace beside it (SCM_RIGHTS), one
//! JSON answer.
//!
//! The request ends when the sender closes its half; so does the answer. Whoever may open the socket may attach and
//! detach pods: it is root's, mode 0600.

use crate::execute::Reply;
use crate::request::{Environment, Plugin};
use crate::{Error, Result, sys};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Where the agent listens.
pub const SOCKET: &str = "/run/tortie/agent.sock";
/// Bytes of a request or answer at most; a configuration has a few thousand.
const LIMIT: u64 = 4 << 20;
/// Bytes that are read at first: a whole call as a rule.
const FIRST: usize = 8 << 10;
/// How long a plugin waits for the agent before it tells the runtime to try again.
const PATIENCE: Duration = Duration::from_secs(90);

/// A call on its way: what the runtime gave the plugin, unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Called as `calico-ipam`.
    pub ipam: bool,
    /// The `CNI_*` variables.
    pub environment: Environment,
    /// Standard input.
    pub stdin: String,
}

impl Call {
    /// As which plugin.
    #[must_use]
    pub fn plugin(&self) -> Plugin {
        if self.ipam { Plugin::Ipam } else { Plugin::Network }
    }
}

#[derive(Serialize, Deserialize)]
struct Answer {
    exit: u8,
    stdout: String,
}

/// Opens the agent's socket; `None` when there is no agent (no socket, or nobody behind it).
///
/// # Errors
/// [`Error::System`] for anything else: it is not known then whether there is one.
pub fn connect(socket: &Path) -> Result<Option<UnixStream>> {
    match UnixStream::connect(socket) {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::system(format!("connect to the agent at {}", socket.display()), error)),
    }
}

/// Sends a call and waits for its answer.
///
/// # Errors
/// [`Error::TryAgain`]: the agent may have done it or not, and the runtime must ask again.
pub fn ask(stream: &mut UnixStream, call: &Call, pod: Option<BorrowedFd<'_>>) -> Result<Reply> {
    let failed =
        |error: std::io::Error| Error::TryAgain { attempt: "ask the agent".into(), cause: error.to_string() };
    let json = serde_json::to_vec(call).map_err(|error| failed(error.into()))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    send(stream, &json, pod).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer).map_err(failed)?;
    let Answer { exit, stdout } = serde_json::from_slice(&answer).map_err(|error| failed(error.into()))?;
    Ok(Reply { exit, stdout })
}

/// The agent's side: reads one call and the namespace that came with it; see [`read_message`].
///
/// # Errors
/// [`Error::System`] or [`Error::Decode`]: close the stream.
pub fn read_call(stream: &mut UnixStream) -> Result<(Call, Option<OwnedFd>)> {
    let (message, pod) = read_message(stream)?;
    let call = serde_json::from_slice(&message)
        .map_err(|error| Error::Decode { what: "call", cause: error.to_string() })?;
    Ok((call, pod))
}

/// The agent's side: reads whatever is asked, and the descriptor that came with it. Blocks until the sender has closed
/// its half; set a read timeout on a stream that isn't trusted to.
///
/// # Errors
/// [`Error::System`]: close the stream.
pub fn read_message(stream: &mut UnixStream) -> Result<(Vec<u8>, Option<OwnedFd>)> {
    let failed = |error: std::io::Error| Error::system("read a call", error);
    let mut first = vec![0; FIRST];
    let mut rights = cmsg_space!([RawFd; 1]);
    let (length, fds) = {
        let mut parts = [IoSliceMut::new(&mut first)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = loop {
            match recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut rights), flags) {
                Err(nix::Error::EINTR) => {}
                other => break other.map_err(|errno| failed(errno.into()))?,
            }
        };
        let mut fds = Vec::new();
        for message in received.cmsgs().map_err(|errno| failed(errno.into()))? {
            if let ControlMessageOwned::ScmRights(received) = message {
                fds.extend(received.into_iter().map(sys::own));
            }
        }
        (received.bytes, fds)
    };
    first.truncate(length);
    stream.take(LIMIT).read_to_end(&mut first).map_err(failed)?;
    Ok((first, fds.into_iter().next()))
}

/// The agent's side: the answer.
///
/// # Errors
/// [`Error::System`]: the plugin is gone; what was done stays, the runtime will ask again.
pub fn write_reply(stream: &mut UnixStream, reply: &Reply) -> Result<()> {
    let Reply { exit, stdout } = reply.clone();
    let failed = |error: std::io::Error| Error::system("answer a call", error);
    let json = serde_json::to_vec(&Answer { exit, stdout }).map_err(|error| failed(error.into()))?;
    stream.write_all(&json).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(failed)
}

/// The descriptor goes with the first byte.
fn send(stream: &mut UnixStream, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
    let raw: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &control };
    let sent = loop {
        match sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)
        {
            Err(nix::Error::EINTR) => {}
            other => break other?,
        }
    };
    stream.write_all(&bytes[sent..])
}
