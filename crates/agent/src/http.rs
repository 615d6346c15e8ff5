//! Health and metrics over HTTP, on loopback unless the settings name another address.

use std::net::TcpListener;
use std::sync::mpsc::Sender;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::monitors::spawn;
use crate::protocol::{Question, Reply};
use crate::run::Heard;
use crate::{Error, Result};

/// For how long the loop may be silent before the agent counts as dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers `/liveness` and `/readiness` at `health` and `/metrics` at `metrics`.
///
/// # Errors
/// [`Error::Listen`] if an address is taken.
pub fn serve(health: Option<&str>, metrics: Option<&str>, heard: Sender<Heard>) -> Result<()> {
    let mut served = Vec::new();
    if let Some(address) = health {
        let (live, ready) = (heard.clone(), heard.clone());
        let router = Router::new()
            .route("/liveness", get(move || probe(live.clone(), false)))
            .route("/readiness", get(move || probe(ready.clone(), true)));
        served.push((listen(address)?, router));
    }
    if let Some(address) = metrics {
        let router = Router::new().route("/metrics", get(move || scrape(heard.clone())));
        served.push((listen(address)?, router));
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
            for (listener, router) in served {
                match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => {
                        running.spawn(async move { axum::serve(listener, router).await });
                    }
                    Err(error) => tracing::error!(%error, "cannot listen"),
                }
            }
            while running.join_next().await.is_some() {}
        });
    })?;
    Ok(())
}

fn listen(address: &str) -> Result<TcpListener> {
    let failed = |source| Error::Listen { address: address.to_owned(), source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
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
