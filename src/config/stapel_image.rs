//! Images that are built from instructions in werf.yaml, and artifacts.

use std::collections::BTreeMap;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::{Span, Spanned};
use crate::syntax::yaml::{Node, Plain};

use super::ansible;
use super::decode::{Section, absolute, conflict, deprecated, missing, renamed};
use super::directives;
use super::image::{DocumentKind, Surroundings, Wanted, names};
use super::overlap;
use super::{DockerSection, GitMapping, Giterminism, Image, ImageKind, ImageReference, Import, Text, UserStage};

/// The part of an image that tells of its instructions.
#[derive(Clone, Debug)]
pub struct StapelImage {
    /// Whether it was declared by `artifact`.
    pub artifact: bool,
    /// The base; `scratch` is an outside name.
    pub from: ImageReference,
    /// Whether the digest of an outside base is looked up at every run.
    pub from_latest: Spanned<bool>,
    /// A text that makes the first stage anew when it changes.
    pub from_cache_version: Option<Text>,
    /// Leaves out the stages that bring the sources up to date, and the `docker` section.
    pub disable_git_after_patch: bool,
    /// Sources.
    pub git: Vec<GitMapping>,
    /// Commands.
    pub shell: Option<Shell>,
    /// Tasks.
    pub ansible: Option<Ansible>,
    /// Image configuration.
    pub docker: Option<DockerSection>,
    /// Files of other images.
    pub imports: Vec<Import>,
    /// Directories of the host.
    pub mounts: Vec<Mount>,
}

/// Commands of the user stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    /// The section.
    pub span: Span,
    /// A text that makes all four stages anew when it changes.
    pub cache_version: Option<Text>,
    /// The stages that are written.
    pub stages: BTreeMap<UserStage, StageCommands>,
}

/// What runs in one user stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageCommands {
    /// The commands in order.
    pub commands: Vec<Text>,
    /// A text that makes this stage anew when it changes.
    pub cache_version: Option<Text>,
}

/// Ansible tasks of the user stages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ansible {
    /// The section.
    pub span: Span,
    /// A text that makes all four stages anew when it changes.
    pub cache_version: Option<Text>,
    /// Tasks by stage.
    pub tasks: BTreeMap<UserStage, Vec<AnsibleTask>>,
    /// A text that makes one stage anew when it changes.
    pub stage_cache_versions: BTreeMap<UserStage, Text>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsibleTask {
    /// Its place.
    pub span: Span,
    /// The task as written.
    pub task: Plain,
}

/// A directory of the host that is there during the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The entry.
    pub span: Span,
    /// The path in the image.
    pub to: Text,
    /// What is mounted.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A new directory for each build.
    TmpDir,
    /// A directory shared by the builds of the project.
    BuildDir,
    /// A path of the host.
    Path(Text),
}

impl StapelImage {
    /// Reads a document with `image` or `artifact`: an image for each of its names.
    pub(super) fn decode(d: &mut Diagnostics, node: &Node, around: Surroundings<'_>) -> Vec<Image> {
        let Some(section) = Section::open(d, node, &directives::STAPEL_IMAGE) else { return Vec::new() };
        let names = declared_names(d, &section);
        let part = Self::part(d, &section, around);
        if part.artifact {
            check_artifact(d, &section);
        } else if section.node("docker").is_some() && section.node("imageSpec").is_some() {
            conflict(d, &section, "imageSpec", "docker");
        }
        let image = Image::decode(d, &section, around, DocumentKind::Stapel, ImageKind::Stapel(Box::new(part)));
        names.into_iter().map(|name| named(d, &image, name)).collect()
    }

