//! Deploys that are waited for: order, hooks, dependencies and failures, on a real control plane.
//!
//! The one idea: pods that name the node `nowhere` belong to no kubelet but to the test, which says what becomes of them.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Deploy, Ground, actions};
use crate::cli::Ran;
use crate::services::Cluster;

/// What becomes of a pod, by its name and how often it was asked about; nothing: it stays as it is.
type Fate = dyn Fn(&str, u32) -> Option<Value> + Send + Sync;
/// The same by the whole pod.
type FateOfPod = dyn Fn(&Value, u32) -> Option<Value> + Send + Sync;

/// Plays the kubelet of the node `nowhere` in a namespace.
pub(super) struct Kubelet {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Kubelet {
    pub(super) fn start(cluster: &'static Cluster, namespace: &str, fate: Box<Fate>) -> Self {
        Self::of_pods(cluster, namespace, Box::new(move |pod, nth| fate(pod["metadata"]["name"].as_str()?, nth)))
    }

    pub(super) fn of_pods(cluster: &'static Cluster, namespace: &str, fate: Box<FateOfPod>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, namespace) = (stop.clone(), namespace.to_owned());
        let thread = std::thread::spawn(move || {
            let dir = tempfile::tempdir().unwrap();
            let mut asked: BTreeMap<String, u32> = BTreeMap::new();
            while !ended.load(Ordering::Relaxed) {
                // A pod may be gone or changed a moment later: the next round sees it.
                let _ = catch_unwind(AssertUnwindSafe(|| round(cluster, &namespace, &*fate, &mut asked, dir.path())));
                std::thread::sleep(Duration::from_millis(300));
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

fn round(
    cluster: &Cluster,
    namespace: &str,
    fate: &FateOfPod,
    asked: &mut BTreeMap<String, u32>,
    dir: &std::path::Path,
) {
    for mut pod in cluster.get(&["pods", "-n", namespace])["items"].as_array().unwrap().clone() {
        if pod["spec"]["nodeName"] != "nowhere" {
            continue;
        }
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let force = ["--grace-period=0", "--force", "--wait=false", "--ignore-not-found"];
            cluster.kubectl(&[&["delete", "pod", &name, "-n", namespace], &force[..]].concat());
            continue;
        }
        let nth = asked.entry(pod["metadata"]["uid"].as_str().unwrap().to_owned()).or_default();
        let Some(status) = fate(&pod, *nth) else { continue };
        *nth += 1;
        pod["status"] = status;
        let file = dir.join("pod");
        std::fs::write(&file, pod.to_string()).unwrap();
        let address = format!("/api/v1/namespaces/{namespace}/pods/{name}/status");
        cluster.kubectl(&["replace", "--raw", &address, "-f", file.to_str().unwrap()]);
    }
}

fn container(state: &Value, restarts: u32, ready: bool) -> Value {
    json!([{"name": "main", "image": "example/web:1", "imageID": "", "ready": ready, "restartCount": restarts,
        "state": state, "lastState": if restarts > 0 { json!({"terminated": {"exitCode": 7}}) } else { json!({}) }}])
}

pub(super) fn ready() -> Value {
    let conditions =
        ["Ready", "ContainersReady", "Initialized", "PodScheduled"].map(|t| json!({"type": t, "status": "True"}));
    json!({"phase": "Running", "conditions": conditions,
        "containerStatuses": container(&json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), 0, true)})
}

pub(super) fn finished(code: u32) -> Value {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let end = json!({"terminated": {"exitCode": code, "reason": "Error", "message": "no such table"}});
    json!({"phase": phase, "containerStatuses": container(&end, 0, false)})
}

pub(super) fn waits(reason: &str, message: &str, restarts: u32) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    json!({"phase": "Pending", "containerStatuses": container(&state, restarts, false)})
}

/// What is asked once.
pub(super) fn once(nth: u32, status: Value) -> Option<Value> {
    (nth == 0).then_some(status)
}

/// A workload whose pods are the test's.
pub(super) fn workload(kind: &str, name: &str, annotations: &str) -> String {
    let (version, own) = match kind {
        "Job" => ("batch/v1", "backoffLimit: 0".to_owned()),
        "StatefulSet" => {
            ("apps/v1", format!("serviceName: {name}, replicas: 1, selector: {{matchLabels: {{app: {name}}}}}"))
        }
        _ => ("apps/v1", format!("replicas: 1, selector: {{matchLabels: {{app: {name}}}}}")),
    };
    let labels = if kind == "Job" { String::new() } else { format!("metadata: {{labels: {{app: {name}}}}}, ") };
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {name}\n  annotations: {{{annotations}}}\nspec: {{{own}, template: {{{labels}spec: {{nodeName: nowhere, restartPolicy: {}, containers: [{{name: main, image: example/web:1}}]}}}}}}\n",
        if kind == "Job" { "Never" } else { "Always" }
    )
}

/// A release of these templates alone.
pub(super) fn release(namespace: &str, templates: &[(&str, String)]) -> Option<(Deploy, &'static Cluster)> {
    let cluster = Cluster::shared()?;
    let deploy = Deploy::new(namespace, Ground::Real(cluster));
    for old in ["a", "b", "web", "secret"] {
        deploy.sandbox.write(&format!(".helm/templates/{old}.yaml"), "");
    }
    write(&deploy, templates);
    Some((deploy, cluster))
}

pub(super) fn write(deploy: &Deploy, templates: &[(&str, String)]) {
    for (name, text) in templates {
        deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), text);
    }
    deploy.sandbox.commit("templates");
}

