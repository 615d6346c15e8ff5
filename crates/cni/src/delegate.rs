//! Other IPAM plugins (`host-local` and any other type): run as the specification says, on the caller's `CNI_PATH`.

use crate::output::Attachment;
use crate::request::{Command, Request};
use crate::{Error, Result};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

/// Runs the IPAM plugin of the request for an ADD.
///
/// # Errors
/// [`Error::Delegate`] with what it said, [`Error::Config`] if it isn't found.
pub fn add(request: &Request, raw: &Value) -> Result<Attachment> {
    let output = run(request, raw, "ADD")?;
    let json: Value = serde_json::from_slice(&output)
        .map_err(|error| Error::Decode { what: "IPAM result", cause: error.to_string() })?;
    Attachment::parse(&json)
}

/// Runs it for a DEL, CHECK, STATUS or GC.
///
/// # Errors
/// As [`add`].
pub fn call(request: &Request, raw: &Value, command: Command) -> Result<()> {
    let name = match command {
        Command::Add | Command::Version => return Ok(()),
        Command::Del => "DEL",
        Command::Check => "CHECK",
        Command::Status => "STATUS",
        Command::Gc => "GC",
    };
    run(request, raw, name).map(drop)
}

fn run(request: &Request, raw: &Value, command: &str) -> Result<Vec<u8>> {
    let plugin = &request.config.ipam.plugin_type;
    let program = find(request, plugin)?;
    let attempt = || format!("run {} {command}", program.display());
    let failed = |source: std::io::Error| Error::system(attempt(), source);
    let mut child = std::process::Command::new(&program)
        .envs(&request.environment)
        .env("CNI_COMMAND", command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(raw.to_string().as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return written.map_err(failed).map(|()| output.stdout);
    }
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let message = match said["msg"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("{}: {}", output.status, String::from_utf8_lossy(&output.stdout).trim()),
    };
    Err(Error::Delegate { plugin: plugin.clone(), message })
}

fn find(request: &Request, plugin: &str) -> Result<PathBuf> {
    if plugin.is_empty() || plugin.contains('/') {
        return Err(Error::Config {
            field: "ipam.type",
            found: format!("{plugin:?}"),
            expected: "a plugin's name",
        });
    }
    let candidates = request.path.iter().map(|directory| PathBuf::from(directory).join(plugin));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| Error::Config {
        field: "ipam.type",
        found: format!("{plugin:?}, not found in CNI_PATH {:?}", request.path.join(":")),
        expected: "calico-ipam, or a plugin there",
    })
}
