//! Planning a release in a cluster: what the API server would make of each manifest, in which order, and the record.
//!
//! What lives here: paths of resources in a cluster, what the server is asked, and the plan over its answers. What does not:
//! Helm's record of a release (`helm`), requests (`backend`), and the folder of manifests (`release`).
//!
//! The one idea: a change is the difference between the live object and what a dry run of the server answers. What the
//! server adds by itself stands on both sides, and is no change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::consequences::{consequences, follow_configs, kept_definitions, rename, scalers};
use super::decide::{Considered, Decision, decide, follow_policies, is_kept, leave, make_anew, with_first_replicas};
use super::deletion::{Going, in_turn};
use super::directives::{DeployType, read_directives};
use super::helm::{
    are_notes_recorded, are_values_recorded, fit, helm_record, is_unfinished, recorded_manifests, recorded_text,
    rollback_record,
};
use super::hooks::{DesiredHook, HookPlan, HookRun, are_recorded, left_hooks, run_hooks};
use super::keeping::Kept;
use super::model::{RecordReason, ResourceAction};
use super::operation::{Guard, Operation, Work};
use super::order::{Node, Parts, arrange};
use super::reason::Reason;
use super::release::{
    ChartChanges, DesiredResource, Problem, RecordedResource, ReleaseContext, ReleaseRecord, ReleaseSection,
    add_causes, deleted, read_record, record_digest, removed_files, what_differs, without_run,
};
use super::sensitive::Sensitive;
use crate::chart::HookEvent;
use crate::digest::Sha224Digest;
use crate::observed::{Preview, WantedResource};

/// How a target names resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Files of a folder: `RELEASE/kind-name.yaml`.
    #[default]
    Folder,
    /// Objects of a cluster: `NAMESPACE/KIND.GROUP/NAME`, with `-` as the namespace of cluster-scoped kinds.
    Cluster,
}

/// The marks of what belongs to a release. Source: Helm 3.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const RELEASE_NAME: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Returns the path of a resource in a cluster; the version of its API is no part of what it is.
pub fn cluster_path(resource: &DesiredResource) -> String {
    let group = resource.api_version.split_once('/').map_or("", |(group, _)| group);
    path_of(group, &resource.kind, resource.namespace.as_deref(), &resource.name)
}

pub(super) fn path_of(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{}/{kind}{dot}{group}/{name}", namespace.unwrap_or("-"))
}

/// Groups whose kinds moved to others: an object of one stands in the other too. Source: Kubernetes 1.16 and 1.22.
const MOVED: [(&str, &str, &str); 7] = [
    ("extensions", "Deployment", "apps"),
    ("extensions", "DaemonSet", "apps"),
    ("extensions", "ReplicaSet", "apps"),
    ("extensions", "Ingress", "networking.k8s.io"),
    ("extensions", "NetworkPolicy", "networking.k8s.io"),
    ("extensions", "PodSecurityPolicy", "policy"),
    ("", "Event", "events.k8s.io"),
];

/// Returns the path under which servers serve an object now.
pub(super) fn served_path(path: &str) -> String {
    let mut parts = path.splitn(3, '/');
    let (Some(namespace), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return path.to_owned();
    };
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    match MOVED.iter().find(|(from, moved, _)| (*from, *moved) == (group, kind)) {
        Some((_, _, to)) => format!("{namespace}/{kind}.{to}/{name}"),
        None => path.to_owned(),
    }
}

/// Says whether one of these records is of a revision that was deployed.
pub fn was_ever_deployed(history: &[Value]) -> bool {
    let ever = |r: &Value| r.pointer("/info/status").is_some_and(|s| s == "deployed" || s == "superseded");
    history.iter().any(ever)
}

/// Says what a deploy after these records is.
fn deploy_type(history: &[Value]) -> DeployType {
    if was_ever_deployed(history) { DeployType::Upgrade } else { DeployType::Install }
}

/// Returns what the target is asked: the manifests as they would be written, and what was recorded and is not wanted any more.
pub fn wanted_resources(
    desired: &[DesiredResource],
    hooks: &[DesiredHook],
    record: &ReleaseRecord,
    previous: Option<&ReleaseRecord>,
) -> Vec<WantedResource> {
    let mut wanted: BTreeMap<String, Option<String>> =
        previous.iter().flat_map(|p| p.resources.keys()).map(|path| (served_path(path), None)).collect();
    let namespace = namespace_resource(&record.namespace);
    // Where a hook has the place of a resource, the resource is asked about.
    let hooks = hooks.iter().map(|hook| &hook.resource);
    for resource in std::iter::once(&namespace).chain(hooks).chain(desired) {
        wanted.insert(cluster_path(resource), Some(written(resource, record).to_string()));
    }
    wanted.into_iter().map(|(path, manifest)| WantedResource { path, manifest }).collect()
}

