//! An etcd on a machine's loopback, and the way to it that its agent takes: one that can be cut.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use tortie_netlink::rtnetlink::LinkRef;
use tortie_netlink::{OwnedNamespace, Rtnetlink};
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Endpoint, Etcd, Options};

pub struct Cluster {
    pub server: Server,
    pub way: Way,
}

impl Cluster {
    pub fn start(host: &OwnedNamespace, directory: &Path, arguments: &[&str]) -> Self {
        Rtnetlink::open_in(host).unwrap().set_up(LinkRef::Name("lo")).unwrap();
        let start = Start {
            directory: directory.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            ..Start::default()
        };
        // What is started from inside stays inside, threads too.
        let start = || {
            let server = Server::start(start).unwrap();
            let way = Way::to(&server.endpoint());
            Cluster { server, way }
        };
        host.run(start).unwrap()
    }

    /// For callers inside: not by the way that can be cut.
    pub fn store(&self) -> Etcd {
        Etcd::open(Options::new(vec![self.server.endpoint()])).unwrap()
    }

    /// Asks etcd's gateway, which takes JSON; for callers inside.
    pub fn gateway(&self, path: &str, json: &str) -> String {
        let mut stream = TcpStream::connect(self.server.endpoint().authority()).unwrap();
        let length = json.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{json}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }
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

impl Way {
    fn to(server: &Endpoint) -> Way {
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
        // The listener ends with the next connection, or with this process.
        self.gate.over.store(true, Ordering::Relaxed);
        self.heal();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, gate: &Gate) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let cut = gate.cut.lock().unwrap();
        drop(gate.healed.wait_while(cut, |cut| *cut).unwrap());
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
