//! Planning a release: what happens to every resource, and why.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cluster::{no_next_revision, plan_cluster};
use super::diff::{diff, hide_fields, is_sensitive, redact};
use super::helm::{ClusterChart, read_history};
use super::hooks::{DesiredHook, HookPlan};
use super::keeping::Kept;
use super::model::{FieldChange, ImagePlan, RecordReason, ResourceAction, ResourcePlan, Risk};
use super::operation::{Guard, Operation, Work};
use super::reason::{FileChange, Reason};
use super::risk::{immutable_fields, restart};
use super::secrecy::Secrecy;
use super::sensitive::Sensitive;
use crate::digest::Sha224Digest;
use crate::observed::{Preview, ReleaseFact};
use crate::source::Place;

/// A resource as the project wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredResource {
    /// API version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// The manifest's text.
    pub text: String,
    /// The manifest's data.
    pub data: Value,
    /// The template that wrote it.
    pub place: Option<Place>,
    /// Whether its text holds what must not be shown, whatever its kind.
    pub hidden: bool,
    /// Whether it belongs to the release; what does not is written to a cluster, but not recorded and never deleted.
    pub belongs: bool,
}

impl DesiredResource {
    /// Returns `namespace/kind/name`, see [`ResourcePlan::address`].
    pub fn address(&self) -> String {
        format!("{}/{}/{}", self.namespace.as_deref().unwrap_or("-"), self.kind, self.name)
    }

    /// Says whether its values must not be shown, all or some of them.
    pub fn is_secret(&self) -> bool {
        self.hidden || is_sensitive(&self.kind) || !Secrecy::of(&self.data).is_empty()
    }

    /// Returns the SHA-224 of its text; nothing for a Secret and what holds secret values, which could be guessed from it.
    pub fn digest(&self) -> String {
        if self.is_secret() { String::new() } else { record_digest(&self.text) }
    }
}

/// What is recorded of an applied release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// Version of this record.
    pub version: u32,
    /// The release.
    pub release: String,
    /// Its namespace.
    pub namespace: String,
    /// Counts applies, from 1.
    pub revision: u64,
    /// The project.
    pub project: String,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The commit.
    pub commit: String,
    /// Object id of the project's tree; names the files that were read.
    pub tree: String,
    /// Tags of the images, by name.
    pub images: BTreeMap<String, String>,
    /// The resources, by path.
    pub resources: BTreeMap<String, RecordedResource>,
    /// The addresses of the resources and hooks that hold secret values and are no Secrets.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hidden: BTreeSet<String>,
    /// Whether `hidden` names hooks and `hides_notes` is known: older records say nothing of either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hides_hooks: bool,
    /// Whether the notes hold secret values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hides_notes: bool,
}

/// What is recorded of an applied resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedResource {
    /// See [`ResourcePlan::address`].
    pub address: String,
    /// SHA-224 of its text; empty for a Secret, and for what holds secret values.
    pub digest: String,
}

/// Where a changed value or chart file is, found by comparing the project with that of the last apply.
#[derive(Clone, Debug, Default)]
pub struct ChartChanges {
    /// Files of the chart that changed.
    pub files: Vec<Reason>,
    /// Values that changed: key, place, before and after.
    pub values: Vec<(String, Option<Place>, Value, Value)>,
}

