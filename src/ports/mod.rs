//! The ports: narrow traits through which deeds reach the world, each with an in-memory twin.
//!
//! What lives here: the traits, the nouns they speak, and the twins. What does not: any client, file or
//! socket (`backend`). A port is synchronous and may be called from several threads at once; it says how much
//! concurrency it likes.

mod blobs;
mod builder;
mod chart_artifact;
mod charts;
mod clock;
mod copy;
mod git_remotes;
mod index;
mod layered;
mod lock;
mod memory;
mod memory_target;
pub mod oci;
mod releases;
mod runner;
mod stage_store;
mod target;
mod tracker;
mod work_tree;

pub use blobs::{BlobDigest, BlobError, BlobStore, CheckedReader, Descriptor};
pub use builder::{BuildContext, BuildError, Builder, BuiltImage, PlacedError};
pub use chart_artifact::{CHART_CONFIG, CHART_LAYERS, ChartError, PulledChart, chart_under, pull_chart, push_chart};
pub use charts::{ArchiveCache, ChartRelease, ChartSource, FetchError, MemoryArchives, MemoryCharts, Wanted};
pub use clock::{Clock, FixedClock};
pub use copy::{copy_blobs, copy_image, copy_manifest, copy_stage};
pub use git_remotes::{
    GitRemotes, MemoryRemotes, RemoteError, RemoteLogin, RemotePassword, RemoteReference, RemoteRepository, shown_url,
};
pub use index::{Document, Head, put_index};
pub use layered::LayeredStore;
pub use lock::{Hold, Lock, LockError, LockGuard, MemoryLock};
pub use memory::MemoryStore;
pub use memory_target::MemoryTarget;
pub use releases::{ReleaseStore, RevisionFact};
pub use runner::{HostMount, ImageRun, Runner};
pub use stage_store::{Published, StageId, StageStore, StoreError, StoredImage, StoredStage, any};
pub use target::{OUTDATED, ObjectQuery, Over, Standing, Target, TargetError, TargetSession, Values};
pub use tracker::{Closer, Lines, LogSource, Sight, Tracker};
pub use work_tree::{MemoryWorkTree, WorkTree, WorkTreeError};
