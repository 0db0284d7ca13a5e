//! What the API server refuses, and what a plan makes of it.

use serde_json::json;

use super::releases::take_back;
use super::tracking::{release, workload, write};
use super::{Deploy, Ground, actions};
use crate::services::{Cluster, PROGRAM};

fn idle(name: &str) -> String {
    workload("Deployment", name, "").replace("replicas: 1", "replicas: 0")
}

fn apply(deploy: &Deploy) {
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
}

#[test]
fn what_is_at_fault_besides_an_immutable_field_is_not_deleted_for_it() {
    let Some((deploy, cluster)) = release("refused", &[("web", idle("web"))]) else { return };
    apply(&deploy);
    let uid = || cluster.get(&["deployment", "web", "-n", "refused"])["metadata"]["uid"].clone();
    let before = uid();
    let other = idle("web").replace("app: web", "app: other");
    write(&deploy, &[("web", other.clone())]);
    assert_eq!(actions(&deploy.plan(2)), ["replace web"]);
    let faulty =
        other.replace("containers: [{", "containers: [{volumeMounts: [{name: immutable-cache, mountPath: /c}], ");
    assert_ne!(faulty, other);
    write(&deploy, &[("web", faulty)]);
    deploy.writes();
    let ran = deploy.run(1, &["apply", "--auto-approve", "--no-wait"]);
    assert!(ran.err.contains("immutable-cache") && ran.err.contains(".helm/templates/web.yaml"), "{}", ran.err);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    assert_eq!(uid(), before);
}

#[test]
fn a_manifest_that_does_not_fit_its_kind_is_told_at_its_template_at_once() {
    let twice =
        idle("web").replace("containers: [{", "containers: [{env: [{name: A, value: x}, {name: A, value: z}], ");
    let Some((deploy, cluster)) = release("mistyped", &[("web", twice)]) else { return };
    cluster.kubectl(&["create", "namespace", "mistyped"]);
    let ran = deploy.run(1, &["plan"]);
    assert!(ran.err.contains("error[resource-refused]") && ran.err.contains(".helm/templates/web.yaml"), "{}", ran.err);
    assert!(ran.err.contains("duplicate entries") && !ran.err.contains("tried again"), "{}", ran.err);
}

fn definition(fields: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: parts.refusals.example}}\nspec:\n  group: refusals.example\n  scope: Namespaced\n  names: {{kind: Part, plural: parts, singular: part, listKind: PartList}}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema:\n        type: object\n        properties: {{spec: {{type: object, properties: {{{fields}}}}}}}\n"
    )
}

#[test]
fn a_definition_that_gains_a_field_and_an_object_that_uses_it_are_one_plan() {
    let part =
        |spec: &str| format!("apiVersion: refusals.example/v1\nkind: Part\nmetadata: {{name: p}}\nspec: {{{spec}}}\n");
    let files = [("crd", definition("size: {type: integer}")), ("part", part("size: 1"))];
    let Some((deploy, cluster)) = release("gains", &files) else { return };
    apply(&deploy);
    // As long as the definition says nothing of it, it is a fault.
    write(&deploy, &[("part", part("size: 1, color: red"))]);
    let ran = deploy.run(1, &["plan"]);
    assert!(ran.err.contains("error[resource-refused]") && ran.err.contains("color"), "{}", ran.err);
    write(&deploy, &[("crd", definition("size: {type: integer}, color: {type: string}"))]);
    assert_eq!(actions(&deploy.plan(2)), ["update p", "update parts.refusals.example"]);
    apply(&deploy);
    assert_eq!(cluster.get(&["parts", "p", "-n", "gains"])["spec"]["color"], "red");
    deploy.assert_no_changes();
    // The server cannot say yet what somebody set by hand over that.
    let patch = json!({"spec": {"size": 7}}).to_string();
    let address = "/apis/refusals.example/v1/namespaces/gains/parts/p?fieldManager=kubectl-edit";
    cluster.call("PATCH", address, Some(("application/merge-patch+json", patch)));
    let all = "size: {type: integer}, color: {type: string}, shape: {type: string}";
    write(&deploy, &[("crd", definition(all)), ("part", part("size: 1, color: red, shape: round"))]);
    deploy.run(0, &["apply", "--auto-approve", "--no-remove-manual-changes"]);
    let spec = &cluster.get(&["parts", "p", "-n", "gains"])["spec"];
    assert_eq!(*spec, json!({"size": 7, "color": "red", "shape": "round"}));
    cluster.kubectl(&["delete", "crd", "parts.refusals.example"]);
}

#[test]
fn an_account_of_one_namespace_plans_applies_and_dismisses() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut deploy = Deploy::bare("narrow", Ground::Real(cluster));
    cluster.kubectl(&["create", "namespace", "narrow"]);
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: '1'}\n";
    deploy.sandbox.write(".helm/templates/all.yaml", map).commit("a map");
    for args in [
        &[
            "create",
            "role",
            "narrow",
            "-n",
            "narrow",
            "--verb=*",
            "--resource=configmaps,secrets,leases.coordination.k8s.io",
        ][..],
        &["create", "rolebinding", "narrow", "-n", "narrow", "--role=narrow", "--user=narrow"],
    ] {
        cluster.kubectl(args);
    }
    let wide = std::mem::take(&mut deploy.kubeconfig);
    let text = std::fs::read_to_string(&wide).unwrap();
    let file = deploy.sandbox.home().join("narrow");
    std::fs::write(&file, text.replace(&format!("token: {PROGRAM}"), &format!("token: {PROGRAM}, as: narrow")))
        .unwrap();
    deploy.kubeconfig = file.display().to_string();
    assert_eq!(actions(&deploy.plan(2)), ["create a"]);
    apply(&deploy);
    deploy.assert_no_changes();
    take_back(&deploy, 0, &["dismiss", "--auto-approve"]);
    assert_eq!(cluster.kubectl(&["get", "configmap", "a", "-n", "narrow", "--ignore-not-found"]), "");
    // A plan of somebody who sees which cluster it is, is carried out by who sees no more than the namespace.
    for args in [
        &["create", "role", "looks", "-n", "narrow", "--verb=get", "--resource=namespaces"][..],
        &["create", "rolebinding", "looks", "-n", "narrow", "--role=looks", "--user=narrow"],
    ] {
        cluster.kubectl(args);
    }
    let narrow = std::mem::replace(&mut deploy.kubeconfig, wide);
    deploy.run(0, &["plan", "--out", "wide.plan"]);
    deploy.kubeconfig = narrow;
    deploy.run(0, &["apply", "wide.plan", "--auto-approve"]);
    deploy.assert_no_changes();
}

#[test]
fn what_the_server_warns_of_is_told_once() {
    let ingress = |name: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec: {{backend: {{serviceName: web, servicePort: 80}}}}\n"
        )
    };
    let Some((deploy, cluster)) = release("warned", &[("a", ingress("a")), ("b", ingress("b"))]) else { return };
    cluster.kubectl(&["create", "namespace", "warned"]);
    let ran = deploy.run(0, &["plan"]);
    let told = "warning[server-warning]: the API server warns of warned/Ingress.networking.k8s.io/a and 1 more: \
                networking.k8s.io/v1beta1 Ingress is deprecated in v1.19+";
    assert!(ran.err.contains(told), "{}", ran.err);
    assert_eq!(ran.err.matches("server-warning").count(), 1, "{}", ran.err);
}
