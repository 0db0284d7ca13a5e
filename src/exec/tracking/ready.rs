//! Whether a live object is ready, by the rules of its kind.
//!
//! The one idea: nothing counts that the object says of an older generation. Source: kubedog, kstatus and Helm 4, and where
//! they differ the stricter of them.

use serde_json::Value;

use crate::plan::Until;
use crate::ports::Sight;

/// Where a resource stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It is ready; a note where that is not the whole truth.
    Ready(Option<String>),
    /// Not yet: how many of how many, and why.
    Waiting {
        /// How many parts are ready, of how many; nothing where it has none.
        of: Option<(u64, u64)>,
        /// What it waits for.
        why: String,
    },
    /// It says something of itself, and not whether it is ready: an older controller may never say so.
    Silent(String),
    /// It will not be.
    Failed(String),
}

/// Judges what is seen of a resource.
pub fn judge(sight: &Sight, until: Until) -> Stand {
    if until == Until::Gone {
        return gone(sight);
    }
    let Some(object) = &sight.object else { return waiting("it is not there") };
    let kind = text(object, "/kind").unwrap_or_default();
    if text(object, "/metadata/deletionTimestamp").is_some() && kind != "Namespace" {
        // A Job that is cleaned up as soon as it ends says how it ended.
        let end = ended(object).filter(|_| kind == "Job" && until != Until::Present);
        return end.unwrap_or_else(|| waiting("it is being deleted"));
    }
    match until {
        Until::Present => return Stand::Ready(None),
        Until::Finished if !matches!(kind, "Job" | "Pod") => return Stand::Ready(None),
        Until::Finished | Until::Ready | Until::Gone => {}
    }
    let version = text(object, "/apiVersion").unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, kind) {
        ("apps", "Deployment") => seen(object).unwrap_or_else(|| deployment(object)),
        ("apps", "StatefulSet") => seen(object).unwrap_or_else(|| stateful_set(object)),
        ("apps", "DaemonSet") => seen(object).unwrap_or_else(|| daemon_set(object)),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => seen(object).unwrap_or_else(|| replicas(object)),
        ("batch", "Job") => job(object, until),
        ("", "Pod") => pod(object, until),
        ("", "PersistentVolumeClaim") => claim(object, sight),
        ("", "Service") => service(object),
        ("", "Namespace") => match text(object, "/status/phase") {
            Some("Active") => Stand::Ready(None),
            phase => waiting(&format!("it is {}", phase.unwrap_or("not active"))),
        },
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => by_condition(object, "Available", &[]),
        ("flagger.app", "Canary") => by_word(
            object,
            "/status/phase",
            &["Initialized", "Succeeded"],
            &["Failed"],
            text(object, "/status/conditions/0/message"),
        ),
        ("argoproj.io", "Rollout") => seen(object).unwrap_or_else(|| rollout(object)),
        ("", _) => Stand::Ready(None),
        _ => custom(group, kind, object),
    }
}

/// What holds an object that is deleted are its finalizers.
fn gone(sight: &Sight) -> Stand {
    let Some(object) = &sight.object else { return Stand::Ready(None) };
    let list = object.pointer("/metadata/finalizers").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = list.filter_map(Value::as_str).collect();
    // A namespace goes when all in it is gone.
    let parts = object.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let left = parts.filter(|c| is(c, "/status", "True")).find_map(|c| {
        let held = ["NamespaceContentRemaining", "NamespaceFinalizersRemaining"];
        held.iter().any(|kind| is(c, "/type", kind)).then(|| text(c, "/message"))?
    });
    match (names.as_slice(), left) {
        (_, Some(left)) => waiting(left),
        ([], None) => waiting("it is being deleted"),
        (names, None) => waiting(&format!("held by the finalizer {}", names.join(", "))),
    }
}

fn waiting(why: &str) -> Stand {
    Stand::Waiting { of: None, why: why.to_owned() }
}

fn counted(ready: u64, want: u64, why: &str) -> Stand {
    Stand::Waiting { of: Some((ready, want)), why: why.to_owned() }
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str)
}

