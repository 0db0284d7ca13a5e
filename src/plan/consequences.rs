//! What the changes of several resources mean together: new names, restarts by a checksum, pods that go on with old values.
//!
//! The one idea: nothing here changes what is done; it is what a reviewer would have to put together himself.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{ResourceAction, ResourcePlan, Risk, RiskLevel};
use super::reason::{FileChange, Reason};
use super::release::{ChartChanges, DesiredResource};
use crate::source::Place;

/// Workloads whose pods go on when what they read changes.
const RUNNING: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];

/// Returns the autoscalers of a release by what they scale: namespace, kind and name.
pub(super) fn scalers(desired: &[DesiredResource]) -> BTreeMap<(Option<&str>, &str, &str), String> {
    let is_scaler = |r: &&DesiredResource| matches!(r.kind.as_str(), "HorizontalPodAutoscaler" | "ScaledObject");
    desired
        .iter()
        .filter(is_scaler)
        .filter_map(|resource| {
            let target = resource.data.pointer("/spec/scaleTargetRef")?;
            let kind = target.get("kind").and_then(Value::as_str).unwrap_or("Deployment");
            let scaled = (resource.namespace.as_deref(), kind, target.get("name")?.as_str()?);
            Some((scaled, format!("the {} {}", resource.kind, resource.name)))
        })
        .collect()
}

/// Notes of new resources which of the old ones they are, where nothing but the name is new. `gone` are the deleted ones:
/// their place among the plans, and what was recorded of them.
pub(super) fn rename(plans: &mut [ResourcePlan], gone: &[(usize, Value)], desired: &[DesiredResource]) {
    if gone.is_empty() {
        return;
    }
    let data: BTreeMap<String, &Value> = desired.iter().map(|r| (r.address(), &r.data)).collect();
    let of = |plan: &ResourcePlan| (plan.kind.clone(), plan.namespace.clone());
    for at in 0..plans.len() {
        let Some(plan) = plans.get(at).filter(|p| p.action == ResourceAction::Create) else { continue };
        let Some(new) = data.get(&plan.address()).and_then(|data| body(&plan.kind, data)) else { continue };
        let same = gone.iter().filter_map(|(i, old)| {
            let old_plan = plans.get(*i)?;
            (of(old_plan) == of(plan) && body(&plan.kind, old).as_ref() == Some(&new)).then(|| old_plan.address())
        });
        let same: Vec<String> = same.collect();
        // Of several nobody knows which one is meant.
        let [from] = same.as_slice() else { continue };
        let twins = plans.iter().filter(|p| p.action == ResourceAction::Create && of(p) == of(plan));
        let twins = twins.filter(|p| data.get(&p.address()).and_then(|d| body(&p.kind, d)).as_ref() == Some(&new));
        if twins.count() > 1 {
            continue;
        }
        let from = from.clone();
        if let Some(plan) = plans.get_mut(at) {
            plan.previous_address = Some(from.clone());
            plan.reasons.push(Reason::Renamed { from });
        }
    }
}

/// What a resource is apart from its name: the template of its pods, or all but its metadata.
fn body(kind: &str, data: &Value) -> Option<Value> {
    if RUNNING.contains(&kind) || matches!(kind, "Job" | "CronJob") {
        // The labels of pods hold the name.
        return data.pointer("/spec/template/spec").or(data.pointer("/spec/jobTemplate/spec")).cloned();
    }
    let mut rest = data.as_object()?.clone();
    for key in ["apiVersion", "kind", "metadata"] {
        rest.shift_remove(key);
    }
    (!rest.is_empty()).then(|| Value::Object(rest))
}

/// How pods read a `ConfigMap` or Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// As files, which are renewed.
    Live,
    /// When they start.
    AtStart,
}

