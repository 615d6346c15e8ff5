//! Netlink sockets, links, routes, neighbours, connection tracking and network namespaces.
