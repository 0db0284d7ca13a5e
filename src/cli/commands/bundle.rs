//! `bundle`: publishes a chart with its values and images, and deploys what was published.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::super::args::{
    ApplyArgs, BuildArgs, BundleApplyArgs, BundleCommand, BundleCopyArgs, BundlePlanArgs, BundlePublishArgs,
    BundleRenderArgs, BundleSourceArgs, DeployArgs, GlobalArgs, ProjectArgs, RunArgs, RunFormat,
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
use crate::chart::{Bundle, BundleImage, PackedBundle};
use crate::diag::Diagnostics;
use crate::pipeline::{OpenedBundle, pack_project, read_bundle};
use crate::plan::ImagePlan;
use crate::ports::{
    BlobDigest, ChartError, PulledChart, StageStore, StoreError, chart_under, copy_image, pull_chart, push_chart,
};
use crate::report::pretty_json;
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
    refuse_tags_of_images(&made, args, &reference)?;
    chart_under(store, &args.tag).map_err(|e| refused(attempt(), "--tag", e))?;
    let run = RunArgs { auto_approve: true, has_result: true, ..args.run.clone() };
    let code = approved(&made, &run, false, invocation)?;
    if code != exit_code::DONE {
        return Ok(code);
    }
    let digests = digests(&made)?;
    let bundle = packed(&made, (&args.tag, &digests), invocation, false)?;
    let (digest, there) = push(store, &args.tag, &bundle).map_err(|e| refused(attempt(), "--tag", e))?;
    let done = if there { "is there already" } else { "published" };
    let PackedBundle { name, version, .. } = &bundle;
    invocation.streams.inform(&format!("Bundle {done}: {reference}@{digest} (chart {name}, version {version})."));
    if args.run.output == RunFormat::Json {
        let result = serde_json::json!({
            "reference": reference, "digest": digest.to_string(), "name": name, "version": version,
        });
        invocation.streams.print(&pretty_json(&result))?;
    }
    Ok(exit_code::DONE)
}

