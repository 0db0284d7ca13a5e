//! Budgets of disruption: which pods may stop now, and which a plan stops all the same.
//!
//! The one idea: Kubernetes asks budgets for evictions only. Who deletes, replaces, scales or restarts a workload is not held
//! up by them, so that a plan has to say it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::cluster::path_of;
use super::model::{ResourceAction, ResourcePlan, Risk, RiskLevel};
use crate::observed::Preview;

/// Kinds that have pods.
const WORKLOADS: [&str; 7] =
    ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Rollout", "Pod"];

/// What becomes of the pods of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// They go for good.
    Gone,
    /// All stop before new ones start.
    AllAtOnce,
    /// So many stop.
    Fewer(u64),
    /// Some at a time, and new ones start.
    InTurn,
}

fn stop(plan: &ResourcePlan) -> Option<Stop> {
    if !WORKLOADS.contains(&plan.kind.as_str()) {
        return None;
    }
    let scaled = plan.fields.iter().find(|f| f.path == "spec.replicas");
    let fewer = scaled.and_then(|f| f.before.as_u64()?.checked_sub(f.after.as_u64()?)).filter(|n| *n > 0);
    match plan.action {
        ResourceAction::Delete => Some(Stop::Gone),
        ResourceAction::Replace if plan.kind == "Pod" => Some(Stop::AllAtOnce),
        ResourceAction::Replace | ResourceAction::Update => match &plan.restart {
            Some(restart) if restart.downtime => Some(Stop::AllAtOnce),
            Some(_) if fewer.is_none() => Some(Stop::InTurn),
            Some(_) | None => fewer.map(Stop::Fewer),
        },
        ResourceAction::Create | ResourceAction::Noop => None,
    }
}

/// Returns the namespaces of which it matters what may stop: only these are asked about.
pub fn endangered(resources: &[ResourcePlan]) -> BTreeSet<String> {
    resources.iter().filter(|plan| stop(plan).is_some()).filter_map(|plan| plan.namespace.clone()).collect()
}

/// Returns what a plan stops that a budget would keep.
pub fn budget_risks(resources: &[ResourcePlan], previews: &BTreeMap<String, Preview>, budgets: &[Value]) -> Vec<Risk> {
    let goes = |budget: &Value| {
        let is_it = |plan: &ResourcePlan| {
            plan.kind == "PodDisruptionBudget"
                && plan.namespace.as_deref() == text(budget, "/metadata/namespace")
                && Some(&*plan.name) == text(budget, "/metadata/name")
        };
        resources.iter().any(|plan| plan.action == ResourceAction::Delete && is_it(plan))
    };
    let budgets: Vec<&Value> = budgets.iter().filter(|budget| !goes(budget)).collect();
    let mut found = Vec::new();
    for plan in resources {
        let Some(stop) = stop(plan) else { continue };
        let group = plan.api_version.split_once('/').map_or("", |(group, _)| group);
        let path = path_of(group, &plan.kind, plan.namespace.as_deref(), &plan.name);
        let Some(live) = previews.get(&path).and_then(|preview| preview.live.as_ref()) else { continue };
        let of_it = budgets.iter().filter(|budget| {
            text(budget, "/metadata/namespace") == plan.namespace.as_deref()
                && selects(budget, labels(live, &plan.kind))
        });
        found.extend(of_it.filter_map(|budget| risk(plan, stop, live, budget)));
    }
    found
}

