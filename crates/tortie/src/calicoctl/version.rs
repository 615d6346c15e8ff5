//! `calicoctl version`: of this program and of the cluster.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tortie_api::duration;
use tortie_api::kind::{Kind, ResourceKey};
use tortie_store::resources::{COMPATIBLE_VERSION, Client};

use crate::objects::{self, Failure};
use crate::settings;

/// The arguments of `calicoctl version`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A file with the settings of the datastore.
    #[arg(short, long, default_value = settings::DEFAULT_FILE)]
    config: PathBuf,
    /// Look again and again, so often: 1s, 10m, 2h; what changed is shown.
    #[arg(long, default_value = "", hide_default_value = true)]
    poll: String,
    /// Only the version of this program.
    #[arg(long)]
    client: bool,
    /// Only the version of the cluster.
    #[arg(long)]
    cluster: bool,
}

/// Shows the versions.
pub fn run(arguments: &Arguments) -> ExitCode {
    match show(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print(),
    }
}

fn show(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { config, poll, client, cluster } = arguments;
    let pause = match poll.as_str() {
        "" => None,
        text => Some(
            parse(text)
                .ok_or_else(|| Failure::Command(format!("invalid poll duration specified: {text}")))?,
        ),
    };
    if !cluster {
        println!("Client Version:    {COMPATIBLE_VERSION}");
        println!("Git commit:        tortie-{}", env!("CARGO_PKG_VERSION"));
    }
    if *client {
        return Ok(());
    }
    objects::require_file(config)?;
    let store = settings::client(config, None).map_err(|error| Failure::Command(format!("{error:#}")))?;
    let mut shown = [String::new(), String::new()];
    loop {
        let found = look(&store);
        if let Ok(now) = &found {
            for (at, title) in ["Cluster Version:   ", "Cluster Type:      "].into_iter().enumerate() {
                if shown[at] != now[at] {
                    println!("{title}{}", now[at]);
                }
            }
        }
        let Some(pause) = pause.filter(|pause| !pause.is_zero()) else {
            return found.map(drop).map_err(Failure::Command);
        };
        shown = found.unwrap_or_else(|message| {
            eprintln!("{message}");
            Default::default()
        });
        std::thread::sleep(pause);
    }
}

/// Version and type of the cluster.
fn look(store: &Client) -> Result<[String; 2], String> {
    let id = ResourceKey::cluster(Kind::ClusterInformation, "default");
    let information =
        store.get(&id).map_err(|error| format!("unable to retrieve Cluster Version or Type: {error}"))?;
    Ok(["/spec/calicoVersion", "/spec/clusterType"].map(|path| {
        let text = information.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.unwrap_or("unknown").to_owned()
    }))
}

fn parse(text: &str) -> Option<Duration> {
    let span: duration::Duration = text.parse().ok()?;
    u64::try_from(span.nanoseconds).ok().map(Duration::from_nanos)
}
