//! What happens in a run, as plain data.

use serde::Serialize;

use super::guards::Violation;
use crate::plan::{Operation, OperationId, Until, Work};
use crate::source::Place;

/// What an operation does to its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Builds a stage.
    Build,
    /// Tags an image.
    Tag,
    /// Copies an image.
    Copy,
    /// Records that a release is under way.
    Open,
    /// Writes a resource.
    Write,
    /// Deletes a resource.
    Delete,
    /// Records a release.
    Record,
    /// Waits until a resource is ready.
    Wait,
    /// Waits until a job has run.
    Run,
    /// Nothing: operations wait for it.
    Pass,
}

/// Names an operation for people and machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The operation.
    pub operation: OperationId,
    /// What it does.
    pub verb: Verb,
    /// To what: `backend/dockerfile`, `shop/Deployment/web`, …
    pub name: String,
}

impl Subject {
    /// Returns the subject of an operation.
    pub fn of(operation: &Operation) -> Self {
        let (verb, name) = match &operation.work {
            Work::BuildStage { image, stage, platform, .. } if image.is_empty() => {
                (Verb::Build, on(stage, platform.as_ref()))
            }
            Work::BuildStage { image, stage, platform, .. } => {
                (Verb::Build, format!("{}/{stage}", on(image, platform.as_ref())))
            }
            Work::TagImage { image, tag, custom: true, .. } if !image.is_empty() => {
                (Verb::Tag, format!("{image} as {tag}"))
            }
            Work::TagIndex { image, tag, signature, .. } if tag != signature && !image.is_empty() => {
                (Verb::Tag, format!("{image} as {tag}"))
            }
            Work::TagImage { image, tag, .. } | Work::TagIndex { image, tag, .. } if image.is_empty() => {
                (Verb::Tag, tag.clone())
            }
            Work::TagImage { image, platform, .. } => (Verb::Tag, on(image, platform.as_ref())),
            Work::TagIndex { image, .. } => (Verb::Tag, image.clone()),
            Work::CopyImage { image, from, tag, .. } if from != tag && !image.is_empty() => {
                (Verb::Copy, format!("{image} as {tag}"))
            }
            Work::CopyImage { image, tag, .. } if image.is_empty() => (Verb::Copy, tag.clone()),
            Work::CopyImage { image, .. } => (Verb::Copy, image.clone()),
            Work::OpenRelease { release, revision, .. } => (Verb::Open, format!("{release} revision {revision}")),
            Work::WriteResource { address, .. } => (Verb::Write, address.clone()),
            Work::DeleteResource { address, .. } => (Verb::Delete, address.clone()),
            Work::AwaitResource { address, tracking, .. } if tracking.until == Until::Finished => {
                (Verb::Run, address.clone())
            }
            Work::AwaitResource { address, .. } => (Verb::Wait, address.clone()),
            Work::ForgetRelease { release } => (Verb::Delete, format!("the records of {release}")),
            Work::Gate => (Verb::Pass, operation.id.clone()),
            Work::RecordHooks { release, revision, event, .. } => {
                (Verb::Record, format!("{release} revision {revision}, hooks {event}"))
            }
            Work::RecordRelease { release, revision, .. } => (Verb::Record, format!("{release} revision {revision}")),
        };
        Self { operation: operation.id.clone(), verb, name }
    }
}

/// Names one of several platforms.
fn on(name: &str, platform: Option<&String>) -> String {
    platform.map_or_else(|| name.to_owned(), |platform| format!("{name}[{platform}]"))
}

/// Why an operation was not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum Skip {
    /// An operation that it needs was not done.
    Needs {
        /// That operation.
        #[serde(rename = "needs")]
        operation: OperationId,
    },
    /// Another operation failed, and the run stops at the first failure.
    Stopped,
    /// The run was interrupted.
    Cancelled,
    /// The time of the run was over.
    Late,
    /// The lock of the release was lost.
    Unlocked,
    /// The operations it needs need it.
    Cycle,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An operation began.
    Started(Subject),
    /// A stage is made, and is being stored.
    Storing {
        /// The operation.
        #[serde(flatten)]
        subject: Subject,
        /// Size of its layers and its configuration. Unit: bytes.
        bytes: u64,
    },
    /// What it should make is there already: it is used.
    Reused(Subject),
    /// It is done.
    Done {
        /// The operation.
        #[serde(flatten)]
        subject: Subject,
        /// How long it took. Unit: milliseconds.
        ms: u64,
    },
    /// It failed.
    Failed {
        /// The operation.
        #[serde(flatten)]
        subject: Subject,
        /// What was attempted, and the causes behind it.
        causes: Vec<String>,
        /// Where the step that failed stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        /// Whether a command failed whose state one could have looked into.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        introspectable: bool,
    },
    /// What it waits for is not ready yet.
    Waiting {
        /// The operation.
        #[serde(flatten)]
        subject: Subject,
        /// How many parts are ready.
        #[serde(skip_serializing_if = "Option::is_none")]
        ready: Option<u64>,
        /// Of how many.
        #[serde(skip_serializing_if = "Option::is_none")]
        want: Option<u64>,
        /// What is missing.
        #[serde(skip_serializing_if = "String::is_empty")]
        why: String,
    },
    /// It failed, and the run goes on all the same.
    Ignored {
        /// The operation.
        #[serde(flatten)]
        subject: Subject,
        /// What was attempted, and the causes behind it.
        causes: Vec<String>,
    },
    /// A command that it runs printed a line.
    Output {
        /// The operation.
        #[serde(flatten)]
        subject: Subject,
        /// The line.
        line: String,
    },
    /// It was not begun.
    Skipped {
        /// The operation.
        #[serde(flatten)]
        subject: Subject,
        /// Why.
        #[serde(flatten)]
        skip: Skip,
    },
}

/// An operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The operation.
    #[serde(flatten)]
    pub subject: Subject,
    /// What was attempted, and the causes behind it.
    pub causes: Vec<String>,
    /// Where the step that failed stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The guard that was violated, where that is the fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<Violation>,
}

/// An operation that was not begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The operation.
    #[serde(flatten)]
    pub subject: Subject,
    /// Why.
    #[serde(flatten)]
    pub skip: Skip,
}

/// What became of every operation but gates, which are no work; each list in the order of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Done, or found done.
    pub done: Vec<OperationId>,
    /// Failed.
    pub failed: Vec<Failure>,
    /// Not begun.
    pub skipped: Vec<Skipped>,
    /// Failed, and the run went on all the same; they count as done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<Failure>,
    /// Broken pods that held a `StatefulSet` up and that the plan names, in the order in which they were deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freed: Vec<FreedPod>,
}

/// A pod that held a `StatefulSet` up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FreedPod {
    /// The operation that waits for the `StatefulSet`.
    #[serde(flatten)]
    pub subject: Subject,
    /// The pod.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// Why it could not be deleted, where it could not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl Outcome {
    /// Says whether every operation is done.
    pub fn is_success(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }

    /// Says whether the run was interrupted.
    pub fn is_cancelled(&self) -> bool {
        self.skipped.iter().any(|s| s.skip == Skip::Cancelled)
    }
}

/// Returns the text of an error and of every cause behind it, without repetitions.
pub(super) fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut list = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if list.last() != Some(&text) {
            list.push(text);
        }
        next = cause.source();
    }
    list
}
