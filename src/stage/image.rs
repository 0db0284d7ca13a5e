//! One image of werf.yaml as a chain of stages.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{ConfigChange, CopySource, ImageRef, Network, Platform, SecretPlace, Step, TreeSource};
use super::dockerfile::{DockerfileInputs, dockerfile_stage};
use super::filter::Filter;
use super::image_spec::image_spec_stage;
use super::model::{ImageStages, Stage};
use super::staged::instruction_stages;
use super::stapel::stapel_stages;
use crate::config::{Commit, Config, Dependency, DependencyKind, Image, ImageIndex, ImageKind, SecretSource};
use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::digest::Sha224Digest;
use crate::source::glob::DockerIgnore;
use crate::source::{
    Entry, Files, FilesError, Gap, MemoryObjects, Mode, ObjectId, Objects, PathFilter as _, Place, Sources, Span,
    Verdict, normalize_path,
};
use crate::syntax::dockerfile as syntax;

/// An image that is used, after it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedImage {
    /// Its signature.
    pub signature: Sha224Digest,
    /// The reference that others see: `REPO:TAG`.
    pub reference: String,
    /// The triggers that it leaves for images based on it.
    pub on_build: Vec<String>,
    /// Its stages with their digests: that under which they are stored and that of all content; first to last.
    pub stages: Vec<(String, Sha224Digest, Sha224Digest)>,
}

/// The commit of another repository, as files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTree {
    /// The repository, shortly.
    pub name: String,
    /// The root of the commit's files.
    pub root: ObjectId,
}

/// What images are made of.
pub struct ImageInputs<'a> {
    /// The texts.
    pub sources: &'a Sources,
    /// The checked werf.yaml.
    pub config: &'a Config,
    /// The files of the repository.
    pub repository: &'a Files,
    /// By image: the root of the repository with the files that it adds; `None` where they could not be read.
    pub added: &'a BTreeMap<String, Option<ObjectId>>,
    /// Trees of other repositories, by [`crate::config::RemoteGit::key`]; one that could not be read is not among them.
    pub remotes: &'a BTreeMap<String, RemoteTree>,
    /// What the repository cannot give.
    pub gaps: &'a [Gap],
    /// Path of the project in the repository; empty for its root.
    pub project_dir: &'a str,
    /// Overlay in which filtered trees are kept.
    pub store: &'a Arc<MemoryObjects>,
    /// The images that were signed before, by name, each for the platform that is built.
    pub used: &'a BTreeMap<String, UsedImage>,
    /// The commit.
    pub commit: &'a Commit,
}

impl ImageInputs<'_> {
    /// Returns the reference to another image of the project.
    pub fn image_ref(&self, index: ImageIndex) -> ImageRef {
        let name = self.config.image(index).name.value.clone();
        let used = self.used.get(&name).expect("images are signed in the order of use");
        ImageRef::Project { name, signature: used.signature }
    }

    /// Returns the place of a span.
    pub fn place(&self, span: Span) -> Place {
        self.sources.place(span)
    }
}

