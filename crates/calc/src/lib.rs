//! The incremental calculation: from resources to stacks and memberships of one node.
