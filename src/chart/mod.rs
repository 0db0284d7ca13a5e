//! Charts: loading, layered values, rendering, manifests and resource identity.

mod additions;
mod bundle;
#[cfg(test)]
mod cases;
pub mod constraint;
mod content;
mod dependencies;
mod explain;
#[cfg(test)]
mod fuzz;
mod helm;
mod jsonnet;
mod jsonnet_imports;
pub mod kinds;
mod load;
pub mod lock;
mod lookup;
mod manifest;
mod nulls;
pub mod metadata;
mod objects;
mod origins;
mod pack;
mod parsed;
mod reads;
mod render;
pub mod repository;
mod schema;
pub mod secret;
mod secret_values;
pub mod strvals;
mod tracking;
pub mod tree;
mod tree_map;
pub mod values;

pub use additions::{AddedKind, Additions};
pub use bundle::{
    Bundle, BundleImage, BundleInput, PackedBundle, image_parts, open_bundle, pack_bundle, reference, version_of_tag,
};
pub use content::Content;
pub use explain::{ExplainedValue, LaidValue, NotSet, explain_values};
pub use helm::Helm;
pub use jsonnet::JsonnetFolder;
pub use load::{Chart, ChartFile, LoadOptions, is_archive, load, load_archive, load_archive_for};
pub use lookup::{LookupResources, found_value};
pub use manifest::{Hook, HookEvent, HookPolicy, Manifest, ResourceId};
pub use nulls::{Nulls, check_nulls};
pub use objects::Capabilities;
pub use origins::{LineOrigin, ValueOrigin};
pub use pack::pack;
pub use render::{PrintOptions, Release, RenderOptions, Rendered, render, render_explained};
pub use secret_values::{
    KeyInForce, SECRET_VALUES, SecretHost, SecretInputs, Secrets, open_secrets, secret_leaves, secret_texts,
};
pub use tracking::check_values;
pub use values::{ChartValues, Layer, ValuesInput, compose};
