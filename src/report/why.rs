//! The causes of one image, stage or resource.

use super::plan_words::{Line, View, lines, place, printable, shorten};
use crate::plan::{ImageAction, ImagePlan, ResourcePlan, StageAction, StagePlan};

/// Tells why an image is built or reused, and which of its stages are.
pub fn why_image(image: &ImagePlan, stages: &[&StagePlan]) -> String {
    let verb = match image.action {
        ImageAction::Build => "is built",
        ImageAction::Reuse => "is reused",
    };
    let tag = shorten(&image.tag);
    let tags = match &image.previous_tag {
        Some(old) if *old != image.tag => format!("{} -> {tag}", shorten(old)),
        Some(_) | None => tag,
    };
    let mut text = format!("image {} {verb}: {tags}  {}\n", printable(&image.name), printable(&place(&image.place)));
    text += &drawn(&lines(&image.reasons), 2);
    for stage in stages {
        text += &stage_text(stage, 2);
    }
    text
}

/// Tells why a stage is built or reused.
pub fn why_stage(stage: &StagePlan) -> String {
    stage_text(stage, 0)
}

/// Tells why a resource is changed or kept.
pub fn why_resource(resource: &ResourcePlan) -> String {
    let view = View::resource_of(resource);
    let mut text = format!("{} {}", view.action, view.address);
    if !view.source.is_empty() {
        text += &format!("  {}", view.source);
    }
    text.push('\n');
    text += &drawn(&view.reasons, 2);
    if let Some(restart) = &view.restart {
        text += &format!("  {restart}\n");
    }
    text
}

fn stage_text(stage: &StagePlan, indent: usize) -> String {
    let verb = match stage.action {
        StageAction::Build => "is built",
        StageAction::Reuse => "is reused",
    };
    let id = stage.stage_id.as_deref().unwrap_or(&stage.digest);
    let on = stage.platform.as_ref().map(|platform| format!("[{platform}]")).unwrap_or_default();
    let head = format!("{:indent$}stage {}{on}/{} {verb}: {}\n", "", stage.image, stage.stage, shorten(id));
    let mut text = head + &drawn(&lines(&stage.reasons), indent + 2);
    for rejected in &stage.rejected {
        text += &format!("{:width$}not {}: {}\n", "", shorten(&rejected.stage_id), rejected.cause, width = indent + 2);
    }
    text
}

fn drawn(reasons: &[Line], indent: usize) -> String {
    reasons.iter().map(|line| format!("{:width$}{}\n", "", line.text, width = indent + 2 * line.depth)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, golden};
    use super::*;

    #[test]
    fn causes_are_told_down_to_the_line() {
        let plan = fixture::shop();
        let stages: Vec<_> = plan.stages.iter().filter(|s| s.image == "backend").collect();
        let mut text = why_image(&plan.images[0], &stages) + &why_image(&plan.images[1], &[]);
        plan.resources.iter().for_each(|r| text += &why_resource(r));
        golden::check("why.txt", &text);
    }
}