/// What the release planner needs.
pub struct ReleaseContext<'a> {
    /// What will be recorded; revision and resources are filled in here.
    pub record: ReleaseRecord,
    /// What the target holds.
    pub fact: &'a ReleaseFact,
    /// The images of the same plan.
    pub images: &'a [ImagePlan],
    /// Changes of the chart since the last apply; asked for only when a resource changed.
    pub changes: &'a dyn Fn() -> ChartChanges,
    /// Reads the text of a live resource.
    pub parse: &'a dyn Fn(&str) -> Option<Value>,
    /// The operations that must be done before any resource is written.
    pub after: Vec<String>,
    /// What the target would make of the resources, by path, where it says it.
    pub previews: Option<&'a BTreeMap<String, Preview>>,
    /// The chart, for the record in a cluster.
    pub chart: ClusterChart,
    /// Its hooks, for a cluster.
    pub hooks: &'a [DesiredHook],
    /// Helm's record of the revision that is deployed again, where it is a rollback.
    pub rollback: Option<&'a Value>,
    /// Whether objects in a cluster become part of the release that are none yet.
    pub force_adoption: bool,
    /// Takes fields over that others set, whoever they are: for those who set them no more.
    pub force_conflicts: bool,
    /// Whether hooks are recorded, and none runs.
    pub no_hooks: bool,
    /// What stays of what people changed by hand.
    pub kept: &'a Kept,
}

/// The resources' part of a plan.
#[derive(Debug, Default)]
pub struct ReleaseSection {
    /// Every resource: in the order of the manifests, then what is deleted.
    pub resources: Vec<ResourcePlan>,
    /// What apply does.
    pub operations: Vec<Operation>,
    /// The hooks that run.
    pub hooks: Vec<HookPlan>,
    /// What deserves a second look besides what the resources say.
    pub risks: Vec<Risk>,
    /// Why the plan cannot be carried out.
    pub problems: Vec<Problem>,
    /// What has to be decided before it can be carried out.
    pub blocks: Vec<Problem>,
    /// Why the release is recorded, where none of its resources changes.
    pub record_reasons: Vec<RecordReason>,
}

/// A resource that the target would not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// See [`ResourcePlan::address`].
    pub address: String,
    /// The template that wrote it.
    pub place: Option<Place>,
    /// Why.
    pub message: String,
}

/// Reads the record that an apply left; `None` when there is none or it is of a newer version.
pub fn read_record(fact: &ReleaseFact) -> Option<ReleaseRecord> {
    if !fact.history.is_empty() {
        return read_history(&fact.history);
    }
    let record: ReleaseRecord = serde_json::from_value(fact.record.clone()?).ok()?;
    (record.version == 1).then_some(record)
}

/// Plans the resources of a release.
pub fn plan_release(desired: &[DesiredResource], context: &ReleaseContext<'_>) -> ReleaseSection {
    if let Some(previews) = context.previews {
        return plan_cluster(desired, context, previews);
    }
    let previous = read_record(context.fact);
    let mut section = ReleaseSection::default();
    let mut record = ReleaseRecord { version: 1, ..context.record.clone() };
    let mut written = BTreeSet::new();
    let mut changes: Option<ChartChanges> = None;
    for resource in desired {
        let path = resource_path(resource, &record.release, &record.namespace, &written);
        let recorded = RecordedResource { address: resource.address(), digest: resource.digest() };
        record.resources.insert(path.clone(), recorded);
        written.insert(path.clone());
        let live = context.fact.resources.get(&path);
        let mut plan = resource_plan(resource, live, previous.as_ref(), &path, context);
        if matches!(plan.action, ResourceAction::Update | ResourceAction::Replace) {
            let changes = changes.get_or_insert_with(context.changes);
            add_causes(&mut plan, context.images, changes);
        }
        if plan.action != ResourceAction::Noop {
            section.operations.push(write_operation(resource, &path, live, &context.after));
        }
        section.resources.push(plan);
    }
    let gone = previous.iter().flat_map(|p| &p.resources).filter(|(path, _)| !written.contains(*path));
    for (path, recorded) in gone {
        let Some(live) = context.fact.resources.get(path) else { continue };
        let mut plan = deleted(recorded, &(context.parse)(live).unwrap_or(Value::Null));
        let changes = changes.get_or_insert_with(context.changes);
        plan.reasons.splice(0..0, removed_files(changes));
        section.operations.push(Operation {
            id: format!("delete:{path}"),
            needs: context.after.clone(),
            guards: content_guard(
                path,
                Some(live),
                is_sensitive(&plan.kind) || plan.fields.iter().any(|f| f.sensitive),
            ),
            work: Work::DeleteResource { address: plan.address(), path: path.clone() },
        });
        section.resources.push(plan);
    }
    record_operation(record, previous.as_ref(), context, &mut section);
    section
}

