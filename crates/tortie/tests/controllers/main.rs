//! `tortie controllers`, and calicoctl in its pod, on a real Kubernetes API with the rights of `deploy/tortie.yaml`, on etcd beside one, and on a file.

#![expect(clippy::unwrap_used, reason = "tests")]

mod alone;
mod beside;
mod calicoctl;
mod cluster;
mod health;
mod lab;
mod lead;
mod tokens;
