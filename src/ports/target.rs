//! The target port: where the resources of releases go.
//!
//! Paths are those of the plan: `RELEASE/KIND-NAME.yaml`, relative to the target's root.

use crate::observed::ReleaseFact;

/// Why a target could not answer or change.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct TargetError {
    /// What was attempted, on which object.
    pub attempt: String,
    /// Why it failed.
    #[source]
    pub source: std::io::Error,
}

/// Holds the resources of releases.
pub trait Target: Send + Sync {
    /// Returns what the target holds of a release; resources by their path. Nothing is written.
    ///
    /// # Errors
    /// The target failed.
    fn observe(&self, release: &str) -> Result<ReleaseFact, TargetError>;

    /// Returns the content of a resource, `None` where there is none.
    ///
    /// # Errors
    /// The target failed.
    fn content(&self, path: &str) -> Result<Option<Vec<u8>>, TargetError>;

    /// Returns the last revision of a release, `None` where there is none.
    ///
    /// # Errors
    /// The target failed.
    fn revision(&self, release: &str) -> Result<Option<u64>, TargetError>;

    /// Starts a change.
    ///
    /// # Errors
    /// The target failed.
    fn begin(&self) -> Result<Box<dyn TargetSession + '_>, TargetError>;
}

/// A change of a target that is visible after `commit`, where the target can.
pub trait TargetSession: Send {
    /// Writes a resource.
    ///
    /// # Errors
    /// The target failed.
    fn write(&mut self, path: &str, content: &[u8]) -> Result<(), TargetError>;

    /// Removes a resource.
    ///
    /// # Errors
    /// The target failed.
    fn delete(&mut self, path: &str) -> Result<(), TargetError>;

    /// Records the release and makes the change visible.
    ///
    /// # Errors
    /// The target failed.
    fn commit(self: Box<Self>, release: &str, revision: u64, record: &serde_json::Value) -> Result<(), TargetError>;
}