fn risk(plan: &ResourcePlan, stop: Stop, live: &Value, budget: &Value) -> Option<Risk> {
    let status = |key: &str| budget.pointer(&format!("/status/{key}")).and_then(Value::as_u64);
    let allowed = status("disruptionsAllowed")?;
    if status("expectedPods") == Some(0) {
        return None;
    }
    let one = (plan.kind == "Pod").then_some(1);
    let all = one.or_else(|| live.pointer("/spec/replicas").and_then(Value::as_u64)).or(status("expectedPods"));
    let all = all.unwrap_or(1);
    let (stopping, what, level) = match stop {
        Stop::Gone => (u64::from(allowed == 0 && all > 0), format!("{} for good", pods(all, "go")), RiskLevel::Warning),
        Stop::AllAtOnce => (all, format!("{} before new ones start", pods(all, "stop")), RiskLevel::Warning),
        Stop::Fewer(n) => (n, format!("{n} of {all} pods stop"), RiskLevel::Warning),
        Stop::InTurn => {
            (u64::from(allowed == 0 && all > 0), format!("{} in turn", pods(all, "restart")), RiskLevel::Info)
        }
    };
    if stopping <= allowed {
        return None;
    }
    let name = text(budget, "/metadata/name").unwrap_or_default();
    let may = match allowed {
        0 => "no pod may".to_owned(),
        1 => "one pod may".to_owned(),
        n => format!("{n} pods may"),
    };
    let health = status("currentHealthy").zip(status("desiredHealthy"));
    let health = health.map_or(String::new(), |(now, wanted)| format!("; {now} healthy, {wanted} needed"));
    Some(Risk {
        code: "disruption".into(),
        level,
        address: plan.address(),
        path: None,
        message: format!("{what}, where by the budget {name} {may} stop now{health}"),
    })
}

fn pods(n: u64, what: &str) -> String {
    if n == 1 { format!("its pod {what}s") } else { format!("all {n} pods {what}") }
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// The labels of the pods that run.
fn labels<'a>(live: &'a Value, kind: &str) -> Option<&'a Value> {
    live.pointer(if kind == "Pod" { "/metadata/labels" } else { "/spec/template/metadata/labels" })
}