    fn part(d: &mut Diagnostics, section: &Section<'_>, around: Surroundings<'_>) -> Self {
        let artifact = section.filled(d, "artifact").is_some();
        let from_latest = section.flag_or(d, "fromLatest", false);
        if from_latest.value && !around.rules.from_latest && !around.rules.loose {
            let setting = "config.stapel.allowFromLatest";
            around.rules.refuse(d, from_latest.span, "the base follows its tag", setting, None);
        }
        if section.node("shell").is_some() && section.node("ansible").is_some() {
            conflict(d, section, "shell", "ansible");
        }
        let from = base(d, section);
        let disabled = section.flag_or(d, "disableGitAfterPatch", false);
        if disabled.value && section.node("docker").is_some() {
            let message = "`docker` has no effect beside `disableGitAfterPatch`";
            let found = Diagnostic::at(&rules::INEFFECTIVE_KEY, section.key_span("docker"), message);
            d.push(found.hint("use `imageSpec`"));
        }
        let entries = section.items(d, "git").unwrap_or_default();
        let mut git: Vec<GitMapping> = entries.iter().filter_map(|n| GitMapping::decode(d, n, around.rules)).collect();
        let entries = section.items(d, "import").unwrap_or_default();
        let mut imports: Vec<Import> = entries.iter().filter_map(|n| Import::decode(d, n)).collect();
        overlap::keep_apart(d, &mut git, &mut imports);
        Self {
            artifact,
            from,
            from_latest,
            from_cache_version: section.filled(d, "fromCacheVersion"),
            disable_git_after_patch: disabled.value || artifact,
            git,
            shell: Shell::decode(d, section),
            ansible: ansible::decode(d, section),
            docker: DockerSection::decode(d, section),
            imports,
            mounts: mounts(d, section, around.rules),
        }
    }
}

/// Gives the image its name; a base of the same name is an outside image.
fn named(d: &mut Diagnostics, image: &Image, name: Text) -> Image {
    let mut image = Image { name, ..image.clone() };
    if let ImageKind::Stapel(part) = &mut image.kind
        && part.from.name.value == image.name.value
        && part.from.wanted == Wanted::Anywhere
        && !image.name.value.is_empty()
    {
        let outside = format!("{}:latest", image.name.value);
        let message = format!("the image names itself as its base, so `{outside}` is pulled");
        let found = Diagnostic::at(&rules::NEARLY_AN_IMAGE, part.from.name.span, message);
        d.push(found.hint("give the base a tag, or the image another name"));
        part.from.name.value = outside;
        part.from.wanted = Wanted::Outside;
    }
    image
}

fn declared_names(d: &mut Diagnostics, section: &Section<'_>) -> Vec<Text> {
    let artifact = section.filled(d, "artifact");
    deprecated(d, section, "artifact", "use `image` and `final: false`");
    let image = section.node("image").is_some_and(|n| n.as_str() != Some(""));
    match artifact {
        Some(_) if image => {
            conflict(d, section, "image", "artifact");
            Vec::new()
        }
        Some(artifact) => vec![artifact],
        None if section.entry("image").is_none() => {
            missing(
                d,
                section.key_span("artifact"),
                "the artifact has no name",
                "give it a name, or better, declare it by `image` with `final: false`",
            );
            Vec::new()
        }
        None => names(d, section),
    }
}

/// Reads the base: `from`, or one of the older keys.
fn base(d: &mut Diagnostics, section: &Section<'_>) -> ImageReference {
    // an image that names itself by `from` means one from outside
    let names_itself =
        section.node("fromImage").is_some_and(|n| n.as_str() == section.node("image").and_then(Node::as_str));
    if names_itself {
        deprecated(d, section, "fromImage", "use `from`");
    } else {
        renamed(d, section, "fromImage", "from");
    }
    deprecated(d, section, "fromArtifact", "use `from`");
    let from = section.filled(d, "from");
    let image = section.filled(d, "fromImage");
    let artifact = section.filled(d, "fromArtifact");
    if artifact.is_some() {
        for (key, other) in [("from", &from), ("fromImage", &image)] {
            if other.is_some() {
                conflict(d, section, key, "fromArtifact");
            }
        }
    } else if let (Some(from), Some(_)) = (&from, &image) {
        let found = Diagnostic::at(&rules::INEFFECTIVE_KEY, from.span, "`from` has no effect beside `fromImage`");
        d.push(found.also(section.key_span("fromImage"), "this one counts"));
    }
    if let Some(name) = artifact {
        return ImageReference::new(name, Wanted::Project);
    }
    // An image that names itself by `fromImage` is a circle, by `from` an outside image: so does werf.
    if let Some(name) = image {
        return ImageReference::new(name, Wanted::AnywhereSelfToo);
    }
    if from.is_none() {
        missing(
            d,
            section.span,
            "the image has no base",
            "add `from`, with an image of this configuration or an outside one with its tag",
        );
    }
    let nothing = Text::new(String::new(), section.span);
    ImageReference::new(from.unwrap_or(nothing), Wanted::Anywhere)
}

