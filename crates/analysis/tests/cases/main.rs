//! Policies written by hand, each with the sentence that it checks.
//!
//! Above each test stands, in our words, what the API documentation of Calico or Kubernetes says
//! (or what Calico was seen to do); the test is that sentence as objects, packets and verdicts.
//! `support` explains how a verdict is written.

mod derived;
mod enforcement;
mod hosts;
mod kubernetes;
mod nodes;
mod order;
mod peers;
mod ports;
mod profiles;
mod requests;
mod rules;
mod stories;
mod support;
