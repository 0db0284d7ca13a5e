//! The causes of one image, stage or resource.

use serde::Serialize;

use super::plan_words::{View, place, sentence, shorten};
use super::terminal::printable;
use super::{count, pretty_json};
use crate::plan::{Cause, ImageAction, ImagePlan, Reached, ResourcePlan, StageAction, StagePlan};
use crate::source::{CommitNote, LastChange};

/// Resources that are listed below an image; the others are counted.
const RESOURCES_NAMED: usize = 10;

/// What `why` answers; its JSON has the parts that there are.
#[derive(Debug, Default, Serialize)]
pub struct Answer<'a> {
    /// An image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<&'a ImagePlan>,
    /// Its stages, or the one that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<&'a StagePlan>,
    /// A resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<&'a ResourcePlan>,
    /// The causes, with the commits behind them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// What the tag of the image reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reaches: Option<Reached>,
}

/// Draws answers for programs.
pub fn why_json(answers: &[Answer<'_>]) -> String {
    pretty_json(&answers)
}

/// Draws an answer for people.
pub fn why_text(answer: &Answer<'_>) -> String {
    let mut text = String::new();
    let mut indent = 0;
    if let Some(image) = answer.image {
        text += &image_line(image);
        indent = 2;
    }
    if let Some(resource) = answer.resource {
        text += &resource_line(resource);
        indent = 2;
    }
    draw_causes(&answer.causes, answer.image.map(|image| image.name.as_str()), indent, &mut text);
    if let Some(restart) = answer.resource.and_then(|resource| View::resource_of(resource).restart) {
        text += &format!("  {restart}\n");
    }
    if let Some(reached) = answer.reaches.as_ref().filter(|r| !r.images.is_empty() || !r.resources.is_empty()) {
        text += &format!("{:indent$}tag {} reaches\n", "", shorten(&reached.tag));
        draw_reached(reached, indent + 2, &mut text);
    }
    for stage in &answer.stages {
        text += &stage_text(stage, indent);
    }
    text
}

fn image_line(image: &ImagePlan) -> String {
    let verb = match image.action {
        ImageAction::Build => "is built",
        ImageAction::Reuse => "is reused",
    };
    let tag = shorten(&image.tag);
    let tags = match &image.previous_tag {
        Some(old) if *old != image.tag => format!("{} -> {tag}", shorten(old)),
        Some(_) | None => tag,
    };
    let since = image.previous_commit.as_ref().map(|commit| format!("  since {}", commit.get(..7).unwrap_or(commit)));
    let since = since.unwrap_or_default();
    format!("image {} {verb}: {tags}  {}{since}\n", printable(&image.name), printable(&place(&image.place)))
}

fn resource_line(resource: &ResourcePlan) -> String {
    let view = View::resource_of(resource);
    let source = if view.source.is_empty() { String::new() } else { format!("  {}", view.source) };
    format!("{} {}{source}\n", view.action, view.address)
}

/// Draws causes; `image` is the one whose stages need no name.
fn draw_causes(causes: &[Cause], image: Option<&str>, indent: usize, text: &mut String) {
    for cause in causes {
        let commit = cause.last_change.as_ref().map(|change| format!(" ({})", printable(&commit_words(change))));
        let said = printable(&sentence(&cause.reason));
        *text += &format!("{:indent$}{said}{}\n", "", commit.unwrap_or_default());
        draw_causes(&cause.because, image, indent + 2, text);
        if let Some(stages) = stage_words(cause, image) {
            *text += &format!("{:width$}{}\n", "", printable(&stages), width = indent + 2);
        }
    }
}

/// Says which stages a cause goes through: `in stage setup, then docker`.
fn stage_words(cause: &Cause, image: Option<&str>) -> Option<String> {
    let (first, later) = cause.stages.split_first()?;
    let of = cause.image.as_deref().filter(|of| Some(*of) != image).map(|of| format!(" of {of}")).unwrap_or_default();
    let then = if later.is_empty() { String::new() } else { format!(", then {}", later.join(", ")) };
    Some(format!("in stage {first}{of}{then}"))
}

fn commit_words(change: &LastChange) -> String {
    match change {
        LastChange::Commit(note) => note_words(note),
        LastChange::NotCommitted => "not committed".into(),
        LastChange::NotHere(note) => format!("as it was before {}, which is not here", note_words(note)),
        LastChange::Unchanged => "the file itself is unchanged".into(),
        LastChange::Missing => "its commit is not in this clone".into(),
    }
}

fn note_words(note: &CommitNote) -> String {
    let day = note.date.get(..10).unwrap_or(&note.date);
    format!("{} by {} on {day}: {}", note.short(), note.author, note.subject)
}

fn draw_reached(reached: &Reached, indent: usize, text: &mut String) {
    for image in &reached.images {
        let stages = if image.stages.is_empty() { String::new() } else { format!(" in {}", image.stages.join(", ")) };
        let line = format!("image {}, which uses it{stages}: {}", image.image, shorten(&image.tag));
        *text += &format!("{:indent$}{}\n", "", printable(&line));
        draw_reached(image, indent + 2, text);
    }
    for resource in reached.resources.iter().take(RESOURCES_NAMED) {
        *text += &format!("{:indent$}{}\n", "", printable(resource));
    }
    let more = reached.resources.len().saturating_sub(RESOURCES_NAMED);
    if more > 0 {
        *text += &format!("{:indent$}and {} more\n", "", count(more, "resource"));
    }
}

fn stage_text(stage: &StagePlan, indent: usize) -> String {
    let verb = match stage.action {
        StageAction::Build => "is built",
        StageAction::Reuse => "is reused",
    };
    let id = stage.stage_id.as_deref().unwrap_or(&stage.digest);
    let on = stage.platform.as_ref().map(|platform| format!("[{platform}]")).unwrap_or_default();
    let head = format!("{:indent$}stage {}{on}/{} {verb}: {}\n", "", stage.image, stage.stage, shorten(id));
    let reasons = super::plan_words::lines(&stage.reasons);
    let drawn = reasons.iter().map(|line| format!("{:width$}{}\n", "", line.text, width = indent + 2 + 2 * line.depth));
    let mut text = head + &drawn.collect::<String>();
    for rejected in &stage.rejected {
        text += &format!("{:width$}not {}: {}\n", "", shorten(&rejected.stage_id), rejected.cause, width = indent + 2);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{fixture, golden};
    use super::*;
    use crate::plan::Reason;

    fn note(subject: &str) -> CommitNote {
        CommitNote {
            hash: "c0ffee".repeat(7).split_off(2),
            author: "Ada".into(),
            date: "2026-01-02T03:04:05+00:00".into(),
            subject: subject.into(),
        }
    }

    fn traced(reasons: &[Reason], image: &str) -> Vec<Cause> {
        let cause = |reason: &Reason| Cause {
            reason: reason.clone(),
            last_change: (!reason.places().is_empty()).then(|| LastChange::Commit(note("faster"))),
            image: Some(image.into()),
            stages: vec!["setup".into(), "docker".into()],
            because: if let Reason::UsesImage { image, because } = reason {
                traced(because, image)
            } else {
                Vec::new()
            },
        };
        reasons.iter().map(cause).collect()
    }

    #[test]
    fn causes_are_told_down_to_the_line_and_its_commit() {
        let plan = fixture::shop();
        let mut text = String::new();
        for image in &plan.images {
            let reached = Reached {
                image: image.name.clone(),
                tag: image.tag.clone(),
                stages: Vec::new(),
                images: Vec::new(),
                resources: vec!["shop/Deployment/backend".into()],
            };
            text += &why_text(&Answer {
                image: Some(image),
                stages: plan.stages.iter().filter(|s| s.image == image.name).collect(),
                causes: traced(&image.reasons, &image.name),
                reaches: Some(reached),
                ..Answer::default()
            });
        }
        for resource in &plan.resources {
            let causes = resource.reasons.iter().map(|reason| Cause {
                reason: reason.clone(),
                last_change: (!reason.places().is_empty()).then_some(LastChange::NotCommitted),
                image: None,
                stages: Vec::new(),
                because: Vec::new(),
            });
            text += &why_text(&Answer { resource: Some(resource), causes: causes.collect(), ..Answer::default() });
        }
        golden::check("why.txt", &text);
    }
}
