//! What a policy means, straight from the API types: the oracle of everything else.
//!
//! ```text
//! resources -> Cluster (labels inherited, policies in order) -> judge(flow) -> Answer (verdict, rule, path) -> story
//! ```
//! The shortest code that is right, recomputed from nothing: no increments, no classes, nothing
//! shared with `calc` and `classify` but the `api`, because each checks the other. It knows no
//! store and no kernel; `explain`, the lab and the proofs call it.

mod answer;
mod cluster;
mod derive;
mod entity;
mod flow;
mod judge;
mod node;
mod policy;
mod predict;
mod rule;
mod stack;
mod story;

pub use answer::{Answer, By, Decision, Outcome, PROFILE_TIER, Step};
pub use cluster::{Cluster, Endpoint, EndpointId, Enforcement, Fault, Unreadable};
pub use flow::{Flow, FlowError, HostName, Packet, Party, Request, Transport};
pub use judge::judge;
pub use node::{Node, ToHost, judge_at};
pub use predict::{Cell, predict};
pub use story::story;
