//! Scenarios of a deploy to a cluster, by the numbers of our list (docs/reference/scenarios.md); others stand beside what they
//! share with more tests (`tracking`, `exact`, `helm`).

use std::path::Path;

use serde_json::{Value, json};

use super::loopback::Loopback;
use super::tracking::{Kubelet, apply, is_there, once, ready, release, workload, write};
use super::{Deploy, Ground, actions};
use crate::cli::listing;
use crate::services::{Cluster, Registry};

/// A workload without pods.
fn idle(kind: &str, name: &str, annotations: &str) -> String {
    workload(kind, name, annotations).replace("replicas: 1", "replicas: 0")
}

fn config(name: &str, annotations: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  annotations: {{{annotations}}}\ndata: {{k: '{value}'}}\n"
    )
}

fn resource<'a>(plan: &'a Value, name: &str) -> &'a Value {
    plan["resources"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {plan:#}"))
}

fn reasons<'a>(plan: &'a Value, name: &str, code: &str) -> Vec<&'a Value> {
    resource(plan, name)["reasons"].as_array().unwrap().iter().filter(|r| r["code"] == code).collect()
}

fn risks<'a>(plan: &'a Value, address: &str) -> Vec<&'a str> {
    let all = plan["risks"].as_array().unwrap().iter().filter(|r| r["address"] == address);
    all.map(|r| r["code"].as_str().unwrap()).collect()
}

/// Changes an object as a manager of this name.
fn patch_as(cluster: &Cluster, manager: &str, address: &str, patch: &Value) {
    let address = format!("{address}?fieldManager={manager}");
    cluster.call("PATCH", &address, Some(("application/merge-patch+json", patch.to_string())));
}

fn deployment(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

#[test]
fn s24_a_change_of_one_image_is_planned_without_writing_anywhere() {
    let Some(cluster) = Cluster::shared() else { return };
    let deploy = Deploy::bare("s24", Ground::Real(cluster));
    let sandbox = &deploy.sandbox;
    sandbox.write(
        "werf.yaml",
        "configVersion: 1\nproject: shop\n---\nimage: one\ndockerfile: one.Dockerfile\n---\nimage: two\ndockerfile: two.Dockerfile\n",
    );
    for name in ["one", "two"] {
        sandbox.write(&format!("{name}.Dockerfile"), &format!("FROM scratch\nCOPY {name}.txt /\n"));
        sandbox.write(&format!("{name}.txt"), "first\n");
        let web =
            idle("Deployment", name, "").replace("example/web:1", &format!("{{{{ .Values.werf.image.{name} }}}}"));
        sandbox.write(&format!(".helm/templates/{name}.yaml"), &web);
    }
    sandbox.commit("the shop");
    apply(&deploy, 0);
    deploy.assert_no_changes();
    sandbox.write("one.txt", "second\n").commit("another text");
    deploy.writes();
    let before = listing(&sandbox.project().join(".stagewright/store"));
    let plan = deploy.plan(2);
    let image = |name: &str| plan["images"].as_array().unwrap().iter().find(|i| i["name"] == name).unwrap().clone();
    assert_eq!((&image("one")["action"], &image("two")["action"]), (&json!("build"), &json!("reuse")));
    assert!(image("one")["reasons"].to_string().contains("one.txt"), "{:#}", image("one"));
    assert_eq!(actions(&plan), ["update one"]);
    let because = reasons(&plan, "one", "image_tag");
    assert_eq!((&because[0]["image"], &because[0]["after"]), (&json!("one"), &image("one")["tag"]));
    let after = listing(&sandbox.project().join(".stagewright/store"));
    assert!(before == after, "a plan stores nothing");
    assert_eq!(deploy.writes(), (vec![], vec![]), "a plan reads and asks for dry runs");
}

/// What a bundle is for: images that were copied to another repository are deployed from there as they are.
#[test]
fn s25_images_in_another_repository_have_the_same_digests_and_nothing_is_built() {
    let (Some(cluster), Some(registry)) = (Cluster::shared(), Registry::shared()) else { return };
    let deploy = Deploy::bare("s25", Ground::Real(cluster));
    let sandbox = &deploy.sandbox;
    sandbox.write("werf.yaml", "configVersion: 1\nproject: shop\n---\nimage: one\ndockerfile: Dockerfile\n");
    sandbox.write("Dockerfile", "FROM scratch\nCOPY one.txt /\n").write("one.txt", "text\n");
    let web = idle("Deployment", "web", "").replace("example/web:1", "{{ .Values.werf.image.one }}");
    sandbox.write(".helm/templates/web.yaml", &web).commit("the shop");
    let repo = |name: &str| format!("{}/{name}", registry.address);
    let plan = |expected: i32, repo: &str| -> Value {
        let ran = deploy.run(expected, &["plan", "--exit-code", "-o", "json", "--repo", repo]);
        serde_json::from_str(&ran.out).unwrap()
    };
    let (first, second) = (repo("s25-first"), repo("s25-second"));
    deploy.run(0, &["apply", "--auto-approve", "--no-wait", "--repo", &first]);
    let before = plan(0, &first);
    assert_eq!(sandbox.run(&["stages", "copy", "--from", &first, "--to", &second]).code, 0);
    let after = plan(2, &second);
    let image = |plan: &Value| plan["images"][0].clone();
    assert_eq!((&image(&after)["action"], &image(&after)["tag"]), (&json!("reuse"), &image(&before)["tag"]));
    assert_eq!(image(&after)["manifest"], image(&before)["manifest"]);
    // The reference alone is another one.
    assert_eq!(actions(&after), ["update web"]);
    let fields = resource(&after, "web")["fields"].as_array().unwrap();
    let paths: Vec<&str> = fields.iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["spec.template.spec.containers[name=main].image"]);
    assert!(fields[0]["after"].as_str().unwrap().starts_with(&second), "{fields:?}");
}