pub(super) fn is(object: &Value, pointer: &str, wanted: &str) -> bool {
    text(object, pointer) == Some(wanted)
}

pub(super) fn number(object: &Value, pointer: &str) -> u64 {
    object.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

fn wanted_replicas(object: &Value) -> u64 {
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

/// Says that the controller has not seen the last change yet; nothing where it has, or never says so.
fn seen(object: &Value) -> Option<Stand> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_u64)?;
    let observed = match object.pointer("/status/observedGeneration") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => None,
    };
    (observed.is_none_or(|observed| observed < generation)).then(|| waiting(UNSEEN))
}

/// What is waited for while a status speaks of an older generation.
const UNSEEN: &str = "its controller has not seen the change yet";

/// Finds a condition.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| text(condition, "/type").is_some_and(|t| t.eq_ignore_ascii_case(kind)))
}

fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| is(c, "/status", "True"))
}

/// Says why, as a condition has it.
pub(super) fn told(condition: &Value) -> String {
    match (text(condition, "/reason"), text(condition, "/message")) {
        (Some(reason), Some(message)) if !message.is_empty() => format!("{reason}: {message}"),
        (Some(reason), _) if !reason.is_empty() => reason.to_owned(),
        (_, Some(message)) if !message.is_empty() => message.to_owned(),
        _ => format!(
            "{} is {}",
            text(condition, "/type").unwrap_or("it"),
            text(condition, "/status").unwrap_or("unknown").to_lowercase()
        ),
    }
}

/// Finds the condition of a `Deployment` by which its deadline has passed.
fn deadline(object: &Value) -> Option<&Value> {
    condition(object, "Progressing").filter(|c| is(c, "/reason", "ProgressDeadlineExceeded"))
}

/// Returns when a deadline was said to have passed, and how long it is in seconds.
pub(super) fn passed_deadline(object: &Value) -> Option<(&str, u64)> {
    let said = text(deadline(object)?, "/lastUpdateTime").unwrap_or_default();
    let limit = object.pointer("/spec/progressDeadlineSeconds").and_then(Value::as_u64).unwrap_or(600);
    is(object, "/kind", "Deployment").then_some((said, limit))
}

/// Returns a `Deployment` without what it says of its deadline.
pub(super) fn without_deadline(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(conditions) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        conditions.retain(|c| !is(c, "/reason", "ProgressDeadlineExceeded"));
    }
    object
}

fn deployment(object: &Value) -> Stand {
    if let Some(late) = deadline(object) {
        return Stand::Failed(told(late));
    }
    let want = wanted_replicas(object);
    let of = |name: &str| number(object, &format!("/status/{name}"));
    let (all, updated, available) = (of("replicas"), of("updatedReplicas"), of("availableReplicas"));
    if updated == want && all == want && available == want {
        return Stand::Ready(None);
    }
    if object.pointer("/spec/paused").is_some_and(|p| p == true) {
        return Stand::Ready(Some("its rollout is paused".into()));
    }
    let ready = updated.min(available).min(want);
    match condition(object, "ReplicaFailure").filter(|c| is(c, "/status", "True")) {
        Some(failure) => counted(ready, want, &told(failure)),
        None if updated < want => counted(ready, want, "new pods are being made"),
        None if all > updated => counted(ready, want, "old pods are being stopped"),
        None => counted(ready, want, ""),
    }
}

fn stateful_set(object: &Value) -> Stand {
    let want = wanted_replicas(object);
    let of = |name: &str| number(object, &format!("/status/{name}"));
    // Servers before 1.22 do not tell how many are available; the others tell it also where none is.
    let (ready, updated) = (available(object, number(object, "/status/readyReplicas")), of("updatedReplicas"));
    if ready >= want && of("replicas") > want {
        return counted(want, want, SURPLUS);
    }
    let current = text(object, "/status/currentRevision") == text(object, "/status/updateRevision");
    if is(object, "/spec/updateStrategy/type", "OnDelete") {
        return match ready >= want {
            true if current => Stand::Ready(None),
            true => Stand::Ready(Some("its pods change when they are deleted by hand".into())),
            false => counted(ready, want, ""),
        };
    }
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition");
    let fresh = if partition == 0 { current || updated >= want } else { updated >= want.saturating_sub(partition) };
    match (ready >= want, fresh) {
        (true, true) => Stand::Ready((partition > 0).then(|| format!("{partition} pods stay as they were"))),
        (true, false) => counted(updated, want.saturating_sub(partition), "pods are being replaced"),
        (false, _) => counted(ready, want, ""),
    }
}

