//! Charts: loading, layered values, rendering, manifests and resource identity.

pub mod constraint;
pub mod globs;
pub mod strvals;
pub mod tree;
pub mod values;