pub(super) fn apply(deploy: &Deploy, expected: i32) -> Ran {
    deploy.run(expected, &["apply", "--auto-approve", "--timeout", "240"])
}

pub(super) fn is_there(deploy: &Deploy, cluster: &Cluster, kind: &str, name: &str) -> bool {
    let found = cluster.kubectl(&["get", kind, name, "-n", &deploy.namespace, "--ignore-not-found", "-o", "name"]);
    !found.is_empty()
}

#[test]
fn s26_a_fresh_release_is_ready_when_apply_ends() {
    let web =
        workload("Deployment", "web", "").replace("nodeName: nowhere, ", "").replace("replicas: 1", "replicas: 2");
    let Some((deploy, cluster)) = release("s26", &[("web", web)]) else { return };
    let ran = apply(&deploy, 0);
    assert!(ran.err.contains("ready s26/Deployment/web"), "{}", ran.err);
    assert_eq!(cluster.get(&["deployment", "web", "-n", "s26"])["status"]["availableReplicas"], 2);
    deploy.assert_no_changes();
}

#[test]
fn s63_an_image_that_is_denied_fails_at_once() {
    let Some((deploy, cluster)) = release(
        "s63",
        &[("web", workload("Deployment", "web", "")), ("x", workload("Job", "x", "werf.io/weight: '5'"))],
    ) else {
        return;
    };
    let denied = |_: &str, nth| once(nth, waits("ErrImagePull", "pull access denied for example/web", 0));
    let _kubelet = Kubelet::start(cluster, "s63", Box::new(denied));
    let ran = apply(&deploy, 1);
    assert!(ran.err.contains("failed: s63/Deployment/web is not ready"), "{}", ran.err);
    assert!(
        ran.err.contains("the image example/web:1 cannot be pulled (ErrImagePull): pull access denied"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("skipped s63/Job/x: it needs"), "{}", ran.err);
    assert!(!is_there(&deploy, cluster, "job", "x"));
    assert_eq!(deploy.records(), ["failed"]);
}

#[test]
fn s63_what_does_not_depend_on_what_failed_goes_on_where_that_is_wanted() {
    let needs = "werf.io/deploy-dependency-web: 'state=ready,kind=Deployment,name=web'";
    let other = "werf.io/deploy-dependency-slow: 'state=ready,kind=Deployment,name=slow'";
    let map = |name: &str, annotation: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations: {{{annotation}}}\n")
    };
    let Some((deploy, cluster)) = release(
        "s63b",
        &[
            ("web", workload("Deployment", "web", "werf.io/fail-mode: HopeUntilEndOfDeployProcess")),
            ("slow", workload("Deployment", "slow", "")),
            ("after-web", map("after-web", needs)),
            ("after-slow", map("after-slow", other)),
        ],
    ) else {
        return;
    };
    // The other one is ready only after this one has failed.
    let fate = |name: &str, nth: u32| match name {
        _ if name.starts_with("web") => once(nth, waits("ErrImagePull", "pull access denied for example/web", 0)),
        _ if nth == 0 => Some(waits("ContainerCreating", "", 0)),
        _ => (nth == 12).then(ready).or_else(|| Some(waits("ContainerCreating", "", 0)).filter(|_| nth < 12)),
    };
    let _kubelet = Kubelet::start(cluster, "s63b", Box::new(fate));
    let ran = deploy.run(1, &["apply", "--auto-approve", "--timeout", "240", "-o", "json"]);
    let outcome: Value = serde_json::from_str(&ran.out).unwrap();
    let all = |key: &str, at: &str| -> Vec<String> {
        let list = outcome[key].as_array().unwrap().iter();
        list.map(|entry| entry.pointer(at).unwrap_or(entry).as_str().unwrap_or_default().to_owned()).collect()
    };
    let done = all("done", "");
    assert!(done.contains(&"await:s63b/Deployment.apps/slow".to_owned()), "{outcome:#}");
    assert!(is_there(&deploy, cluster, "configmap", "after-slow"), "{outcome:#}");
    assert!(!is_there(&deploy, cluster, "configmap", "after-web"));
    assert!(outcome["failed"].to_string().contains("pull access denied"), "{outcome:#}");
    let skipped = all("skipped", "/operation");
    assert!(skipped.contains(&"write:s63b/ConfigMap/after-web".to_owned()), "{outcome:#}");
    assert!(!skipped.iter().any(|id| id.contains("slow")), "{outcome:#}");
    assert_eq!(outcome["skipped"][0]["needs"], "await:s63b/Deployment.apps/web", "{outcome:#}");
    assert_eq!(deploy.records(), ["failed"]);
}