/// What the plan puts on an image of the same repository would take the tag from the bundle, or the bundle from it.
fn refuse_tags_of_images(made: &Made, args: &BundlePublishArgs, reference: &str) -> Result<(), CliError> {
    // Tags of the user's choice are put on what is in the final repository, where there is one.
    let beside = args.build.final_repo.is_none() || args.build.final_repo == args.build.repo;
    let has_tag = |image: &&ImagePlan| image.tag == args.tag || beside && image.custom_tags.contains(&args.tag);
    let used = made.project.used_tags.iter().find(|(_, tag)| beside && **tag == args.tag).map(|(name, _)| name);
    match made.plan.images.iter().find(has_tag).map(|image| &image.name).or(used) {
        Some(name) => {
            let what = format!("publish the bundle {reference}: the image `{name}` gets the tag `{}` too", args.tag);
            Err(CliError::user(what).hint("name another tag with --tag"))
        }
        None => Ok(()),
    }
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

fn push(store: &dyn StageStore, tag: &str, bundle: &PackedBundle) -> Result<(BlobDigest, bool), ChartError> {
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
    let (bundle, digest) = pulled(store.as_ref(), (&reference, &args.tag), "--tag", invocation)?;
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

/// Pulls and reads a bundle that `option` names, and tells what is wrong with it.
fn pulled(
    store: &dyn StageStore,
    (reference, tag): (&str, &str),
    option: &str,
    invocation: &Invocation,
) -> Result<(Bundle, BlobDigest), CliError> {
    let found = pull_chart(store, tag).map_err(|e| refused(format!("pull the bundle {reference}"), option, e))?;
    let Some(PulledChart { digest, archive }) = found else {
        let what = format!("there is no bundle {reference}");
        return Err(CliError::user(what).hint(tags_hint(store, option)));
    };
    let (mut diagnostics, sources) = (Diagnostics::new(), Sources::new());
    let bundle = read_bundle(&mut diagnostics, &sources, (reference, option), &archive);
    invocation.streams.tell_diagnostics(diagnostics, &sources);
    Ok((bundle.ok_or(CliError::Config)?, digest))
}

/// How many tags are named where one is missing.
const NAMED: usize = 8;

/// Names the tags that may be bundles: those that are no stages and no images of ours.
fn tags_hint(store: &dyn StageStore, option: &str) -> String {
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
    format!("name another tag with {option}; there are: {}{more}", tags.join(", "))
}

/// Tells a failure; a tag that has something else is a fault of the user's, not of the network.
fn refused(attempt: String, option: &str, error: ChartError) -> CliError {
    match error {
        ChartError::NoChart { .. } => {
            let hint = format!("name the tag of a bundle with {option}: `stagewright bundle publish` pushes them");
            CliError::user(format!("{attempt}: {error}")).hint(hint)
        }
        ChartError::Taken { .. } => {
            CliError::user(format!("{attempt}: {error}")).hint(format!("name another tag with {option}"))
        }
        ChartError::Store(error) => CliError::environment(attempt, error),
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

/// An image that is copied.
struct Copied<'a> {
    /// Its name in the bundle.
    name: &'a str,
    /// As the bundle names it.
    reference: &'a str,
    /// Where it is.
    from: &'a dyn StageStore,
    /// Its manifest or index.
    manifest: BlobDigest,
    /// The tag that it has.
    tag: String,
    /// Whether the bundle names it by its digest: it is found whatever its tag is.
    by_digest: bool,
}

impl Copied<'_> {
    fn failed(&self, to: &Side, error: StoreError) -> CliError {
        CliError::environment(format!("copy the image `{}` ({}) to {}", self.name, self.reference, to.typed), error)
    }
}

/// Copies the images, then the chart, which names them by where they are now. Nothing is written before all is known.
fn copy(global: &GlobalArgs, args: &BundleCopyArgs, invocation: &Invocation) -> Result<u8, CliError> {
    let dir = directory(global, invocation)?;
    let reach = Reach::new(&args.registry, global, invocation);
    let from = Side::new("--from", &args.from, &dir, &reach)?;
    let to = Side::new("--to", &args.to, &dir, &reach)?;
    if let Some((archive, folder)) = from.archive() {
        unpack_layout(archive, folder)
            .map_err(|e| CliError::environment(format!("read the archive {}", archive.display()), e))?;
    }
    let (bundle, _) = pulled(from.store.as_ref(), (&from.typed, &from.tag), "--from", invocation)?;
    let others = other_stores(&bundle, &from, |repo| bundle_store("--from", repo, &dir, &reach))?;
    for other in others.keys() {
        invocation
            .streams
            .inform(&format!("warning: images of {other} are copied too: they are not beside the bundle"));
    }
    let images = found_images(&bundle, &from, &others)?;
    let attempt = || format!("push the bundle {}", to.typed);
    chart_under(to.store.as_ref(), &to.tag).map_err(|e| refused(attempt(), "--to", e))?;
    let missing = missing_images(&images, &to)?;
    let mut diagnostics = Diagnostics::new();
    let tag = to.archive.is_none().then_some(to.tag.as_str());
    let packed = bundle.packed_for(&mut diagnostics, tag, to.repo.as_deref());
    invocation.streams.tell_diagnostics(diagnostics, &Sources::new());
    let packed = packed.ok_or(CliError::Config)?;
    for (image, tag) in &missing {
        if *tag != image.tag {
            let text = format!(
                "warning: the tag `{}` stays with another image at {}: the image `{}` is copied as {tag}; the bundle names it by its digest",
                image.tag, to.typed, image.name
            );
            invocation.streams.inform(&text);
        }
        copy_image(image.from, to.store.as_ref(), &image.manifest, tag, None).map_err(|e| image.failed(&to, e))?;
    }
    let (digest, there) = push(to.store.as_ref(), &to.tag, &packed).map_err(|e| refused(attempt(), "--to", e))?;
    if let Some((archive, folder)) = to.archive() {
        pack_layout(folder, archive)
            .map_err(|e| CliError::environment(format!("write the archive {}", archive.display()), e))?;
    }
    let done = if there { "is there already" } else { "copied" };
    let (copied, kept) = (missing.len(), images.len() - missing.len());
    let text = format!("Bundle {done}: {}@{digest}; images: {copied} copied, {kept} there already.", to.typed);
    invocation.streams.inform(&text);
    Ok(exit_code::DONE)
}

/// Opens the repositories of images that do not lie beside their bundle.
fn other_stores(
    bundle: &Bundle,
    from: &Side,
    open: impl Fn(&str) -> Result<Box<dyn StageStore>, CliError>,
) -> Result<BTreeMap<String, Box<dyn StageStore>>, CliError> {
    let is_other = |repo: &&String| from.repo.as_ref().is_some_and(|own| own != *repo);
    let repos: BTreeSet<&String> = bundle.images.values().map(|image| &image.repo).filter(is_other).collect();
    repos.into_iter().map(|repo| Ok((repo.clone(), open(repo)?))).collect()
}

/// Finds the images of a bundle, every one.
fn found_images<'a>(
    bundle: &'a Bundle,
    from: &'a Side,
    others: &'a BTreeMap<String, Box<dyn StageStore>>,
) -> Result<Vec<Copied<'a>>, CliError> {
    let find = |(name, image): (&'a String, &'a BundleImage)| {
        let source = others.get(&image.repo).map_or(from.store.as_ref(), AsRef::as_ref);
        let wanted = image.digest.clone().unwrap_or_else(|| image.tag.clone());
        let attempt = || format!("find the image `{name}` ({})", image.reference);
        let found = source.images(std::slice::from_ref(&wanted)).map_err(|e| CliError::environment(attempt(), e))?;
        let Some(found) = found.into_iter().flatten().next() else {
            let place = from.repo.as_ref().map_or(from.typed.as_str(), |_| image.repo.as_str());
            let what = format!("the image `{name}` of the bundle {} is not in {place}: {wanted}", from.typed);
            return Err(CliError::user(what).hint("publish the bundle again, from the commit that it was made of"));
        };
        let tag = if image.tag.is_empty() { found.manifest.hex().to_owned() } else { image.tag.clone() };
        let by_digest = image.digest.is_some();
        Ok(Copied { name, reference: &image.reference, from: source, manifest: found.manifest, tag, by_digest })
    };
    bundle.images.iter().map(find).collect()
}

