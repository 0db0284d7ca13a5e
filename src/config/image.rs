//! What all images have in common.

use std::collections::BTreeSet;

use crate::diag::{Diagnostic, Diagnostics, Severity, did_you_mean, rules};
use crate::source::{Span, Spanned};
use crate::syntax::yaml::{Data, Node};

use super::decode::{Section, conflict, missing, wrong_type};
use super::directives;
use super::image_spec::Scope;
use super::meta::platforms;
use super::{BuildDefaults, DockerfileImage, Giterminism, ImageSpec, StapelImage};

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
    /// `platform` of the image, else of `build`; empty means linux/amd64.
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
    pub(super) wanted: Wanted,
}

/// Where the name of an image may be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// In the project, else outside; an image of the same name does not count.
    Anywhere,
    /// In the project, else outside.
    AnywhereSelfToo,
    /// In the project; it must be there.
    Project,
    /// Outside.
    Outside,
}

impl ImageReference {
    pub(super) fn new(name: Text, wanted: Wanted) -> Self {
        Self { name, image: None, wanted }
    }
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

/// What the documents of images are read with.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// What holds for all images.
    pub build: &'a BuildDefaults,
    /// What is allowed.
    pub rules: &'a Giterminism,
    /// Platforms given on the command line; they replace all others.
    pub platforms: &'a [String],
    /// Every Dockerfile image is staged.
    pub force_staged: bool,
}

/// Which kind of document is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DocumentKind {
    /// With `dockerfile`.
    Dockerfile,
    /// With instructions.
    Stapel,
}

impl Image {
    /// Reads what all images have; `name` stays empty.
    pub(super) fn decode(
        d: &mut Diagnostics,
        section: &Section<'_>,
        around: Surroundings<'_>,
        document: DocumentKind,
        kind: ImageKind,
    ) -> Self {
        let artifact = matches!(&kind, ImageKind::Stapel(s) if s.artifact);
        let is_final = section.flag_or(d, "final", !artifact);
        let own = ImageSpec::decode(d, section, Scope::Image);
        let cache_version = section.filled(d, "cacheVersion").or_else(|| around.build.cache_version.clone());
        let mut platforms = platforms(d, section);
        if !around.platforms.is_empty() {
            platforms = around.platforms.iter().map(|p| Text::new(p.clone(), section.span)).collect();
        } else if platforms.is_empty() {
            platforms.clone_from(&around.build.platforms);
        }
        let global = around.build.image_spec.as_ref().filter(|_| is_final.value);
        Self {
            name: Text::new(String::new(), section.span),
            document: section.span,
            is_final: is_final.value,
            cache_version,
            platforms,
            network: section.filled(d, "network"),
            secrets: secrets(d, section, around.rules),
            dependencies: dependencies(d, section, document),
            image_spec: ImageSpec::merged(own, global),
            kind,
        }
    }
}

/// Reads the names under `image`: one, or several for images that are otherwise the same.
pub(super) fn names(d: &mut Diagnostics, section: &Section<'_>) -> Vec<Text> {
    let Some(entry) = section.entry("image") else { return Vec::new() };
    let names = match &entry.value.data {
        Data::Null => vec![Text::new(String::new(), entry.key.span)],
        Data::String(name) => vec![Text::new(name.to_string(), entry.value.span)],
        Data::Sequence(items) => {
            if items.is_empty() {
                missing(
                    d,
                    entry.value.span,
                    "the list of names is empty",
                    "write at least one name, or remove the document",
                );
            }
            items.iter().filter_map(|n| name(d, n)).collect()
        }
        Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) | Data::Mapping(_) => {
            d.push(name_fault(&entry.value));
            Vec::new()
        }
    };
    for name in &names {
        check_name(d, name);
    }
    names
}

fn name(d: &mut Diagnostics, node: &Node) -> Option<Text> {
    if node.as_str().is_none() {
        d.push(name_fault(node));
    }
    Some(Text::new(node.as_str()?.to_owned(), node.span))
}

fn name_fault(node: &Node) -> Diagnostic {
    let fault = wrong_type(node, "`image`", "a name or a list of names");
    match node.scalar_text() {
        Some(text) if !text.is_empty() => fault.hint(format!("write \"{text}\" in quotes")),
        Some(_) | None => fault,
    }
}