/// The namespace of the release, which is made when it is not there, and belongs to nobody.
pub(super) fn namespace_resource(name: &str) -> DesiredResource {
    DesiredResource {
        api_version: "v1".into(),
        kind: "Namespace".into(),
        namespace: None,
        name: name.to_owned(),
        text: String::new(),
        data: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        place: None,
        hidden: false,
        belongs: false,
    }
}

/// Returns the replicas that a workload gets when it is made, where others set them later.
pub(super) fn replicas_on_creation(data: &Value) -> Option<u64> {
    let text = data.get("metadata")?.get("annotations")?.get("werf.io/replicas-on-creation")?.as_str()?;
    text.trim().parse().ok()
}

/// Says whether a manifest sets replicas once, which others set later.
pub(super) fn leaves_replicas(manifest: &Value) -> bool {
    replicas_on_creation(manifest).is_some() && manifest.pointer("/spec/replicas").is_some()
}

/// Sets the replicas of a manifest, or leaves them to others.
pub(super) fn with_replicas(mut data: Value, replicas: Option<Value>) -> Value {
    if let Some(spec) = data.get_mut("spec").and_then(Value::as_object_mut) {
        match replicas {
            Some(replicas) => drop(spec.insert("replicas".into(), replicas)),
            None => drop(spec.shift_remove("replicas")),
        }
    }
    data
}

/// Returns a manifest as it is written: with its namespace and the marks of the release.
pub(super) fn written(resource: &DesiredResource, record: &ReleaseRecord) -> Value {
    let mut data = resource.data.clone();
    drop_unsaid(&mut data);
    let Some(metadata) = data.as_object_mut().map(|o| object_in(o, "metadata")) else { return data };
    match &resource.namespace {
        Some(namespace) => metadata.insert("namespace".into(), namespace.clone().into()),
        None => metadata.shift_remove("namespace"),
    };
    if resource.belongs {
        object_in(metadata, "labels").insert(MANAGED_BY.into(), "Helm".into());
        let annotations = object_in(metadata, "annotations");
        annotations.insert(RELEASE_NAME.into(), record.release.clone().into());
        annotations.insert(RELEASE_NAMESPACE.into(), record.namespace.clone().into());
    }
    if replicas_on_creation(&data).is_some() { with_replicas(data, None) } else { data }
}

/// Drops what a manifest does not say: fields that are null, which nobody shall own, and its status. In objects of other
/// groups a null may mean something.
fn drop_unsaid(data: &mut Value) {
    let group = data.get("apiVersion").and_then(Value::as_str).and_then(|v| v.split_once('/')).map_or("", |(g, _)| g);
    let is_native = !group.contains('.') || group.ends_with(".k8s.io");
    let is_definition = group == "apiextensions.k8s.io";
    if let Some(map) = data.as_object_mut().filter(|_| is_native) {
        map.shift_remove("status");
        // There nothing is an empty text. Source: Kubernetes, Secrets.
        for text in map.get_mut("stringData").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            if text.is_null() {
                *text = Value::String(String::new());
            }
        }
    }
    if is_native && !is_definition {
        drop_nulls(data);
    } else if let Some(metadata) = data.get_mut("metadata") {
        drop_nulls(metadata);
    }
}

/// Bounded: manifests that nest deeper are not read.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn object_in<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key.to_owned()).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made an object")
}

/// Says whether a live object carries the marks of a release.
pub(super) fn is_ours(live: &Value, record: &ReleaseRecord) -> bool {
    let mark = |of: &str, key: &str| live.get("metadata")?.get(of)?.get(key)?.as_str();
    mark("labels", MANAGED_BY) == Some("Helm")
        && mark("annotations", RELEASE_NAME) == Some(&record.release)
        && mark("annotations", RELEASE_NAMESPACE) == Some(&record.namespace)
}

/// A number that nobody counts to was written by hand.
pub(super) fn no_next_revision(release: &str) -> Problem {
    let message = format!("its last record has the number {}, after which there is none: delete that record", u64::MAX);
    Problem { address: format!("release {release}"), place: None, message }
}

