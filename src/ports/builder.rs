//! The builder port: makes the image of a build request.

use serde::{Deserialize, Serialize};

use super::blobs::{BlobError, Descriptor};
use super::stage_store::{StageStore, StoreError};
use crate::source::{FilesError, Objects};
use crate::stage::BuildRequest;

/// A built image whose blobs are in the store: all of a manifest but its annotations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a builder may use.
pub struct BuildContext<'a> {
    /// The repository's objects.
    pub objects: &'a std::sync::Arc<dyn Objects>,
    /// Where bases are found and layers go.
    pub store: &'a dyn StageStore,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The builder cannot do what the request asks for.
    #[error("{builder} builder: {what}")]
    Unsupported {
        /// The builder's name.
        builder: &'static str,
        /// What it cannot do.
        what: String,
    },
    /// A base or source image is not in the store.
    #[error("image `{0}` is not in the store")]
    NoImage(String),
    /// The files named by a step are not there, or in the way.
    #[error("{step}: {why}")]
    Step {
        /// The instruction as written.
        step: String,
        /// What is wrong.
        why: String,
    },
    /// The repository could not be read.
    #[error("read the repository")]
    Files(#[from] FilesError),
    /// A blob failed.
    #[error("store a layer")]
    Blob(#[from] BlobError),
    /// The store failed.
    #[error("ask the stage store")]
    Store(#[from] StoreError),
}

/// Builds images. Equal requests give equal bytes, on any machine.
pub trait Builder: Send + Sync {
    /// Returns its name: `native`, `docker`, …
    fn name(&self) -> &'static str;

    /// Returns how many builds it likes at once.
    fn concurrency(&self) -> usize;

    /// Builds the last part of the request and puts its blobs into the store.
    ///
    /// # Errors
    /// See [`BuildError`]; nothing but unreferenced blobs is left behind.
    fn build(&self, request: &BuildRequest, context: &BuildContext<'_>) -> Result<BuiltImage, BuildError>;
}
