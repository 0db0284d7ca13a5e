//! Killed after each write in turn, and resumed: what opens a release, ends it or takes it back.
//!
//! The one idea: each kill has a namespace of its own, so that all begin with the same, and end with the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kills::kill_command_after;
use super::proxy::Proxy;
use super::{Deploy, Ground};
use crate::services::Cluster;

/// One situation.
struct Case {
    /// Of what the names of its namespaces are made.
    name: &'static str,
    /// What comes before the plan.
    prepare: fn(&Deploy),
    /// Makes the plan `shop.plan`.
    plan: fn(&Deploy),
    /// How it is carried out, and resumed with `--resume`.
    apply: &'static [&'static str],
    /// How that ends.
    code: i32,
    /// How many writes there are at least.
    least: usize,
    /// After which of them it is killed first.
    first: fn(usize) -> usize,
}

/// A project in a namespace of its own, reached through the proxy.
fn begun(cluster: &'static Cluster, proxy: &Proxy, namespace: &str) -> Deploy {
    let mut deploy = Deploy::bare(namespace, Ground::Real(cluster));
    let file = deploy.sandbox.home().join("kubeconfig");
    std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();
    deploy
}

/// The writes, whatever the namespace, in any order.
fn shape(writes: &[String], namespace: &str) -> Vec<String> {
    let mut all: Vec<String> = writes.iter().map(|write| write.replace(namespace, "NS")).collect();
    all.sort();
    all
}

/// What there is in a namespace at the end, whatever its name: objects as they were wanted, who holds their fields, and the
/// statuses of records. Hooks may carry the revision that they ran for.
fn state(cluster: &Cluster, namespace: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let there = cluster.object(&format!("/api/v1/namespaces/{namespace}")).is_some();
    found.insert("namespace".to_owned(), json!(there));
    for (root, plural) in [("api/v1", "configmaps"), ("api/v1", "secrets"), ("apis/apps/v1", "deployments")] {
        let list = cluster.call("GET", &format!("/{root}/namespaces/{namespace}/{plural}"), None);
        for object in list["items"].as_array().unwrap() {
            let name = object["metadata"]["name"].as_str().unwrap();
            if name == "kube-root-ca.crt" || object["type"] == "kubernetes.io/service-account-token" {
                continue;
            }
            let seen = if object["type"] == "helm.sh/release.v1" {
                object["metadata"]["labels"]["status"].clone()
            } else {
                let mut annotations = object["metadata"]["annotations"].clone();
                if let Some(annotations) = annotations.as_object_mut() {
                    annotations.shift_remove("deployment.kubernetes.io/revision");
                }
                let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
                let managers: Vec<&Value> =
                    managers.map(|m| &m["manager"]).filter(|m| *m != "kube-controller-manager").collect();
                json!([annotations, object["metadata"]["labels"], managers, object["data"], object["spec"]])
            };
            let text = seen.to_string().replace(namespace, "NS");
            found.insert(format!("{plural}/{name}"), serde_json::from_str(&text).unwrap());
        }
    }
    let address = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.{namespace}.example");
    found.insert("gadgets".to_owned(), json!(cluster.object(&address).is_some()));
    found
}

/// Carries a case out once undisturbed, and once more for each of its writes, killed after that; returns what there was at
/// the end.
fn killed_after_each_write(case: &Case) -> Option<BTreeMap<String, Value>> {
    let cluster = Cluster::shared()?;
    let proxy = Proxy::start(cluster);
    let begin = |nth: usize| {
        let deploy = begun(cluster, &proxy, &format!("{}-n{nth}", case.name));
        proxy.pass();
        (case.prepare)(&deploy);
        (case.plan)(&deploy);
        proxy.pass();
        deploy
    };
    let deploy = begin(0);
    let ran = deploy.run(case.code, case.apply);
    let expected = shape(&proxy.writes(), &deploy.namespace);
    let end = state(cluster, &deploy.namespace);
    assert!(expected.len() >= case.least, "{expected:#?}\n{}", ran.err);
    for kill in (case.first)(expected.len())..=expected.len() {
        let deploy = begin(kill);
        proxy.stop_after(kill);
        kill_command_after(&deploy, &proxy, kill, case.apply);
        let before = proxy.writes();
        proxy.pass();
        deploy.run(case.code, &[case.apply, &["--resume"]].concat());
        let all = [before.clone(), proxy.writes()].concat();
        let after = proxy.writes();
        assert_eq!(shape(&all, &deploy.namespace), expected, "killed after {kill}: {before:#?}, then {after:#?}");
        assert_eq!(state(cluster, &deploy.namespace), end, "killed after {kill}: {before:#?}, then {after:#?}");
    }
    Some(end)
}

