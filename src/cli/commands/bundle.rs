//! `bundle`: publishes a chart with its values and images, and deploys what was published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::args::{
    ApplyArgs, BuildArgs, BundleApplyArgs, BundleCommand, BundleCopyArgs, BundlePlanArgs, BundlePublishArgs,
    BundleRenderArgs, BundleSourceArgs, DeployArgs, GlobalArgs, ProjectArgs, RunArgs,
};
use super::super::error::{CliError, exit_code};
use super::super::project::{Options, directory, found_in_bundle};
use super::super::streams::Invocation;
use super::super::wiring::{Reach, open_store};
use super::apply::{approved, carry_on};
use super::export::split;
use super::make_plan::{Made, Wish, make_plan, make_plan_of};
use super::plan::tell_plan;
use super::render::tell_rendered;
use crate::backend::{OciLayout, pack_layout, unpack_layout};
use crate::chart::{Bundle, PackedBundle};
use crate::diag::Diagnostics;
use crate::pipeline::{OpenedBundle, pack_project, read_bundle};
use crate::ports::{BlobDigest, PulledChart, StageStore, StoreError, chart_under, copy_image, pull_chart, push_chart};
use crate::source::Sources;

pub fn run(global: &GlobalArgs, command: &BundleCommand, invocation: &mut Invocation) -> Result<u8, CliError> {
    match command {
        BundleCommand::Publish(args) => publish(global, args, invocation),
        BundleCommand::Plan(args) => plan(global, args, invocation),
        BundleCommand::Apply(args) => apply(global, args, invocation),
        BundleCommand::Render(args) => render(global, args, invocation),
        BundleCommand::Copy(args) => copy(global, args, invocation),
    }
}

/// Builds the images, then pushes the chart. What keeps it from being packed is told before anything is built.
fn publish(global: &GlobalArgs, args: &BundlePublishArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let Some(repo) = &args.build.repo else {
        let what = "bundle publish needs the repository that images and bundle are published to".to_owned();
        return Err(CliError::user(what).hint("name it with --repo HOST[:PORT]/PATH, or STAGEWRIGHT_REPO"));
    };
    refuse_engine("--repo", repo)?;
    let reference = format!("{repo}:{}", args.tag);
    split("--tag", &reference)?;
    let deploy = DeployArgs {
        add_annotation: args.add_annotation.clone(),
        add_label: args.add_label.clone(),
        secrets: args.secrets.clone(),
        ..DeployArgs::default()
    };
    let options =
        Options { deploy: Some(&deploy), values: Some(&args.values), ..Options::images(&args.project, &args.build) };
    let wish = Wish { images: &[], deploy: false, applies: true, since: None, no_hooks: false };
    let made = make_plan(global, options, wish, invocation)?;
    packed(&made, (&args.tag, &BTreeMap::new()), invocation, true)?;
    let attempt = || format!("publish the bundle {reference}");
    let store = made.back_ends.store.as_ref();
    chart_under(store, &args.tag).map_err(|e| refused(attempt(), e))?;
    let run = RunArgs { auto_approve: true, ..args.run.clone() };
    let code = approved(&made, &run, false, invocation)?;
    if code != exit_code::DONE {
        return Ok(code);
    }
    let digests = digests(&made)?;
    let bundle = packed(&made, (&args.tag, &digests), invocation, false)?;
    let (digest, there) = push(store, &args.tag, &bundle).map_err(|e| refused(attempt(), e))?;
    let done = if there { "is there already" } else { "published" };
    let PackedBundle { name, version, .. } = &bundle;
    invocation.streams.inform(&format!("Bundle {done}: {reference}@{digest} (chart {name}, version {version})."));
    Ok(exit_code::DONE)
}

/// Packs the chart of a project, and tells what keeps it from being packed; what else there is to tell, `first`.
fn packed(
    made: &Made,
    (tag, digests): (&str, &BTreeMap<String, String>),
    invocation: &Invocation,
    first: bool,
) -> Result<PackedBundle, CliError> {
    let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
    let packed = pack_project(&mut diagnostics, &sources, &made.project, &made.found.inputs, (tag, digests));
    invocation.streams.hide(sources.mask());
    if first || packed.is_none() {
        invocation.streams.tell_diagnostics(diagnostics, &sources);
    }
    packed.ok_or(CliError::Config)
}

