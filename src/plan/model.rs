//! The plan's sections, in the order of what a reviewer must decide.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hooks::HookPlan;
use super::operation::Operation;
use super::reason::Reason;
use super::selection::Unsuitable;
use super::sensitive::Sensitive;
use crate::source::Place;

/// Everything that will happen, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Version of this format.
    pub format_version: String,
    /// The project.
    pub project: String,
    /// The commit that was read; empty when there is none.
    pub commit: String,
    /// What was looked at.
    pub fidelity: Fidelity,
    /// What the plan was made from.
    pub inputs: Inputs,
    /// The counts.
    pub summary: Summary,
    /// What deserves a second look.
    pub risks: Vec<Risk>,
    /// The stages of every image that is built.
    pub stages: Vec<StagePlan>,
    /// Every image.
    pub images: Vec<ImagePlan>,
    /// Every resource.
    pub resources: Vec<ResourcePlan>,
    /// What is removed from the store.
    pub cleanup: Vec<CleanupItem>,
    /// The hooks that run, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookPlan>,
    /// What apply does.
    pub operations: Vec<Operation>,
    /// Why the release is recorded, where none of its resources changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub record_reasons: Vec<RecordReason>,
    /// Texts that no output of apply may show; a saved plan has them in its sealed part.
    #[serde(skip)]
    pub hidden: Sensitive<Vec<String>>,
}

impl Plan {
    /// Says whether apply would change anything but the release record.
    pub fn has_changes(&self) -> bool {
        let images =
            |i: &ImagePlan| i.action == ImageAction::Build || !i.custom_tags.is_empty() || i.copied_to.is_some();
        self.images.iter().any(images)
            || self.resources.iter().any(|r| r.action != ResourceAction::Noop)
            || !self.cleanup.is_empty()
            || !self.hooks.is_empty()
    }

    /// Returns what would be lost that nobody brings back.
    pub fn data_losses(&self) -> impl Iterator<Item = &Risk> {
        self.risks.iter().filter(|risk| risk.code == "data-loss" && risk.level == RiskLevel::Danger)
    }

    /// Says whether apply would change the release record and nothing else.
    pub fn is_record_only(&self) -> bool {
        !self.has_changes() && !self.operations.is_empty()
    }
}

/// Why a release is recorded though none of its resources changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum RecordReason {
    /// There is no record yet.
    First,
    /// The last revision did not end well.
    Unfinished {
        /// What became of it: `failed`, `pending-upgrade`, …
        status: String,
    },
    /// Somebody asked for a rollback, which is a revision of its own.
    Rollback,
    /// The manifests are others, and the target has what they want.
    Manifests,
    /// The hooks are others.
    Hooks,
    /// The images are others.
    Images,
    /// The values that were given are others.
    Values,
    /// The environment is another one.
    Environment,
    /// The namespace is another one.
    Namespace,
    /// The notes are others.
    Notes,
}

/// What was looked at to make the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fidelity {
    /// git only.
    Offline,
    /// The stage store was seen.
    Store,
    /// The stage store and the target were seen.
    Live,
}

/// What the plan was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inputs {
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its revision in the target; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The stage store.
    pub repo: String,
    /// The repository that final images are copied to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_repo: Option<String>,
    /// The stage stores that are only read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secondary_repos: Vec<String>,
    /// The builder.
    pub builder: String,
    /// The target; absent when nothing is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Which cluster the target is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
    /// What holds the records of releases in the cluster: `configmap`; absent for Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_driver: Option<String>,
    /// The git tree that was read: differs from the commit's under `--dev`.
    pub tree: String,
    /// Whether uncommitted files were read.
    pub dev: bool,
    /// Whether hooks do not run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_hooks: bool,
    /// Whether what people changed by hand stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_remove_manual_changes: bool,
    /// What a null in values means, where it is not what it means to Helm: `helm4`, `werf`, `strict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values_nulls: Option<String>,
    /// The commits of other repositories that git mappings take.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<TakenRepository>,
    /// The paths in the repository that images add to their contexts from the disk, one list for each context.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Vec<String>>,
    /// The bundle that was read in place of a commit: `REPO:TAG@DIGEST`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
}

/// Which cluster a target is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterName {
    /// The context of the kubeconfig; absent within a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The address of its API server.
    pub server: String,
    /// The uid of its namespace `kube-system`, which is another one in each cluster; absent where it may not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.context {
            Some(context) => write!(f, "{context} ({})", self.server),
            None => f.write_str(&self.server),
        }
    }
}

/// A commit of another repository that git mappings take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakenRepository {
    /// The address, without user and password.
    pub url: String,
    /// The branch or tag; absent for a commit and for the default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The commit.
    pub commit: String,
}

