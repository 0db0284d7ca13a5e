//! What happens between a plan and its apply to what a plan does not show.

use serde_json::{Value, json};

use super::{Deploy, Ground};
use crate::services::Cluster;

const PASSWORD: &str = "gu4rded-password";

/// A map and a Deployment that hold a secret value; the map changes, the Deployment stays.
const MANIFESTS: &str = r#"apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {a: b}}
data: {url: {{ printf "db://%s@db" .Values.password | quote }}, version: VERSION}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {a: b}}
spec:
  replicas: 0
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: a, image: 'a:1', env: [{name: PASSWORD, value: {{ .Values.password }}}]}]}
"#;

fn with_secrets(namespace: &str, cluster: &'static Cluster) -> Deploy {
    let deploy = Deploy::bare(namespace, Ground::Real(cluster));
    let sandbox = &deploy.sandbox;
    let key = sandbox.run(&["secret", "generate-key"]).out;
    std::fs::create_dir_all(sandbox.home().join(".werf")).unwrap();
    std::fs::write(sandbox.home().join(".werf/global_secret_key"), &key).unwrap();
    sandbox.write(".gitignore", "/shop.plan\n/plain\n");
    sandbox.write("plain", &format!("password: {PASSWORD}\n")).write(".helm/secret-values.yaml", "");
    let ran = sandbox.run(&["secret", "encrypt", "--values", "plain", "-o", ".helm/secret-values.yaml"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    version(&deploy, 0);
    deploy
}

fn version(deploy: &Deploy, version: u32) {
    let text = MANIFESTS.replace("VERSION", &format!("v{version}"));
    deploy.sandbox.write(".helm/templates/all.yaml", &text).commit("a version");
}

#[test]
fn what_holds_secret_values_is_guarded_as_everything_else() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = with_secrets("guarded", cluster);
    deploy.apply();
    let web = deploy.address("deployments", "web");
    let settings = deploy.address("configmaps", "settings");
    let theirs = "th3irs-secret";
    let container = |value: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "a:1", "env": [{"name": "PASSWORD", "value": value}]}]}}}});
    let stops: [(&str, &String, Value); 6] = [
        ("the secret value of what changes", &settings, json!({"data": {"url": theirs}})),
        ("another value of what changes", &settings, json!({"data": {"version": "v9"}})),
        ("a label of what changes", &settings, json!({"metadata": {"labels": {"a": "c"}}})),
        ("the secret value of what stays", &web, container(theirs)),
        ("another value of what stays", &web, json!({"spec": {"replicas": 1}})),
        ("a label of what stays", &web, json!({"metadata": {"labels": {"a": "c"}}})),
    ];
    for (n, (what, address, patch)) in stops.into_iter().enumerate() {
        version(&deploy, 1 + n as u32);
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        cluster.call("PATCH", address, Some(("application/merge-patch+json", patch.to_string())));
        deploy.writes();
        let ran = deploy.run(4, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
        assert_eq!(deploy.writes(), (vec![], vec![]), "{what}: {}", ran.err);
        assert!(ran.err.contains(": it was changed; last written by "), "{what}: {}", ran.err);
        assert!(!ran.err.contains(theirs) && !ran.err.contains(PASSWORD), "{what}: {}", ran.err);
        deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    }
    // What is not ours may change, and a status is nobody's business.
    version(&deploy, 20);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    let other = json!({"metadata": {"annotations": {"example.org/seen": "yes"}}}).to_string();
    for address in [&web, &settings] {
        cluster.call("PATCH", address, Some(("application/merge-patch+json", other.clone())));
    }
    let status =
        json!({"status": {"observedGeneration": 1, "replicas": 0, "conditions": [{"type": "Seen", "status": "True"}]}});
    let body = Some(("application/merge-patch+json", status.to_string()));
    cluster.call("PATCH", &format!("{web}/status"), body);
    deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
    deploy.assert_no_changes();
    // No digest of what holds secrets is in the public part.
    version(&deploy, 21);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    let file = std::fs::read_to_string(deploy.sandbox.project().join("shop.plan")).unwrap();
    let plan: Value = serde_json::from_str(&file).unwrap();
    let all = plan["operations"].as_array().unwrap().iter().flat_map(|o| o["guards"].as_array().unwrap());
    let secret: Vec<&Value> = all.filter(|g| g["guard"] == "secret_content").collect();
    assert!(secret.len() >= 2 && secret.iter().all(|g| g["digest"].is_null()), "{secret:?}");
}

