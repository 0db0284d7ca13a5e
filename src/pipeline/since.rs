//! Planning from one commit to another, as if the older one had just been applied.
//!
//! The one idea: the facts that a store and a target would tell are computed from the older commit. So "why" and
//! "what does this range touch" are answered by the same planners, without a store and without a target.

use std::collections::{BTreeMap, BTreeSet};

use crate::diag::Diagnostics;
use crate::digest::Sha224Digest;
use crate::eval::Host;
use crate::exec::WorkError;
use crate::observed::{Observed, Question, ReleaseFact, StoredFact};
use crate::plan::{Layout, Plan, RecordedResource, resource_path};
use crate::signature::{
    ANNOTATION_COMMIT, ANNOTATION_FILES, ANNOTATION_INGREDIENTS, Record, SignedImage, SignedStage, mapped_files_json,
    platform_annotations,
};
use crate::source::Sources;
use crate::stage::Stage;

use super::load::{Project, ProjectInputs, load};
use super::plan::{PlanError, PlanRequest, desired, new_record, plan_with};
use super::render::{RenderChoice, render};

/// Makes the plan that would bring the project from `old` to the commit of the request.
///
/// # Errors
/// One of the two has errors (see `diagnostics`).
pub fn plan_since(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &PlanRequest<'_>,
    old: &ProjectInputs,
) -> Result<Plan, PlanError> {
    let before = load(diagnostics, sources, old).ok_or(PlanError::Diagnostics)?;
    let release = applied(diagnostics, sources, &before, old, request.host);
    if diagnostics.has_errors() {
        return Err(PlanError::Diagnostics);
    }
    let images: BTreeMap<String, StoredFact> = before
        .images
        .iter()
        .flat_map(|image| std::iter::once(image).chain(&image.platforms))
        .map(|image| (image.chain_name(), stored(image, &old.commit.hash)))
        .collect();
    let stages: BTreeMap<Sha224Digest, StoredFact> = before
        .images
        .iter()
        .flat_map(SignedImage::all_stages)
        .map(|(stage, signed)| (signed.digest, stored_stage(stage, signed, &old.commit.hash)))
        .collect();
    let before = Before { images, stages, release };
    let answer = |questions: Vec<Question>, observed: &mut Observed| {
        for question in questions {
            before.answer(question, observed);
        }
        Ok::<(), WorkError>(())
    };
    plan_with(diagnostics, sources, request, &answer)
}

/// What a store and a target would hold if the older commit had just been applied.
struct Before {
    /// By name.
    images: BTreeMap<String, StoredFact>,
    stages: BTreeMap<Sha224Digest, StoredFact>,
    release: ReleaseFact,
}

impl Before {
    fn answer(&self, question: Question, observed: &mut Observed) {
        match question {
            Question::Image(tag) => {
                let found = self.images.values().find(|fact| fact.tag == tag).cloned();
                observed.images.insert(tag, found);
            }
            Question::Final(tag) => {
                let found = self.images.values().find(|fact| fact.tag == tag).cloned();
                observed.finals.insert(tag, found);
            }
            Question::Newest(name) => {
                let found = self.images.get(&name).cloned();
                observed.newest.insert(name, found);
            }
            Question::Stages(digest) => {
                let found = self.stages.get(&digest).cloned();
                observed.stages.insert(digest, found.into_iter().collect());
            }
            Question::External(reference, platform) => {
                let fact = StoredFact { tag: reference.clone(), manifest: String::new(), annotations: BTreeMap::new() };
                observed.external.insert((reference, platform), Some(fact));
            }
            Question::Previews(_) => observed.previews = None,
            Question::Budgets(_) => observed.budgets = Vec::new(),
            Question::UnreadyPods(_) => observed.unready = BTreeMap::new(),
            Question::Release(name) => {
                observed.releases.insert(name, self.release.clone());
            }
        }
    }
}

fn stored_stage(stage: &Stage, signed: &SignedStage, commit: &str) -> StoredFact {
    let notes = [(ANNOTATION_COMMIT, commit.to_owned()), (ANNOTATION_FILES, mapped_files_json(&stage.mapped))];
    StoredFact {
        tag: signed.digest.to_string(),
        manifest: String::new(),
        annotations: notes.map(|(key, value)| (key.to_owned(), value)).into(),
    }
}

fn stored(image: &SignedImage, commit: &str) -> StoredFact {
    let record = Record::new(image.stages.iter().flat_map(|(_, signed)| &signed.ingredients));
    let annotations = if image.platforms.is_empty() {
        BTreeMap::from([
            (ANNOTATION_COMMIT.to_owned(), commit.to_owned()),
            (ANNOTATION_INGREDIENTS.to_owned(), record.to_json()),
        ])
    } else {
        platform_annotations(&image.platform_tags())
    };
    StoredFact { tag: image.signature.to_string(), manifest: String::new(), annotations }
}

/// Returns what a target would hold after the older commit was applied.
fn applied(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    project: &Project,
    inputs: &ProjectInputs,
    host: &dyn Host,
) -> ReleaseFact {
    let choice = RenderChoice { is_upgrade: true, ..RenderChoice::default() };
    let mut fact = ReleaseFact::default();
    let mut record = new_record(project, inputs);
    let mut taken = BTreeSet::new();
    if let Some(rendered) = render(diagnostics, sources, project, inputs, host, choice) {
        for resource in desired(sources, project, &rendered, Layout::Folder) {
            let path = resource_path(&resource, &record.release, &record.namespace, &taken);
            taken.insert(path.clone());
            let recorded = RecordedResource { address: resource.address(), digest: resource.digest() };
            record.resources.insert(path.clone(), recorded);
            fact.resources.insert(path, resource.text);
        }
    }
    record.revision = 1;
    fact.record = serde_json::to_value(record).ok();
    fact
}
