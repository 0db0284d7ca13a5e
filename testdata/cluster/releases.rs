//! Records of releases, and what is made of them: lists, rollbacks, deletions; and a real Helm that reads them.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::{Value, json};

use super::helm::Helm;
use super::loopback::Loopback;
use super::{Deploy, Ground, MARK, actions, planned};
use crate::cli::Ran;
use crate::services::Cluster;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  greeting: {{ .Values.greeting | quote }}\n  other: {{ .Values.other | quote }}\n";
const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\nstringData:\n  token: MARK-{{ .Values.greeting }}\n";

/// A release with values, notes and a Secret.
fn shop(namespace: &str, ground: Ground) -> Deploy {
    let deploy = Deploy::bare(namespace, ground);
    deploy.sandbox.write(".helm/values.yaml", "greeting: hello\nother: thing\n");
    deploy.sandbox.write(".helm/templates/a.yaml", CONFIG);
    deploy.sandbox.write(".helm/templates/s.yaml", &SECRET.replace("MARK", MARK));
    deploy.sandbox.write(".helm/templates/NOTES.txt", "It says {{ .Values.greeting }}.\n");
    deploy.sandbox.commit("the shop");
    deploy
}

fn real(namespace: &str) -> Option<(Deploy, &'static Cluster)> {
    let cluster = Cluster::shared()?;
    Some((shop(namespace, Ground::Real(cluster)), cluster))
}

/// Runs a command that knows no target.
fn run(deploy: &Deploy, expected: i32, args: &[&str]) -> Ran {
    let ran = deploy.sandbox.run(&[args, &["--kubeconfig", &deploy.kubeconfig]].concat());
    assert_eq!(ran.code, expected, "{args:?}\n{}\n{}", ran.out, ran.err);
    assert!(!(ran.out.clone() + &ran.err).contains(MARK), "a secret is shown: {}{}", ran.out, ran.err);
    ran
}

/// Runs a command about the release.
pub(super) fn take_back(deploy: &Deploy, expected: i32, args: &[&str]) -> Ran {
    run(deploy, expected, &[args, &["--release", "shop", "--namespace", &deploy.namespace]].concat())
}

fn record_of(object: &Value) -> Value {
    use std::io::Read as _;
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let data = object["data"]["release"].as_str().unwrap();
    let outer = if object["kind"] == "Secret" { decode(data) } else { data.as_bytes().to_vec() };
    let mut text = String::new();
    flate2::read::GzDecoder::new(decode(std::str::from_utf8(&outer).unwrap()).as_slice())
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

fn record(deploy: &Deploy, revision: u32) -> Value {
    record_of(&deploy.object("secrets", &format!("sh.helm.release.v1.shop.v{revision}")).unwrap())
}

fn data(deploy: &Deploy) -> Value {
    deploy.object("configmaps", "a").unwrap()["data"]["greeting"].clone()
}

/// The numbers of the revisions that there are.
fn numbers(deploy: &Deploy) -> Vec<u32> {
    (1..40).filter(|n| deploy.object("secrets", &format!("sh.helm.release.v1.shop.v{n}")).is_some()).collect()
}

/// S76: what Helm reads in our records; S80.
#[test]
fn helm_reads_values_notes_and_hooks_of_our_records_and_upgrades_with_them() {
    for (version, namespace) in [("v3", "s76-3"), ("v4", "s76-4")] {
        let Some((deploy, cluster)) = real(namespace) else { return };
        let Some(mut helm) = Helm::start(version, cluster, namespace) else { return };
        let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: h, annotations: {helm.sh/hook: 'post-install,post-upgrade'}}\n";
        deploy.sandbox.write(".helm/templates/h.yaml", hook).commit("a hook");
        deploy.run(0, &["apply", "--auto-approve", "--set", "greeting=typed"]);
        let values = helm.release("get_values");
        assert!(values.contains("greeting") && values.contains("typed") && !values.contains("thing"), "{values}");
        assert!(helm.run("get_values", &json!({"release_name": "shop", "all": true})).contains("thing"));
        assert!(helm.release("get_notes").contains("It says typed."));
        assert!(helm.release("get_hooks").contains("name: h"));
        let ours = record(&deploy, 1);
        assert_eq!(ours["hooks"][0]["last_run"]["phase"], "Succeeded", "{}", ours["hooks"]);
        assert_eq!(ours["info"]["deleted"], "");
        // A label of somebody goes along.
        let name = "sh.helm.release.v1.shop.v1";
        cluster.kubectl(&["label", "secret", name, "-n", namespace, "team=shop"]);

        let chart = deploy.sandbox.project().join(".helm").display().to_string();
        helm.run("upgrade", &json!({"release_name": "shop", "chart": chart, "reuse_values": true}));
        assert_eq!(data(&deploy), "typed");
        deploy.run(0, &["apply", "--auto-approve", "--set", "greeting=again"]);
        let (first, third) = (record(&deploy, 1), record(&deploy, 3));
        assert_eq!(first["info"]["first_deployed"], third["info"]["first_deployed"]);
        assert_ne!(first["info"]["last_deployed"], third["info"]["last_deployed"]);
        let labels = &deploy.object("secrets", "sh.helm.release.v1.shop.v3").unwrap()["metadata"]["labels"];
        // Helm 3 and 4 carry labels along, and so do we.
        assert_eq!(labels["team"], "shop", "{labels}");
    }
}

