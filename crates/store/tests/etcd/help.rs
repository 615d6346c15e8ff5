//! A server, a way to it that can be cut, and what etcd's HTTP gateway is asked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Endpoint, Etcd, Options};
use tortie_store::{Change, Watch};

/// How long what must come may take. It bounds a hang and measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A server in a directory of its own.
pub struct Home {
    pub server: Server,
    pub directory: tempfile::TempDir,
}

pub fn mk_server(arguments: &[&str]) -> Home {
    let directory = tempfile::tempdir().unwrap();
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let start = Start { directory: directory.path().to_owned(), arguments, ..Start::default() };
    Home { server: Server::start(start).unwrap(), directory }
}

impl Home {
    pub fn open(&self) -> Etcd {
        Etcd::open(self.options()).unwrap()
    }

    pub fn options(&self) -> Options {
        Options::new(vec![self.server.endpoint()])
    }

    /// Ask etcd's HTTP gateway, which has what this crate has no use for.
    pub fn gateway(&self, path: &str, json: &str) -> String {
        let authority = self.server.endpoint().authority();
        let mut stream = TcpStream::connect(&authority).unwrap();
        let length = json.len();
        write!(stream, "POST {path} HTTP/1.0\r\nHost: {authority}\r\nContent-Length: {length}\r\n\r\n{json}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 OK"), "{path} {json}: {answer}");
        answer
    }
}

/// Read until a change of `key` has come, which is included. An outage is no end.
pub fn read_until(watch: &mut dyn Watch, key: &str) -> Vec<Change> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen: Vec<Change> = Vec::new();
    while !seen.iter().any(|change| change.key() == key) {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{key} never came; seen: {seen:?}");
        match watch.next(left) {
            Ok(changes) => seen.extend(changes),
            Err(tortie_store::Error::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

/// A way to a server. While it is cut nothing passes, in either direction, and nobody is told.
pub struct Way {
    pub endpoint: Endpoint,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    cut: Mutex<bool>,
    healed: Condvar,
    over: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        let cut = self.cut.lock().unwrap();
        drop(self.healed.wait_while(cut, |cut| *cut).unwrap());
    }
}

impl Way {
    pub fn to(server: &Endpoint) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint { port: listener.local_addr().unwrap().port(), ..server.clone() };
        let (gate, server) = (Arc::new(Gate::default()), server.authority());
        let kept = Arc::clone(&gate);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if kept.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(far) = TcpStream::connect(&server) else { continue };
                for (from, to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))] {
                    let (from, to, gate) = (from.unwrap(), to.unwrap(), Arc::clone(&kept));
                    std::thread::spawn(move || carry(from, to, &gate));
                }
            }
        });
        Way { endpoint, gate }
    }

    pub fn cut(&self) {
        *self.gate.cut.lock().unwrap() = true;
    }

    pub fn heal(&self) {
        *self.gate.cut.lock().unwrap() = false;
        self.gate.healed.notify_all();
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.gate.over.store(true, Ordering::Relaxed);
        self.heal();
        // Wakes the listener, which ends.
        drop(TcpStream::connect(self.endpoint.authority()));
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        gate.pass();
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
