//! What the store holds, and what happens to links and to the table behind the agent's back, as inputs of its loop.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tortie_netlink::nflog::Nflog;
use tortie_netlink::rtnetlink::{LinkEvent, LinkMonitor};
use tortie_nft::Monitor;
use tortie_store::Datastore;
use tortie_store::sync::Feed;

use crate::run::Heard;
use crate::{Error, Result};

/// How much of a logged packet is read: its headers, bytes.
const LOGGED_BYTES: u32 = 128;

/// How long the store's thread waits for changes before it looks whether anybody listens.
const STORE_WAIT: Duration = Duration::from_secs(60);

/// Tells all that the store holds, and then what changes.
pub fn store(store: Arc<dyn Datastore>, heard: Sender<Heard>) -> Result<JoinHandle<()>> {
    let mut feed = Feed::new(store);
    spawn("store", move || {
        let mut rest = Duration::from_millis(10);
        loop {
            match feed.next(STORE_WAIT) {
                Ok(events) => {
                    rest = Duration::from_millis(10);
                    if !events.is_empty() && heard.send(Heard::Events(events)).is_err() {
                        return;
                    }
                }
                Err(error @ tortie_store::Error::Replaced { .. }) => {
                    tracing::error!(%error, "the agent ends, to begin anew; what is enforced stays enforced");
                    // Nothing that is known is true any more. Without a listener it has ended already.
                    return drop(heard.send(Heard::Failed(error.into())));
                }
                Err(error) => {
                    tracing::warn!(%error, "the store does not answer; what is enforced stays enforced");
                    std::thread::sleep(rest);
                    rest = (rest * 2).min(Duration::from_secs(1));
                }
            }
        }
    })
}

/// Listens for links that come, change or go.
pub fn links(heard: Sender<Heard>) -> Result<JoinHandle<()>> {
    let mut monitor = LinkMonitor::open()?;
    spawn("links", move || {
        while wait(monitor.as_fd()) {
            let events = match monitor.drain() {
                Ok(events) => events,
                Err(error) => {
                    // Some events were lost: every interface is looked at again.
                    tracing::warn!(%error, "link events were lost");
                    if heard.send(Heard::AllLinks).is_err() {
                        return;
                    }
                    continue;
                }
            };
            for event in events {
                let (LinkEvent::Changed(link) | LinkEvent::Gone(link)) = event;
                if heard.send(Heard::Link(link.name)).is_err() {
                    return;
                }
            }
        }
    })
}

/// Listens for changes of the table that others make.
pub fn table(mut monitor: Monitor, heard: Sender<Heard>) -> Result<JoinHandle<()>> {
    spawn("table", move || {
        while wait(monitor.as_fd()) {
            let foreign = match monitor.poll() {
                Ok(None) => continue,
                Ok(Some(change)) => format!("{change:?}"),
                Err(error) => error.to_string(),
            };
            if heard.send(Heard::Foreign(foreign)).is_err() {
                return;
            }
        }
    })
}

/// Listens for packets that Log rules send.
pub fn logged(group: u16, heard: Sender<Heard>) -> Result<JoinHandle<()>> {
    let mut nflog = Nflog::open(group, LOGGED_BYTES)?;
    spawn("nflog", move || {
        while wait(nflog.as_fd()) {
            match nflog.drain() {
                Ok(packets) => {
                    for packet in packets {
                        if heard.send(Heard::Logged(packet)).is_err() {
                            return;
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "logged packets were lost"),
            }
        }
    })
}

/// Waits until there is something to read; false if that can't be waited for any more.
pub fn wait(fd: BorrowedFd<'_>) -> bool {
    loop {
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => return true,
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "cannot wait for notifications");
                return false;
            }
        }
    }
}

/// Starts a thread of the agent. It ends with the process.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(256 << 10)
        .spawn(work)
        .map_err(|source| Error::Process { attempt: "start a thread", source })
}
