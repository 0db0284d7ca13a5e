//! What templates see of the cluster of their release.

use serde_json::json;

use super::loopback::Loopback;
use super::{Deploy, Ground, MARK, everywhere};

const SEES: &str = "apiVersion: v1
kind: ConfigMap
metadata:
  name: sees
data:
  version: {{ .Capabilities.KubeVersion.Version | quote }}
  maps: {{ .Capabilities.APIVersions.Has \"v1/ConfigMap\" | quote }}
  nothing: {{ .Capabilities.APIVersions.Has \"example.org/v1/Nothing\" | quote }}
  a: {{ (lookup \"v1\" \"ConfigMap\" .Release.Namespace \"a\").data | toJson | quote }}
  absent: {{ lookup \"v1\" \"ConfigMap\" .Release.Namespace \"absent\" | toJson | quote }}
  hidden: {{ ((lookup \"v1\" \"Secret\" .Release.Namespace \"s\").data | default dict).token | default \"bm9uZQ==\" | b64dec }}
";

fn data(deploy: &Deploy) -> serde_json::Value {
    deploy.object("configmaps", "sees").unwrap()["data"].clone()
}

#[test]
fn templates_see_the_version_and_the_objects_of_the_cluster_and_what_a_secret_held_stays_hidden() {
    everywhere("sees", |deploy| {
        deploy.sandbox.write(".helm/templates/sees.yaml", SEES);
        deploy.sandbox.commit("look around");
        // A run asserts that the mark is shown nowhere.
        deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
        let version = match deploy.ground {
            Ground::Loopback(_) => "v1.30.1",
            Ground::Real(_) => "v1.20.2",
        };
        let first = data(deploy);
        assert_eq!(
            (&first["version"], &first["maps"], &first["nothing"]),
            (&json!(version), &json!("true"), &json!("false"))
        );
        assert_eq!((&first["a"], &first["absent"]), (&json!("null"), &json!("{}")), "nothing was there");
        deploy.plan(2);
        deploy.run(0, &["plan"]);
        deploy.run(0, &["apply", "--auto-approve", "--no-wait"]);
        let second = data(deploy);
        assert_eq!((&second["a"], &second["hidden"]), (&json!("{\"greeting\":\"hello\"}"), &json!(MARK)));
        deploy.assert_no_changes();
        let typed = deploy.run(0, &["plan", "--kube-version", "1.28"]);
        assert!(typed.out.contains("v1.28"), "{}", typed.out);
    });
}

#[test]
fn a_kind_that_the_cluster_does_not_know_is_not_looked_up() {
    everywhere("unknown", |deploy| {
        deploy.sandbox.write(".helm/templates/no.yaml", "{{ lookup \"example.org/v1\" \"Nothing\" \"\" \"\" }}\n");
        deploy.sandbox.commit("look for nothing");
        let ran = deploy.run(1, &["plan"]);
        assert!(ran.err.contains("knows no kind Nothing in example.org/v1"), "{}", ran.err);
        assert!(ran.err.contains(".helm/templates/no.yaml:1:4"), "{}", ran.err);
    });
}

/// Ordinary resources, hooks and items of lists: `plan` stops at their templates, and `lint` says the same before.
#[test]
fn a_name_that_the_server_would_make_up_stops_a_plan_and_is_told_by_lint() {
    let deploy = Deploy::bare("generated", Ground::Loopback(Loopback::start()));
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  generateName: map-\n";
    let hook = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  generateName: migrate-\n  annotations: {helm.sh/hook: pre-install}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: 'a:1'}]}}}\n";
    let list =
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {generateName: item-}\n";
    for (file, text, prefix) in [("map", map, "map"), ("hook", hook, "migrate"), ("list", list, "item")] {
        deploy.sandbox.write(&format!(".helm/templates/{file}.yaml"), text).commit("a name");
        for args in [&["plan"][..], &["apply", "--auto-approve"]] {
            let ran = deploy.run(1, args);
            assert!(ran.err.contains("error[resource-refused]"), "{}", ran.err);
            assert!(ran.err.contains(&format!(".helm/templates/{file}.yaml")), "{}", ran.err);
            let cure = format!("`name: {prefix}-{{{{ .Release.Revision }}}}`");
            assert!(ran.err.contains("`metadata.generateName`") && ran.err.contains(&cure), "{}", ran.err);
        }
        let ran = deploy.sandbox.run(&["lint"]);
        assert!(
            ran.out.contains("warning[generated-name]") || ran.err.contains("warning[generated-name]"),
            "{}{}",
            ran.out,
            ran.err
        );
        deploy.sandbox.write(&format!(".helm/templates/{file}.yaml"), "").commit("no more");
    }
    assert_eq!(deploy.writes(), (vec![], vec![]));
    // The name that is proposed is another one with each revision, and no change by itself.
    let named = map.replace("generateName: map-", "name: map-{{ .Release.Revision }}");
    deploy.sandbox.write(".helm/templates/map.yaml", &named).commit("a name of its own");
    deploy.apply();
    assert!(deploy.object("configmaps", "map-1").is_some());
    deploy.assert_no_changes();
}
