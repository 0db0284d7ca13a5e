//! The build report: what the store says of the images and stages of a plan that was carried out.

use std::collections::BTreeMap;

use crate::digest::Sha224Digest;
use crate::exec::{Durations, Subject};
use crate::plan::{ImagePlan, Plan, Work};
use crate::ports::oci::read_manifest;
use crate::ports::{StageStore, StoreError, StoredImage};
use crate::report::{BuildReport, ReportedImage, ReportedStage, report_seconds};
use crate::signature::{ANNOTATION_COMMIT, SignedImage, platform_tags};

/// The stages of each image on each of its platforms, first to last: names and digests, by [`SignedImage::chain_name`].
pub type StageLists = BTreeMap<String, Vec<(String, Sha224Digest)>>;

/// Returns the stages of signed images.
pub fn stage_lists(images: &[SignedImage]) -> StageLists {
    let list = |chain: &SignedImage| chain.stages.iter().map(|(s, signed)| (s.name.clone(), signed.digest)).collect();
    images.iter().flat_map(SignedImage::chains).map(|chain| (chain.chain_name(), list(chain))).collect()
}

/// Returns the stages that a plan tells of: those of images that it builds.
pub fn planned_stages(plan: &Plan) -> StageLists {
    let mut lists = StageLists::new();
    for stage in &plan.stages {
        if let Some(digest) = Sha224Digest::from_hex(&stage.digest) {
            let name = chain_name(&stage.image, stage.platform.as_deref());
            lists.entry(name).or_default().push((stage.stage.clone(), digest));
        }
    }
    lists
}

fn chain_name(image: &str, platform: Option<&str>) -> String {
    platform.map_or_else(|| image.to_owned(), |platform| format!("{image}[{platform}]"))
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
            | Work::TagIndex { .. }
            | Work::CopyImage { .. }
            | Work::OpenRelease { .. }
            | Work::WriteResource { .. }
            | Work::DeleteResource { .. }
            | Work::AwaitResource { .. }
            | Work::Gate
            | Work::RecordHooks { .. }
            | Work::ForgetRelease { .. }
            | Work::RecordRelease { .. } => None,
        })
        .collect();
    let tags: Vec<String> = plan.images.iter().map(|image| image.tag.clone()).collect();
    let mut report = BuildReport::default();
    let reporter = Reporter { stages, built: &built, store };
    for (image, stored) in plan.images.iter().zip(store.images(&tags)?) {
        let Some(stored) = stored else { continue };
        let platforms = platform_tags(&stored.annotations);
        if platforms.is_empty() {
            report.images.insert(image.name.clone(), reporter.image(image, &stored, None)?.0);
            continue;
        }
        let mut all = Vec::new();
        let tags: Vec<String> = platforms.values().cloned().collect();
        for (platform, found) in platforms.keys().zip(store.images(&tags)?) {
            let Some(found) = found else { continue };
            let told = reporter.image(image, &found, Some(platform))?;
            report.images_by_platform.entry(platform.clone()).or_default().insert(image.name.clone(), told.0.clone());
            all.push(told);
        }
        report.images.insert(image.name.clone(), index(image, &stored, &all));
    }
    Ok(report)
}

/// Describes an image for several platforms.
fn index(image: &ImagePlan, stored: &StoredImage, platforms: &[(ReportedImage, u64)]) -> ReportedImage {
    let (repo, tag) = split(image);
    let reported = platforms.iter().map(|(image, _)| image);
    ReportedImage {
        werf_image_name: image.name.clone(),
        docker_repo: repo.to_owned(),
        docker_tag: tag.to_owned(),
        docker_image_id: stored.manifest.to_string(),
        docker_image_digest: stored.manifest.to_string(),
        docker_image_name: image.reference.clone(),
        target_platform: None,
        rebuilt: reported.clone().any(|image| image.rebuilt),
        is_final: image.is_final,
        size: reported.clone().map(|image| image.size).sum(),
        build_time: report_seconds(platforms.iter().map(|(_, ms)| *ms).sum()),
        commit: reported.clone().map(|image| image.commit.clone()).next().unwrap_or_default(),
        stages: Vec::new(),
    }
}

/// Splits the reference that templates see.
fn split(image: &ImagePlan) -> (&str, &str) {
    image.reference.rsplit_once(':').unwrap_or((&image.reference, &image.tag))
}

/// What the report is made from.
struct Reporter<'a> {
    stages: &'a StageLists,
    built: &'a BTreeMap<&'a str, u64>,
    store: &'a dyn StageStore,
}

impl Reporter<'_> {
    /// Describes an image, or an image on one of its platforms, and how long this run built it.
    fn image(
        &self,
        image: &ImagePlan,
        stored: &StoredImage,
        platform: Option<&String>,
    ) -> Result<(ReportedImage, u64), StoreError> {
        let (repo, tag) = split(image);
        let stages = self.stages.get(&chain_name(&image.name, platform.map(String::as_str)));
        let stages = described(repo, stages.map_or(&[][..], Vec::as_slice), self.built, self.store)?;
        let manifest = read_manifest(self.store, &stored.manifest)?;
        let ms = stages.iter().filter_map(|(_, ms)| *ms).sum();
        let reported = ReportedImage {
            werf_image_name: image.name.clone(),
            docker_repo: repo.to_owned(),
            docker_tag: if platform.is_some() { stored.tag.clone() } else { tag.to_owned() },
            docker_image_id: manifest.config.digest.to_string(),
            docker_image_digest: stored.manifest.to_string(),
            // A final repository has the manifests of an index, but no tags of theirs.
            docker_image_name: match platform {
                Some(_) => format!("{repo}@{}", stored.manifest),
                None => image.reference.clone(),
            },
            target_platform: platform.cloned(),
            rebuilt: stages.iter().any(|(_, ms)| ms.is_some()),
            is_final: image.is_final,
            size: manifest.size(),
            build_time: report_seconds(ms),
            commit: stored.annotations.get(ANNOTATION_COMMIT).cloned().unwrap_or_default(),
            stages: stages.into_iter().map(|(stage, _)| stage).collect(),
        };
        Ok((reported, ms))
    }
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
