//! Input that is too large, wrong or forbidden, and clusters that do not do what they should: a clear error, and nothing
//! written in part.

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::json;

use super::{Deploy, Ground, actions};
use crate::services::{Cluster, PROGRAM};

fn bare(namespace: &str) -> Option<(Deploy, &'static Cluster)> {
    let cluster = Cluster::shared()?;
    Some((Deploy::bare(namespace, Ground::Real(cluster)), cluster))
}

fn config(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: '1'}}\n")
}

/// Writes the one template, and returns what planning and applying it say; neither may write anything.
fn refused(deploy: &Deploy, text: &str) -> String {
    deploy.sandbox.write(".helm/templates/all.yaml", text).commit("a template");
    deploy.writes();
    let said = deploy.run(1, &["plan"]).err;
    deploy.run(1, &["apply", "--auto-approve"]);
    assert_eq!(deploy.writes(), (vec![], vec![]), "nothing is written");
    said
}

#[test]
fn what_the_server_does_not_take_stops_the_plan_at_its_template() {
    let Some((deploy, cluster)) = bare("hostile") else { return };
    cluster.kubectl(&["create", "namespace", "hostile"]);
    let place = ".helm/templates/all.yaml";
    // A manifest that is more than a server takes, and one that is more than a chart takes.
    let large =
        |mega: usize| format!("{}  b: {}\n", config("large").replace("{a: '1'}", "\n  a: '1'"), "x".repeat(mega << 20));
    let said = refused(&deploy, &large(4));
    assert!(said.contains(place) && said.contains("hostile/ConfigMap/large"), "{said:.2000}");
    assert!(said.len() < 20_000, "what is told is short: {} bytes", said.len());
    let said = refused(&deploy, &large(5));
    assert!(said.contains(place) && said.contains("larger than 5242880 bytes"), "{said:.2000}");
    // The same object twice.
    let said = refused(&deploy, &(config("twice") + &config("twice")));
    assert!(said.contains("twice") && said.contains(place), "{said}");
    // Names that are none.
    for name in ["Upper", "'a b'", "a_b", "-a", "'../a'", "'%2e%2e'"] {
        let said = refused(&deploy, &config(name));
        assert!(said.contains(place) && said.contains("error["), "{name}: {said}");
    }
    // Kinds that are not served.
    let said = refused(&deploy, "apiVersion: example.org/v1\nkind: Nothing\nmetadata: {name: n}\n");
    assert!(said.contains("knows no kind Nothing in example.org/v1"), "{said}");
    let said = refused(&deploy, "apiVersion: apps/v9\nkind: Deployment\nmetadata: {name: n}\n");
    assert!(said.contains("Deployment") && said.contains("apps/v9"), "{said}");
    // A namespace that is not there and not in the plan.
    let said = refused(&deploy, &config("elsewhere").replace("elsewhere}", "elsewhere, namespace: not-there}"));
    assert!(said.contains("namespaces \"not-there\" not found"), "{said}");
}

#[test]
fn a_namespace_of_what_has_none_does_not_count() {
    let Some((deploy, _)) = bare("scoped") else { return };
    let text = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: scoped-role, namespace: scoped}\nrules: []\n";
    deploy.sandbox.write(".helm/templates/role.yaml", text).commit("a role");
    deploy.apply();
    deploy.assert_no_changes();
}

#[test]
fn what_is_immutable_is_replaced_or_refused_and_never_half_done() {
    let Some((deploy, _)) = bare("immutable") else { return };
    let text = config("fixed") + "immutable: true\n";
    deploy.sandbox.write(".helm/templates/all.yaml", &text).commit("a map");
    deploy.apply();
    let before = deploy.object("configmaps", "fixed").unwrap()["metadata"]["uid"].clone();
    deploy.edit(".helm/templates/all.yaml", "a: '1'", "a: '2'");
    assert_eq!(actions(&deploy.plan(2)), ["replace fixed"]);
    deploy.apply();
    let after = deploy.object("configmaps", "fixed").unwrap();
    assert_ne!(after["metadata"]["uid"], before);
    assert_eq!(after["data"]["a"], "2");
    deploy.assert_no_changes();
}

