//! What the backends share that speak with servers: where one is, TLS, a connection of HTTP/2, and the queue of a watch.
//!
//! Who is spoken with, and what people are told when it doesn't work, is the backend's: [`Words`].

pub mod connect;
pub mod driver;
pub mod pipe;
pub mod tls;

use std::path::PathBuf;

/// A certificate or key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// The file that holds it.
    File(PathBuf),
    /// It itself.
    Text(String),
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    /// `http://HOST:PORT`, `https://HOST:PORT`, or `HOST:PORT` for the first; `port` says which one is meant by none.
    pub fn read(text: &str, port: impl Fn(bool) -> u16) -> Option<Endpoint> {
        let text = text.trim().trim_end_matches('/');
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return None,
            None => (false, text),
        };
        let (host, given) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port),
            None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
        };
        let port = match given.strip_prefix(':') {
            Some(given) => given.parse().ok()?,
            None if given.is_empty() => port(tls),
            None => return None,
        };
        let odd = |c: char| c.is_whitespace() || "/,@[]".contains(c);
        (!host.is_empty() && !host.contains(odd)).then(|| Endpoint { tls, host: host.to_owned(), port })
    }

    /// `HOST:PORT`.
    pub fn authority(&self) -> String {
        let Endpoint { tls: _, host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme(), self.authority())
    }
}

/// What people are told of a server.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// What it is called.
    pub name: &'static str,
    /// Where the authority is set that signed its certificate: a whole hint.
    pub authority: &'static str,
    /// Where our certificate is set: a whole hint.
    pub certificate: &'static str,
}