#[test]
fn s64_the_first_crash_is_borne_and_the_second_fails() {
    let Some((deploy, cluster)) = release("s64", &[("web", workload("Deployment", "web", ""))]) else { return };
    // It is asked about every 0.3 s, and looked at every 2 s: each crash is there long enough to be seen.
    let crashes = |_: &str, nth: u32| Some(waits("CrashLoopBackOff", "", if nth < 15 { 1 } else { 2 }));
    let _kubelet = Kubelet::start(cluster, "s64", Box::new(crashes));
    let ran = apply(&deploy, 1);
    assert!(ran.err.contains("web-") && ran.err.contains("CrashLoopBackOff"), "{}", ran.err);
    assert!(ran.err.contains("it crashes: exit code 7"), "{}", ran.err);
}

#[test]
fn s67_a_failed_migration_touches_no_deployment() {
    let hook = workload("Job", "migrate", "helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-5'");
    let templates = [("migrate", hook), ("web", workload("Deployment", "web", ""))];
    let Some((deploy, cluster)) = release("s67", &templates) else { return };
    let failing = Arc::new(AtomicBool::new(true));
    let fails = failing.clone();
    let fate = move |name: &str, nth| {
        let code = u32::from(fails.load(Ordering::Relaxed)) * 3;
        once(nth, if name.starts_with("migrate") { finished(code) } else { ready() })
    };
    let _kubelet = Kubelet::start(cluster, "s67", Box::new(fate));
    let plan = deploy.run(0, &["plan"]).out;
    assert!(plan.contains("run s67/Job/migrate  pre-install, weight -5"), "{plan}");
    let ran = apply(&deploy, 1);
    assert!(ran.err.contains("failed to run s67/Job/migrate"), "{}", ran.err);
    assert!(ran.err.contains("exit code 3: no such table"), "{}", ran.err);
    assert!(!is_there(&deploy, cluster, "deployment", "web"));
    assert!(is_there(&deploy, cluster, "job", "migrate"), "it is kept for its lines");
    assert_eq!(deploy.records(), ["failed"]);

    failing.store(false, Ordering::Relaxed);
    let before = cluster.get(&["job", "migrate", "-n", "s67"])["metadata"]["uid"].clone();
    let ran = apply(&deploy, 0);
    assert!(ran.err.contains("ran s67/Job/migrate"), "{}", ran.err);
    assert_ne!(cluster.get(&["job", "migrate", "-n", "s67"])["metadata"]["uid"], before, "it is made anew");
    deploy.assert_no_changes();
    assert_eq!(deploy.records(), ["failed", "deployed"]);
}

