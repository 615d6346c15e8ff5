//! Servers that are found by their domain, asked of a name server on this machine's loopback.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use tortie_store::Datastore as _;
use tortie_store::etcd::server::{Server, Start};
use tortie_store::etcd::{Etcd, Options, dns};

/// A record: whether of the service with TLS, priority, weight, port, target.
type Record = (bool, u16, u16, u16, &'static str);

/// A name server that knows these records, by UDP up to 512 bytes and by TCP all of them. It lives as long as the process.
fn name_server(records: Vec<Record>) -> SocketAddr {
    let (socket, listener) = (0..100)
        .find_map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let listener = TcpListener::bind(socket.local_addr().unwrap()).ok()?;
            Some((socket, listener))
        })
        .unwrap();
    let address = socket.local_addr().unwrap();
    let by_tcp = records.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut question = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut question).unwrap();
            let answer = answer(&question, &by_tcp);
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &answer].concat()).unwrap();
        }
    });
    std::thread::spawn(move || {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question) {
            let mut answer = answer(&question[..length], &records);
            if answer.len() > 512 {
                // Cut, and said to be.
                answer.truncate(length);
                answer[2] |= 2;
                answer[7] = 0;
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
    address
}

fn answer(question: &[u8], records: &[Record]) -> Vec<u8> {
    let name = String::from_utf8_lossy(&question[12..]).into_owned();
    let asked = records.iter().filter(|record| {
        let label = if record.0 { "\u{10}_etcd-client-ssl\u{4}_tcp" } else { "\u{c}_etcd-client\u{4}_tcp" };
        name.starts_with(&format!("{label}\u{7}example\u{3}org"))
    });
    let mut message = question.to_vec();
    message[2] |= 0x80;
    let mut count = 0;
    for (_, priority, weight, port, target) in asked {
        count += 1;
        let mut target_bytes = Vec::new();
        for label in target.split('.').filter(|label| !label.is_empty()) {
            target_bytes.push(u8::try_from(label.len()).unwrap());
            target_bytes.extend(label.as_bytes());
        }
        target_bytes.push(0);
        // The name, by a pointer to the question's; SRV, of the internet, for a minute.
        message.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(6 + target_bytes.len()).unwrap().to_be_bytes());
        for number in [priority, weight, port] {
            message.extend(number.to_be_bytes());
        }
        message.extend(target_bytes);
    }
    message[7] = count;
    if count == 0 {
        message[3] |= 3;
    }
    message
}

fn found(server: SocketAddr) -> Vec<String> {
    let endpoints = dns::discover_by("example.org.", &[server]).unwrap();
    endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn servers_are_found_by_their_domain_in_the_order_that_the_records_say() {
    let server = name_server(vec![
        (false, 1, 0, 2379, "plain.example.org"),
        (true, 20, 0, 2379, "last.example.org"),
        (true, 10, 1, 2379, "light.example.org"),
        (true, 10, 9, 4001, "heavy.example.org"),
    ]);
    let expected = [
        "https://heavy.example.org:4001",
        "https://light.example.org:2379",
        "https://last.example.org:2379",
        "http://plain.example.org:2379",
    ];
    assert_eq!(found(server), expected);
    // A name server that doesn't answer is passed over.
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers = [closed, silent.local_addr().unwrap(), server];
    assert_eq!(dns::discover_by("example.org", &servers).unwrap().len(), 4);
}

#[test]
fn an_answer_that_is_too_long_for_udp_is_fetched_by_tcp() {
    let records =
        (0..20).map(|number| (true, number, 0, 2379, "a-name-that-takes-its-room.example.org")).collect();
    assert_eq!(found(name_server(records)).len(), 20);
}

#[test]
fn a_domain_without_servers_is_named_with_what_was_asked() {
    let server = name_server(vec![(true, 1, 1, 1, ".")]);
    let error = dns::discover_by("example.org", &[server]).unwrap_err().to_string();
    assert!(error.contains("ETCD_DISCOVERY_SRV \"example.org\""), "{error}");
    assert!(error.contains("_etcd-client._tcp.example.org: no such record"), "{error}");
    let error = dns::discover_by("no..domain", &[server]).unwrap_err().to_string();
    assert!(error.contains("no name of the DNS"), "{error}");
}

#[test]
fn an_etcd_that_was_found_so_is_spoken_to() {
    let directory = tempfile::tempdir().unwrap();
    let etcd = Server::start(Start { directory: directory.path().to_owned(), ..Start::default() }).unwrap();
    let server = name_server(vec![(false, 1, 1, etcd.endpoint().port, "localhost")]);
    let store = Etcd::open(Options::new(dns::discover_by("example.org", &[server]).unwrap())).unwrap();
    store.create("/a", b"1").unwrap();
    assert_eq!(store.get("/a").unwrap().unwrap().value, b"1");
}