#[test]
fn s29_annotations_of_the_run_are_no_change() {
    let run = |n: u32| {
        let own =
            format!("\n    ci.werf.io/job: 'job {n}'\n    project.werf.io/commit: 'c{n}'\n    werf.io/version: 'v{n}'");
        let with = |text: String| text.replace(" {}\n", &format!("{own}\n"));
        [("a", with(config("a", "", "v"))), ("web", with(idle("Deployment", "web", "")))]
    };
    let Some((deploy, _)) = release("s29", &run(1)) else { return };
    apply(&deploy, 0);
    write(&deploy, &run(2));
    deploy.assert_no_changes();
    let mut changed = run(3);
    changed[0].1 = changed[0].1.replace("k: 'v'", "k: 'w'");
    write(&deploy, &changed);
    assert_eq!(actions(&deploy.plan(2)), ["update a"]);
}

#[test]
fn s30_drift_names_who_changed_what_and_when() {
    let web = idle("Deployment", "web", "").replace("replicas: 0", "replicas: 3");
    let Some((deploy, cluster)) = release("s30", &[("web", web)]) else { return };
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    patch_as(cluster, "kubectl-edit", &deployment("s30", "web"), &json!({"spec": {"replicas": 5}}));
    let plan = deploy.plan(2);
    let drift = reasons(&plan, "web", "drift");
    let by = &drift[0]["by"][0];
    assert_eq!((&by["manager"], &by["outcome"]), (&json!("kubectl-edit"), &json!("reverted")), "{drift:#?}");
    assert_eq!(by["paths"], json!(["spec.replicas"]));
    assert!(by["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{by}");
    let text = deploy.run(0, &["plan"]).out;
    assert!(text.contains("spec.replicas by kubectl-edit at 2"), "{text}");
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    assert_eq!(cluster.object(&deployment("s30", "web")).unwrap()["spec"]["replicas"], 3);
    deploy.assert_no_changes();
}

/// What a plan says of what people changed by hand: the fields and their values, and what becomes of it.
fn by_hand(plan: &Value, name: &str) -> (Vec<String>, Vec<String>) {
    let kept = resource(plan, name)["kept"].as_array().cloned().unwrap_or_default();
    let kept = kept.iter().map(|f| format!("{} {} {}", f["path"].as_str().unwrap(), f["before"], f["after"])).collect();
    let by = reasons(plan, name, "drift").into_iter().flat_map(|drift| drift["by"].as_array().cloned().unwrap());
    let by = by.map(|by| format!("{} {}: {}", by["manager"], by["paths"], by["outcome"]).replace('"', ""));
    (kept, by.collect())
}

/// Returns the operations of a plan that write resources.
fn written(plan: &Value) -> Vec<&Value> {
    let all = plan["operations"].as_array().unwrap().iter().map(|o| &o["work"]);
    all.filter(|work| work["action"] == "write_resource").collect()
}

#[test]
fn s30_what_people_changed_by_hand_is_kept_where_somebody_says_so() {
    let web = |replicas: u32, image: &str| {
        let text = idle("Deployment", "web", "").replace("replicas: 0", &format!("replicas: {replicas}"));
        text.replace("example/web:1", image)
    };
    let one = || [("web", web(3, "example/web:1")), ("config", config("config", "", "chart"))];
    let Some((deploy, cluster)) = release("s30kept", &one()) else { return };
    let keep = |code: i32, args: &[&str]| deploy.run(code, &[args, &["--no-remove-manual-changes"]].concat());
    let plan =
        |code: i32| -> Value { serde_json::from_str(&keep(code, &["plan", "--exit-code", "-o", "json"]).out).unwrap() };
    let apply = || keep(0, &["apply", "--auto-approve", "--no-wait"]);
    let live = || cluster.object(&deployment("s30kept", "web")).unwrap()["spec"].clone();
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    // Each of them by other people's ways, and what a controller set beside them.
    patch_as(cluster, "kubectl-edit", &deployment("s30kept", "web"), &json!({"spec": {"replicas": 5}}));
    let config_map = "/api/v1/namespaces/s30kept/configmaps/config";
    patch_as(cluster, "Mozilla", config_map, &json!({"data": {"k": "console", "beside": "x"}}));
    let made = plan(0);
    assert_eq!((written(&made), made["operations"].as_array().unwrap().len()), (vec![], 0), "{made:#}");
    let (kept, by) = by_hand(&made, "web");
    assert_eq!((kept, by), (vec!["spec.replicas 5 3".to_owned()], vec!["kubectl-edit [spec.replicas]: kept".into()]));
    assert_eq!(by_hand(&made, "config").0, [r#"data.k "console" "chart""#]);
    let text = keep(0, &["plan"]).out;
    assert!(text.contains("Kept: somebody changed these by hand, and apply leaves them"), "{text}");
    assert!(text.contains("spec.replicas: 5, the chart says 3\n      spec.replicas by kubectl-edit at 2"), "{text}");
    deploy.writes();
    apply();
    assert_eq!(deploy.writes(), (vec![], vec![]), "nothing is written");
    // What the chart changes beside it is written, and theirs stays; what is written is what the plan says.
    write(&deploy, &[("web", web(3, "example/web:2")), ("config", config("config", "", "chart"))]);
    let made = plan(2);
    assert_eq!(by_hand(&made, "web").0, ["spec.replicas 5 3"]);
    let manifest = |plan: &Value| -> Value {
        let web = written(plan).into_iter().find(|work| work["address"] == "s30kept/Deployment/web").unwrap();
        serde_json::from_str(web["manifest"].as_str().unwrap()).unwrap()
    };
    assert_eq!(manifest(&made)["spec"].get("replicas"), None, "{made:#}");
    apply();
    let spec = live();
    let image = &spec["template"]["spec"]["containers"][0]["image"];
    assert_eq!((&spec["replicas"], image), (&json!(5), &json!("example/web:2")));
    assert_eq!(cluster.object(config_map).unwrap()["data"], json!({"k": "console", "beside": "x"}));
    assert_eq!(written(&plan(0)).len(), 0);
    // What the chart changes in this release wins over `kubectl`, and that is told; of others somebody decides.
    write(&deploy, &[("web", web(4, "example/web:2")), ("config", config("config", "", "other"))]);
    let forced = keep(2, &["plan", "--exit-code", "-o", "json", "--force-conflicts"]);
    let made: Value = serde_json::from_str(&forced.out).unwrap();
    let (kept, by) = by_hand(&made, "web");
    assert_eq!((kept, by), (vec![], vec!["kubectl-edit [spec.replicas]: overwritten".to_owned()]));
    assert_eq!(manifest(&made)["spec"]["replicas"], 4);
    let text = keep(0, &["plan", "--force-conflicts"]).out;
    assert!(text.contains("apply writes over them") && text.contains(": the chart changes it too, and wins"), "{text}");
    let ran = keep(5, &["plan"]);
    let ways = "leave it to them with --yield-conflicts, or take it over with --force-conflicts";
    let told = format!("`data.k` was set by hand, with `Mozilla`: {ways}");
    for ran in [ran, deploy.run(5, &["plan"])] {
        assert!(ran.err.contains(&told), "{}", ran.err);
    }
    let ran = keep(0, &["plan", "--yield-conflicts"]);
    assert!(ran.out.contains("left, as --yield-conflicts says: `data.k` to `Mozilla`"), "{}", ran.out);
    keep(0, &["apply", "--auto-approve", "--no-wait", "--force-conflicts"]);
    assert_eq!((&live()["replicas"], &cluster.object(config_map).unwrap()["data"]["k"]), (&json!(4), &json!("other")));
    // Without the choice it is set back as ever, or has to be decided.
    patch_as(cluster, "Mozilla", config_map, &json!({"data": {"k": "console"}}));
    let ran = deploy.run(5, &["plan"]);
    let told = format!("`data.k` was set by hand, with `Mozilla`: keep that with --no-remove-manual-changes, {ways}");
    assert!(ran.err.contains(&told), "{}", ran.err);
    patch_as(cluster, "kubectl-patch", config_map, &json!({"data": {"k": "patched"}}));
    let ran = deploy.run(0, &["plan"]);
    assert!(ran.out.contains("data.k: patched -> other"), "{}", ran.out);
    // What a controller sets is nobody's by hand.
    patch_as(cluster, "kube-controller-manager", &deployment("s30kept", "web"), &json!({"spec": {"replicas": 9}}));
    assert!(keep(5, &["plan"]).err.contains("`spec.replicas` is set by `kube-controller-manager`"));
}

#[test]
fn s30_a_saved_plan_and_a_rollback_keep_what_people_changed_by_hand() {
    let both = |value: &str| [("a", config("a", "", "chart")), ("b", config("b", "", value))];
    let Some((deploy, cluster)) = release("s30saved", &both("1")) else { return };
    let a = "/api/v1/namespaces/s30saved/configmaps/a";
    let values = || {
        ["a", "b"].map(|name| {
            let address = format!("/api/v1/namespaces/s30saved/configmaps/{name}");
            cluster.object(&address).unwrap()["data"]["k"].as_str().unwrap().to_owned()
        })
    };
    let by_hand = |value: &str| patch_as(cluster, "kubectl-edit", a, &json!({"data": {"k": value}}));
    deploy.run(0, &["apply", "--auto-approve"]);
    by_hand("hand");
    write(&deploy, &both("2"));
    deploy.run(0, &["plan", "--no-remove-manual-changes", "--out", "kept.plan"]);
    deploy.run(0, &["plan", "--out", "reverts.plan"]);
    let late = deploy.run(64, &["apply", "reverts.plan", "--no-remove-manual-changes"]);
    assert!(late.err.contains("give it to the command that plans"), "{}", late.err);
    // What is kept is theirs to change until it is carried out.
    by_hand("hand again");
    // A field that others set and set back is ours no more: that counts, and changes nothing of what is done.
    for value in ["theirs", "1"] {
        let b = "/api/v1/namespaces/s30saved/configmaps/b";
        patch_as(cluster, "terraform", b, &json!({"data": {"k": value}}));
    }
    let ran = deploy.run(4, &["apply", "kept.plan"]);
    assert!(ran.err.contains("s30saved/ConfigMap/b") && !ran.err.contains("s30saved/ConfigMap/a"), "{}", ran.err);
    let ran = deploy.run(0, &["apply", "kept.plan", "--stale=replan-if-equal"]);
    assert!(ran.err.contains("Planned again, it does what was approved."), "{}", ran.err);
    assert_eq!(values(), ["hand again", "2"]);
    let ran = deploy.run(0, &["release", "rollback", "--auto-approve", "--no-remove-manual-changes"]);
    assert!(ran.out.contains("data.k: hand again, the chart says chart"), "{}", ran.out);
    assert_eq!(values(), ["hand again", "1"]);
}

#[test]
fn s30_a_kept_image_replicas_beside_an_autoscaler_and_a_secret_value() {
    let web = |annotations: &str| idle("Deployment", "web", annotations).replace("replicas: 0", "replicas: 1");
    let secret = |more: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: key}}\nstringData: {{token: theirs-of-old{more}}}\n")
    };
    let scaler = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: auto}\nspec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n";
    let files = [("web", web("")), ("key", secret("")), ("auto", String::new())];
    let Some((deploy, cluster)) = release("s30more", &files) else { return };
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    let web_at = deployment("s30more", "web");
    let image = || {
        let spec = cluster.object(&web_at).unwrap()["spec"].clone();
        (spec["replicas"].clone(), spec["template"]["spec"]["containers"][0]["image"].clone())
    };
    let mut containers = cluster.object(&web_at).unwrap()["spec"]["template"]["spec"]["containers"].clone();
    containers[0]["image"] = json!("example/web:hand");
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    patch_as(cluster, "kubectl-set", &web_at, &patch);
    patch_as(cluster, "kubectl-scale", &web_at, &json!({"spec": {"replicas": 0}}));
    // `a2V5LW9mLWhhbmQ=`: key-of-hand
    let key = "/api/v1/namespaces/s30more/secrets/key";
    patch_as(cluster, "kubectl-edit", key, &json!({"data": {"token": "a2V5LW9mLWhhbmQ="}}));
    write(&deploy, &[("web", web("note: changed")), ("key", secret(", more: more")), ("auto", scaler.to_owned())]);
    let json = deploy.run(2, &["plan", "--exit-code", "-o", "json", "--no-remove-manual-changes"]).out;
    let plan: Value = serde_json::from_str(&json).unwrap();
    let path = "spec.template.spec.containers[name=main].image";
    let (kept, mut by) = by_hand(&plan, "web");
    assert_eq!(kept, ["spec.replicas 0 1".to_owned(), format!("{path} \"example/web:hand\" \"example/web:1\"")]);
    by.sort();
    assert_eq!(by, ["kubectl-scale [spec.replicas]: kept".to_owned(), format!("kubectl-set [{path}]: kept")]);
    assert_eq!(by_hand(&plan, "key").1, ["kubectl-edit [data.token]: kept"]);
    let ran = deploy.run(0, &["apply", "--auto-approve", "--no-wait", "--no-remove-manual-changes"]);
    assert_eq!(image(), (json!(0), json!("example/web:hand")));
    let data = &cluster.object(key).unwrap()["data"];
    assert_eq!(*data, json!({"token": "a2V5LW9mLWhhbmQ=", "more": "bW9yZQ=="}));
    for told in [json, ran.out, ran.err] {
        for value in ["a2V5LW9mLWhhbmQ=", "key-of-hand", "theirs-of-old"] {
            assert!(!told.contains(value), "{value}: {told}");
        }
    }
}

