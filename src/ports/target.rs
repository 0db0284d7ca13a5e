//! The target port: where the resources of releases go.
//!
//! Paths are those of the plan, in the words of the target ([`Layout`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::lock::Lock;
use super::releases::ReleaseStore;
use super::tracker::Tracker;
use crate::observed::{Preview, ReleaseFact, WantedResource};
use crate::plan::{ClusterName, Layout};

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

impl TargetError {
    /// Says whether nothing was done because the resource is no longer what it was to be done over.
    pub fn is_outdated(&self) -> bool {
        self.source.kind() == OUTDATED
    }
}

/// The kind of an error of which [`TargetError::is_outdated`] speaks.
pub const OUTDATED: std::io::ErrorKind = std::io::ErrorKind::ResourceBusy;

/// Over what something is done, as far as the target can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Over {
    /// Whatever stands there.
    #[default]
    Anything,
    /// Nothing stands there.
    Nothing,
    /// A certain object stands there.
    Object {
        /// What no other object has, not even one of the same name that is made later.
        id: String,
        /// What differs after any write, where writes count.
        version: Option<String>,
    },
}

/// What stands under a path.
#[derive(Clone, Default)]
pub struct Standing {
    /// What guards compare; `None` where nothing is.
    pub content: Option<Vec<u8>>,
    /// The same, for what is done there next.
    pub over: Over,
}

impl Over {
    /// Names an object that a cluster shows, in its version. Servers of others may keep none.
    pub fn of(object: &serde_json::Value) -> Self {
        let part =
            |key: &str| object.get("metadata")?.get(key)?.as_str().filter(|part| !part.is_empty()).map(str::to_owned);
        match (part("uid"), part("resourceVersion")) {
            (Some(id), version @ Some(_)) => Self::Object { id, version },
            (_, _) => Self::Anything,
        }
    }
}

/// An object that a template asks for.
#[derive(Clone, Copy, Debug)]
pub struct ObjectQuery<'a> {
    /// `v1`, `apps/v1`.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// Its namespace; empty for all, and where its kind has none.
    pub namespace: &'a str,
    /// Its name; empty for all.
    pub name: &'a str,
}

/// Whether the values of fields are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Those that are no secrets by their kind.
    Shown,
    /// None of them: they may hold secrets.
    Hidden,
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

    /// Returns what stands there of resources, in their order. Where a target looks at parts of a resource only, those that
    /// a manifest wants belong to it.
    ///
    /// # Errors
    /// The target failed.
    fn standings(&self, wanted: &[WantedResource]) -> Result<Vec<Standing>, TargetError> {
        let standing =
            |wanted: &WantedResource| Ok(Standing { content: self.content(&wanted.path)?, over: Over::Anything });
        wanted.iter().map(standing).collect()
    }

    /// Returns the last revision of a release, `None` where there is none.
    ///
    /// # Errors
    /// The target failed.
    fn revision(&self, release: &str) -> Result<Option<u64>, TargetError>;

    /// Says what it would make of resources, by path; `None` where it keeps their texts as they are. Nothing is written.
    ///
    /// # Errors
    /// The target failed.
    fn preview(&self, _: &[WantedResource]) -> Result<Option<BTreeMap<String, Preview>>, TargetError> {
        Ok(None)
    }

    /// Returns the budgets of disruption in namespaces, where there are such; none where they may not be seen.
    ///
    /// # Errors
    /// The target failed.
    fn budgets(&self, _: &BTreeSet<String>) -> Result<Vec<serde_json::Value>, TargetError> {
        Ok(Vec::new())
    }

    /// Says whether a resource is as it would be after this content is written.
    ///
    /// # Errors
    /// The target failed.
    fn holds(&self, path: &str, content: &[u8]) -> Result<bool, TargetError> {
        Ok(self.content(path)?.as_deref() == Some(content))
    }

    /// Says whether [`TargetSession::open`] was done with this revision and payload, and not by somebody else.
    ///
    /// # Errors
    /// The target failed.
    fn is_opened(&self, release: &str, revision: u64, _payload: &str) -> Result<bool, TargetError> {
        Ok(self.revision(release)? == Some(revision))
    }

    /// Says whether this revision of a release is recorded as done.
    ///
    /// # Errors
    /// The target failed.
    fn is_recorded(&self, release: &str, revision: u64) -> Result<bool, TargetError> {
        Ok(self.revision(release)? == Some(revision))
    }

    /// Says whether [`TargetSession::record_hooks`] was done for an event of this revision.
    ///
    /// # Errors
    /// The target failed.
    fn have_hooks_run(&self, _release: &str, _revision: u64, _event: &str) -> Result<bool, TargetError> {
        Ok(false)
    }

    /// Returns how the target names resources.
    fn layout(&self) -> Layout {
        Layout::Folder
    }

    /// Returns which cluster it is, where it is one.
    ///
    /// # Errors
    /// The target failed.
    fn cluster(&self) -> Result<Option<ClusterName>, TargetError> {
        Ok(None)
    }

    /// Returns the version of Kubernetes, `v1.35.0`; `None` where it is no cluster.
    ///
    /// # Errors
    /// The target failed.
    fn kube_version(&self) -> Result<Option<String>, TargetError> {
        Ok(None)
    }

    /// Returns the API versions that it serves, and the kinds in each of them, sorted: `apps/v1`, `apps/v1/Deployment`;
    /// `None` where it is no cluster.
    ///
    /// # Errors
    /// The target failed.
    fn api_versions(&self) -> Result<Option<Vec<String>>, TargetError> {
        Ok(None)
    }

    /// Finds a live object, or all of a kind where no name is given, as JSON; `None` where there is none.
    ///
    /// # Errors
    /// The target failed, or knows no such kind.
    fn lookup(&self, _: &ObjectQuery<'_>) -> Result<Option<serde_json::Value>, TargetError> {
        Ok(None)
    }

    /// Returns what holds the records of releases, where these are no Secrets.
    fn release_driver(&self) -> Option<&'static str> {
        None
    }

    /// Says in words what somebody changed last in a resource, who, and when; `None` where that is not known.
    ///
    /// # Errors
    /// The target failed.
    fn last_change(&self, _path: &str, _: Values) -> Result<Option<String>, TargetError> {
        Ok(None)
    }

    /// Returns who looks at resources while they become ready; absent where what is written is ready.
    fn tracker(&self) -> Option<&dyn Tracker> {
        None
    }

    /// Returns who reads the records of releases; absent where none are kept in Helm's form.
    fn releases(&self) -> Option<&dyn ReleaseStore> {
        None
    }

    /// Returns the locks of releases that the target keeps itself, so that others who deploy to it see them.
    fn lock(&self) -> Option<&dyn Lock> {
        None
    }

    /// Says where it is seen that the run is to end, and when it ends at the latest: what fails for a while is waited for
    /// no longer then.
    fn heed(&self, _interrupted: &Arc<AtomicBool>, _deadline: Option<Instant>) {}

    /// Says whether [`TargetSession::adopt`] was done to a resource, and nobody changed it since.
    ///
    /// # Errors
    /// The target failed.
    fn is_taken_over(&self, _path: &str) -> Result<bool, TargetError> {
        Ok(false)
    }

    /// Says whether [`TargetSession::leave_replicas`] was done to a resource.
    ///
    /// # Errors
    /// The target failed.
    fn are_replicas_left(&self, _path: &str) -> Result<bool, TargetError> {
        Ok(true)
    }

    /// Starts a change.
    ///
    /// # Errors
    /// The target failed.
    fn begin(&self) -> Result<Box<dyn TargetSession + '_>, TargetError>;
}

