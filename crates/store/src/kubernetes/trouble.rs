//! What the API server's refusals mean, and what people can do about them.

use http::StatusCode;
use serde::Deserialize;

use super::http::Answer;
use crate::Error;
use crate::wire::Words;

/// What people are told of the server.
pub const WORDS: Words = Words {
    name: "the Kubernetes API",
    authority: "the kubeconfig's certificate-authority (K8S_CA_FILE) must have signed its certificate",
    certificate: "the kubeconfig's client-certificate (K8S_CERT_FILE) must be one that it accepts",
};

/// Kubernetes' form of a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    code: u16,
}

/// What a refusal says: the reason's name and the words.
pub fn said(body: &[u8]) -> (String, String) {
    match serde_json::from_slice::<Status>(body) {
        Ok(Status { message, reason, .. }) if !message.is_empty() => (reason, message),
        _ => (String::new(), String::from_utf8_lossy(&body[..body.len().min(500)]).trim().to_owned()),
    }
}

/// The code in a refusal that came as an event of a watch, and its words.
pub fn of_event(object: &[u8]) -> (u16, String) {
    let Status { message, code, .. } = serde_json::from_slice(object).unwrap_or_default();
    (code, message)
}

/// A refusal as the error that it is for the caller.
pub fn explain(attempt: &str, answer: &Answer) -> Error {
    let (_, words) = said(&answer.body);
    let hint = match answer.status {
        StatusCode::UNAUTHORIZED => {
            "; it doesn't know us: is the token or certificate in the kubeconfig still valid?"
        }
        StatusCode::FORBIDDEN => "; the user's or service account's role must allow it (RBAC)",
        StatusCode::PAYLOAD_TOO_LARGE => "; the API server takes 3 MB at once",
        _ => "",
    };
    let cause = match words.is_empty() {
        true => format!("HTTP status {}{hint}", answer.status),
        false => format!("{words}{hint}"),
    };
    let attempt = attempt.to_owned();
    match answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
        true => Error::Unavailable { attempt, cause },
        false => Error::Refused { attempt, cause },
    }
}

/// Whether a revision was asked for that isn't there yet.
pub fn is_future(answer: &Answer) -> bool {
    answer.status == StatusCode::GATEWAY_TIMEOUT
        && said(&answer.body).1.contains("Too large resource version")
}
