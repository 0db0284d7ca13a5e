//! Planning images: build or reuse, and why.

use std::collections::{BTreeMap, BTreeSet};

use super::instructions::plan_instructions;
use super::model::{ImageAction, ImagePlan, RejectedStage, StageAction, StagePlan};
use super::operation::{Guard, Operation, Work};
use super::platforms::{differences_on_platforms, needed_chains, plan_index, tag_id, tag_index};
use super::reason::{FileChange, Reason};
use super::selection::{Binding, StageSelection, changed_bytes, judge};
use crate::digest::Sha224Digest;
use crate::observed::{Asking, StoredFact};
use crate::signature::{
    ANNOTATION_COMMIT, ANNOTATION_FILES, ANNOTATION_INGREDIENTS, ANNOTATION_STAGE, ANNOTATION_UNCOMMITTED, Difference,
    Ingredient, IngredientKind, Record, SignedImage, SignedStage, compare, compare_trees, git_cache_digest,
    mapped_files_json,
};
use crate::source::{History, Mode, ObjectId, Objects, Place};
use crate::stage::{
    Base, BuildRequest, CopySource, ImageRef, MountFrom, MountKind, Platform, RunMount, Stage, Step, TreeSource,
};

/// A reason names at most this many files; the rest is counted by the last one's line-less place.
const FILES_NAMED: usize = 50;

/// What the image planner needs besides the images.
pub struct ImageContext<'a> {
    /// The commit that is recorded with what is built.
    pub commit: &'a str,
    /// The repository, to compare files with older builds.
    pub objects: &'a dyn Objects,
    /// The commits that led to this one.
    pub history: &'a dyn History,
    /// How the builds of stages are chosen that hold files of git mappings.
    pub selection: StageSelection,
    /// Whether files may be read that no commit holds.
    pub uncommitted: bool,
    /// The tags of the last applied release, by image name.
    pub previous: &'a BTreeMap<String, String>,
    /// The images that are wanted; what they need is added.
    pub wanted: &'a BTreeSet<String>,
    /// The tags of the user's choice, by image name.
    pub custom_tags: &'a BTreeMap<String, Vec<String>>,
    /// The repository that final images are copied to.
    pub final_repo: Option<&'a str>,
    /// What stands before `:TAG` in the reference that templates see.
    pub repo_address: &'a str,
    /// The tags that templates see instead of signatures, by image name.
    pub used_tags: &'a BTreeMap<String, String>,
}

/// The images' part of a plan.
#[derive(Debug, Default)]
pub struct ImageSection {
    /// Every image, in build order.
    pub images: Vec<ImagePlan>,
    /// How many of them are neither built nor in the store: nothing that is wanted needs them.
    pub left_out: usize,
    /// The stages of images that are built.
    pub stages: Vec<StagePlan>,
    /// What apply does for them.
    pub operations: Vec<Operation>,
}

