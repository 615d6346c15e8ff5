//! The nftables driver: our own netlink encoder and the flat table.
