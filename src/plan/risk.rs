//! Consequences: fields that force a replacement, restarts of pods, and what deserves a second look.

use serde_json::Value;

use crate::analysis::hazards::field_hazard;

use super::model::{FieldChange, FieldOp, ResourceAction, ResourcePlan, Restart, Risk, RiskLevel};

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
    let template = fields.iter().any(|f| f.path.starts_with("spec.template."));
    if !workload || !(template || action == ResourceAction::Replace) {
        return None;
    }
    let pods = match kind {
        "DaemonSet" => None,
        _ => Some(desired.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)),
    };
    let field = if kind == "Deployment" { "/spec/strategy/type" } else { "/spec/updateStrategy/type" };
    let strategy = desired.pointer(field).and_then(Value::as_str).unwrap_or("RollingUpdate").to_owned();
    let recreated = action == ResourceAction::Replace || strategy == "Recreate";
    let single_stateful = kind == "StatefulSet" && pods == Some(1) && strategy == "RollingUpdate";
    let downtime = (recreated || single_stateful) && pods != Some(0);
    (pods != Some(0) && strategy != "OnDelete").then_some(Restart { pods, strategy, downtime })
}

/// Returns what deserves a second look about one resource.
pub fn risks(plan: &ResourcePlan) -> Vec<Risk> {
    let mut found = Vec::new();
    let mut add = |code: &str, level, path: Option<&str>, message: String| {
        let path = path.map(str::to_owned);
        found.push(Risk { code: code.to_owned(), level, address: plan.address(), path, message });
    };
    match plan.action {
        ResourceAction::Delete if holds_data(&plan.kind) => {
            add("data-loss", RiskLevel::Danger, None, format!("deleting a {} deletes data", plan.kind));
        }
        ResourceAction::Replace => {
            let paths = plan.replace_paths.join(", ");
            let level = if holds_data(&plan.kind) { RiskLevel::Danger } else { RiskLevel::Warning };
            add("replace", level, None, format!("{paths} cannot change in place: it is deleted and created again"));
        }
        ResourceAction::Create | ResourceAction::Update | ResourceAction::Delete | ResourceAction::Noop => {}
    }
    if let Some(restart) = plan.restart.as_ref().filter(|r| r.downtime) {
        let why = format!("all pods stop before new ones start ({})", restart.strategy);
        add("downtime", RiskLevel::Warning, None, why);
    }
    for field in plan.fields.iter().filter(|f| f.op != FieldOp::Remove) {
        if let Some((code, level, message)) = field_risk(&plan.kind, field, plan.action) {
            add(code, level, Some(&field.path), message);
        }
    }
    found
}

fn holds_data(kind: &str) -> bool {
    matches!(
        kind,
        "PersistentVolumeClaim" | "PersistentVolume" | "StatefulSet" | "Namespace" | "CustomResourceDefinition"
    )
}

fn field_risk(kind: &str, field: &FieldChange, action: ResourceAction) -> Option<(&'static str, RiskLevel, String)> {
    let path = field.path.as_str();
    let last = path.rsplit('.').next().unwrap_or(path);
    if let Some(hazard) = field_hazard(kind, path, &field.after) {
        let level = if hazard.grave { RiskLevel::Danger } else { RiskLevel::Warning };
        return Some(("privilege", level, hazard.message));
    }
    match (kind, last) {
        ("Service", "type") if field.after == "LoadBalancer" || field.after == "NodePort" => {
            Some(("exposure", RiskLevel::Info, format!("reachable from outside the cluster ({})", field.after)))
        }
        ("Ingress", "host") => Some(("exposure", RiskLevel::Info, format!("reachable under the host {}", field.after))),
        (_, "replicas") if path == "spec.replicas" && action == ResourceAction::Update && field.after == 0 => {
            Some(("downtime", RiskLevel::Warning, "scaled to no pods".into()))
        }
        _ => None,
    }
}
