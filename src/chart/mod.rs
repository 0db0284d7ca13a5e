//! Charts: loading, layered values, rendering, manifests and resource identity.

pub mod constraint;
mod dependencies;
mod load;
pub mod metadata;
mod schema;
pub mod strvals;
pub mod tree;
pub mod values;

pub use load::{Chart, ChartFile, LoadOptions, load, load_archive};
pub use values::{ChartValues, ValuesInput, compose};