/// Adds the operation that records the release, unless nothing at all is new.
fn record_operation(
    mut record: ReleaseRecord,
    previous: Option<&ReleaseRecord>,
    context: &ReleaseContext<'_>,
    section: &mut ReleaseSection,
) {
    let revision = previous.map(|p| p.revision);
    match revision.unwrap_or(0).checked_add(1) {
        Some(next) => record.revision = next,
        None => section.problems.push(no_next_revision(&record.release)),
    }
    if section.operations.is_empty() {
        section.record_reasons = match previous {
            None => vec![RecordReason::First],
            Some(previous) => what_differs(previous, &record),
        };
        if section.record_reasons.is_empty() {
            return;
        }
    }
    let mut needs: Vec<String> = section.operations.iter().map(|o| o.id.clone()).collect();
    needs.extend(context.after.iter().cloned());
    section.operations.push(Operation {
        id: format!("release:{}", record.release),
        needs,
        guards: vec![Guard::ReleaseRevision { release: record.release.clone(), revision }],
        work: Work::RecordRelease {
            release: record.release.clone(),
            revision: record.revision,
            record: serde_json::to_value(&record).expect("a record is plain data"),
        },
    });
}

/// Says what of a record is not as it was.
pub(super) fn what_differs(previous: &ReleaseRecord, record: &ReleaseRecord) -> Vec<RecordReason> {
    let all = [
        (previous.resources != record.resources, RecordReason::Manifests),
        (previous.images != record.images, RecordReason::Images),
        (previous.env != record.env, RecordReason::Environment),
        (previous.namespace != record.namespace, RecordReason::Namespace),
    ];
    all.into_iter().filter_map(|(differs, reason)| differs.then_some(reason)).collect()
}

/// Returns the path of a resource in the target: `RELEASE/kind-name.yaml`, below it a folder for each other namespace.
pub fn resource_path(resource: &DesiredResource, release: &str, namespace: &str, taken: &BTreeSet<String>) -> String {
    let safe = |text: &str| -> String {
        let keep = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
        text.chars().map(|c| keep(c.to_ascii_lowercase())).collect()
    };
    let folder = match &resource.namespace {
        Some(other) if other != namespace => format!("{}/", safe(other)),
        _ => String::new(),
    };
    let stem = format!("{release}/{folder}{}-{}", safe(&resource.kind), safe(&resource.name));
    let plain = format!("{stem}.yaml");
    if !taken.contains(&plain) {
        return plain;
    }
    // Two kinds of one name in different API groups.
    let group = resource.api_version.split_once('/').map_or("core", |(group, _)| group);
    let grouped = format!("{stem}.{}.yaml", safe(group));
    if !taken.contains(&grouped) {
        return grouped;
    }
    let numbered = (2..).map(|n: u32| format!("{stem}.{n}.yaml"));
    numbered.into_iter().find(|p| !taken.contains(p)).unwrap_or(plain)
}

/// Annotations that say which run wrote a manifest, and mean nothing for what it makes. Source: werf 2.x.
const OF_THE_RUN: [&str; 3] = ["ci.werf.io/", "project.werf.io/", "werf.io/version"];

/// Says whether an annotation tells of the run that wrote it.
pub fn is_of_the_run(annotation: &str) -> bool {
    OF_THE_RUN.iter().any(|prefix| annotation.starts_with(prefix) || annotation.contains(&format!(".{prefix}")))
}

/// Returns a manifest without the lines that tell of the run that wrote it.
pub(super) fn without_run(text: &str) -> Cow<'_, str> {
    if !OF_THE_RUN.iter().any(|prefix| text.contains(prefix)) {
        return Cow::Borrowed(text);
    }
    let tells = |line: &&str| is_of_the_run(line.trim_start().trim_start_matches(['"', '\'']));
    Cow::Owned(text.lines().filter(|line| !tells(line)).map(|line| format!("{line}\n")).collect())
}

