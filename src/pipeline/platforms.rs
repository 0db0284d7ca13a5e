//! What of a plan its store cannot hold, and its builder cannot run, because of a platform.

use std::collections::BTreeSet;

use super::plan::{PlanRequest, place_diagnostic};
use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::plan::{ImageSection, Work};
use crate::source::{Place, Sources};
use crate::stage::{Platform, Stage, Step};

/// Reports wanted images for several platforms where a store holds one platform of an image. Nothing is asked of it.
pub(super) fn report_indexes(diagnostics: &mut Diagnostics, request: &PlanRequest<'_>, wanted: &BTreeSet<String>) {
    let several = |finals: bool| {
        let images = request.project.images.iter();
        images.filter(move |image| {
            !image.platforms.is_empty() && wanted.contains(&image.name) && (image.is_final || !finals)
        })
    };
    for (option, store, finals) in [("--repo", Some(request.store), false), ("--final-repo", request.final_store, true)]
    {
        let Some((_, uri)) = store.filter(|(store, _)| !store.holds_indexes()) else { continue };
        let names: BTreeSet<&str> = several(finals).map(|image| image.name.as_str()).collect();
        for image in request.project.config.images.iter().filter(|image| names.contains(image.name.value.as_str())) {
            let span = image.platforms.get(1).map_or(image.name.span, |platform| platform.span);
            let shown = if image.name.value.is_empty() { "the image" } else { &image.name.value };
            let message = format!("`{shown}` is for several platforms, which {uri} cannot hold");
            let d = Diagnostic::at(&rules::INDEX_NOT_STORED, span, message);
            diagnostics.push(
                d.label("an image of a Docker Engine is for one")
                    .hint("choose one: `--platform linux/amd64`")
                    .hint(format!("or name a registry or a folder: `{option} HOST/PATH`, `{option} oci:DIR`")),
            );
        }
    }
}

/// Warns of commands that are built for a platform whose programs do not run here; apply refuses them.
pub(super) fn report_foreign_commands(
    diagnostics: &mut Diagnostics,
    sources: &Sources,
    request: &PlanRequest<'_>,
    section: &ImageSection,
) {
    let built: BTreeSet<&str> = section
        .operations
        .iter()
        .filter_map(|operation| match &operation.work {
            Work::BuildStage { digest, .. } => Some(digest.as_str()),
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
    for image in &request.project.images {
        let mut told: BTreeSet<&Platform> = BTreeSet::new();
        let stages = image.all_stages().filter(|(_, signed)| built.contains(signed.digest.to_string().as_str()));
        for (platform, command, place) in stages.flat_map(|(stage, _)| commands(stage)) {
            let Some(why) = (request.cannot_run)(platform).filter(|_| !told.contains(platform)) else { continue };
            told.insert(platform);
            let message = format!("image `{}` runs commands for {platform}, which do not run here", image.name);
            let place = place.unwrap_or(&image.place);
            let d = place_diagnostic(sources, &rules::NEEDS_COMMANDS, place, message);
            let first = command.lines().next().unwrap_or_default();
            diagnostics.push(
                d.label(format!("`{first}`: {why}"))
                    .hint("install qemu-user-static and binfmt-support, which register interpreters for all users")
                    .hint("or build this platform on a machine of its kind, in the same --repo"),
            );
        }
    }
}

/// Returns the commands of a stage: what they are for, as written, and where.
fn commands(stage: &Stage) -> impl Iterator<Item = (&Platform, &str, Option<&Place>)> {
    stage.request.parts.iter().enumerate().flat_map(move |(index, part)| {
        let platform = stage.request.platform_of(index);
        part.steps.iter().enumerate().filter_map(move |(number, step)| match step {
            Step::Run(run) => {
                let place = stage.places.get(index).and_then(|places| places.get(number + 1)?.as_ref());
                Some((platform, run.created_by.as_str(), place))
            }
            Step::Copy(_) | Step::Config(_) | Step::Update(_) => None,
        })
    })
}
