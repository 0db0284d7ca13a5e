//! The one test binary for what needs more than a unit: contracts of the ports, projects, other tools.
#![allow(missing_docs, reason = "tests")]

mod arrows;
mod charts;
mod cli;
mod contracts;
mod rules;