/// Says whether a budget counts pods with such labels. Source: Kubernetes; an empty selector means all pods since
/// `policy/v1`, and none before.
fn selects(budget: &Value, labels: Option<&Value>) -> bool {
    let Some(selector) = budget.pointer("/spec/selector").filter(|selector| selector.is_object()) else { return false };
    let of = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let rules = selector.get("matchExpressions").and_then(Value::as_array);
    if wanted.is_none_or(serde_json::Map::is_empty) && rules.is_none_or(Vec::is_empty) {
        return budget.get("apiVersion").is_some_and(|version| version == "policy/v1");
    }
    let holds = |rule: &Value| {
        let Some(key) = text(rule, "/key") else { return false };
        let values = rule.get("values").and_then(Value::as_array);
        let is_in = of(key).is_some_and(|found| values.is_some_and(|values| values.iter().any(|v| v == found)));
        match text(rule, "/operator") {
            Some("In") => is_in,
            Some("NotIn") => !is_in,
            Some("Exists") => of(key).is_some(),
            Some("DoesNotExist") => of(key).is_none(),
            Some(_) | None => false,
        }
    };
    wanted.into_iter().flatten().all(|(key, value)| of(key) == value.as_str()) && rules.into_iter().flatten().all(holds)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::super::model::{FieldChange, FieldOp, Restart};
    use super::super::release::{RecordedResource, deleted};
    use super::*;
    use serde_json::json;

    fn plan(kind: &str, action: ResourceAction) -> ResourcePlan {
        let recorded = RecordedResource { address: format!("shop/{kind}/web"), digest: String::new() };
        let version = if kind == "PodDisruptionBudget" { "policy/v1" } else { "apps/v1" };
        ResourcePlan { action, api_version: version.into(), ..deleted(&recorded, &Value::Null) }
    }

    fn restarting(downtime: bool) -> ResourcePlan {
        let restart = Restart { pods: Some(3), of: Some(3), strategy: "RollingUpdate".into(), downtime };
        ResourcePlan { restart: Some(restart), ..plan("Deployment", ResourceAction::Update) }
    }

    fn scaled(before: u64, after: u64) -> ResourcePlan {
        let field = FieldChange {
            path: "spec.replicas".into(),
            op: FieldOp::Change,
            before: before.into(),
            after: after.into(),
            sensitive: false,
        };
        ResourcePlan { fields: vec![field], ..plan("Deployment", ResourceAction::Update) }
    }

    fn budget(allowed: u64, selector: Value) -> Value {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed, "currentHealthy": 3, "desiredHealthy": 3, "expectedPods": 3}})
    }

    fn told(resources: &[ResourcePlan], budget: Value) -> Vec<(RiskLevel, String)> {
        let live = json!({"spec": {"replicas": 3, "template": {"metadata": {"labels": {"app": "web"}}}}});
        let preview = Preview { live: Some(live), ..Preview::default() };
        let previews = BTreeMap::from([("shop/Deployment.apps/web".to_owned(), preview)]);
        budget_risks(resources, &previews, &[budget]).into_iter().map(|risk| (risk.level, risk.message)).collect()
    }

    fn app() -> Value {
        json!({"matchLabels": {"app": "web"}})
    }

    #[test]
    fn what_stops_though_a_budget_would_keep_it_is_told_with_how_much() {
        let one = |plan: ResourcePlan, allowed: u64| told(&[plan], budget(allowed, app()));
        let by = |may: &str| format!("where by the budget web {may} stop now; 3 healthy, 3 needed");
        let warning = |what: &str, may: &str| vec![(RiskLevel::Warning, format!("{what}, {}", by(may)))];
        let deleted = || plan("Deployment", ResourceAction::Delete);
        assert_eq!(one(deleted(), 0), warning("all 3 pods go for good", "no pod may"));
        assert_eq!(one(deleted(), 1), [], "it is meant to go");
        assert_eq!(one(restarting(true), 1), warning("all 3 pods stop before new ones start", "one pod may"));
        assert_eq!(one(restarting(true), 3), []);
        assert_eq!(one(scaled(3, 1), 1), warning("2 of 3 pods stop", "one pod may"));
        assert_eq!((one(scaled(3, 2), 1), one(scaled(3, 5), 0)), (vec![], vec![]));
        let info = vec![(RiskLevel::Info, format!("all 3 pods restart in turn, {}", by("no pod may")))];
        assert_eq!((one(restarting(false), 0), one(restarting(false), 1)), (info, vec![]));
    }

    #[test]
    fn a_budget_is_for_the_pods_that_it_selects() {
        let is_told = |selector: Value| !told(&[restarting(true)], budget(0, selector)).is_empty();
        let rule = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        assert!(
            is_told(app()) && is_told(json!({})) && is_told(rule("In", &["x", "web"])) && is_told(rule("Exists", &[]))
        );
        assert!(!is_told(json!({"matchLabels": {"app": "db"}})) && !is_told(rule("NotIn", &["web"])));
        assert!(!is_told(rule("DoesNotExist", &[])) && !is_told(rule("Hostile", &[])) && !is_told(Value::Null));
        let old = |selector: Value| {
            let mut budget = budget(0, selector);
            budget["apiVersion"] = "policy/v1beta1".into();
            told(&[restarting(true)], budget)
        };
        assert!(old(json!({})).is_empty() && !old(app()).is_empty());
        let both = [restarting(true), plan("PodDisruptionBudget", ResourceAction::Delete)];
        assert_eq!(told(&both, budget(0, app())), [], "it goes too");
    }

    #[test]
    fn nobody_asks_for_budgets_where_nothing_stops() {
        let asked = |plan: ResourcePlan| !endangered(&[plan]).is_empty();
        assert!(asked(restarting(false)) && asked(scaled(2, 1)) && asked(plan("StatefulSet", ResourceAction::Delete)));
        assert!(!asked(scaled(1, 2)) && !asked(plan("ConfigMap", ResourceAction::Delete)));
        assert!(!asked(plan("Deployment", ResourceAction::Create)) && !asked(plan("Deployment", ResourceAction::Noop)));
    }
}
