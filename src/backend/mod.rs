//! The real ports: disks, repositories and, later, daemons, registries and clusters.
//!
//! What lives here: every client, file and socket. What does not: any decision; a backend carries out what the
//! rooms above have decided, and knows nouns and ports only.

mod charts;
#[cfg(feature = "cluster")]
mod cluster;
mod credentials;
mod disk;
#[cfg(feature = "docker")]
mod docker;
mod eviction;
#[cfg(feature = "registry")]
mod fetch;
mod folder;
mod file_lock;
pub mod git;
mod host_access;
mod layout_archive;
pub mod manifest_folder;
mod native;
mod oci_layout;
#[cfg(feature = "registry")]
mod registry;
#[cfg(feature = "registry")]
mod runtime;
mod terminal;

pub use charts::{Access, AccessRule, ArchiveFolder, NetworkCharts, write_chart_files};
#[cfg(feature = "cluster")]
pub use cluster::{ClusterOptions, ClusterTarget, ConnectError, RecordDriver, RecordRules};
pub use credentials::CredentialSource;
#[cfg(feature = "docker")]
pub use docker::{DockerBuilder, DockerStore, Engine, EngineAddress, EngineError};
pub use eviction::{Shelf, remove_tree, size_of};
pub use file_lock::FileLock;
pub use folder::read_folder;
pub use host_access::HostAccess;
pub use layout_archive::{pack_layout, unpack_layout};
pub use native::{NO_NAMESPACE, NativeBuilder, become_root, cannot_run, evict_layers, run_inside};
pub use oci_layout::OciLayout;
#[cfg(feature = "registry")]
pub use registry::{RegistryOptions, RegistryStore, Repository, Retry};