/// Returns the SHA-224 of a manifest as it is recorded.
pub(super) fn record_digest(text: &str) -> String {
    text_digest(&without_run(text))
}

pub(super) fn text_digest(text: &str) -> String {
    Sha224Digest::of_bytes(text.as_bytes()).to_string()
}

/// Guards what stands there now. What stands in a Secret is not told, not even by its digest.
fn content_guard(path: &str, live: Option<&String>, is_secret: bool) -> Vec<Guard> {
    let (path, digest) = (path.to_owned(), live.map(|t| text_digest(t)));
    vec![match digest {
        Some(digest) if is_secret => Guard::SecretContent { path, digest: Sensitive::new(digest) },
        digest => Guard::ResourceContent { path, digest },
    }]
}

fn write_operation(resource: &DesiredResource, path: &str, live: Option<&String>, after: &[String]) -> Operation {
    let secret = resource.is_secret();
    let unguarded = is_sensitive(&resource.kind) || !Secrecy::of(&resource.data).is_empty();
    Operation {
        id: format!("write:{path}"),
        needs: after.to_vec(),
        guards: content_guard(path, live, unguarded),
        work: Work::WriteResource {
            address: resource.address(),
            path: path.to_owned(),
            manifest: (!secret).then(|| resource.text.clone()),
            sealed: if secret { Sensitive::new(resource.text.clone()) } else { Sensitive::default() },
            replace: false,
            adopt: false,
            leaves_replicas: false,
        },
    }
}

/// Returns the plan of a resource to which nothing happens, before anything is known of it.
pub(super) fn left_alone(resource: &DesiredResource) -> ResourcePlan {
    ResourcePlan {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        previous_address: None,
        action: ResourceAction::Noop,
        source: resource.place.clone(),
        fields: Vec::new(),
        replace_paths: Vec::new(),
        drift: Vec::new(),
        kept: Vec::new(),
        restart: None,
        reasons: Vec::new(),
    }
}

fn resource_plan(
    resource: &DesiredResource,
    live: Option<&String>,
    previous: Option<&ReleaseRecord>,
    path: &str,
    context: &ReleaseContext<'_>,
) -> ResourcePlan {
    let mut plan = left_alone(resource);
    let Some(live) = live else {
        plan.action = ResourceAction::Create;
        plan.fields = diff(&Value::Null, &resource.data);
        plan.reasons.push(Reason::NotInTarget);
        redact(&plan.kind, &mut plan.fields);
        hide_fields(&[&resource.data], &mut plan.fields);
        return plan;
    };
    if *live == resource.text {
        plan.reasons.push(Reason::Unchanged);
        return plan;
    }
    plan.action = ResourceAction::Update;
    let before = (context.parse)(live).unwrap_or(Value::Null);
    plan.fields = diff(&before, &resource.data);
    let recorded = previous.and_then(|p| p.resources.get(path));
    let drifted = recorded.is_some_and(|r| !r.digest.is_empty() && r.digest != record_digest(live));
    if drifted {
        let paths = plan.fields.iter().map(|f| f.path.clone()).collect();
        if recorded.is_some_and(|r| r.digest == record_digest(&resource.text)) {
            plan.drift.clone_from(&plan.fields);
        }
        plan.reasons.push(Reason::Drift { paths, by: Vec::new() });
    }
    plan.replace_paths = immutable_fields(&plan.kind, &plan.fields);
    if !plan.replace_paths.is_empty() {
        plan.action = ResourceAction::Replace;
        plan.reasons.extend(plan.replace_paths.iter().map(|p| Reason::ImmutableField { path: p.clone() }));
    }
    plan.restart = restart(&plan.kind, &resource.data, &plan.fields, plan.action);
    for fields in [&mut plan.fields, &mut plan.drift] {
        redact(&plan.kind, fields);
        hide_fields(&[&resource.data, &before], fields);
    }
    plan
}