#[test]
fn s30_what_is_made_anew_is_made_as_the_chart_says_and_that_is_told() {
    let anew = "werf.io/delete-policy: before-creation";
    let Some((deploy, cluster)) = release("s30anew", &[("a", config("a", anew, "1"))]) else { return };
    let both = |deploy: &Deploy, value: &str| {
        let text = config("a", anew, "1").replace("data: {", &format!("data: {{own: '{value}', "));
        write(deploy, &[("a", text)]);
    };
    both(&deploy, "1");
    deploy.run(0, &["apply", "--auto-approve"]);
    let a = "/api/v1/namespaces/s30anew/configmaps/a";
    patch_as(cluster, "kubectl-edit", a, &json!({"data": {"k": "hand"}}));
    both(&deploy, "2");
    let plan = deploy.run(2, &["plan", "--exit-code", "-o", "json", "--no-remove-manual-changes"]);
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    assert_eq!(by_hand(&plan, "a"), (vec![], vec!["kubectl-edit [data.k]: reverted".to_owned()]), "{plan:#}");
    deploy.run(0, &["apply", "--auto-approve", "--no-remove-manual-changes"]);
    assert_eq!(cluster.object(a).unwrap()["data"], json!({"k": "1", "own": "2"}));
}

#[test]
fn s31_replicas_that_an_autoscaler_sets_are_left_to_it() {
    let web = |annotations: &str| idle("Deployment", "web", annotations).replace("replicas: 0", "replicas: 2");
    let Some((deploy, cluster)) = release("s31", &[("web", web(""))]) else { return };
    let apply = || deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    let replicas = |name: &str| cluster.object(&deployment("s31", name)).unwrap()["spec"]["replicas"].clone();
    apply();
    patch_as(cluster, "kube-controller-manager", &deployment("s31", "web"), &json!({"spec": {"replicas": 6}}));
    deploy.writes();
    for command in [&["plan"][..], &["apply", "--auto-approve"]] {
        let ran = deploy.run(5, command);
        assert!(ran.err.contains("error[resource-blocked]"), "{}", ran.err);
        assert!(ran.err.contains("`spec.replicas` is set by `kube-controller-manager`"), "{}", ran.err);
        assert!(ran.err.contains("leave it out of the manifest"), "{}", ran.err);
        assert!(ran.err.contains("werf.io/replicas-on-creation: \"2\""), "{}", ran.err);
    }
    assert_eq!(deploy.writes(), (vec![], vec![]));
    // Left out, they are the autoscaler's; of a new workload they are set once.
    let left = |text: String| text.replace("replicas: 2, ", "");
    let once = "werf.io/replicas-on-creation: '4'";
    write(&deploy, &[("web", left(web(once))), ("new", left(web(once)).replace("web", "new"))]);
    let plan = deploy.plan(2);
    let fields = resource(&plan, "web")["fields"].to_string();
    assert!(!fields.contains("replicas\""), "{fields}");
    assert!(resource(&plan, "new")["fields"].to_string().contains("spec.replicas"));
    apply();
    assert_eq!((replicas("web"), replicas("new")), (json!(6), json!(4)));
    deploy.assert_no_changes();
    patch_as(cluster, "kube-controller-manager", &deployment("s31", "new"), &json!({"spec": {"replicas": 1}}));
    deploy.assert_no_changes();
    // Replicas that were ours until now stay as they are.
    write(&deploy, &[("own", web("").replace("web", "own"))]);
    apply();
    write(&deploy, &[("own", left(web(once)).replace("web", "own"))]);
    apply();
    assert_eq!(replicas("own"), json!(2));
    deploy.assert_no_changes();
    // An autoscaler of the release is known before it acts.
    let scaler = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: auto}\nspec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n";
    write(&deploy, &[("scaler", scaler.to_owned()), ("web", web(""))]);
    let ran = deploy.run(5, &["plan"]);
    assert!(ran.err.contains("s31/Deployment/web"), "{}", ran.err);
}

