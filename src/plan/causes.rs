//! From a cause to its commit, and from there to what runs.
//!
//! What lives here: the last commit behind each [`Reason`] of a plan, the stages that the cause goes through, and the
//! images and resources that the new tag reaches. What does not: finding the reasons (`images`, `release`), walking
//! commits (`source`), words (`report`).
//!
//! The one idea: a plan stays short. This is worked out for one image or resource, when somebody asks why.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{ImagePlan, Plan, ResourcePlan, StageAction};
use super::reason::Reason;
use crate::signature::{Ingredient, IngredientKind, Origin, SignedImage};
use crate::source::{Asked, Files, History, LastChange, ObjectId, Place, last_change};
use crate::stage::Filter;

/// What causes are traced through.
#[derive(Clone, Copy)]
pub struct CauseContext<'a> {
    /// The plan whose reasons are told.
    pub plan: &'a Plan,
    /// Its images, signed.
    pub images: &'a [SignedImage],
    /// The commits.
    pub history: &'a dyn History,
    /// The files that were read.
    pub files: &'a Files,
    /// Path of the project in them; empty for their root.
    pub project_dir: &'a str,
}

/// A reason, the commit behind it and the stages that it goes through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// The reason, without those behind it.
    pub reason: Reason,
    /// The last commit that changed its file, or the lines of it that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
    /// The image whose stages these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The stage that it enters, and those after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// The causes behind it, in the image that is used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Cause>,
}

/// An image whose tag changed, and what has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reached {
    /// The image.
    pub image: String,
    /// Its tag.
    pub tag: String,
    /// The stages that take the image it is listed under.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// The images that use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Reached>,
    /// The resources that name it, by address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}

/// Traces the reasons of an image.
pub fn image_causes(context: &CauseContext<'_>, image: &ImagePlan) -> Vec<Cause> {
    let signed = context.images.iter().find(|signed| signed.name == image.name);
    let since = image.previous_commit.as_deref();
    image.reasons.iter().map(|reason| cause(context, reason, signed, since)).collect()
}

/// Traces the reasons of a resource.
pub fn resource_causes(context: &CauseContext<'_>, resource: &ResourcePlan) -> Vec<Cause> {
    resource.reasons.iter().map(|reason| cause(context, reason, None, None)).collect()
}

/// Returns what a tag reaches. An image that is reached in several ways is listed once.
pub fn reached(context: &CauseContext<'_>, image: &ImagePlan) -> Reached {
    reached_from(context, image, Vec::new(), &mut BTreeSet::from([image.name.as_str()]))
}

fn reached_from<'a>(
    context: &CauseContext<'a>,
    image: &ImagePlan,
    stages: Vec<String>,
    seen: &mut BTreeSet<&'a str>,
) -> Reached {
    let uses = |signed: &SignedImage| signed.uses.iter().any(|(name, _)| *name == image.name);
    let mut images = Vec::new();
    for signed in context.images.iter().filter(|signed| uses(signed)) {
        let plan = context.plan.images.iter().find(|plan| plan.name == signed.name);
        let Some(plan) = plan.filter(|_| seen.insert(&signed.name)) else { continue };
        let takes = |i: &Ingredient| i.kind == IngredientKind::Image && i.key == image.name;
        let stages = signed.all_stages().filter(|(_, made)| made.ingredients.iter().any(takes));
        let stages: BTreeSet<String> = stages.map(|(stage, _)| stage.name.clone()).collect();
        let stages = stages.into_iter().collect();
        images.push(reached_from(context, plan, stages, seen));
    }
    let named = |r: &&ResourcePlan| {
        let text = |value: &serde_json::Value| value.as_str().is_some_and(|text| text.contains(image.tag.as_str()));
        r.fields.iter().any(|field| text(&field.after))
    };
    let resources = context.plan.resources.iter().filter(named).map(ResourcePlan::address).collect();
    Reached { image: image.name.clone(), tag: image.tag.clone(), stages, images, resources }
}

fn cause(context: &CauseContext<'_>, reason: &Reason, image: Option<&SignedImage>, since: Option<&str>) -> Cause {
    let mut alone = reason.clone();
    if let Reason::UsesImage { because, .. } | Reason::ImageTag { because, .. } | Reason::OnPlatform { because, .. } =
        &mut alone
    {
        because.clear();
    }
    Cause {
        last_change: changed_by(context, reason, since),
        image: image.map(|image| image.name.clone()),
        stages: image.map(|image| built_stages_of(context, reason, image)).unwrap_or_default(),
        because: match reason {
            Reason::UsesImage { image: used, .. } | Reason::ImageTag { image: used, .. } => {
                let used = context.plan.images.iter().find(|plan| plan.name == *used);
                used.map(|used| image_causes(context, used)).unwrap_or_default()
            }
            Reason::OnPlatform { because, .. } => {
                because.iter().map(|reason| cause(context, reason, image, since)).collect()
            }
            Reason::File { .. }
            | Reason::Content { .. }
            | Reason::Setting { .. }
            | Reason::Base { .. }
            | Reason::Template { .. }
            | Reason::Value { .. }
            | Reason::NotInStore { .. }
            | Reason::InStore { .. }
            | Reason::NotNeeded
            | Reason::FollowsStage { .. }
            | Reason::NotInTarget
            | Reason::NotDeclared
            | Reason::Drift { .. }
            | Reason::UsesConfig { .. }
            | Reason::Renamed { .. }
            | Reason::Adopted { .. }
            | Reason::NotNow
            | Reason::ImmutableField { .. }
            | Reason::HasFailed { .. }
            | Reason::Kept
            | Reason::Unchanged => Vec::new(),
        },
        reason: alone,
    }
}

