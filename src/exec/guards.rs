//! Guards: what was true when the plan was made, and is it still?

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Ports;
use super::work::{StaleGuard, WorkError};
use crate::digest::Sha224Digest;
use crate::observed::WantedResource;
use crate::plan::{Guard, Operation, OperationId, Plan, Work};
use crate::ports::{Over, StageId, StageStore, Standing, Target, Values};

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
    /// What was changed last, and who did, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.change {
            Some(change) => write!(f, "{}: {change}", self.subject),
            None => write!(f, "{}: expected {}, found {}", self.subject, self.expected, self.found),
        }
    }
}

/// So long what was seen of a resource need not be looked at again before it is written. Unit: milliseconds.
const FRESH_MS: u64 = 1_000;

/// What was seen when all guards of a plan were checked at once.
#[derive(Default)]
pub struct Checked {
    /// The guards that do not hold.
    pub violations: Vec<Violation>,
    /// Unit: milliseconds since 1970.
    at_ms: u64,
    resources: Resources,
}

impl Checked {
    /// Returns what was seen of the resources of an operation, where that is not long ago.
    fn of(&self, operation: &Operation, now_ms: u64) -> Option<Resources> {
        let is_fresh = (self.at_ms..self.at_ms.saturating_add(FRESH_MS)).contains(&now_ms);
        let key = |path: &str| (operation.id.clone(), path.to_owned());
        let own = || self.resources.range(key("")..).take_while(|((id, _), _)| *id == operation.id);
        // Where the target cannot tell what something is done over, it is looked at again.
        let is_told = own().all(|(_, standing)| standing.over != Over::Anything);
        (is_fresh && is_told).then(|| own().map(|(key, standing)| (key.clone(), standing.clone())).collect())
    }
}

/// Checks every guard of a plan. `resume` accepts what an interrupted run of the same plan left.
///
/// # Errors
/// A port failed to answer; nothing is known then, and nothing may be written.
pub fn check_guards(plan: &Plan, ports: &Ports<'_>, resume: bool) -> Result<Checked, WorkError> {
    let at_ms = ports.clock.now_ms();
    let contents = contents(plan, ports)?;
    let left_behind = if resume { left_behind(plan, ports)? } else { BTreeSet::new() };
    let mut violations = Vec::new();
    for (operation, guard) in guards(plan).filter(|(operation, _)| !left_behind.contains(&operation.id)) {
        if let Some(violation) = check(operation, guard, ports, &contents)?
            && !(resume && is_excused(operation, guard, ports, true)?)
        {
            violations.push(violation);
        }
    }
    Ok(Checked { violations, at_ms, resources: contents.resources })
}

/// Returns the guards of revisions of releases that do not hold: what changes when somebody else applies.
///
/// # Errors
/// As [`check_guards`].
pub fn check_revisions(plan: &Plan, ports: &Ports<'_>, resume: bool) -> Result<Vec<Violation>, WorkError> {
    let left_behind = if resume { left_behind(plan, ports)? } else { BTreeSet::new() };
    let mut violations = Vec::new();
    let meant = |(operation, guard): &(&Operation, &Guard)| {
        matches!(guard, Guard::ReleaseRevision { .. }) && !left_behind.contains(&operation.id)
    };
    for (operation, guard) in guards(plan).filter(meant) {
        if let Some(violation) = check(operation, guard, ports, &Contents::default())?
            && !(resume && is_excused(operation, guard, ports, true)?)
        {
            violations.push(violation);
        }
    }
    Ok(violations)
}

