//! What all images have in common.

use crate::source::{Span, Spanned};

use super::{DockerfileImage, ImageSpec, StapelImage};

/// A text with its place.
pub type Text = Spanned<String>;

/// Names an image of one [`super::Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageIndex(pub usize);

/// One image of werf.yaml. A document with several names gives several images.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its name; empty for the nameless image.
    pub name: Text,
    /// Its document.
    pub document: Span,
    /// Whether it is a result of the project: published for deployment, given to charts.
    pub is_final: bool,
    /// `cacheVersion` of the image, else of `build`; `None` when empty.
    pub cache_version: Option<Text>,
    /// `platform` of the image, else of `build`; empty means the platform of the builder.
    pub platforms: Vec<Text>,
    /// The network of commands; never part of a digest.
    pub network: Option<Text>,
    /// Secrets given to commands; never part of a digest.
    pub secrets: Vec<Secret>,
    /// Images whose names are given to this one.
    pub dependencies: Vec<Dependency>,
    /// Changes of the image configuration, the global ones merged in. `None` for an image that has neither.
    pub image_spec: Option<ImageSpec>,
    /// How it is built.
    pub kind: ImageKind,
}

/// How an image is built.
#[derive(Clone, Debug)]
pub enum ImageKind {
    /// From a Dockerfile.
    Dockerfile(Box<DockerfileImage>),
    /// From instructions in werf.yaml.
    Stapel(Box<StapelImage>),
}

impl Image {
    /// Returns the name as it is shown: `~` for the nameless image.
    pub fn shown_name(&self) -> &str {
        if self.name.value.is_empty() { "~" } else { &self.name.value }
    }

    /// Returns the Stapel part.
    pub fn stapel(&self) -> Option<&StapelImage> {
        match &self.kind {
            ImageKind::Stapel(stapel) => Some(stapel),
            ImageKind::Dockerfile(_) => None,
        }
    }

    /// Returns the Dockerfile part.
    pub fn dockerfile(&self) -> Option<&DockerfileImage> {
        match &self.kind {
            ImageKind::Dockerfile(dockerfile) => Some(dockerfile),
            ImageKind::Stapel(_) => None,
        }
    }
}

/// The name of an image: of this project, or of the world outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// As written; `NAME:latest` where an image names itself as its base.
    pub name: Text,
    /// The image of this project; `None` for an outside one.
    pub image: Option<ImageIndex>,
}

/// The stages in which the user's instructions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UserStage {
    /// `beforeInstall`: without sources.
    BeforeInstall,
    /// `install`.
    Install,
    /// `beforeSetup`.
    BeforeSetup,
    /// `setup`.
    Setup,
}

impl UserStage {
    /// All of them, in the order of the build.
    pub const ALL: [Self; 4] = [Self::BeforeInstall, Self::Install, Self::BeforeSetup, Self::Setup];

    /// Returns the key in werf.yaml.
    pub fn key(self) -> &'static str {
        match self {
            Self::BeforeInstall => "beforeInstall",
            Self::Install => "install",
            Self::BeforeSetup => "beforeSetup",
            Self::Setup => "setup",
        }
    }
}

/// Where imports and dependencies enter a Stapel image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// `before: install`.
    BeforeInstall,
    /// `after: install`.
    AfterInstall,
    /// `before: setup`.
    BeforeSetup,
    /// `after: setup`.
    AfterSetup,
}

impl Slot {
    /// All of them, in the order of the build.
    pub const ALL: [Self; 4] = [Self::BeforeInstall, Self::AfterInstall, Self::BeforeSetup, Self::AfterSetup];

    /// Returns the name of its stage, for example `dependenciesBeforeInstall`.
    pub fn stage_name(self) -> &'static str {
        match self {
            Self::BeforeInstall => "dependenciesBeforeInstall",
            Self::AfterInstall => "dependenciesAfterInstall",
            Self::BeforeSetup => "dependenciesBeforeSetup",
            Self::AfterSetup => "dependenciesAfterSetup",
        }
    }
}

/// An image whose name is given to the build of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The entry.
    pub span: Span,
    /// The image; always one of this project.
    pub image: ImageReference,
    /// Where it enters; `None` in Dockerfile images.
    pub slot: Option<Slot>,
    /// What is given.
    pub imports: Vec<DependencyImport>,
}

/// One fact about an image, given as a variable (Stapel) or a build argument (Dockerfile).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyImport {
    /// Which fact.
    pub kind: Spanned<DependencyKind>,
    /// `targetEnv` or `targetBuildArg`.
    pub target: Text,
}

/// A fact about an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DependencyKind {
    /// `repo:tag`.
    Name,
    /// The tag.
    Tag,
    /// The repository.
    Repo,
    /// The image id.
    Id,
    /// The digest of the manifest.
    Digest,
}

impl DependencyKind {
    /// All of them with their names in werf.yaml.
    pub const ALL: [(&'static str, Self); 5] = [
        ("ImageName", Self::Name),
        ("ImageTag", Self::Tag),
        ("ImageRepo", Self::Repo),
        ("ImageID", Self::Id),
        ("ImageDigest", Self::Digest),
    ];
}

/// A secret for build commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its id, which names the file below `/run/secrets`.
    pub id: Text,
    /// Where it comes from.
    pub source: SecretSource,
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// An environment variable.
    Env(Text),
    /// A file of the host.
    File(Text),
    /// The text in werf.yaml itself.
    Value(Text),
}
