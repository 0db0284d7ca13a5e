//! `StatefulSet`s on a real control plane: they roll in order, and one that waits for a broken pod is mended.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::tracking::{Kubelet, apply, once, ready, release, waits, workload, write};
use super::{Deploy, actions, kubeconfig};
use crate::services::Cluster;

/// Three pods that are made and replaced one after the other.
fn set(image: &str, strategy: &str) -> String {
    workload("StatefulSet", "db", "")
        .replace("replicas: 1", &format!("replicas: 3, updateStrategy: {{{strategy}}}"))
        .replace("example/web:1", image)
}

/// Images that end with `bad` cannot be pulled; those that end with `slow` run and are not ready. Notes which pods were begun, in their order.
fn kubelet(cluster: &'static Cluster, namespace: &str) -> (Kubelet, Arc<Mutex<Vec<String>>>) {
    let begun = Arc::<Mutex<Vec<String>>>::default();
    let noted = begun.clone();
    let fate = move |pod: &Value, nth: u32| {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
        if nth == 0 {
            noted.lock().unwrap().push(format!("{} {image}", pod["metadata"]["name"].as_str().unwrap()));
        }
        let mut slow = ready();
        slow["conditions"] = json!([{"type": "Ready", "status": "False"}]);
        slow["containerStatuses"][0]["ready"] = false.into();
        once(
            nth,
            if image.ends_with("bad") {
                waits("ErrImagePull", "manifest unknown", 0)
            } else if image.ends_with("slow") {
                slow
            } else {
                ready()
            },
        )
    };
    (Kubelet::of_pods(cluster, namespace, Box::new(fate)), begun)
}

/// The images of the pods, in their order.
fn images(cluster: &Cluster, namespace: &str) -> Vec<String> {
    let pods = cluster.get(&["pods", "-n", namespace]);
    let of = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().replace("example/web:", "");
    pods["items"].as_array().unwrap().iter().map(of).collect()
}

fn taken(begun: &Mutex<Vec<String>>) -> Vec<String> {
    let short = |entry: &String| entry.replace("example/web:", "");
    std::mem::take(&mut *begun.lock().unwrap()).iter().map(short).collect()
}

fn restarts(plan: &Value) -> u64 {
    let set = plan["resources"].as_array().unwrap().iter().find(|resource| resource["name"] == "db");
    set.unwrap()["restart"]["pods"].as_u64().unwrap()
}

fn risks(plan: &Value, code: &str) -> Vec<String> {
    let all = plan["risks"].as_array().unwrap().iter().filter(|risk| risk["code"] == code);
    all.map(|risk| risk["message"].as_str().unwrap().to_owned()).collect()
}

/// What was written of pods since the last call.
fn pod_writes(deploy: &Deploy) -> Vec<String> {
    deploy.writes().1.into_iter().filter(|write| write.contains("/pods/")).collect()
}

#[test]
fn a_stateful_set_rolls_in_order_and_above_its_partition_alone() {
    let Some((deploy, cluster)) = release("ordered", &[("db", set("example/web:1", ""))]) else { return };
    let (_kubelet, begun) = kubelet(cluster, "ordered");
    apply(&deploy, 0);
    assert_eq!(taken(&begun), ["db-0 1", "db-1 1", "db-2 1"]);
    deploy.assert_no_changes();

    write(&deploy, &[("db", set("example/web:2", ""))]);
    let plan = deploy.plan(2);
    assert_eq!(restarts(&plan), 3, "{:#}", plan["resources"]);
    assert_eq!(risks(&plan, "stuck-pod"), [""; 0]);
    let ran = apply(&deploy, 0);
    assert!(ran.err.contains("ready ordered/StatefulSet/db"), "{}", ran.err);
    assert_eq!(taken(&begun), ["db-2 2", "db-1 2", "db-0 2"], "the last one first, each once the one before is ready");
    assert_eq!(images(cluster, "ordered"), ["2", "2", "2"]);
    deploy.assert_no_changes();

    let above = "type: RollingUpdate, rollingUpdate: {partition: 2}";
    write(&deploy, &[("db", set("example/web:3", above))]);
    let plan = deploy.plan(2);
    assert_eq!(restarts(&plan), 1);
    let ran = apply(&deploy, 0);
    assert!(ran.err.contains("2 pods stay as they were"), "{}", ran.err);
    assert_eq!(
        (taken(&begun), images(cluster, "ordered")),
        (vec!["db-2 3".to_owned()], vec!["2".into(), "2".into(), "3".into()])
    );
    deploy.assert_no_changes();

    // The rest follows.
    write(&deploy, &[("db", set("example/web:3", ""))]);
    apply(&deploy, 0);
    assert_eq!(taken(&begun), ["db-1 3", "db-0 3"]);
    assert_eq!(pod_writes(&deploy), [""; 0], "Kubernetes replaces them");
    deploy.assert_no_changes();
}