/// S32 is `what_cannot_be_changed_in_place_is_replaced`.
#[test]
fn s46_a_set_that_cannot_change_in_place_is_replaced_where_that_is_allowed_and_its_pods_run_on() {
    let set = |annotations: &str, size: &str| {
        let claims = format!(
            "volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: {size}}}}}}}}}], template"
        );
        workload("StatefulSet", "db", annotations).replace("template", &claims)
    };
    let Some((deploy, cluster)) = release("s46", &[("db", set("", "1Mi"))]) else { return };
    let _kubelet = Kubelet::start(cluster, "s46", Box::new(|_: &str, nth| once(nth, ready())));
    apply(&deploy, 0);
    let uid = |kind: &str, name: &str| cluster.get(&[kind, name, "-n", "s46"])["metadata"]["uid"].clone();
    let (before, pod) = (uid("statefulset", "db"), uid("pod", "db-0"));
    write(&deploy, &[("db", set("", "2Mi"))]);
    deploy.writes();
    let ran = deploy.run(5, &["apply", "--auto-approve"]);
    assert!(ran.err.contains("spec.volumeClaimTemplates"), "{}", ran.err);
    assert!(ran.err.contains("`werf.io/delete-propagation: Orphan`"), "{}", ran.err);
    assert!(ran.err.contains("`werf.io/delete-policy: before-creation-if-immutable`"), "{}", ran.err);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    write(&deploy, &[("db", set("werf.io/delete-propagation: Orphan", "2Mi"))]);
    let plan = deploy.plan(2);
    assert_eq!(actions(&plan), ["replace db"]);
    assert_eq!(resource(&plan, "db").get("restart"), None, "its pods run on");
    apply(&deploy, 0);
    assert_ne!(uid("statefulset", "db"), before);
    assert_eq!(uid("pod", "db-0"), pod);
    deploy.assert_no_changes();
}