/// Makes the stages of an image for a platform; `None` when that is not possible, which is reported.
pub fn image_stages(
    diagnostics: &mut Diagnostics,
    inputs: &ImageInputs<'_>,
    index: ImageIndex,
    platform: &Platform,
) -> Option<ImageStages> {
    let image = inputs.config.image(index);
    let network = network(diagnostics, image)?;
    let mut on_build = Vec::new();
    let mut stages = match &image.kind {
        ImageKind::Dockerfile(docker) => {
            let whole = dockerfile_image(diagnostics, inputs, image, platform)?;
            on_build = triggers_left(&whole);
            if docker.staged.value { instruction_stages(&whole) } else { vec![whole] }
        }
        ImageKind::Stapel(stapel) => stapel_stages(diagnostics, inputs, image, stapel, platform)?,
    };
    if let Some(spec) = &image.image_spec {
        let mut stage = image_spec_stage(inputs, image, spec, platform);
        // Over files that no stage brings up to date, it cannot tell them either.
        if let Some(last) = stages.last() {
            stage.mapped.clone_from(&last.mapped);
        }
        stages.push(stage);
    }
    for (index, stage) in stages.iter_mut().enumerate() {
        // Every chain of a staged Dockerfile begins with a first one.
        stage.is_first = index == 0 || (stage.is_instruction && stage.is_first);
        if let Some(version) = image.cache_version.as_ref().filter(|_| stage.is_first) {
            let version = ("cacheVersion".to_owned(), version.value.clone(), inputs.place(version.span));
            stage.cache_versions.insert(0, version);
        }
    }
    if report_gaps(diagnostics, inputs, image, &stages) {
        return None;
    }
    for stage in &mut stages {
        give_host_access(image, network, stage);
    }
    let edges = inputs.config.graph.edges_of(index);
    let mut uses: Vec<(String, Place)> = Vec::new();
    for edge in edges {
        let name = inputs.config.image(edge.needed).name.value.clone();
        if uses.iter().all(|(n, _)| *n != name) {
            uses.push((name, inputs.place(edge.span)));
        }
    }
    Some(ImageStages {
        name: image.name.value.clone(),
        platform: platform.clone(),
        is_final: image.is_final,
        place: inputs.place(image.name.span),
        uses,
        on_build,
        stages,
    })
}

/// Returns the triggers that the last part sets; those of its base are carried out, and gone.
fn triggers_left(stage: &Stage) -> Vec<String> {
    let steps = stage.request.parts.last().map_or(&[][..], |part| part.steps.as_slice());
    let triggers = steps.iter().filter_map(|step| match step {
        Step::Config(ConfigChange::OnBuild(trigger)) => Some(trigger.clone()),
        Step::Config(_) | Step::Copy(_) | Step::Run(_) | Step::Update(_) => None,
    });
    triggers.collect()
}

/// Reports files of an image that the repository cannot give; says whether there are any.
fn report_gaps(diagnostics: &mut Diagnostics, inputs: &ImageInputs<'_>, image: &Image, stages: &[Stage]) -> bool {
    let has_modules = !inputs.remotes.is_empty() || matches!(inputs.repository.entry(".gitmodules"), Ok(Some(_)));
    if inputs.gaps.is_empty() && !has_modules {
        return false;
    }
    let mut told: Vec<String> = Vec::new();
    for (tree, prefix, place) in trees(stages) {
        let is_own = inputs.remotes.values().all(|remote| remote.root != tree.root);
        let span = place.and_then(|place| inputs.sources.span_of(place)).unwrap_or(image.name.span);
        let gaps = inputs.gaps.iter().filter(|gap| is_own && takes(tree, prefix, gap));
        for gap in gaps {
            if !told.contains(&gap.path) {
                let rule = if gap.is_submodule() { &rules::SUBMODULE_STATE } else { &rules::LFS_POINTER };
                let d = Diagnostic::at(rule, span, gap.message()).label("it is among the files of this image");
                diagnostics.push(d.hint(gap.hint()).hint("or exclude it: `.dockerignore`, `excludePaths`"));
                told.push(gap.path.clone());
            }
        }
        if !has_modules {
            continue;
        }
        let objects: Arc<dyn Objects> = inputs.store.clone();
        let inside = match tree.mode {
            Mode::Directory => Files::new(objects, tree.id).walk("").unwrap_or_default(),
            Mode::File | Mode::Executable | Mode::Symlink => Vec::new(),
            Mode::Submodule => vec![(String::new(), Entry { mode: Mode::Submodule, id: tree.id })],
        };
        for (path, _) in inside.into_iter().filter(|(_, entry)| entry.mode == Mode::Submodule) {
            let path = joined(&joined(if is_own { prefix } else { "" }, &tree.path), &path);
            if !told.contains(&path) && !inputs.gaps.iter().any(|gap| is_own && gap.covers(&path)) {
                let message = format!("`{path}` is a submodule: its files are in another repository");
                let d = Diagnostic::at(&rules::SUBMODULE_STATE, span, message);
                let d = d.label("it is among the files of this image");
                diagnostics.push(if is_own {
                    d.hint(format!("run `git submodule update --init {path}`"))
                } else {
                    d.hint("exclude it with `excludePaths`: submodules of other repositories are not followed")
                });
                told.push(path);
            }
        }
    }
    !told.is_empty()
}

