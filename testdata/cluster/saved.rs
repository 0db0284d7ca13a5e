//! A plan that is saved in one place and applied in another, and everything that stops it on its way.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::{Deploy, Ground, MARK, WEB};
use crate::cli::Sandbox;
use crate::services::Cluster;

/// A release with a Deployment and a Secret, once applied and then changed.
fn changed(namespace: &str) -> Option<(Deploy, &'static Cluster)> {
    let cluster = Cluster::shared()?;
    let deploy = Deploy::bare(namespace, Ground::Real(cluster));
    deploy.sandbox.write(".helm/values.yaml", "app: web\n").write(".helm/templates/web.yaml", WEB);
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{token: {MARK}-0}}\n");
    deploy.sandbox.write(".helm/templates/secret.yaml", &secret).commit("the shop");
    deploy.apply();
    deploy.edit(".helm/templates/secret.yaml", &format!("{MARK}-0"), &format!("{MARK}-1"));
    deploy.edit(".helm/templates/web.yaml", "web:1", "web:2");
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    Some((deploy, cluster))
}

impl Deploy {
    fn apply_saved(&self, expected: i32) -> String {
        self.writes();
        let args = ["apply", "shop.plan", "--auto-approve", "--no-wait", "--kubeconfig", &self.kubeconfig];
        let ran = self.run(expected, &args);
        if expected != 0 {
            assert_eq!(self.writes(), (vec![], vec![]), "nothing is written: {}", ran.err);
        }
        ran.err
    }
}

/// S52, S57: in another clone, by another user of the same key, under another name of the cluster.
#[test]
fn a_saved_plan_is_applied_in_another_clone() {
    let Some((deploy, _)) = changed("clone") else { return };
    let file = deploy.sandbox.project().join("shop.plan");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(MARK) && text.contains("\"sealed\""), "secrets are sealed");
    let other = Sandbox::new();
    git2::Repository::clone(deploy.sandbox.project().to_str().unwrap(), other.project()).unwrap();
    std::fs::copy(&file, other.home().join("shop.plan")).unwrap();
    let plan = other.home().join("shop.plan").display().to_string();
    let config = std::fs::read_to_string(&deploy.kubeconfig).unwrap();
    let config = config
        .replace("current-context: test", "current-context: other")
        .replace("contexts: [{name: test", "contexts: [{name: other");
    std::fs::write(other.home().join("kubeconfig"), config).unwrap();
    let kubeconfig = other.home().join("kubeconfig").display().to_string();
    let args = ["apply", plan.as_str(), "--auto-approve", "--no-wait", "--kubeconfig", kubeconfig.as_str()];
    // Without the key it is of no use.
    let ran = other.run(&args);
    assert!(ran.code == 1 && ran.err.contains("another key") || ran.err.contains("a key is needed"), "{ran:?}");
    let key = std::fs::read_to_string(deploy.sandbox.home().join(".config/stagewright/plan.key")).unwrap();
    let ran = other.run_with(&args, &[("STAGEWRIGHT_PLAN_KEY", key.trim())]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!(ran.out + &ran.err).contains(MARK));
    deploy.assert_no_changes();
}

/// S53
#[test]
fn a_field_of_ours_that_somebody_changed_stops_a_saved_plan() {
    let Some((deploy, cluster)) = changed("scaled") else { return };
    cluster.kubectl(&["scale", "deployment", "web", "--replicas=5", "-n", "scaled"]);
    let said = deploy.apply_saved(4);
    assert!(said.contains("the plan is stale, nothing was written") && said.contains("Deployment.apps/web"), "{said}");
}

/// S54
#[test]
fn a_status_that_changed_stops_nothing() {
    let Some((deploy, cluster)) = changed("restarted") else { return };
    // Pods go and come: the status of the Deployment changes, and its version with it.
    cluster.kubectl(&["delete", "pods", "--all", "-n", "restarted", "--wait=false"]);
    cluster.kubectl(&["annotate", "deployment", "web", "example.org/seen=yes", "-n", "restarted"]);
    deploy.apply_saved(0);
    deploy.assert_no_changes();
}

