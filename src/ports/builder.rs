//! The builder port: makes the image of a build request.

use std::sync::atomic::AtomicBool;

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
    /// Once true, commands are killed and the build fails with [`BuildError::Cancelled`].
    pub cancelled: &'a AtomicBool,
    /// Gets what commands print, line by line, from any thread.
    pub output: &'a (dyn Fn(&str) + Sync),
    /// Opens a shell on the terminal, in the state that a failed command left.
    pub introspect: bool,
}

/// Never set.
static NEVER: AtomicBool = AtomicBool::new(false);

impl<'a> BuildContext<'a> {
    /// Returns a context in which nothing is cancelled and nobody listens.
    pub fn new(objects: &'a std::sync::Arc<dyn Objects>, store: &'a dyn StageStore) -> Self {
        Self { objects, store, cancelled: &NEVER, output: &|_| {}, introspect: false }
    }
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
    /// A command failed.
    #[error("{}", told_command(.step, *.status, .last_lines))]
    Command {
        /// The command as written.
        step: String,
        /// Its exit status; above 128, 128 and the signal that ended it.
        status: i32,
        /// The last lines that it printed.
        last_lines: Vec<String>,
    },
    /// A command was killed because the run was cancelled.
    #[error("cancelled while `{0}` ran")]
    Cancelled(String),
    /// Input or output failed, or the operating system refused.
    #[error("{attempt}")]
    Io {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
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

fn told_command(step: &str, status: i32, last_lines: &[String]) -> String {
    let first = step.lines().next().unwrap_or_default();
    let dots = if step.lines().count() > 1 { " …" } else { "" };
    let mut text = format!("`{first}{dots}` failed with exit status {status}");
    for line in last_lines {
        text.push_str("\n  │ ");
        text.push_str(line);
    }
    text
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
