//! Bundles: the chart of a project, packed with its values; and a project that is read from a bundle, without git.
//!
//! The one idea: what a bundle was made of comes back as a tree of files with a werf.yaml that names the project and no
//! image, so all that is done with a project is done with a bundle.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::chart::{self, AddedKind, Bundle, BundleInput, PackedBundle, image_parts, open_bundle, open_secrets};
use crate::config;
use crate::diag::{Diagnostic, Diagnostics, Severity, rules};
use crate::observed::{Asking, Observed};
use crate::plan::{Guard, ImageAction, ImagePlan, Plan, Work, is_of_the_run};
use crate::source::{Files, FilesError, MemoryObjects, Mode, Place, Sources};

use super::load::{Project, ProjectInputs};
use super::render::{chart_dir, hide, jsonnet_dir, load_chart, service_values, set_file, values_input};

/// A bundle that a project is read from, and where it was pulled.
#[derive(Clone, Debug)]
pub struct OpenedBundle {
    /// What is in it.
    pub bundle: Bundle,
    /// `REPO:TAG@DIGEST`.
    pub reference: String,
    /// The repository that its images are looked for in.
    pub images_repo: String,
}

/// Packs the chart of a project with its values; images are named by the digests that are known. `None` when it cannot be
/// packed, which is reported.
pub fn pack_project(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    project: &Project,
    inputs: &ProjectInputs,
    (tag, digests): (&str, &BTreeMap<String, String>),
) -> Option<PackedBundle> {
    let dir = chart_dir(project);
    let jsonnet = jsonnet_dir(diagnostics, project, &dir).ok()?;
    if project.files.entry(&dir).ok().flatten().is_none() && jsonnet.is_none() {
        let message = format!("there is no chart `{dir}` to make a bundle of");
        diagnostics.push(Diagnostic::in_file(&rules::FILE_NOT_FOUND, dir, message).hint("commit it, or use `--dev`"));
        return None;
    }
    let mut found = Diagnostics::new();
    let chart = load_chart(&mut found, sources, project, &dir);
    let packed = chart.and_then(|chart| {
        // Only to know that all of it can be decrypted, and that all of it is encrypted.
        let secrets = open_secrets(&mut found, sources, &mut chart.clone(), &inputs.secrets);
        hide(sources, &inputs.secrets, &secrets.texts);
        if found.has_errors() {
            return None;
        }
        let read_file = |path: &str| set_file(inputs, path);
        let mut values = values_input(project, inputs, Vec::new(), &read_file);
        let service = with_digests(service_values(project, inputs), project, digests);
        values.service = chart::tree::Tree::from_json(&service, None).into_map().unwrap_or_default();
        let is_of_run = |(kind, text): &&(AddedKind, String)| *kind == AddedKind::Annotation && is_of_the_run(text);
        let additions: Vec<_> = inputs.additions.iter().filter(|added| !is_of_run(added)).cloned().collect();
        // A fault in an argument is told now, not where the bundle is applied.
        chart::Additions::read(&mut found, sources, &additions);
        let input = BundleInput {
            files: &project.files,
            dir: &dir,
            chart: &chart,
            jsonnet: jsonnet.as_deref(),
            values: &values,
            secrets: &inputs.secrets,
            additions: &additions,
            tag,
        };
        chart::pack_bundle(&mut found, sources, &input)
    });
    let failed = found.has_errors();
    diagnostics.extend(found);
    packed.filter(|_| !failed)
}

/// Names images by their digests too.
fn with_digests(mut service: Value, project: &Project, digests: &BTreeMap<String, String>) -> Value {
    for image in project.images.iter().filter(|image| image.is_final) {
        let Some(digest) = digests.get(&image.name) else { continue };
        let tag = project.tag_of(image);
        let reference = json!(chart::reference(&project.repo_address, &tag, Some(digest)));
        if image.name.is_empty() {
            if let Some(place) = service.pointer_mut("/werf/nameless_image") {
                *place = reference;
            }
            continue;
        }
        let parts = image_parts(&project.repo_address, &tag, Some(digest));
        for (pointer, value) in [("/werf/image", reference), ("/global/werf/images", parts)] {
            if let Some(map) = service.pointer_mut(pointer).and_then(Value::as_object_mut) {
                map.insert(image.name.clone(), value);
            }
        }
    }
    service
}

/// Reads a bundle, which was named by `option`; `None` when it is none, which is reported.
pub fn read_bundle(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    (place, option): (&str, &str),
    archive: &[u8],
) -> Option<Bundle> {
    let mut found = Diagnostics::new();
    let bundle = open_bundle(&mut found, sources, place, archive);
    let failed = found.has_errors();
    for fault in found.as_slice() {
        let is_bare = fault.severity == Severity::Error && fault.hints.is_empty();
        let hint = format!("publish the bundle again, or name another one with {option}");
        diagnostics.push(if is_bare { fault.clone().hint(hint) } else { fault.clone() });
    }
    bundle.filter(|_| !failed)
}