/// Returns the operations that an interrupted run has behind it though nothing is to be seen of them. The records of a
/// release go after all that comes before, and when they are gone, that was done; what hooks have run is recorded before
/// these delete themselves.
///
/// # Errors
/// The target failed.
pub(super) fn left_behind(plan: &Plan, ports: &Ports<'_>) -> Result<BTreeSet<OperationId>, WorkError> {
    let mut behind = BTreeSet::new();
    for operation in &plan.operations {
        if let Work::RecordHooks { covers, .. } = &operation.work
            && is_done(operation, ports)?
        {
            behind.extend(covers.iter().cloned());
        }
    }
    let forgets = plan.operations.iter().find(|o| matches!(o.work, Work::ForgetRelease { .. }));
    let Some(forgets) = forgets else { return Ok(behind) };
    if !is_done(forgets, ports)? {
        return Ok(behind);
    }
    let all: BTreeMap<&str, &Operation> = plan.operations.iter().map(|o| (o.id.as_str(), o)).collect();
    let mut next = vec![forgets];
    let mut seen = BTreeSet::new();
    while let Some(operation) = next.pop() {
        if seen.insert(operation.id.clone()) {
            next.extend(operation.needs.iter().filter_map(|need| all.get(need.as_str()).copied()));
        }
    }
    behind.append(&mut seen);
    Ok(behind)
}

fn guards(plan: &Plan) -> impl Iterator<Item = (&Operation, &Guard)> {
    plan.operations.iter().flat_map(|operation| operation.guards.iter().map(move |guard| (operation, guard)))
}

/// Contents of resources, by operation and path.
type Resources = BTreeMap<(OperationId, String), Standing>;

/// What was read at once of what guards speak of.
#[derive(Default)]
struct Contents {
    resources: Resources,
    /// The manifests that tags stand on.
    images: BTreeMap<String, Option<String>>,
    /// The same in the final repository.
    finals: BTreeMap<String, Option<String>>,
    /// The last revisions of releases.
    revisions: BTreeMap<String, Option<u64>>,
}

/// Reads all resources and images that guards speak of, at once.
fn contents(plan: &Plan, ports: &Ports<'_>) -> Result<Contents, WorkError> {
    let image = |guard: &Guard| if let Guard::ImagePresent { tag, .. } = guard { Some(tag.clone()) } else { None };
    let last = |guard: &Guard| if let Guard::FinalImagePresent { tag, .. } = guard { Some(tag.clone()) } else { None };
    let images = manifests(ports.store, guards(plan).filter_map(|(_, guard)| image(guard)).collect())?;
    let finals = guards(plan).filter_map(|(_, guard)| last(guard)).collect();
    let finals = ports.final_store.map_or_else(|| Ok(BTreeMap::new()), |store| manifests(store, finals))?;
    // Both are asked for at once.
    let (resources, revisions) = std::thread::scope(|scope| {
        let other = std::thread::Builder::new().spawn_scoped(scope, || revisions(plan, ports));
        let resources = resources(guards(plan), ports);
        // Without another thread this one asks.
        let revisions = other.map_or_else(
            |_| revisions(plan, ports),
            |other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        );
        (resources, revisions)
    });
    Ok(Contents { resources: resources?, images, finals, revisions: revisions? })
}

/// Returns the last revisions of the releases that guards speak of.
fn revisions(plan: &Plan, ports: &Ports<'_>) -> Result<BTreeMap<String, Option<u64>>, WorkError> {
    let release = |guard: &Guard| match guard {
        Guard::ReleaseRevision { release, .. } => Some(release.clone()),
        Guard::ResourceContent { .. }
        | Guard::SecretContent { .. }
        | Guard::StageAbsent { .. }
        | Guard::ImagePresent { .. }
        | Guard::FinalImagePresent { .. }
        | Guard::StagePresent { .. }
        | Guard::BasePresent { .. }
        | Guard::Cluster { .. } => None,
    };
    let releases: BTreeSet<String> = guards(plan).filter_map(|(_, guard)| release(guard)).collect();
    let Some(target) = ports.target else { return Ok(BTreeMap::new()) };
    releases.into_iter().map(|release| Ok((release.clone(), target.revision(&release)?))).collect()
}

/// Returns the manifests that tags stand on.
fn manifests(store: &dyn StageStore, tags: BTreeSet<String>) -> Result<BTreeMap<String, Option<String>>, WorkError> {
    let tags: Vec<String> = tags.into_iter().collect();
    let found = if tags.is_empty() { Vec::new() } else { store.images(&tags)? };
    Ok(tags.into_iter().zip(found.into_iter().map(|image| image.map(|image| image.manifest.to_string()))).collect())
}