/// The name under which manifests are applied.
const OURS: &str = "stagewright";

/// What is waited for when a workload has more pods than it shall have.
const SURPLUS: &str = "pods that are not wanted any more are being stopped";

/// Returns how many pods of a workload are ready, and have been for as long as it says; so many where it does not tell.
fn available(object: &Value, untold: u64) -> u64 {
    let ready = number(object, "/status/readyReplicas");
    let available = object.pointer("/status/availableReplicas").and_then(Value::as_u64).unwrap_or(untold);
    if number(object, "/spec/minReadySeconds") > 0 { available.min(ready) } else { ready }
}

fn daemon_set(object: &Value) -> Stand {
    let of = |name: &str| number(object, &format!("/status/{name}"));
    let want = of("desiredNumberScheduled");
    // Where all that there are are of the newest template, as those of a new one, they are waited for.
    let has_older = of("updatedNumberScheduled") < of("currentNumberScheduled");
    if is(object, "/spec/updateStrategy/type", "OnDelete") && has_older {
        return Stand::Ready(Some("its pods change when they are deleted by hand".into()));
    }
    if want == 0 {
        return Stand::Ready(Some("no node takes its pods".into()));
    }
    let ready = of("updatedNumberScheduled").min(of("numberAvailable"));
    if ready >= want { Stand::Ready(None) } else { counted(ready, want, "") }
}

fn replicas(object: &Value) -> Stand {
    // None is not told.
    let (want, ready) = (wanted_replicas(object), available(object, 0));
    match ready >= want {
        true if number(object, "/status/replicas") > want => counted(want, want, SURPLUS),
        true => Stand::Ready(None),
        false => counted(ready, want, ""),
    }
}

/// Says how a Job ended; nothing where it has not.
fn ended(object: &Value) -> Option<Stand> {
    if is_true(object, "Complete") || is_true(object, "SuccessCriteriaMet") {
        return Some(Stand::Ready(None));
    }
    let failed = ["Failed", "FailureTarget"].iter().filter_map(|kind| condition(object, kind));
    let mut failed = failed.filter(|c| is(c, "/status", "True"));
    failed.next().map(|failed| Stand::Failed(told(failed)))
}

fn job(object: &Value, until: Until) -> Stand {
    if let Some(end) = ended(object) {
        return end;
    }
    if object.pointer("/spec/suspend").is_some_and(|s| s == true) {
        // A queue may hold it back, as Kueue does; what comes after a hook must not come before it.
        return match until {
            Until::Finished => waiting("it is suspended: somebody has to let it run"),
            Until::Present | Until::Ready | Until::Gone if is_suspended_by_us(object) => {
                Stand::Ready(Some("it is suspended".into()))
            }
            Until::Present | Until::Ready | Until::Gone => {
                waiting("it is suspended, and not by its manifest: somebody has to let it run")
            }
        };
    }
    let want = object.pointer("/spec/completions").and_then(Value::as_u64).unwrap_or(1);
    let failures = number(object, "/status/failed");
    let why = if failures > 0 { format!("{failures} failed so far") } else { String::new() };
    counted(number(object, "/status/succeeded"), want, &why)
}

/// Says whether what was applied says that a Job is suspended: what somebody else set belongs to them.
fn is_suspended_by_us(object: &Value) -> bool {
    let managers = object.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten();
    let mut ours = managers.filter(|entry| is(entry, "/manager", OURS));
    ours.any(|entry| entry.pointer("/fieldsV1/f:spec/f:suspend").is_some())
}

