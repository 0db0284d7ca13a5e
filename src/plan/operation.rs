//! The operations of a plan: what apply walks, blind to what kind of plan they form.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::selection::Binding;
use super::sensitive::Sensitive;
use super::tracking::Tracking;
use crate::stage::{BuildRequest, Platform};

/// Names an operation within a plan, for example `build:backend/dockerfile`.
pub type OperationId = String;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Operation {
    /// Its name; unique in the plan.
    pub id: OperationId,
    /// The operations that must be done before.
    pub needs: Vec<OperationId>,
    /// What must still be true.
    pub guards: Vec<Guard>,
    /// What is done.
    pub work: Work,
}

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Work {
    /// Builds a stage and stores it.
    BuildStage {
        /// The image.
        image: String,
        /// The stage.
        stage: String,
        /// The platform, where the image has several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        platform: Option<String>,
        /// Its stage digest.
        digest: String,
        /// What to build.
        #[schemars(with = "Value")]
        request: BuildRequest,
        /// What is recorded with it.
        annotations: BTreeMap<String, String>,
        /// Which stored builds of it may be used; absent where all are the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        binding: Option<Binding>,
    },
    /// Puts a tag on the last stage of an image.
    TagImage {
        /// The image.
        image: String,
        /// Its signature, or a tag of the user's choice.
        tag: String,
        /// The digest of its last stage.
        stage_digest: String,
        /// Its manifest, where it is stored already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<String>,
        /// Which stored builds of it may be used; absent where all are the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        binding: Option<Binding>,
        /// Whether the tag is of the user's choice.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        custom: bool,
        /// The platform, where the image has several and this is the image on one of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        platform: Option<String>,
    },
    /// Puts a tag on the index of an image for several platforms.
    TagIndex {
        /// The image.
        image: String,
        /// Its signature, or a tag of the user's choice.
        tag: String,
        /// Its signature.
        signature: String,
        /// The content-based tags of the image on its platforms, by platform.
        platforms: BTreeMap<String, String>,
    },
    /// Copies an image to the final repository.
    CopyImage {
        /// The image.
        image: String,
        /// Its signature: the tag it has in the stage store.
        from: String,
        /// The tag it gets: the same, or one of the user's choice.
        tag: String,
        /// The final repository.
        repo: String,
    },
    /// Records in the target that a release is under way, before its first resource is written.
    OpenRelease {
        /// The release.
        release: String,
        /// Its new revision.
        revision: u64,
        /// The record in Helm's form, but for status and times; it holds manifests, and so secrets.
        #[serde(default)]
        payload: Sensitive<String>,
    },
    /// Writes a resource to the target.
    WriteResource {
        /// `namespace/kind/name`, see [`super::ResourcePlan::address`].
        address: String,
        /// Where it goes, in the words of the target.
        path: String,
        /// The manifest; absent where it is sensitive.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        manifest: Option<String>,
        /// The manifest of a Secret.
        #[serde(default)]
        sealed: Sensitive<String>,
        /// Whether it is deleted before, since it cannot be changed in place.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replace: bool,
        /// Whether fields that another tool set for the release are taken over before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        adopt: bool,
        /// Whether the replicas that it gets are left afterwards to whoever sets them, with a request of its own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        leaves_replicas: bool,
    },
    /// Removes a resource from the target.
    DeleteResource {
        /// As above.
        address: String,
        /// Where it is.
        path: String,
    },
    /// Waits until a resource is as it should be.
    AwaitResource {
        /// As above.
        address: String,
        /// Where it is.
        path: String,
        /// How it is tracked.
        tracking: Tracking,
    },
    /// Removes the records of a release.
    ForgetRelease {
        /// The release.
        release: String,
    },
    /// Does nothing: what needs it waits for all that it needs.
    Gate,
    /// Records that the hooks of an event have run, before those of them are deleted that are not to stay: who goes on
    /// after an interruption could not see it otherwise.
    RecordHooks {
        /// The release.
        release: String,
        /// Its new revision.
        revision: u64,
        /// The event, as Helm names it.
        event: String,
        /// The operations that made them and waited for them.
        covers: Vec<OperationId>,
    },
    /// Records the release; makes all writes to the target visible where the target can.
    RecordRelease {
        /// The release.
        release: String,
        /// Its new revision.
        revision: u64,
        /// What is recorded.
        record: Value,
    },
}

impl Work {
    /// Returns the release that it opens, by the name that the target has for it, and the record that it writes; `None`
    /// of what opens none, or whose record is sealed.
    pub fn opened(&self) -> Option<(&str, &str)> {
        match self {
            Self::OpenRelease { release, payload, .. } => Some((release, payload.reveal()?)),
            Self::BuildStage { .. }
            | Self::TagImage { .. }
            | Self::TagIndex { .. }
            | Self::CopyImage { .. }
            | Self::WriteResource { .. }
            | Self::DeleteResource { .. }
            | Self::AwaitResource { .. }
            | Self::RecordHooks { .. }
            | Self::RecordRelease { .. }
            | Self::ForgetRelease { .. }
            | Self::Gate => None,
        }
    }
}

/// Something that was true when the plan was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "guard", rename_all = "snake_case")]
pub enum Guard {
    /// No stage with this digest is stored. If one is stored meanwhile, it is used: nothing is stale.
    StageAbsent {
        /// The stage digest.
        digest: String,
    },
    /// The content-based tag stands on this manifest.
    ImagePresent {
        /// The tag.
        tag: String,
        /// Digest of its manifest.
        manifest: String,
    },
    /// The tag stands on this manifest in the final repository.
    FinalImagePresent {
        /// The tag.
        tag: String,
        /// Digest of its manifest.
        manifest: String,
    },
    /// The stage that is built upon is stored, with this manifest.
    StagePresent {
        /// The stage id.
        stage_id: String,
        /// Digest of its manifest.
        manifest: String,
    },
    /// The image of somebody else has this manifest.
    BasePresent {
        /// The reference as written.
        reference: String,
        /// The platform.
        #[schemars(with = "Value")]
        platform: Platform,
        /// Digest of its manifest.
        manifest: String,
    },
    /// The release has this revision; `None`: there is no release.
    ReleaseRevision {
        /// The release.
        release: String,
        /// Its last revision.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<u64>,
    },
    /// The target is this cluster.
    Cluster {
        /// The uid of its namespace `kube-system`.
        uid: String,
    },
    /// The resource in the target has this content; `None`: it is not there.
    ResourceContent {
        /// Where it is.
        path: String,
        /// SHA-224 of the content.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
    },
    /// The resource in the target has this content, in which secrets stand.
    SecretContent {
        /// Where it is.
        path: String,
        /// SHA-224 of the content. Weak secrets could be found out with it: a saved plan has it in its sealed part.
        #[serde(default)]
        digest: Sensitive<String>,
    },
}