/// Returns what is copied of git: the tree, the path of its root in the repository, and the place of the step.
fn trees(stages: &[Stage]) -> impl Iterator<Item = (&TreeSource, &str, Option<&Place>)> {
    stages.iter().flat_map(|stage| {
        let parts = stage.request.parts.iter().zip(stage.places.iter().map(Some).chain(std::iter::repeat(None)));
        parts.flat_map(move |(part, places)| {
            part.steps.iter().enumerate().flat_map(move |(index, step)| {
                let place = places.and_then(|places| places.get(index + 1)).and_then(Option::as_ref);
                let sources: &[CopySource] = match step {
                    Step::Copy(copy) => &copy.sources,
                    Step::Run(_) | Step::Config(_) | Step::Update(_) => &[],
                };
                sources.iter().filter_map(move |source| match source {
                    CopySource::Tree(tree) => {
                        Some((tree, stage.prefixes.get(&tree.root).map_or("", String::as_str), place))
                    }
                    CopySource::Inline { .. }
                    | CopySource::Address { .. }
                    | CopySource::Part { .. }
                    | CopySource::Image { .. } => None,
                })
            })
        })
    })
}

/// Says whether a source takes a path, or something below it.
fn takes(tree: &TreeSource, prefix: &str, gap: &Gap) -> bool {
    let below = match gap.path.strip_prefix(prefix) {
        Some(rest) if prefix.is_empty() => rest,
        Some(rest) => match rest.strip_prefix('/') {
            Some(rest) => rest,
            None => return rest.is_empty(),
        },
        None => return gap.covers(prefix),
    };
    let inside = tree.path.is_empty() || below == tree.path || below.starts_with(&format!("{}/", tree.path));
    if !inside {
        return tree.path.starts_with(&format!("{below}/"));
    }
    Filter::new(&tree.filter, &tree.path).is_ok_and(|filter| filter.verdict(below, gap.is_submodule()) != Verdict::None)
}

fn joined(a: &str, b: &str) -> String {
    if a.is_empty() || b.is_empty() { format!("{a}{b}") } else { format!("{a}/{b}") }
}

/// Reads `network`: `default`, `host` or `none`.
fn network(diagnostics: &mut Diagnostics, image: &Image) -> Option<Network> {
    let Some(text) = &image.network else { return Some(Network::Default) };
    match text.value.as_str() {
        "default" | "bridge" => Some(Network::Default),
        "host" => Some(Network::Host),
        "none" => Some(Network::None),
        other => {
            let d = Diagnostic::at(&rules::NOT_YET, text.span, format!("commands cannot use the network `{other}`"));
            diagnostics.push(d.hint("write `default`, `host` or `none`"));
            None
        }
    }
}

/// Says what commands may have of the host; nothing of it is signed.
fn give_host_access(image: &Image, network: Network, stage: &mut Stage) {
    let mut runs = false;
    let places = stage.places.iter().flat_map(|part| part.iter().skip(1));
    for (step, place) in stage.request.parts.iter_mut().flat_map(|p| &mut p.steps).zip(places) {
        if let Step::Run(run) = step {
            runs = true;
            run.place.clone_from(place);
            if run.network == Network::Default {
                run.network = network;
            }
        }
    }
    if runs {
        let place = |source: &SecretSource| match source {
            SecretSource::Env(name) => SecretPlace::Variable(name.value.clone()),
            SecretSource::File(path) => SecretPlace::File(path.value.clone()),
            SecretSource::Value(value) => SecretPlace::Value(value.value.clone()),
        };
        stage.request.secrets = image.secrets.iter().map(|s| (s.id.value.clone(), place(&s.source))).collect();
    }
}