/// Reports what an artifact cannot have.
fn check_artifact(d: &mut Diagnostics, section: &Section<'_>) {
    let disabled = section.flag(d, "disableGitAfterPatch").is_some_and(|f| f.value);
    for (key, present) in [
        ("docker", section.node("docker").is_some()),
        ("final", section.node("final").is_some()),
        ("disableGitAfterPatch", disabled),
        ("dependencies", section.node("dependencies").is_some()),
    ] {
        if present {
            let found = Diagnostic::at(
                &rules::CONFLICTING_KEYS,
                section.key_span(key),
                format!("an artifact cannot have `{key}`"),
            );
            d.push(found.hint("declare it as an image with `final: false`"));
        }
    }
}

impl Shell {
    fn decode(d: &mut Diagnostics, image: &Section<'_>) -> Option<Self> {
        let section = image.section(d, "shell", &directives::SHELL)?;
        let mut stages = BTreeMap::new();
        for stage in UserStage::ALL {
            let commands = section.strings(d, stage.key()).unwrap_or_default();
            let cache_version = section.filled(d, &format!("{}CacheVersion", stage.key()));
            if !commands.is_empty() || cache_version.is_some() {
                stages.insert(stage, StageCommands { commands, cache_version });
            }
        }
        Some(Self { span: section.span, cache_version: section.filled(d, "cacheVersion"), stages })
    }
}

fn mounts(d: &mut Diagnostics, image: &Section<'_>, allowed: &Giterminism) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for node in image.items(d, "mount").unwrap_or_default() {
        let Some(section) = Section::open(d, node, &directives::MOUNT) else { continue };
        let source = mount_source(d, &section, allowed);
        let Some(to) = section.filled(d, "to") else {
            missing(d, section.span, "a mount needs `to`", "write the path in the image, for example `to: /tmp`");
            continue;
        };
        if absolute(d, &to, "to").is_none() {
            continue;
        }
        if let Some(first) = mounts.iter().find(|m| m.to.value == to.value) {
            let found = Diagnostic::at(&rules::DUPLICATE_NAME, to.span, format!("`{}` is mounted twice", to.value));
            d.push(found.also(first.to.span, "mounted here first"));
        }
        if let Some(source) = source {
            mounts.push(Mount { span: section.span, to, source });
        }
    }
    mounts
}

fn mount_source(d: &mut Diagnostics, section: &Section<'_>, allowed: &Giterminism) -> Option<MountSource> {
    let from = section.filled(d, "from");
    let path = section.filled(d, "fromPath");
    if let Some(path) = path.as_ref().filter(|p| !allowed.loose && !allowed.from_paths.matches(&p.value)) {
        let what = format!("`{}` of the host is mounted", path.value);
        allowed.refuse(d, path.span, what, "config.stapel.mount.allowFromPaths", Some(&path.value));
    }
    match (from, path) {
        (Some(_), Some(_)) => {
            conflict(d, section, "from", "fromPath");
            None
        }
        (None, None) => {
            missing(
                d,
                section.span,
                "a mount needs `from` or `fromPath`",
                "write `from: tmp_dir`, `from: build_dir` or `fromPath: PATH`",
            );
            None
        }
        (None, Some(path)) => Some(MountSource::Path(path)),
        (Some(from), None) => match from.value.as_str() {
            "tmp_dir" => Some(MountSource::TmpDir),
            "build_dir" => {
                if !allowed.build_dir && !allowed.loose {
                    let what = "a directory that outlives the build is mounted";
                    allowed.refuse(d, from.span, what, "config.stapel.mount.allowBuildDir", None);
                }
                Some(MountSource::BuildDir)
            }
            other => {
                let found = Diagnostic::at(&rules::INVALID_VALUE, from.span, format!("`{other}` cannot be mounted"));
                d.push(found.hint("write `tmp_dir` or `build_dir`, or use `fromPath`"));
                None
            }
        },
    }
}
