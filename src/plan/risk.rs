//! Consequences: fields that force a replacement, restarts of pods, and what deserves a second look.

use serde_json::Value;

use crate::analysis::hazards::field_hazard;

use super::model::{FieldChange, FieldOp, ResourceAction, ResourcePlan, Restart, Risk, RiskLevel};
use super::reason::Reason;

/// Field prefixes that the API server does not change in place, by kind. Source: Kubernetes API validation.
const IMMUTABLE: &[(&str, &[&str])] = &[
    ("Deployment", &["spec.selector"]),
    ("ReplicaSet", &["spec.selector"]),
    ("DaemonSet", &["spec.selector"]),
    ("StatefulSet", &["spec.selector", "spec.serviceName", "spec.volumeClaimTemplates", "spec.podManagementPolicy"]),
    ("Job", &["spec.selector", "spec.template", "spec.completions", "spec.completionMode"]),
    ("Service", &["spec.clusterIP"]),
    (
        "PersistentVolumeClaim",
        &["spec.accessModes", "spec.storageClassName", "spec.volumeName", "spec.selector", "spec.volumeMode"],
    ),
    ("StorageClass", &["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"]),
    ("RoleBinding", &["roleRef"]),
    ("ClusterRoleBinding", &["roleRef"]),
    ("IngressClass", &["spec.controller"]),
    ("Secret", &["type"]),
];

/// Returns the changed fields that force a replacement.
pub fn immutable_fields(kind: &str, fields: &[FieldChange]) -> Vec<String> {
    let prefixes = IMMUTABLE.iter().filter(|(k, _)| *k == kind).flat_map(|(_, list)| list.iter());
    let prefixes: Vec<&&str> = prefixes.collect();
    let within = |path: &str, prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let hit = |f: &&FieldChange| prefixes.iter().any(|p| within(&f.path, p));
    fields.iter().filter(hit).map(|f| f.path.clone()).collect()
}

/// Predicts a restart of pods.
pub fn restart(kind: &str, desired: &Value, fields: &[FieldChange], action: ResourceAction) -> Option<Restart> {
    let workload = matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Rollout");
    // Pods of a ReplicaSet are made of the template once.
    let template = kind != "ReplicaSet" && fields.iter().any(|f| f.path.starts_with("spec.template."));
    if !workload || !(template || action == ResourceAction::Replace) {
        return None;
    }
    let kept = desired.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_u64).unwrap_or(0);
    let pods = match kind {
        "DaemonSet" => None,
        // Those below the partition stay as they are.
        "StatefulSet" if action != ResourceAction::Replace => {
            Some(desired.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1).saturating_sub(kept))
        }
        _ => Some(desired.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)),
    };
    let strategy = desired.pointer(strategy_of(kind)).and_then(Value::as_str).unwrap_or("RollingUpdate").to_owned();
    let orphans = desired.pointer("/metadata/annotations/werf.io~1delete-propagation").is_some_and(|p| p == "Orphan");
    // The pods run on without their owner, and are those of the new one.
    let recreated = (action == ResourceAction::Replace && !orphans) || strategy == "Recreate";
    let single_stateful = kind == "StatefulSet" && pods == Some(1) && kept == 0 && strategy == "RollingUpdate";
    let is_all = |pointer: &str| desired.pointer(pointer).is_some_and(|missing| missing == "100%");
    let all_at_once = strategy == "RollingUpdate"
        && match kind {
            "Deployment" => pods.is_some_and(|n| stops_all(desired, n)),
            "DaemonSet" => is_all("/spec/updateStrategy/rollingUpdate/maxUnavailable"),
            _ => false,
        };
    let downtime = (recreated || single_stateful || all_at_once) && pods != Some(0);
    if orphans && action == ResourceAction::Replace && !template {
        return None;
    }
    (pods != Some(0) && strategy != "OnDelete").then_some(Restart { pods, of: None, strategy, downtime })
}

fn strategy_of(kind: &str) -> &'static str {
    if kind == "Deployment" { "/spec/strategy/type" } else { "/spec/updateStrategy/type" }
}