/// S28, S27
#[test]
fn new_notes_alone_are_a_revision_and_nothing_else() {
    for ground in [Some(Ground::Loopback(Loopback::start())), Cluster::shared().map(Ground::Real)].into_iter().flatten()
    {
        let deploy = shop("s28", ground);
        deploy.apply();
        deploy.assert_no_changes();
        deploy
            .sandbox
            .write(".helm/templates/NOTES.txt", "It whispers {{ .Values.greeting }}.\n")
            .commit("other notes");
        let plan = deploy.plan(3);
        assert_eq!(actions(&plan), Vec::<String>::new());
        deploy.writes();
        deploy.apply();
        assert_eq!(deploy.writes().1, Vec::<String>::new());
        assert_eq!(record(&deploy, 2)["info"]["notes"], "It whispers hello.\n");
        deploy.assert_no_changes();
    }
}

/// S78
#[test]
fn what_we_do_not_know_of_a_record_stays_in_it() {
    let deploy = shop("s78", Ground::Loopback(Loopback::start()));
    deploy.apply();
    let mut strange = record(&deploy, 1);
    strange["info"]["last_phase"] = json!({"of": "somebody"});
    strange["own"] = json!([1, 2.5, null]);
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    // Very old records are not compressed.
    let packed = encode(encode(strange.to_string().as_bytes()).as_bytes());
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    server.edit(&deploy.address("secrets", "sh.helm.release.v1.shop.v1"), "/data/release", packed.into());
    deploy.assert_no_changes();
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.apply();
    let kept = record(&deploy, 1);
    assert_eq!(
        (&kept["info"]["status"], &kept["info"]["last_phase"]["of"]),
        (&json!("superseded"), &json!("somebody"))
    );
    assert_eq!(kept["own"], json!([1, 2.5, null]));
}

/// S81
#[test]
fn as_many_revisions_are_kept_as_were_asked_for_and_always_the_last_that_was_deployed() {
    let deploy = shop("s81", Ground::Loopback(Loopback::start()));
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    let apply = |n: u32, code: i32, most: &str| {
        deploy.sandbox.write(".helm/values.yaml", &format!("greeting: v{n}\nother: x\n")).commit("a version");
        deploy.run(code, &["apply", "--auto-approve", "--releases-history-max", most]);
    };
    (1..=3).for_each(|n| apply(n, 0, "3"));
    apply(4, 0, "3");
    assert_eq!(numbers(&deploy), [2, 3, 4]);
    server.break_writes_of(Some(&deploy.address("configmaps", "a")));
    (5..=7).for_each(|n| apply(n, 1, "3"));
    assert_eq!(numbers(&deploy), [4, 6, 7]);
    assert_eq!(deploy.records(), ["deployed", "failed", "failed"]);
    server.break_writes_of(None);
    (8..=20).for_each(|n| apply(n, 0, "0"));
    assert_eq!(numbers(&deploy).len(), 16);
    deploy.assert_no_changes();
}