/// Returns the `ConfigMap`s and Secrets that the pods of a workload read, by kind and name.
fn configs(data: &Value) -> BTreeMap<(&'static str, String), Use> {
    let mut found: BTreeMap<(&'static str, String), Use> = BTreeMap::new();
    let Some(spec) = data.pointer("/spec/template/spec") else { return found };
    let list = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut add = |kind, source: Option<&Value>, key: &str, how: Use| {
        if let Some(name) = source.and_then(|s| s.get(key)?.as_str()) {
            let known = found.entry((kind, name.to_owned())).or_insert(how);
            *known = how.max(*known);
        }
    };
    let containers: Vec<Value> = ["/containers", "/initContainers"].iter().flat_map(|p| list(spec, p)).collect();
    for container in &containers {
        for env in list(container, "/env") {
            add("ConfigMap", env.pointer("/valueFrom/configMapKeyRef"), "name", Use::AtStart);
            add("Secret", env.pointer("/valueFrom/secretKeyRef"), "name", Use::AtStart);
        }
        for source in list(container, "/envFrom") {
            add("ConfigMap", source.get("configMapRef"), "name", Use::AtStart);
            add("Secret", source.get("secretRef"), "name", Use::AtStart);
        }
    }
    for volume in list(spec, "/volumes") {
        let name = volume.get("name").cloned();
        let mounts = containers.iter().flat_map(|c| list(c, "/volumeMounts"));
        let mut mounts = mounts.filter(|m| m.get("name").cloned() == name);
        // A part of a volume is mounted once and not renewed.
        let how = if mounts.any(|m| m.get("subPath").is_some()) { Use::AtStart } else { Use::Live };
        add("ConfigMap", volume.get("configMap"), "name", how);
        add("Secret", volume.get("secret"), "secretName", how);
        for source in list(&volume, "/projected/sources") {
            add("ConfigMap", source.get("configMap"), "name", how);
            add("Secret", source.get("secret"), "name", how);
        }
    }
    found
}

fn is_changed_config(plan: &ResourcePlan) -> bool {
    matches!(plan.kind.as_str(), "ConfigMap" | "Secret")
        && matches!(plan.action, ResourceAction::Update | ResourceAction::Replace)
        // Labels and annotations are not read by pods.
        && plan.fields.iter().any(|f| !f.path.starts_with("metadata"))
}

/// Returns pairs of a workload and a changed `ConfigMap` or Secret that its pods read.
fn readers<'a>(
    plans: &'a [ResourcePlan],
    desired: &[DesiredResource],
) -> Vec<(&'a ResourcePlan, &'a ResourcePlan, Use)> {
    let changed: Vec<&ResourcePlan> = plans.iter().filter(|plan| is_changed_config(plan)).collect();
    if changed.is_empty() {
        return Vec::new();
    }
    let data: BTreeMap<String, &Value> = desired.iter().map(|r| (r.address(), &r.data)).collect();
    let mut found = Vec::new();
    for workload in plans.iter().filter(|p| RUNNING.contains(&p.kind.as_str())) {
        let Some(data) = data.get(&workload.address()) else { continue };
        let used = configs(data);
        for config in changed.iter().filter(|c| c.namespace == workload.namespace) {
            let kind = if config.kind == "Secret" { "Secret" } else { "ConfigMap" };
            if let Some(how) = used.get(&(kind, config.name.clone())) {
                found.push((workload, *config, *how));
            }
        }
    }
    found
}

/// Returns what deserves a second look of resources together.
pub(super) fn consequences(plans: &[ResourcePlan], desired: &[DesiredResource]) -> Vec<Risk> {
    let mut found = Vec::new();
    for (workload, config, how) in readers(plans, desired) {
        let goes_on = matches!(workload.action, ResourceAction::Noop | ResourceAction::Update);
        if !goes_on || workload.restart.is_some() {
            continue;
        }
        let what = format!("{}/{}", config.kind, config.name);
        let (code, level, message) = match how {
            Use::AtStart => (
                "stale-until-restart",
                RiskLevel::Warning,
                format!(
                    "its pods read {what} when they start, and go on with the old values; a checksum of it in the \
                     annotations of their template restarts them"
                ),
            ),
            Use::Live => (
                "hot-reload",
                RiskLevel::Info,
                format!("its pods see the files of {what} change within a minute or two"),
            ),
        };
        found.push(Risk { code: code.to_owned(), level, address: workload.address(), path: None, message });
    }
    found
}

/// Tells of files of `crds/` that went: what they defined stays.
pub(super) fn kept_definitions(changes: &ChartChanges) -> Vec<Risk> {
    let gone = changes.files.iter().filter_map(|reason| {
        let Reason::File { place, change: FileChange::Removed } = reason else { return None };
        place.file.contains("/crds/").then_some(place)
    });
    let kept = |place: &Place| Risk {
        code: "kept".to_owned(),
        level: RiskLevel::Info,
        address: place.file.clone(),
        path: None,
        message: "definitions of crds/ stay in the cluster, and the objects of their kinds with them".to_owned(),
    };
    gone.map(kept).collect()
}