/// Returns the images that are not where they go, and the tags that they get. No tag is taken from something else: an image
/// that the bundle names by its digest gets its digest for a tag, and one that it names by that tag alone is refused.
fn missing_images<'a>(images: &'a [Copied<'a>], to: &Side) -> Result<Vec<(&'a Copied<'a>, String)>, CliError> {
    let refused = |image: &Copied<'_>, why: String| {
        let what = format!("copy the image `{}` ({}) to {}: {why}", image.name, image.reference, to.typed);
        Err(CliError::user(what).hint("name another repository or tag with --to"))
    };
    let mut tags: BTreeMap<&str, &Copied<'_>> = BTreeMap::new();
    let mut missing = Vec::new();
    for image in images {
        if image.tag == to.tag {
            return refused(image, format!("the tag `{}` is that of the bundle", image.tag));
        }
        match tags.insert(&image.tag, image) {
            Some(first) if first.manifest != image.manifest => {
                return refused(image, format!("the image `{}`, another one, has the tag `{}`", first.name, image.tag));
            }
            Some(_) => continue,
            None => {}
        }
        match chart_under(to.store.as_ref(), &image.tag) {
            Ok(None) => missing.push((image, image.tag.clone())),
            Ok(Some(_)) => return refused(image, format!("a chart has the tag `{}` there", image.tag)),
            // As it is to be, unless it is another one.
            Err(ChartError::Taken { .. }) => {
                let stands_on = |tag: &String| -> Result<Option<BlobDigest>, CliError> {
                    let there = to.store.images(std::slice::from_ref(tag)).map_err(|e| image.failed(to, e))?;
                    Ok(there.into_iter().flatten().next().map(|there| there.manifest))
                };
                match stands_on(&image.tag)? {
                    None => missing.push((image, image.tag.clone())),
                    Some(manifest) if manifest == image.manifest => {}
                    // A tag that moves from one version to the next, as those that users make.
                    Some(_) if image.by_digest => {
                        let tag = image.manifest.hex().to_owned();
                        if stands_on(&tag)?.is_none() {
                            missing.push((image, tag));
                        }
                    }
                    Some(_) => {
                        let refusal = refused(image, format!("another image has the tag `{}` there", image.tag));
                        return refusal
                            .map_err(|e| e.hint("name another repository with --to, or delete the tag there"));
                    }
                }
            }
            Err(ChartError::NoChart { why }) => return refused(image, why),
            Err(ChartError::Store(error)) => return Err(image.failed(to, error)),
        }
    }
    Ok(missing)
}
