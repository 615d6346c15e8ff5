//! A machine as its operator sees it: the real agent, pods wired by the real plugin, objects by `apply`.

#![expect(clippy::unwrap_used, reason = "tests")]

mod annotated;
mod cluster;
mod cut;
mod faults;
mod kube;
mod kube_beside;
mod kube_kinds;
mod kube_ports;
mod kube_start;
mod machine;
mod moves;
mod packets;
mod pods;
mod settings;
mod takeover;