/// Returns the commit behind the place of a reason; `None` where no file of the repository is named.
fn changed_by(context: &CauseContext<'_>, reason: &Reason, since: Option<&str>) -> Option<LastChange> {
    let (place, lines) = match reason {
        Reason::File { place, .. } => (place, None),
        // What is gone stood on lines of an older text.
        Reason::Setting { place, after, .. } => {
            let place = place.as_ref()?;
            (place, after.as_ref().and_then(|_| lines(place)))
        }
        Reason::Base { place, .. } | Reason::Value { place, .. } => (place.as_ref()?, lines(place.as_ref()?)),
        Reason::Content { place, .. } | Reason::Template { place, .. } => (place, lines(place)),
        Reason::UsesImage { .. }
        | Reason::ImageTag { .. }
        | Reason::OnPlatform { .. }
        | Reason::NotInStore { .. }
        | Reason::InStore { .. }
        | Reason::NotNeeded
        | Reason::FollowsStage { .. }
        | Reason::NotInTarget
        | Reason::NotDeclared
        | Reason::Drift { .. }
        | Reason::UsesConfig { .. }
        | Reason::Renamed { .. }
        | Reason::Adopted { .. }
        | Reason::NotNow
        | Reason::ImmutableField { .. }
        | Reason::HasFailed { .. }
        | Reason::Kept
        | Reason::Unchanged => return None,
    };
    let path = known_path(context, place, since)?;
    Some(last_change(context.history, &Asked { files: context.files, path: &path, lines, since }))
}

fn lines(place: &Place) -> Option<(u32, u32)> {
    let first = place.line?;
    Some((first, place.end_line.unwrap_or(first)))
}

/// Returns the path in the repository: files that images take are named from there, those of the project from its folder.
fn known_path(context: &CauseContext<'_>, place: &Place, since: Option<&str>) -> Option<String> {
    let commits = [since.and_then(ObjectId::from_hex), context.history.head()];
    let trees: Vec<ObjectId> =
        commits.into_iter().flatten().filter_map(|commit| Some(context.history.node(commit)?.tree)).collect();
    let known = |path: &String| {
        context.files.entry(path).ok().flatten().is_some()
            || trees.iter().any(|tree| context.history.entry(*tree, path).is_some())
    };
    let paths = [joined(context.project_dir, &place.file), place.file.clone()];
    paths.into_iter().find(known)
}

fn joined(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

/// As [`stages_of`], without stages of which an older build is used: the change comes with a later one then.
fn built_stages_of(context: &CauseContext<'_>, reason: &Reason, image: &SignedImage) -> Vec<String> {
    let mut stages = stages_of(reason, image, context.project_dir);
    let reused = |stage: &String| {
        let mut plans = context.plan.stages.iter().filter(|plan| plan.image == image.name);
        plans.any(|plan| plan.stage == *stage && plan.action == StageAction::Reuse)
    };
    stages.retain(|stage| !reused(stage));
    stages
}

/// Returns the stage that a cause enters, and those after it.
fn stages_of(reason: &Reason, image: &SignedImage, project_dir: &str) -> Vec<String> {
    let is_it = |i: &Ingredient| match reason {
        Reason::File { place, .. } => i.origin.as_ref().is_some_and(|origin| takes(origin, &place.file, project_dir)),
        Reason::Content { place, .. } => i.kind == IngredientKind::Content && i.place.as_ref() == Some(place),
        Reason::Base { place, .. } => i.kind == IngredientKind::Base && i.place == *place,
        Reason::Setting { key, place, .. } => {
            i.place == *place && (i.key == *key || key.strip_prefix("argument ") == Some(i.key.as_str()))
        }
        Reason::UsesImage { image, .. } => i.kind == IngredientKind::Image && i.key == *image,
        Reason::ImageTag { .. }
        | Reason::OnPlatform { .. }
        | Reason::Template { .. }
        | Reason::Value { .. }
        | Reason::NotInStore { .. }
        | Reason::InStore { .. }
        | Reason::NotNeeded
        | Reason::FollowsStage { .. }
        | Reason::NotInTarget
        | Reason::NotDeclared
        | Reason::Drift { .. }
        | Reason::UsesConfig { .. }
        | Reason::Renamed { .. }
        | Reason::Adopted { .. }
        | Reason::NotNow
        | Reason::ImmutableField { .. }
        | Reason::HasFailed { .. }
        | Reason::Kept
        | Reason::Unchanged => false,
    };
    let position = |chain: &SignedImage| chain.stages.iter().position(|(_, made)| made.ingredients.iter().any(is_it));
    let enters = image.chains().iter().find_map(|chain| Some((chain, position(chain)?)));
    // What is gone is in no stage; with one stage there is no doubt.
    let is_told_below = matches!(reason, Reason::OnPlatform { .. });
    let is_doubtless = !is_told_below && !reason.places().is_empty();
    let only = image.chains().first().filter(|chain| chain.stages.len() == 1 && is_doubtless);
    let Some((chain, enters)) = enters.or(only.map(|chain| (chain, 0))) else { return Vec::new() };
    chain.stages.iter().skip(enters).map(|(stage, _)| stage.name.clone()).collect()
}

/// Says whether files of an origin hold a path of the repository.
fn takes(origin: &Origin, path: &str, project_dir: &str) -> bool {
    let full = joined(project_dir, path);
    [path, &full].into_iter().any(|path| {
        let inside = if origin.prefix.is_empty() { Some(path) } else { below(path, &origin.prefix) };
        let inside = inside.filter(|inside| origin.path.is_empty() || below(inside, &origin.path).is_some());
        inside.is_some_and(|inside| Filter::new(&origin.filter, &origin.path).is_ok_and(|filter| filter.takes(inside)))
    })
}

/// Returns the path relative to a folder; empty for the folder itself, `None` for a path outside.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}