#[test]
fn records_are_kept_in_config_maps_where_that_is_wanted() {
    let Some((deploy, cluster)) = real("configmaps") else { return };
    let driver = ["--release-driver", "configmap"];
    deploy.run(0, &[&["apply", "--auto-approve"][..], &driver].concat());
    let address = deploy.address("configmaps", "sh.helm.release.v1.shop.v1");
    let object = cluster.object(&address).unwrap();
    assert_eq!(
        (&record_of(&object)["name"], &object["metadata"]["labels"]["status"]),
        (&json!("shop"), &json!("deployed"))
    );
    assert!(deploy.records().is_empty(), "no Secret holds a record");
    let plan = deploy.run(0, &[&["plan", "--exit-code", "-o", "json"][..], &driver].concat());
    assert!(plan.out.contains("\"operations\": []"), "{}", plan.out);
    // A saved plan knows where they are.
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.run(0, &[&["plan", "--out", "shop.plan"][..], &driver].concat());
    deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    let history = run(&deploy, 0, &[&["release", "history", "shop", "-n", "configmaps"][..], &driver].concat()).out;
    assert!(history.contains("superseded") && history.contains("Upgrade complete"), "{history}");
    let ran = deploy.sandbox.run_with(
        &["release", "history", "shop", "-n", "configmaps", "--kubeconfig", &deploy.kubeconfig],
        &[("HELM_DRIVER", "configmap")],
    );
    assert_eq!((ran.code, ran.out), (0, history));
    take_back(&deploy, 0, &[&["dismiss", "--auto-approve"][..], &driver].concat());
    assert!(cluster.object(&address).is_none());
}

/// Text that cannot be compressed much.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        char::from(letters[usize::try_from(state >> 58).unwrap()])
    };
    (0..length).map(|_| next()).collect()
}

/// S50
#[test]
fn a_large_record_is_told_and_one_that_is_too_large_is_no_plan() {
    let Some((deploy, _)) = real("s50") else { return };
    let large = |name: &str, length: usize, seed| {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  x: {}\n",
            noise(length, seed)
        );
        deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), &text).commit("something large");
    };
    large("b", 900_000, 1);
    let plan = deploy.run(0, &["plan"]).out;
    assert!(plan.contains("record-size") && plan.contains("KiB of 1024 KiB"), "{}", &plan[..2000.min(plan.len())]);
    deploy.apply();
    assert_eq!(deploy.records(), ["deployed"]);
    large("c", 500_000, 2);
    deploy.writes();
    for args in [&["plan"][..], &["apply", "--auto-approve"]] {
        let ran = deploy.run(1, args);
        assert!(ran.err.contains("the API server keeps 1024 KiB") && ran.err.contains("ConfigMap/b"), "{}", ran.err);
    }
    assert_eq!(deploy.writes(), (vec![], vec![]));
}

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: {nodeName: nowhere, containers: [{name: a, image: a}]}}\n";

