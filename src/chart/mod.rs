//! Charts: loading, layered values, rendering, manifests and resource identity.

#[cfg(test)]
mod cases;
pub mod constraint;
mod dependencies;
pub mod kinds;
mod load;
mod manifest;
pub mod metadata;
mod objects;
mod render;
mod schema;
pub mod strvals;
pub mod tree;
pub mod values;

pub use load::{Chart, ChartFile, LoadOptions, load, load_archive};
pub use manifest::{Hook, HookEvent, HookPolicy, Manifest, ResourceId};
pub use objects::Capabilities;
pub use render::{JsonnetFolder, PrintOptions, Release, RenderOptions, Rendered, render};
pub use values::{ChartValues, ValuesInput, compose};