pub(super) fn deleted(recorded: &RecordedResource, data: &Value) -> ResourcePlan {
    let mut parts = recorded.address.splitn(3, '/').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let (namespace, kind, name) = (part(), part(), part());
    let mut fields = diff(data, &Value::Null);
    redact(&kind, &mut fields);
    hide_fields(&[data], &mut fields);
    ResourcePlan {
        api_version: data.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned(),
        kind,
        namespace: (namespace != "-").then_some(namespace),
        name,
        previous_address: None,
        action: ResourceAction::Delete,
        source: None,
        fields,
        replace_paths: Vec::new(),
        drift: Vec::new(),
        kept: Vec::new(),
        restart: None,
        reasons: vec![Reason::NotDeclared],
    }
}

/// Returns the files of the chart that are gone.
pub(super) fn removed_files(changes: &ChartChanges) -> Vec<Reason> {
    let gone = |r: &&Reason| matches!(r, Reason::File { change: FileChange::Removed, .. });
    changes.files.iter().filter(gone).cloned().collect()
}

/// Says why the fields of a resource changed: images first, then values, then files of the chart.
pub(super) fn add_causes(plan: &mut ResourcePlan, images: &[ImagePlan], changes: &ChartChanges) {
    let mut explained = BTreeSet::new();
    let mut causes = Vec::new();
    for field in &plan.fields {
        if let Some(reason) = image_cause(field, images) {
            explained.insert(field.path.clone());
            if !causes.contains(&reason) {
                causes.push(reason);
            }
        }
    }
    let left: Vec<&FieldChange> = plan.fields.iter().filter(|f| !explained.contains(&f.path)).collect();
    if left.is_empty() || plan.reasons.iter().any(|r| matches!(r, Reason::Drift { .. })) && plan.drift == plan.fields {
        plan.reasons.splice(0..0, causes);
        return;
    }
    for (key, place, before, after) in &changes.values {
        if left.iter().any(|f| !f.sensitive && shows(&f.before, before) && shows(&f.after, after)) {
            causes.push(Reason::Value {
                place: place.clone(),
                key: key.clone(),
                before: before.clone(),
                after: after.clone(),
            });
        }
    }
    let own = |reason: &&Reason| match (reason, &plan.source) {
        (Reason::File { place, .. }, Some(source)) => place.file == source.file,
        _ => false,
    };
    let mut files: Vec<Reason> = changes.files.iter().filter(own).cloned().collect();
    if files.is_empty() && !causes.iter().any(|c| matches!(c, Reason::Value { .. })) {
        // A template of its own did not change: a shared one, or the values, did.
        files.clone_from(&changes.files);
    }
    causes.extend(files);
    if let Some(source) = &plan.source {
        let paths = left.iter().map(|f| f.path.clone()).collect();
        causes.push(Reason::Template { place: source.clone(), paths });
    }
    plan.reasons.splice(0..0, causes);
}

fn image_cause(field: &FieldChange, images: &[ImagePlan]) -> Option<Reason> {
    let text = field.after.as_str().filter(|_| !field.sensitive)?;
    let image = images.iter().find(|i| text.contains(i.tag.as_str()))?;
    let before = field.before.as_str().map(|b| b.rsplit([':', '@']).next().unwrap_or(b).to_owned());
    Some(Reason::ImageTag {
        path: field.path.clone(),
        image: image.name.clone(),
        before: before.filter(|b| *b != image.tag),
        after: image.tag.clone(),
        because: image.reasons.clone(),
    })
}

/// Says whether a value can be what a field shows: equal, or equal as text, or a part of it.
fn shows(field: &Value, value: &Value) -> bool {
    let text = |v: &Value| match v {
        Value::String(s) => s.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => v.to_string(),
    };
    match (field, value) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        _ => {
            field == value || text(field) == text(value) || text(value).len() >= 3 && text(field).contains(&text(value))
        }
    }
}