const THINGS: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.s35.example}\nspec:\n  group: s35.example\n  scope: Namespaced\n  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    subresources: {status: {}}\n    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}\n";

#[test]
fn s35_s36_s37_s86_definitions_and_their_objects() {
    let Some(cluster) = Cluster::shared() else { return };
    let thing =
        |size: u32| format!("apiVersion: s35.example/v1\nkind: Thing\nmetadata: {{name: t}}\nspec: {{size: {size}}}\n");
    let Some((deploy, _)) = release("s35", &[("thing", thing(1))]) else { return };
    deploy.sandbox.write(".helm/crds/things.yaml", THINGS).commit("a definition");
    // S35: both in one plan.
    assert_eq!(actions(&deploy.plan(2)), ["create s35", "create t", "create things.s35.example"]);
    apply(&deploy, 0);
    deploy.assert_no_changes();

    // S86: what the object says of an older generation does not count.
    let address = "/apis/s35.example/v1/namespaces/s35/things/t";
    let status = |generation: u64| {
        let ready = json!([{"type": "Ready", "status": "True", "reason": "Fine"}]);
        let status = json!({"status": {"observedGeneration": generation, "conditions": ready}});
        let body = Some(("application/merge-patch+json", status.to_string()));
        cluster.call("PATCH", &format!("{address}/status"), body);
    };
    status(1);
    write(&deploy, &[("thing", thing(2))]);
    let ran = std::thread::scope(|scope| {
        let controller = scope.spawn(|| {
            let start = std::time::Instant::now();
            let generation = || cluster.object(address).unwrap()["metadata"]["generation"].as_u64().unwrap();
            while generation() < 2 && start.elapsed().as_secs() < 120 {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            // Long enough to be looked at.
            std::thread::sleep(std::time::Duration::from_secs(2));
            status(generation());
        });
        let ran = apply(&deploy, 0);
        controller.join().unwrap();
        ran
    });
    assert!(ran.err.contains("its controller has not seen the change yet"), "{}", ran.err);
    assert_eq!(cluster.object(address).unwrap()["status"]["observedGeneration"], 2);

    // S36: a version goes in which objects are stored.
    let newer = THINGS.replace("name: v1\n", "name: v2\n");
    deploy.sandbox.write(".helm/crds/things.yaml", &newer);
    write(&deploy, &[("thing", String::new())]);
    let ran = deploy.run(5, &["plan"]);
    assert!(ran.err.contains("storedVersions") && ran.err.contains("write them anew"), "{}", ran.err);

    // S37: a definition of crds/ stays when its file goes.
    std::fs::remove_file(deploy.sandbox.project().join(".helm/crds/things.yaml")).unwrap();
    deploy.sandbox.commit("without the definition");
    let plan = deploy.plan(2);
    assert_eq!(actions(&plan), ["delete t"]);
    assert_eq!(risks(&plan, ".helm/crds/things.yaml"), ["kept"]);
    apply(&deploy, 0);
    let definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.s35.example";
    assert!(cluster.object(definition).is_some());
    cluster.call("DELETE", definition, None);
}

/// The order is that of `s38_what_is_renamed_goes_when_the_new_one_is_ready`.
#[test]
fn s38_s42_s49_names_chance_and_finalizers() {
    let random = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {t: {{ randAlphaNum 20 }}}\n";
    let held = |finalizers: &str| {
        config("held", "", "v").replace("  annotations: {}", &format!("  finalizers: [{finalizers}]"))
    };
    let templates =
        [("web", idle("Deployment", "a", "")), ("token", random.to_owned()), ("held", held("example.org/hold"))];
    let Some((deploy, cluster)) = release("s38b", &templates) else { return };
    // S42: each rendering gives another token; a saved plan writes the one that it was made with.
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    let token = || deploy.object("secrets", "token").unwrap()["data"]["t"].clone();
    let (first, plan) = (token(), deploy.plan(2));
    assert_eq!(actions(&plan), ["update token"]);
    assert!(risks(&plan, "s38b/Secret/token").contains(&"nondeterministic"), "{:#}", plan["risks"]);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    assert_ne!(token(), first);
    write(&deploy, &[("token", random.replace("randAlphaNum 20", "repeat 20 \"x\""))]);
    apply(&deploy, 0);
    deploy.assert_no_changes();

    // S38: the same under another name.
    write(&deploy, &[("web", idle("Deployment", "b", ""))]);
    let plan = deploy.plan(2);
    assert_eq!(resource(&plan, "b")["previous_address"], "s38b/Deployment/a");
    apply(&deploy, 0);

    // S49: a finalizer of the chart is a field as any other.
    let finalizers = || deploy.object("configmaps", "held").unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers(), json!(["example.org/hold"]));
    write(&deploy, &[("held", held("example.org/hold, example.org/more"))]);
    let plan = deploy.plan(2);
    assert!(resource(&plan, "held")["fields"].to_string().contains("metadata.finalizers"), "{plan:#}");
    apply(&deploy, 0);
    assert_eq!(finalizers(), json!(["example.org/hold", "example.org/more"]));
    deploy.assert_no_changes();
    write(&deploy, &[("held", held(""))]);
    apply(&deploy, 0);
    assert!(is_there(&deploy, cluster, "configmap", "held"));
}

