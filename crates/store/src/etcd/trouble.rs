//! What etcd's refusals mean: whether to try again, what may have been done, and what people can do about it.

use std::time::Duration;

use super::grpc::{self, Failure};
use super::session::Repeat;
use crate::Error;
use crate::wire::Words;
use crate::wire::connect::Link;

/// What people are told of the servers.
pub const WORDS: Words = Words {
    name: "etcd",
    authority: "ETCD_CA_CERT_FILE must name the authority that signed its certificate",
    certificate: "ETCD_CERT_FILE and ETCD_KEY_FILE must name a certificate that it accepts",
};

/// What to do about a [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The call has done nothing, or only reads: make it again, perhaps at another server.
    Again {
        /// Whether this server is not the right one to ask.
        elsewhere: bool,
    },
    /// It may have been done.
    Unknown,
    /// Log in again, then make it again.
    LogIn,
    /// A revision was asked for that is compacted, or in the future.
    OutOfRange,
    /// Another try would end the same way.
    Final,
}

/// What to do about `failure`.
pub fn verdict(failure: &Failure, repeat: Repeat) -> Verdict {
    let open = match repeat {
        Repeat::Harmless => Verdict::Again { elsewhere: true },
        Repeat::Never => Verdict::Unknown,
    };
    let (code, message) = match failure {
        Failure::NotSent(_) => return Verdict::Again { elsewhere: false },
        Failure::Lost(_) => return open,
        Failure::Status { code, message } => (*code, message.as_str()),
    };
    match code {
        grpc::OUT_OF_RANGE => Verdict::OutOfRange,
        grpc::UNAUTHENTICATED => Verdict::LogIn,
        grpc::INVALID_ARGUMENT if message.contains("revision in header is old") => Verdict::LogIn,
        grpc::INVALID_ARGUMENT | grpc::PERMISSION_DENIED | grpc::FAILED_PRECONDITION => Verdict::Final,
        // Refused before anything was proposed to the others.
        grpc::UNAVAILABLE if message.contains("no leader") => Verdict::Again { elsewhere: true },
        grpc::RESOURCE_EXHAUSTED if message.contains("too many requests") => {
            Verdict::Again { elsewhere: false }
        }
        grpc::RESOURCE_EXHAUSTED => Verdict::Final,
        _ => open,
    }
}

/// A failure in words.
pub fn words(failure: Failure) -> String {
    match failure {
        Failure::NotSent(cause) | Failure::Lost(cause) => format!("the connection to etcd is lost: {cause}"),
        Failure::Status { message, code } if message.is_empty() => format!("gRPC code {code}"),
        Failure::Status { message, .. } => message,
    }
}

/// What a server may want that takes a connection and drops it without a word.
pub fn at_first_contact(failure: Failure, link: &Link) -> Failure {
    let hint = match link.scheme {
        "https" => {
            "if it asks for a certificate, ETCD_CERT_FILE and ETCD_KEY_FILE must name one that it accepts"
        }
        _ => "if it speaks TLS it is https://",
    };
    let told = |cause: String| format!("{cause}; {} took it: {hint}", link.authority);
    match failure {
        Failure::NotSent(cause) => Failure::NotSent(told(cause)),
        Failure::Lost(cause) => Failure::Lost(told(cause)),
        status @ Failure::Status { .. } => status,
    }
}

/// No answer in time, in words.
pub fn silence(patience: Duration) -> String {
    format!("no answer within {} s", patience.as_secs_f32())
}

/// What people can do about etcd's words, by a part of them.
const HINTS: [(&str, &str); 7] = [
    (
        "database space exceeded",
        "etcd is full and takes no more writes (alarm NOSPACE). Make room: `etcdctl compact REVISION`, `etcdctl defrag`, \
         then `etcdctl alarm disarm`; --quota-backend-bytes raises the limit",
    ),
    ("request is too large", "etcd takes 1.5 MB at once; --max-request-bytes raises the limit"),
    ("user name is empty", "this cluster asks who we are: set ETCD_USERNAME and ETCD_PASSWORD"),
    ("invalid user ID or password", "ETCD_USERNAME and ETCD_PASSWORD say who we are"),
    ("permission denied", "the user's role must read and write the keys that begin with /calico/"),
    ("request timed out", "most of the cluster's members must be up and reach each other"),
    ("no leader", "most of the cluster's members must be up and reach each other"),
];

/// A failure that stays as the error that it is for the caller.
pub fn explain(attempt: &str, failure: Failure) -> Error {
    let refused = matches!(
        failure,
        Failure::Status {
            code: grpc::INVALID_ARGUMENT | grpc::PERMISSION_DENIED | grpc::FAILED_PRECONDITION,
            ..
        }
    );
    let mut cause = words(failure);
    if let Some((_, hint)) = HINTS.iter().find(|(part, _)| cause.contains(part)) {
        cause = format!("{cause}; {hint}");
    }
    match refused {
        true => Error::Refused { attempt: attempt.to_owned(), cause },
        false => Error::unavailable(attempt, cause),
    }
}