#[test]
fn a_stateful_set_that_is_stuck_is_mended_by_the_next_apply() {
    let Some((deploy, cluster)) = release("stucknext", &[("db", set("example/web:1", ""))]) else { return };
    let (_kubelet, begun) = kubelet(cluster, "stucknext");
    apply(&deploy, 0);
    write(&deploy, &[("db", set("example/web:bad", ""))]);
    let ran = apply(&deploy, 1);
    assert!(
        ran.err.contains("container `main` of pod db-2: the image") && ran.err.contains("cannot be pulled"),
        "{}",
        ran.err
    );
    assert_eq!(images(cluster, "stucknext"), ["1", "1", "bad"]);
    assert_eq!(pod_writes(&deploy), [""; 0]);

    write(&deploy, &[("db", set("example/web:2", ""))]);
    let plan = deploy.plan(2);
    let told = "pod db-2 is broken (container `main`: ErrImagePull), and a StatefulSet replaces no pod that is not ready: \
                apply deletes it once the change is seen, if it is broken still; its claims stay";
    assert_eq!((actions(&plan), risks(&plan, "stuck-pod")), (vec!["update db".to_owned()], vec![told.to_owned()]));
    let pod = cluster.get(&["pod", "db-2", "-n", "stucknext"]);
    let waits =
        plan["operations"].as_array().unwrap().iter().find(|o| o["id"] == "await:stucknext/StatefulSet.apps/db");
    assert_eq!(waits.unwrap()["work"]["tracking"]["stuck"], json!([{"name": "db-2", "uid": pod["metadata"]["uid"]}]));
    taken(&begun);
    let ran = deploy.run(0, &["apply", "--auto-approve", "-o", "json"]);
    assert!(ran.err.contains("pod db-2 is deleted: it is broken, and of the revision before"), "{}", ran.err);
    let outcome: Value = serde_json::from_str(&ran.out).unwrap();
    let freed = json!([{"operation": "await:stucknext/StatefulSet.apps/db", "verb": "wait", "name": "stucknext/StatefulSet/db",
        "pod": "db-2", "namespace": "stucknext", "uid": pod["metadata"]["uid"]}]);
    assert_eq!(outcome["freed"], freed);
    assert_eq!(pod_writes(&deploy), ["delete /api/v1/namespaces/stucknext/pods/db-2"], "that one, and once");
    assert_eq!(taken(&begun), ["db-2 2", "db-1 2", "db-0 2"]);
    assert_eq!(images(cluster, "stucknext"), ["2", "2", "2"]);
    assert_eq!(deploy.records(), ["superseded", "failed", "deployed"]);
    deploy.assert_no_changes();
}

#[test]
fn a_stateful_set_that_is_stuck_is_mended_by_a_rollback() {
    let Some((deploy, cluster)) = release("stuckback", &[("db", set("example/web:1", ""))]) else { return };
    let (_kubelet, begun) = kubelet(cluster, "stuckback");
    apply(&deploy, 0);
    write(&deploy, &[("db", set("example/web:bad", ""))]);
    taken(&begun);
    let ran = deploy.run(1, &["apply", "--auto-approve", "--timeout", "240", "--auto-rollback"]);
    assert!(ran.err.contains("pod db-2 is deleted"), "{}", ran.err);
    assert_eq!(taken(&begun), ["db-2 bad", "db-2 1"], "the others are as they were");
    assert_eq!(pod_writes(&deploy), ["delete /api/v1/namespaces/stuckback/pods/db-2"]);
    assert_eq!(images(cluster, "stuckback"), ["1", "1", "1"]);
    assert_eq!(deploy.records(), ["superseded", "failed", "deployed"]);
}