fn resources<'a>(
    guards: impl Iterator<Item = (&'a Operation, &'a Guard)>,
    ports: &Ports<'_>,
) -> Result<Resources, WorkError> {
    let (keys, wanted): (Vec<_>, Vec<_>) = guards
        .filter_map(|(operation, guard)| match guard {
            Guard::ResourceContent { path, .. } | Guard::SecretContent { path, .. } => {
                Some(((operation.id.clone(), path.clone()), wanted(operation, path)))
            }
            Guard::StageAbsent { .. }
            | Guard::ImagePresent { .. }
            | Guard::FinalImagePresent { .. }
            | Guard::StagePresent { .. }
            | Guard::BasePresent { .. }
            | Guard::Cluster { .. }
            | Guard::ReleaseRevision { .. } => None,
        })
        .unzip();
    let Some(target) = ports.target.filter(|_| !wanted.is_empty()) else { return Ok(BTreeMap::new()) };
    Ok(keys.into_iter().zip(target.standings(&wanted)?).collect())
}

/// Says what an operation makes of a resource.
fn wanted(operation: &Operation, path: &str) -> WantedResource {
    let manifest = match &operation.work {
        Work::WriteResource { path: written, manifest, sealed, .. } if written == path => {
            manifest.as_ref().or(sealed.reveal()).cloned()
        }
        Work::BuildStage { .. }
        | Work::TagImage { .. }
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
    };
    WantedResource { path: path.to_owned(), manifest }
}

fn is_of_resource(guard: &Guard) -> bool {
    matches!(guard, Guard::ResourceContent { .. } | Guard::SecretContent { .. })
}

/// Over what an operation whose guards hold does its work, by path.
pub(super) type Seen = BTreeMap<String, Over>;

/// Looks whether the guards of an operation hold; `resume` accepts what was done before, by an interrupted run where one is
/// resumed.
///
/// # Errors
/// One does not, or a port failed to answer.
pub(super) fn check_again(
    operation: &Operation,
    ports: &Ports<'_>,
    (resume, is_resumed): (bool, bool),
    checked: Option<&Checked>,
) -> Result<Seen, WorkError> {
    // What a release leaves as it is, and its images, were looked at before the first write.
    let opens = matches!(operation.work, Work::OpenRelease { .. });
    let is_of_image = |guard: &Guard| matches!(guard, Guard::ImagePresent { .. } | Guard::FinalImagePresent { .. });
    let is_seen = |guard: &Guard| is_of_resource(guard) || is_of_image(guard);
    let guards = || operation.guards.iter().filter(|guard| !(opens && is_seen(guard)));
    // What became of it meanwhile is found when it is written.
    let known = checked.filter(|_| !resume).and_then(|checked| checked.of(operation, ports.clock.now_ms()));
    let resources = match known {
        Some(known) => known,
        None => resources(guards().map(|guard| (operation, guard)), ports)?,
    };
    let contents = Contents { resources, ..Contents::default() };
    for guard in guards() {
        if let Some(violation) = check(operation, guard, ports, &contents)?
            && !(resume && is_excused(operation, guard, ports, is_resumed)?)
        {
            return Err(WorkError::Stale(StaleGuard(violation)));
        }
    }
    Ok(contents.resources.into_iter().map(|((_, path), standing)| (path, standing.over)).collect())
}