#[test]
fn s68_what_depends_on_another_waits_until_it_is_ready() {
    let waits = "werf.io/deploy-dependency-db: 'state=ready,kind=StatefulSet,name=db'";
    let templates = [("db", workload("StatefulSet", "db", "")), ("app", workload("Deployment", "app", waits))];
    let Some((deploy, cluster)) = release("s68", &templates) else { return };
    let fate = move |name: &str, nth: u32| {
        if name.starts_with("db") && nth == 0 {
            let app = cluster.kubectl(&["get", "deployment", "-n", "s68", "-o", "name"]);
            // Never ready, if the other did not wait.
            return app.is_empty().then(ready);
        }
        once(nth, ready())
    };
    let _kubelet = Kubelet::start(cluster, "s68", Box::new(fate));
    apply(&deploy, 0);
    deploy.assert_no_changes();
    // It is there already: it is looked at, and nothing more.
    let changed = workload("Deployment", "app", waits).replace("web:1", "web:2");
    write(&deploy, &[("app", changed)]);
    let plan = deploy.plan(2);
    let write = plan["operations"].as_array().unwrap().iter().find(|o| o["id"] == "write:s68/Deployment.apps/app");
    assert!(write.unwrap()["needs"].as_array().unwrap().contains(&json!("await:s68/StatefulSet.apps/db")));
    apply(&deploy, 0);
}

#[test]
fn s69_a_cycle_is_told_by_its_path() {
    let on = |kind: &str, name: &str| format!("werf.io/deploy-dependency-x: 'state=ready,kind={kind},name={name}'");
    let templates = [("a", workload("Job", "a", &on("Job", "b"))), ("b", workload("Job", "b", &on("Job", "a")))];
    let Some((deploy, _)) = release("s69", &templates) else { return };
    let ran = deploy.run(1, &["plan"]);
    assert!(ran.err.contains("s69/Job/a waits for s69/Job/b waits for s69/Job/a"), "{}", ran.err);
}

#[test]
fn s70_something_outside_is_waited_for_and_the_message_says_by_whom() {
    let waits = "auth.external-dependency.werf.io/resource: deployments.v1.apps/auth, auth.external-dependency.werf.io/namespace: s70-common";
    let Some((deploy, cluster)) = release("s70", &[("web", workload("Deployment", "web", waits))]) else { return };
    cluster.kubectl(&["create", "namespace", "s70-common"]);
    let file = deploy.sandbox.home().join("auth.yaml");
    std::fs::write(&file, workload("Deployment", "auth", "")).unwrap();
    cluster.kubectl(&["apply", "-n", "s70-common", "-f", file.to_str().unwrap()]);
    let ran = deploy.run(1, &["apply", "--auto-approve", "--timeout", "4"]);
    assert!(ran.err.contains("failed: s70-common/deployments/auth is not ready"), "{}", ran.err);
    assert!(ran.err.contains("s70/Deployment/web waits for it"), "{}", ran.err);
    assert!(!is_there(&deploy, cluster, "deployment", "web"));
    let everybody = |_: &str, nth| once(nth, ready());
    let _theirs = Kubelet::start(cluster, "s70-common", Box::new(everybody));
    let _ours = Kubelet::start(cluster, "s70", Box::new(everybody));
    apply(&deploy, 0);
}

#[test]
fn s73_a_failure_that_is_ignored_is_told() {
    let ignored = "werf.io/fail-mode: IgnoreAndContinueDeployProcess";
    let templates =
        [("web", workload("Deployment", "web", ignored)), ("x", workload("Job", "x", "werf.io/weight: '5'"))];
    let Some((deploy, cluster)) = release("s73", &templates) else { return };
    let fate = |name: &str, nth| {
        once(nth, if name.starts_with("web") { waits("InvalidImageName", "", 0) } else { finished(0) })
    };
    let _kubelet = Kubelet::start(cluster, "s73", Box::new(fate));
    let ran = apply(&deploy, 0);
    assert!(ran.err.contains("warning: s73/Deployment/web is not ready, which is ignored"), "{}", ran.err);
    assert!(ran.err.contains("1 ignored") && ran.err.contains("ready s73/Job/x"), "{}", ran.err);
    assert_eq!(deploy.records(), ["deployed"]);
}

