//! Guards: what was true when the plan was made, and is it still?

use serde::Serialize;

use super::Ports;
use super::work::WorkError;
use crate::digest::Sha224Digest;
use crate::plan::{Guard, Operation, OperationId, Plan, Work};
use crate::ports::StageId;

/// A guard that does not hold: the plan is stale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The operation it belongs to.
    pub operation: OperationId,
    /// What it speaks of: `release shop`, `resource shop/Deployment/web`, `tag …`.
    pub subject: String,
    /// What the plan was made for.
    pub expected: String,
    /// What is there now.
    pub found: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: expected {}, found {}", self.subject, self.expected, self.found)
    }
}

/// Returns every guard of the plan that does not hold. `resume` accepts what an interrupted run of the same plan left.
///
/// # Errors
/// A port failed to answer; nothing is known then, and nothing may be written.
pub fn check_guards(plan: &Plan, ports: &Ports<'_>, resume: bool) -> Result<Vec<Violation>, WorkError> {
    let mut violations = Vec::new();
    for operation in &plan.operations {
        for guard in &operation.guards {
            if let Some(violation) = check(operation, guard, ports)?
                && !(resume && is_done(operation, ports)?)
            {
                violations.push(violation);
            }
        }
    }
    Ok(violations)
}

/// Returns the first guard of an operation that does not hold.
pub(super) fn first_violation(operation: &Operation, ports: &Ports<'_>) -> Result<Option<Violation>, WorkError> {
    for guard in &operation.guards {
        if let Some(violation) = check(operation, guard, ports)? {
            return Ok(Some(violation));
        }
    }
    Ok(None)
}

/// Says whether the work of an operation is found done in the target.
pub(super) fn is_done(operation: &Operation, ports: &Ports<'_>) -> Result<bool, WorkError> {
    let Some(target) = ports.target else { return Ok(false) };
    Ok(match &operation.work {
        Work::WriteResource { path, manifest, sealed, .. } => {
            let wanted = manifest.as_ref().or(sealed.reveal());
            wanted.map_or(Ok(false), |text| target.holds(path, text.as_bytes()))?
        }
        Work::DeleteResource { path, .. } => target.content(path)?.is_none(),
        Work::OpenRelease { release, revision, .. } => target.revision(release)? == Some(*revision),
        Work::RecordRelease { release, revision, .. } => target.is_recorded(release, *revision)?,
        Work::BuildStage { .. } | Work::TagImage { .. } | Work::TagIndex { .. } | Work::CopyImage { .. } => false,
    })
}

fn check(operation: &Operation, guard: &Guard, ports: &Ports<'_>) -> Result<Option<Violation>, WorkError> {
    let (subject, expected, found) = match guard {
        // Stored meanwhile: it is used.
        Guard::StageAbsent { .. } => return Ok(None),
        Guard::ImagePresent { tag, manifest } => {
            let image = ports.store.images(std::slice::from_ref(tag))?.into_iter().flatten().next();
            let found = image.map_or_else(absent, |image| image.manifest.to_string());
            (format!("image {tag}"), manifest.clone(), found)
        }
        Guard::StagePresent { stage_id, manifest } => {
            let stages = StageId::parse(stage_id).map_or(Ok(Vec::new()), |id| ports.store.stages(&id.digest))?;
            let stage = stages.into_iter().find(|stage| stage.id.to_string() == *stage_id);
            (format!("stage {stage_id}"), manifest.clone(), stage.map_or_else(absent, |s| s.manifest.to_string()))
        }
        Guard::BasePresent { reference, platform, manifest } => {
            let image = ports.store.external(reference, platform)?;
            let found = image.map_or_else(absent, |image| image.manifest.to_string());
            (format!("base {reference}"), manifest.clone(), found)
        }
        Guard::ReleaseRevision { release, revision } => {
            let found = ports.target.map_or(Ok(None), |target| target.revision(release))?;
            let words = |r: Option<u64>| r.map_or_else(absent, |n| format!("revision {n}"));
            (format!("release {release}"), words(*revision), words(found))
        }
        Guard::ResourceContent { path, digest } => {
            let content = ports.target.map_or(Ok(None), |target| target.content(path))?;
            let words = |d: Option<String>| d.map_or_else(absent, |d| format!("content {d}"));
            let found = content.map(|bytes| Sha224Digest::of_bytes(&bytes).to_string());
            (format!("resource {path}"), words(digest.clone()), words(found))
        }
    };
    let operation = operation.id.clone();
    Ok((expected != found).then_some(Violation { operation, subject, expected, found }))
}

fn absent() -> String {
    "nothing".into()
}
