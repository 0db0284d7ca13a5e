//! One suite per port; each runs over the in-memory twin and the real thing.

#[cfg(feature = "docker")]
mod docker_store;
mod kills;
mod lock;
mod native_builder;
pub mod oci_tools;
#[cfg(feature = "registry")]
pub mod proxy;
#[cfg(feature = "registry")]
pub mod registry_store;
mod stage_store;