/// Nobody knows the secret values of an older revision; what holds them is known.
#[test]
fn a_rollback_guards_what_holds_secret_values() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = with_secrets("guardedback", cluster);
    deploy.apply();
    version(&deploy, 1);
    deploy.apply();
    deploy.run(0, &["release", "rollback", "--out", "shop.plan"]);
    let settings = deploy.address("configmaps", "settings");
    let patch = json!({"data": {"url": "th3irs-secret"}}).to_string();
    cluster.call("PATCH", &settings, Some(("application/merge-patch+json", patch)));
    deploy.writes();
    let ran = deploy.run(4, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
    assert_eq!(deploy.writes(), (vec![], vec![]), "{}", ran.err);
    assert!(!ran.err.contains("th3irs-secret"), "{}", ran.err);
}

/// A release with all that a plan has besides what changes: a definition beside the templates, a hook, a Secret and a map
/// that hold secrets; its plan is saved, and another revision comes between.
fn between(namespace: &str) -> Option<(Deploy, &'static Cluster)> {
    let cluster = Cluster::shared()?;
    let deploy = with_secrets(namespace, cluster);
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.NS.example}\nspec:\n  group: NS.example\n  scope: Namespaced\n  names: {kind: Gadget, plural: gadgets, singular: gadget, listKind: GadgetList}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object}}\n";
    deploy.sandbox.write(".helm/crds/gadgets.yaml", &definition.replace("NS", namespace));
    deploy.sandbox.write(".helm/templates/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: before, annotations: {helm.sh/hook: pre-upgrade}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: {{ .Values.password }}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: stays}\ndata: {a: b}\n");
    version(&deploy, 0);
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    version(&deploy, 1);
    // It is written again, and so is the Secret.
    deploy.edit(
        ".helm/templates/more.yaml",
        "{token: {{ .Values.password }}}",
        "{token: {{ .Values.password }}, more: more}",
    );
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    Some((deploy, cluster))
}

const AGAIN: [&str; 6] = ["apply", "shop.plan", "--auto-approve", "--no-wait", "--stale", "replan-if-equal"];

