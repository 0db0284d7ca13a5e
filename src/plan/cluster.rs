//! Planning a release in a cluster: what the API server would make of each manifest, in which order, and the record.
//!
//! What lives here: paths of resources in a cluster, what the server is asked, and the plan over its answers. What does not:
//! Helm's record of a release (`helm`), requests (`backend`), and the folder of manifests (`release`).
//!
//! The one idea: a change is the difference between the live object and what a dry run of the server answers. What the
//! server adds by itself stands on both sides, and is no change.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::diff::{diff, redact};
use super::directives::{DeletePolicy, Directives, ResourcePolicy, read_directives};
use super::helm::{are_notes_recorded, fit, helm_record, is_unfinished, recorded_manifests, rollback_record};
use super::hooks::{DesiredHook, HookPlan, are_recorded, run_hooks};
use super::model::{FieldChange, ResourceAction, ResourcePlan};
use super::operation::{Guard, Operation, Work};
use super::order::{Node, Parts, arrange};
use super::reason::Reason;
use super::release::{
    ChartChanges, DesiredResource, Problem, RecordedResource, ReleaseContext, ReleaseRecord, ReleaseSection,
    add_causes, deleted, read_record, removed_files,
};
use super::risk::{immutable_fields, restart};
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

fn path_of(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    format!("{}/{kind}{dot}{group}/{name}", namespace.unwrap_or("-"))
}

