//! `tortie crds`: Calico's kinds for the Kubernetes API, as `deploy/crds.yaml` has them.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context;

/// Prints them.
///
/// # Errors
/// If standard output can't be written.
pub fn run() -> anyhow::Result<ExitCode> {
    std::io::stdout()
        .write_all(tortie_api::crd::yaml().as_bytes())
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