/// Plans all images; `images` is in build order. What is not known yet is asked for.
pub fn plan_images(images: &[SignedImage], context: &ImageContext<'_>, asking: &mut Asking<'_>) -> ImageSection {
    let needed = needed_chains(images, context, asking);
    let mut section = ImageSection::default();
    let mut built: BTreeMap<Sha224Digest, String> = BTreeMap::new();
    let mut reasons: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
    for image in images {
        let tag = image.signature.to_string();
        let stored = asking.image(&tag);
        let previous = previous_build(image, context, asking);
        let previous_tag = previous.map(|p| p.tag.clone()).filter(|p| *p != tag);
        let previous_commit = previous.filter(|p| p.tag != tag).and_then(|p| p.annotations.get(ANNOTATION_COMMIT));
        let tags = needed.contains(&image.name) && asking.image_is_absent(&tag);
        let mut why = Vec::new();
        if let Some(previous) = previous.filter(|p| p.tag != tag) {
            why = differences_on_platforms(previous, image, &reasons, context.objects, asking);
        }
        let mut builds = tags;
        for chain in image.chains() {
            if needed.contains(&chain.chain_name()) && asking.image_is_absent(&chain.signature.to_string()) {
                builds = true;
                if chain.stages.iter().any(|(stage, _)| stage.is_instruction) {
                    plan_instructions(chain, context, asking, &mut built, &mut section);
                } else {
                    plan_stages((chain, images), context, asking, &mut built, &mut section);
                }
            }
        }
        if tags {
            plan_index(image, asking, &mut section);
        }
        let (custom_tags, copied_to) = match context.final_repo {
            Some(repo) => plan_copies(image, stored, tags, (context, repo), asking, &mut section),
            None => (plan_custom_tags(image, stored, tags, context, asking, &mut section), None),
        };
        if why.is_empty() {
            why.push(match (stored, builds) {
                (Some(_), _) => Reason::InStore { tag: tag.clone() },
                (None, true) => Reason::NotInStore { tag: tag.clone() },
                (None, false) => Reason::NotNeeded,
            });
        }
        section.left_out += usize::from(stored.is_none() && !builds);
        reasons.insert(image.name.clone(), why.clone());
        section.images.push(ImagePlan {
            name: image.name.clone(),
            action: if builds { ImageAction::Build } else { ImageAction::Reuse },
            previous_tag,
            previous_commit: previous_commit.filter(|commit| !commit.is_empty()).cloned(),
            custom_tags,
            copied_to,
            reference: format!("{}:{}", context.repo_address, context.used_tags.get(&image.name).unwrap_or(&tag)),
            tag,
            platforms: image.platforms.iter().filter_map(|p| p.platform.as_ref()).map(ToString::to_string).collect(),
            is_final: image.is_final,
            place: image.place.clone(),
            reasons: why,
        });
    }
    section
}

/// Returns the build to compare with: that of the last release, else the newest of the name.
fn previous_build<'a>(
    image: &SignedImage,
    context: &ImageContext<'_>,
    asking: &mut Asking<'a>,
) -> Option<&'a StoredFact> {
    let tag = image.signature.to_string();
    match context.previous.get(&image.name) {
        Some(previous) => asking.image(previous),
        // What is newest is asked for only where it is needed: stores may have to search for it.
        None if asking.image_is_absent(&tag) => asking.newest(&image.name),
        None => asking.image(&tag),
    }
}

/// A stage of an image that is built, with the stored build of it that may be used.
struct Link<'s, 'o> {
    stage: &'s Stage,
    signed: &'s SignedStage,
    found: Option<&'o StoredFact>,
    /// What the found build holds of git mappings.
    holds: Vec<TreeSource>,
    rejected: Vec<RejectedStage>,
}

/// Looks for the oldest suitable build of a stage.
fn choose<'s, 'o>(
    stage: &'s Stage,
    signed: &'s SignedStage,
    context: &ImageContext<'_>,
    asking: &mut Asking<'o>,
) -> Link<'s, 'o> {
    let mut link = Link { stage, signed, found: None, holds: Vec::new(), rejected: Vec::new() };
    for stored in asking.stages(signed.digest) {
        let judged = binding(stage, context)
            .map_or(Ok(Vec::new()), |b| judge(&b, &stored.annotations, context.history, context.objects));
        match judged {
            Ok(holds) => return Link { found: Some(stored), holds, ..link },
            Err(cause) => link.rejected.push(RejectedStage { stage_id: stored.tag.clone(), cause }),
        }
    }
    link
}

fn binding(stage: &Stage, context: &ImageContext<'_>) -> Option<Binding> {
    (!stage.mapped.is_empty()).then(|| Binding { selection: context.selection, files: stage.mapped.clone() })
}