#[test]
fn two_thousand_documents_are_one_plan() {
    let Some((deploy, _)) = bare("many") else { return };
    let mut text = String::new();
    for n in 0..2000 {
        text += &config(&format!("c{n}"));
    }
    deploy.sandbox.write(".helm/templates/all.yaml", &text).commit("many");
    let plan = deploy.plan(2);
    assert_eq!(plan["summary"]["create"], 2001);
    deploy.run(0, &["apply", "--auto-approve", "--parallel-tasks-limit", "20", "-o", "json"]);
    assert_eq!(deploy.records(), ["deployed"]);
    deploy.assert_no_changes();
}

/// S72
#[test]
fn a_finalizer_that_nobody_removes_is_named() {
    let Some((deploy, cluster)) = bare("stuck") else { return };
    let text =
        config("held").replace("{name: held}", "{name: held, finalizers: [example.org/held]}") + "immutable: true\n";
    deploy.sandbox.write(".helm/templates/all.yaml", &text).commit("a map");
    deploy.apply();
    deploy.edit(".helm/templates/all.yaml", "a: '1'", "a: '2'");
    let ran = deploy.run(1, &["apply", "--auto-approve", "--timeout", "3"]);
    assert!(ran.err.contains("it waits for its finalizer example.org/held"), "{}", ran.err);
    assert_eq!(deploy.records(), ["deployed", "failed"]);
    let free = json!([{"op": "remove", "path": "/metadata/finalizers"}]).to_string();
    cluster.kubectl(&["patch", "configmap", "held", "-n", "stuck", "--type=json", "-p", &free]);
    deploy.apply();
    assert_eq!(deploy.object("configmaps", "held").unwrap()["data"]["a"], "2");
}

#[test]
fn a_namespace_on_its_way_out_stops_the_plan() {
    let Some((deploy, cluster)) = bare("leaving") else { return };
    cluster.kubectl(&["create", "namespace", "leaving"]);
    // It cannot go as long as this is there.
    let held = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.org/held"]}});
    cluster.call("POST", "/api/v1/namespaces/leaving/configmaps", Some(("application/json", held.to_string())));
    cluster.kubectl(&["delete", "namespace", "leaving", "--wait=false"]);
    let said = refused(&deploy, &config("a"));
    assert!(said.contains("is being terminated"), "{said}");
    let free = json!([{"op": "remove", "path": "/metadata/finalizers"}]).to_string();
    cluster.kubectl(&["patch", "configmap", "held", "-n", "leaving", "--type=json", "-p", &free]);
}