/// Returns what a project is read from that is a bundle, as far as the bundle says it.
///
/// # Errors
/// Its files cannot lie in one folder: a file is the folder of another.
pub fn bundle_inputs(opened: OpenedBundle) -> Result<ProjectInputs, FilesError> {
    let bundle = &opened.bundle;
    let name = if config::slug::is_project(bundle.project()) {
        bundle.project().to_owned()
    } else {
        config::slug::project(bundle.project())
    };
    let text = json!({ "configVersion": 1, "project": name, "deploy": { "helmChartDir": bundle.name } });
    let mut files: BTreeMap<String, Option<(Mode, Vec<u8>)>> =
        bundle.chart_files().map(|(path, bytes)| (path, Some((Mode::File, bytes.to_vec())))).collect();
    files.insert("werf.yaml".to_owned(), Some((Mode::File, (text.to_string() + "\n").into_bytes())));
    let store = MemoryObjects::new();
    let root = store.with_changes(None, &files)?;
    let commit =
        config::Commit { hash: bundle.commit().to_owned(), date_human: String::new(), date_unix: String::new() };
    let mut inputs = ProjectInputs::new(Files::new(Arc::new(store), root), commit);
    inputs.additions.clone_from(&bundle.additions);
    inputs.nulls = bundle.nulls;
    inputs.env = bundle.env().map(str::to_owned);
    inputs.repo_address = Some(opened.images_repo.clone());
    inputs.bundle = Some(Arc::new(opened));
    Ok(inputs)
}

/// What of an image is asked for: its digest, or where the bundle does not say it, its tag.
fn wanted(image: &chart::BundleImage) -> &str {
    image.digest.as_deref().unwrap_or(&image.tag)
}

impl OpenedBundle {
    /// Returns the images that lie where they are looked for, by name.
    fn images(&self) -> impl Iterator<Item = (&String, &chart::BundleImage)> {
        self.bundle.images.iter().filter(|(_, image)| image.repo == self.images_repo || self.is_layout())
    }

    /// Says whether the images lie in a folder, under whatever name.
    fn is_layout(&self) -> bool {
        self.images_repo.starts_with("oci:")
    }

    /// Asks for the images, and returns how a plan shows them.
    pub(super) fn plan_images(&self, previous: &BTreeMap<String, String>, asking: &mut Asking<'_>) -> Vec<ImagePlan> {
        let plan = |(name, image): (&String, &chart::BundleImage)| {
            asking.image(wanted(image));
            ImagePlan {
                name: name.clone(),
                action: ImageAction::Reuse,
                tag: image.tag.clone(),
                platforms: Vec::new(),
                previous_tag: previous.get(name).filter(|tag| **tag != image.tag).cloned(),
                previous_commit: None,
                custom_tags: Vec::new(),
                copied_to: None,
                reference: image.reference.clone(),
                is_final: true,
                place: Place::file(format!("{}/values.yaml", self.bundle.name)),
                reasons: Vec::new(),
            }
        };
        self.images().map(plan).collect()
    }

    /// Reports the images that are not where the bundle says.
    pub(super) fn report_missing(&self, diagnostics: &mut Diagnostics, observed: &Observed) {
        for (name, image) in self.images() {
            if observed.images.get(wanted(image)).is_some_and(Option::is_some) {
                continue;
            }
            let repo = &self.images_repo;
            let message = format!("the image `{name}` of the bundle is not in {repo}: {}", wanted(image));
            let file = format!("{}/values.yaml", self.bundle.name);
            let hint = "copy the bundle with its images (`stagewright bundle copy`), or publish it again";
            diagnostics.push(Diagnostic::in_file(&rules::BUNDLE_IMAGE, file, message).hint(hint));
        }
    }

    /// A release is opened only while its images are there.
    pub(super) fn guard(&self, plan: &mut Plan, observed: &Observed) {
        let guard = |(_, image): (&String, &chart::BundleImage)| {
            let manifest = observed.images.get(wanted(image))?.as_ref()?.manifest.clone();
            Some(Guard::ImagePresent { tag: wanted(image).to_owned(), manifest })
        };
        let guards: Vec<Guard> = self.images().filter_map(guard).collect();
        for operation in plan.operations.iter_mut().filter(|o| matches!(o.work, Work::OpenRelease { .. })) {
            operation.guards.extend(guards.iter().cloned());
        }
    }

    /// Returns the tags of all images, by name.
    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        self.bundle.images.iter().map(|(name, image)| (name.clone(), image.tag.clone())).collect()
    }

    /// Returns the references of all images that have a name.
    pub(super) fn references(&self) -> Value {
        let named = self.bundle.images.iter().filter(|(name, _)| !name.is_empty());
        named.map(|(name, image)| (name.clone(), json!(image.reference))).collect::<serde_json::Map<_, _>>().into()
    }
}