/// Plans the resources of a release over what the API server says of them.
pub(super) fn plan_cluster(
    desired: &[DesiredResource],
    context: &ReleaseContext<'_>,
    previews: &BTreeMap<String, Preview>,
) -> ReleaseSection {
    let previous = read_record(context.fact);
    let recorded: BTreeMap<String, _> = recorded_manifests(&context.fact.history)
        .into_iter()
        .map(|(path, found)| (served_path(&path), found))
        .collect();
    let mut record = ReleaseRecord { version: 1, ..context.record.clone() };
    let mut section = ReleaseSection::default();
    let last = previous.as_ref().map_or(0, |p| p.revision).max(context.fact.last_revision);
    match last.checked_add(1) {
        Some(next) => record.revision = next,
        None => section.problems.push(no_next_revision(&record.release)),
    }
    let open = format!("open:{}", record.release);
    let mut changes: Option<ChartChanges> = None;
    let mut paths = BTreeSet::new();
    let nothing = Preview::default();
    let mut stays: Vec<Guard> = Vec::new();
    let mut nodes: Vec<Node<'_>> = Vec::new();
    let mut deletes: Vec<Operation> = Vec::new();
    let mut going: Vec<Going> = Vec::new();
    let mut before_open = None;
    let now = if context.rollback.is_some() { DeployType::Rollback } else { deploy_type(&context.fact.history) };
    // What the last run left unready is looked at again.
    let watch = is_unfinished(&context.fact.history);

    let scalers = scalers(desired);
    let namespace = namespace_resource(&record.namespace);
    let declared = desired.iter().any(|r| r.kind == "Namespace" && r.name == namespace.name);
    let missing = previews.get(&cluster_path(&namespace)).is_some_and(|p| p.live.is_none());
    let first = (missing && !declared).then_some(&namespace);
    for resource in first.into_iter().chain(desired) {
        let path = cluster_path(resource);
        paths.insert(path.clone());
        let preview = previews.get(&path).unwrap_or(&nothing);
        if resource.belongs {
            let digest =
                if resource.is_secret() { String::new() } else { record_digest(&recorded_text(&resource.text)) };
            let recorded = RecordedResource { address: resource.address(), digest };
            record.resources.insert(path.clone(), recorded);
        }
        let was_ours = previous.as_ref().is_some_and(|p| p.resources.contains_key(&path)) || !resource.belongs;
        let before = recorded.get(&served_path(&path)).map(|(_, text)| text.as_str());
        let (directives, _) = read_directives(&resource.data);
        let scaled_by = scalers.get(&(resource.namespace.as_deref(), &*resource.kind, &*resource.name));
        let scaled_by = scaled_by.map(String::as_str);
        let considered =
            Considered { resource, preview, recorded: before, was_ours, directives: &directives, scaled_by };
        let Decision { mut plan, problems, blocks, risks } = decide(&considered, &record, context);
        let as_recorded = |b: &str| without_run(b) == without_run(&recorded_text(&resource.text));
        let is_applied = !watch && before.is_some_and(as_recorded);
        let stage = directives.stage(now);
        // It would be found failed again at once, though what it failed for may be mended.
        if let Some(why) = &preview.failed {
            make_anew(&mut plan, why, watch);
        }
        follow_policies(&mut plan, resource, &directives, is_applied);
        if stage.is_none() && plan.action != ResourceAction::Noop {
            leave(&mut plan, Reason::NotNow);
        }
        section.risks.extend(risks);
        // Nothing stands in the way of what is not done.
        if plan.action != ResourceAction::Noop {
            section.problems.extend(problems);
            section.blocks.extend(blocks);
        }
        if matches!(plan.action, ResourceAction::Update | ResourceAction::Replace) {
            add_causes(&mut plan, context.images, changes.get_or_insert_with(context.changes));
        }
        context.kept.tell(&mut plan, (resource, before.is_some()), preview);
        if plan.action == ResourceAction::Noop {
            stays.push(guard(&path, preview.stays.as_ref()));
        }
        let phase = match plan.kind.as_str() {
            "Namespace" => 0,
            "CustomResourceDefinition" => 1,
            _ => 2,
        };
        let mut write = (plan.action != ResourceAction::Noop)
            .then(|| write(resource, &path, preview, &record, (plan.action, context.kept)));
        if phase == 0 && resource.name == record.namespace && missing {
            // The record is kept in it.
            before_open = write.take().map(|write| Operation { needs: context.after.clone(), ..write });
        }
        let is_watched = watch && plan.action == ResourceAction::Noop && preview.live.is_some();
        let stage = stage.unwrap_or_default();
        nodes.push(Node { resource, directives, stage, phase, write, watch: is_watched });
        section.resources.push(plan);
    }
    let (before, after) = match now {
        DeployType::Install => (HookEvent::PreInstall, HookEvent::PostInstall),
        DeployType::Rollback => (HookEvent::PreRollback, HookEvent::PostRollback),
        DeployType::Upgrade | DeployType::Delete | DeployType::Test => (HookEvent::PreUpgrade, HookEvent::PostUpgrade),
    };
    let runs = |hook: &&DesiredHook| hook.hook.events.iter().any(|event| *event == before || *event == after);
    let mut wanted: BTreeSet<String> = paths.iter().map(|path| served_path(path)).collect();
    let mut clashes = Vec::new();
    for hook in context.hooks.iter().filter(runs).filter(|_| !context.no_hooks) {
        let path = served_path(&cluster_path(&hook.resource));
        // What became a hook is made anew by it.
        if !wanted.insert(path.clone()) && previews.get(&path).is_some_and(|preview| preview.live.is_some()) {
            clashes.push(Problem {
                address: hook.resource.address(),
                place: hook.resource.place.clone(),
                message:
                    "it is a resource of the release and a hook as well: each would replace the other; give the hook \
                          another name"
                        .into(),
            });
        }
    }
    let mut gone_before: Vec<(usize, Value)> = Vec::new();
    for (path, gone) in previous.iter().flat_map(|p| &p.resources).filter(|(path, _)| !paths.contains(*path)) {
        // The same object may be known under another group.
        let path = &served_path(path);
        if wanted.contains(path) {
            continue;
        }
        let preview = previews.get(path).unwrap_or(&nothing);
        let Some(live) = &preview.live else { continue };
        if !is_ours(live, &record) {
            continue;
        }
        let old = recorded.get(path).and_then(|(_, text)| (context.parse)(text));
        // With its own namespace all would go that is in it, and the record of the release.
        let is_own = *path == cluster_path(&namespace);
        if is_own || is_kept(live) || old.as_ref().is_some_and(is_kept) {
            let mut plan = deleted(gone, live);
            (plan.action, plan.fields) = (ResourceAction::Noop, Vec::new());
            plan.reasons = vec![Reason::NotDeclared, Reason::Kept];
            section.resources.push(plan);
            continue;
        }
        let mut plan = deleted(gone, live);
        going.push(Going::new(&plan, old.as_ref(), Some(live)));
        gone_before.extend(old.map(|old| (section.resources.len(), old)));
        let removed = removed_files(changes.get_or_insert_with(context.changes));
        plan.reasons.splice(0..0, removed);
        let work = Work::DeleteResource { address: plan.address(), path: path.clone() };
        // Of what no manifest wants there is one content.
        let guards = vec![guard(path, preview.stays.as_ref().or(preview.content.as_ref()))];
        deletes.push(Operation { id: format!("delete:{path}"), needs: Vec::new(), guards, work });
        section.resources.push(plan);
    }
    rename(&mut section.resources, &gone_before, desired);
    let together = consequences(&section.resources, desired);
    follow_configs(&mut section.resources, desired);
    section.risks.extend(together);
    section.risks.extend(changes.iter().flat_map(kept_definitions));
    let changes = before_open.is_some() || !deletes.is_empty() || nodes.iter().any(|n| n.write.is_some());
    if !changes {
        section.record_reasons = record_reasons(&record, previous.as_ref(), context);
    }
    if changes || !section.record_reasons.is_empty() {
        let run = |event| {
            if context.no_hooks { HookRun::default() } else { run_hooks(context.hooks, event, &record) }
        };
        if context.no_hooks {
            section.risks.extend([before, after].into_iter().flat_map(|event| left_hooks(context.hooks, event)));
        } else {
            section.problems.extend(clashes);
        }
        let (before, after) = (run(before), run(after));
        section.hooks.extend(before.plans.into_iter().chain(after.plans));
        section.problems.extend(hook_problems(&section.hooks, context.hooks, previews));
        let parts = Parts {
            open: open.clone(),
            nodes,
            deletes: in_turn(deletes, &going),
            hooks_before: before.operations,
            hooks_after: after.operations,
            namespace: &record.namespace.clone(),
        };
        let (operations, problems) = arrange(parts);
        section.problems.extend(problems);
        let mut payload = match context.rollback {
            Some(recorded) => rollback_record(recorded, &record),
            None => helm_record(desired, context.hooks, &record, &context.chart),
        };
        let fitted = fit(&mut payload, &record, desired);
        section.risks.extend(fitted.risk);
        section.problems.extend(fitted.problem);
        let (mut open, close) = records(open, &operations, &payload, &record, previous.as_ref(), context);
        // What stays as it is must be so when the first write begins.
        if !missing && !declared {
            let path = cluster_path(&namespace);
            open.guards.extend(previews.get(&path).map(|preview| guard(&path, preview.stays.as_ref())));
        }
        open.guards.extend(stays);
        if let Some(first) = before_open {
            open.needs.push(first.id.clone());
            section.operations.push(first);
        }
        section.operations.push(open);
        section.operations.extend(operations);
        section.operations.push(close);
    }
    section
}