/// Plans the stages of an image that is built, and its operations.
fn plan_stages(
    (image, images): (&SignedImage, &[SignedImage]),
    context: &ImageContext<'_>,
    asking: &mut Asking<'_>,
    built: &mut BTreeMap<Sha224Digest, String>,
    section: &mut ImageSection,
) {
    let mut links: Vec<Link<'_, '_>> =
        image.stages.iter().map(|(stage, signed)| choose(stage, signed, context, asking)).collect();
    let cache = git_cache(&links, context);
    if let Some((at, (stage, signed))) = &cache {
        links.insert(*at, choose(stage, signed, context, asking));
    }
    let reused = links.iter().rposition(|link| link.found.is_some());
    let mut last_operation: Option<String> = None;
    let mut chain: Vec<&Ingredient> = Vec::new();
    for (index, link) in links.iter().enumerate() {
        let Link { stage, signed, found, .. } = link;
        chain.extend(&signed.ingredients);
        let reuse = reused.is_some_and(|last| index <= last);
        section.stages.push(StagePlan {
            image: image.name.clone(),
            stage: stage.name.clone(),
            platform: image.platform.as_ref().map(ToString::to_string),
            digest: signed.digest.to_string(),
            action: if reuse { StageAction::Reuse } else { StageAction::Build },
            stage_id: found.filter(|_| reuse).map(|f| f.tag.clone()),
            reasons: vec![match (found, reuse) {
                (Some(f), true) => Reason::InStore { tag: f.tag.clone() },
                (None, true) => Reason::NotNeeded,
                (_, false) => Reason::NotInStore { tag: signed.digest.to_string() },
            }],
            rejected: link.rejected.clone(),
        });
        if reuse {
            continue;
        }
        if let Some(other) = built.get(&signed.digest) {
            last_operation = Some(other.clone());
            continue;
        }
        let id = format!("build:{}/{}", image.chain_name(), stage.name);
        let mut guards = vec![Guard::StageAbsent { digest: signed.digest.to_string() }];
        let below = index.checked_sub(1).and_then(|below| links.get(below));
        let base = below.filter(|_| index.checked_sub(1) == reused).and_then(|below| below.found);
        guards.extend(base.map(stage_present));
        let used = used_images(&stage.request);
        guards.extend(used.iter().filter_map(|(used, platform)| used_guard(used, platform, asking)));
        let mut needs: BTreeSet<String> = last_operation.iter().cloned().collect();
        needs.extend(used.iter().filter_map(|(used, _)| tag_operation(used, section)));
        let mut annotations = BTreeMap::from([
            (ANNOTATION_COMMIT.to_owned(), context.commit.to_owned()),
            (ANNOTATION_INGREDIENTS.to_owned(), Record::new(chain.iter().copied()).to_json()),
            (ANNOTATION_STAGE.to_owned(), stage.name.clone()),
        ]);
        if !stage.mapped.is_empty() {
            annotations.insert(ANNOTATION_FILES.to_owned(), mapped_files_json(&stage.mapped));
            if context.uncommitted {
                annotations.insert(ANNOTATION_UNCOMMITTED.to_owned(), "true".to_owned());
            }
        }
        let mut request = over(&stage.request, below.map(|below| below.signed.digest), base);
        let imports = settle_imports(&mut request, images, context, asking, built);
        needs.extend(imports.0);
        guards.extend(imports.1);
        section.operations.push(Operation {
            id: id.clone(),
            needs: needs.into_iter().collect(),
            guards,
            work: Work::BuildStage {
                image: image.name.clone(),
                stage: stage.name.clone(),
                platform: image.platform.as_ref().map(ToString::to_string),
                digest: signed.digest.to_string(),
                request,
                annotations,
                binding: binding(stage, context),
            },
        });
        built.insert(signed.digest, id.clone());
        last_operation = Some(id);
    }
    let guards = match (&last_operation, links.last().and_then(|link| link.found)) {
        (None, Some(last)) => vec![stage_present(last)],
        _ => Vec::new(),
    };
    section.operations.push(Operation {
        id: tag_id(image),
        needs: last_operation.into_iter().collect(),
        guards,
        work: tag_work(image, image.signature.to_string(), false, context),
    });
}