fn pod(object: &Value, until: Until) -> Stand {
    match text(object, "/status/phase") {
        Some("Succeeded") => Stand::Ready(None),
        Some("Failed") => {
            let parts = ["/status/reason", "/status/message"].map(|p| text(object, p).unwrap_or_default());
            let why = parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(": ");
            Stand::Failed(if why.is_empty() { "the pod failed".into() } else { why })
        }
        _ if until == Until::Ready && is_true(object, "Ready") => Stand::Ready(None),
        phase => waiting(&format!("it is {}", phase.unwrap_or("not seen by a node").to_lowercase())),
    }
}

fn claim(object: &Value, sight: &Sight) -> Stand {
    match text(object, "/status/phase") {
        Some("Bound") => Stand::Ready(None),
        Some("Lost") => Stand::Failed("its volume is lost".into()),
        _ => {
            let uid = text(object, "/metadata/uid");
            let of_it = |e: &&Value| text(e, "/involvedObject/uid") == uid;
            let last = sight.events.iter().rfind(of_it);
            match last.and_then(|e| text(e, "/reason")) {
                // The pod that uses it may be one that this run is to mend.
                Some("WaitForFirstConsumer" | "WaitForPodScheduled") => {
                    Stand::Ready(Some("it is bound when the first pod uses it".into()))
                }
                _ => waiting(last.and_then(|e| text(e, "/message")).unwrap_or("it is not bound")),
            }
        }
    }
}

fn service(object: &Value) -> Stand {
    match text(object, "/spec/type") {
        Some("LoadBalancer") => {
            let has = |p: &str| object.pointer(p).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
            if has("/status/loadBalancer/ingress") || has("/spec/externalIPs") {
                Stand::Ready(None)
            } else {
                waiting("it has no address yet")
            }
        }
        _ => Stand::Ready(None),
    }
}

fn definition(object: &Value) -> Stand {
    if is_true(object, "Established") {
        return Stand::Ready(None);
    }
    match condition(object, "NamesAccepted").filter(|c| is(c, "/status", "False")) {
        Some(refused) => Stand::Failed(told(refused)),
        None => waiting("it is not served yet"),
    }
}

fn rollout(object: &Value) -> Stand {
    let (want, ready) = (wanted_replicas(object), number(object, "/status/availableReplicas"));
    let message = text(object, "/status/message").unwrap_or_default();
    match text(object, "/status/phase") {
        Some("Healthy") => Stand::Ready(None),
        Some("Paused") => Stand::Ready(Some(format!("it is paused {message}").trim_end().to_owned())),
        Some("Degraded") => {
            Stand::Failed(if message.is_empty() { "it is degraded".into() } else { message.to_owned() })
        }
        _ => counted(ready, want, message),
    }
}

/// Says that a condition speaks of an older generation, as those of cert-manager and Gateways tell it themselves.
fn is_stale(object: &Value, condition: &Value) -> bool {
    let observed = condition.get("observedGeneration").and_then(Value::as_u64);
    observed.is_some_and(|observed| observed < number(object, "/metadata/generation"))
}

/// Judges by a condition: true is ready, one of these reasons is a failure.
fn by_condition(object: &Value, kind: &str, failures: &[&str]) -> Stand {
    if let Some(stand) = seen_where_told(object) {
        return stand;
    }
    match condition(object, kind) {
        Some(found) if is_stale(object, found) => waiting(UNSEEN),
        Some(found) if is(found, "/status", "True") => Stand::Ready(None),
        Some(found)
            if failures.iter().any(|f| *f == "*" || is(found, "/reason", f)) && is(found, "/status", "False") =>
        {
            Stand::Failed(told(found))
        }
        Some(found) => waiting(&told(found)),
        None => {
            let why = format!("it does not say whether it is {}", kind.to_lowercase());
            let speaks = object.get("status").and_then(Value::as_object).is_some_and(|status| !status.is_empty());
            // Operators of Prometheus said nothing at all for years.
            let may_never = text(object, "/apiVersion").is_some_and(|v| v.starts_with("monitoring.coreos.com/"));
            if speaks || may_never { Stand::Silent(why) } else { waiting(&why) }
        }
    }
}

