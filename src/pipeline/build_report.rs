//! The build report: what the store says of the images and stages of a plan that was carried out.

use std::collections::BTreeMap;

use crate::digest::Sha224Digest;
use crate::exec::{Durations, Subject};
use crate::plan::{Plan, Work};
use crate::ports::oci::read_manifest;
use crate::ports::{StageStore, StoreError};
use crate::report::{BuildReport, ReportedImage, ReportedStage, report_seconds};
use crate::signature::{ANNOTATION_COMMIT, SignedImage};

/// The stages of each image, first to last: names and digests.
pub type StageLists = BTreeMap<String, Vec<(String, Sha224Digest)>>;

/// Returns the stages of signed images.
pub fn stage_lists(images: &[SignedImage]) -> StageLists {
    let list = |image: &SignedImage| image.stages.iter().map(|(s, signed)| (s.name.clone(), signed.digest)).collect();
    images.iter().map(|image| (image.name.clone(), list(image))).collect()
}

/// Returns the stages that a plan tells of: those of images that it builds.
pub fn planned_stages(plan: &Plan) -> StageLists {
    let mut lists = StageLists::new();
    for stage in &plan.stages {
        if let Some(digest) = Sha224Digest::from_hex(&stage.digest) {
            lists.entry(stage.image.clone()).or_default().push((stage.stage.clone(), digest));
        }
    }
    lists
}

/// Describes the images of a plan that are in the store. `took` tells what the run built, and how long it took.
///
/// # Errors
/// The store failed.
pub fn build_report(
    plan: &Plan,
    stages: &StageLists,
    took: &Durations,
    store: &dyn StageStore,
) -> Result<BuildReport, StoreError> {
    let built: BTreeMap<&str, u64> = plan
        .operations
        .iter()
        .filter_map(|operation| match &operation.work {
            Work::BuildStage { digest, .. } => Some((digest.as_str(), *took.get(&Subject::of(operation).name)?)),
            Work::TagImage { .. }
            | Work::CopyImage { .. }
            | Work::WriteResource { .. }
            | Work::DeleteResource { .. }
            | Work::RecordRelease { .. } => None,
        })
        .collect();
    let tags: Vec<String> = plan.images.iter().map(|image| image.tag.clone()).collect();
    let mut report = BuildReport::default();
    for (image, stored) in plan.images.iter().zip(store.images(&tags)?) {
        let Some(stored) = stored else { continue };
        let (repo, tag) = image.reference.rsplit_once(':').unwrap_or((&image.reference, &image.tag));
        let stages = described(repo, stages.get(&image.name).map_or(&[][..], Vec::as_slice), &built, store)?;
        let manifest = read_manifest(store, &stored.manifest)?;
        let ms = stages.iter().filter_map(|(_, ms)| *ms).sum();
        report.images.insert(
            image.name.clone(),
            ReportedImage {
                werf_image_name: image.name.clone(),
                docker_repo: repo.to_owned(),
                docker_tag: tag.to_owned(),
                docker_image_id: manifest.config.digest.to_string(),
                docker_image_digest: stored.manifest.to_string(),
                docker_image_name: image.reference.clone(),
                rebuilt: stages.iter().any(|(_, ms)| ms.is_some()),
                is_final: image.is_final,
                size: manifest.size(),
                build_time: report_seconds(ms),
                commit: stored.annotations.get(ANNOTATION_COMMIT).cloned().unwrap_or_default(),
                stages: stages.into_iter().map(|(stage, _)| stage).collect(),
            },
        );
    }
    Ok(report)
}

/// Describes the stages that are stored, and how long this run built them.
fn described(
    repo: &str,
    stages: &[(String, Sha224Digest)],
    built: &BTreeMap<&str, u64>,
    store: &dyn StageStore,
) -> Result<Vec<(ReportedStage, Option<u64>)>, StoreError> {
    let digests: Vec<Sha224Digest> = stages.iter().map(|(_, digest)| *digest).collect();
    let mut list = Vec::new();
    for ((name, digest), found) in stages.iter().zip(store.stages_of(&digests)?) {
        let Some(stored) = found.into_iter().next() else { continue };
        let manifest = read_manifest(store, &stored.manifest)?;
        let ms = built.get(digest.to_string().as_str()).copied();
        let stage = ReportedStage {
            name: name.clone(),
            docker_image_name: format!("{repo}:{}", stored.id),
            docker_tag: stored.id.to_string(),
            docker_image_id: manifest.config.digest.to_string(),
            docker_image_digest: stored.manifest.to_string(),
            created_at: stored.id.created_ms.saturating_mul(1_000_000),
            size: manifest.size(),
            rebuilt: ms.is_some(),
            build_time: report_seconds(ms.unwrap_or(0)),
            commit: stored.annotations.get(ANNOTATION_COMMIT).cloned().unwrap_or_default(),
        };
        list.push((stage, ms));
    }
    Ok(list)
}
