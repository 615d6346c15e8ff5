//! Who we are, as the API server is told with each call: a token that stands in the settings, in a file that others renew, or
//! that a program brings.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::options::{Credentials, Plugin};
use crate::resources::metadata::read_timestamp;
use crate::{Error, Result};

/// How long a token from a file is used before the file is read again. Kubernetes renews them when a fifth of an hour is left.
const FRESH: Duration = Duration::from_secs(10);

/// A token that a program brought is renewed so long before its end.
const EARLY: Duration = Duration::from_secs(30);

/// The value of the header `authorization`, as it changes.
pub struct Authorization {
    from: Credentials,
    known: Mutex<Option<Known>>,
}

struct Known {
    header: String,
    until: Option<Instant>,
}

/// What a program answers.
#[derive(Deserialize)]
struct Answer {
    status: Option<Given>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    token: Option<String>,
    expiration_timestamp: Option<String>,
}

impl Authorization {
    /// Nothing is read or started before it is asked.
    pub fn new(from: Credentials) -> Authorization {
        Authorization { from, known: Mutex::new(None) }
    }

    /// The header's value now; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if a file can't be read or a program doesn't do what it should.
    pub async fn header(&self) -> Result<Option<String>> {
        let mut known = self.known.lock().await;
        let valid = known.as_ref().filter(|known| known.until.is_none_or(|until| Instant::now() < until));
        if let Some(known) = valid {
            return Ok(Some(known.header.clone()));
        }
        let fresh = match &self.from {
            Credentials::None => return Ok(None),
            Credentials::Token(token) => Known { header: format!("Bearer {token}"), until: None },
            Credentials::Password { name, password } => Known {
                header: format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))),
                until: None,
            },
            Credentials::File(path) => {
                Known { header: from_file(path)?, until: Instant::now().checked_add(FRESH) }
            }
            Credentials::Plugin(plugin) => {
                let plugin = plugin.clone();
                let run = tokio::task::spawn_blocking(move || from_program(&plugin)).await;
                run.map_err(|error| Error::unavailable("run the kubeconfig's exec", error))??
            }
        };
        let header = fresh.header.clone();
        *known = Some(fresh);
        Ok(Some(header))
    }

    /// The server doesn't take it (any more): begin anew. Whether that may help.
    pub async fn forget(&self) -> bool {
        let renewed = matches!(self.from, Credentials::File(_) | Credentials::Plugin(_));
        if renewed {
            *self.known.lock().await = None;
        }
        renewed
    }
}

fn from_file(path: &Path) -> Result<String> {
    let failed = |cause: String| Error::unavailable(format!("read the token in {}", path.display()), cause);
    let token = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    match token.trim() {
        "" => Err(failed("it is empty".to_owned())),
        token => Ok(format!("Bearer {token}")),
    }
}

fn from_program(plugin: &Plugin) -> Result<Known> {
    let Plugin { program, arguments, environment, version } = plugin;
    let failed = |cause: String| {
        Error::unavailable(
            format!("run {}, which the kubeconfig names in users.user.exec", program.display()),
            cause,
        )
    };
    let info =
        format!(r#"{{"apiVersion":"{version}","kind":"ExecCredential","spec":{{"interactive":false}}}}"#);
    let output = Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("KUBERNETES_EXEC_INFO", info)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(format!("{}: {words}", output.status)));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(format!("its answer is no ExecCredential: {error}")))?;
    let given = answer.status.ok_or_else(|| failed("status: found nothing".to_owned()))?;
    let token = given.token.filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| failed("status.token: found nothing, expected a token".to_owned()))?;
    let until = match given.expiration_timestamp {
        None => None,
        Some(text) => {
            let end = read_timestamp(&text).ok_or_else(|| {
                failed(format!("status.expirationTimestamp: found {text:?}, expected a time (RFC 3339)"))
            })?;
            let left = end.duration_since(SystemTime::now()).unwrap_or_default();
            Instant::now().checked_add(left.saturating_sub(EARLY))
        }
    };
    Ok(Known { header: format!("Bearer {token}"), until })
}
