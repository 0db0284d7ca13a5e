//! Charts: loading, layered values, rendering, manifests and resource identity.

pub mod constraint;
pub mod globs;
mod load;
pub mod metadata;
pub mod strvals;
pub mod tree;
pub mod values;

pub use load::{Chart, ChartFile, LoadOptions, load, load_archive};
