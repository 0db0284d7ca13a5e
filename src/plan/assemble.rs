//! Putting the sections together.

use serde_json::Value;

use super::images::ImageSection;
use super::model::{Fidelity, ImageAction, Inputs, Plan, ResourceAction, StageAction, Summary};
use super::release::ReleaseSection;
use super::risk::risks;
use super::sensitive::Sensitive;

/// Makes the plan of its sections.
pub fn assemble(
    project: String,
    commit: String,
    fidelity: Fidelity,
    inputs: Inputs,
    images: ImageSection,
    release: ReleaseSection,
) -> Plan {
    let all =
        release.resources.iter().flat_map(|r| r.fields.iter().chain(&r.drift).chain(&r.kept)).filter(|f| f.sensitive);
    let is_concealed = |v: &Value| v.is_null() || v.as_str().is_some_and(|text| text.starts_with("(secret"));
    assert!(
        all.flat_map(|f| [&f.before, &f.after]).all(is_concealed),
        "what is sensitive is concealed before a plan is made of it"
    );
    let count = |action| release.resources.iter().filter(|r| r.action == action).count();
    let summary = Summary {
        images_build: images.images.iter().filter(|i| i.action == ImageAction::Build).count(),
        images_reuse: images.images.iter().filter(|i| i.action == ImageAction::Reuse).count() - images.left_out,
        stages_build: images.stages.iter().filter(|s| s.action == StageAction::Build).count(),
        create: count(ResourceAction::Create),
        update: count(ResourceAction::Update),
        replace: count(ResourceAction::Replace),
        delete: count(ResourceAction::Delete),
        noop: count(ResourceAction::Noop),
        restarts: release.resources.iter().filter(|r| r.restart.is_some()).count(),
        drift: release.resources.iter().filter(|r| !r.drift.is_empty()).count(),
    };
    let mut risks: Vec<_> = release.resources.iter().flat_map(risks).chain(release.risks).collect();
    risks.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| (&a.address, &a.path).cmp(&(&b.address, &b.path))));
    let mut operations = images.operations;
    operations.extend(release.operations);
    Plan {
        format_version: super::FORMAT_VERSION.to_owned(),
        project,
        commit,
        fidelity,
        inputs,
        summary,
        risks,
        stages: images.stages,
        images: images.images,
        resources: release.resources,
        cleanup: Vec::new(),
        hooks: release.hooks,
        operations,
        record_reasons: release.record_reasons,
        hidden: Sensitive::default(),
    }
}