/// S55
#[test]
fn a_namespace_that_was_made_again_stops_a_saved_plan() {
    let Some((deploy, cluster)) = changed("again") else { return };
    super::exact::make_namespace_again(cluster, "again");
    let said = deploy.apply_saved(4);
    assert!(said.contains("Namespace/again"), "{said}");
}

/// S56
#[test]
fn a_plan_is_for_one_cluster_wherever_that_is_reached() {
    let Some((mut deploy, _)) = changed("elsewhere") else { return };
    let file = deploy.sandbox.project().join("shop.plan");
    let plan: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let uid = plan["inputs"]["cluster"]["uid"].as_str().unwrap().to_owned();
    let guards = plan["operations"].as_array().unwrap().iter().flat_map(|o| o["guards"].as_array().unwrap().clone());
    assert!(guards.clone().any(|g| g == json!({"guard": "cluster", "uid": uid})), "{:?}", guards.collect::<Vec<_>>());
    // Another cluster behind the same address: what names it is asked of a proxy that answers as if it were another.
    let Some(cluster) = Cluster::shared() else { return };
    let proxy = super::proxy::Proxy::start(cluster);
    let kubeconfig = deploy.sandbox.home().join("proxied");
    std::fs::write(&kubeconfig, super::kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = kubeconfig.display().to_string();
    proxy.set(|asked| {
        if asked.target.ends_with("/namespaces/kube-system") {
            let object = json!({"kind": "Namespace", "metadata": {"name": "kube-system", "uid": "another"}});
            super::proxy::Fate::Answer(200, None, object.to_string())
        } else {
            super::proxy::Fate::Pass
        }
    });
    let args = ["apply", "shop.plan", "--auto-approve", "--no-wait"];
    let ran = deploy.run(4, &args);
    assert!(
        ran.err.contains("the cluster: expected") && ran.err.contains(&uid) && ran.err.contains("another"),
        "{}",
        ran.err
    );
    assert_eq!(proxy.writes(), Vec::<String>::new());
    // The same cluster at another address.
    proxy.pass();
    deploy.run(0, &args);
    deploy.assert_no_changes();
}

/// S58
#[test]
fn a_plan_that_was_tampered_with_is_refused() {
    let Some((deploy, _)) = changed("tampered") else { return };
    let file = deploy.sandbox.project().join("shop.plan");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("example/web:2"));
    std::fs::write(&file, text.replace("example/web:2", "example/evil:2")).unwrap();
    let said = deploy.apply_saved(1);
    assert!(said.contains("it was changed after it was saved"), "{said}");
    std::fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert!(deploy.apply_saved(1).contains("it is cut off"));
}

#[test]
fn a_stale_plan_for_a_folder_is_not_planned_again_and_says_what_to_do() {
    let Some((deploy, _)) = changed("endsstale") else { return };
    let again = ["apply", "shop.plan", "--auto-approve", "--stale=replan-if-equal"];
    let sandbox = &deploy.sandbox;
    let out = sandbox.home().join("out");
    let target = format!("dir:{}", out.display());
    let place = ["--target", &target, "--namespace", "endsstale", "--release", "shop"];
    let run = |code: i32, args: &[&str]| {
        let ran = sandbox.run(args);
        assert_eq!(ran.code, code, "{args:?}\n{}\n{}", ran.out, ran.err);
        ran
    };
    run(0, &[&["apply", "--auto-approve"][..], &place].concat());
    deploy.edit(".helm/templates/web.yaml", "web:2", "web:3");
    run(0, &[&["plan", "--out", "shop.plan"][..], &place].concat());
    let files = crate::cli::listing(&out);
    let (web, _) = files.iter().find(|(path, _)| path.to_string_lossy().contains("deployment-web")).unwrap();
    let web = if web.is_absolute() { web.clone() } else { out.join(web) };
    let text = std::fs::read_to_string(&web).unwrap();
    std::fs::write(&web, text.replace("web:2", "web:by-hand")).unwrap();
    let before = crate::cli::listing(&out);
    let ran = run(4, &again);
    assert!(ran.err.contains("a plan for a folder is not") && ran.err.contains("plan --out FILE"), "{}", ran.err);
    assert!(before == crate::cli::listing(&out), "nothing is written");
}