/// Returns the value of a fact about an image that is known before it is built.
pub fn dependency_values(
    diagnostics: &mut Diagnostics,
    inputs: &ImageInputs<'_>,
    dependency: &Dependency,
) -> Vec<(String, String, Place)> {
    let mut values = Vec::new();
    let used = dependency.image.image.and_then(|i| inputs.used.get(&inputs.config.image(i).name.value));
    let Some(used) = used else { return values };
    for import in &dependency.imports {
        let value = match import.kind.value {
            DependencyKind::Name => used.reference.clone(),
            DependencyKind::Tag => used.signature.to_string(),
            DependencyKind::Repo => {
                used.reference.rsplit_once(':').map_or(used.reference.as_str(), |(repo, _)| repo).to_owned()
            }
            DependencyKind::Id | DependencyKind::Digest => {
                let message = "the id and the digest of an image are known only after it is built";
                let d = Diagnostic::at(&rules::NOT_YET, import.kind.span, message);
                diagnostics
                    .push(d.hint("use `ImageName` or `ImageTag`: the tag names the content as exactly as a digest"));
                continue;
            }
        };
        values.push((import.target.value.clone(), value, inputs.place(import.target.span)));
    }
    values
}

fn dockerfile_image(
    diagnostics: &mut Diagnostics,
    inputs: &ImageInputs<'_>,
    image: &Image,
    platform: &Platform,
) -> Option<Stage> {
    let docker = image.dockerfile()?;
    let objects: Arc<dyn Objects> = inputs.store.clone();
    let repository = match inputs.added.get(&image.name.value) {
        Some(added) => Files::new(objects, (*added)?),
        None => inputs.repository.clone(),
    };
    let prefix = normalize_path(&format!("{}/{}", inputs.project_dir, docker.context.value))?;
    let context = match repository.subtree(&prefix) {
        Ok(Some(context)) => context,
        Ok(None) => {
            let message = format!("the build context `{}` is no directory of the commit", docker.context.value);
            let d = Diagnostic::at(&rules::FILE_NOT_FOUND, docker.context.span, message);
            diagnostics.push(d.hint("commit it, or use `--dev`"));
            return None;
        }
        Err(error) => {
            diagnostics.push(Diagnostic::at(&rules::REPOSITORY_UNREADABLE, docker.context.span, error.to_string()));
            return None;
        }
    };
    let parsed = read_dockerfile(diagnostics, inputs, &context, docker)?;
    let ignore = read_ignore(diagnostics, inputs, &context, docker)?;
    let mut args = BTreeMap::new();
    let mut argument_places = BTreeMap::new();
    for (name, value) in &docker.args {
        args.insert(name.clone(), value.value.value.clone());
        argument_places.insert(name.clone(), inputs.place(value.key));
    }
    let mut known_images = BTreeMap::new();
    let mut known_triggers = BTreeMap::new();
    for dependency in &image.dependencies {
        for (name, value, place) in dependency_values(diagnostics, inputs, dependency) {
            args.insert(name.clone(), value);
            argument_places.insert(name, place);
        }
        if let Some(index) = dependency.image.image
            && let Some(used) = inputs.used.get(&inputs.config.image(index).name.value)
        {
            known_images.insert(used.reference.clone(), inputs.image_ref(index));
            known_triggers.insert(used.reference.clone(), used.on_build.clone());
        }
    }
    let target = docker.target.as_ref();
    dockerfile_stage(
        diagnostics,
        &DockerfileInputs {
            sources: inputs.sources,
            dockerfile: &parsed,
            store: inputs.store,
            context: context.root(),
            prefix: &prefix,
            ignore: &ignore,
            target: target.map(|t| syntax::Target { text: t.value.clone(), span: Some(t.span) }),
            args: &args,
            argument_places,
            known_images: &known_images,
            known_triggers: &known_triggers,
            add_host: docker.add_host.iter().map(|h| h.value.clone()).collect(),
            platform,
        },
    )
}