/// S59
#[test]
fn s59_a_plan_that_does_the_same_after_another_revision_is_carried_out_where_that_is_wanted() {
    let Some((deploy, cluster)) = between("replanned") else { return };
    // The same revision once more.
    deploy.run(0, &["release", "rollback", "1", "--auto-approve", "--no-wait"]);
    assert_eq!(deploy.records(), ["superseded", "deployed"]);
    deploy.writes();
    let ran = deploy.run(4, &AGAIN[..4]);
    assert!(ran.err.contains("expected revision 1, found revision 2"), "{}", ran.err);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    // What others may change changes nothing.
    let other = json!({"metadata": {"annotations": {"example.org/seen": "yes"}}}).to_string();
    let web = deploy.address("deployments", "web");
    cluster.call("PATCH", &web, Some(("application/merge-patch+json", other)));
    let ran = deploy.run(0, &AGAIN);
    assert!(ran.err.contains("found revision 2") && ran.err.contains("it does what was approved"), "{}", ran.err);
    assert!(!(ran.err + &ran.out).contains(PASSWORD));
    assert_eq!(deploy.records(), ["superseded", "superseded", "deployed"]);
    assert_eq!(deploy.object("configmaps", "settings").unwrap()["data"]["version"], "v1");
    deploy.assert_no_changes();
    // The variable says it too.
    version(&deploy, 2);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    deploy.run(0, &["release", "rollback", "3", "--auto-approve", "--no-wait"]);
    let args = ["apply", "shop.plan", "--auto-approve", "--no-wait", "--kubeconfig", &deploy.kubeconfig];
    let ran = deploy.sandbox.run_with(&args, &[("STAGEWRIGHT_STALE", "replan-if-equal")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    deploy.assert_no_changes();
}

#[test]
fn a_stale_plan_that_would_do_anything_else_is_not_carried_out() {
    let Some((deploy, cluster)) = between("otherwise") else { return };
    let settings = deploy.address("configmaps", "settings");
    let stays = deploy.address("configmaps", "stays");
    let secret = deploy.address("secrets", "s");
    let changes: [(&str, &str, Value); 4] = [
        ("what is changed was something else", &settings, json!({"data": {"version": "v9"}})),
        ("what is not shown was something else", &settings, json!({"data": {"url": "th3irs-secret"}})),
        ("what stays has changed", &stays, json!({"data": {"a": "c"}})),
        ("a Secret was something else", &secret, json!({"data": {"token": "eA=="}})),
    ];
    for (n, (what, address, patch)) in changes.into_iter().enumerate() {
        cluster.call("PATCH", address, Some(("application/merge-patch+json", patch.to_string())));
        deploy.writes();
        let ran = deploy.run(4, &AGAIN);
        assert!(ran.err.contains("planned again: "), "{what}: {}", ran.err);
        assert!(!ran.err.contains("th3irs-secret"), "{what}: {}", ran.err);
        assert_eq!(deploy.writes(), (vec![], vec![]), "{what}");
        version(&deploy, 10 + n as u32);
        deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
        version(&deploy, 20 + n as u32);
        deploy.edit(".helm/templates/more.yaml", "more: more", &format!("more: more, more{n}: more"));
        deploy.run(0, &["plan", "--out", "shop.plan"]);
    }
    // Somebody else did the very same.
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    let ran = deploy.run(4, &AGAIN);
    assert!(ran.err.contains("there is nothing to do any more"), "{}", ran.err);
    // The plan of a rollback is one like any other.
    deploy.run(0, &["release", "rollback", "1", "--out", "shop.plan"]);
    let same = deploy.records().len().to_string();
    deploy.run(0, &["release", "rollback", &same, "--auto-approve", "--no-wait"]);
    deploy.run(0, &AGAIN);
    assert_eq!(deploy.object("configmaps", "settings").unwrap()["data"]["version"], "v0");
}

/// S59
#[test]
fn a_plan_that_deletes_a_release_is_planned_again_and_deletes_what_was_approved_and_nothing_else() {
    let Some((deploy, cluster)) = between("endsagain") else { return };
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    deploy.run(0, &["dismiss", "--out", "shop.plan"]);
    // Another revision, with one object more.
    deploy
        .sandbox
        .write(".helm/templates/other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n")
        .commit("more");
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    deploy.writes();
    let ran = deploy.run(4, &AGAIN[..4]);
    assert!(ran.err.contains("expected revision 2, found revision 3"), "{}", ran.err);
    let ran = deploy.run(4, &AGAIN);
    assert!(ran.err.contains("endsagain/ConfigMap/other: to delete it was not approved"), "{}", ran.err);
    // What is deleted is something else, and somebody has to see that; of what is not shown, that alone is told.
    deploy.sandbox.write(".helm/templates/other.yaml", "").commit("no more");
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    for (what, value) in [("version", "v9"), ("url", "th3irs-secret")] {
        let patch = Some(("application/merge-patch+json", json!({"data": {what: value}}).to_string()));
        cluster.call("PATCH", &deploy.address("configmaps", "settings"), patch);
        deploy.writes();
        let ran = deploy.run(4, &AGAIN);
        assert!(ran.err.contains("planned again: ") && ran.err.contains("ConfigMap/settings"), "{what}: {}", ran.err);
        assert!(!ran.err.contains("th3irs-secret") && !ran.err.contains(PASSWORD), "{}", ran.err);
        assert_eq!(deploy.writes(), (vec![], vec![]), "{what}");
        deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    }
    // The same once more, in a later revision.
    let web = deploy.address("deployments", "web");
    let other =
        json!({"status": {"observedGeneration": 1, "conditions": [{"type": "Seen", "status": "True"}]}}).to_string();
    cluster.call("PATCH", &format!("{web}/status"), Some(("application/merge-patch+json", other)));
    let ran = deploy.run(0, &AGAIN);
    assert!(ran.err.contains("found revision 6") && ran.err.contains("it does what was approved"), "{}", ran.err);
    assert!(!(ran.err + &ran.out).contains(PASSWORD));
    assert_eq!(deploy.records(), [""; 0]);
    assert!(deploy.object("configmaps", "settings").is_none() && deploy.object("deployments", "web").is_none());
}

#[test]
fn a_rollback_that_has_to_be_decided_first_is_refused_and_one_that_nobody_may_write_is_told() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut deploy = Deploy::bare("decided", Ground::Real(cluster));
    let text =
        |value: u32| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{v: 'v{value}'}}\n");
    for value in 0..2 {
        deploy.sandbox.write(".helm/templates/a.yaml", &text(value)).commit("a map");
        deploy.apply();
    }
    let proxy = super::proxy::Proxy::start(cluster);
    let file = deploy.sandbox.home().join("proxied");
    std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
    let own = std::mem::replace(&mut deploy.kubeconfig, file.display().to_string());
    proxy.set(|asked| {
        if !asked.target.contains("dryRun=All") {
            return super::proxy::Fate::Pass;
        }
        let message = "configmaps \"a\" is forbidden: User \"me\" cannot patch resource \"configmaps\"";
        let status = json!({"kind": "Status", "code": 403, "reason": "Forbidden", "message": message});
        super::proxy::Fate::Answer(403, None, status.to_string())
    });
    let ran = deploy.run(0, &["release", "rollback", "--out", "shop.plan"]);
    assert!(ran.err.contains("warning[write-forbidden]"), "{}", ran.err);
    let ran = deploy.run(1, &["release", "rollback", "--auto-approve"]);
    assert!(ran.err.contains("error[write-forbidden]"), "{}", ran.err);
    deploy.kubeconfig = own;
    // A controller has the field now.
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"v": "theirs"}});
    let address = format!("{}?fieldManager=some-operator&force=true", deploy.address("configmaps", "a"));
    cluster.call("PATCH", &address, Some(("application/apply-patch+yaml", theirs.to_string())));
    deploy.writes();
    let ran = deploy.run(5, &["release", "rollback", "--auto-approve"]);
    assert!(ran.err.contains("error[resource-blocked]") && ran.err.contains("some-operator"), "{}", ran.err);
    assert_eq!(deploy.writes(), (vec![], vec![]));
}