pub(super) fn write(deploy: &Deploy, name: &str, text: &str) {
    let text = text.replace("NS", &deploy.namespace);
    deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), &text);
}

pub(super) fn config(name: &str, annotations: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\ndata: {{v: {value}}}\n"
    )
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.NS.example}\nspec:\n  group: NS.example\n  scope: Namespaced\n  names: {kind: Gadget, plural: gadgets, singular: gadget, listKind: GadgetList}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n";
const GADGET: &str = "apiVersion: NS.example/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {size: 1}\n";

/// A workload that nobody waits for. Its replicas are set once, where it says how many.
pub(super) fn web(annotations: &str, spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, annotations: {{werf.io/track-termination-mode: NonBlocking, {annotations}}}}}\nspec: {{{spec}selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: web}}}}, spec: {{nodeSelector: {{none: such}}, containers: [{{name: a, image: a}}]}}}}}}\n"
    )
}

/// A definition and its object, a workload whose replicas are left to others, a Secret, and hooks of all kinds.
pub(super) fn write_shop(deploy: &Deploy, value: &str) {
    write(deploy, "crd", DEFINITION);
    write(deploy, "gadget", GADGET);
    write(deploy, "a", &config("a", "", value));
    write(deploy, "s", &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{v: {value}}}\n"));
    write(deploy, "web", &web("werf.io/replicas-on-creation: '1'", ""));
    let gone = "helm.sh/hook-delete-policy: hook-succeeded";
    for (name, event, policy) in [
        ("hook-before", "'pre-install,pre-upgrade,pre-rollback,pre-delete'", gone),
        ("hook-after", "'post-install,post-upgrade,post-rollback,post-delete'", gone),
        ("hook-stays", "'pre-install,pre-rollback,pre-delete'", "helm.sh/hook-delete-policy: before-hook-creation"),
        ("hook-both", "'pre-install,post-install,pre-delete,post-delete'", "helm.sh/hook-weight: '5'"),
    ] {
        write(deploy, name, &config(name, &format!("helm.sh/hook: {event}, {policy}"), value));
    }
    deploy.sandbox.commit("the shop");
}

#[test]
fn a_first_install_that_is_killed_after_any_write_is_resumed_without_writing_twice() {
    let end = killed_after_each_write(&Case {
        name: "killinst",
        prepare: |deploy| write_shop(deploy, "one"),
        plan: |deploy| drop(deploy.run(0, &["plan", "--out", "shop.plan"])),
        apply: &["apply", "shop.plan", "--auto-approve"],
        code: 0,
        // Namespace, record, definition, object, a, s, web and its replicas, five runs of hooks, two that go, …
        least: 15,
        first: |_| 1,
    });
    let Some(end) = end else { return };
    assert_eq!((&end["namespace"], &end["gadgets"]), (&json!(true), &json!(true)));
    assert_eq!(end["secrets/sh.helm.release.v1.shop.v1"], "deployed");
    assert!(end.contains_key("configmaps/hook-stays") && !end.contains_key("configmaps/hook-before"), "{end:#?}");
    let managers = end["deployments/web"][2].to_string();
    assert!(managers.contains("stagewright-on-creation"), "{managers}");
}

#[test]
fn a_rollback_that_is_killed_after_any_write_is_resumed_without_writing_twice() {
    let end = killed_after_each_write(&Case {
        name: "killback",
        prepare: |deploy| {
            write_shop(deploy, "one");
            write(deploy, "old", &config("old", "", "one"));
            deploy.sandbox.commit("the first");
            deploy.apply();
            write_shop(deploy, "two");
            write(deploy, "old", "");
            write(deploy, "new", &config("new", "", "two"));
            // What is made anew, and its replicas with it.
            let text = web("werf.io/replicas-on-creation: '1'", "").replace("app: web", "app: site");
            write(deploy, "web", &text);
            deploy.sandbox.commit("the second");
            deploy.apply();
        },
        plan: |deploy| drop(super::releases::take_back(deploy, 0, &["release", "rollback", "--out", "shop.plan"])),
        apply: &["apply", "shop.plan", "--auto-approve"],
        code: 0,
        least: 12,
        first: |_| 1,
    });
    let Some(end) = end else { return };
    let statuses = [1, 2, 3].map(|n| end[&format!("secrets/sh.helm.release.v1.shop.v{n}")].clone());
    assert_eq!(statuses, ["superseded", "superseded", "deployed"].map(Value::from));
    assert!(end.contains_key("configmaps/old") && !end.contains_key("configmaps/new"), "{end:#?}");
    assert_eq!(end["configmaps/a"][3], json!({"v": "one"}));
}

