//! The real ports: disks, repositories and, later, daemons, registries and clusters.
//!
//! What lives here: every client, file and socket. What does not: any decision; a backend carries out what the
//! rooms above have decided.

pub mod git;