#[test]
fn s40_s41_a_restart_is_traced_to_a_value_and_a_missing_one_is_told() {
    let reads = |name: &str, annotations: &str| {
        idle("Deployment", name, "")
            .replace("metadata: {labels", &format!("metadata: {{annotations: {{{annotations}}}, labels"))
            .replace("image: example/web:1", "image: example/web:1, envFrom: [{configMapRef: {name: settings}}]")
            .replace("replicas: 0", "replicas: 3")
    };
    let sum = "checksum/config: '{{ .Values.greeting | sha256sum }}'";
    let settings =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {greeting: '{{ .Values.greeting }}'}\n";
    let templates = [("settings", settings.to_owned()), ("web", reads("web", sum)), ("old", reads("old", ""))];
    let Some((deploy, _)) = release("s40", &templates) else { return };
    deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
    deploy.edit(".helm/values.yaml", "greeting: hello", "greeting: goodbye");
    let plan = deploy.plan(2);
    assert_eq!(actions(&plan), ["update settings", "update web"]);
    let chain = reasons(&plan, "web", "uses_config");
    assert_eq!(chain[0]["address"], "s40/ConfigMap/settings");
    let value = chain[0]["because"].as_array().unwrap().iter().find(|r| r["code"] == "value").unwrap().clone();
    assert_eq!((&value["place"]["file"], &value["place"]["line"]), (&json!(".helm/values.yaml"), &json!(1)));
    assert_eq!(resource(&plan, "web")["restart"]["pods"], 3);
    assert_eq!(risks(&plan, "s40/Deployment/old"), ["stale-until-restart"]);
    let text = deploy.run(0, &["plan"]).out;
    assert!(text.contains("its pods read s40/ConfigMap/settings, which changed"), "{text}");
}

