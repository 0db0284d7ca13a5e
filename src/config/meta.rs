//! The meta document: `configVersion`, `project` and what holds for the whole project.

use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::source::{Span, Spanned};
use crate::syntax::yaml::Node;

use super::decode::{Section, conflict, missing, relative, unknown_key};
use super::directives;
use super::image_spec::Scope;
use super::{ImageSpec, Text, slug};

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
    /// Directory of Jsonnet files, relative to the project directory; `None` means `jsonnet` in the chart.
    pub jsonnet_dir: Option<Text>,
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

impl Meta {
    /// Reads the meta document.
    pub(super) fn decode(d: &mut Diagnostics, node: &Node) -> Option<Self> {
        let section = Section::open(d, node, &directives::META)?;
        check_version(d, &section);
        Some(Self {
            span: section.span,
            project: project(d, &section),
            build: BuildDefaults::decode(d, &section),
            deploy: Deploy::decode(d, &section),
            cleanup: Cleanup::decode(d, &section),
            git_worktree: GitWorktree::decode(d, &section),
        })
    }
}

fn check_version(d: &mut Diagnostics, section: &Section<'_>) {
    let Some(entry) = section.entry("configVersion") else { return };
    if entry.value.is_null() {
        d.push(Diagnostic::at(&rules::CONFIG_VERSION, entry.key.span, "`configVersion` has no value").hint("write 1"));
    } else if let Some(version) = section.int(d, "configVersion")
        && version.value != 1
    {
        let message = format!("`configVersion` {} is not supported", version.value);
        d.push(Diagnostic::at(&rules::CONFIG_VERSION, version.span, message).hint("write 1"));
    }
}

fn project(d: &mut Diagnostics, section: &Section<'_>) -> Text {
    let Some(project) = section.filled(d, "project") else {
        let (message, hint) = match section.entry("project") {
            Some(_) => ("the name of the project is empty", "write `project: NAME`"),
            None => ("the project has no name", "add `project: NAME`"),
        };
        missing(d, section.key_span("project"), message, hint);
        return Text::new(String::new(), section.span);
    };
    if !slug::is_project(&project.value) {
        let message = format!("`{}` cannot name a project", project.value);
        let mut found = Diagnostic::at(&rules::INVALID_NAME, project.span, message)
            .label("lower-case letters, digits and inner dashes, at most 50");
        let proposal = slug::project(&project.value);
        if !proposal.is_empty() {
            found = found.hint(format!("write `{proposal}`"));
        }
        d.push(found);
    }
    project
}

impl BuildDefaults {
    fn decode(d: &mut Diagnostics, meta: &Section<'_>) -> Self {
        let Some(section) = meta.section(d, "build", &directives::BUILD) else {
            return Self::default();
        };
        Self {
            cache_version: section.filled(d, "cacheVersion"),
            platforms: platforms(d, &section),
            staged: section.flag(d, "staged"),
            image_spec: ImageSpec::decode(d, &section, Scope::Global),
        }
    }
}

/// Reads `platform`: a list of `os/arch[/variant]`.
pub(super) fn platforms(d: &mut Diagnostics, section: &Section<'_>) -> Vec<Text> {
    let platforms = section.texts(d, "platform").unwrap_or_default();
    for platform in &platforms {
        let parts = platform.value.split('/').count();
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
        if platform.value.contains(',') {
            let message = format!("`{}` is several platforms", platform.value);
            d.push(Diagnostic::at(&rules::INVALID_VALUE, platform.span, message).hint("write one platform an item"));
        } else if !(2..=3).contains(&parts) || !platform.value.chars().all(legal) || platform.value.contains("//") {
            let message = format!("`{}` is not a platform", platform.value);
            d.push(
                Diagnostic::at(&rules::INVALID_VALUE, platform.span, message).hint("write for example `linux/arm64`"),
            );
        }
    }
    platforms
}

impl Deploy {
    fn decode(d: &mut Diagnostics, meta: &Section<'_>) -> Self {
        let Some(section) = meta.section(d, "deploy", &directives::DEPLOY) else { return Self::default() };
        let text = |d: &mut Diagnostics, key: &str| {
            let text = section.text(d, key)?;
            if text.value.is_empty() {
                d.push(
                    Diagnostic::at(&rules::INVALID_VALUE, text.span, format!("`{key}` is empty"))
                        .hint("give it a value, or remove it to get the default"),
                );
                return None;
            }
            Some(text)
        };
        let chart_dir = text(d, "helmChartDir").and_then(|p| relative(d, &p, "helmChartDir", "the project directory"));
        let jsonnet_dir = text(d, "jsonnetDir").and_then(|p| relative(d, &p, "jsonnetDir", "the project directory"));
        let app_version =
            section.section(d, "helmChartConfig", &directives::CHART_CONFIG).and_then(|c| c.filled(d, "appVersion"));
        Self {
            chart_dir,
            jsonnet_dir,
            app_version,
            release: text(d, "helmRelease"),
            release_slug: section.flag(d, "helmReleaseSlug"),
            namespace: text(d, "namespace"),
            namespace_slug: section.flag(d, "namespaceSlug"),
        }
    }
}