/// Warns of names that a newer werf does not take.
fn check_name(d: &mut Diagnostics, name: &Text) {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    let legal = |part: &str| edge(part.chars().next()) && edge(part.chars().next_back()) && part.chars().all(inner);
    let (message, hint) = if name.value.is_empty() {
        ("an image without a name is deprecated".to_owned(), "give it a name")
    } else if !name.value.split('/').all(legal) {
        let hint = "use letters, digits, and `.`, `_`, `-` inside, in parts joined by `/`";
        (format!("the image name `{}` is not portable", name.value), hint)
    } else {
        return;
    };
    let mut found = Diagnostic::at(&rules::INVALID_NAME, name.span, message).hint(hint);
    found.severity = Severity::Warning;
    d.push(found);
}

fn secrets(d: &mut Diagnostics, image: &Section<'_>, allowed_by: &Giterminism) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = Vec::new();
    for node in image.items(d, "secrets").unwrap_or_default() {
        let Some(section) = Section::open(d, node, &directives::SECRET) else { continue };
        let Some(secret) = secret(d, &section) else { continue };
        let (allowed, what, rule, item) = match &secret.source {
            SecretSource::Env(name) => (
                allowed_by.allows_secret_env(&name.value),
                format!("the secret is read from the variable `{}`", name.value),
                "config.secrets.allowEnvVariables",
                &name.value,
            ),
            SecretSource::File(path) => (
                allowed_by.allows_secret_file(&path.value),
                format!("the secret is read from the file `{}`", path.value),
                "config.secrets.allowFiles",
                &path.value,
            ),
            SecretSource::Value(_) => (
                allowed_by.allows_secret_value(&secret.id.value),
                format!("the secret `{}` stands in the configuration", secret.id.value),
                "config.secrets.allowValueIds",
                &secret.id.value,
            ),
        };
        if !allowed {
            allowed_by.refuse(d, section.span, what, rule, Some(item));
        }
        if let Some(first) = secrets.iter().find(|s| s.id.value == secret.id.value) {
            let message = format!("the secret `{}` is given twice", secret.id.value);
            let found = Diagnostic::at(&rules::DUPLICATE_NAME, secret.id.span, message);
            d.push(found.also(first.id.span, "given here first"));
        }
        secrets.push(secret);
    }
    secrets
}

fn secret(d: &mut Diagnostics, section: &Section<'_>) -> Option<Secret> {
    let id = section.filled(d, "id");
    let given: Vec<&str> = ["env", "src", "value"].into_iter().filter(|k| section.node(k).is_some()).collect();
    match given.as_slice() {
        [] => {
            missing(
                d,
                section.span,
                "a secret needs `env`, `src` or `value`",
                "write where it comes from, for example `env: NAME`",
            );
            None
        }
        ["env"] => {
            section.text(d, "env").map(|env| Secret { id: id.unwrap_or(env.clone()), source: SecretSource::Env(env) })
        }
        ["src"] => section.text(d, "src").map(|src| {
            let base = src.value.trim_end_matches('/').rsplit('/').next().unwrap_or("").to_owned();
            Secret { id: id.unwrap_or(Text::new(base, src.span)), source: SecretSource::File(src) }
        }),
        [_] => {
            if id.is_none() {
                missing(
                    d,
                    section.span,
                    "a secret with `value` needs `id`",
                    "write the name of the file below `/run/secrets`, for example `id: token`",
                );
            }
            Some(Secret { id: id?, source: SecretSource::Value(section.text(d, "value")?) })
        }
        [one, other, ..] => {
            conflict(d, section, one, other);
            None
        }
    }
}