/// Says whether a rolling update of a Deployment may stop all pods before a new one is there. Source: Kubernetes, which
/// rounds up what may be too many and rounds down what may be missing; where both come to nothing, one may be missing.
fn stops_all(desired: &Value, pods: u64) -> bool {
    // Of a hundred times as many.
    let of = |key: &str| match desired.pointer(&format!("/spec/strategy/rollingUpdate/{key}")) {
        Some(Value::Number(count)) => count.as_u64().unwrap_or(0).saturating_mul(100),
        Some(Value::String(text)) => {
            let share = text.trim_end_matches('%').parse::<u64>().unwrap_or(0);
            if text.ends_with('%') { pods.saturating_mul(share) } else { share.saturating_mul(100) }
        }
        Some(_) | None => pods.saturating_mul(25),
    };
    let (missing, more) = (of("maxUnavailable") / 100, of("maxSurge"));
    let missing = if missing == 0 && more == 0 { 1 } else { missing };
    pods > 0 && missing >= pods
}

/// Returns what deserves a second look about one resource.
pub fn risks(plan: &ResourcePlan) -> Vec<Risk> {
    let mut found = Vec::new();
    let mut add = |code: &str, level, path: Option<&str>, message: String| {
        let path = path.map(str::to_owned);
        found.push(Risk { code: code.to_owned(), level, address: plan.address(), path, message });
    };
    match plan.action {
        ResourceAction::Delete => {
            if let Some((level, message)) = lost(plan) {
                add("data-loss", level, None, message);
            }
        }
        ResourceAction::Replace => {
            let paths = plan.replace_paths.join(", ");
            let why = if plan.reasons.iter().any(|reason| matches!(reason, Reason::HasFailed { .. })) {
                "it failed".to_owned()
            } else if paths.is_empty() {
                "its policy says so".to_owned()
            } else {
                format!("{paths} cannot change in place")
            };
            if plan.kind == "Job" {
                add("rerun", RiskLevel::Info, None, format!("{why}: it runs again"));
            } else {
                let level = if holds_data(&plan.kind) { RiskLevel::Danger } else { RiskLevel::Warning };
                add("replace", level, None, format!("{why}: it is deleted and created again"));
            }
            if let Some((level, message)) = lost(plan).filter(|_| plan.kind != "StatefulSet") {
                add("data-loss", level, None, message);
            }
        }
        ResourceAction::Create | ResourceAction::Update | ResourceAction::Noop => {}
    }
    if let Some(restart) = plan.restart.as_ref().filter(|r| r.downtime) {
        let why = format!("all pods stop before new ones start ({})", restart.strategy);
        add("downtime", RiskLevel::Warning, None, why);
    }
    let is_new_template = plan.fields.iter().any(|f| f.path.starts_with("spec.template."));
    let waits = matches!(plan.kind.as_str(), "StatefulSet" | "DaemonSet") && plan.restart.is_none();
    if plan.action == ResourceAction::Update && waits && is_new_template {
        add("restart-manual", RiskLevel::Info, None, "its pods change when somebody deletes them".into());
    }
    for field in &plan.fields {
        for (code, level, message) in field_risks(&plan.kind, field, plan.action) {
            add(code, level, Some(&field.path), message);
        }
    }
    if let Some(message) = cluster_risk(plan) {
        add("cluster-risk", RiskLevel::Warning, None, message);
    }
    found
}

fn holds_data(kind: &str) -> bool {
    matches!(
        kind,
        "PersistentVolumeClaim" | "PersistentVolume" | "StatefulSet" | "Namespace" | "CustomResourceDefinition"
    )
}

/// Says what is lost with an object.
fn lost(plan: &ResourcePlan) -> Option<(RiskLevel, String)> {
    let was = |path: &str| plan.fields.iter().find(|f| f.path == path).and_then(|f| f.before.as_str());
    let danger = |message: String| Some((RiskLevel::Danger, message));
    match plan.kind.as_str() {
        "StatefulSet" if was("spec.persistentVolumeClaimRetentionPolicy.whenDeleted") != Some("Delete") => {
            Some((RiskLevel::Warning, "its pods stop; the claims of its pods stay, with their data".into()))
        }
        "PersistentVolume" if was("spec.persistentVolumeReclaimPolicy") == Some("Retain") => None,
        "Namespace" => danger("all that is in the namespace is deleted with it".into()),
        "CustomResourceDefinition" => danger("all objects of the kind are deleted with their definition".into()),
        kind if holds_data(kind) => danger(format!("deleting a {kind} deletes data")),
        _ => None,
    }
}