/// S65
#[test]
fn a_failed_apply_is_rolled_back_where_that_is_wanted() {
    let Some((deploy, cluster)) = real("s65") else { return };
    let values = |greeting: &str, replicas: u32| {
        let text = format!("greeting: {greeting}\nother: x\nreplicas: {replicas}\n");
        deploy.sandbox.write(".helm/values.yaml", &text).commit("values");
    };
    deploy.sandbox.write(".helm/templates/web.yaml", WEB);
    values("one", 0);
    deploy.apply();
    values("two", 0);
    deploy.apply();
    // Its pods are nobody's.
    values("three", 1);
    deploy.sandbox.write(".helm/templates/new.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\n");
    deploy.sandbox.commit("something new");
    let ran = deploy.run(1, &["apply", "--auto-approve", "--auto-rollback", "--timeout", "5"]);
    assert!(ran.err.contains("rolls the release shop back to revision 2"), "{}", ran.err);
    assert!(ran.out.contains("- ") && ran.out.contains("s65/ConfigMap/new"), "the rollback is shown: {}", ran.out);
    let end = ran.err.trim_end().rsplit("error:").next().unwrap();
    assert!(
        end.contains("was rolled back to revision 2") && end.contains("what failed first: s65/Deployment/web"),
        "{end}"
    );
    assert_eq!(deploy.records(), ["superseded", "superseded", "failed", "deployed"]);
    assert_eq!((data(&deploy), deploy.object("configmaps", "new")), (json!("two"), None));
    assert_eq!(deploy.object("deployments", "web").unwrap()["spec"]["replicas"], 0);
    let last = record(&deploy, 4);
    assert_eq!(last["info"]["description"], "Rollback to 2");
    assert_eq!(last["manifest"], record(&deploy, 2)["manifest"]);
    // What the project wants is still to be done.
    assert_eq!(actions(&deploy.plan(2)), ["create new", "update a", "update s", "update web"]);
    let Some(mut helm) = Helm::start("v3", cluster, "s65") else { return };
    let history = helm.release("history");
    assert!(history.contains("failed") && history.contains("Rollback to 2"), "{history}");
    let ran = deploy.run(1, &["apply", "--auto-approve", "--timeout", "3"]);
    assert!(!ran.err.contains("rolls the release"), "{}", ran.err);
}

/// S66
#[test]
fn a_failure_before_the_first_write_rolls_nothing_back() {
    let deploy = shop("s66", Ground::Loopback(Loopback::start()));
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    server.break_writes_of(Some("/api/v1/namespaces/s66"));
    let ran = deploy.run(1, &["apply", "--auto-approve", "--auto-rollback"]);
    assert!(ran.err.contains("there is nothing to roll back"), "{}", ran.err);
    assert_eq!(deploy.records(), Vec::<String>::new());
    // A first revision that failed has nothing to go back to.
    server.break_writes_of(Some(&deploy.address("configmaps", "a")));
    let ran = deploy.run(1, &["apply", "--auto-approve", "--auto-rollback"]);
    assert!(ran.err.contains("it has no revision to go back to"), "{}", ran.err);
    assert_eq!(deploy.records(), ["failed"]);
}

#[test]
fn a_rollback_is_a_plan_over_a_recorded_revision() {
    let Some((deploy, cluster)) = real("rollback") else { return };
    let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: h, annotations: {helm.sh/hook: pre-rollback}}\n";
    deploy.sandbox.write(".helm/templates/h.yaml", hook).commit("a hook");
    deploy.apply();
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.apply();
    deploy.edit(".helm/values.yaml", "goodbye", "welcome");
    deploy.apply();
    // Nobody is there to be asked, and nothing is done.
    deploy.writes();
    let ran = take_back(&deploy, 5, &["release", "rollback"]);
    assert!(ran.err.contains("back to revision 2") && ran.out.contains("welcome -> goodbye"), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("run rollback/ConfigMap/h  pre-rollback"), "{}", ran.out);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    // Saved, changed meanwhile, and refused; then carried out.
    take_back(&deploy, 0, &["release", "rollback", "1", "--out", "back.plan"]);
    let saved = std::fs::read_to_string(deploy.sandbox.project().join("back.plan")).unwrap();
    assert!(!saved.contains(MARK));
    deploy.tamper("configmaps", "a", "/data/greeting", json!("by hand"));
    deploy.run(4, &["apply", "back.plan", "--auto-approve"]);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    take_back(&deploy, 0, &["release", "rollback", "1", "--out", "back.plan"]);
    let shown = deploy.sandbox.run(&["show", "back.plan", "-o", "json"]);
    let plan: Value = serde_json::from_str(&shown.out).unwrap();
    deploy.writes();
    deploy.run(0, &["apply", "back.plan", "--auto-approve"]);
    assert_eq!(deploy.writes().1, planned(&plan), "what is done is what was planned");
    assert_eq!(data(&deploy), "hello");
    assert_eq!(deploy.records(), ["superseded", "superseded", "superseded", "deployed"]);
    assert_eq!(
        deploy.object("secrets", "s").unwrap()["data"],
        json!({"token": base64::engine::general_purpose::STANDARD.encode(format!("{MARK}-hello"))})
    );
    let (first, last) = (record(&deploy, 1), record(&deploy, 4));
    assert_eq!(
        (&last["manifest"], &last["config"], &last["chart"]),
        (&first["manifest"], &first["config"], &first["chart"])
    );
    assert_eq!(last["info"]["first_deployed"], first["info"]["first_deployed"]);
    assert_eq!(last["info"]["notes"], first["info"]["notes"]);
    let ran = take_back(&deploy, 1, &["release", "rollback", "9", "--auto-approve"]);
    assert!(ran.err.contains("has no revision 9; it has 1, 2, 3, 4"), "{}", ran.err);
    // Helm goes on from there, and we from what Helm rolled back to.
    let Some(mut helm) = Helm::start("v3", cluster, "rollback") else { return };
    helm.run("rollback", &json!({"release_name": "shop", "revision": 2}));
    assert_eq!(data(&deploy), "goodbye");
    take_back(&deploy, 0, &["release", "rollback", "--auto-approve"]);
    assert_eq!(data(&deploy), "hello");
    assert_eq!(record(&deploy, 6)["info"]["description"], "Rollback to 4");
}