/// Hooks that the server would not take.
pub(super) fn hook_problems(
    run: &[HookPlan],
    hooks: &[DesiredHook],
    previews: &BTreeMap<String, Preview>,
) -> Vec<Problem> {
    let runs = |hook: &&DesiredHook| run.iter().any(|plan| plan.address() == hook.resource.address());
    let problem = |hook: &DesiredHook| {
        let refused = previews.get(&cluster_path(&hook.resource))?.refused.as_ref()?;
        let message = refused.clone();
        Some(Problem { address: hook.resource.address(), place: hook.resource.place.clone(), message })
    };
    hooks.iter().filter(runs).filter_map(problem).collect()
}

/// Says what a new record would say that the last one does not.
fn record_reasons(
    record: &ReleaseRecord,
    previous: Option<&ReleaseRecord>,
    context: &ReleaseContext<'_>,
) -> Vec<RecordReason> {
    // Who asks for a rollback is given a revision.
    if context.rollback.is_some() {
        return vec![RecordReason::Rollback];
    }
    let history = &context.fact.history;
    let Some(previous) = previous else { return vec![RecordReason::First] };
    if is_unfinished(history) {
        let status = history.last().and_then(|last| last.pointer("/info/status")?.as_str()).unwrap_or_default();
        return vec![RecordReason::Unfinished { status: status.to_owned() }];
    }
    // A record of Helm's knows manifests only.
    let of_helm = previous.project.is_empty();
    let mut reasons = what_differs(previous, record);
    reasons.retain(|reason| *reason != RecordReason::Namespace && (!of_helm || *reason == RecordReason::Manifests));
    if !are_recorded(context.hooks, history.last()) {
        reasons.push(RecordReason::Hooks);
    }
    if !of_helm && !are_values_recorded(&context.chart, history.last()) {
        reasons.push(RecordReason::Values);
    }
    // Of the same files the notes are the same, but for what they say of this very revision.
    if !of_helm && previous.tree != record.tree && !are_notes_recorded(&context.chart, history.last()) {
        reasons.push(RecordReason::Notes);
    }
    reasons
}

