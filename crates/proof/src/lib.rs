//! Random clusters, edits and packets: every path to a verdict is held to analysis.
