//! Observing: answers the questions of the planners, a round at a time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::work::WorkError;
use crate::observed::{Observed, Question, StoredFact, UnreadyPods};
use crate::ports::oci::read_image;
use crate::ports::{Closer, Sight, StageStore, StoredImage, StoredStage, Target, Tracker};

/// What questions are put to.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The stage store.
    pub store: &'a dyn StageStore,
    /// The final repository, where there is one.
    pub final_store: Option<&'a dyn StageStore>,
    /// The target, where there is one.
    pub target: Option<&'a dyn Target>,
}

/// Answers questions and adds the answers to what is known. Nothing is written.
///
/// # Errors
/// A port failed to answer.
pub fn observe(questions: Vec<Question>, world: World<'_>, observed: &mut Observed) -> Result<(), WorkError> {
    let World { store, final_store, target } = world;
    let mut finals = Vec::new();
    let mut tags = Vec::new();
    let mut names = Vec::new();
    let mut digests = Vec::new();
    for question in questions {
        match question {
            Question::Image(tag) => tags.push(tag),
            Question::Final(tag) => finals.push(tag),
            Question::Newest(name) => names.push(name),
            Question::Stages(digest) => digests.push(digest),
            Question::External(reference, platform) => {
                let found = store.external(&reference, &platform)?;
                if let Some(found) = &found {
                    let triggers = read_image(store, &found.manifest)?.1.config.on_build;
                    observed.triggers.insert((reference.clone(), platform.clone()), triggers);
                }
                observed.external.insert((reference, platform), found.map(image_fact));
            }
            Question::Release(release) => {
                let found =
                    target.map_or_else(|| Ok(crate::observed::ReleaseFact::default()), |t| t.observe(&release))?;
                observed.releases.insert(release, found);
            }
            Question::Budgets(namespaces) => {
                observed.budgets = target.map_or(Ok(Vec::new()), |t| t.budgets(&namespaces))?;
            }
            Question::UnreadyPods(paths) => {
                let tracker = target.and_then(|t| t.tracker());
                observed.unready = tracker.map(|tracker| unready_pods(tracker, &paths)).unwrap_or_default();
            }
            Question::Previews(wanted) => {
                observed.previews = target.map_or(Ok(None), |t| t.preview(&wanted))?;
            }
        }
    }
    let stages = store.stages_of(&digests)?.into_iter().map(|found| found.into_iter().map(stage_fact).collect());
    observed.stages.extend(digests.into_iter().zip(stages));
    let images = store.images(&tags)?.into_iter().map(|i| i.map(image_fact));
    observed.images.extend(tags.into_iter().zip(images));
    let found = final_store.map_or_else(|| Ok(vec![None; finals.len()]), |store| store.images(&finals))?;
    observed.finals.extend(finals.into_iter().zip(found.into_iter().map(|i| i.map(image_fact))));
    let newest = store.newest(&names)?.into_iter().map(|i| i.map(image_fact));
    observed.newest.extend(names.into_iter().zip(newest));
    Ok(())
}

/// Returns the pods of workloads that are not all ready. What may not be seen is not there.
pub fn unready_pods(tracker: &dyn Tracker, paths: &BTreeSet<String>) -> BTreeMap<String, UnreadyPods> {
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let sights = tracker.look(&paths);
    let count = |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_u64);
    let lacks = |object: &Value| {
        count(object, "/status/readyReplicas").unwrap_or(0) < count(object, "/spec/replicas").unwrap_or(1)
    };
    let found = paths.into_iter().zip(sights).filter_map(|(path, sight)| Some((path, sight.ok()?.object?)));
    let found: Vec<(&str, Value)> = found.filter(|(_, object)| lacks(object)).collect();
    let closer: Vec<Closer<'_>> = found.iter().map(|(_, object)| Closer { object, events: false }).collect();
    let sights = if closer.is_empty() { Vec::new() } else { tracker.look_closely(&closer) };
    let says = |condition: &Value, key: &str, wanted: &str| condition.get(key).is_some_and(|found| found == wanted);
    let is_unready = |pod: &Value| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        !conditions.into_iter().flatten().any(|c| says(c, "type", "Ready") && says(c, "status", "True"))
            && pod.pointer("/metadata/deletionTimestamp").is_none()
    };
    let unready = |pods: Vec<Value>| pods.into_iter().filter(is_unready).collect();
    let fact = |sight: Sight| UnreadyPods { newest: unready(sight.pods), older: unready(sight.older) };
    found.iter().zip(sights).map(|((path, _), sight)| ((*path).to_owned(), fact(sight))).collect()
}

fn stage_fact(stage: StoredStage) -> StoredFact {
    StoredFact { tag: stage.id.to_string(), manifest: stage.manifest.to_string(), annotations: stage.annotations }
}

fn image_fact(image: StoredImage) -> StoredFact {
    StoredFact { tag: image.tag, manifest: image.manifest.to_string(), annotations: image.annotations }
}