/// Returns the operations that open and that record the release.
fn records(
    open: String,
    operations: &[Operation],
    payload: &Value,
    record: &ReleaseRecord,
    previous: Option<&ReleaseRecord>,
    context: &ReleaseContext<'_>,
) -> (Operation, Operation) {
    let payload = payload.to_string();
    let (release, revision) = (release_key(&record.namespace, &record.release), record.revision);
    let mut needs: Vec<String> = operations.iter().map(|o| o.id.clone()).collect();
    needs.push(open.clone());
    let opens = Operation {
        id: open,
        needs: context.after.clone(),
        guards: vec![Guard::ReleaseRevision { release: release.clone(), revision: previous.map(|p| p.revision) }],
        work: Work::OpenRelease { release: release.clone(), revision, payload: Sensitive::new(payload) },
    };
    let records = Operation {
        id: format!("release:{}", record.release),
        needs,
        guards: Vec::new(),
        work: Work::RecordRelease {
            release,
            revision,
            record: serde_json::to_value(record).expect("a record is plain data"),
        },
    };
    (opens, records)
}

/// Returns the name under which a target in a cluster knows a release.
pub fn release_key(namespace: &str, release: &str) -> String {
    format!("{namespace}/{release}")
}

pub(super) fn guard(path: &str, content: Option<&Vec<u8>>) -> Guard {
    let digest = content.map(|content| Sha224Digest::of_bytes(content).to_string());
    Guard::ResourceContent { path: path.to_owned(), digest }
}

