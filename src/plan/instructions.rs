//! Planning the stages of a staged Dockerfile, which form a graph.
//!
//! What lives here: which instructions are built. What does not: images as wholes, and chains of Stapel (`images`).
//!
//! The one idea: from the last instruction backwards, only what is not stored needs what it is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::images::{ImageContext, ImageSection, stage_present, tag_operation, tag_work, used_guard, used_images};
use super::model::{StageAction, StagePlan};
use super::operation::{Guard, Operation, Work};
use super::platforms::tag_id;
use super::reason::Reason;
use crate::digest::Sha224Digest;
use crate::observed::{Asking, StoredFact};
use crate::signature::{ANNOTATION_COMMIT, ANNOTATION_INGREDIENTS, ANNOTATION_STAGE, Record, SignedImage};
use crate::stage::{BuildRequest, ImageRef};

/// Plans the stages of an image that is built, and its operations.
pub(super) fn plan_instructions(
    image: &SignedImage,
    context: &ImageContext<'_>,
    asking: &mut Asking<'_>,
    built: &mut BTreeMap<Sha224Digest, String>,
    section: &mut ImageSection,
) {
    let stored: Vec<Option<&StoredFact>> =
        image.stages.iter().map(|(_, signed)| asking.stages(signed.digest).first()).collect();
    let inputs = inputs_of(image);
    let needed = needed_stages(&inputs, &stored);
    let found = |index: usize| stored.get(index).copied().flatten();
    let mut operation: BTreeMap<usize, String> = BTreeMap::new();
    for (index, (stage, signed)) in image.stages.iter().enumerate() {
        let builds = needed.contains(&index) && found(index).is_none();
        section.stages.push(StagePlan {
            image: image.name.clone(),
            stage: stage.name.clone(),
            platform: image.platform.as_ref().map(ToString::to_string),
            digest: signed.digest.to_string(),
            action: if builds { StageAction::Build } else { StageAction::Reuse },
            stage_id: found(index).filter(|_| needed.contains(&index)).map(|f| f.tag.clone()),
            reasons: vec![match found(index) {
                _ if builds => Reason::NotInStore { tag: signed.digest.to_string() },
                Some(f) if needed.contains(&index) => Reason::InStore { tag: f.tag.clone() },
                Some(_) | None => Reason::NotNeeded,
            }],
            rejected: Vec::new(),
        });
        if !builds {
            continue;
        }
        if let Some(other) = built.get(&signed.digest) {
            operation.insert(index, other.clone());
            continue;
        }
        let own = inputs.get(index).map_or(&[][..], Vec::as_slice);
        let used = used_images(&stage.request);
        let mut guards = vec![Guard::StageAbsent { digest: signed.digest.to_string() }];
        guards.extend(own.iter().filter_map(|input| found(*input)).map(stage_present));
        guards.extend(used.iter().filter_map(|(used, platform)| used_guard(used, platform, asking)));
        let mut needs: BTreeSet<String> = own.iter().filter_map(|input| operation.get(input).cloned()).collect();
        needs.extend(used.iter().filter_map(|(used, _)| tag_operation(used, section)));
        let id = format!("build:{}/{}", image.chain_name(), stage.name);
        let record = closure(index, &inputs);
        let ingredients = image.stages.iter().enumerate().filter(|(at, _)| record.contains(at));
        let record = Record::new(ingredients.flat_map(|(_, (_, signed))| &signed.ingredients));
        section.operations.push(Operation {
            id: id.clone(),
            needs: needs.into_iter().collect(),
            guards,
            work: Work::BuildStage {
                image: image.name.clone(),
                stage: stage.name.clone(),
                platform: image.platform.as_ref().map(ToString::to_string),
                digest: signed.digest.to_string(),
                request: stage.request.clone(),
                annotations: BTreeMap::from([
                    (ANNOTATION_COMMIT.to_owned(), context.commit.to_owned()),
                    (ANNOTATION_INGREDIENTS.to_owned(), record.to_json()),
                    (ANNOTATION_STAGE.to_owned(), stage.name.clone()),
                ]),
                binding: None,
            },
        });
        built.insert(signed.digest, id.clone());
        operation.insert(index, id);
    }
    let last = image.stages.len().saturating_sub(1);
    section.operations.push(Operation {
        id: tag_id(image),
        needs: operation.get(&last).cloned().into_iter().collect(),
        guards: found(last).map(stage_present).into_iter().collect(),
        work: tag_work(image, image.signature.to_string(), false, context),
    });
}

/// Returns for each stage the earlier ones that it is made of.
fn inputs_of(image: &SignedImage) -> Vec<Vec<usize>> {
    let mut known: BTreeMap<Sha224Digest, usize> = BTreeMap::new();
    let mut inputs = Vec::with_capacity(image.stages.len());
    for (index, (stage, signed)) in image.stages.iter().enumerate() {
        inputs.push(stages_of(&stage.request).filter_map(|digest| known.get(&digest).copied()).collect());
        known.entry(signed.digest).or_insert(index);
    }
    inputs
}

fn stages_of(request: &BuildRequest) -> impl Iterator<Item = Sha224Digest> {
    used_images(request).into_iter().filter_map(|(used, _)| match used {
        ImageRef::Stage { digest, .. } => Some(*digest),
        ImageRef::Project { .. } | ImageRef::External { .. } => None,
    })
}

/// Returns the last stage and what has to be there to build it.
fn needed_stages(inputs: &[Vec<usize>], stored: &[Option<&StoredFact>]) -> BTreeSet<usize> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<usize> = inputs.len().checked_sub(1).into_iter().collect();
    while let Some(index) = open.pop() {
        if needed.insert(index) && stored.get(index).copied().flatten().is_none() {
            open.extend(inputs.get(index).into_iter().flatten());
        }
    }
    needed
}

/// Returns a stage and all that it is made of.
fn closure(index: usize, inputs: &[Vec<usize>]) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![index];
    while let Some(index) = open.pop() {
        if found.insert(index) {
            open.extend(inputs.get(index).into_iter().flatten());
        }
    }
    found
}