/// S43, S44
#[test]
fn a_webhook_that_does_not_answer_is_named_and_the_plan_goes_on_without_it() {
    let Some((deploy, cluster)) = bare("webhook") else { return };
    cluster.kubectl(&["create", "namespace", "webhook"]);
    cluster.kubectl(&["label", "namespace", "webhook", "webhook-test=yes"]);
    deploy.sandbox.write(".helm/templates/all.yaml", &config("a")).commit("a map");
    deploy.apply();
    deploy.edit(".helm/templates/all.yaml", "a: '1'", "a: '2', b: '3'");
    let hook = |effects: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1beta1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "webhook-test"},
            "webhooks": [{
                "name": "policy.example.org",
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "sideEffects": effects,
                "failurePolicy": "Fail",
                "timeoutSeconds": 1,
                "admissionReviewVersions": ["v1beta1"],
                "namespaceSelector": {"matchLabels": {"webhook-test": "yes"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"]}],
            }],
        })
    };
    let list = "/apis/admissionregistration.k8s.io/v1beta1/validatingwebhookconfigurations";
    for effects in ["None", "Unknown"] {
        cluster.call("POST", list, Some(("application/json", hook(effects).to_string())));
        // The server learns of it a moment later.
        let start = Instant::now();
        let said = loop {
            let ran = deploy.run(2, &["plan", "--exit-code", "-o", "json"]);
            let plan: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
            assert_eq!(actions(&plan), ["update a"]);
            let fields =
                plan["resources"].as_array().unwrap().iter().find(|r| r["name"] == "a").unwrap()["fields"].clone();
            assert_eq!(fields.as_array().unwrap().len(), 2, "{fields}");
            if ran.err.contains("no-dry-run") {
                break ran.err;
            }
            assert!(start.elapsed().as_secs() < 60, "{}", ran.err);
        };
        assert!(said.contains("warning[no-dry-run]") && said.contains("policy.example.org"), "{said}");
        let ran = deploy.run(1, &["apply", "--auto-approve", "--kube-retry-time", "1"]);
        assert!(
            ran.err.contains("failed to write webhook/ConfigMap/a") && ran.err.contains("policy.example.org"),
            "{}",
            ran.err
        );
        cluster.call("DELETE", &format!("{list}/webhook-test"), None);
    }
    let start = Instant::now();
    while deploy.run(0, &["plan"]).err.contains("no-dry-run") {
        assert!(start.elapsed().as_secs() < 60);
    }
    deploy.apply();
    deploy.assert_no_changes();
}

/// S51
#[test]
fn an_account_that_only_reads_can_plan_and_cannot_apply() {
    let Some((mut deploy, cluster)) = bare("reader") else { return };
    deploy.sandbox.write(".helm/templates/all.yaml", &(config("a") + &config("b"))).commit("maps");
    deploy.apply();
    for args in [
        &["create", "clusterrole", "only-reads", "--verb=get,list", "--resource=configmaps,secrets,namespaces"][..],
        &["create", "clusterrolebinding", "only-reads", "--clusterrole=only-reads", "--user=only-reads"],
    ] {
        cluster.kubectl(args);
    }
    let own = std::mem::take(&mut deploy.kubeconfig);
    let text = std::fs::read_to_string(&own).unwrap();
    let file = deploy.sandbox.home().join("reads");
    std::fs::write(&file, text.replace(&format!("token: {PROGRAM}"), &format!("token: {PROGRAM}, as: only-reads")))
        .unwrap();
    deploy.kubeconfig = file.display().to_string();
    deploy.edit(".helm/templates/all.yaml", "a: '1'", "a: '2'");
    let mut plan = deploy.run(2, &["plan", "--exit-code", "-o", "json"]);
    assert!(plan.err.contains("warning[write-forbidden]") && plan.err.contains("only-reads"), "{}", plan.err);
    assert_eq!(plan.err.matches("warning[").count(), 1, "one cause is told once: {}", plan.err);
    let found: serde_json::Value = serde_json::from_str(&std::mem::take(&mut plan.out)).unwrap();
    assert_eq!(actions(&found), ["update a", "update b"]);
    deploy.writes();
    let ran = deploy.run(1, &["apply", "--auto-approve"]);
    assert!(ran.err.contains("error[write-forbidden]"), "{}", ran.err);
    assert_eq!(deploy.writes(), (vec![], vec![]));
    // What it planned is carried out by somebody who may.
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    deploy.kubeconfig = own;
    let kubeconfig = deploy.kubeconfig.clone();
    deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--kubeconfig", &kubeconfig]);
    deploy.assert_no_changes();
}

