//! The meta document: `configVersion`, `project` and what holds for the whole project.

use crate::source::{Span, Spanned};

use super::{ImageSpec, Text};

/// The meta document.
#[derive(Clone, Debug)]
pub struct Meta {
    /// The document.
    pub span: Span,
    /// The name of the project.
    pub project: Text,
    /// `build`.
    pub build: BuildDefaults,
    /// `deploy`.
    pub deploy: Deploy,
    /// `cleanup`.
    pub cleanup: Cleanup,
    /// `gitWorktree`.
    pub git_worktree: GitWorktree,
}

/// What images take when they say nothing themselves.
#[derive(Clone, Debug, Default)]
pub struct BuildDefaults {
    /// `cacheVersion`.
    pub cache_version: Option<Text>,
    /// `platform`.
    pub platforms: Vec<Text>,
    /// `staged`.
    pub staged: Option<Spanned<bool>>,
    /// `imageSpec`, merged into final images.
    pub image_spec: Option<ImageSpec>,
}

/// How the project is deployed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deploy {
    /// Directory of the chart, relative to the project directory; `None` means `.helm` beside werf.yaml.
    pub chart_dir: Option<Text>,
    /// The application version that replaces the chart's.
    pub app_version: Option<Text>,
    /// The template of the release name; `None` means the default.
    pub release: Option<Text>,
    /// Whether the release name is made valid; `None` means yes.
    pub release_slug: Option<Spanned<bool>>,
    /// The template of the namespace; `None` means the default.
    pub namespace: Option<Text>,
    /// Whether the namespace is made valid; `None` means yes.
    pub namespace_slug: Option<Spanned<bool>>,
}

/// Which images cleanup keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cleanup {
    /// Turns cleanup off.
    pub disable: bool,
    /// Does not keep what runs in clusters.
    pub disable_kubernetes_policy: bool,
    /// Does not look at git history.
    pub disable_git_history_policy: bool,
    /// Does not keep what is young.
    pub disable_built_within_policy: bool,
    /// How long an image is young. Unit: hours.
    pub keep_built_within_hours: u64,
    /// What git history keeps; empty means the built-in policies.
    pub keep_policies: Vec<KeepPolicy>,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            disable: false,
            disable_kubernetes_policy: false,
            disable_git_history_policy: false,
            disable_built_within_policy: false,
            keep_built_within_hours: 2,
            keep_policies: Vec::new(),
        }
    }
}

/// One policy of git history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepPolicy {
    /// The entry.
    pub span: Span,
    /// Which branches or tags.
    pub references: KeepReferences,
    /// How many images of each.
    pub images_per_reference: KeepLimit,
}

/// Branches or tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepReferences {
    /// Which.
    pub matching: ReferenceMatch,
    /// How many of them.
    pub limit: KeepLimit,
}

/// Which branches or tags, as an anchored regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceMatch {
    /// Branches, without the name of the remote.
    Branch(Text),
    /// Tags.
    Tag(Text),
}

/// A limit by number and by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepLimit {
    /// The newest so many; `None` or a negative number for all.
    pub last: Option<i64>,
    /// Those no older. Unit: nanoseconds.
    pub within: Option<i64>,
    /// How the two join.
    pub operator: KeepOperator,
}

/// How two limits join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepOperator {
    /// Both.
    #[default]
    And,
    /// Either.
    Or,
}

/// How the git clone may be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GitWorktree {
    /// Takes a shallow clone as it is.
    pub force_shallow_clone: bool,
    /// May fetch the missing history.
    pub allow_unshallow: bool,
    /// May fetch branches and tags before cleanup.
    pub allow_fetch_origin: bool,
}

impl Default for GitWorktree {
    fn default() -> Self {
        Self { force_shallow_clone: false, allow_unshallow: true, allow_fetch_origin: true }
    }
}
