//! What resources say of themselves, and what templates and people say of them.

use serde_json::json;

use super::releases::take_back;
use super::{Deploy, Ground, actions, everywhere};
use crate::services::Cluster;

fn bare(namespace: &str) -> Option<(Deploy, &'static Cluster)> {
    let cluster = Cluster::shared()?;
    Some((Deploy::bare(namespace, Ground::Real(cluster)), cluster))
}

fn config(name: &str, annotations: &str, value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\ndata: {{a: '{value}'}}\n"
    )
}

#[test]
fn what_is_of_anyone_is_written_without_marks_and_never_deleted() {
    let Some((deploy, cluster)) = bare("anyone") else { return };
    cluster.kubectl(&["create", "namespace", "anyone"]);
    cluster.kubectl(&["create", "configmap", "shared", "-n", "anyone", "--from-literal=b=2"]);
    let template = |text: &str| deploy.sandbox.write(".helm/templates/all.yaml", text).commit("maps");
    let both = config("shared", "werf.io/ownership: anyone", "1") + &config("own", "", "1");
    template(&both);
    assert_eq!(actions(&deploy.plan(2)), ["create own", "update shared"]);
    deploy.apply();
    deploy.assert_no_changes();
    let shared = || cluster.get(&["configmap", "shared", "-n", "anyone"]);
    assert_eq!(shared()["data"], json!({"a": "1", "b": "2"}));
    assert_eq!(shared()["metadata"]["labels"]["app.kubernetes.io/managed-by"], json!(null));
    template(&config("own", "", "2"));
    assert_eq!(actions(&deploy.plan(2)), ["update own"]);
    deploy.apply();
    template(&both);
    deploy.apply();
    take_back(&deploy, 0, &["dismiss", "--auto-approve"]);
    assert_eq!(shared()["data"]["b"], "2");
    assert_eq!(cluster.kubectl(&["get", "configmap", "own", "-n", "anyone", "--ignore-not-found"]), "");
}

#[test]
fn a_template_sees_the_revision_that_it_is_written_in() {
    let Some((deploy, cluster)) = bare("revision") else { return };
    let template = |value: &str| {
        let text = config("a", "", "{{ .Release.Revision }}") + &config("b", "", value);
        deploy.sandbox.write(".helm/templates/all.yaml", &text).commit("maps");
    };
    let revision = || cluster.get(&["configmap", "a", "-n", "revision"])["data"]["a"].clone();
    template("1");
    deploy.apply();
    assert_eq!(revision(), "1");
    deploy.assert_no_changes();
    template("2");
    assert_eq!(actions(&deploy.plan(2)), ["update a", "update b"]);
    deploy.apply();
    assert_eq!(revision(), "2");
    deploy.assert_no_changes();
}

#[test]
fn a_field_of_a_stranger_is_taken_where_somebody_says_so() {
    let Some((deploy, cluster)) = bare("stranger") else { return };
    deploy.sandbox.write(".helm/templates/all.yaml", &config("a", "", "1")).commit("a map");
    deploy.apply();
    let patch = json!({"data": {"a": "9"}}).to_string();
    let address = "/api/v1/namespaces/stranger/configmaps/a?fieldManager=dashboard";
    cluster.call("PATCH", address, Some(("application/merge-patch+json", patch)));
    let ran = deploy.run(5, &["plan"]);
    assert!(
        ran.err.contains("`data.a` was set by hand, with `dashboard`") && ran.err.contains("--force-conflicts"),
        "{}",
        ran.err
    );
    deploy.run(0, &["apply", "--auto-approve", "--force-conflicts"]);
    assert_eq!(cluster.get(&["configmap", "a", "-n", "stranger"])["data"]["a"], "1");
    deploy.assert_no_changes();
}

