//! Charts from elsewhere: repositories over HTTP, OCI registries, the cache of archives, and the folder they go into.

mod access;
mod cache;
mod folder;
#[cfg(feature = "registry")]
pub(super) mod http;
#[cfg(feature = "registry")]
mod network;
#[cfg(feature = "registry")]
mod oci;
#[cfg(not(feature = "registry"))]
mod nothing;

pub use access::{Access, AccessRule};
pub use cache::ArchiveFolder;
pub use folder::write_chart_files;
#[cfg(feature = "registry")]
pub use network::NetworkCharts;
#[cfg(not(feature = "registry"))]
pub use nothing::NetworkCharts;