type Found = (&'static str, RiskLevel, String);

fn field_risks(kind: &str, field: &FieldChange, action: ResourceAction) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    if field.op != FieldOp::Remove && !field.sensitive {
        if let Some(hazard) = field_hazard(kind, &field.path, &field.after) {
            let level = if hazard.grave { RiskLevel::Danger } else { RiskLevel::Warning };
            return vec![("privilege", level, hazard.message)];
        }
        found.extend(privilege(kind, field, action == ResourceAction::Create));
        found.extend(exposure(kind, field, action == ResourceAction::Create));
    }
    if matches!(action, ResourceAction::Update | ResourceAction::Replace) && !field.sensitive {
        found.extend(of_change(kind, field));
    }
    found
}

fn last_of(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn privilege(kind: &str, field: &FieldChange, is_new: bool) -> Option<Found> {
    let (path, level) = (field.path.as_str(), RiskLevel::Warning);
    let is = |wanted: &str| field.after == wanted;
    let last = last_of(path);
    match kind {
        // A new role grants nothing yet; one that is bound grants more from now on.
        "Role" | "ClusterRole" if path.starts_with("rules[") && (!is_new || is("*")) => {
            let what = ["verbs", "resources", "apiGroups"].into_iter().find(|what| last.starts_with(what))?;
            let (level, told) = match field.after.as_str() {
                Some("*") => (RiskLevel::Danger, format!("all {what} are granted")),
                _ => (level, format!("{} is granted", shown(&field.after))),
            };
            Some(("privilege", level, told))
        }
        "RoleBinding" | "ClusterRoleBinding" if path.starts_with("subjects[") && last == "name" => {
            Some(("privilege", RiskLevel::Info, format!("{} gets rights", field.after)))
        }
        "RoleBinding" if path == "roleRef.name" && is("cluster-admin") => {
            Some(("privilege", level, "all rights in the namespace are granted".into()))
        }
        _ if last == "allowPrivilegeEscalation" && field.after == true => {
            Some(("privilege", level, "the container may gain privileges".into()))
        }
        _ if last == "runAsUser" && field.after == 0 => Some(("privilege", level, "the container runs as root".into())),
        _ if path.contains(".capabilities.add[") => {
            Some(("privilege", level, format!("the container gets the capability {}", field.after)))
        }
        _ => None,
    }
}

fn exposure(kind: &str, field: &FieldChange, is_new: bool) -> Option<Found> {
    let (path, level) = (field.path.as_str(), RiskLevel::Info);
    match (kind, last_of(path)) {
        ("Service", "type") if field.after == "LoadBalancer" || field.after == "NodePort" => {
            Some(("exposure", level, format!("reachable from outside the cluster ({})", field.after)))
        }
        ("Service", _) if path.starts_with("spec.externalIPs[") => {
            Some(("exposure", level, format!("reachable under {}", field.after)))
        }
        ("Service", _) if path.starts_with("spec.loadBalancerSourceRanges[") => {
            let open = field.after == "0.0.0.0/0" || field.after == "::/0";
            let level = if open { RiskLevel::Warning } else { level };
            Some(("exposure", level, format!("reachable from {}", field.after)))
        }
        ("Ingress", "host") => Some(("exposure", level, format!("reachable under the host {}", field.after))),
        // Of a new one its host says enough.
        ("Ingress", "path") if !is_new => {
            Some(("exposure", level, format!("reachable under the path {}", field.after)))
        }
        _ => None,
    }
}

/// What the change of a field of an object that is there means.
fn of_change(kind: &str, field: &FieldChange) -> Option<Found> {
    use RiskLevel::{Info, Warning};
    let path = field.path.as_str();
    let number = |value: &Value| value.as_u64();
    let change = || format!("{} becomes {}", shown(&field.before), shown(&field.after));
    match (kind, last_of(path)) {
        (_, "replicas") if path == "spec.replicas" => match (number(&field.before), number(&field.after)) {
            (_, Some(0)) => Some(("downtime", Warning, "scaled to no pods".into())),
            (Some(before), Some(after)) if after < before => {
                Some(("scale", Info, format!("{} pods stop", before - after)))
            }
            (Some(before), Some(after)) => Some(("scale", Info, format!("{} more pods start", after - before))),
            (None, _) | (_, None) => None,
        },
        ("Service", "type") if field.before == "LoadBalancer" => {
            Some(("address-change", Warning, "it loses its address outside the cluster".into()))
        }
        ("Service", "clusterIP" | "loadBalancerIP") => Some(("address-change", Warning, change())),
        ("Service", "nodePort") => Some(("address-change", Warning, format!("the port of the nodes: {}", change()))),
        ("Service", _) if path.starts_with("spec.selector") => {
            Some(("traffic-shift", Warning, format!("it leads to other pods: {}", change())))
        }
        ("Service", "externalTrafficPolicy" | "internalTrafficPolicy") => Some(("traffic-shift", Info, change())),
        ("Service", _) if path.starts_with("spec.loadBalancerSourceRanges") && field.op == FieldOp::Remove => {
            Some(("exposure", Warning, format!("the range {} limits access no more", shown(&field.before))))
        }
        ("Ingress", "host") if field.op != FieldOp::Add => Some((
            "unreachable-host",
            Warning,
            format!("not reachable under the host {} any more", shown(&field.before)),
        )),
        ("PersistentVolumeClaim", "storage") => Some(("expand", Info, format!("the volume grows: {}", change()))),
        ("NetworkPolicy", _) => Some(("exposure", Info, format!("who may connect changes: {path}"))),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A webhook that must answer, and is asked about everything, stops the cluster when it is down.
fn cluster_risk(plan: &ResourcePlan) -> Option<String> {
    let is_hook = matches!(plan.kind.as_str(), "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration");
    if !is_hook || plan.action != ResourceAction::Create {
        return None;
    }
    let has = |what: &str| plan.fields.iter().any(|f| f.path.contains(what));
    let ignored = plan.fields.iter().any(|f| last_of(&f.path) == "failurePolicy" && f.after == "Ignore");
    (!ignored && !has(".namespaceSelector") && !has(".objectSelector")).then(|| {
        "the server asks it about objects of all namespaces, and refuses them while it does not answer (failurePolicy Fail)"
            .into()
    })
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::*;
    use crate::plan::RecordedResource;
    use serde_json::json;

    fn plan(kind: &str, action: ResourceAction, fields: &[(&str, Value, Value)]) -> ResourcePlan {
        let recorded = RecordedResource { address: format!("shop/{kind}/x"), digest: String::new() };
        let fields = fields.iter().map(|(path, before, after)| FieldChange {
            path: (*path).to_owned(),
            op: match (before, after) {
                (Value::Null, _) => FieldOp::Add,
                (_, Value::Null) => FieldOp::Remove,
                _ => FieldOp::Change,
            },
            before: before.clone(),
            after: after.clone(),
            sensitive: false,
        });
        let fields: Vec<FieldChange> = fields.collect();
        ResourcePlan { action, fields, ..super::super::release::deleted(&recorded, &Value::Null) }
    }

    fn codes(plan: &ResourcePlan) -> Vec<(String, RiskLevel)> {
        risks(plan).into_iter().map(|risk| (risk.code, risk.level)).collect()
    }

    fn update(kind: &str, path: &str, before: Value, after: Value) -> Vec<(String, RiskLevel)> {
        codes(&plan(kind, ResourceAction::Update, &[(path, before, after)]))
    }

    fn one(code: &str, level: RiskLevel) -> Vec<(String, RiskLevel)> {
        vec![(code.to_owned(), level)]
    }

    #[test]
    fn what_is_lost_with_an_object_is_told() {
        let deleted = |kind: &str, fields: &[(&str, Value, Value)]| codes(&plan(kind, ResourceAction::Delete, fields));
        let danger = one("data-loss", RiskLevel::Danger);
        for kind in ["PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition"] {
            assert_eq!(deleted(kind, &[]), danger, "{kind}");
        }
        assert_eq!(
            deleted("PersistentVolume", &[("spec.persistentVolumeReclaimPolicy", json!("Retain"), Value::Null)]),
            []
        );
        assert_eq!(deleted("StatefulSet", &[]), one("data-loss", RiskLevel::Warning));
        let retention = "spec.persistentVolumeClaimRetentionPolicy.whenDeleted";
        assert_eq!(deleted("StatefulSet", &[(retention, json!("Delete"), Value::Null)]), danger);
        assert_eq!(deleted("ConfigMap", &[]), []);
    }

    #[test]
    fn a_replacement_of_a_job_is_another_run() {
        assert_eq!(codes(&plan("Job", ResourceAction::Replace, &[])), one("rerun", RiskLevel::Info));
        assert_eq!(codes(&plan("Deployment", ResourceAction::Replace, &[])), one("replace", RiskLevel::Warning));
        let claim = codes(&plan("PersistentVolumeClaim", ResourceAction::Replace, &[]));
        assert_eq!(claim, [("replace".to_owned(), RiskLevel::Danger), ("data-loss".to_owned(), RiskLevel::Danger)]);
    }

    fn restarted(kind: &str, spec: Value, action: ResourceAction) -> Option<(Option<u64>, bool)> {
        let object = json!({"spec": spec});
        let fields = plan(kind, action, &[("spec.template.spec.x", json!(1), json!(2))]).fields;
        restart(kind, &object, &fields, action).map(|restart| (restart.pods, restart.downtime))
    }

    #[test]
    fn downtime_follows_from_strategy_and_replicas() {
        let rolling = |replicas: u64, missing: Value| {
            let spec = json!({"replicas": replicas, "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": missing, "maxSurge": 0}}});
            restarted("Deployment", spec, ResourceAction::Update)
        };
        assert_eq!(rolling(4, json!("25%")), Some((Some(4), false)));
        assert_eq!(rolling(3, json!("100%")), Some((Some(3), true)));
        assert_eq!(rolling(2, json!("25%")), Some((Some(2), false)), "one of two may be missing");
        assert_eq!(rolling(1, json!("25%")), Some((Some(1), true)), "where none more may be, one is missing");
        let more =
            json!({"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}}});
        assert_eq!(
            restarted("Deployment", more, ResourceAction::Update),
            Some((Some(1), false)),
            "rounded down to none"
        );
        assert_eq!(rolling(1, json!(1)), Some((Some(1), true)));
        let recreate = json!({"replicas": 2, "strategy": {"type": "Recreate"}});
        assert_eq!(restarted("Deployment", recreate, ResourceAction::Update), Some((Some(2), true)));
        assert_eq!(restarted("Deployment", json!({"replicas": 2}), ResourceAction::Replace), Some((Some(2), true)));
        assert_eq!(restarted("Deployment", json!({"replicas": 0}), ResourceAction::Replace), None);
        assert_eq!(restarted("StatefulSet", json!({"replicas": 1}), ResourceAction::Update), Some((Some(1), true)));
        let on_delete = json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}});
        assert_eq!(restarted("StatefulSet", on_delete, ResourceAction::Update), None);
        assert_eq!(restarted("ReplicaSet", json!({"replicas": 3}), ResourceAction::Update), None);
        let part = |replicas: u64| json!({"replicas": replicas, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
        assert_eq!(restarted("StatefulSet", part(3), ResourceAction::Update), Some((Some(1), false)));
        assert_eq!(restarted("StatefulSet", part(2), ResourceAction::Update), None);
        let all = |missing: &str| json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": missing}}});
        assert_eq!(restarted("DaemonSet", all("100%"), ResourceAction::Update), Some((None, true)));
        assert_eq!(restarted("DaemonSet", all("50%"), ResourceAction::Update), Some((None, false)));
        let manual = update("StatefulSet", "spec.template.spec.x", json!(1), json!(2));
        assert_eq!(manual, one("restart-manual", RiskLevel::Info));
    }

    #[test]
    fn pods_that_are_orphaned_do_not_restart() {
        let object =
            json!({"metadata": {"annotations": {"werf.io/delete-propagation": "Orphan"}}, "spec": {"replicas": 3}});
        let fields =
            plan("StatefulSet", ResourceAction::Replace, &[("spec.serviceName", json!("a"), json!("b"))]).fields;
        assert_eq!(restart("StatefulSet", &object, &fields, ResourceAction::Replace), None);
    }

    #[test]
    fn scaling_is_told() {
        let scaled = |before: u64, after: u64| update("Deployment", "spec.replicas", json!(before), json!(after));
        assert_eq!(scaled(2, 5), one("scale", RiskLevel::Info));
        assert_eq!(scaled(5, 2), one("scale", RiskLevel::Info));
        assert_eq!(scaled(5, 0), one("downtime", RiskLevel::Warning));
    }

    #[test]
    fn addresses_and_traffic_are_told() {
        use RiskLevel::{Info, Warning};
        let service = |path: &str, before: Value, after: Value| update("Service", path, before, after);
        assert_eq!(service("spec.type", json!("LoadBalancer"), json!("ClusterIP")), one("address-change", Warning));
        assert_eq!(service("spec.type", json!("ClusterIP"), json!("NodePort")), one("exposure", Info));
        assert_eq!(service("spec.clusterIP", json!("10.0.0.1"), json!("None")), one("address-change", Warning));
        assert_eq!(service("spec.selector.app", json!("a"), json!("b")), one("traffic-shift", Warning));
        assert_eq!(
            service("spec.loadBalancerSourceRanges[0]", Value::Null, json!("0.0.0.0/0")),
            one("exposure", Warning)
        );
        assert_eq!(
            service("spec.loadBalancerSourceRanges[0]", json!("10.0.0.0/8"), Value::Null),
            one("exposure", Warning)
        );
        let host = update("Ingress", "spec.rules[0].host", json!("a.example"), json!("b.example"));
        assert_eq!(host, [("exposure".to_owned(), Info), ("unreachable-host".to_owned(), Warning)]);
        let claim = update("PersistentVolumeClaim", "spec.resources.requests.storage", json!("1Gi"), json!("2Gi"));
        assert_eq!(claim, one("expand", Info));
    }

    #[test]
    fn rights_that_grow_are_told() {
        use RiskLevel::{Danger, Info, Warning};
        let role = |before: Value, after: Value| update("ClusterRole", "rules[0].verbs[1]", before, after);
        assert_eq!(role(Value::Null, json!("*")), one("privilege", Danger));
        assert_eq!(role(json!("get"), json!("delete")), one("privilege", Warning));
        assert_eq!(role(json!("get"), Value::Null), []);
        let admin = |kind: &str| {
            let fields = [("roleRef.name", Value::Null, json!("cluster-admin"))];
            codes(&plan(kind, ResourceAction::Create, &fields))
        };
        assert_eq!(admin("ClusterRoleBinding"), one("privilege", Danger));
        assert_eq!(admin("RoleBinding"), one("privilege", Warning));
        let subject = update("RoleBinding", "subjects[name=ci].name", Value::Null, json!("ci"));
        assert_eq!(subject, one("privilege", Info));
        let root = "spec.template.spec.containers[name=a].securityContext.runAsUser";
        assert!(update("Deployment", root, json!(1000), json!(0)).contains(&("privilege".to_owned(), Warning)));
    }

    #[test]
    fn a_webhook_that_must_answer_for_all_is_a_risk_of_the_cluster() {
        let hook = |fields: &[(&str, Value, Value)]| {
            codes(&plan("ValidatingWebhookConfiguration", ResourceAction::Create, fields))
        };
        assert_eq!(hook(&[]), one("cluster-risk", RiskLevel::Warning));
        assert_eq!(hook(&[("webhooks[name=a].failurePolicy", Value::Null, json!("Ignore"))]), []);
        assert_eq!(hook(&[("webhooks[name=a].namespaceSelector.matchLabels.x", Value::Null, json!("y"))]), []);
    }
}