/// Tells of restarts by a checksum what changed: the `ConfigMap` or Secret, and why that did.
pub(super) fn follow_configs(plans: &mut [ResourcePlan], desired: &[DesiredResource]) {
    let causes: Vec<(String, Reason)> = readers(plans, desired)
        .into_iter()
        .filter(|(workload, _, _)| {
            workload.fields.iter().any(|f| {
                f.path.starts_with("spec.template.metadata.annotations") && f.path.to_lowercase().contains("checksum")
            })
        })
        .map(|(workload, config, _)| {
            let because = config.reasons.clone();
            (workload.address(), Reason::UsesConfig { address: config.address(), because })
        })
        .collect();
    for (address, reason) in causes {
        if let Some(plan) = plans.iter_mut().find(|plan| plan.address() == address) {
            plan.reasons.insert(0, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{FieldChange, FieldOp, RecordedResource, Restart};
    use serde_json::json;

    fn desired(kind: &str, name: &str, data: Value) -> DesiredResource {
        DesiredResource {
            api_version: "v1".into(),
            kind: kind.into(),
            namespace: Some("shop".into()),
            name: name.into(),
            text: String::new(),
            data,
            place: None,
            hidden: false,
            belongs: true,
        }
    }

    fn plan(kind: &str, name: &str, action: ResourceAction, path: &str) -> ResourcePlan {
        let recorded = RecordedResource { address: format!("shop/{kind}/{name}"), digest: String::new() };
        let field = FieldChange {
            path: path.into(),
            op: FieldOp::Change,
            before: json!("1"),
            after: json!("2"),
            sensitive: false,
        };
        let plan = super::super::release::deleted(&recorded, &Value::Null);
        ResourcePlan { action, fields: vec![field], reasons: Vec::new(), ..plan }
    }

    fn web(spec: &Value) -> DesiredResource {
        desired("Deployment", "web", json!({"spec": {"template": {"spec": spec}}}))
    }

    fn told(spec: &Value, restarts: bool) -> Vec<(String, RiskLevel)> {
        let mut workload = plan("Deployment", "web", ResourceAction::Noop, "x");
        workload.restart =
            restarts.then(|| Restart { pods: Some(1), of: None, strategy: "RollingUpdate".into(), downtime: false });
        let plans = [plan("ConfigMap", "c", ResourceAction::Update, "data.k"), workload];
        consequences(&plans, &[web(spec)]).into_iter().map(|risk| (risk.code, risk.level)).collect()
    }

    #[test]
    fn s41_pods_that_read_a_value_when_they_start_go_on_with_the_old_one() {
        let env = json!({"containers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "c"}}]}]});
        let stale = [("stale-until-restart".to_owned(), RiskLevel::Warning)];
        assert_eq!(told(&env, false), stale);
        assert_eq!(told(&env, true), []);
        let volume = |mount: Value| {
            json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}],
                "containers": [{"name": "a", "volumeMounts": [mount]}]})
        };
        assert_eq!(told(&volume(json!({"name": "v", "subPath": "k"})), false), stale);
        assert_eq!(told(&volume(json!({"name": "v"})), false), [("hot-reload".to_owned(), RiskLevel::Info)]);
        assert_eq!(told(&json!({"containers": []}), false), []);
    }

    #[test]
    fn s40_a_restart_by_a_checksum_tells_what_changed() {
        let env = json!({"containers": [{"name": "a", "envFrom": [{"configMapRef": {"name": "c"}}]}]});
        let mut config = plan("ConfigMap", "c", ResourceAction::Update, "data.k");
        config.reasons = vec![Reason::NotNow];
        let path = "spec.template.metadata.annotations[checksum/config]";
        let mut plans = [config, plan("Deployment", "web", ResourceAction::Update, path)];
        follow_configs(&mut plans, &[web(&env)]);
        let because = vec![Reason::NotNow];
        assert_eq!(plans[1].reasons, [Reason::UsesConfig { address: "shop/ConfigMap/c".into(), because }]);
    }

    #[test]
    fn s38_a_resource_is_renamed_where_nothing_but_its_name_is_new() {
        let data = |image: &str, app: &str| {
            json!({"metadata": {"name": app}, "spec": {"template": {"metadata": {"labels": {"app": app}},
                "spec": {"containers": [{"image": image}]}}}})
        };
        let renamed = |old: &Value, new: Value| {
            let mut plans = [
                plan("Deployment", "b", ResourceAction::Create, "x"),
                plan("Deployment", "a", ResourceAction::Delete, "x"),
            ];
            rename(&mut plans, &[(1, old.clone())], &[desired("Deployment", "b", new)]);
            plans[0].previous_address.clone()
        };
        assert_eq!(renamed(&data("x:1", "a"), data("x:1", "b")).as_deref(), Some("shop/Deployment/a"));
        assert_eq!(renamed(&data("x:1", "a"), data("x:2", "b")), None);
    }

    #[test]
    fn autoscalers_are_known_by_what_they_scale() {
        let target = json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}}});
        let all = [desired("HorizontalPodAutoscaler", "auto", target)];
        let found = scalers(&all);
        let who = found.get(&(Some("shop"), "Deployment", "web")).map(String::as_str);
        assert_eq!(who, Some("the HorizontalPodAutoscaler auto"));
    }
}
