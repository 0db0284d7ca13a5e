//! The builder port: makes the image of a build request.

use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::blobs::{BlobError, Descriptor};
use super::stage_store::{StageStore, StoreError};
use crate::source::{FilesError, Objects, Place};
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
    /// A step failed, and its place is known.
    #[error(transparent)]
    At(Box<PlacedError>),
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

/// An error of a step, and where the step stands.
#[derive(Debug)]
pub struct PlacedError {
    /// The place.
    pub place: Place,
    /// The error.
    pub error: BuildError,
}

impl std::fmt::Display for PlacedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for PlacedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}

impl BuildError {
    /// Says where the step that failed stands; what is no fault of a step stays as it is.
    #[must_use]
    pub fn at(self, place: Option<&Place>) -> Self {
        match (self, place) {
            (error @ (Self::Command { .. } | Self::Step { .. }), Some(place)) => {
                Self::At(Box::new(PlacedError { place: place.clone(), error }))
            }
            (error, _) => error,
        }
    }

    /// Returns where the step that failed stands.
    pub fn place(&self) -> Option<&Place> {
        if let Self::At(placed) = self { Some(&placed.place) } else { None }
    }

    /// Says whether a command failed, whose state one can look into.
    pub fn is_command(&self) -> bool {
        match self {
            Self::At(placed) => placed.error.is_command(),
            Self::Command { .. } => true,
            Self::Unsupported { .. }
            | Self::NoImage(_)
            | Self::Step { .. }
            | Self::Cancelled(_)
            | Self::Io { .. }
            | Self::Files(_)
            | Self::Blob(_)
            | Self::Store(_) => false,
        }
    }
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