impl Cleanup {
    fn decode(d: &mut Diagnostics, meta: &Section<'_>) -> Self {
        let mut cleanup = Self::default();
        let Some(section) = meta.section(d, "cleanup", &directives::CLEANUP) else { return cleanup };
        let flag = |d: &mut Diagnostics, key: &str| section.flag(d, key).is_some_and(|f| f.value);
        cleanup.disable = flag(d, "disable");
        cleanup.disable_kubernetes_policy = flag(d, "disableKubernetesBasedPolicy");
        cleanup.disable_git_history_policy = flag(d, "disableGitHistoryBasedPolicy");
        cleanup.disable_built_within_policy = flag(d, "disableBuiltWithinLastNHoursPolicy");
        if let Some(hours) = section.int(d, "keepImagesBuiltWithinLastNHours") {
            if hours.value < 0 {
                d.push(Diagnostic::at(&rules::INVALID_VALUE, hours.span, "a number of hours is not negative"));
            }
            cleanup.keep_built_within_hours = u64::try_from(hours.value).unwrap_or(0);
        }
        let policies = section.items(d, "keepPolicies").unwrap_or_default();
        cleanup.keep_policies = policies.iter().filter_map(|n| KeepPolicy::decode(d, n)).collect();
        cleanup
    }
}

impl KeepPolicy {
    fn decode(d: &mut Diagnostics, node: &Node) -> Option<Self> {
        let section = Section::open(d, node, &directives::KEEP_POLICY)?;
        let limits = directives::LIMIT.names();
        let images = section.node("imagesPerReference").and_then(|n| {
            // werf takes any key here and ignores it.
            let keys = Section::any(d, n, "`imagesPerReference`")?;
            for entry in keys.entries().filter(|e| !limits.contains(&&*e.name)) {
                let mut found = unknown_key(entry, "`imagesPerReference`", &limits);
                found.severity = Severity::Warning;
                d.push(found);
            }
            Some(keys)
        });
        // werf does not look at the operator here.
        let mut images_per_reference = images.map(|i| KeepLimit::decode(d, &i, Severity::Warning)).unwrap_or_default();
        images_per_reference.last.get_or_insert(1);
        let Some(references) = section.section(d, "references", &directives::REFERENCES) else {
            missing(
                d,
                section.span,
                "a keep policy needs `references`",
                "write which branches or tags are meant, for example `references: {branch: main}`",
            );
            return None;
        };
        let limit = references
            .section(d, "limit", &directives::LIMIT)
            .map(|l| KeepLimit::decode(d, &l, Severity::Error))
            .unwrap_or_default();
        let matching = match (references.filled(d, "branch"), references.filled(d, "tag")) {
            (Some(branch), None) => ReferenceMatch::Branch(expression(d, &branch)),
            (None, Some(tag)) => ReferenceMatch::Tag(expression(d, &tag)),
            (Some(_), Some(_)) => {
                conflict(d, &references, "branch", "tag");
                return None;
            }
            (None, None) => {
                missing(
                    d,
                    references.span,
                    "`references` needs `branch` or `tag`",
                    "write a name, or an expression between slashes: `branch: /.*/`",
                );
                return None;
            }
        };
        let references = KeepReferences { matching, limit };
        Some(Self { span: section.span, references, images_per_reference })
    }
}

/// Turns a name or `/expression/` into an anchored regular expression.
fn expression(d: &mut Diagnostics, text: &Text) -> Text {
    let body = text.value.strip_prefix('/').map(|b| b.strip_suffix('/').unwrap_or(b));
    let expression = match body {
        Some(body) => format!("^{body}$"),
        None => format!("^{}$", regex::escape(&text.value)),
    };
    if regex::Regex::new(&expression).is_err() {
        let message = format!("`{}` is not a regular expression", text.value);
        d.push(Diagnostic::at(&rules::INVALID_PATTERN, text.span, message));
    }
    Text::new(expression, text.span)
}

impl KeepLimit {
    fn decode(d: &mut Diagnostics, section: &Section<'_>, severity: Severity) -> Self {
        let operator = match section.text(d, "operator") {
            None => KeepOperator::And,
            Some(text) => match text.value.as_str() {
                "And" => KeepOperator::And,
                "Or" => KeepOperator::Or,
                other => {
                    let message = format!("`{other}` is not an operator");
                    let mut found =
                        Diagnostic::at(&rules::INVALID_VALUE, text.span, message).hint("write `And` or `Or`");
                    found.severity = severity;
                    d.push(found);
                    KeepOperator::And
                }
            },
        };
        Self {
            last: section.int(d, "last").map(|n| n.value),
            within: section.duration(d, "in").map(|n| n.value),
            operator,
        }
    }
}

impl GitWorktree {
    fn decode(d: &mut Diagnostics, meta: &Section<'_>) -> Self {
        let default = Self::default();
        let Some(section) = meta.section(d, "gitWorktree", &directives::GIT_WORKTREE) else { return default };
        Self {
            force_shallow_clone: section.flag_or(d, "forceShallowClone", default.force_shallow_clone).value,
            allow_unshallow: section.flag_or(d, "allowUnshallow", default.allow_unshallow).value,
            allow_fetch_origin: section.flag_or(d, "allowFetchOriginBranchesAndTags", default.allow_fetch_origin).value,
        }
    }
}
