//! Address management: Calico's blocks, affinities and handles as sans-IO machines.
