//! Charts: loading, layered values, rendering, manifests and resource identity.

pub mod strvals;
pub mod tree;
pub mod values;
