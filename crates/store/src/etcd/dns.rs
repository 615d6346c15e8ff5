//! The servers of a cluster by its domain, as etcd's own clients find them: the SRV records of `_etcd-client-ssl._tcp.DOMAIN` (TLS)
//! and `_etcd-client._tcp.DOMAIN`, those with the lowest priority first, the heaviest first among equals.
//!
//! One question and one answer: asked by UDP, again by TCP if the answer is too long for it. The system's resolver has no portable
//! call for such records, and a resolver of its own would be larger than all else that speaks with etcd.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::options::Endpoint;
use crate::{Error, Result};

/// Where the system's name servers stand.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How long one server may take, and how often each is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;

const SRV: u16 = 33;
const INTERNET: u16 = 1;
const HEADER: usize = 12;

/// The two services, and whether they speak TLS.
const SERVICES: [(&str, bool); 2] = [("_etcd-client-ssl._tcp", true), ("_etcd-client._tcp", false)];

/// The servers of `domain`, as the system's name servers know them.
///
/// # Errors
/// [`Error::Unavailable`] with what each name server said.
pub fn discover(domain: &str) -> Result<Vec<Endpoint>> {
    discover_by(domain, &name_servers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default()))
}

/// The same, by these name servers.
///
/// # Errors
/// [`Error::Unavailable`] with what each name server said.
pub fn discover_by(domain: &str, servers: &[SocketAddr]) -> Result<Vec<Endpoint>> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for (service, tls) in SERVICES {
        let name = format!("{service}.{}", domain.trim_end_matches('.'));
        match ask(&name, servers) {
            Ok(mut records) => {
                records.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
                let endpoint = |record: Record| Endpoint { tls, host: record.target, port: record.port };
                found.extend(records.into_iter().map(endpoint));
            }
            Err(failure) => failures.push(format!("{name}: {failure}")),
        }
    }
    if found.is_empty() {
        let attempt = format!("find the etcd servers of ETCD_DISCOVERY_SRV {domain:?}");
        return Err(Error::unavailable(attempt, failures.join("; ")));
    }
    Ok(found)
}

/// The name servers of a `resolv.conf`; the one on this machine if it names none.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let named = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    let servers: Vec<SocketAddr> = named.map(|address| SocketAddr::new(address, 53)).collect();
    if servers.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)] } else { servers }
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

/// The records of a name, by the first server that knows; at least one.
fn ask(name: &str, servers: &[SocketAddr]) -> std::result::Result<Vec<Record>, String> {
    let mut failure = "no name server is known".to_owned();
    for server in servers.iter().cycle().take(ROUNDS * servers.len()) {
        match ask_one(name, *server) {
            Ok(Answer::Records(records)) if !records.is_empty() => return Ok(records),
            Ok(Answer::Records(_)) => return Err("no such record".to_owned()),
            Ok(Answer::Failed(code)) => failure = format!("name server {server}: it fails with code {code}"),
            Err(error) => failure = format!("name server {server}: {error}"),
        }
    }
    Err(failure)
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Records(Vec<Record>),
    /// Its code for why it doesn't know.
    Failed(u8),
}

fn ask_one(name: &str, server: SocketAddr) -> std::io::Result<Answer> {
    let id = rand_id();
    let question = question(id, name).ok_or_else(|| invalid("no name of the DNS"))?;
    let own: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(own)?;
    // What comes from anybody else never arrives.
    socket.connect(server)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&question)?;
    let mut answer = vec![0; 4096];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    let is_cut = answer.get(2).is_some_and(|flags| flags & 2 != 0);
    if is_cut {
        let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = u16::try_from(question.len()).map_err(|_| invalid("the question is too long"))?;
        stream.write_all(&[&length.to_be_bytes()[..], &question].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer)?;
    }
    read(&answer, id).ok_or_else(|| invalid("its answer makes no sense"))
}

fn invalid(message: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}