#[test]
fn a_field_of_a_controller_is_left_to_it_where_somebody_says_so() {
    let Some((deploy, cluster)) = bare("yielded") else { return };
    let webhook = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec:\n  selector: {app: a}\n  ports:\n  - {name: web, port: 80, targetPort: 1}\n";
    deploy.sandbox.write(".helm/templates/all.yaml", webhook).commit("a service");
    deploy.apply();
    let patch = json!({"spec": {"selector": {"app": "a", "rollout": "7"}, "ports": [{"port": 80, "targetPort": 9}]}})
        .to_string();
    let address = "/api/v1/namespaces/yielded/services/a?fieldManager=rollouts";
    cluster.call("PATCH", address, Some(("application/strategic-merge-patch+json", patch)));
    let ran = deploy.run(5, &["plan"]);
    assert!(ran.err.contains("--yield-conflicts"), "{}", ran.err);
    let ran = deploy.run(0, &["plan", "--yield-conflicts", "--exit-code"]);
    let left = "left, as --yield-conflicts says: `spec.ports[port=80,protocol=\"TCP\"].targetPort` to `rollouts`";
    assert!(ran.out.contains(left), "{}", ran.out);
    // What the chart changes is written, and theirs stays.
    deploy.sandbox.write(".helm/templates/all.yaml", &webhook.replace("name: web", "name: http")).commit("a name");
    deploy.run(0, &["apply", "--auto-approve", "--yield-conflicts"]);
    let spec = &cluster.get(&["service", "a", "-n", "yielded"])["spec"];
    assert_eq!((&spec["ports"][0]["targetPort"], &spec["selector"]["rollout"]), (&json!(9), &json!("7")));
    assert_eq!(spec["ports"][0]["name"], "http");
    deploy.run(0, &["plan", "--yield-conflicts", "--exit-code"]);
}

#[test]
fn an_annotation_that_nothing_knows_is_warned_of_with_what_may_be_meant() {
    let Some((deploy, _)) = bare("unknown") else { return };
    let text = config("a", "'werf.io/sensitiv': 'true', 'werf.io/skip-logs': 'true', 'ci.werf.io/job': 'x'", "1");
    deploy.sandbox.write(".helm/templates/all.yaml", &text).commit("a map");
    for said in [deploy.run(0, &["plan"]).err, deploy.sandbox.run(&["lint"]).out] {
        assert!(said.contains("warning[unknown-annotation]") && said.contains("`werf.io/sensitive`"), "{said}");
        assert_eq!(said.matches("unknown-annotation]").count(), 1, "{said}");
    }
}

#[test]
fn what_is_added_reaches_the_cluster_and_annotations_of_the_run_are_left_out() {
    everywhere("added", |deploy| {
        let with = |verb: &[&str], code: i32, job: &str, tier: &str| {
            let (job, tier) = (format!("ci.werf.io/job={job}"), format!("tier={tier}"));
            deploy.run(code, &[verb, &["--add-annotation", &job, "--add-label", &tier]].concat())
        };
        let (plan, apply) = (&["plan", "--exit-code"][..], &["apply", "--auto-approve"][..]);
        let marks = |name: &str| {
            let metadata = deploy.object("configmaps", name).unwrap()["metadata"].clone();
            (metadata["annotations"]["ci.werf.io/job"].clone(), metadata["labels"]["tier"].clone())
        };
        with(apply, 0, "1", "web");
        assert_eq!(marks("a"), (json!(null), json!("web")));
        with(plan, 0, "2", "web");
        let changed = with(plan, 2, "2", "db").out;
        assert!(changed.contains("metadata.labels.tier: web -> db"), "{changed}");
        with(apply, 0, "2", "db");
        assert_eq!(marks("b"), (json!(null), json!("db")));
        let get = ["release", "get", "shop", "manifest", "-n", "added", "--kubeconfig", &deploy.kubeconfig];
        let recorded = deploy.sandbox.run(&get).out;
        assert!(recorded.contains("tier: db") && !recorded.contains("ci.werf.io"), "{recorded}");
    });
}
