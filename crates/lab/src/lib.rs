//! Hosts, pods and traffic in network namespaces, for tests, the demo and benchmarks.
