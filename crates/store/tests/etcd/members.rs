//! A cluster of three members whose leader goes: writes and watches go on, nothing is lost, nothing is seen twice.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Etcd, Options};
use tortie_store::{Change, Datastore, Error};

use super::help::PATIENCE;

/// Three members, each with its data in a directory of its own.
struct Cluster {
    members: Vec<Server>,
    _directory: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let listeners: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let peers: Vec<String> =
            listeners.iter().map(|listener| format!("http://{}", listener.local_addr().unwrap())).collect();
        drop(listeners);
        let all: Vec<String> =
            peers.iter().enumerate().map(|(number, peer)| format!("m{number}={peer}")).collect();
        let start = |number: usize| {
            let more = [
                ("--name", format!("m{number}")),
                ("--listen-peer-urls", peers[number].clone()),
                ("--initial-advertise-peer-urls", peers[number].clone()),
                ("--initial-cluster", all.join(",")),
                // On a busy machine a leader must not be taken for dead.
                ("--heartbeat-interval", "100".to_owned()),
                ("--election-timeout", "1000".to_owned()),
            ];
            Start {
                directory: directory.path().join(number.to_string()),
                arguments: more.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect(),
                ..Start::default()
            }
        };
        // None is ready before most of them are.
        let members = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..3).map(|number| scope.spawn(move || Server::start(start(number)))).collect();
            starts.into_iter().map(|start| start.join().unwrap().unwrap()).collect()
        });
        Cluster { members, _directory: directory }
    }

    /// The number of the leader, as a member says.
    fn leader(&self) -> usize {
        let said: Vec<(String, String)> = self.members.iter().map(status).collect();
        said.iter().position(|(own, leader)| own == leader).unwrap()
    }

    /// A client that begins with the member of this number.
    fn open(&self, first: usize) -> Etcd {
        let members = self.members.iter().cycle().skip(first).take(3);
        Etcd::open(Options::new(members.map(Server::endpoint).collect())).unwrap()
    }
}

/// A member's own id, and that of the leader that it knows.
fn status(member: &Server) -> (String, String) {
    let mut stream = TcpStream::connect(member.endpoint().authority()).unwrap();
    stream
        .write_all(b"POST /v3/maintenance/status HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let value = |name: &str| {
        let at = text.find(&format!("\"{name}\":\"")).unwrap_or_else(|| panic!("no {name} in {text}"));
        text[at..].split('"').nth(3).unwrap().to_owned()
    };
    (value("member_id"), value("leader"))
}

/// Writes keys one after the other while the leader, to which writer and watcher are connected, gets `signal`.
fn the_leader_goes(signal: Signal) {
    const COUNT: usize = 300;
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    let watched = cluster.open(leader);
    let mut watch = watched.watch("/k/", watched.revision().unwrap()).unwrap();
    let writer = cluster.open(leader);
    let writing = std::thread::spawn(move || {
        for number in 0..COUNT {
            let key = format!("/k/{number:04}");
            loop {
                match writer.create(&key, b"v") {
                    Ok(_) => break,
                    // It may be there: who isn't sure looks.
                    Err(Error::Unknown { .. }) if writer.get(&key).unwrap().is_some() => break,
                    Err(Error::Unknown { .. }) => {}
                    Err(error) => panic!("{key}: {error}"),
                }
            }
        }
    });
    let mut seen: Vec<String> = Vec::new();
    let mut went = false;
    while seen.len() < COUNT {
        match watch.next(PATIENCE) {
            Ok(changes) => {
                assert!(!changes.is_empty(), "nothing more comes after {}", seen.len());
                seen.extend(changes.iter().map(|change| match change {
                    Change::Put(kv) => kv.key.clone(),
                    other => panic!("{other:?}"),
                }));
            }
            // An outage is no end.
            Err(error) => assert!(matches!(error, Error::Unavailable { .. }), "{error}"),
        }
        if seen.len() >= 100 && !went {
            kill(Pid::from_raw(cluster.members[leader].id().cast_signed()), signal).unwrap();
            went = true;
        }
    }
    writing.join().unwrap();
    let in_order: Vec<String> = (0..COUNT).map(|number| format!("/k/{number:04}")).collect();
    assert_eq!(seen, in_order, "each write once, in order");
    // A command that begins with the member that is gone finds the others.
    assert_eq!(cluster.open(leader).list_all("/k/").unwrap().items.len(), COUNT);
    cluster.members[leader].kill();
}

#[test]
fn a_leader_that_is_killed_stops_neither_writes_nor_watches() {
    the_leader_goes(Signal::SIGKILL);
}

#[test]
fn nor_does_one_that_hangs() {
    the_leader_goes(Signal::SIGSTOP);
}