/// The counts of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Images to build.
    pub images_build: usize,
    /// Images found in the store.
    pub images_reuse: usize,
    /// Stages to build.
    pub stages_build: usize,
    /// Resources to create.
    pub create: usize,
    /// Resources to update.
    pub update: usize,
    /// Resources to replace.
    pub replace: usize,
    /// Resources to delete.
    pub delete: usize,
    /// Resources that stay as they are.
    pub noop: usize,
    /// Workloads whose pods restart.
    pub restarts: usize,
    /// Resources that were changed by somebody else.
    pub drift: usize,
}

/// How much a risk matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Worth knowing.
    Info,
    /// Worth a second look.
    Warning,
    /// Data or service may be lost.
    Danger,
}

/// Something that deserves a second look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Risk {
    /// `data-loss`, `replace`, `downtime`, `privilege`, `exposure`, `stale-until-restart`, …
    pub code: String,
    /// How much it matters.
    pub level: RiskLevel,
    /// The resource, see [`ResourcePlan::address`].
    pub address: String,
    /// The field that brings it, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// One sentence.
    pub message: String,
}

/// What happens to a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageAction {
    /// It is built.
    Build,
    /// It is found in the store.
    Reuse,
}

/// One stage of an image that is built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StagePlan {
    /// The image.
    pub image: String,
    /// The stage's name.
    pub stage: String,
    /// The platform, where the image has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Its stage digest.
    pub digest: String,
    /// What happens to it.
    pub action: StageAction,
    /// The stored stage that is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_id: Option<String>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The stored builds that are not used, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedStage>,
}

/// A stored build of a stage that is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RejectedStage {
    /// Its stage id.
    pub stage_id: String,
    /// Why not.
    #[serde(flatten)]
    pub cause: Unsuitable,
}

/// What happens to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageAction {
    /// Some of its stages are built, or it is tagged.
    Build,
    /// It is in the store, or not needed.
    Reuse,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImagePlan {
    /// Its name in werf.yaml; empty for the nameless image.
    pub name: String,
    /// What happens to it.
    pub action: ImageAction,
    /// Its signature: the content-based tag.
    pub tag: String,
    /// Its platforms, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// The tag of the last applied release, or of the newest stored image of that name, where it differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_tag: Option<String>,
    /// The commit that this older build was made from, where it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_commit: Option<String>,
    /// The tags of the user's choice that are put on it, or moved to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_tags: Vec<String>,
    /// The final repository, where the image is copied to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_to: Option<String>,
    /// The reference that templates see.
    pub reference: String,
    /// Whether templates see it.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Where it is declared.
    pub place: Place,
    /// Why.
    pub reasons: Vec<Reason>,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResourceAction {
    /// It is new.
    Create,
    /// It is changed in place.
    Update,
    /// It is deleted and created again.
    Replace,
    /// It is removed.
    Delete,
    /// It stays as it is.
    Noop,
}

/// What happened to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldOp {
    /// It is new.
    Add,
    /// Its value changed.
    Change,
    /// It is gone.
    Remove,
}

/// One changed field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FieldChange {
    /// Its path, list items by their key: `spec.template.spec.containers[name=app].image`.
    pub path: String,
    /// What happened.
    pub op: FieldOp,
    /// Before; `null` when it is new. Secrets in it are shown as `(secret DIGEST)`, keyed digests of them.
    pub before: Value,
    /// Now; `null` when it is gone. Secrets in it are shown as `(secret DIGEST)`.
    pub after: Value,
    /// The value is secret as a whole: it is shown as `(secret DIGEST)`, or as `null` where no secret key is in force.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sensitive: bool,
}

/// A restart of pods that the plan predicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    /// Number of pods, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<u64>,
    /// Of how many that run now, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// `RollingUpdate`, `Recreate`, …
    pub strategy: String,
    /// Whether the service is gone for a while.
    pub downtime: bool,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourcePlan {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; absent for cluster-scoped resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// The resource that this one takes the place of: the same under another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_address: Option<String>,
    /// What happens to it.
    pub action: ResourceAction,
    /// The template that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Place>,
    /// The changed fields; of a new resource, all of them.
    pub fields: Vec<FieldChange>,
    /// The fields that force a replacement.
    pub replace_paths: Vec<String>,
    /// Fields that somebody else changed since the last apply; apply writes over them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<FieldChange>,
    /// Fields that people changed by hand and that stay: as they are, and as the chart says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<FieldChange>,
    /// A restart of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl ResourcePlan {
    /// Returns `namespace/kind/name`, with `-` as the namespace of a cluster-scoped resource.
    pub fn address(&self) -> String {
        format!("{}/{}/{}", self.namespace.as_deref().unwrap_or("-"), self.kind, self.name)
    }
}

/// Something that is removed from the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CleanupItem {
    /// The tag or stage id.
    pub tag: String,
    /// Why.
    pub reason: String,
}