fn write_what_ends(deploy: &Deploy) {
    write_shop(deploy, "one");
    let kept = config("kept", "helm.sh/resource-policy: keep", "one");
    write(deploy, "kept", &kept);
    deploy.sandbox.commit("the first");
    deploy.apply();
    write(deploy, "a", &config("a", "", "two"));
    deploy.sandbox.commit("the second");
    deploy.apply();
}

#[test]
fn a_dismissal_that_is_killed_after_any_write_is_resumed_without_writing_twice() {
    let end = killed_after_each_write(&Case {
        name: "killend",
        prepare: write_what_ends,
        plan: |deploy| drop(super::releases::take_back(deploy, 0, &["dismiss", "--out", "shop.plan"])),
        apply: &["apply", "shop.plan", "--auto-approve"],
        code: 0,
        least: 14,
        // All before is as where the namespace goes, too.
        first: |count| count - 2,
    });
    let Some(end) = end else { return };
    let left: Vec<&String> = end.keys().filter(|key| key.contains('/')).collect();
    assert_eq!(left, ["configmaps/kept"], "hooks go too");
    assert_eq!((&end["namespace"], &end["gadgets"]), (&json!(true), &json!(false)));
}

#[test]
fn a_dismissal_with_its_namespace_that_is_killed_after_any_write_is_resumed_without_writing_twice() {
    let end = killed_after_each_write(&Case {
        name: "killall",
        prepare: write_what_ends,
        plan: |deploy| {
            super::releases::take_back(deploy, 0, &["dismiss", "--with-namespace", "--out", "shop.plan"]);
        },
        apply: &["apply", "shop.plan", "--auto-approve"],
        code: 0,
        least: 15,
        first: |_| 1,
    });
    let Some(end) = end else { return };
    assert!(!end.keys().any(|key| key.contains('/')), "{end:#?}");
    assert_eq!((&end["namespace"], &end["gadgets"]), (&json!(false), &json!(false)));
}

/// What is stalled fails at once.
pub(super) fn gadget(size: u32, status: &str) -> String {
    GADGET.replace("spec: {size: 1}", &format!("spec: {{size: {size}}}\nstatus: {status}"))
}

#[test]
fn an_automatic_rollback_that_is_killed_after_any_write_is_resumed_without_writing_twice() {
    let end = killed_after_each_write(&Case {
        name: "killauto",
        prepare: |deploy| {
            write_shop(deploy, "one");
            write(deploy, "gadget", &gadget(1, "{state: fine}"));
            write(deploy, "old", &config("old", "", "one"));
            deploy.sandbox.commit("the first");
            deploy.apply();
            write_shop(deploy, "two");
            let stalled = gadget(2, "{state: fine, conditions: [{type: Stalled, status: 'True', reason: Lost}]}");
            write(deploy, "gadget", &stalled);
            write(deploy, "new", &config("new", "", "two"));
            deploy.sandbox.commit("the second");
        },
        plan: |deploy| drop(deploy.run(0, &["plan", "--out", "shop.plan"])),
        apply: &["apply", "shop.plan", "--auto-approve", "--auto-rollback"],
        code: 1,
        // Of the apply: record, hook twice, a, s, gadget, new, failed; of the rollback: record, hooks, a, s, gadget, …
        least: 18,
        first: |_| 1,
    });
    let Some(end) = end else { return };
    let statuses = [1, 2, 3].map(|n| end[&format!("secrets/sh.helm.release.v1.shop.v{n}")].clone());
    assert_eq!(statuses, ["superseded", "failed", "deployed"].map(Value::from));
    assert!(!end.contains_key("configmaps/new") && end.contains_key("configmaps/old"), "{end:#?}");
    assert_eq!(end["configmaps/a"][3], json!({"v": "one"}));
}