/// Judges by one word.
fn by_word(object: &Value, pointer: &str, ready: &[&str], failed: &[&str], why: Option<&str>) -> Stand {
    if let Some(stand) = seen_where_told(object) {
        return stand;
    }
    let word = text(object, pointer).unwrap_or_default();
    let told = match why {
        Some(why) if !why.is_empty() => format!("it is {word}: {why}"),
        _ => format!("it is {word}"),
    };
    match word {
        "" => waiting("it says nothing of itself yet"),
        _ if ready.contains(&word) => Stand::Ready(None),
        _ if failed.contains(&word) => Stand::Failed(told),
        _ => waiting(&told),
    }
}

/// Where an object tells which generation it speaks of, an older one does not count.
fn seen_where_told(object: &Value) -> Option<Stand> {
    object.pointer("/status/observedGeneration")?;
    seen(object)
}

/// Resources of kinds that are not of Kubernetes itself: what is known of some, and for the rest what the conventions say.
fn custom(group: &str, kind: &str, object: &Value) -> Stand {
    match (group, kind) {
        ("acid.zalan.do", "postgresql") => {
            let failed = ["CreateFailed", "UpdateFailed", "DeleteFailed", "SyncFailed", "Invalid"];
            by_word(object, "/status/PostgresClusterStatus", &["Running"], &failed, None)
        }
        ("external-secrets.io", _) => by_condition(object, "Ready", &["*"]),
        ("bitnami.com", "SealedSecret") => by_condition(object, "Synced", &["*"]),
        ("kyverno.io", "Policy" | "ClusterPolicy")
        | ("cert-manager.io", "Certificate" | "Issuer" | "ClusterIssuer") => by_condition(object, "Ready", &[]),
        ("helm.toolkit.fluxcd.io" | "kustomize.toolkit.fluxcd.io", _) => {
            by_condition(object, "Ready", &["InstallFailed", "UpgradeFailed", "RetriesExceeded", "BuildFailed"])
        }
        ("argoproj.io", "Application") => {
            let why = text(object, "/status/health/message");
            by_word(object, "/status/health/status", &["Healthy"], &["Degraded"], why)
        }
        ("argoproj.io", "ApplicationSet") => by_condition(object, "ResourcesUpToDate", &[]),
        ("monitoring.coreos.com", "Prometheus" | "Alertmanager" | "ThanosRuler") => {
            by_condition(object, "Available", &[])
        }
        ("longhorn.io", "Volume") => by_word(object, "/status/state", &["attached", "detached"], &["faulted"], None),
        _ => by_convention(object),
    }
}

/// Judges by the conventions of Kubernetes. Source: kstatus.
pub(super) fn by_convention(object: &Value) -> Stand {
    if let Some(stand) = seen_where_told(object) {
        return stand;
    }
    let now = |kind: &str| condition(object, kind).filter(|c| is(c, "/status", "True") && !is_stale(object, c));
    if let Some(stalled) = now("Stalled") {
        return Stand::Failed(told(stalled));
    }
    if let Some(busy) = now("Reconciling") {
        return waiting(&told(busy));
    }
    match condition(object, "Ready") {
        Some(ready) if is_stale(object, ready) => waiting(UNSEEN),
        Some(ready) if !is(ready, "/status", "True") => waiting(&told(ready)),
        Some(_) | None => Stand::Ready(None),
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "values are written where they are used")]
mod tests {
    use super::*;
    use serde_json::json;

    fn stand(object: Value) -> Stand {
        judge(&Sight { object: Some(object), ..Sight::default() }, Until::Ready)
    }