#[test]
fn s33_s34_a_job_runs_again_when_its_template_changed_and_not_when_it_was_cleaned_up() {
    let job = workload("Job", "load", "").replace("backoffLimit: 0", "backoffLimit: 0, ttlSecondsAfterFinished: 3600");
    let Some((deploy, cluster)) = release("s33", &[("load", job.clone())]) else { return };
    let _kubelet = Kubelet::start(cluster, "s33", Box::new(|_: &str, nth| once(nth, finished(0))));
    apply(&deploy, 0);
    cluster.kubectl(&["delete", "job", "load", "-n", "s33"]);
    deploy.assert_no_changes();
    write(&deploy, &[("load", job.replace("web:1", "web:2"))]);
    assert_eq!(actions(&deploy.plan(2)), ["create load"]);
    apply(&deploy, 0);
    let before = cluster.get(&["job", "load", "-n", "s33"])["metadata"]["uid"].clone();
    write(&deploy, &[("load", job.replace("web:1", "web:3"))]);
    assert_eq!(actions(&deploy.plan(2)), ["replace load"]);
    apply(&deploy, 0);
    assert_ne!(cluster.get(&["job", "load", "-n", "s33"])["metadata"]["uid"], before);
}

#[test]
fn a_job_that_failed_runs_again_though_its_template_stays() {
    let Some((deploy, cluster)) = release("rerun", &[("load", workload("Job", "load", ""))]) else { return };
    let failing = Arc::new(AtomicBool::new(true));
    let fails = failing.clone();
    let fate = move |_: &str, nth| once(nth, finished(u32::from(fails.load(Ordering::Relaxed)) * 3));
    let _kubelet = Kubelet::start(cluster, "rerun", Box::new(fate));
    let ran = apply(&deploy, 1);
    assert!(ran.err.contains("exit code 3: no such table"), "{}", ran.err);
    // What it failed for is mended elsewhere.
    failing.store(false, Ordering::Relaxed);
    assert_eq!(actions(&deploy.plan(2)), ["replace load"]);
    let plan = deploy.run(0, &["plan"]).out;
    assert!(plan.contains("it failed (BackoffLimitExceeded), and is made anew"), "{plan}");
    apply(&deploy, 0);
    deploy.assert_no_changes();
}

#[test]
fn s38_what_is_renamed_goes_when_the_new_one_is_ready() {
    let Some((deploy, cluster)) = release("s38", &[("web", workload("Deployment", "a", ""))]) else { return };
    let fate = move |name: &str, nth: u32| {
        let there = || cluster.kubectl(&["get", "deployment", "a", "-n", "s38", "--ignore-not-found", "-o", "name"]);
        // Never ready, if the old one went before.
        once(nth, ready()).filter(|_| name.starts_with("a-") || !there().is_empty())
    };
    let _kubelet = Kubelet::start(cluster, "s38", Box::new(fate));
    apply(&deploy, 0);
    write(&deploy, &[("web", workload("Deployment", "b", ""))]);
    assert_eq!(actions(&deploy.plan(2)), ["create b", "delete a"]);
    apply(&deploy, 0);
    assert!(is_there(&deploy, cluster, "deployment", "b"));
    let gone = cluster.get(&["deployment", "-n", "s38"]);
    let names: Vec<&Value> = gone["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["metadata"]["deletionTimestamp"].is_null())
        .map(|d| &d["metadata"]["name"])
        .collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn s48_what_is_to_be_kept_is_kept_and_listed() {
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: data\n  annotations: {helm.sh/resource-policy: keep, werf.io/track-termination-mode: NonBlocking}\nspec:\n  accessModes: [ReadWriteOnce]\n  resources: {requests: {storage: 1Mi}}\n";
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\ndata: {k: v}\n";
    let templates = [("claim", claim.to_owned()), ("a", map.replace("NAME", "a")), ("b", map.replace("NAME", "b"))];
    let Some((deploy, cluster)) = release("s48", &templates) else { return };
    apply(&deploy, 0);
    cluster.kubectl(&["annotate", "configmap", "a", "-n", "s48", "werf.io/resource-policy=skip-delete"]);
    write(&deploy, &[("claim", String::new()), ("a", String::new())]);
    assert_eq!(actions(&deploy.plan(3)), Vec::<String>::new(), "the record alone changes");
    let text = deploy.run(0, &["plan"]).out;
    assert!(text.contains("PersistentVolumeClaim/data") && text.contains("its policy keeps it as it is"), "{text}");
    apply(&deploy, 0);
    assert!(is_there(&deploy, cluster, "pvc", "data") && is_there(&deploy, cluster, "configmap", "a"));
}
