//! Stagewright: a configuration-as-code compiler and planner.
//!
//! The rooms below stand in reading order, and the order is the law of the house: a room uses only
//! rooms listed above it (`testdata/arrows.rs` fails on an arrow that points down).

// ground: knows nothing of werf
pub mod source;
pub mod diag;
pub mod digest;
pub mod graph;
// languages: text in, trees and text out
pub mod syntax;
pub mod eval;
// model: what the user asked for
pub mod config;
pub mod chart;
pub mod stage;
pub mod observed;
// thought: pure functions over the model
pub mod analysis;
pub mod signature;
pub mod plan;
// deeds: act on the world, only through traits
pub mod ports;
pub mod exec;
// faces
pub mod report;
pub mod pipeline;
pub mod backend;
pub mod cli;