/// Returns the digests of the images as they are stored where they are pulled from.
fn digests(made: &Made) -> Result<BTreeMap<String, String>, CliError> {
    let finals: Vec<_> = made.project.images.iter().filter(|image| image.is_final).collect();
    let tags: Vec<String> = finals.iter().map(|image| made.project.tag_of(image)).collect();
    let store = made.back_ends.final_store.as_deref().unwrap_or(made.back_ends.store.as_ref());
    let stored = store.images(&tags).map_err(|e| CliError::environment("find the digests of the images", e))?;
    let mut digests = BTreeMap::new();
    for ((image, tag), stored) in finals.iter().zip(&tags).zip(stored) {
        let Some(stored) = stored else {
            return Err(CliError::user(format!("the image `{}` is not there after its build: {tag}", image.name)));
        };
        digests.insert(image.name.clone(), stored.manifest.to_string());
    }
    Ok(digests)
}

fn push(store: &dyn StageStore, tag: &str, bundle: &PackedBundle) -> Result<(BlobDigest, bool), StoreError> {
    let notes = [("title", &bundle.name), ("version", &bundle.version)];
    let notes = notes.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.clone())).into();
    push_chart(store, tag, (&bundle.archive, &bundle.config), &notes)
}

fn plan(global: &GlobalArgs, args: &BundlePlanArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let opened = open(global, &args.source, invocation)?;
    let (project, build) = typed(&args.source, &opened);
    let options = Options::all(&project, &build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let found = found_in_bundle(global, opened, options, invocation)?;
    let wish = Wish { images: &[], deploy: true, applies: false, since: None, no_hooks: args.hooks.no_hooks };
    let made = make_plan_of(found, global, options, wish, invocation)?;
    tell_plan(&made, (args.out.as_deref(), args.output, args.exit_code), "apply", invocation)
}

fn apply(global: &GlobalArgs, args: &BundleApplyArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    // Pulled once: what is planned again is the same bundle, wherever its tag goes meanwhile.
    let opened = open(global, &args.source, invocation)?;
    let (project, build) = typed(&args.source, &opened);
    let args = ApplyArgs {
        plan: None,
        resume: args.resume,
        auto_rollback: args.auto_rollback,
        allow: args.allow.clone(),
        stale: super::super::args::StaleChoice::Refuse,
        run: args.run.clone(),
        report: args.report.clone(),
        project,
        build,
        deploy: args.deploy.clone(),
        hooks: args.hooks,
        chart: args.chart.clone(),
        jsonnet: args.jsonnet.clone(),
        values: args.values.clone(),
    };
    let options = Options::all(&args.project, &args.build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let wish = Wish { images: &[], deploy: true, applies: true, since: None, no_hooks: args.hooks.no_hooks };
    let make = |invocation: &Invocation| {
        let found = found_in_bundle(global, opened.clone(), options, invocation)?;
        make_plan_of(found, global, options, wish, invocation)
    };
    carry_on(&args, &make, invocation)
}

fn render(global: &GlobalArgs, args: &BundleRenderArgs, invocation: &mut Invocation) -> Result<u8, CliError> {
    let opened = open(global, &args.source, invocation)?;
    let (project, build) = typed(&args.source, &opened);
    let options = Options::all(&project, &build, &args.deploy, &args.values, &args.chart, &args.jsonnet);
    let found = found_in_bundle(global, opened, options, invocation)?;
    tell_rendered(&found, (&args.print, None, args.output.as_deref()), invocation)
}

/// Returns the options of a project that a bundle stands for.
fn typed(source: &BundleSourceArgs, opened: &OpenedBundle) -> (ProjectArgs, BuildArgs) {
    let project = ProjectArgs { env: source.env.clone(), ..ProjectArgs::default() };
    let (repo, registry) = (Some(opened.images_repo.clone()), source.registry.clone());
    (project, BuildArgs { repo, registry, ..BuildArgs::default() })
}

/// Pulls the bundle that the options name.
fn open(global: &GlobalArgs, args: &BundleSourceArgs, invocation: &Invocation) -> Result<OpenedBundle, CliError> {
    let Some(repo) = &args.repo else {
        let what = "the bundle is in a repository, and none is named".to_owned();
        return Err(CliError::user(what).hint("name it with --repo HOST[:PORT]/PATH, or STAGEWRIGHT_REPO"));
    };
    let reference = format!("{repo}:{}", args.tag);
    split("--tag", &reference)?;
    let dir = directory(global, invocation)?;
    let store = bundle_store("--repo", repo, &dir, &Reach::new(&args.registry, global, invocation))?;
    let (bundle, digest) = pulled(store.as_ref(), &reference, &args.tag, invocation)?;
    let repos: BTreeSet<&str> = bundle.images.values().map(|image| image.repo.as_str()).collect();
    // Images lie beside their bundle, wherever they were named before: a folder has no name that images could have.
    let is_beside = repo.starts_with("oci:") || repos.is_empty() || repos.contains(repo.as_str());
    let images_repo = match repos.first() {
        Some(first) if !is_beside => (*first).to_owned(),
        Some(_) | None => repo.clone(),
    };
    for other in repos.iter().filter(|other| **other != images_repo && !images_repo.starts_with("oci:")) {
        invocation
            .streams
            .inform(&format!("warning: images of {other} are not looked for: only those of {images_repo}"));
    }
    Ok(OpenedBundle { bundle, reference: format!("{reference}@{digest}"), images_repo })
}

/// Pulls and reads a bundle, and tells what is wrong with it.
fn pulled(
    store: &dyn StageStore,
    reference: &str,
    tag: &str,
    invocation: &Invocation,
) -> Result<(Bundle, BlobDigest), CliError> {
    let found = pull_chart(store, tag).map_err(|e| refused(format!("pull the bundle {reference}"), e))?;
    let Some(PulledChart { digest, archive }) = found else {
        let what = format!("there is no bundle {reference}");
        return Err(CliError::user(what).hint(tags_hint(store)));
    };
    let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
    let bundle = read_bundle(&mut diagnostics, &sources, reference, &archive);
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    Ok((bundle.ok_or(CliError::Config)?, digest))
}

/// How many tags are named where one is missing.
const NAMED: usize = 8;

/// Names the tags that may be bundles: those that are no stages and no images of ours.
fn tags_hint(store: &dyn StageStore) -> String {
    let is_ours = |tag: &String| {
        let (digest, _) = tag.split_once('-').unwrap_or((tag, ""));
        digest.len() == 56 || tag.starts_with("newest-")
    };
    let mut tags: Vec<String> = store.tags().unwrap_or_default().into_iter().filter(|tag| !is_ours(tag)).collect();
    tags.sort();
    if tags.is_empty() {
        return "publish it with `stagewright bundle publish`, or name another repository or tag".to_owned();
    }
    let more = if tags.len() > NAMED { ", …" } else { "" };
    tags.truncate(NAMED);
    format!("name another tag with --tag; there are: {}{more}", tags.join(", "))
}

/// Tells a failure; what is no chart is a fault of the user's, not of the network.
fn refused(attempt: String, error: StoreError) -> CliError {
    match &error {
        StoreError::Invalid { why, .. } if why.starts_with("it is no chart") => {
            CliError::user(format!("{attempt}: {why}"))
                .hint("name the tag of a bundle, which `stagewright bundle publish` has pushed")
        }
        StoreError::Invalid { what, why } if why.starts_with("an image has it") => {
            CliError::user(format!("{attempt}: {what} is taken: {why}")).hint("name another tag with --tag")
        }
        StoreError::Invalid { .. } | StoreError::Blob(_) | StoreError::Io { .. } => {
            CliError::environment(attempt, error)
        }
    }
}

/// A Docker Engine keeps images, and nothing else.
fn refuse_engine(option: &str, repo: &str) -> Result<(), CliError> {
    if repo.starts_with("docker:") {
        let what = format!("{option} {repo}: a Docker Engine cannot hold a bundle");
        return Err(CliError::user(what).hint("name a repository in a registry, HOST[:PORT]/PATH, or oci:DIR"));
    }
    Ok(())
}

fn bundle_store(option: &str, repo: &str, dir: &Path, reach: &Reach) -> Result<Box<dyn StageStore>, CliError> {
    refuse_engine(option, repo)?;
    open_store(option, repo, dir, reach)
}

/// One side of a copy.
struct Side {
    /// As it was typed.
    typed: String,
    /// The repository, where it is one of a registry.
    repo: Option<String>,
    /// The tag.
    tag: String,
    /// The store.
    store: Box<dyn StageStore>,
    /// The folder that an archive is unpacked to.
    unpacked: Option<tempfile::TempDir>,
    /// The archive.
    archive: Option<std::path::PathBuf>,
}

/// The tag of a bundle in an archive.
const IN_ARCHIVE: &str = "bundle";

impl Side {
    fn new(option: &'static str, typed: &str, dir: &Path, reach: &Reach) -> Result<Self, CliError> {
        if let Some(file) = typed.strip_prefix("archive:") {
            let folder = tempfile::tempdir().map_err(|e| CliError::environment("make a temporary folder", e))?;
            return Ok(Self {
                typed: typed.to_owned(),
                repo: None,
                tag: IN_ARCHIVE.to_owned(),
                store: Box::new(OciLayout::new(folder.path())),
                unpacked: Some(folder),
                archive: Some(reach.cwd.join(file)),
            });
        }
        let (repo, tag) = split(option, typed)?;
        let store = bundle_store(option, &repo, dir, reach)?;
        let named = (!repo.starts_with("oci:")).then_some(repo);
        Ok(Self { typed: typed.to_owned(), repo: named, tag, store, unpacked: None, archive: None })
    }

    /// The archive, and the folder for what is in it.
    fn archive(&self) -> Option<(&Path, &Path)> {
        Some((self.archive.as_deref()?, self.unpacked.as_ref()?.path()))
    }
}

/// Copies the images, then the chart, which names them by where they are now.
fn copy(global: &GlobalArgs, args: &BundleCopyArgs, invocation: &Invocation) -> Result<u8, CliError> {
    let dir = directory(global, invocation)?;
    let reach = Reach::new(&args.registry, global, invocation);
    let from = Side::new("--from", &args.from, &dir, &reach)?;
    let to = Side::new("--to", &args.to, &dir, &reach)?;
    if let Some((archive, folder)) = from.archive() {
        unpack_layout(archive, folder)
            .map_err(|e| CliError::environment(format!("read the archive {}", archive.display()), e))?;
    }
    let (bundle, _) = pulled(from.store.as_ref(), &from.typed, &from.tag, invocation)?;
    let mut copied = 0;
    let mut others: BTreeMap<&str, Box<dyn StageStore>> = BTreeMap::new();
    for (name, image) in &bundle.images {
        let is_elsewhere = from.repo.as_ref().is_some_and(|repo| *repo != image.repo);
        if is_elsewhere && !others.contains_key(image.repo.as_str()) {
            others.insert(&image.repo, bundle_store("--from", &image.repo, &dir, &reach)?);
        }
        let elsewhere = others.get(image.repo.as_str()).filter(|_| is_elsewhere);
        let source = elsewhere.map_or(from.store.as_ref(), AsRef::as_ref);
        let wanted = image.digest.clone().unwrap_or_else(|| image.tag.clone());
        let attempt = || format!("copy the image `{name}` ({}) to {}", image.reference, to.typed);
        let failed = |e| CliError::environment(attempt(), e);
        let found = source.images(std::slice::from_ref(&wanted)).map_err(failed)?.into_iter().flatten().next();
        let Some(found) = found else {
            let place = from.repo.as_ref().map_or(from.typed.as_str(), |_| image.repo.as_str());
            let what = format!("the image `{name}` of the bundle {} is not in {place}: {wanted}", from.typed);
            return Err(CliError::user(what).hint("publish the bundle again, from the commit that it was made of"));
        };
        let tag = if image.tag.is_empty() { found.manifest.hex().to_owned() } else { image.tag.clone() };
        let there = to.store.images(std::slice::from_ref(&tag)).map_err(failed)?.into_iter().flatten().next();
        if there.is_some_and(|there| there.manifest == found.manifest) {
            continue;
        }
        copy_image(source, to.store.as_ref(), &found.manifest, &tag, None).map_err(failed)?;
        copied += 1;
    }
    let mut diagnostics = Diagnostics::new();
    let tag = to.archive.is_none().then_some(to.tag.as_str());
    let packed = bundle.packed_for(&mut diagnostics, tag, to.repo.as_deref());
    invocation.streams.tell_diagnostics(diagnostics, &Sources::new());
    let packed = packed.ok_or(CliError::Config)?;
    let attempt = || format!("push the bundle {}", to.typed);
    let (digest, there) = push(to.store.as_ref(), &to.tag, &packed).map_err(|e| refused(attempt(), e))?;
    if let Some((archive, folder)) = to.archive() {
        pack_layout(folder, archive)
            .map_err(|e| CliError::environment(format!("write the archive {}", archive.display()), e))?;
    }
    let done = if there { "is there already" } else { "copied" };
    let kept = bundle.images.len() - copied;
    let text = format!("Bundle {done}: {}@{digest}; images: {copied} copied, {kept} there already.", to.typed);
    invocation.streams.inform(&text);
    Ok(exit_code::DONE)
}