/// S74, S75
#[test]
fn a_release_goes_in_order_and_what_is_kept_is_told() {
    let Some((deploy, cluster)) = real("s74") else { return };
    let files = [
        ("account", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n"),
        (
            "claim",
            "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, annotations: {helm.sh/resource-policy: keep}}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}\n",
        ),
        (
            "web",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: {serviceAccountName: web, containers: [{name: a, image: a}]}}\n",
        ),
        (
            "bye",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bye, annotations: {helm.sh/hook: 'pre-delete,post-install'}}\n",
        ),
        (
            "crd",
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: cats.s74.example.org}\nspec:\n  group: s74.example.org\n  scope: Namespaced\n  names: {plural: cats, singular: cat, kind: Cat, listKind: CatList}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n",
        ),
        ("cat", "apiVersion: s74.example.org/v1\nkind: Cat\nmetadata: {name: tom}\n"),
    ];
    for (name, text) in files {
        deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), text);
    }
    deploy.sandbox.commit("everything");
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    deploy.writes();
    let ran = take_back(&deploy, 5, &["dismiss"]);
    assert!(ran.out.contains("=   s74/PersistentVolumeClaim/data"), "{}", ran.out);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    take_back(&deploy, 0, &["dismiss", "--out", "end.plan"]);
    let shown = deploy.sandbox.run(&["show", "end.plan", "-o", "json"]);
    let plan: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(deploy.writes(), (vec![], vec![]));
    let ran = deploy.run(0, &["apply", "end.plan", "--auto-approve", "-o", "json"]);
    // What a hook replaces is deleted twice.
    let deleted = |list: Vec<String>| -> BTreeSet<String> {
        list.into_iter().filter(|w| w.starts_with("delete") && !w.contains("sh.helm.release")).collect()
    };
    assert_eq!(deleted(deploy.writes().1), deleted(planned(&plan)), "what is deleted is what was planned");
    let done: Value = serde_json::from_str(&ran.out).unwrap();
    let order: Vec<&str> = done["done"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let at = |id: &str| order.iter().position(|o| *o == id).unwrap_or_else(|| panic!("{id} in {order:?}"));
    assert!(at("hook:pre-delete:s74/ConfigMap/bye") < at("delete:s74/Deployment.apps/web"));
    assert!(at("gone:s74/Deployment.apps/web") < at("delete:s74/ServiceAccount/web"));
    let crd = "delete:-/CustomResourceDefinition.apiextensions.k8s.io/cats.s74.example.org";
    assert!(at("gone:s74/Cat.s74.example.org/tom") < at(crd));
    for (kind, name) in [("deployments", "web"), ("configmaps", "a"), ("configmaps", "bye"), ("secrets", "s")] {
        assert!(deploy.object(kind, name).is_none(), "{kind}/{name}");
    }
    assert!(deploy.object("persistentvolumeclaims", "data").is_some());
    assert!(deploy.records().is_empty());
    if let Some(mut helm) = Helm::start("v3", cluster, "s74") {
        assert!(!helm.run("list", &json!({})).contains("shop"));
    }
    let ran = take_back(&deploy, 0, &["dismiss", "--auto-approve"]);
    assert!(ran.err.contains("There is no release shop in the namespace s74"), "{}", ran.err);
    // The claim is nobody's: a new release does not take it, and is told why.
    let ran = take_back(&deploy, 0, &["dismiss", "--auto-approve", "--with-namespace"]);
    assert!(ran.out.contains("data-loss") || ran.out.contains("danger"), "{}", ran.out);
    assert!(cluster.object("/api/v1/namespaces/s74").is_none());
    take_back(&deploy, 0, &["dismiss", "--auto-approve", "--with-namespace"]);
}

