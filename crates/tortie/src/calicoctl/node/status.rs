//! `calicoctl node status`: whether the agent runs. There is no BGP yet, which is said as calicoctl says it.

use tortie_agent::protocol::{Question, Reply, ask};

use crate::objects::Failure;
use crate::settings;

/// Asks the agent.
///
/// # Errors
/// That none answers.
pub fn show() -> Result<(), Failure> {
    let answer: Result<Reply, _> = ask(&settings::agent_socket(), &Question::Status);
    if let Err(error) = answer {
        tracing::info!(%error, "no agent answers");
        return Err(Failure::Command("Calico process is not running.".to_owned()));
    }
    println!(
        "Calico process is running.\n\nNone of the BGP backend processes (BIRD or GoBGP) are running.\n"
    );
    Ok(())
}
