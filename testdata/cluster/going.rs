//! What stops and what goes: budgets that would keep it, and deletions that wait for others.

use std::time::{Duration, Instant};

use serde_json::json;

use super::tracking::{Kubelet, apply, is_there, once, ready, release, workload, write};

#[test]
fn what_a_budget_would_keep_is_told_and_asked_for_only_where_pods_stop() {
    let web = workload("Deployment", "web", "").replace("replicas: 1", "replicas: 2");
    let Some((deploy, cluster)) = release("budgets", &[("web", web.clone())]) else { return };
    let _kubelet = Kubelet::start(cluster, "budgets", Box::new(|_: &str, nth| once(nth, ready())));
    apply(&deploy, 0);
    let file = deploy.sandbox.home().join("budget.yaml");
    let budget = "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {minAvailable: 2, selector: {matchLabels: {app: web}}}\n";
    std::fs::write(&file, budget).unwrap();
    cluster.kubectl(&["apply", "-n", "budgets", "-f", file.to_str().unwrap()]);
    let start = Instant::now();
    let status = || cluster.get(&["pdb", "web", "-n", "budgets"])["status"].clone();
    while status()["expectedPods"] != 2 || status()["disruptionsAllowed"] != 0 {
        assert!(start.elapsed() < Duration::from_mins(2), "{}", status());
        std::thread::sleep(Duration::from_millis(100));
    }
    let asked = || cluster.reads("/namespaces/budgets/poddisruptionbudgets").len();
    deploy.assert_no_changes();
    write(&deploy, &[("web", web.replace("name: web\n", "name: web\n  labels: {a: b}\n"))]);
    deploy.plan(2);
    assert_eq!(asked(), 0, "no pod stops");
    write(
        &deploy,
        &[(
            "web",
            web.replace("replicas: 2", "replicas: 2, strategy: {rollingUpdate: {maxUnavailable: '100%'}}")
                .replace("web:1", "web:2"),
        )],
    );
    let plan = deploy.plan(2);
    let risks = plan["risks"].as_array().unwrap().iter().filter(|risk| risk["code"] == "disruption");
    let told: Vec<&str> = risks.map(|risk| risk["message"].as_str().unwrap()).collect();
    assert_eq!(told.len(), 1, "{}", plan["risks"]);
    assert!(
        told[0].starts_with("all 2 pods stop before new ones start, where by the budget web no pod may stop now"),
        "{told:?}"
    );
    assert_eq!(asked(), 1, "one list a namespace");
    let web = plan["resources"].as_array().unwrap().iter().find(|r| r["name"] == "web").unwrap().clone();
    assert_eq!((&web["restart"]["pods"], &web["restart"]["of"]), (&json!(2), &json!(2)));
}

#[test]
fn a_deletion_waits_until_what_it_names_is_gone() {
    let map = |name: &str, annotations: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n")
    };
    let waits = "werf.io/delete-dependency-b: 'state=absent,kind=ConfigMap,name=b'";
    let all = [("a", map("a", waits)), ("b", map("b", "")), ("web", map("c", ""))];
    let Some((deploy, cluster)) = release("going", &all) else { return };
    apply(&deploy, 0);
    // What somebody writes into a live object holds nothing up.
    cluster.kubectl(&["annotate", "configmap", "b", "-n", "going", "werf.io/delete-dependency-x=state=absent,name=a"]);
    cluster.kubectl(&["annotate", "configmap", "c", "-n", "going", "werf.io/delete-dependency-x=nonsense"]);
    write(&deploy, &[("a", String::new()), ("web", String::new())]);
    // It names nothing that goes: nobody waits.
    let plan = deploy.plan(2);
    let needs = |plan: &serde_json::Value, id: &str| -> Vec<String> {
        let all = plan["operations"].as_array().unwrap();
        let found = all.iter().find(|o| o["id"] == id).unwrap_or_else(|| panic!("no {id}: {all:?}"));
        found["needs"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect()
    };
    assert!(!needs(&plan, "delete:going/ConfigMap/a").iter().any(|need| need.starts_with("gone:")));
    cluster.kubectl(&["annotate", "configmap", "b", "-n", "going", "werf.io/delete-dependency-x-"]);
    write(&deploy, &[("b", String::new())]);
    let plan = deploy.plan(2);
    assert!(needs(&plan, "delete:going/ConfigMap/a").contains(&"gone:going/ConfigMap/b".to_owned()), "{plan:#}");
    apply(&deploy, 0);
    assert!(["a", "b", "c"].iter().all(|name| !is_there(&deploy, cluster, "configmap", name)));
    deploy.assert_no_changes();
}

#[test]
fn without_waiting_hooks_after_do_not_wait_for_what_is_not_gone_yet() {
    let map = |name: &str, annotations: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n")
    };
    let waits = "werf.io/delete-dependency-b: 'state=absent,kind=ConfigMap,name=b'";
    let hook = map("told", "helm.sh/hook: post-upgrade");
    let all = [("a", map("a", waits)), ("b", map("b", "")), ("web", map("c", "")), ("told", hook)];
    let Some((deploy, cluster)) = release("going-on", &all) else { return };
    apply(&deploy, 0);
    cluster.kubectl(&["patch", "configmap", "b", "-n", "going-on", "-p", r#"{"metadata":{"finalizers":["x.io/x"]}}"#]);
    write(&deploy, &[("a", String::new()), ("b", String::new())]);
    let begun = Instant::now();
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    assert!(begun.elapsed() < Duration::from_mins(2), "it waited for {:?}", begun.elapsed());
    assert!(is_there(&deploy, cluster, "configmap", "told"), "the hook ran");
    cluster.kubectl(&["patch", "configmap", "b", "-n", "going-on", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    assert!(!is_there(&deploy, cluster, "configmap", "b"));
}
