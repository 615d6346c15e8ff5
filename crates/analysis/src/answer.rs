//! What `judge` answers: allow or deny, who decided, and what was met on the way.
//!
//! The JSON form is the one that `explain` prints. Next hop: `story`, or whoever compares.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use tortie_api::kind::ResourceKey;

/// The name under which profiles stand where a tier is named.
pub const PROFILE_TIER: &str = "__PROFILE__";

/// Allow or deny.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// The packet goes on.
    Allow,
    /// It is dropped.
    Deny,
}

impl Outcome {
    /// `allow` or `deny`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A rule, or what stands for one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// A rule of a policy.
    Rule {
        /// The policy's tier.
        tier: Arc<str>,
        /// The policy.
        policy: ResourceKey,
        /// Its index from 0 in `spec.ingress` or `spec.egress`; 0 for the Deny that stands for a policy
        /// that can't be understood or enforced.
        rule: usize,
    },
    /// A tier's default action, told as rule -1 of the tier's first policy that applies to the endpoint.
    TierEnd {
        /// The tier.
        tier: Arc<str>,
        /// That policy.
        policy: ResourceKey,
    },
    /// A rule of a profile.
    Profile {
        /// The profile's name.
        profile: Arc<str>,
        /// Its index from 0.
        rule: usize,
    },
    /// The endpoint names a profile that doesn't exist: denies, told as its rule 0.
    MissingProfile {
        /// The name.
        profile: Arc<str>,
    },
    /// No rule of any profile matches, or there is no profile: denies.
    NoProfile,
    /// A port that a host endpoint never closes.
    Failsafe,
    /// Nothing applies: a forwarded packet that no policy speaks of.
    Nothing,
    /// A host speaks to its own workload, which is never denied.
    OwnHost,
    /// The host's setting for packets from its workloads to itself, after their egress.
    EndpointToHost,
}

impl By {
    /// The tier's name; empty if no tier decided.
    pub fn tier(&self) -> &str {
        match self {
            Self::Rule { tier, .. } | Self::TierEnd { tier, .. } => tier,
            Self::Profile { .. } | Self::MissingProfile { .. } | Self::NoProfile => PROFILE_TIER,
            Self::Failsafe | Self::Nothing | Self::OwnHost | Self::EndpointToHost => "",
        }
    }

    /// The policy's kind, `Profile`, `failsafe` or nothing.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rule { policy, .. } | Self::TierEnd { policy, .. } => policy.kind.qualified_name(),
            Self::Profile { .. } | Self::MissingProfile { .. } | Self::NoProfile => "Profile",
            Self::Failsafe => "failsafe",
            Self::Nothing | Self::OwnHost | Self::EndpointToHost => "",
        }
    }

    /// `namespace/name` or `name` of the policy, or the profile's name.
    pub fn policy(&self) -> String {
        match self {
            Self::Rule { policy, .. } | Self::TierEnd { policy, .. } => policy.full_name(),
            Self::Profile { profile, .. } | Self::MissingProfile { profile } => profile.to_string(),
            Self::NoProfile => PROFILE_TIER.to_owned(),
            Self::Failsafe | Self::Nothing | Self::OwnHost | Self::EndpointToHost => String::new(),
        }
    }

    /// The rule's index; -1 at the end of a tier or of the profiles; -2 where there is no rule.
    pub fn rule(&self) -> i64 {
        match self {
            Self::Rule { rule, .. } | Self::Profile { rule, .. } => i64::try_from(*rule).unwrap_or(i64::MAX),
            Self::MissingProfile { .. } => 0,
            Self::TierEnd { .. } | Self::NoProfile => -1,
            Self::Failsafe | Self::Nothing | Self::OwnHost | Self::EndpointToHost => -2,
        }
    }
}

/// What a packet met before its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A rule that logs.
    Log(By),
    /// A rule that passes on to the next tier, or a tier's end that does.
    Pass(By),
}

/// The verdict of one side.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Decision {
    /// Allow or deny.
    pub outcome: Outcome,
    /// Who decided.
    pub by: By,
    /// The Log and Pass rules met before, and the tiers' ends that passed the packet on, in order. Usually none.
    pub path: Vec<Step>,
}

impl Decision {
    /// A decision that nothing came before.
    pub(crate) fn at_once(outcome: Outcome, by: By) -> Self {
        Self { outcome, by, path: Vec::new() }
    }
}

/// The verdict of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Answer {
    /// Allow only if every side that is there allows.
    pub verdict: Outcome,
    /// The sender's side; none if the sender is no known endpoint.
    pub egress: Option<Decision>,
    /// The receiver's side.
    pub ingress: Option<Decision>,
    /// The host endpoint that it is forwarded through.
    pub forward: Option<Decision>,
}

impl Answer {
    /// The answer of some sides.
    pub(crate) fn of(egress: Option<Decision>, ingress: Option<Decision>, forward: Option<Decision>) -> Self {
        let denied =
            [&egress, &ingress, &forward].into_iter().flatten().any(|side| side.outcome == Outcome::Deny);
        let verdict = if denied { Outcome::Deny } else { Outcome::Allow };
        Self { verdict, egress, ingress, forward }
    }

    /// The first side that denies, in the order in which a packet meets them.
    pub fn denied_by(&self) -> Option<&Decision> {
        [&self.egress, &self.forward, &self.ingress]
            .into_iter()
            .flatten()
            .find(|side| side.outcome == Outcome::Deny)
    }
}

fn fields<M: SerializeMap>(map: &mut M, action: &str, by: &By) -> Result<(), M::Error> {
    map.serialize_entry("action", action)?;
    map.serialize_entry("tier", by.tier())?;
    map.serialize_entry("kind", by.kind())?;
    map.serialize_entry("policy", &by.policy())?;
    map.serialize_entry("rule", &by.rule())
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Log(by) => fields(&mut map, "log", by)?,
            Self::Pass(by) => fields(&mut map, "pass", by)?,
        }
        map.end()
    }
}

impl Serialize for Decision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { outcome, by, path } = self;
        let mut map = serializer.serialize_map(None)?;
        fields(&mut map, outcome.name(), by)?;
        if !path.is_empty() {
            map.serialize_entry("path", path)?;
        }
        map.end()
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { verdict, egress, ingress, forward } = self;
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("verdict", verdict.name())?;
        map.serialize_entry("egress", egress)?;
        map.serialize_entry("ingress", ingress)?;
        map.serialize_entry("forward", forward)?;
        map.end()
    }
}