#[test]
fn a_release_of_helm_is_dismissed_by_the_names_of_the_project() {
    let Some((deploy, cluster)) = real("byproject") else { return };
    let Some(mut helm) = Helm::start("v4", cluster, "byproject") else { return };
    deploy
        .sandbox
        .write("werf.yaml", "configVersion: 1\nproject: shop\ndeploy: {helmRelease: shop, namespace: byproject}\n");
    deploy.sandbox.commit("names");
    let chart = deploy.sandbox.project().join(".helm").display().to_string();
    helm.run("install", &json!({"release_name": "shop", "chart": chart, "create_namespace": true}));
    // One that is not ours any more stays.
    cluster.kubectl(&[
        "annotate",
        "configmap",
        "a",
        "-n",
        "byproject",
        "--overwrite",
        "meta.helm.sh/release-name=other",
    ]);
    let ran = run(&deploy, 0, &["dismiss", "--auto-approve"]);
    assert!(!ran.out.contains("ConfigMap/a"), "{}", ran.out);
    assert!(deploy.object("configmaps", "a").is_some() && deploy.object("secrets", "s").is_none());
    assert!(deploy.records().is_empty());
}

#[test]
fn releases_are_listed_and_what_is_recorded_is_printed_without_secrets() {
    let Some((deploy, _)) = real("listed") else { return };
    deploy.run(0, &["apply", "--auto-approve", "--set", "greeting=typed"]);
    deploy.edit(".helm/values.yaml", "thing", "thought");
    deploy.run(0, &["apply", "--auto-approve", "--set", "greeting=typed"]);
    let list: Value = serde_json::from_str(&run(&deploy, 0, &["release", "list", "-o", "json"]).out).unwrap();
    let ours: Vec<&Value> = list.as_array().unwrap().iter().filter(|r| r["namespace"] == "listed").collect();
    assert_eq!(ours.len(), 1);
    assert_eq!(
        (&ours[0]["name"], &ours[0]["revision"], &ours[0]["chart"]),
        (&json!("shop"), &json!(2), &json!("shop-1.2.3"))
    );
    let text = run(&deploy, 0, &["release", "list", "--namespace", "listed"]).out;
    assert!(text.starts_with("NAME  NAMESPACE  REVISION") && text.lines().count() == 2, "{text}");
    let history = take_back_history(&deploy);
    assert!(history.contains("1         ") && history.contains("Install complete"), "{history}");
    let get = |args: &[&str]| run(&deploy, 0, &[&["release", "get", "shop", "-n", "listed"], args].concat()).out;
    // It is part of what a Secret holds.
    assert_eq!(get(&["values"]), "greeting: (secret)\n");
    assert_eq!(get(&["values", "--show-secrets", "--revision", "1"]), "greeting: typed\n");
    assert_eq!(get(&["notes"]), "It says typed.\n");
    let manifest = get(&["manifest"]);
    assert!(manifest.contains("token: (secret)") && manifest.contains("other: \"thought\""), "{manifest}");
    assert!(get(&["manifest", "--revision", "1"]).contains("other: \"thing\""));
    assert!(get(&[]).contains("MANIFEST:"));
    assert!(get(&["-o", "json"]).contains("\"manifest\""));
    let shown = deploy.sandbox.run(&[
        "release",
        "get",
        "shop",
        "manifest",
        "-n",
        "listed",
        "--show-secrets",
        "--kubeconfig",
        &deploy.kubeconfig,
    ]);
    assert!(shown.out.contains(MARK), "{}", shown.out);
    let ran = run(&deploy, 1, &["release", "get", "shop", "-n", "listed", "--revision", "9"]);
    assert!(ran.err.contains("has no revision 9"), "{}", ran.err);
    let ran = run(&deploy, 1, &["release", "history", "shop", "-n", "nowhere"]);
    assert!(ran.err.contains("there is no release `shop` in the namespace `nowhere`"), "{}", ran.err);
    let ran = run(&deploy, 1, &["release", "history", "no-such-release"]);
    assert!(ran.err.contains("there is no release `no-such-release` in the cluster"), "{}", ran.err);
}

