//! The node agent: one writer to the kernel, closed first.
