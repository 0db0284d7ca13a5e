//! Analysis: what `lint` does beyond loading and rendering.
//!
//! What lives here: what is wrong or risky in what a project renders to, told without a cluster ([`kubernetes`],
//! [`images`], [`hazards`]), in Dockerfiles ([`dockerfile`]) and helpers ([`helpers`]); which findings are shown and how bad they are ([`Policy`]), and safe mendings ([`fixed`]).
//! What does not: how findings are drawn (`report`). The one idea: plain data in, plain data out; nothing is read.

pub mod dockerfile;
mod fix;
pub mod hazards;
pub mod helpers;
pub mod images;
pub mod kubernetes;
mod policy;

pub use fix::{MENDED, fixed};
pub use policy::{Policy, SETTINGS_FILE};