/// Returns the stage that keeps the files of git mappings below the newest ones, and its place in the chain; `None` where
/// what changed since the last command fits in one patch.
fn git_cache(links: &[Link<'_, '_>], context: &ImageContext<'_>) -> Option<(usize, (Stage, SignedStage))> {
    let last = links.iter().rposition(|link| link.found.is_some())?;
    let (below, patch) = (links.get(last)?, links.get(last + 1)?);
    if below.stage.mapped.is_empty() || !patch.stage.mapped.is_empty() {
        return None;
    }
    let bytes = changed_bytes(&below.holds, &below.stage.mapped, context.objects).ok()?;
    let mebibytes = bytes >> 20;
    if mebibytes == 0 {
        return None;
    }
    let digest = git_cache_digest(below.signed.digest, mebibytes);
    let stage = Stage { name: "gitCache".to_owned(), mapped: below.stage.mapped.clone(), ..patch.stage.clone() };
    let signed = SignedStage { ingredients: Vec::new(), digest, content: patch.signed.content };
    Some((last + 1, (stage, signed)))
}

/// Returns a request over the stage below, or over that stored build of it.
fn over(request: &BuildRequest, below: Option<Sha224Digest>, base: Option<&StoredFact>) -> BuildRequest {
    let mut request = request.clone();
    if let (Some(digest), Some(part)) = (below, request.parts.first_mut())
        && matches!(part.base, Base::Image(ImageRef::Stage { .. }))
    {
        part.base = Base::Image(ImageRef::Stage { digest, created_ms: base.and_then(created_ms), content: None });
    }
    request
}

/// Returns when a stored stage was published.
fn created_ms(stage: &StoredFact) -> Option<u64> {
    stage.tag.rsplit_once('-')?.1.parse().ok()
}

/// Says which stored builds of stages of other images a request copies from, and what has to be done or be there before.
fn settle_imports(
    request: &mut BuildRequest,
    images: &[SignedImage],
    context: &ImageContext<'_>,
    asking: &mut Asking<'_>,
    built: &BTreeMap<Sha224Digest, String>,
) -> (BTreeSet<String>, Vec<Guard>) {
    let (mut needs, mut guards) = (BTreeSet::new(), Vec::new());
    let steps = request.parts.iter_mut().flat_map(|part| &mut part.steps);
    let copies = steps.filter_map(|step| if let Step::Copy(copy) = step { Some(copy) } else { None });
    for source in copies.flat_map(|copy| &mut copy.sources) {
        let CopySource::Image { image: ImageRef::Stage { digest, created_ms: meant, .. }, .. } = source else {
            continue;
        };
        if let Some(operation) = built.get(digest) {
            needs.insert(operation.clone());
            continue;
        }
        let stages = images.iter().flat_map(SignedImage::chains).flat_map(|chain| &chain.stages);
        let Some((stage, signed)) = stages.into_iter().find(|(_, signed)| signed.digest == *digest) else { continue };
        if let Some(found) = choose(stage, signed, context, asking).found {
            *meant = created_ms(found);
            guards.push(stage_present(found));
        }
    }
    (needs, guards)
}

pub(super) fn tag_work(image: &SignedImage, tag: String, custom: bool, context: &ImageContext<'_>) -> Work {
    if !image.platforms.is_empty() {
        return tag_index(image, tag);
    }
    Work::TagImage {
        image: image.name.clone(),
        tag,
        stage_digest: last_stage(image),
        manifest: None,
        binding: image.stages.last().and_then(|(stage, _)| binding(stage, context)),
        custom,
        platform: image.platform.as_ref().map(ToString::to_string),
    }
}

