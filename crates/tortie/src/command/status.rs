//! `tortie status`: what the agent of this machine holds, and what its rules counted.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use tabwriter::TabWriter;
use tortie_agent::protocol::{Question, Reply, ask};
use tortie_agent::status::{SettingStatus, Status};

use super::Output;

/// The arguments of `tortie status`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How to write the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Asks the agent. The exit status is 0 only if policy is in force and everything is understood.
///
/// # Errors
/// If no agent answers.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { output } = arguments;
    let socket = crate::settings::agent_socket();
    let reply = ask(&socket, &Question::Status).context("is the agent running? (`tortie agent`)")?;
    let Reply::Status(status) = reply else { bail!("the agent answered {reply:?}") };
    match output {
        Output::Json => println!("{}", serde_json::to_string(&status)?),
        Output::Text => print!("{}", text(&status)?),
    }
    Ok(if status.ready && status.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The status for people.
pub fn text(status: &Status) -> anyhow::Result<String> {
    let mut table = TabWriter::new(Vec::new()).minwidth(5).padding(3);
    let force = match (status.in_sync, status.ready) {
        (_, true) => "in force",
        (true, false) => "known, but not in the kernel: see the agent's log",
        (false, false) => "not known yet: the store is being read",
    };
    writeln!(table, "Node {} (tortie {}): policy is {force}.", status.node, status.version)?;
    let sizes = status.sizes;
    writeln!(
        table,
        "{} address classes of {} prefixes, {} port classes, {} stacks, {} verdicts, {} counters.",
        sizes.classes, sizes.prefixes, sizes.l4, sizes.stacks, sizes.entries, sizes.paths
    )?;
    if !status.faults.is_empty() {
        writeln!(table, "\nNOT UNDERSTOOD\tNAME\tEFFECT\tWHY")?;
        for fault in &status.faults {
            writeln!(table, "{}\t{}\t{}\t{}", fault.kind, fault.name, fault.effect, fault.error)?;
        }
    }
    let set = status.settings.iter().filter(|set| set.source != "default" || set.after_restart.is_some());
    let set: Vec<_> = set.collect();
    if !set.is_empty() {
        writeln!(table, "\nSETTING\tVALUE\tFROM\tAFTER A RESTART")?;
        for SettingStatus { name, value, source, after_restart } in set {
            writeln!(table, "{name}\t{value}\t{source}\t{}", after_restart.as_deref().unwrap_or("the same"))?;
        }
    }
    writeln!(table, "\nNAMESPACE\tENDPOINT\tINTERFACE\tADDRESSES")?;
    for endpoint in &status.endpoints {
        let addresses = endpoint.addresses.join(",");
        writeln!(table, "{}\t{}\t{}\t{addresses}", endpoint.namespace, endpoint.name, endpoint.interface)?;
    }
    writeln!(table, "\nTIER\tKIND\tPOLICY\tDIRECTION\tRULE\tPACKETS\tBYTES")?;
    for policy in &status.policies {
        for rule in &policy.rules {
            let index = if rule.rule < 0 { "end".to_owned() } else { rule.rule.to_string() };
            writeln!(
                table,
                "{}\t{}\t{}\t{}\t{index}\t{}\t{}",
                policy.tier, policy.kind, policy.name, rule.direction, rule.packets, rule.bytes
            )?;
        }
    }
    writeln!(table, "\nDROPPED UNJUDGED\tPACKETS\tBYTES")?;
    for (reason, counted) in &status.drops {
        writeln!(table, "{reason}\t{}\t{}", counted.packets, counted.bytes)?;
    }
    table.flush()?;
    let bytes = table.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(String::from_utf8(bytes)?)
}
