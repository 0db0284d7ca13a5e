//! Loading a project: werf.yaml, its images signed, the names of its release.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::chart::strvals::SetKind;
use crate::chart::{AddedKind, Nulls, SecretInputs};
use crate::config::{self, Config, DeployNames, Explicit, Included, Tagged, deploy_names};
use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::digest::Sha224Digest;
use crate::eval::jsonnet::External;
use crate::ports::{GitRemotes, MemoryRemotes, MemoryWorkTree, WorkTree};
use crate::signature::SignedImage;
use crate::source::{Files, FilesError, Gap, History, MemoryHistory, Objects, Sources};

use super::added::add_files;
use super::bundle::OpenedBundle;
use super::includes::open_includes;
use super::remotes::{OpenedRemote, open_remotes};
use super::sign::{SignInputs, sign_images};

/// What a project is read from, and how.
#[derive(Clone, Debug)]
pub struct ProjectInputs {
    /// The files of the repository: a commit, or the work tree under `--dev`.
    pub repository: Files,
    /// The files of the repository on the disk, for checks of uncommitted changes; `None` leaves them out.
    pub disk: Option<Files>,
    /// What the repository cannot give.
    pub gaps: Vec<Gap>,
    /// Path of the project in the repository; empty for its root.
    pub project_dir: String,
    /// Whether uncommitted files are read.
    pub dev: bool,
    /// The commit.
    pub commit: config::Commit,
    /// `--config`, relative to the project.
    pub config_path: Option<String>,
    /// `--config-templates-dir`, relative to the project.
    pub templates_dir: String,
    /// `--giterminism-config`, relative to the project.
    pub giterminism_path: String,
    /// `--loose-giterminism`.
    pub loose: bool,
    /// `--env`.
    pub env: Option<String>,
    /// The environment variables.
    pub environment: BTreeMap<String, String>,
    /// The time. Unit: since the Unix epoch, UTC.
    pub now: Duration,
    /// What a missing project name may be proposed from.
    pub project_hint: String,
    /// `--platform`.
    pub platforms: Vec<String>,
    /// What stands before `:TAG` in the reference of an image; `None`: `localhost/PROJECT`.
    pub repo_address: Option<String>,
    /// `--release`.
    pub release: Option<String>,
    /// `--namespace`.
    pub namespace: Option<String>,
    /// `-f`: name, path in the project where it lies there, and content.
    pub values_files: Vec<ValuesFile>,
    /// `--set` and its family, in order.
    pub sets: Vec<(SetKind, String)>,
    /// `--values-nulls`.
    pub nulls: Nulls,
    /// The files that `--set-file` names.
    pub set_files: BTreeMap<String, Vec<u8>>,
    /// `--add-annotation` and `--add-label`, in order.
    pub additions: Vec<(AddedKind, String)>,
    /// The key of secret values, and `--secret-values`.
    pub secrets: SecretInputs,
    /// `--kube-version`.
    pub kube_version: Option<String>,
    /// `--api-versions`.
    pub api_versions: Vec<String>,
    /// Whether `.Capabilities` are those of the cluster of the release.
    pub asks_cluster: bool,
    /// What Jsonnet files are told beside `stagewright`.
    pub jsonnet: JsonnetInputs,
    /// Other repositories.
    pub remotes: Arc<dyn GitRemotes>,
    /// The files of the repository on the disk, ignored ones too, for `contextAddFiles`.
    pub work_tree: Arc<dyn WorkTree>,
    /// The commits that lead to the one that is read.
    pub history: Arc<dyn History>,
    /// Nothing comes of it but findings: images that cannot be made get a signature of their own, and where a name of
    /// the release needs an environment, that of the project is taken.
    pub checks_only: bool,
    /// `--use-custom-tag`.
    pub custom_tag: Option<String>,
    /// `--allow-includes-update`: the lock of the includes is not followed.
    pub allow_includes_update: bool,
    /// The bundle that it is read from, in place of a commit.
    pub bundle: Option<Arc<OpenedBundle>>,
}

