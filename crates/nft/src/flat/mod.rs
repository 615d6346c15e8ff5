//! The flat table.
