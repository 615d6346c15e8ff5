//! Health and metrics over HTTP, on loopback unless the settings name another address.

use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::monitors::spawn;
use crate::protocol::{Question, Reply};
use crate::run::Heard;
use crate::{Error, Result};

/// For how long the loop may be silent before the agent counts as dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often an address that is taken is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Answers `/liveness` and `/readiness` at `health` and `/metrics` at `metrics`. An address that is
/// taken is tried until it is free: policy does not wait for it, and the status tells.
///
/// # Errors
/// [`Error::Process`] if there is no thread for it.
pub fn serve(health: Option<&str>, metrics: Option<&str>, heard: Sender<Heard>) -> Result<()> {
    let mut served = Vec::new();
    if let Some(address) = health {
        let (live, ready) = (heard.clone(), heard.clone());
        let router = Router::new()
            .route("/liveness", get(move || probe(live.clone(), false)))
            .route("/readiness", get(move || probe(ready.clone(), true)));
        served.push((address.to_owned(), router));
    }
    if let Some(address) = metrics {
        let asked = heard.clone();
        let router = Router::new().route("/metrics", get(move || scrape(asked.clone())));
        served.push((address.to_owned(), router));
    }
    if served.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Process { attempt: "start the web server", source })?;
    spawn("http", move || {
        runtime.block_on(async {
            let mut running = tokio::task::JoinSet::new();
            for (address, router) in served {
                let heard = heard.clone();
                running.spawn(async move {
                    let listener = listen(&address, &heard).await;
                    axum::serve(listener, router).await
                });
            }
            while running.join_next().await.is_some() {}
        });
    })?;
    Ok(())
}

/// Listens as soon as the address is free.
async fn listen(address: &str, heard: &Sender<Heard>) -> TcpListener {
    let mut refused = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                if refused {
                    drop(heard.send(Heard::Unserved(address.to_owned(), None)));
                }
                return listener;
            }
            Err(error) if !refused => {
                tracing::warn!(%error, address, "cannot listen; trying again until it is possible");
                drop(heard.send(Heard::Unserved(address.to_owned(), Some(error.to_string()))));
                refused = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Asks the agent's loop; `None` if it doesn't answer in time.
async fn ask(heard: Sender<Heard>, question: Question) -> Option<Reply> {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let answer = crate::run::Answer::new(move |reply| drop(answer.send(reply)));
    heard.send(Heard::Question(question, answer)).ok()?;
    tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()
}

async fn probe(heard: Sender<Heard>, readiness: bool) -> (StatusCode, &'static str) {
    match ask(heard, Question::Status).await {
        Some(Reply::Status(status)) if !readiness || status.ready => (StatusCode::OK, "ok\n"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "policy is not in force yet\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the agent's loop does not answer\n"),
    }
}

async fn scrape(heard: Sender<Heard>) -> (StatusCode, String) {
    match ask(heard, Question::Status).await {
        Some(Reply::Status(status)) => (StatusCode::OK, status.metrics()),
        _ => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
    }
}