#[test]
fn s45_an_object_that_moved_to_another_group_is_the_same_object() {
    let old = "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: web}\nspec: {rules: [{host: a.example, http: {paths: [{path: /, backend: {serviceName: a, servicePort: 80}}]}}]}\n";
    let new = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec: {rules: [{host: b.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}]}}]}\n";
    let Some((deploy, cluster)) = release("s45", &[("web", old.to_owned())]) else { return };
    deploy.run(0, &["apply", "--auto-approve", "--kube-version", "1.20.2"]);
    let address = "/apis/networking.k8s.io/v1/namespaces/s45/ingresses/web";
    let uid = || cluster.object(address).unwrap()["metadata"]["uid"].clone();
    let before = uid();
    write(&deploy, &[("web", new.to_owned())]);
    assert_eq!(actions(&deploy.plan(2)), ["update web"]);
    apply(&deploy, 0);
    assert_eq!(uid(), before);
    deploy.assert_no_changes();
    // It goes under the group that is served.
    write(&deploy, &[("web", String::new())]);
    assert_eq!(actions(&deploy.plan(2)), ["delete web"]);
    apply(&deploy, 0);
    assert!(cluster.object(address).is_none());
}

#[test]
fn s47_an_object_of_another_release_is_taken_over_only_on_request() {
    let Some((deploy, cluster)) = release("s47", &[("a", config("a", "", "ours"))]) else { return };
    cluster.kubectl(&["create", "namespace", "s47"]);
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "s47",
        "labels": {"app.kubernetes.io/managed-by": "Helm"}, "annotations": {"meta.helm.sh/release-name": "other",
        "meta.helm.sh/release-namespace": "elsewhere"}}, "data": {"k": "theirs", "more": "x"}});
    let body = Some(("application/json", theirs.to_string()));
    cluster.call("POST", "/api/v1/namespaces/s47/configmaps?fieldManager=helm", body);
    let ran = deploy.run(5, &["plan"]);
    assert!(ran.err.contains("`shop`") && ran.err.contains("`elsewhere/other`"), "{}", ran.err);
    let plan = deploy.run(0, &["plan", "--force-adoption", "-o", "json"]).out;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(actions(&plan), ["update a"]);
    assert_eq!(reasons(&plan, "a", "adopted")[0]["from"], "elsewhere/other");
    deploy.run(0, &["apply", "--auto-approve", "--force-adoption"]);
    let object = deploy.object("configmaps", "a").unwrap();
    assert_eq!(
        (&object["data"]["k"], &object["metadata"]["annotations"]["meta.helm.sh/release-name"]),
        (&json!("ours"), &json!("shop"))
    );
    deploy.assert_no_changes();
}

#[test]
fn s52_a_saved_plan_is_carried_out_as_it_is() {
    let templates = [("a", config("a", "", "1")), ("b", config("b", "", "1"))];
    let Some((deploy, _)) = release("s52", &templates) else { return };
    apply(&deploy, 0);
    write(&deploy, &[("a", config("a", "", "2"))]);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    // What is in the project by then does not matter.
    write(&deploy, &[("b", config("b", "", "2"))]);
    let ran = deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    assert!(ran.err.contains("s52/ConfigMap/a") && !ran.err.contains("s52/ConfigMap/b"), "{}", ran.err);
    assert_eq!(actions(&deploy.plan(2)), ["update b"]);
}