impl ProjectInputs {
    /// Returns the files of the project; `None` when its directory is not there.
    pub fn project_files(&self) -> Option<Files> {
        self.repository.subtree(&self.project_dir).ok().flatten()
    }

    /// Returns what a project at the root of a repository is read from when nothing else is said.
    pub fn new(repository: Files, commit: config::Commit) -> Self {
        Self {
            repository,
            disk: None,
            gaps: Vec::new(),
            project_dir: String::new(),
            dev: false,
            commit,
            config_path: None,
            templates_dir: ".werf".into(),
            giterminism_path: "werf-giterminism.yaml".into(),
            loose: false,
            env: None,
            environment: BTreeMap::new(),
            now: Duration::ZERO,
            project_hint: String::new(),
            platforms: Vec::new(),
            repo_address: None,
            release: None,
            namespace: None,
            values_files: Vec::new(),
            sets: Vec::new(),
            nulls: Nulls::default(),
            set_files: BTreeMap::new(),
            additions: Vec::new(),
            secrets: SecretInputs::default(),
            kube_version: None,
            api_versions: Vec::new(),
            asks_cluster: false,
            jsonnet: JsonnetInputs::default(),
            remotes: Arc::new(MemoryRemotes::default()),
            work_tree: Arc::new(MemoryWorkTree::default()),
            history: Arc::new(MemoryHistory::default()),
            checks_only: false,
            custom_tag: None,
            allow_includes_update: false,
            bundle: None,
        }
    }
}

/// Variables and arguments of the project's Jsonnet files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JsonnetInputs {
    /// `std.extVar`.
    pub ext_vars: BTreeMap<String, External>,
    /// Arguments of files that are functions.
    pub arguments: BTreeMap<String, External>,
}

/// A file of values that the user gives.
#[derive(Clone, Debug)]
pub struct ValuesFile {
    /// As typed.
    pub name: String,
    /// Path in the project; `None` when it lies outside, or does not come from the commit.
    pub project_path: Option<String>,
    /// The content.
    pub bytes: Vec<u8>,
}

/// A project that was read without an error.
#[derive(Clone)]
pub struct Project {
    /// The checked werf.yaml.
    pub config: Config,
    /// The project's files, and those of its includes.
    pub files: Files,
    /// All images in build order, signed.
    pub images: Vec<SignedImage>,
    /// Release and namespace.
    pub names: DeployNames,
    /// What stands before `:TAG`.
    pub repo_address: String,
    /// The tags that templates see instead of signatures, by image name.
    pub used_tags: BTreeMap<String, String>,
    /// The objects of its repository, and of those that its git mappings name.
    pub objects: Arc<dyn Objects>,
    /// The other repositories of its git mappings.
    pub remotes: Vec<OpenedRemote>,
    /// The paths in the repository that images add to their contexts from the disk, one list for each context.
    pub added: Vec<Vec<String>>,
}

impl Project {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.config.meta.project.value
    }

    /// Returns the tag that templates see: the signature, unless `--use-custom-tag` chose another.
    pub fn tag_of(&self, image: &SignedImage) -> String {
        self.used_tags.get(&image.name).cloned().unwrap_or_else(|| image.signature.to_string())
    }

    /// Returns the reference of an image by its tag.
    pub fn reference(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repo_address)
    }
}

/// Returns the files of the project within those of the repository; a missing directory is reported.
pub fn project_files(diagnostics: &mut Diagnostics, repository: &Files, project_dir: &str) -> Option<Files> {
    let message = match repository.subtree(project_dir) {
        Ok(Some(files)) => return Some(files),
        Ok(None) => format!("the project directory `{project_dir}` is not in the commit"),
        Err(error) => error.to_string(),
    };
    let d = Diagnostic::in_file(&rules::FILE_NOT_FOUND, project_dir, message);
    diagnostics.push(d.hint("commit it, or use `--dev`"));
    None
}