/// Plans the tags of the user's choice that do not stand on the image yet, and returns them.
fn plan_custom_tags(
    image: &SignedImage,
    stored: Option<&StoredFact>,
    builds: bool,
    context: &ImageContext<'_>,
    asking: &mut Asking<'_>,
    section: &mut ImageSection,
) -> Vec<String> {
    let wanted = context.custom_tags.get(&image.name).filter(|_| context.wanted.contains(&image.name));
    let stands = |tag: &String, asking: &mut Asking<'_>| {
        asking.image(tag).is_some_and(|at| stored.is_some_and(|stored| stored.manifest == at.manifest))
    };
    let missing: Vec<String> = wanted.into_iter().flatten().filter(|tag| !stands(tag, asking)).cloned().collect();
    for tag in &missing {
        let guards = if builds { Vec::new() } else { stored.map(present).into_iter().collect() };
        section.operations.push(Operation {
            id: format!("{}:{tag}", tag_id(image)),
            needs: builds.then(|| tag_id(image)).into_iter().collect(),
            guards,
            work: match (tag_work(image, tag.clone(), true, context), stored) {
                (Work::TagImage { image, tag, stage_digest, binding, custom, platform, .. }, Some(stored)) => {
                    let manifest = Some(stored.manifest.clone());
                    Work::TagImage { image, tag, stage_digest, manifest, binding, custom, platform }
                }
                (work, _) => work,
            },
        });
    }
    missing
}