/// A change of a target: visible after `commit`, where the target can.
pub trait TargetSession: Send + Sync {
    /// Records a release before its first resource is written, where the target keeps records of what is under way.
    /// `payload` is what [`crate::plan::Work::OpenRelease`] carries.
    ///
    /// # Errors
    /// The target failed.
    fn open(&self, _release: &str, _revision: u64, _payload: &str) -> Result<(), TargetError> {
        Ok(())
    }

    /// Goes on with a release that an interrupted run recorded.
    fn reopen(&self, _release: &str, _revision: u64, _payload: &str) {}

    /// Records that the hooks of an event have run, where the target keeps records of what is under way.
    ///
    /// # Errors
    /// The target failed.
    fn record_hooks(&self, _release: &str, _revision: u64, _event: &str) -> Result<(), TargetError> {
        Ok(())
    }

    /// Writes a resource.
    ///
    /// # Errors
    /// The target failed, or something else stands there ([`TargetError::is_outdated`]) and nothing was changed.
    fn write(&self, path: &str, content: &[u8], over: &Over) -> Result<(), TargetError>;

    /// Takes over the fields of a resource that others set, where the target keeps who set them; what of them is not in
    /// the content is removed by the next write. Returns what that is to be done over.
    ///
    /// # Errors
    /// As of `write`.
    fn adopt(&self, _path: &str, _content: &[u8], over: &Over) -> Result<Over, TargetError> {
        Ok(over.clone())
    }

    /// Leaves the replicas that were just written to whoever sets them later, where the target keeps who set what.
    ///
    /// # Errors
    /// The target failed.
    fn leave_replicas(&self, _path: &str, _content: &[u8]) -> Result<(), TargetError> {
        Ok(())
    }

    /// Deletes a resource and writes it again, where the target cannot change it in place.
    ///
    /// # Errors
    /// As of `write`.
    fn replace(&self, path: &str, content: &[u8], over: &Over) -> Result<(), TargetError> {
        self.write(path, content, over)
    }

    /// Removes a resource.
    ///
    /// # Errors
    /// As of `write`.
    fn delete(&self, path: &str, over: &Over) -> Result<(), TargetError>;

    /// Records the release and makes the change visible.
    ///
    /// # Errors
    /// The target failed.
    fn commit(&self, release: &str, revision: u64, record: &serde_json::Value) -> Result<(), TargetError>;

    /// Removes the records of a release, where the target keeps any.
    ///
    /// # Errors
    /// The target failed.
    fn forget(&self, _release: &str) -> Result<(), TargetError> {
        Ok(())
    }

    /// Tells what became of a resource that was waited for: whoever records hooks wants to know.
    fn settled(&self, _path: &str, _succeeded: bool) {}

    /// Records that the run ended before `commit`, and why. What fails here is not told: the run has failed already.
    fn abandon(&self, _why: &str) {}
}