fn take_back_history(deploy: &Deploy) -> String {
    run(deploy, 0, &["release", "history", "shop", "-n", &deploy.namespace]).out
}

/// A plan file that holds values of the user keeps them sealed.
#[test]
fn values_of_the_user_are_in_no_output_and_sealed_in_a_saved_plan() {
    let deploy = shop("sealed", Ground::Loopback(Loopback::start()));
    let file = deploy.sandbox.home().join("more.yaml");
    std::fs::write(&file, format!("unused: {MARK}\n")).unwrap();
    let file = file.display().to_string();
    for format in ["text", "json", "markdown", "html"] {
        deploy.run(0, &["plan", "-o", format, "-f", &file]);
    }
    deploy.run(0, &["plan", "--out", "shop.plan", "-f", &file]);
    let saved = std::fs::read_to_string(deploy.sandbox.project().join("shop.plan")).unwrap();
    assert!(!saved.contains(MARK));
    deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    assert_eq!(record(&deploy, 1)["config"]["unused"], MARK);
}

/// Writes a record as Helm does: with labels, and without annotations.
fn put_record(deploy: &Deploy, revision: u32, status: &str, change: impl Fn(&mut Value)) {
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    let mut release = record(deploy, 1);
    release["version"] = revision.into();
    release["info"]["status"] = status.into();
    change(&mut release);
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let packed = encode(encode(release.to_string().as_bytes()).as_bytes());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    let name = format!("sh.helm.release.v1.shop.v{revision}");
    let labels =
        json!({"name": "shop", "owner": "helm", "status": status, "version": revision.to_string(), "modifiedAt": now});
    let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "data": {"release": packed},
        "metadata": {"name": name, "namespace": deploy.namespace, "labels": labels}});
    server.put(&deploy.address("secrets", &name), object);
}

#[test]
fn a_helm_under_way_is_not_marked_as_failed_nor_dismissed() {
    let deploy = shop("underway", Ground::Loopback(Loopback::start()));
    deploy.apply();
    // `helm rollback` copies the chart of our record, with what we note in it.
    put_record(&deploy, 2, "pending-rollback", |_| {});
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.writes();
    let ran = deploy.run(1, &["apply", "--auto-approve"]);
    assert!(ran.err.contains("somebody else, perhaps Helm, began revision 2"), "{}", ran.err);
    let ran = take_back(&deploy, 1, &["dismiss", "--auto-approve"]);
    assert!(ran.err.contains("somebody else, perhaps Helm, began revision 2"), "{}", ran.err);
    put_record(&deploy, 2, "uninstalling", |_| {});
    let ran = take_back(&deploy, 1, &["dismiss", "--auto-approve"]);
    assert!(ran.err.contains("somebody else, perhaps Helm, began revision 2"), "{}", ran.err);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    assert_eq!(
        (deploy.records(), data(&deploy)),
        (vec!["deployed".to_owned(), "uninstalling".to_owned()], json!("hello"))
    );
}