/// Says whether an interrupted run of the same plan, or where none is resumed this one, is why a guard does not hold.
fn is_excused(operation: &Operation, guard: &Guard, ports: &Ports<'_>, is_resumed: bool) -> Result<bool, WorkError> {
    match (&operation.work, guard) {
        // A later revision is somebody else's, or took this one back.
        (Work::OpenRelease { release, revision, .. }, Guard::ReleaseRevision { .. }) => {
            let last = ports.target.map_or(Ok(None), |target| target.revision(release))?;
            Ok(last == Some(*revision) && is_done(operation, ports)?)
        }
        // What stays as it is is no work of a run.
        (Work::OpenRelease { .. }, guard) if is_of_resource(guard) => Ok(false),
        // It was deleted, and not made again.
        (Work::WriteResource { path, replace: true, .. }, guard) if is_of_resource(guard) => {
            let is_gone = ports.target.map_or(Ok(None), |target| target.content(path))?.is_none();
            Ok(is_gone || is_written(operation, ports)?)
        }
        // Its fields were taken over, and nothing was written: that is seen where the content is not told, of a Secret.
        (Work::WriteResource { path, adopt: true, .. }, guard) if is_of_resource(guard) => {
            // Within one run, what changed after that was somebody else.
            let is_begun = is_resumed && ports.target.map_or(Ok(false), |target| target.is_taken_over(path))?;
            Ok(is_begun || is_written(operation, ports)?)
        }
        // It was written, and its replicas were not left to others.
        (Work::WriteResource { leaves_replicas: true, .. }, guard) if is_of_resource(guard) => {
            is_written(operation, ports)
        }
        (
            Work::BuildStage { .. }
            | Work::TagImage { .. }
            | Work::TagIndex { .. }
            | Work::CopyImage { .. }
            | Work::OpenRelease { .. }
            | Work::WriteResource { .. }
            | Work::DeleteResource { .. }
            | Work::AwaitResource { .. }
            | Work::Gate
            | Work::RecordHooks { .. }
            | Work::ForgetRelease { .. }
            | Work::RecordRelease { .. },
            _,
        ) => is_done(operation, ports),
    }
}

/// Says whether the work of an operation is found done in the target.
pub(super) fn is_done(operation: &Operation, ports: &Ports<'_>) -> Result<bool, WorkError> {
    let Some(target) = ports.target else { return Ok(false) };
    Ok(match &operation.work {
        Work::WriteResource { path, leaves_replicas, .. } => {
            is_written(operation, ports)? && (!leaves_replicas || target.are_replicas_left(path)?)
        }
        Work::DeleteResource { path, .. } => target.content(path)?.is_none(),
        Work::OpenRelease { release, revision, payload } => {
            // Somebody else may have made a revision of this number.
            payload.reveal().map_or(Ok(false), |payload| target.is_opened(release, *revision, payload))?
        }
        Work::RecordRelease { release, revision, .. } => target.is_recorded(release, *revision)?,
        Work::ForgetRelease { release } => target.revision(release)?.is_none(),
        Work::RecordHooks { release, revision, event, .. } => target.have_hooks_run(release, *revision, event)?,
        Work::BuildStage { .. }
        | Work::TagImage { .. }
        | Work::TagIndex { .. }
        | Work::CopyImage { .. }
        | Work::AwaitResource { .. }
        | Work::Gate => false,
    })
}

/// Says whether a resource stands in the target as an operation writes it.
pub(super) fn is_written(operation: &Operation, ports: &Ports<'_>) -> Result<bool, WorkError> {
    let (Some(target), Work::WriteResource { path, manifest, sealed, .. }) = (ports.target, &operation.work) else {
        return Ok(false);
    };
    let wanted = manifest.as_ref().or(sealed.reveal());
    Ok(wanted.map_or(Ok(false), |text| target.holds(path, text.as_bytes()))?)
}