#[test]
fn a_pod_that_runs_and_is_not_ready_is_told_and_not_deleted() {
    let Some((mut deploy, cluster)) = release("stuckslow", &[("db", set("example/web:1", ""))]) else { return };
    let (_kubelet, _) = kubelet(cluster, "stuckslow");
    apply(&deploy, 0);
    write(&deploy, &[("db", set("example/web:slow", ""))]);
    deploy.run(1, &["apply", "--auto-approve", "--timeout", "5"]);
    write(&deploy, &[("db", set("example/web:2", ""))]);
    let plan = deploy.plan(2);
    let told = risks(&plan, "stuck-pod");
    assert!(told.len() == 1 && told[0].contains("only kubectl delete pod db-2 -n stuckslow replaces it"), "{told:?}");
    deploy.run(1, &["apply", "--auto-approve", "--timeout", "5"]);
    assert_eq!(
        (pod_writes(&deploy), images(cluster, "stuckslow")),
        (vec![], vec!["1".into(), "1".into(), "slow".into()])
    );
    // What is broken is not deleted either where the server forbids it: that is told, and what to do.
    cluster.kubectl(&["delete", "pod", "db-2", "-n", "stuckslow", "--force", "--grace-period=0"]);
    deploy.run(0, &["apply", "--auto-approve", "--timeout", "240"]);
    write(&deploy, &[("db", set("example/web:bad", ""))]);
    apply(&deploy, 1);
    let proxy = super::proxy::Proxy::start(cluster);
    let file = deploy.sandbox.home().join("proxied");
    std::fs::write(&file, kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();
    proxy.set(|asked| {
        if !asked.writes || !asked.target.contains("/pods/") {
            return super::proxy::Fate::Pass;
        }
        let message = "pods \"db-2\" is forbidden";
        let status = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message});
        super::proxy::Fate::Answer(403, None, status.to_string())
    });
    write(&deploy, &[("db", set("example/web:2", ""))]);
    let ran = deploy.run(1, &["apply", "--auto-approve", "--timeout", "5"]);
    assert!(ran.err.contains("pod db-2 cannot be deleted, though it is broken"), "{}", ran.err);
    assert!(ran.err.contains("is forbidden") && ran.err.contains("ErrImagePull"), "{}", ran.err);
}

#[test]
fn a_run_that_is_killed_once_it_deleted_a_stuck_pod_is_resumed_and_deletes_no_other() {
    let Some((mut deploy, cluster)) = release("stuckkill", &[("db", set("example/web:1", ""))]) else { return };
    let (_kubelet, begun) = kubelet(cluster, "stuckkill");
    apply(&deploy, 0);
    write(&deploy, &[("db", set("example/web:bad", ""))]);
    apply(&deploy, 1);
    let proxy = super::proxy::Proxy::start(cluster);
    let file = deploy.sandbox.home().join("proxied");
    std::fs::write(&file, kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();
    write(&deploy, &[("db", set("example/web:2", ""))]);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    taken(&begun);
    let args = ["apply", "shop.plan", "--auto-approve", "--timeout", "240"];
    // The record, the set, the pod.
    proxy.stop_after(3);
    super::kills::kill_command_after(&deploy, &proxy, 3, &args);
    assert!(
        proxy.writes()[2].starts_with("DELETE ") && proxy.writes()[2].ends_with("/pods/db-2"),
        "{:?}",
        proxy.writes()
    );
    proxy.pass();
    deploy.run(0, &[&args[..], &["--resume"]].concat());
    assert!(!proxy.writes().iter().any(|write| write.contains("/pods/")), "{:?}", proxy.writes());
    assert_eq!(taken(&begun), ["db-2 2", "db-1 2", "db-0 2"]);
    deploy.assert_no_changes();
}