#[test]
fn what_resumes_does_not_take_the_revision_of_somebody_else_for_its_own() {
    let deploy = shop("theirs", Ground::Loopback(Loopback::start()));
    deploy.apply();
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    put_record(&deploy, 2, "deployed", |release| {
        release["chart"]["metadata"].as_object_mut().unwrap().shift_remove("annotations");
    });
    deploy.writes();
    deploy.run(4, &["apply", "shop.plan", "--auto-approve", "--resume"]);
    assert_eq!(deploy.writes(), (vec![], vec![]));
}

#[test]
fn what_follows_an_uninstalled_release_is_an_install() {
    let deploy = shop("kepthistory", Ground::Loopback(Loopback::start()));
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    deploy.apply();
    deploy.edit(".helm/values.yaml", "hello", "goodbye");
    deploy.apply();
    // `helm uninstall --keep-history`
    put_record(&deploy, 2, "uninstalled", |_| {});
    server.remove(&deploy.address("configmaps", "a"));
    server.remove(&deploy.address("secrets", "s"));
    deploy.apply();
    assert_eq!(deploy.records(), ["superseded", "uninstalled", "deployed"]);
    assert_eq!(record(&deploy, 3)["info"]["description"], "Install complete");
}

#[test]
fn what_is_no_record_is_told_and_left_out_of_lists() {
    let deploy = shop("garbage", Ground::Loopback(Loopback::start()));
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    deploy.apply();
    for (name, data) in [("x", "Z2FyYmFnZQ=="), ("y", "!")] {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1", "data": {"release": data},
            "metadata": {"name": format!("sh.helm.release.v1.{name}.v1"), "namespace": "garbage",
                "labels": {"owner": "helm", "name": name, "version": "1", "status": "deployed"}}});
        server.put(&deploy.address("secrets", &format!("sh.helm.release.v1.{name}.v1")), object);
    }
    let ran = run(&deploy, 0, &["release", "list", "--namespace", "garbage"]);
    assert!(ran.out.contains("shop") && ran.out.lines().count() == 2, "{}", ran.out);
    for name in ["x", "y"] {
        let told = format!("the record of revision 1 of garbage/{name} cannot be read");
        assert!(ran.err.contains(&told), "{}", ran.err);
    }
    let ran = run(&deploy, 0, &["release", "history", "x", "--namespace", "garbage"]);
    assert!(ran.err.contains("cannot be read"), "{}", ran.err);
}

/// Whoever has a plan in clear, or the record of a folder, could try out weak secrets.
#[test]
fn no_digest_of_the_users_values_is_told() {
    let deploy = shop("nodigest", Ground::Loopback(Loopback::start()));
    let with = |password: &str| {
        let set = format!("unused={password}");
        let ran = deploy.run(0, &["plan", "-o", "json", "--set", &set]);
        let mut plan: Value = serde_json::from_str(&ran.out).unwrap();
        plan.as_object_mut().unwrap().retain(|key, _| key == "operations");
        plan
    };
    assert_eq!(with("one"), with("two"));
    deploy.run(0, &["apply", "--auto-approve", "--set", "unused=one"]);
    deploy.run(0, &["plan", "--exit-code", "--set", "unused=one"]);
    deploy.run(3, &["plan", "--exit-code", "--set", "unused=two"]);
}

#[test]
fn notes_are_printed_and_releases_are_named_by_arguments() {
    let Some((deploy, _)) = real("by-position") else { return };
    let ran = deploy.run(0, &["apply", "--auto-approve"]);
    let (notes, done) = (ran.err.find("It says hello."), ran.err.trim_end().rfind('\n'));
    assert!(notes.is_some() && notes < done, "{}", ran.err);
    let ran = deploy.run(0, &["apply", "--auto-approve", "--set", "greeting=quiet", "--log-quiet"]);
    assert!(!ran.err.contains("It says"), "{}", ran.err);
    let place = ["--namespace", "by-position"];
    let back = run(&deploy, 0, &[&["release", "rollback", "shop", "1", "--auto-approve"], &place[..]].concat());
    assert!(!back.err.contains("It says"), "{}", back.err);
    assert_eq!(data(&deploy), "hello");
    run(&deploy, 0, &[&["dismiss", "shop", "--auto-approve"], &place[..]].concat());
    assert!(deploy.object("configmaps", "a").is_none());
}