fn check(
    operation: &Operation,
    guard: &Guard,
    ports: &Ports<'_>,
    contents: &Contents,
) -> Result<Option<Violation>, WorkError> {
    let (subject, expected, found) = match guard {
        // Stored meanwhile: it is used.
        Guard::StageAbsent { .. } => return Ok(None),
        Guard::ImagePresent { tag, manifest } => {
            let found = match contents.images.get(tag) {
                Some(known) => known.clone(),
                None => manifest_of(ports.store, tag)?,
            };
            (format!("image {tag}"), manifest.clone(), found.unwrap_or_else(absent))
        }
        Guard::FinalImagePresent { tag, manifest } => {
            let found = match (contents.finals.get(tag), ports.final_store) {
                (Some(known), _) => known.clone(),
                (None, Some(store)) => manifest_of(store, tag)?,
                (None, None) => None,
            };
            (format!("image {tag} in the final repository"), manifest.clone(), found.unwrap_or_else(absent))
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
        Guard::Cluster { uid } => {
            // Where the account may not see which one it is, its address was compared.
            let found = ports.target.map_or(Ok(None), Target::cluster)?;
            let Some(found) = found.and_then(|cluster| cluster.uid) else { return Ok(None) };
            ("the cluster".to_owned(), uid.clone(), found)
        }
        Guard::ReleaseRevision { release, revision } => {
            let found = match contents.revisions.get(release) {
                Some(known) => *known,
                None => ports.target.map_or(Ok(None), |target| target.revision(release))?,
            };
            let words = |r: Option<u64>| r.map_or_else(absent, |n| format!("revision {n}"));
            (format!("release {release}"), words(*revision), words(found))
        }
        Guard::ResourceContent { path, digest } => {
            let words = |d: Option<String>| d.map_or_else(absent, |d| format!("content {d}"));
            (format!("resource {path}"), words(digest.clone()), words(found_content(operation, path, ports, contents)?))
        }
        Guard::SecretContent { path, digest } => {
            // Its digest is told by nobody.
            let words = match found_content(operation, path, ports, contents)? {
                None => absent(),
                Some(found) if digest.reveal() == Some(&found) => AS_PLANNED.to_owned(),
                Some(_) => "another content".to_owned(),
            };
            (format!("resource {path}"), AS_PLANNED.to_owned(), words)
        }
    };
    if expected == found {
        return Ok(None);
    }
    let told = |path, values| ports.target.map(|t| told_change(t, path, (&expected, &found), values)).transpose();
    let change = match guard {
        Guard::ResourceContent { path, .. } => told(path, Values::Shown)?,
        Guard::SecretContent { path, .. } => told(path, Values::Hidden)?,
        Guard::StageAbsent { .. }
        | Guard::ImagePresent { .. }
        | Guard::FinalImagePresent { .. }
        | Guard::StagePresent { .. }
        | Guard::BasePresent { .. }
        | Guard::Cluster { .. }
        | Guard::ReleaseRevision { .. } => None,
    };
    Ok(Some(Violation { operation: operation.id.clone(), subject, expected, found, change }))
}

/// Returns the manifest that a tag stands on.
fn manifest_of(store: &dyn StageStore, tag: &str) -> Result<Option<String>, WorkError> {
    let image = store.images(std::slice::from_ref(&tag.to_owned()))?.into_iter().flatten().next();
    Ok(image.map(|image| image.manifest.to_string()))
}

/// What is found where content that is not told is as it was.
const AS_PLANNED: &str = "the content of the plan";

/// Returns the digest of what stands there.
fn found_content(
    operation: &Operation,
    path: &str,
    ports: &Ports<'_>,
    contents: &Contents,
) -> Result<Option<String>, WorkError> {
    let content = match (contents.resources.get(&(operation.id.clone(), path.to_owned())), ports.target) {
        (Some(known), _) => known.content.clone(),
        (None, Some(target)) => {
            target.standings(&[wanted(operation, path)])?.into_iter().next().and_then(|s| s.content)
        }
        (None, None) => None,
    };
    Ok(content.map(|bytes| Sha224Digest::of_bytes(&bytes).to_string()))
}

/// Says what became of a resource, and who changed it last.
fn told_change(
    target: &dyn Target,
    path: &str,
    (expected, found): (&str, &str),
    values: Values,
) -> Result<String, WorkError> {
    if found == absent() {
        return Ok("it is gone".to_owned());
    }
    let what = if expected == absent() { "it was made meanwhile" } else { "it was changed" };
    let last = target.last_change(path, values)?;
    Ok(last.map_or_else(|| what.to_owned(), |last| format!("{what}; {last}")))
}

fn absent() -> String {
    "nothing".into()
}