/// A number that nobody on the way can guess: the hasher's keys are random.
fn rand_id() -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    #[expect(clippy::cast_possible_truncation, reason = "sixteen of its bits")]
    let id = RandomState::new().hash_one(0) as u16;
    id
}

/// The message that asks for a name's SRV records; `None` if no name of the DNS is like that.
fn question(id: u16, name: &str) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    // Recursion is desired; one question.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend([SRV.to_be_bytes(), INTERNET.to_be_bytes()].concat());
    (message.len() <= HEADER + 255 + 4).then_some(message)
}

/// What an answer to the question `id` says; `None` if it is none.
fn read(message: &[u8], id: u16) -> Option<Answer> {
    const ANSWER: u8 = 0x80;
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    if word(0)? != id || message.get(2)? & ANSWER == 0 {
        return None;
    }
    match message.get(3)? & 0xf {
        0 => {}
        // There is no such name.
        3 => return Some(Answer::Records(Vec::new())),
        code => return Some(Answer::Failed(code)),
    }
    let mut at = HEADER;
    for _ in 0..word(4)? {
        at = read_name(message, at)?.1 + 4;
    }
    let mut records = Vec::new();
    for _ in 0..word(6)? {
        at = read_name(message, at)?.1;
        let (kind, length) = (word(at)?, usize::from(word(at + 8)?));
        at += 10;
        if kind == SRV {
            let target = read_name(message, at + 6)?.0;
            // `.` says that there is no such service.
            if !target.is_empty() {
                records.push(Record {
                    priority: word(at)?,
                    weight: word(at + 2)?,
                    port: word(at + 4)?,
                    target,
                });
            }
        }
        at += length;
    }
    Some(Answer::Records(records))
}

/// A name, and where what follows it begins.
fn read_name(message: &[u8], start: usize) -> Option<(String, usize)> {
    const POINTER: u8 = 0xc0;
    let (mut at, mut end, mut labels) = (start, None, Vec::new());
    // A name has at most 127 labels: who points in circles comes to an end.
    for _ in 0..=256 {
        let length = *message.get(at)?;
        if length & POINTER == POINTER {
            end = end.or(Some(at + 2));
            at = usize::from(u16::from_be_bytes([length & !POINTER, *message.get(at + 1)?]));
        } else if length == 0 {
            return Some((labels.join("."), end.unwrap_or(at + 1)));
        } else {
            let label = message.get(at + 1..at + 1 + usize::from(length))?;
            labels.push(std::str::from_utf8(label).ok()?.to_owned());
            at += 1 + usize::from(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn name_servers_are_those_of_the_system_or_this_machines() {
        let text = "# own\nsearch example.org\nnameserver 10.0.0.53 \nnameserver fd00::53\nnameserver what\n";
        let servers: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.53:53", "[fd00::53]:53"]);
        assert_eq!(name_servers("")[0].to_string(), "127.0.0.1:53");
    }

    #[test]
    fn no_message_of_a_stranger_is_too_odd_to_read() {
        let mut message = question(7, "_etcd-client._tcp.example.org").unwrap();
        assert_eq!(read(&message, 7), None, "a question is no answer");
        message[2] |= 0x80;
        assert_eq!(read(&message, 8), None, "the answer to another question");
        assert_eq!(read(&message, 7), Some(Answer::Records(Vec::new())));
        message[3] |= 2;
        assert_eq!(read(&message, 7), Some(Answer::Failed(2)));
        message[3] ^= 2;
        // One record, whose name points at itself.
        message[7] = 1;
        let own = u8::try_from(message.len()).unwrap();
        message.extend([0xc0, own]);
        assert_eq!(read(&message, 7), None);
        for length in 0..message.len() {
            drop(read(&message[..length], 7));
        }
        assert_eq!(question(0, "a..b"), None);
        assert_eq!(question(0, &"a".repeat(64)), None);
        assert_eq!(question(0, &["a"; 200].join(".")), None);
    }
}