/// Returns what the target is asked: the manifests as they would be written, and what was recorded and is not wanted any more.
pub fn wanted_resources(
    desired: &[DesiredResource],
    record: &ReleaseRecord,
    previous: Option<&ReleaseRecord>,
) -> Vec<WantedResource> {
    let mut wanted: BTreeMap<String, Option<String>> =
        previous.iter().flat_map(|p| p.resources.keys()).map(|path| (path.clone(), None)).collect();
    let namespace = namespace_resource(&record.namespace);
    for resource in std::iter::once(&namespace).chain(desired) {
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

/// Returns a manifest as it is written: with its namespace and the marks of the release.
pub(super) fn written(resource: &DesiredResource, record: &ReleaseRecord) -> Value {
    let mut data = resource.data.clone();
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
    data
}

fn object_in<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let value = map.entry(key.to_owned()).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut().expect("it was just made an object")
}

/// Beginnings of the names of those whose changes a release sets back: people and their tools. A controller is none of them.
const TOOLS: [&str; 8] = ["kubectl", "helm", "Helm", "werf", "nelm", "terraform", "before-first-apply", "stagewright"];

fn may_be_taken_from(manager: &str) -> bool {
    TOOLS.iter().any(|tool| manager.starts_with(tool))
}

/// Says whether a live object carries the marks of a release.
pub(super) fn is_ours(live: &Value, record: &ReleaseRecord) -> bool {
    let mark = |of: &str, key: &str| live.get("metadata")?.get(of)?.get(key)?.as_str();
    mark("labels", MANAGED_BY) == Some("Helm")
        && mark("annotations", RELEASE_NAME) == Some(&record.release)
        && mark("annotations", RELEASE_NAMESPACE) == Some(&record.namespace)
}

/// Plans the resources of a release over what the API server says of them.
pub(super) fn plan_cluster(
    desired: &[DesiredResource],
    context: &ReleaseContext<'_>,
    previews: &BTreeMap<String, Preview>,
) -> ReleaseSection {
    let previous = read_record(context.fact);
    let recorded = recorded_manifests(&context.fact.history);
    let mut record = ReleaseRecord { version: 1, ..context.record.clone() };
    record.revision = previous.as_ref().map_or(0, |p| p.revision) + 1;
    let mut section = ReleaseSection::default();
    let open = format!("open:{}", record.release);
    let mut changes: Option<ChartChanges> = None;
    let mut paths = BTreeSet::new();
    let nothing = Preview::default();
    let mut stays: Vec<Guard> = Vec::new();
    let mut nodes: Vec<Node<'_>> = Vec::new();
    let mut deletes: Vec<Operation> = Vec::new();
    let mut before_open = None;
    // What the last run left unready is looked at again.
    let watch = is_unfinished(&context.fact.history);

    let namespace = namespace_resource(&record.namespace);
    let declared = desired.iter().any(|r| r.kind == "Namespace" && r.name == namespace.name);
    let missing = previews.get(&cluster_path(&namespace)).is_some_and(|p| p.live.is_none());
    let first = (missing && !declared).then_some(&namespace);
    for resource in first.into_iter().chain(desired) {
        let path = cluster_path(resource);
        paths.insert(path.clone());
        let preview = previews.get(&path).unwrap_or(&nothing);
        if resource.belongs {
            let recorded = RecordedResource { address: resource.address(), digest: resource.digest() };
            record.resources.insert(path.clone(), recorded);
        }
        let was_ours = previous.as_ref().is_some_and(|p| p.resources.contains_key(&path)) || !resource.belongs;
        let problem = match (&preview.refused, &preview.live) {
            (Some(refused), _) => Some(refused.clone()),
            (None, Some(live)) if !was_ours && !is_ours(live, &record) => {
                Some(format!("it is in the cluster already, and no part of the release `{}`", record.release))
            }
            (None, _) => {
                preview.taken.iter().find(|(_, manager)| !may_be_taken_from(manager)).map(|(field, manager)| {
                    format!("`{field}` is set by `{manager}`, which would set it again: leave it out of the manifest")
                })
            }
        };
        if let Some(message) = problem {
            section.problems.push(Problem { address: resource.address(), place: resource.place.clone(), message });
        }
        let before = recorded.get(&path).map(|(_, text)| text.as_str());
        let (directives, _) = read_directives(&resource.data);
        let mut plan = resource_plan(resource, preview, before, context);
        let is_applied = !watch && before.is_some_and(|b| b.trim() == resource.text.trim());
        follow_policies(&mut plan, resource, &directives, is_applied);
        if matches!(plan.action, ResourceAction::Update | ResourceAction::Replace) {
            add_causes(&mut plan, context.images, changes.get_or_insert_with(context.changes));
        }
        if plan.action == ResourceAction::Noop {
            stays.push(guard(&path, preview.stays.as_ref()));
        }
        let phase = match plan.kind.as_str() {
            "Namespace" => 0,
            "CustomResourceDefinition" => 1,
            _ => 2,
        };
        let mut write =
            (plan.action != ResourceAction::Noop).then(|| write(resource, &path, preview, &record, plan.action));
        if phase == 0 && resource.name == record.namespace && missing {
            // The record is kept in it.
            before_open = write.take().map(|write| Operation { needs: context.after.clone(), ..write });
        }
        let is_watched = watch && plan.action == ResourceAction::Noop && preview.live.is_some();
        nodes.push(Node { resource, directives, phase, write, watch: is_watched });
        section.resources.push(plan);
    }
    for (path, gone) in previous.iter().flat_map(|p| &p.resources).filter(|(path, _)| !paths.contains(*path)) {
        let preview = previews.get(path).unwrap_or(&nothing);
        let Some(live) = &preview.live else { continue };
        if !is_ours(live, &record) {
            continue;
        }
        if is_kept(live) || recorded.get(path).and_then(|(_, text)| (context.parse)(text)).is_some_and(|o| is_kept(&o))
        {
            let mut plan = deleted(gone, live);
            (plan.action, plan.fields) = (ResourceAction::Noop, Vec::new());
            plan.reasons = vec![Reason::NotDeclared, Reason::Kept];
            section.resources.push(plan);
            continue;
        }
        let mut plan = deleted(gone, live);
        let removed = removed_files(changes.get_or_insert_with(context.changes));
        plan.reasons.splice(0..0, removed);
        let work = Work::DeleteResource { address: plan.address(), path: path.clone() };
        let guards = vec![guard(path, preview.content.as_ref())];
        deletes.push(Operation { id: format!("delete:{path}"), needs: Vec::new(), guards, work });
        section.resources.push(plan);
    }
    let changes = before_open.is_some() || !deletes.is_empty() || nodes.iter().any(|n| n.write.is_some());
    // Who asks for a rollback is given a revision.
    if changes || context.rollback.is_some() || !is_recorded(&record, previous.as_ref(), context) {
        let ever = |r: &Value| r.pointer("/info/status").is_some_and(|s| s == "deployed" || s == "superseded");
        let upgrades = context.fact.history.iter().any(ever);
        let (before, after) = if context.rollback.is_some() {
            (HookEvent::PreRollback, HookEvent::PostRollback)
        } else if upgrades {
            (HookEvent::PreUpgrade, HookEvent::PostUpgrade)
        } else {
            (HookEvent::PreInstall, HookEvent::PostInstall)
        };
        let (before, after) = (run_hooks(context.hooks, before, &record), run_hooks(context.hooks, after, &record));
        section.hooks.extend(before.plans.into_iter().chain(after.plans));
        section.problems.extend(hook_problems(&section.hooks, context.hooks, previews));
        let parts = Parts {
            open: open.clone(),
            nodes,
            deletes,
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

/// Says whether an object stays when its release does not want it any more.
pub(super) fn is_kept(object: &Value) -> bool {
    let policy = |key: &str| object.get("metadata")?.get("annotations")?.get(key)?.as_str();
    let words = |key: &str| policy(key).into_iter().flat_map(|text| text.split(',').map(str::trim));
    words("helm.sh/resource-policy").any(|word| word == "keep")
        || words("werf.io/resource-policy").any(|word| matches!(word, "keep" | "skip-delete"))
}

/// Changes what happens to a resource as it says itself.
fn follow_policies(plan: &mut ResourcePlan, resource: &DesiredResource, directives: &Directives, is_applied: bool) {
    let skips = |policy| directives.resource_policies.contains(&policy);
    let deletes = |policy| directives.delete_policies.contains(&policy);
    // A job that ran and was cleaned up afterwards is not run again for nothing.
    let cleans_up = plan.kind == "Job" && resource.data.pointer("/spec/ttlSecondsAfterFinished").is_some();
    let stays = match plan.action {
        ResourceAction::Create => {
            skips(ResourcePolicy::SkipCreate) || (is_applied && (cleans_up || deletes(DeletePolicy::Succeeded)))
        }
        ResourceAction::Update => {
            if deletes(DeletePolicy::BeforeCreation) && !skips(ResourcePolicy::SkipRecreate) {
                plan.action = ResourceAction::Replace;
                return;
            }
            skips(ResourcePolicy::SkipUpdate)
        }
        ResourceAction::Replace => skips(ResourcePolicy::SkipRecreate),
        ResourceAction::Delete | ResourceAction::Noop => false,
    };
    if stays {
        plan.action = ResourceAction::Noop;
        plan.fields.clear();
        plan.replace_paths.clear();
        plan.drift.clear();
        plan.restart = None;
        plan.reasons = vec![Reason::Kept];
    }
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

/// Says whether the last record says all that a new one would.
fn is_recorded(record: &ReleaseRecord, previous: Option<&ReleaseRecord>, context: &ReleaseContext<'_>) -> bool {
    let Some(previous) = previous.filter(|_| !is_unfinished(&context.fact.history)) else { return false };
    // A record of Helm's knows manifests only.
    let of_helm = previous.project.is_empty();
    previous.resources == record.resources
        && are_recorded(context.hooks, context.fact.history.last())
        && (of_helm
            || are_notes_recorded(&context.chart, context.fact.history.last())
                && (&previous.images, &previous.values, &previous.env) == (&record.images, &record.values, &record.env))
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
    action: ResourceAction,
) -> Operation {
    let secret = resource.hidden || super::diff::is_sensitive(&resource.kind);
    let manifest = written(resource, record).to_string();
    Operation {
        id: format!("write:{path}"),
        needs: Vec::new(),
        guards: vec![guard(path, preview.content.as_ref())],
        work: Work::WriteResource {
            address: resource.address(),
            path: path.to_owned(),
            manifest: (!secret).then(|| manifest.clone()),
            sealed: if secret { Sensitive::new(manifest) } else { Sensitive::default() },
            replace: action == ResourceAction::Replace,
            adopt: action == ResourceAction::Update && preview.adopts,
        },
    }
}

fn resource_plan(
    resource: &DesiredResource,
    preview: &Preview,
    recorded: Option<&str>,
    context: &ReleaseContext<'_>,
) -> ResourcePlan {
    let mut plan = ResourcePlan {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        action: ResourceAction::Noop,
        source: resource.place.clone(),
        fields: Vec::new(),
        replace_paths: Vec::new(),
        drift: Vec::new(),
        restart: None,
        reasons: Vec::new(),
    };
    let Some(live) = &preview.live else {
        plan.action = ResourceAction::Create;
        plan.fields = diff(&Value::Null, &resource.data);
        plan.reasons.push(Reason::NotInTarget);
        redact(&plan.kind, &mut plan.fields);
        return plan;
    };
    let old = recorded.and_then(context.parse);
    let in_chart = old.as_ref().map(|old| diff(old, &resource.data));
    if preview.immutable.is_empty() {
        if preview.after.as_ref().is_none_or(|after| after == live) {
            plan.reasons.push(Reason::Unchanged);
            return plan;
        }
        plan.action = ResourceAction::Update;
        plan.fields = diff(live, preview.after.as_ref().unwrap_or(live));
    } else {
        plan.action = ResourceAction::Replace;
        // The server refused to say what it would be.
        plan.fields = in_chart.clone().unwrap_or_else(|| diff(live, &resource.data));
        plan.replace_paths = immutable_fields(&plan.kind, &plan.fields);
        if plan.replace_paths.is_empty() {
            plan.replace_paths.clone_from(&preview.immutable);
        }
        plan.reasons.extend(plan.replace_paths.iter().map(|p| Reason::ImmutableField { path: p.clone() }));
    }
    if let Some(in_chart) = &in_chart {
        plan.drift = plan.fields.iter().filter(|f| !in_chart.iter().any(|c| touches(f, c))).cloned().collect();
        if !plan.drift.is_empty() {
            plan.reasons.push(Reason::Drift { paths: plan.drift.iter().map(|f| f.path.clone()).collect() });
        }
    }
    plan.restart = restart(&plan.kind, preview.after.as_ref().unwrap_or(live), &plan.fields, plan.action);
    redact(&plan.kind, &mut plan.fields);
    redact(&plan.kind, &mut plan.drift);
    plan
}

/// Says whether one change lies within the other.
fn touches(a: &FieldChange, b: &FieldChange) -> bool {
    let within = |long: &str, short: &str| {
        long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    // A Secret is written in clear and kept encoded.
    let encoded = |path: &str| path.replacen("stringData", "data", 1);
    let (a, b) = (encoded(&a.path), encoded(&b.path));
    within(&a, &b) || within(&b, &a)
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
            hooks: &[],
            rollback: None,
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
    fn kinds_are_written_one_after_the_other_between_the_records() {
        let desired = [resource("ConfigMap", "a"), resource("ConfigMap", "b"), resource("Deployment", "web")];
        let section = plan(&desired, &[], &BTreeMap::from([("-/Namespace/shop".to_owned(), Preview::default())]));
        let expected = [
            ("write:-/Namespace/shop", vec!["tag:web"]),
            ("open:shop", vec!["tag:web", "write:-/Namespace/shop"]),
            ("write:shop/ConfigMap/a", vec!["open:shop"]),
            ("write:shop/ConfigMap/b", vec!["open:shop", "write:shop/ConfigMap/a"]),
            ("write:shop/Deployment.apps/web", vec!["write:shop/ConfigMap/b"]),
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
    fn what_a_controller_sets_is_not_taken_from_it() {
        let desired = [resource("Deployment", "web")];
        let history = [deployed(&plan(&desired, &[], &BTreeMap::new()))];
        let taken_from = |manager: &str| {
            let mut previews = standing(&desired);
            let web = previews.get_mut("shop/Deployment.apps/web").unwrap();
            web.taken = vec![("spec.replicas".into(), manager.into())];
            plan(&desired, &history, &previews).problems.len()
        };
        assert_eq!((taken_from("kubectl-scale"), taken_from("kube-controller-manager")), (0, 1));
    }
}
