//! The port of records of releases: reading them. Who writes them is a session of the target.

use serde_json::Value;

use super::target::TargetError;
use crate::plan::{RevisionSummary, summarize_record};

/// One revision of a release, without its contents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RevisionFact {
    /// The namespace of the release.
    pub namespace: String,
    /// The release.
    pub release: String,
    /// Counted from 1.
    pub revision: u64,
    /// `deployed`, `failed`, …
    pub status: String,
}

/// Reads the records of releases. Nothing is written.
pub trait ReleaseStore: Send + Sync {
    /// Returns the revisions of a release, oldest first.
    ///
    /// # Errors
    /// The target failed.
    fn revisions(&self, namespace: &str, release: &str) -> Result<Vec<RevisionFact>, TargetError>;

    /// Returns the revisions of all releases, in one namespace or in all; those of one release oldest first.
    ///
    /// # Errors
    /// The target failed, or does not let us list them.
    fn all_revisions(&self, namespace: Option<&str>) -> Result<Vec<RevisionFact>, TargetError>;

    /// Returns the records of revisions in Helm's form, in their order; `None` where one is not there.
    ///
    /// # Errors
    /// The target failed, or what is there is no record.
    fn records(&self, wanted: &[RevisionFact]) -> Result<Vec<Option<Value>>, TargetError>;

    /// Returns what lists show of revisions, in their order; `None` where a record is not there or cannot be read.
    ///
    /// # Errors
    /// The target failed.
    fn summaries(&self, wanted: &[RevisionFact]) -> Result<Vec<Option<RevisionSummary>>, TargetError> {
        Ok(self.records(wanted)?.iter().map(|record| record.as_ref().map(summarize_record)).collect())
    }
}