    fn deployment_with(status: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 3},
            "status": status})
    }

    #[test]
    fn a_deployment_is_ready_when_all_its_pods_are_new_and_available() {
        let all = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
        assert_eq!(stand(deployment_with(all.clone())), Stand::Ready(None));
        let mut old = all.clone();
        old["observedGeneration"] = 1.into();
        assert_eq!(stand(deployment_with(old)), waiting("its controller has not seen the change yet"));
        let mut some = all.clone();
        some["availableReplicas"] = 1.into();
        assert_eq!(stand(deployment_with(some)), counted(1, 3, ""));
        let mut surplus = all.clone();
        surplus["replicas"] = 4.into();
        assert_eq!(stand(deployment_with(surplus)), counted(3, 3, "old pods are being stopped"));
        let mut late = all;
        late["availableReplicas"] = 2.into();
        late["conditions"] = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "timed out"}]);
        assert_eq!(stand(deployment_with(late)), Stand::Failed("ProgressDeadlineExceeded: timed out".into()));
        let mut paused = deployment_with(json!({"observedGeneration": 2}));
        paused["spec"]["paused"] = true.into();
        assert_eq!(stand(paused), Stand::Ready(Some("its rollout is paused".into())));
    }

    #[test]
    fn a_stateful_set_is_ready_when_its_revisions_are_one() {
        let set = |strategy: Value, status: Value| {
            stand(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"generation": 1},
                "spec": {"replicas": 3, "updateStrategy": strategy}, "status": status}))
        };
        let rolling = json!({"type": "RollingUpdate"});
        let status = |ready: u64, updated: u64, revision: &str| {
            json!({"observedGeneration": 1, "readyReplicas": ready, "updatedReplicas": updated,
                "currentRevision": "a", "updateRevision": revision})
        };
        assert_eq!(set(rolling.clone(), status(3, 3, "a")), Stand::Ready(None));
        assert_eq!(set(rolling.clone(), status(3, 1, "b")), counted(1, 3, "pods are being replaced"));
        assert_eq!(set(rolling, status(2, 3, "a")), counted(2, 3, ""));
        let parts = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
        assert_eq!(set(parts.clone(), status(3, 0, "b")), counted(0, 1, "pods are being replaced"));
        assert!(matches!(set(parts, status(3, 1, "b")), Stand::Ready(Some(_))));
        assert!(matches!(set(json!({"type": "OnDelete"}), status(3, 0, "b")), Stand::Ready(Some(_))));
    }

    #[test]
    fn daemon_sets_jobs_pods_and_claims_have_rules_of_their_own() {
        let daemons = |desired: u64, updated: u64, available: u64| {
            stand(json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"generation": 1},
                "status": {"observedGeneration": 1, "desiredNumberScheduled": desired, "updatedNumberScheduled": updated,
                    "numberAvailable": available}}))
        };
        assert_eq!(daemons(2, 2, 2), Stand::Ready(None));
        assert_eq!(daemons(2, 2, 1), counted(1, 2, ""));
        assert!(matches!(daemons(0, 0, 0), Stand::Ready(Some(_))));
        let job = |status: Value| stand(json!({"apiVersion": "batch/v1", "kind": "Job", "status": status}));
        assert_eq!(job(json!({"conditions": [{"type": "Complete", "status": "True"}]})), Stand::Ready(None));
        let failed = json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]);
        assert_eq!(job(json!({"conditions": failed})), Stand::Failed("BackoffLimitExceeded".into()));
        assert_eq!(job(json!({"failed": 2})), counted(0, 1, "2 failed so far"));
        let pod = |until, status: Value| {
            let object = json!({"apiVersion": "v1", "kind": "Pod", "status": status});
            judge(&Sight { object: Some(object), ..Sight::default() }, until)
        };
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        assert_eq!(pod(Until::Ready, ready.clone()), Stand::Ready(None));
        assert_eq!(pod(Until::Finished, ready), waiting("it is running"));
        assert_eq!(pod(Until::Finished, json!({"phase": "Succeeded"})), Stand::Ready(None));
        assert_eq!(pod(Until::Ready, json!({"phase": "Failed", "reason": "Evicted"})), Stand::Failed("Evicted".into()));
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"uid": "u"},
            "status": {"phase": "Pending"}});
        let event = |reason: &str| json!({"involvedObject": {"uid": "u"}, "reason": reason});
        let sight = Sight { object: Some(claim), ..Sight::default() };
        for reason in ["WaitForFirstConsumer", "WaitForPodScheduled"] {
            let seen = Sight { events: vec![event(reason)], ..sight.clone() };
            assert!(matches!(judge(&seen, Until::Ready), Stand::Ready(Some(_))), "{reason}");
        }
        assert_eq!(judge(&Sight { events: Vec::new(), ..sight }, Until::Ready), waiting("it is not bound"));
    }

    #[test]
    fn pods_that_are_not_wanted_any_more_are_waited_for_and_those_that_are_fresh() {
        let of = |kind: &str, spec: Value, status: Value| {
            stand(json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"generation": 1}, "spec": spec,
                "status": status}))
        };
        for kind in ["StatefulSet", "ReplicaSet"] {
            let scaled = |all: u64| {
                of(
                    kind,
                    json!({"replicas": 1}),
                    json!({"observedGeneration": 1, "replicas": all, "readyReplicas": all}),
                )
            };
            assert_eq!((scaled(3), scaled(1)), (counted(1, 1, SURPLUS), Stand::Ready(None)), "{kind}");
            let fresh = |available: Value| {
                let status =
                    json!({"observedGeneration": 1, "replicas": 1, "readyReplicas": 1, "availableReplicas": available});
                of(kind, json!({"replicas": 1, "minReadySeconds": 30}), status)
            };
            assert_eq!(fresh(json!(0)), counted(0, 1, ""), "{kind}");
            assert_eq!(fresh(json!(1)), Stand::Ready(None), "{kind}");
            // Older servers do not tell it of a StatefulSet; of the others it is not told where it is none.
            let untold = if kind == "StatefulSet" { Stand::Ready(None) } else { counted(0, 1, "") };
            assert_eq!(fresh(Value::Null), untold, "{kind}");
        }
        let daemons = |current: u64, updated: u64, available: u64| {
            let status = json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "currentNumberScheduled": current,
                "updatedNumberScheduled": updated, "numberAvailable": available});
            of("DaemonSet", json!({"updateStrategy": {"type": "OnDelete"}}), status)
        };
        assert_eq!(daemons(2, 2, 1), counted(1, 2, ""), "all are new");
        assert_eq!(daemons(1, 1, 0), counted(0, 2, ""), "the rest is being made");
        assert_eq!(daemons(0, 0, 0), counted(0, 2, ""), "all are being made");
        assert!(matches!(daemons(2, 1, 0), Stand::Ready(Some(_))), "nothing is to happen");
    }

    #[test]
    fn jobs_that_are_held_back_or_cleaned_up_are_judged_by_what_they_are_for() {
        let job = |until, suspend: bool, metadata: Value, conditions: Value| {
            let object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"suspend": suspend},
                "status": {"conditions": conditions}});
            judge(&Sight { object: Some(object), ..Sight::default() }, until)
        };
        let held = |until, manager: &str, fields: Value| {
            let entry = json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:spec": fields}});
            job(until, true, json!({"managedFields": [entry]}), json!([]))
        };
        let suspends = || json!({"f:suspend": {}, "f:template": {}});
        assert_eq!(held(Until::Ready, OURS, suspends()), Stand::Ready(Some("it is suspended".into())));
        assert!(
            matches!(held(Until::Finished, OURS, suspends()), Stand::Waiting { .. }),
            "what comes after a hook waits"
        );
        assert!(matches!(held(Until::Ready, "kueue", suspends()), Stand::Waiting { .. }), "a queue lets it run");
        assert!(matches!(held(Until::Ready, OURS, json!({"f:template": {}})), Stand::Waiting { .. }));
        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let cleaned = |kind: &str| {
            job(Until::Finished, false, going.clone(), json!([{"type": kind, "status": "True", "reason": "R"}]))
        };
        assert_eq!(cleaned("Complete"), Stand::Ready(None));
        assert_eq!(cleaned("Failed"), Stand::Failed("R".into()));
        assert_eq!(cleaned("Suspended"), waiting("it is being deleted"));
        let target = json!([{"type": "Failed", "status": "False"}, {"type": "FailureTarget", "status": "True", "reason": "PodFailurePolicy"}]);
        assert_eq!(job(Until::Ready, false, json!({}), target), Stand::Failed("PodFailurePolicy".into()));
    }

    #[test]
    fn a_condition_of_an_older_generation_counts_for_nothing() {
        let of = |version: &str, kind: &str, condition: Value| {
            stand(json!({"apiVersion": version, "kind": kind, "metadata": {"generation": 2},
                "status": {"conditions": [condition]}}))
        };
        let told = |kind: &str, status: &str, observed: u64| json!({"type": kind, "status": status, "reason": "R", "observedGeneration": observed});
        for (version, kind) in [("cert-manager.io/v1", "Certificate"), ("example.com/v1", "Thing")] {
            assert_eq!(of(version, kind, told("Ready", "True", 1)), waiting(UNSEEN), "{kind}");
            assert_eq!(of(version, kind, told("Ready", "True", 2)), Stand::Ready(None), "{kind}");
        }
        assert_eq!(of("external-secrets.io/v1", "ExternalSecret", told("Ready", "False", 1)), waiting(UNSEEN));
        assert_eq!(of("example.com/v1", "Thing", told("Stalled", "True", 1)), Stand::Ready(None));
        assert_eq!(of("example.com/v1", "Thing", told("Stalled", "True", 2)), Stand::Failed("R".into()));
    }

    #[test]
    fn others_are_judged_by_convention_and_never_by_an_old_status() {
        let thing = |generation: u64, status: Value| {
            stand(json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"generation": generation},
                "status": status}))
        };
        let ready = |status: &str| json!([{"type": "Ready", "status": status, "reason": "Why"}]);
        assert_eq!(thing(1, json!({})), Stand::Ready(None));
        assert_eq!(thing(1, json!({"conditions": ready("True")})), Stand::Ready(None));
        assert_eq!(thing(1, json!({"conditions": ready("False")})), waiting("Why"));
        let stale = json!({"observedGeneration": 1, "conditions": ready("True")});
        assert_eq!(thing(2, stale.clone()), waiting("its controller has not seen the change yet"));
        assert_eq!(thing(1, stale), Stand::Ready(None));
        let stalled = json!({"conditions": [{"type": "Stalled", "status": "True", "reason": "Lost"}]});
        assert_eq!(thing(1, stalled), Stand::Failed("Lost".into()));
    }

    #[test]
    fn known_kinds_of_others_have_rules() {
        let of = |version: &str, kind: &str, status: Value| {
            stand(json!({"apiVersion": version, "kind": kind, "metadata": {}, "status": status}))
        };
        let condition =
            |kind: &str, status: &str| json!({"conditions": [{"type": kind, "status": status, "reason": "R"}]});
        assert!(matches!(of("cert-manager.io/v1", "Certificate", json!({})), Stand::Waiting { .. }));
        assert_eq!(of("cert-manager.io/v1", "Certificate", condition("Ready", "True")), Stand::Ready(None));
        assert!(matches!(of("monitoring.coreos.com/v1", "Prometheus", json!({})), Stand::Silent(_)));
        let refused = of("external-secrets.io/v1", "ExternalSecret", condition("Ready", "False"));
        assert_eq!(refused, Stand::Failed("R".into()));
        let degraded = json!({"phase": "Degraded", "message": "no"});
        assert_eq!(of("argoproj.io/v1alpha1", "Rollout", degraded), Stand::Failed("no".into()));
        let failed = json!({"phase": "Failed"});
        assert_eq!(of("flagger.app/v1", "Canary", failed), Stand::Failed("it is Failed".into()));
        let creating = json!({"PostgresClusterStatus": "Creating"});
        assert_eq!(of("acid.zalan.do/v1", "postgresql", creating), waiting("it is Creating"));
    }
}
