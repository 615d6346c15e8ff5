//! The CNI plugin: one call per pod.