/// An account that may deploy, and keep no Lease, deploys all the same: its revision tells it from others.
#[test]
fn an_account_without_leases_is_told_so_and_deploys() {
    let Some((mut deploy, cluster)) = bare("leaseless") else { return };
    cluster.kubectl(&["create", "namespace", "leaseless"]);
    deploy.sandbox.write(".helm/templates/all.yaml", &config("a")).commit("a map");
    for args in [
        &["create", "clusterrole", "leaseless", "--verb=*", "--resource=configmaps,secrets,namespaces"][..],
        &["create", "clusterrolebinding", "leaseless", "--clusterrole=leaseless", "--user=leaseless"],
    ] {
        cluster.kubectl(args);
    }
    let text = std::fs::read_to_string(&deploy.kubeconfig).unwrap();
    let file = deploy.sandbox.home().join("leaseless");
    std::fs::write(&file, text.replace(&format!("token: {PROGRAM}"), &format!("token: {PROGRAM}, as: leaseless")))
        .unwrap();
    deploy.kubeconfig = file.display().to_string();
    let ran = deploy.run(0, &["apply", "--auto-approve"]);
    assert!(ran.err.contains("cannot be locked in the cluster"), "{}", ran.err);
    deploy.assert_no_changes();
}

#[test]
fn a_kubeconfig_that_cannot_be_used_says_why() {
    let Some((mut deploy, cluster)) = bare("config") else { return };
    deploy.sandbox.write(".helm/templates/all.yaml", &config("a")).commit("a map");
    let good = std::fs::read_to_string(cluster.kubeconfig()).unwrap();
    let file = deploy.sandbox.home().join("broken");
    deploy.kubeconfig = file.display().to_string();
    let user = format!("user: {{token: {PROGRAM}}}");
    assert!(good.contains(&user));
    let exec = |command: &str, args: &str| {
        let plugin = format!(
            "user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {command}, args: [{args}]}}}}"
        );
        good.replace(&user, &plugin)
    };
    let expired = "'-c', 'echo the login is expired >&2; exit 1'";
    let mut told = String::new();
    let marked = "MARKED-5f3a";
    let script = |name: &str, text: &str| {
        let file = deploy.sandbox.home().join(name);
        std::fs::write(&file, text).unwrap();
        exec("sh", &format!("'{}', '{marked}'", file.display()))
    };
    let garbled = script("garbled", &format!("printf 'warning\\n{{\"status\": {{\"token\": \"{marked}\"'"));
    // One that gives a login which is over at once, and no other.
    let once = script(
        "once",
        &format!(
            "if [ -e $0.was ]; then rm $0.was; echo {marked}; echo it is over >&2; exit 3; fi\ntouch $0.was\n\
             echo '{{\"apiVersion\": \"client.authentication.k8s.io/v1\", \"kind\": \"ExecCredential\", \"status\": {{\"token\": \
             \"{PROGRAM}\", \"expirationTimestamp\": \"'$(date -u +%Y-%m-%dT%H:%M:%SZ)'\"}}}}'\n"
        ),
    );
    for (text, expected) in [
        ("clusters: [".to_owned(), "kubeconfig"),
        (good.replace(&user, &format!("user: {{token: {marked}: x}}")), "look at line"),
        (garbled, "no credential that can be read"),
        (once, "log in to the cluster again"),
        ("{}".to_owned(), "no current context"),
        ("\u{0}\u{1}binary".to_owned(), "kubeconfig"),
        (good.replace("server: 'https://", "server: 'nonsense://"), "nonsense"),
        (good.replace("server: 'https://127.0.0.1", "server: 'https://nowhere.invalid"), "nowhere.invalid"),
        (exec("not-a-program", ""), "not-a-program"),
        (exec("sh", expired), "the login is expired"),
        (good.replace(&user, "user: {token: nobody}"), "Unauthorized"),
        (good.replace(&user, "user: {}"), "forbidden"),
    ] {
        std::fs::write(&file, text).unwrap();
        for command in [&["plan"][..], &["apply", "--auto-approve"]] {
            // How often a login was tried before does not matter.
            let _ = std::fs::remove_file(deploy.sandbox.home().join("once.was"));
            let ran = deploy.run(1, command);
            let is_said = ran.err.starts_with("error: ") && ran.err.contains(expected) && !ran.err.contains("bug");
            assert!(is_said, "{expected}: {}", ran.err);
            let _ = writeln!(told, "{}", ran.err);
        }
    }
    assert!(!told.contains("panicked") && !told.contains(marked), "{told}");
}
