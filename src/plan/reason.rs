//! Why something is built, changed or deleted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::source::Place;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// It is new.
    Added,
    /// Its content changed.
    Modified,
    /// Its mode changed, not its content.
    Mode,
    /// It is gone.
    Removed,
}

/// Who changed fields of an object behind the back of the release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setter {
    /// The name under which it changes objects: `kubectl-edit`, …
    pub manager: String,
    /// When it did so last, in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The fields.
    pub paths: Vec<String>,
    /// What becomes of its changes.
    pub outcome: DriftOutcome,
}

/// What becomes of a change that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DriftOutcome {
    /// Apply sets it back.
    Reverted,
    /// It stays as it is.
    Kept,
    /// The chart changes the same field in this release, and wins.
    Overwritten,
}

/// The cause of an action, with before and after. Considered-and-unchanged is recorded too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Reason {
    /// Nothing under this tag or digest is stored, and nothing older to compare with either.
    NotInStore {
        /// The tag or digest.
        tag: String,
    },
    /// It is stored already.
    InStore {
        /// The tag or stage id.
        tag: String,
    },
    /// No image that needs this one is built.
    NotNeeded,
    /// A file that reaches the image changed.
    File {
        /// The file and the lines that changed.
        place: Place,
        /// What happened to it.
        change: FileChange,
    },
    /// Files changed, but the older content is not in the repository any more.
    Content {
        /// The mapping or instruction that brings them in.
        place: Place,
        /// Object id before.
        before: String,
        /// Object id now.
        after: String,
    },
    /// A setting, instruction or argument changed, came or went.
    Setting {
        /// What it is: `instruction`, `argument`, `env`, `owner`, …
        key: String,
        /// Where it stands now, or stood.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        /// Before; absent when it is new.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// Now; absent when it is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// The base image changed.
    Base {
        /// Where it is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        /// Before.
        before: String,
        /// Now.
        after: String,
    },
    /// Another image of the project that this one uses changed.
    UsesImage {
        /// Its name.
        image: String,
        /// Why it changed.
        because: Vec<Reason>,
    },
    /// The image changed on one of its platforms.
    OnPlatform {
        /// The platform.
        platform: String,
        /// Why it changed there.
        because: Vec<Reason>,
    },
    /// An earlier stage of the same image is built.
    FollowsStage {
        /// The earlier stage.
        stage: String,
    },
    /// The resource is not in the target.
    NotInTarget,
    /// The resource is not declared any more.
    NotDeclared,
    /// The resource names an image whose tag changed.
    ImageTag {
        /// Field path in the resource.
        path: String,
        /// The image.
        image: String,
        /// Tag before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// Tag now.
        after: String,
        /// Why the image changed.
        because: Vec<Reason>,
    },
    /// Fields of the resource changed in the chart or its values.
    Template {
        /// The template, with the lines that wrote the resource.
        place: Place,
        /// The fields.
        paths: Vec<String>,
    },
    /// A value changed that the chart reads.
    Value {
        /// Where it is set now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        /// Its path, for example `web.replicas`.
        key: String,
        /// Before.
        before: Value,
        /// Now.
        after: Value,
    },
    /// The target differs from what was applied last.
    Drift {
        /// The fields.
        paths: Vec<String>,
        /// Who changed them, where the target knows it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        by: Vec<Setter>,
    },
    /// A `ConfigMap` or Secret changed that its pods read; a checksum in their template says so.
    UsesConfig {
        /// `namespace/kind/name` of what changed.
        address: String,
        /// Why it changed.
        because: Vec<Reason>,
    },
    /// It is another resource of the last release under a new name.
    Renamed {
        /// `namespace/kind/name` of that one.
        from: String,
    },
    /// It is in the cluster already and becomes part of the release.
    Adopted {
        /// The release it belonged to; absent where it belonged to none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// Its `werf.io/deploy-on` leaves it out of this deploy.
    NotNow,
    /// A field that cannot be changed in place changed.
    ImmutableField {
        /// Its path.
        path: String,
    },
    /// It failed for good, and is made anew.
    HasFailed {
        /// Why, as the target says it.
        why: String,
    },
    /// A policy of its own keeps it as it is.
    Kept,
    /// Nothing changed.
    Unchanged,
}

impl Reason {
    /// Returns every place that this reason names, the causes behind it included.
    pub fn places(&self) -> Vec<&Place> {
        match self {
            Self::File { place, .. } | Self::Content { place, .. } | Self::Template { place, .. } => vec![place],
            Self::Setting { place, .. } | Self::Base { place, .. } | Self::Value { place, .. } => {
                place.iter().collect()
            }
            Self::UsesImage { because, .. }
            | Self::ImageTag { because, .. }
            | Self::UsesConfig { because, .. }
            | Self::OnPlatform { because, .. } => because.iter().flat_map(Self::places).collect(),
            Self::NotInStore { .. }
            | Self::InStore { .. }
            | Self::NotNeeded
            | Self::FollowsStage { .. }
            | Self::NotInTarget
            | Self::NotDeclared
            | Self::Drift { .. }
            | Self::Renamed { .. }
            | Self::Adopted { .. }
            | Self::NotNow
            | Self::ImmutableField { .. }
            | Self::HasFailed { .. }
            | Self::Kept
            | Self::Unchanged => Vec::new(),
        }
    }
}