fn write(
    resource: &DesiredResource,
    path: &str,
    preview: &Preview,
    record: &ReleaseRecord,
    (action, kept): (ResourceAction, &Kept),
) -> Operation {
    let secret = resource.is_secret();
    let is_whole = action == ResourceAction::Replace;
    let sent = kept.sent(resource).filter(|_| !is_whole);
    let content = kept.whole_content(path).filter(|_| is_whole).or(preview.content.as_ref());
    let manifest = with_first_replicas(written(sent.as_ref().unwrap_or(resource), record), preview, action);
    let leaves_replicas = leaves_replicas(&manifest);
    let manifest = manifest.to_string();
    Operation {
        id: format!("write:{path}"),
        needs: Vec::new(),
        guards: vec![guard(path, content)],
        work: Work::WriteResource {
            address: resource.address(),
            path: path.to_owned(),
            manifest: (!secret).then(|| manifest.clone()),
            sealed: if secret { Sensitive::new(manifest) } else { Sensitive::default() },
            replace: action == ResourceAction::Replace,
            adopt: action == ResourceAction::Update && preview.adopts,
            leaves_replicas,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::ReleaseFact;
    use crate::plan::helm::{ClusterChart, read_history};
    use crate::source::FileId;
    use crate::syntax::yaml;

    fn resource(kind: &str, name: &str) -> DesiredResource {
        let group = if kind == "Deployment" { "apps/v1" } else { "v1" };
        DesiredResource {
            api_version: group.into(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
            text: format!("apiVersion: {group}\nkind: {kind}\nmetadata:\n  name: {name}\n"),
            data: json!({"apiVersion": group, "kind": kind, "metadata": {"name": name}}),
            place: None,
            hidden: false,
            belongs: true,
        }
    }

    fn parse(text: &str) -> Option<Value> {
        yaml::decode(text, FileId(u32::MAX), 0, yaml::Options::HELM).ok().map(|node| node.to_plain())
    }

    fn record() -> ReleaseRecord {
        ReleaseRecord {
            release: "shop".into(),
            namespace: "shop".into(),
            project: "shop".into(),
            ..ReleaseRecord::default()
        }
    }

    fn plan(desired: &[DesiredResource], history: &[Value], previews: &BTreeMap<String, Preview>) -> ReleaseSection {
        plan_with(desired, &[], history, previews)
    }

    fn plan_with(
        desired: &[DesiredResource],
        hooks: &[DesiredHook],
        history: &[Value],
        previews: &BTreeMap<String, Preview>,
    ) -> ReleaseSection {
        let fact = ReleaseFact { history: history.to_vec(), ..ReleaseFact::default() };
        let context = ReleaseContext {
            record: record(),
            fact: &fact,
            images: &[],
            changes: &ChartChanges::default,
            parse: &parse,
            after: vec!["tag:web".into()],
            previews: Some(previews),
            chart: ClusterChart::default(),
            hooks,
            rollback: None,
            force_adoption: false,
            force_conflicts: false,
            no_hooks: false,
            kept: &Kept::default(),
        };
        plan_cluster(desired, &context, previews)
    }

    /// What a server says that has these objects as they are wanted.
    fn standing(desired: &[DesiredResource]) -> BTreeMap<String, Preview> {
        let namespace = namespace_resource("shop");
        let all = desired.iter().chain(std::iter::once(&namespace));
        let preview = |r: &DesiredResource| {
            let object = Some(written(r, &record()));
            Preview { live: object.clone(), after: object, content: Some(vec![1]), ..Preview::default() }
        };
        all.map(|r| (cluster_path(r), preview(r))).collect()
    }

    fn deployed(section: &ReleaseSection) -> Value {
        let payload = section
            .operations
            .iter()
            .find_map(|o| if let Work::OpenRelease { payload, .. } = &o.work { payload.reveal() } else { None });
        let mut release: Value = serde_json::from_str(payload.unwrap()).unwrap();
        release["info"] = json!({"status": "deployed"});
        release
    }

    fn ids(section: &ReleaseSection) -> Vec<(&str, Vec<&str>)> {
        section.operations.iter().map(|o| (o.id.as_str(), o.needs.iter().map(String::as_str).collect())).collect()
    }

    #[test]
    fn what_a_manifest_does_not_say_is_not_sent() {
        let resource = |data: Value| DesiredResource {
            api_version: String::new(),
            kind: String::new(),
            namespace: Some("n".into()),
            name: "x".into(),
            text: String::new(),
            data,
            place: None,
            hidden: false,
            belongs: false,
        };
        let record = ReleaseRecord::default();
        let sent = |data: Value| written(&resource(data), &record);
        let web = sent(json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 1},
            "metadata": {"name": "x", "creationTimestamp": null},
            "spec": {"replicas": null, "template": {"spec": {"tolerations": null, "containers": [{"env": null}, null]}}}}));
        assert_eq!(
            web,
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "n"},
                "spec": {"template": {"spec": {"containers": [{}, null]}}}})
        );
        let secret = sent(json!({"apiVersion": "v1", "kind": "Secret", "stringData": {"a": null, "b": "x"}}));
        assert_eq!(secret["stringData"], json!({"a": "", "b": "x"}));
        // Where others say what a null means, it is said.
        let app = sent(json!({"apiVersion": "argoproj.io/v1", "kind": "Application", "metadata": {"labels": null},
            "spec": {"values": {"key": null}}}));
        assert_eq!((&app["spec"], app["metadata"].get("labels")), (&json!({"values": {"key": null}}), None));
        let definition =
            sent(json!({"apiVersion": "apiextensions.k8s.io/v1", "spec": {"default": null}, "status": {}}));
        assert_eq!((definition["spec"].get("default"), definition.get("status")), (Some(&Value::Null), None));
    }

    #[test]
    fn kinds_are_written_one_after_the_other_between_the_records() {
        let desired = [resource("ConfigMap", "a"), resource("ConfigMap", "b"), resource("Deployment", "web")];
        let section = plan(&desired, &[], &BTreeMap::from([("-/Namespace/shop".to_owned(), Preview::default())]));
        let expected = [
            ("write:-/Namespace/shop", vec!["tag:web"]),
            ("open:shop", vec!["tag:web", "write:-/Namespace/shop"]),
            ("write:shop/ConfigMap/a", vec!["open:shop"]),
            ("write:shop/ConfigMap/b", vec!["open:shop"]),
            ("write:shop/Deployment.apps/web", vec!["write:shop/ConfigMap/a", "write:shop/ConfigMap/b"]),
            ("await:shop/Deployment.apps/web", vec!["write:shop/Deployment.apps/web"]),
            (
                "release:shop",
                vec![
                    "write:shop/ConfigMap/a",
                    "write:shop/ConfigMap/b",
                    "write:shop/Deployment.apps/web",
                    "await:shop/Deployment.apps/web",
                    "open:shop",
                ],
            ),
        ];
        assert_eq!(ids(&section), expected);
    }

    #[test]
    fn a_job_that_failed_is_made_anew_by_the_next_run() {
        let job = resource("Job", "load");
        let desired = [job];
        let first = plan(&desired, &[], &BTreeMap::new());
        let mut history = [deployed(&first)];
        let mut previews = standing(&desired);
        for preview in previews.values_mut() {
            preview.failed = Some("BackoffLimitExceeded".into());
        }
        assert!(plan(&desired, &history, &previews).operations.is_empty(), "the release is deployed as it is");
        history[0]["info"]["status"] = "failed".into();
        let again = plan(&desired, &history, &previews);
        let of_job = again.resources.iter().find(|r| r.kind == "Job").unwrap();
        assert_eq!(of_job.action, ResourceAction::Replace);
        assert_eq!(of_job.reasons, [Reason::HasFailed { why: "BackoffLimitExceeded".into() }]);
        let replaces = |o: &Operation| matches!(&o.work, Work::WriteResource { replace, .. } if *replace);
        assert!(again.operations.iter().any(replaces));
        // One that still runs, or is done, is waited for as it is.
        previews.values_mut().for_each(|preview| preview.failed = None);
        assert!(!plan(&desired, &history, &previews).operations.iter().any(replaces));
    }

    #[test]
    fn a_release_that_stands_as_recorded_needs_nothing() {
        let desired = [resource("ConfigMap", "a"), resource("Secret", "s")];
        let first = plan(&desired, &[], &BTreeMap::new());
        let history = [deployed(&first)];
        assert_eq!(read_history(&history).unwrap().resources.len(), 2);
        let again = plan(&desired, &history, &standing(&desired));
        assert_eq!((again.operations, again.problems), (vec![], vec![]));
        let mut unfinished = history.clone();
        unfinished[0]["info"]["status"] = "failed".into();
        assert_eq!(ids(&plan(&desired, &unfinished, &standing(&desired))).len(), 2);
    }

    #[test]
    fn what_is_recorded_and_not_wanted_is_deleted_unless_it_is_kept_or_not_ours() {
        let both = [resource("ConfigMap", "a"), resource("ConfigMap", "b")];
        let history = [deployed(&plan(&both, &[], &BTreeMap::new()))];
        let ids_with = |change: &dyn Fn(&mut Value)| {
            let mut previews = standing(&both);
            change(previews.get_mut("shop/ConfigMap/b").unwrap().live.as_mut().unwrap());
            let section = plan(&both[..1], &history, &previews);
            section.operations.iter().map(|o| o.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids_with(&|_| {}), ["open:shop", "delete:shop/ConfigMap/b", "release:shop"]);
        let keep = |live: &mut Value| live["metadata"]["annotations"]["helm.sh/resource-policy"] = "keep".into();
        assert_eq!(ids_with(&keep), ["open:shop", "release:shop"]);
        let other = |live: &mut Value| live["metadata"]["annotations"][RELEASE_NAME] = "other".into();
        assert_eq!(ids_with(&other), ["open:shop", "release:shop"]);
    }

    #[test]
    fn a_revision_after_which_there_is_no_number_is_no_plan() {
        let desired = [resource("Deployment", "web")];
        let mut last = deployed(&plan(&desired, &[], &BTreeMap::new()));
        last["version"] = u64::MAX.into();
        let section = plan(&desired, &[last], &BTreeMap::new());
        assert!(section.problems.iter().any(|p| p.message.contains("18446744073709551615")), "{:?}", section.problems);
    }

    #[test]
    fn what_a_controller_sets_is_not_taken_from_it() {
        let desired = [resource("Deployment", "web")];
        let history = [deployed(&plan(&desired, &[], &BTreeMap::new()))];
        let taken_from = |manager: &str| {
            let mut previews = standing(&desired);
            let web = previews.get_mut("shop/Deployment.apps/web").unwrap();
            web.taken = vec![("spec.replicas".into(), manager.into())];
            web.after.as_mut().unwrap()["spec"] = json!({"replicas": 2});
            plan(&desired, &history, &previews).blocks.len()
        };
        assert_eq!((taken_from("kubectl-scale"), taken_from("kube-controller-manager")), (0, 1));
    }

    #[test]
    fn what_is_not_written_blocks_nothing() {
        let mut secret = resource("Secret", "s");
        let blocks = |secret: &DesiredResource| {
            let desired = [secret.clone()];
            let mut previews = standing(&desired);
            let preview = previews.get_mut("shop/Secret/s").unwrap();
            preview.taken = vec![("data.password".into(), "external-secrets".into())];
            preview.after.as_mut().unwrap()["data"] = json!({"password": "eA=="});
            let blocked = plan(&desired, &[], &previews).blocks.len();
            let preview = previews.get_mut("shop/Secret/s").unwrap();
            preview.refused = Some("no".into());
            (blocked, plan(&desired, &[], &previews).problems.len())
        };
        assert_eq!(blocks(&secret), (1, 1));
        secret.data["metadata"]["annotations"] = json!({"werf.io/resource-policy": "skip-update"});
        assert_eq!(blocks(&secret), (0, 0));
        secret.data["metadata"]["annotations"] = json!({"werf.io/deploy-on": "rollback"});
        assert_eq!(blocks(&secret), (0, 0));
    }

    #[test]
    fn what_another_release_made_its_own_is_not_taken_back_in_silence() {
        let desired = [resource("ConfigMap", "a")];
        let history = [deployed(&plan(&desired, &[], &BTreeMap::new()))];
        let mut previews = standing(&desired);
        let preview = previews.get_mut("shop/ConfigMap/a").unwrap();
        preview.live.as_mut().unwrap()["metadata"]["annotations"][RELEASE_NAME] = "other".into();
        let section = plan(&desired, &history, &previews);
        assert!(section.blocks[0].message.contains("`shop/other`"), "{:?}", section.blocks);
    }

    #[test]
    fn a_text_that_a_record_keeps_in_another_form_is_recorded_all_the_same() {
        for text in
            ["# Source: x\n# Source: y\nkind: ConfigMap\n", "---\nkind: ConfigMap\n", "kind: ConfigMap\r\ndata:\r\n"]
        {
            let mut config = resource("ConfigMap", "a");
            let rest = "apiVersion: v1\nmetadata: {name: a}";
            config.text = format!("{text}{rest}\n");
            let desired = [config];
            let history = [deployed(&plan(&desired, &[], &BTreeMap::new()))];
            let again = plan(&desired, &history, &standing(&desired));
            assert_eq!(again.operations, vec![], "{text:?}");
        }
    }

    fn with_hook(
        desired: &[DesiredResource],
        history: &[Value],
        previews: &BTreeMap<String, Preview>,
    ) -> ReleaseSection {
        let events = vec![HookEvent::PreUpgrade];
        let hook = crate::chart::Hook { events, ..crate::chart::Hook::default() };
        let resource = DesiredResource { belongs: false, ..resource("ConfigMap", "migrate") };
        let hooks = [DesiredHook { resource, hook, weight: 0, source: "shop/templates/hook.yaml".into() }];
        plan_with(desired, &hooks, history, previews)
    }

    #[test]
    fn a_resource_that_becomes_a_hook_is_left_to_the_hook() {
        let both = [resource("ConfigMap", "a"), resource("ConfigMap", "migrate")];
        let history = [deployed(&plan(&both, &[], &BTreeMap::new()))];
        let section = with_hook(&both[..1], &history, &standing(&both));
        let ids: Vec<&str> = section.operations.iter().map(|o| o.id.as_str()).collect();
        assert_eq!(ids, ["open:shop", "hook:pre-upgrade:shop/ConfigMap/migrate", "release:shop"]);
        assert_eq!(section.problems, vec![]);
        let section = with_hook(&both, &history, &standing(&both));
        assert!(section.problems[0].message.contains("a hook as well"), "{:?}", section.problems);
    }

    #[test]
    fn what_the_chart_drops_and_somebody_set_since_is_told() {
        let mut config = resource("ConfigMap", "a");
        config.text += "data:\n  x: '1'\n";
        config.data["data"] = json!({"x": "1"});
        let history = [deployed(&plan(&[config.clone()], &[], &BTreeMap::new()))];
        let desired = [resource("ConfigMap", "a")];
        let mut previews = standing(&[config]);
        let preview = previews.get_mut("shop/ConfigMap/a").unwrap();
        for object in [preview.live.as_mut().unwrap(), preview.after.as_mut().unwrap()] {
            object["data"]["x"] = "2".into();
        }
        preview.managers =
            json!([{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:x": {}}}}]);
        let section = plan(&desired, &history, &previews);
        let told: Vec<&str> = section.risks.iter().map(|risk| risk.message.as_str()).collect();
        assert_eq!(told, ["data.x is in the chart no more, and stays: kubectl-edit set it since; remove it there"]);
        previews.get_mut("shop/ConfigMap/a").unwrap().managers = Value::Null;
        assert_eq!(plan(&desired, &history, &previews).risks, vec![]);
    }
}
