//! The program is killed after each write in turn; what resumes ends as if nothing had happened, and writes nothing twice.
//!
//! Here are upgrades and the hooks of one; what opens, ends or takes back a release is in `kills_of_releases`.

use std::time::{Duration, Instant};

use super::proxy::Proxy;
use super::tracking::{Kubelet, finished, once, workload};
use super::{Deploy, Ground};
use crate::services::Cluster;

/// How many records are kept.
const KEPT: u32 = 10;

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

/// What an upgrade does: new objects and deleted ones, of the cluster too, changes, a replacement.
fn write_version(deploy: &Deploy, version: u32) {
    let sandbox = &deploy.sandbox;
    let namespace = &deploy.namespace;
    let config = |name: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{v: 'v{version}'}}\n")
    };
    sandbox.write(".helm/templates/a.yaml", &config("a"));
    sandbox.write(".helm/templates/new.yaml", &config(&format!("new{version}")));
    sandbox.write(
        ".helm/templates/s.yaml",
        &format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{v: 'v{version}'}}\n"),
    );
    sandbox.write(".helm/templates/web.yaml", &format!("apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{replicas: 0, selector: {{matchLabels: {{v: 'v{version}'}}}}, template: {{metadata: {{labels: {{v: 'v{version}'}}}}, spec: {{containers: [{{name: a, image: a}}]}}}}}}\n"));
    sandbox.write(".helm/templates/role.yaml", &format!("apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {namespace}-r{version}}}\nrules: []\n"));
    sandbox.commit("a version");
}

/// Applies the saved plan, and kills the program once so many writes were carried out.
fn kill_after(deploy: &Deploy, proxy: &Proxy, kill: usize) {
    kill_command_after(deploy, proxy, kill, &["apply", "shop.plan", "--auto-approve"]);
}

/// As [`kill_after`], of another command.
pub(super) fn kill_command_after(deploy: &Deploy, proxy: &Proxy, kill: usize, args: &[&str]) {
    let args = [args, &["--kubeconfig", &deploy.kubeconfig]].concat();
    let mut child = deploy
        .sandbox
        .command(&args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while proxy.writes().len() < kill {
        assert!(start.elapsed() < Duration::from_mins(2), "{kill} writes are not reached: {:?}", proxy.writes());
        assert!(child.try_wait().unwrap().is_none(), "the program ended before {kill} writes: {:?}", proxy.writes());
        std::thread::sleep(Duration::from_millis(5));
    }
    // SIGKILL
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_that_is_killed_after_any_write_is_resumed_without_writing_twice() {
    let Some(cluster) = Cluster::shared() else { return };
    let proxy = Proxy::start(cluster);
    let mut deploy = Deploy::bare("killed", Ground::Real(cluster));
    let file = deploy.sandbox.home().join("kubeconfig");
    std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();

    // From the eleventh revision on the oldest record goes, too.
    for version in 0..KEPT {
        write_version(&deploy, version);
        deploy.apply();
    }
    deploy.assert_no_changes();
    // The writes of one change, undisturbed. Each later change has the same, but for the numbers in names.
    let shape = |writes: &[String]| -> Vec<String> {
        sorted(writes.iter().map(|w| w.chars().filter(|c| !c.is_ascii_digit()).collect()).collect())
    };
    proxy.pass();
    write_version(&deploy, KEPT);
    deploy.run(0, &["plan", "--out", "shop.plan"]);
    deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    let expected = shape(&proxy.writes());
    assert!(expected.len() >= 10, "{expected:?}");
    for kill in 1..=expected.len() {
        write_version(&deploy, KEPT + kill as u32);
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        proxy.stop_after(kill);
        kill_after(&deploy, &proxy, kill);
        let before = proxy.writes();
        proxy.pass();
        deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--resume"]);
        let all = [before.clone(), proxy.writes()].concat();
        assert_eq!(shape(&all), expected, "killed after {kill}: {before:?}, then {:?}", proxy.writes());
        deploy.assert_no_changes();
    }
    let mut last = deploy.records();
    assert_eq!(last.pop().as_deref(), Some("deployed"));
    assert!(last.len() == 9 && last.iter().all(|status| status == "superseded"), "{last:?}");
}

/// A migration that leaves nothing behind, and a map that it is for.
fn write_migration(deploy: &Deploy, version: u32) {
    let hook = "helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy: hook-succeeded";
    deploy.sandbox.write(".helm/templates/migrate.yaml", &workload("Job", "migrate", hook));
    let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{v: 'v{version}'}}\n");
    deploy.sandbox.write(".helm/templates/a.yaml", &map).commit("a version");
}

#[test]
fn a_hook_that_deleted_itself_does_not_run_again_in_a_run_that_is_resumed() {
    let Some(cluster) = Cluster::shared() else { return };
    let proxy = Proxy::start(cluster);
    let mut deploy = Deploy::bare("migrated", Ground::Real(cluster));
    let file = deploy.sandbox.home().join("kubeconfig");
    std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();
    let _kubelet = Kubelet::start(cluster, "migrated", Box::new(|_: &str, nth| once(nth, finished(0))));
    write_migration(&deploy, 0);
    deploy.apply();
    let plan_and_count = |version: u32| {
        write_migration(&deploy, version);
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        proxy.pass();
    };
    plan_and_count(1);
    deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    let short = |writes: Vec<String>| -> Vec<String> {
        let name = |w: &String| format!("{} {}", w.split(' ').next().unwrap(), w.rsplit('/').next().unwrap());
        let known = |w: String| w.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        writes.iter().map(name).map(known).collect()
    };
    let expected = short(proxy.writes());
    let record = "sh.helm.release.v1.shop.v";
    let own = ["POST secrets", "PATCH migrate", &format!("PUT {record}"), "DELETE migrate", "PATCH a"];
    assert_eq!(expected, [&own[..], &[&format!("PUT {record}"), &format!("PUT {record}")]].concat());
    for kill in 1..=expected.len() {
        plan_and_count(kill as u32 + 1);
        proxy.stop_after(kill);
        kill_after(&deploy, &proxy, kill);
        let before = proxy.writes();
        proxy.pass();
        deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--resume"]);
        let all = short([before.clone(), proxy.writes()].concat());
        assert_eq!(all, expected, "killed after {kill}: {before:?}, then {:?}", proxy.writes());
        deploy.assert_no_changes();
    }
}