fn dependencies(d: &mut Diagnostics, image: &Section<'_>, kind: DocumentKind) -> Vec<Dependency> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut dependencies = Vec::new();
    for node in image.items(d, "dependencies").unwrap_or_default() {
        let Some(section) = Section::open(d, node, &directives::DEPENDENCY) else { continue };
        if section.node("image").is_some() && section.node("from").is_some() {
            conflict(d, &section, "image", "from");
        }
        let name = section.filled(d, "image").or_else(|| section.filled(d, "from"));
        if name.is_none() {
            missing(d, section.span, "a dependency needs `image`", "write the name of an image of this configuration");
        }
        let slot = match kind {
            DocumentKind::Stapel => slot(d, &section, "a dependency"),
            DocumentKind::Dockerfile => {
                for key in ["before", "after"].into_iter().filter(|k| section.entry(k).is_some()) {
                    let message = format!("`{key}` has no place in an image with `dockerfile`");
                    d.push(Diagnostic::at(&rules::CONFLICTING_KEYS, section.key_span(key), message));
                }
                None
            }
        };
        let imports: Vec<DependencyImport> = section
            .items(d, "imports")
            .unwrap_or_default()
            .iter()
            .filter_map(|n| dependency_import(d, n, kind))
            .collect();
        for import in &imports {
            if !seen.insert(import.target.value.clone()) {
                let message = format!("`{}` is the target of two dependencies", import.target.value);
                d.push(Diagnostic::at(&rules::DUPLICATE_NAME, import.target.span, message));
            }
        }
        if let Some(name) = name
            && (slot.is_some() || kind == DocumentKind::Dockerfile)
        {
            dependencies.push(Dependency {
                span: section.span,
                image: ImageReference::new(name, Wanted::Project),
                slot,
                imports,
            });
        }
    }
    dependencies
}

fn dependency_import(d: &mut Diagnostics, node: &Node, kind: DocumentKind) -> Option<DependencyImport> {
    let section = Section::open(d, node, &directives::DEPENDENCY_IMPORT)?;
    let (key, other, place) = match kind {
        DocumentKind::Stapel => ("targetEnv", "targetBuildArg", "an image without `dockerfile`"),
        DocumentKind::Dockerfile => ("targetBuildArg", "targetEnv", "an image with `dockerfile`"),
    };
    if section.entry(other).is_some() {
        let message = format!("`{other}` has no place in {place}");
        let found = Diagnostic::at(&rules::CONFLICTING_KEYS, section.key_span(other), message);
        d.push(found.hint(format!("use `{key}`")));
    }
    let target = section.filled(d, key);
    if target.is_none() && section.entry(other).is_none() {
        missing(
            d,
            section.span,
            format!("an import of a dependency needs `{key}`"),
            "write the name that it gets there",
        );
    }
    let Some(name) = section.filled(d, "type") else {
        missing(
            d,
            section.span,
            "an import of a dependency needs `type`",
            "use ImageName, ImageTag, ImageRepo, ImageID or ImageDigest",
        );
        return None;
    };
    let kinds = DependencyKind::ALL;
    let Some((_, found)) = kinds.iter().find(|(n, _)| *n == name.value) else {
        let message = format!("`{}` is not a fact about an image", name.value);
        let fault = Diagnostic::at(&rules::INVALID_VALUE, name.span, message);
        d.push(match did_you_mean(&name.value, kinds.iter().map(|(n, _)| *n)) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("use ImageName, ImageTag, ImageRepo, ImageID or ImageDigest"),
        });
        return None;
    };
    Some(DependencyImport { kind: Spanned::new(*found, name.span), target: target? })
}

/// Reads `before` or `after`, exactly one of which must be there.
pub(super) fn slot(d: &mut Diagnostics, section: &Section<'_>, what: &str) -> Option<Slot> {
    let (key, text) = match (section.filled(d, "before"), section.filled(d, "after")) {
        (Some(_), Some(_)) => {
            conflict(d, section, "before", "after");
            return None;
        }
        (Some(text), None) => ("before", text),
        (None, Some(text)) => ("after", text),
        (None, None) => {
            missing(
                d,
                section.span,
                format!("{what} needs `before` or `after`"),
                "write the stage, for example `before: install`",
            );
            return None;
        }
    };
    match (key, text.value.as_str()) {
        ("before", "install") => Some(Slot::BeforeInstall),
        ("after", "install") => Some(Slot::AfterInstall),
        ("before", "setup") => Some(Slot::BeforeSetup),
        ("after", "setup") => Some(Slot::AfterSetup),
        (_, other) => {
            let message = format!("`{key}: {other}` is not possible");
            d.push(Diagnostic::at(&rules::INVALID_VALUE, text.span, message).hint("write `install` or `setup`"));
            None
        }
    }
}
