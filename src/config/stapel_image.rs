//! Images that are built from instructions in werf.yaml, and artifacts.

use std::collections::BTreeMap;

use crate::source::{Span, Spanned};
use crate::syntax::yaml::Plain;

use super::{DockerSection, GitMapping, ImageReference, Import, Text, UserStage};

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
