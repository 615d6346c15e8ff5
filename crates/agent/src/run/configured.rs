//! Settings while the agent runs: FelixConfigurations come as events, as everything in the store does.
//!
//! What [`LIVE`] names takes effect at once; the rest is fixed at the start, and a change of it is
//! logged and shown until the agent is started again.

use tortie_api::event::Event;
use tortie_api::kind::Kind;

use super::Agent;
use crate::config::{Environment, LIVE, Resolved, Source, Stored, Told};
use crate::core::Input;
use crate::status::{Fault, SettingStatus};

/// What the settings come from, and what they came to.
pub struct Configured {
    environment: Environment,
    stored: Stored,
    /// What the sources say now.
    resolved: Resolved,
    /// What the agent runs with.
    in_use: Vec<Told>,
}

impl Configured {
    /// What the agent starts with.
    pub fn new(environment: &Environment, stored: Stored) -> Self {
        let resolved = environment.resolve(&stored);
        let in_use = resolved.told.clone();
        let configured = Self { environment: environment.clone(), stored, resolved, in_use };
        configured.tell_refused(&[]);
        for told in configured.in_use.iter().filter(|told| told.source != Source::Default) {
            let from = told.source.describe(configured.environment.node());
            tracing::info!(setting = told.name, value = told.value, from, "set");
        }
        configured
    }

    /// What it comes to now.
    pub fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    fn tell_refused(&self, known: &[String]) {
        for refused in &self.resolved.refused {
            let error = refused.error.to_string();
            if !known.contains(&error) {
                let from = refused.source.describe(self.environment.node());
                tracing::warn!(error, from, "a setting cannot work: it is {} instead", refused.instead);
            }
        }
    }

    /// The settings in use; what the agent has to be started again for.
    pub fn status(&self) -> Vec<SettingStatus> {
        let node = self.environment.node();
        let line = |(used, wanted): (&Told, &Told)| SettingStatus {
            name: used.name.to_owned(),
            value: used.value.clone(),
            source: used.source.describe(node),
            after_restart: (used.value != wanted.value).then(|| wanted.value.clone()),
        };
        self.in_use.iter().zip(&self.resolved.told).map(line).collect()
    }

    /// What of the stored settings isn't used as it is written.
    pub fn faults(&self) -> impl Iterator<Item = Fault> {
        let kind = Kind::FelixConfiguration.qualified_name();
        let refused = self.resolved.refused.iter().map(move |refused| Fault {
            kind: kind.to_owned(),
            name: match &refused.source {
                Source::Selected(name) => name.to_string(),
                Source::Node => format!("node.{}", self.environment.node()),
                Source::Everyone | Source::Environment | Source::Default => "default".to_owned(),
            },
            effect: format!("gives way to {}", refused.instead),
            error: refused.error.to_string(),
        });
        let passed_over = self.stored.passed_over().into_iter().map(move |(key, error)| Fault {
            kind: kind.to_owned(),
            name: key.full_name(),
            effect: "is passed over".to_owned(),
            error,
        });
        refused.chain(passed_over)
    }
}

impl Agent<'_> {
    /// Takes in an event if it is about settings.
    pub fn on_configuration(&mut self, event: &Event) {
        let configured = &mut self.configured;
        if !configured.stored.on_event(event) {
            return;
        }
        let before =
            std::mem::replace(&mut configured.resolved, configured.environment.resolve(&configured.stored));
        let known: Vec<String> = before.refused.iter().map(|refused| refused.error.to_string()).collect();
        configured.tell_refused(&known);
        for ((used, wanted), before) in
            configured.in_use.iter_mut().zip(&configured.resolved.told).zip(&before.told)
        {
            let from = wanted.source.describe(configured.environment.node());
            if LIVE.contains(&used.name) {
                if used != wanted {
                    tracing::info!(setting = used.name, value = wanted.value, from, "set");
                }
                *used = wanted.clone();
            } else if wanted != before && wanted.value != used.value {
                tracing::warn!(
                    setting = used.name,
                    value = wanted.value,
                    from,
                    "set, but {} until the agent is restarted",
                    used.value
                );
            }
        }
        let wanted = &configured.resolved.settings;
        self.settings.log_prefix.clone_from(&wanted.log_prefix);
        if self.settings.severity != wanted.severity {
            self.settings.severity = wanted.severity;
            (self.log_what)(wanted.severity);
        }
        if self.settings.endpoint_to_host != wanted.endpoint_to_host {
            self.settings.endpoint_to_host = wanted.endpoint_to_host;
            if let Err(error) = self.driver.set_endpoint_to_host(wanted.endpoint_to_host) {
                tracing::error!(%error, "the kernel refused; trying again from the start");
                self.core.on_input(Input::Drift);
            }
        }
    }
}