#[test]
fn a_record_that_is_written_alone_has_its_reason() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = Deploy::bare("reasons", Ground::Real(cluster));
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
    deploy.sandbox.write(".helm/templates/a.yaml", map).commit("a map");
    deploy.apply();
    let told = |args: &[&str]| {
        let ran = deploy.run(3, &[&["plan", "--exit-code"], args].concat());
        ran.out.lines().next().unwrap().to_owned()
    };
    let only = "No resource changes. Only the release record is written: ";
    assert_eq!(told(&["--set", "a=b"]), format!("{only}values changed."));
    assert_eq!(told(&["--env", "test"]), format!("{only}the environment changed."));
    deploy.sandbox.write(".helm/templates/NOTES.txt", "hello\n").commit("notes");
    assert_eq!(told(&[]), format!("{only}the notes changed."));
    let plan: Value = serde_json::from_str(&deploy.run(3, &["plan", "--exit-code", "-o", "json"]).out).unwrap();
    assert_eq!(plan["record_reasons"], json!([{"reason": "notes"}]));
    // A map that a server refuses in earnest, and not in the dry run.
    let ran = deploy.run(0, &["release", "rollback", "1", "--out", "shop.plan"]);
    assert!(ran.out.starts_with(&format!("{only}a rollback is a revision of its own.")), "{}", ran.out);
}