#[test]
fn s85_a_plan_asks_little_of_the_server() {
    let deploy = Deploy::bare("s85", Ground::Loopback(Loopback::start()));
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    for n in 0..60 {
        deploy.sandbox.write(&format!(".helm/templates/c{n}.yaml"), &config(&format!("c{n}"), "", "1"));
    }
    deploy.sandbox.commit("many");
    deploy.apply();
    let before = server.requests().len();
    for n in 0..60 {
        deploy.sandbox.write(&format!(".helm/templates/c{n}.yaml"), &config(&format!("c{n}"), "", "2"));
    }
    deploy.sandbox.commit("all changed");
    assert_eq!(actions(&deploy.plan(2)).len(), 60);
    let asked = server.requests().split_off(before);
    for n in 0..60 {
        let end = format!("/configmaps/c{n}");
        let about = asked.iter().filter(|(_, address)| address.split('?').next().unwrap().ends_with(&end));
        let verbs: Vec<&str> = about.map(|(verb, _)| verb.as_str()).collect();
        assert_eq!(verbs, ["GET", "PATCH"], "one look and one dry run");
    }
    assert!(asked.len() < 120 + 20, "{} requests", asked.len());
    assert!(!asked.iter().any(|(_, address)| address.contains("poddisruptionbudgets")), "no pod stops");
}

/// With 50 ms for each request: what counts is how many of them wait for others.
#[test]
fn s85_a_plan_asks_for_much_at_once_where_each_answer_takes_a_while() {
    let Some(cluster) = Cluster::shared() else { return };
    let proxy = super::proxy::Proxy::start(cluster);
    let mut deploy = Deploy::bare("s85far", Ground::Real(cluster));
    let file = deploy.sandbox.home().join("kubeconfig");
    std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();
    let version = |version: &str| {
        for n in 0..100 {
            let text = config(&format!("c{n}"), "", version);
            deploy.sandbox.write(&format!(".helm/templates/c{n}.yaml"), &text);
        }
        deploy.sandbox.commit("many");
    };
    version("1");
    deploy.apply();
    let planned = |expected: usize| {
        proxy.delay(std::time::Duration::from_millis(50));
        let plan = deploy.plan(if expected == 0 { 0 } else { 2 });
        assert_eq!(actions(&plan).len(), expected);
        proxy.depth()
    };
    let (count, deep) = planned(0);
    assert!(count <= 20 && deep <= count, "{count} requests, {deep} one after the other");
    version("2");
    let (count, deep) = planned(100);
    assert!((100..=200 + 20).contains(&count), "{count} requests");
    assert!(deep * 3 <= count, "{count} requests, {deep} of them one after the other");
    proxy.pass();
}

#[test]
fn what_is_deployed_on_some_occasions_only() {
    let deploy = Deploy::bare("occasions", Ground::Loopback(Loopback::start()));
    let Ground::Loopback(server) = &deploy.ground else { unreachable!() };
    let on = |name: &str, when: &str| (name.to_owned(), config(name, &format!("werf.io/deploy-on: '{when}'"), "1"));
    let all = [
        on("first", "pre-install"),
        on("last", "post-install,post-upgrade"),
        on("later", "upgrade"),
        on("any", "install,upgrade"),
    ];
    for (name, text) in &all {
        deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), text);
    }
    deploy.sandbox.commit("occasions");
    deploy.apply();
    let written = || -> Vec<String> {
        let all = server.requests().into_iter();
        let writes = all.filter(|(verb, address)| {
            verb == "PATCH" && address.contains("/configmaps/") && !address.contains("dryRun")
        });
        writes.map(|(_, address)| address.split(['/', '?']).nth(6).unwrap().to_owned()).collect()
    };
    assert_eq!(written(), ["first", "any", "last"]);
    // Whatever was left out then is not missing now.
    assert_eq!(actions(&deploy.plan(2)), ["create later"]);
    deploy.apply();
    assert_eq!(written()[3..], ["later"]);
    deploy.assert_no_changes();
}

#[test]
fn what_an_object_owns_stays_where_it_says_so() {
    let Some((deploy, cluster)) =
        release("orphans", &[("web", idle("Deployment", "web", "werf.io/delete-propagation: Orphan"))])
    else {
        return;
    };
    apply(&deploy, 0);
    write(&deploy, &[("web", String::new())]);
    apply(&deploy, 0);
    let start = std::time::Instant::now();
    while is_there(&deploy, cluster, "deployment", "web") {
        assert!(start.elapsed().as_secs() < 120, "it does not go");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let sets = cluster.get(&["replicasets", "-n", "orphans"]);
    assert_eq!(sets["items"].as_array().unwrap().len(), 1);
}

/// Every plan of the tests of this folder is one of the published schema (S84).
pub(super) fn assert_published(plan: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/plan.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("file:///plan.schema.json", schema).unwrap();
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile("file:///plan.schema.json", &mut schemas).unwrap();
    let valid = schemas.validate(plan, index);
    assert!(valid.is_ok(), "{:#}", valid.unwrap_err());
}
