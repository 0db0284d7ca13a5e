//! The one test binary for what needs more than a unit: contracts of the ports, projects, other tools.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests reach the world and may stop at a surprise"
)]

mod add_address;
mod accept;
mod arrows;
#[cfg(feature = "docker")]
mod attached;
mod builds;
#[cfg(feature = "docker")]
mod builds_docker;
mod charts;
mod cli;
#[cfg(feature = "cluster")]
mod cluster;
mod contracts;
mod directives;
#[cfg(feature = "docker")]
mod equal;
mod edits;
#[cfg(feature = "registry")]
mod faults;
mod functions;
mod jsonnet;
mod kill;
#[cfg(feature = "registry")]
mod kill_registry;
mod manifests;
mod mutations;
mod platforms;
mod projects;
mod quickstart;
mod readme;
mod rules;
mod scenarios;
mod onbuild;
mod services;
mod signatures;
mod staged;
