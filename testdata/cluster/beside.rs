//! Several releases of one project: two in a namespace, and one of each environment in its own. None touches another.

use serde_json::Value;

use super::{Deploy, Ground};
use crate::cli::Ran;
use crate::services::Cluster;

/// A project of which each release has objects of its own name.
fn project(name: &str, cluster: &'static Cluster) -> Deploy {
    let deploy = Deploy::bare(name, Ground::Real(cluster));
    deploy.sandbox.write("werf.yaml", &format!("configVersion: 1\nproject: {name}\n"));
    deploy.sandbox.write(".helm/values.yaml", "greeting: hello\nshared: false\n");
    let own = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-KIND'}\ndata: {v: '{{ .Values.greeting }}'}\n";
    deploy.sandbox.write(".helm/templates/a.yaml", &own.replace("KIND", "a"));
    deploy.sandbox.write(".helm/templates/b.yaml", &own.replace("KIND", "b"));
    deploy.sandbox.commit("the project");
    deploy
}

fn run(deploy: &Deploy, code: i32, args: &[&str]) -> Ran {
    let ran = deploy.sandbox.run(&[args, &["--kubeconfig", &deploy.kubeconfig]].concat());
    assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.out, ran.err);
    ran
}

/// Everything of a release: versions of its objects and of its records.
fn versions(cluster: &Cluster, namespace: &str, release: &str) -> Vec<String> {
    let mut found = Vec::new();
    for plural in ["configmaps", "secrets"] {
        let list = cluster.call("GET", &format!("/api/v1/namespaces/{namespace}/{plural}"), None);
        for object in list["items"].as_array().unwrap() {
            let text = |key: &str| object["metadata"][key].as_str().unwrap().to_owned();
            let name = text("name");
            if name.starts_with(&format!("{release}-")) || name.contains(&format!(".v1.{release}.")) {
                found.push(format!("{name} {} {}", text("uid"), text("resourceVersion")));
            }
        }
    }
    found.sort();
    found
}

/// Applies, rolls back and dismisses one of two releases, with the options that name each.
fn live_side_by_side(
    deploy: &Deploy,
    cluster: &'static Cluster,
    (first, second): (&[&str], &[&str]),
    ((place, release), (other_place, other)): ((&str, &str), (&str, &str)),
) {
    let apply = |code: i32, own: &[&str]| {
        run(deploy, code, &[&["apply", "--target", "cluster", "--auto-approve"], own].concat())
    };
    apply(0, first);
    let before = versions(cluster, place, release);
    assert_eq!(before.len(), 3, "{before:?}");
    apply(0, second);
    assert_eq!(versions(cluster, place, release), before, "a new release beside it");
    let theirs = versions(cluster, other_place, other);
    assert_eq!(theirs.len(), 3, "{theirs:?}");
    let list: Value = serde_json::from_str(&run(deploy, 0, &["release", "list", "-o", "json"]).out).unwrap();
    let is_there = |namespace: &str, name: &str| {
        list.as_array().unwrap().iter().any(|r| r["namespace"] == namespace && r["name"] == name)
    };
    assert!(is_there(place, release) && is_there(other_place, other), "{list:#}");
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    apply(0, first);
    assert_ne!(versions(cluster, place, release), before);
    let take_back = |args: &[&str], own: &[&str]| run(deploy, 0, &[args, own, &["--auto-approve"]].concat());
    take_back(&["release", "rollback"], first);
    assert_eq!(versions(cluster, place, release).len(), 5, "two objects and three records");
    take_back(&["dismiss"], first);
    assert_eq!(versions(cluster, place, release), [""; 0]);
    assert_eq!(versions(cluster, other_place, other), theirs, "nothing of the other one is touched");
    // It is there as it was: its next plan changes what the project changed, and nothing else.
    let plan = run(deploy, 0, &[&["plan", "--target", "cluster", "-o", "json"], second].concat());
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let mut changed = super::actions(&plan);
    changed.sort();
    assert_eq!(changed, [format!("update {other}-a"), format!("update {other}-b")]);
}

#[test]
fn two_releases_in_one_namespace_leave_each_other_alone() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = project("beside", cluster);
    let first = ["--release", "one", "--namespace", "beside"];
    let second = ["--release", "two", "--namespace", "beside"];
    live_side_by_side(&deploy, cluster, (&first, &second), (("beside", "one"), ("beside", "two")));
    // What both want is one's.
    let shared = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shared}\ndata: {v: '{{ .Release.Name }}'}\n";
    deploy.sandbox.write(".helm/templates/shared.yaml", shared).commit("an object of one name");
    run(&deploy, 0, &[&["apply", "--target", "cluster", "--auto-approve"][..], &first].concat());
    let before = (versions(cluster, "beside", "one"), versions(cluster, "beside", "two"));
    for command in [&["plan", "--target", "cluster"][..], &["apply", "--target", "cluster", "--auto-approve"]] {
        let ran = run(&deploy, 5, &[command, &second].concat());
        assert!(ran.err.contains("beside/ConfigMap/shared"), "{}", ran.err);
        assert!(ran.err.contains("it belongs to the release `beside/one`"), "{}", ran.err);
        assert!(ran.err.contains("--force-adoption"), "{}", ran.err);
    }
    assert_eq!((versions(cluster, "beside", "one"), versions(cluster, "beside", "two")), before);
    let object = cluster.object("/api/v1/namespaces/beside/configmaps/shared").unwrap();
    assert_eq!(object["data"]["v"], "one");
}

#[test]
fn two_environments_side_by_side_leave_each_other_alone() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = project("besides", cluster);
    let (first, second) = (["--env", "test"], ["--env", "prod"]);
    let names = (("besides-test", "besides-test"), ("besides-prod", "besides-prod"));
    live_side_by_side(&deploy, cluster, (&first, &second), names);
    // What is in no namespace is one's as well.
    let role =
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: besides-role}\nrules: []\n";
    deploy.sandbox.write(".helm/templates/role.yaml", role).commit("an object of the cluster");
    run(&deploy, 0, &[&["apply", "--target", "cluster", "--auto-approve"][..], &first].concat());
    let ran = run(&deploy, 5, &[&["plan", "--target", "cluster"][..], &second].concat());
    assert!(ran.err.contains("ClusterRole/besides-role"), "{}", ran.err);
    assert!(ran.err.contains("it belongs to the release `besides-test/besides-test`"), "{}", ran.err);
}