fn read_dockerfile(
    diagnostics: &mut Diagnostics,
    inputs: &ImageInputs<'_>,
    context: &Files,
    docker: &crate::config::DockerfileImage,
) -> Option<syntax::Dockerfile> {
    let path = &docker.dockerfile;
    let Some((text, shown)) = read_text(diagnostics, inputs, context, &path.value, docker) else {
        let message = format!("the Dockerfile `{}` is not in the commit", path.value);
        let d = Diagnostic::at(&rules::FILE_NOT_FOUND, path.span, message);
        diagnostics.push(d.label("looked for in the build context").hint("commit it, or use `--dev`"));
        return None;
    };
    let before = diagnostics.as_slice().len();
    let file = inputs.sources.add(shown, text.as_str());
    let parsed = syntax::parse(diagnostics, file, &text);
    let broken = |d: &Diagnostic| d.severity == crate::diag::Severity::Error;
    (!diagnostics.as_slice().iter().skip(before).any(broken)).then_some(parsed)
}

/// Reads the `.dockerignore` that counts: the Dockerfile's own, else that of the context.
fn read_ignore(
    diagnostics: &mut Diagnostics,
    inputs: &ImageInputs<'_>,
    context: &Files,
    docker: &crate::config::DockerfileImage,
) -> Option<Vec<String>> {
    let own = format!("{}.dockerignore", docker.dockerfile.value);
    for name in [own.as_str(), ".dockerignore"] {
        let Some((text, shown)) = read_text(diagnostics, inputs, context, name, docker) else { continue };
        let lines = DockerIgnore::lines(&text);
        if let Err(error) = DockerIgnore::new(lines.iter().map(String::as_str)) {
            let file = inputs.sources.add(shown, text.as_str());
            let at = text.find(&error.pattern).unwrap_or(0);
            let span = Span::new(file, at, at + error.pattern.len());
            diagnostics.push(Diagnostic::at(&rules::MALFORMED_PATTERN, span, error.to_string()));
            return None;
        }
        return Some(lines);
    }
    Some(Vec::new())
}

/// Reads a file of the context, or the included one where the project has none.
fn read_text(
    diagnostics: &mut Diagnostics,
    inputs: &ImageInputs<'_>,
    context: &Files,
    name: &str,
    docker: &crate::config::DockerfileImage,
) -> Option<(String, String)> {
    let dir = &docker.context.value;
    let shown = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
    let shown = normalize_path(&shown).unwrap_or(shown);
    let read = match (context.read(name), inputs.config.included.get(&shown)) {
        (Err(FilesError::NotFound { .. }), Some(included)) => included.read(),
        (Err(FilesError::NotFound { .. }), None) => return None,
        (read, _) => read,
    };
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => {
            let span = docker.dockerfile.span;
            diagnostics.push(Diagnostic::at(&rules::REPOSITORY_UNREADABLE, span, error.to_string()));
            return None;
        }
    };
    Some((String::from_utf8_lossy(&bytes).into_owned(), shown))
}

/// Makes an empty stage of that name.
pub fn empty_stage(name: &str, platform: &Platform) -> Stage {
    Stage {
        name: name.to_owned(),
        is_first: false,
        is_instruction: false,
        cache_versions: Vec::new(),
        request: super::build::BuildRequest::new(platform.clone(), Vec::new()),
        places: Vec::new(),
        argument_places: BTreeMap::new(),
        prefixes: BTreeMap::<ObjectId, String>::new(),
        commands: Vec::new(),
        mapped: Vec::new(),
        mapped_from: Vec::new(),
        triggers: BTreeMap::new(),
    }
}