/// Plans what the final repository lacks of an image, and returns the tags of the user's choice among it, and the
/// repository if there is anything.
fn plan_copies(
    image: &SignedImage,
    stored: Option<&StoredFact>,
    builds: bool,
    (context, repo): (&ImageContext<'_>, &str),
    asking: &mut Asking<'_>,
    section: &mut ImageSection,
) -> (Vec<String>, Option<String>) {
    if !image.is_final || !context.wanted.contains(&image.name) {
        return (Vec::new(), None);
    }
    let from = image.signature.to_string();
    let copied = asking.final_image(&from);
    let custom = context.custom_tags.get(&image.name).into_iter().flatten();
    let mut missing = Vec::new();
    for tag in std::iter::once(&from).chain(custom) {
        let at = asking.final_image(tag);
        if at.is_some() && at.map(|at| &at.manifest) == copied.map(|copied| &copied.manifest) {
            continue;
        }
        let content = *tag == from;
        section.operations.push(Operation {
            id: if content { format!("copy:{}", image.name) } else { format!("copy:{}:{tag}", image.name) },
            needs: builds.then(|| tag_id(image)).into_iter().collect(),
            guards: if builds { Vec::new() } else { stored.map(present).into_iter().collect() },
            work: Work::CopyImage {
                image: image.name.clone(),
                from: from.clone(),
                tag: tag.clone(),
                repo: repo.to_owned(),
            },
        });
        missing.push(tag.clone());
    }
    let copied_to = (!missing.is_empty()).then(|| repo.to_owned());
    missing.retain(|tag| *tag != from);
    (missing, copied_to)
}

pub(super) fn last_stage(image: &SignedImage) -> String {
    image.stages.last().map(|(_, signed)| signed.digest.to_string()).unwrap_or_default()
}

pub(super) fn present(fact: &StoredFact) -> Guard {
    Guard::ImagePresent { tag: fact.tag.clone(), manifest: fact.manifest.clone() }
}

pub(super) fn stage_present(fact: &StoredFact) -> Guard {
    Guard::StagePresent { stage_id: fact.tag.clone(), manifest: fact.manifest.clone() }
}

/// Returns the images that a request reads, stages of the same chain left out, and for which platform.
pub(super) fn used_images(request: &BuildRequest) -> Vec<(&ImageRef, &Platform)> {
    let mut used = Vec::new();
    for (index, part) in request.parts.iter().enumerate() {
        if let Base::Image(image) = &part.base {
            used.push((image, request.platform_of(index)));
        }
        used.extend(part.steps.iter().flat_map(step_images).map(|image| (image, &request.platform)));
    }
    used
}

/// Returns the images that a step reads.
fn step_images(step: &Step) -> Vec<&ImageRef> {
    match step {
        Step::Copy(copy) => {
            let images = copy.sources.iter().map(|source| match source {
                CopySource::Image { image, .. } => Some(image),
                CopySource::Tree(_)
                | CopySource::Inline { .. }
                | CopySource::Address { .. }
                | CopySource::Part { .. } => None,
            });
            images.flatten().collect()
        }
        Step::Run(run) => run.mounts.iter().filter_map(mounted_image).collect(),
        Step::Config(_) | Step::Update(_) => Vec::new(),
    }
}

fn mounted_image(mount: &RunMount) -> Option<&ImageRef> {
    match &mount.kind {
        MountKind::Bind { from: MountFrom::Image(image), .. }
        | MountKind::Cache { from: Some(MountFrom::Image(image)), .. } => Some(image),
        MountKind::Bind { .. }
        | MountKind::Cache { .. }
        | MountKind::Context { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. }
        | MountKind::Script { .. }
        | MountKind::Host { .. }
        | MountKind::Scratch => None,
    }
}

pub(super) fn used_guard(used: &ImageRef, platform: &Platform, asking: &mut Asking<'_>) -> Option<Guard> {
    match used {
        ImageRef::Project { signature, .. } => asking.image(&signature.to_string()).map(present),
        ImageRef::External { reference } => asking.external(reference, platform).map(|fact| Guard::BasePresent {
            reference: reference.clone(),
            platform: platform.clone(),
            manifest: fact.manifest.clone(),
        }),
        ImageRef::Stage { .. } => None,
    }
}

pub(super) fn tag_operation(used: &ImageRef, section: &ImageSection) -> Option<String> {
    let ImageRef::Project { name, signature } = used else { return None };
    let wanted = signature.to_string();
    let puts = |work: &Work| matches!(work, Work::TagImage { image, tag, .. } if image == name && *tag == wanted);
    section.operations.iter().find(|operation| puts(&operation.work)).map(|operation| operation.id.clone())
}

/// Returns the external references that a build needs and that the store does not have, with where they are used.
pub fn missing_bases(images: &[SignedImage], plan: &ImageSection, asking: &mut Asking<'_>) -> Vec<(String, Place)> {
    let mut missing = Vec::new();
    let built: BTreeSet<&str> = plan.operations.iter().map(|o| o.id.as_str()).collect();
    for image in images.iter().flat_map(SignedImage::chains) {
        for (stage, _) in &image.stages {
            if !built.contains(format!("build:{}/{}", image.chain_name(), stage.name).as_str()) {
                continue;
            }
            for (index, part) in stage.request.parts.iter().enumerate() {
                let places = stage.places.get(index).map_or(&[][..], Vec::as_slice);
                let place = |n: usize| places.get(n).cloned().flatten().unwrap_or_else(|| image.place.clone());
                if let Base::Image(ImageRef::External { reference }) = &part.base
                    && asking.external(reference, stage.request.platform_of(index)).is_none()
                {
                    missing.push((reference.clone(), place(0)));
                }
                for (n, step) in part.steps.iter().enumerate() {
                    for used in step_images(step) {
                        if let ImageRef::External { reference } = used
                            && asking.external(reference, &stage.request.platform).is_none()
                        {
                            missing.push((reference.clone(), place(n + 1)));
                        }
                    }
                }
            }
        }
    }
    missing.sort();
    missing.dedup();
    missing
}

/// Explains how an image differs from an older build of it.
pub fn differences(
    previous: &StoredFact,
    image: &SignedImage,
    reasons: &BTreeMap<String, Vec<Reason>>,
    objects: &dyn Objects,
) -> Vec<Reason> {
    let Ok(before) = Record::from_annotations(&previous.annotations) else { return Vec::new() };
    if before.is_empty() {
        return Vec::new();
    }
    let after = Record::new(image.stages.iter().flat_map(|(_, signed)| &signed.ingredients));
    let mut found: Vec<Reason> = Vec::new();
    let differences = without_consequences(compare(&before, &after));
    let instructions = differences.iter().filter(|d| kind(d) == IngredientKind::Instruction);
    let edited: Vec<Place> =
        instructions.flat_map(|d| [&d.before, &d.after]).filter_map(|i| i.clone()?.place).collect();
    for difference in differences {
        if is_of_an_edited_instruction(&difference, &edited) {
            continue;
        }
        for reason in explain(&difference, reasons, objects) {
            if !found.contains(&reason) {
                found.push(reason);
            }
        }
    }
    found
}

/// Says whether files came or went with the instruction that takes them: that is the reason then.
fn is_of_an_edited_instruction(difference: &Difference, edited: &[Place]) -> bool {
    let alone = match (&difference.before, &difference.after) {
        (Some(one), None) | (None, Some(one)) => Some(one),
        (Some(_), Some(_)) | (None, None) => None,
    };
    let place = alone.filter(|one| one.kind == IngredientKind::Content).and_then(|one| one.place.as_ref());
    place.is_some_and(|place| edited.contains(place))
}

/// Leaves out the instructions that differ only because a variable that they show or see differs.
fn without_consequences(differences: Vec<Difference>) -> Vec<Difference> {
    let (mut kept, rest): (Vec<_>, Vec<_>) = differences.into_iter().partition(|d| kind(d) == IngredientKind::Argument);
    let mut changes: Vec<Change> = kept.iter().filter_map(argument_change).collect();
    for difference in rest {
        if !follows(&difference, &changes) {
            changes.extend(variable_change(&difference));
            kept.push(difference);
        }
    }
    kept
}

fn kind(difference: &Difference) -> IngredientKind {
    let one = difference.after.as_ref().or(difference.before.as_ref());
    one.map_or(IngredientKind::Instruction, |ingredient| ingredient.kind)
}

/// A value before and now.
type Change = (String, String);

/// The values of an argument before and now.
fn argument_change(difference: &Difference) -> Option<Change> {
    Some((difference.before.as_ref()?.value.clone(), difference.after.as_ref()?.value.clone()))
}

/// The values before and now of a variable that an instruction sets.
fn variable_change(difference: &Difference) -> Option<Change> {
    let (before, after) = argument_change(difference)?;
    let (name, before) = before.strip_prefix("ENV ")?.split_once('=')?;
    let (same, after) = after.strip_prefix("ENV ")?.split_once('=')?;
    (name == same).then(|| (before.to_owned(), after.to_owned()))
}

/// Says whether a difference vanishes when the changes of variables are made in the older text, or undone in the newer.
fn follows(difference: &Difference, changes: &[Change]) -> bool {
    let (Some(before), Some(after)) = (&difference.before, &difference.after) else { return false };
    if changes.is_empty() || !matches!(after.kind, IngredientKind::Instruction | IngredientKind::Base) {
        return false;
    }
    if before.value == after.value {
        // The command is as it was, what it sees is not. A text that was cut may hide another change.
        return !after.value.ends_with('…');
    }
    let replace = |text: String, old: &str, new: &str| if old.is_empty() { text } else { text.replace(old, new) };
    let made = changes.iter().fold(before.value.clone(), |text, (old, new)| replace(text, old, new));
    let undone = changes.iter().fold(after.value.clone(), |text, (old, new)| replace(text, new, old));
    made == after.value || undone == before.value
}

fn explain(difference: &Difference, reasons: &BTreeMap<String, Vec<Reason>>, objects: &dyn Objects) -> Vec<Reason> {
    let Difference { before, after } = difference;
    let Some(one) = after.as_ref().or(before.as_ref()) else { return Vec::new() };
    let value = |i: &Option<Ingredient>| i.as_ref().map(|i| i.value.clone());
    match one.kind {
        IngredientKind::Content => content_reasons(before.as_ref(), after.as_ref(), objects),
        IngredientKind::Image => vec![Reason::UsesImage {
            image: one.key.clone(),
            because: reasons.get(&one.key).cloned().unwrap_or_default(),
        }],
        IngredientKind::Base => vec![Reason::Base {
            place: one.place.clone(),
            before: value(before).unwrap_or_default(),
            after: value(after).unwrap_or_default(),
        }],
        IngredientKind::Platform
        | IngredientKind::CacheVersion
        | IngredientKind::Argument
        | IngredientKind::Instruction => vec![Reason::Setting {
            key: if one.kind == IngredientKind::Argument { format!("argument {}", one.key) } else { one.key.clone() },
            place: one.place.clone(),
            before: value(before),
            after: value(after),
        }],
    }
}

/// Names the files; falls back to the object ids where the older files are not in the repository any more.
fn content_reasons(before: Option<&Ingredient>, after: Option<&Ingredient>, objects: &dyn Objects) -> Vec<Reason> {
    let (Some(before), Some(after)) = (before, after) else {
        // A pattern takes a file more, or one less.
        let change = if after.is_some() { FileChange::Added } else { FileChange::Removed };
        let origin = after.or(before).and_then(|one| one.origin.as_ref());
        let path =
            origin.map(|o| if o.prefix.is_empty() { o.path.clone() } else { format!("{}/{}", o.prefix, o.path) });
        return path.map(|path| Reason::File { place: Place::file(path), change }).into_iter().collect();
    };
    let place = after.place.clone().unwrap_or_else(|| Place::file(after.key.clone()));
    let fallback =
        || vec![Reason::Content { place: place.clone(), before: before.value.clone(), after: after.value.clone() }];
    let (Some(old), Some(new)) = (&before.origin, &after.origin) else { return fallback() };
    match compare_trees(objects, old, new) {
        Ok(files) if !files.is_empty() => {
            let named = files.into_iter().take(FILES_NAMED);
            named.map(|(path, old, new)| file_reason(path, old, new, objects)).collect()
        }
        Ok(_) | Err(_) => fallback(),
    }
}

type Found = Option<(Mode, ObjectId)>;

/// Says what happened to a file, and which lines of it changed.
pub fn file_reason(path: String, old: Found, new: Found, objects: &dyn Objects) -> Reason {
    let change = match (old, new) {
        (None, _) => FileChange::Added,
        (_, None) => FileChange::Removed,
        (Some((_, a)), Some((_, b))) if a == b => FileChange::Mode,
        _ => FileChange::Modified,
    };
    let mut place = Place::file(path);
    if let (FileChange::Modified, Some((_, old)), Some((_, new))) = (change, old, new) {
        (place.line, place.end_line) = changed_lines(objects, old, new);
    }
    Reason::File { place, change }
}

/// Texts longer than this are not compared line by line. Unit: bytes.
const LONGEST_TEXT: usize = 1 << 20;

/// Returns the first and the last changed line of the newer text; nothing for binary or very long files.
fn changed_lines(objects: &dyn Objects, old: ObjectId, new: ObjectId) -> (Option<u32>, Option<u32>) {
    let read = |id| objects.blob(id).ok().filter(|b| b.len() <= LONGEST_TEXT && !b.contains(&0));
    let (Some(old), Some(new)) = (read(old), read(new)) else { return (None, None) };
    let (old, new): (Vec<&[u8]>, Vec<&[u8]>) =
        (old.split(|b| *b == b'\n').collect(), new.split(|b| *b == b'\n').collect());
    let same_start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same_start;
    let same_end = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let first = narrow(same_start + 1).min(narrow(new.len()));
    let last = narrow(new.len() - same_end).max(first);
    (Some(first), (last != first).then_some(last))
}