/// Reads and checks werf.yaml alone; `None` when there is an error in it, which is reported. The files are those of the
/// project and, below them, those of its includes.
pub fn load_config(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    inputs: &ProjectInputs,
) -> Option<(Config, Files)> {
    let files = project_files(diagnostics, &inputs.repository, &inputs.project_dir)?;
    let mut config_inputs = config_inputs(inputs);
    config_inputs.included = open_includes(diagnostics, sources, inputs, &config_inputs)?;
    let lay = |included: &Included| Ok::<_, FilesError>((included.names(&files)?, included.below(&files)?));
    let (names, files) = match lay(&config_inputs.included) {
        Ok(found) => found,
        Err(error) => {
            let path = config::INCLUDES_FILE;
            diagnostics.push(Diagnostic::in_file(&rules::REPOSITORY_UNREADABLE, path, error.to_string()));
            return None;
        }
    };
    sources.show_as(names);
    let config = config::load(diagnostics, sources, &config_inputs)?;
    Some((config, files))
}

/// Returns the project's own files, and those of its includes. `None` when there is a fault, which is reported.
pub fn load_includes(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    inputs: &ProjectInputs,
) -> Option<(Files, Included)> {
    let files = project_files(diagnostics, &inputs.repository, &inputs.project_dir)?;
    let included = open_includes(diagnostics, sources, inputs, &config_inputs(inputs))?;
    Some((files, included))
}

/// Returns what werf.yaml is read from, still without includes.
fn config_inputs(inputs: &ProjectInputs) -> config::Inputs<'_> {
    config::Inputs {
        files: inputs.repository.clone(),
        project_dir: &inputs.project_dir,
        gaps: &inputs.gaps,
        disk: inputs.disk.clone(),
        config_path: inputs.config_path.as_deref(),
        templates_dir: &inputs.templates_dir,
        giterminism_path: &inputs.giterminism_path,
        loose: inputs.loose,
        env_name: inputs.env.as_deref().unwrap_or(""),
        commit: &inputs.commit,
        environment: &inputs.environment,
        now: inputs.now,
        project_name: inputs.environment.get("WERF_PROJECT_NAME").map(String::as_str),
        project_hint: &inputs.project_hint,
        platforms: inputs.platforms.clone(),
        force_staged: is_on(inputs, "WERF_FORCE_STAGED_DOCKERFILE"),
        included: Included::default(),
    }
}

fn is_on(inputs: &ProjectInputs, variable: &str) -> bool {
    inputs.environment.get(variable).is_some_and(|value| matches!(value.as_str(), "1" | "true" | "yes" | "on"))
}

/// Loads a project; `None` when there is an error in it, which is reported with all others that could be found.
pub fn load(diagnostics: &mut Diagnostics, sources: &Sources, inputs: &ProjectInputs) -> Option<Project> {
    let (config, files) = load_config(diagnostics, sources, inputs)?;
    let mut found = Diagnostics::new();
    let repo_address =
        inputs.repo_address.clone().unwrap_or_else(|| format!("localhost/{}", config.meta.project.value));
    let reference = |tag: &Sha224Digest| format!("{repo_address}:{tag}");
    let remotes = open_remotes(&mut found, inputs, &config);
    let added = add_files(&mut found, inputs, &config, remotes.objects);
    let mut images = sign_images(
        &mut found,
        &SignInputs {
            commit: &inputs.commit,
            sources,
            config: &config,
            repository: &inputs.repository,
            objects: &added.objects,
            added: &added.roots,
            remotes: &remotes.trees,
            gaps: &inputs.gaps,
            project_dir: &inputs.project_dir,
            reference: &reference,
        },
    );
    let used_tags = used_tags(&mut found, inputs, &config, &images);
    let explicit = Explicit { release: inputs.release.as_deref(), namespace: inputs.namespace.as_deref() };
    let names = names(&mut found, sources, inputs, &config, explicit);
    let failed = found.has_errors() && !inputs.checks_only;
    if inputs.checks_only {
        let mut mild = Diagnostics::new();
        found.as_slice().iter().for_each(|diagnostic| mild.push(mildly(diagnostic)));
        found = mild;
        add_unsigned(&mut images, sources, &config);
    }
    diagnostics.extend(found);
    let (objects, remotes, added) = (added.objects, remotes.opened, added.paths);
    let project = Project { files, images, names: names?, repo_address, used_tags, config, objects, remotes, added };
    (!failed).then_some(project)
}

/// Returns the names of the release. Where only findings count, a name that lacks its environment is no obstacle.
fn names(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    inputs: &ProjectInputs,
    config: &Config,
    explicit: Explicit<'_>,
) -> Option<DeployNames> {
    let mut found = Diagnostics::new();
    let names = deploy_names(&mut found, sources, config, inputs.env.as_deref().unwrap_or(""), explicit);
    let lacks_env = inputs.checks_only && inputs.env.is_none() && names.is_none();
    for diagnostic in found.as_slice() {
        let mut diagnostic = diagnostic.clone();
        if lacks_env && diagnostic.hints.iter().any(|hint| hint.contains("--env")) {
            diagnostic.severity = Severity::Note;
        }
        diagnostics.push(diagnostic);
    }
    let name = || config::slug::release(&config.meta.project.value);
    names.or_else(|| lacks_env.then(|| DeployNames { release: name(), namespace: name() }))
}

/// Returns a finding as one of a mere check: what only keeps images from being built is a warning.
fn mildly(diagnostic: &Diagnostic) -> Diagnostic {
    let mild = diagnostic.rule == &rules::NOT_YET || diagnostic.rule == &rules::REMOTE_REPOSITORY;
    let severity = if mild { diagnostic.severity.min(Severity::Warning) } else { diagnostic.severity };
    Diagnostic { severity, ..diagnostic.clone() }
}

/// Adds what stands for images that could not be signed, so that what uses them can be checked.
fn add_unsigned(images: &mut Vec<SignedImage>, sources: &Sources, config: &Config) {
    let known: BTreeSet<String> = images.iter().map(|image| image.name.clone()).collect();
    for image in config.images.iter().filter(|image| !known.contains(&image.name.value)) {
        images.push(SignedImage {
            name: image.name.value.clone(),
            is_final: image.is_final,
            place: sources.place(image.name.span),
            uses: Vec::new(),
            on_build: Vec::new(),
            stages: Vec::new(),
            signature: Sha224Digest::of_bytes(image.name.value.as_bytes()),
            built_for: None,
            platform: None,
            platforms: Vec::new(),
        });
    }
}

/// Returns the tags that `--use-custom-tag` gives to final images, if the project permits it.
fn used_tags(
    diagnostics: &mut Diagnostics,
    inputs: &ProjectInputs,
    config: &Config,
    images: &[SignedImage],
) -> BTreeMap<String, String> {
    let Some(pattern) = &inputs.custom_tag else { return BTreeMap::new() };
    let path = inputs.giterminism_path.as_str();
    if !config.giterminism.loose && !config.giterminism.custom_tags {
        let message = format!("`--use-custom-tag {pattern}` names images by a tag that does not tell their content");
        let hint = format!("allow it in {path}: `cli: {{allowCustomTags: true}}`");
        diagnostics.push(Diagnostic::in_file(&rules::NOT_PERMITTED, path, message).hint(hint));
        return BTreeMap::new();
    }
    let finals = images.iter().filter(|image| image.is_final);
    let tagged: Vec<Tagged<'_>> = finals.map(|i| Tagged { name: &i.name, signature: i.signature }).collect();
    match config::custom_tags(std::slice::from_ref(pattern), &tagged) {
        Ok(tags) => tags.into_iter().filter_map(|(name, tags)| Some((name, tags.into_iter().next()?))).collect(),
        Err(why) => {
            let message = format!("`--use-custom-tag {pattern}`: {why}");
            diagnostics.push(Diagnostic::in_file(&rules::NOT_PERMITTED, path, message));
            BTreeMap::new()
        }
    }
}
