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

/// A project behind the proxy, in which the Job of the hook `load` ends with this code.
fn with_hooks(namespace: &str, proxy: &Proxy, cluster: &'static Cluster, code: u32) -> (Deploy, Kubelet) {
    let mut deploy = Deploy::bare(namespace, Ground::Real(cluster));
    let file = deploy.sandbox.home().join("kubeconfig");
    std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
    deploy.kubeconfig = file.display().to_string();
    let fate = move |name: &str, nth| once(nth, finished(if name.starts_with("load") { code } else { 0 }));
    (deploy, Kubelet::start(cluster, namespace, Box::new(fate)))
}

fn write_map(deploy: &Deploy, name: &str, annotations: &str, version: u32) {
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\ndata: {{v: 'v{version}'}}\n"
    );
    deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), &map);
}

/// Each write by its verb and what it is of, without numbers.
fn short(writes: &[String]) -> Vec<String> {
    let name = |w: &String| format!("{} {}", w.split(' ').next().unwrap(), w.rsplit('/').next().unwrap());
    writes.iter().map(name).map(|w| w.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()).collect()
}

const RECORD: &str = "PUT sh.helm.release.v1.shop.v";

#[test]
fn hooks_of_every_deletion_policy_are_written_once_in_a_run_that_is_killed_after_any_write() {
    let Some(cluster) = Cluster::shared() else { return };
    let proxy = Proxy::start(cluster);
    let (deploy, _kubelet) = with_hooks("policies", &proxy, cluster, 0);
    let before = "helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy";
    deploy.sandbox.write(
        ".helm/templates/load.yaml",
        &workload("Job", "load", &format!("{before}: 'before-hook-creation,hook-failed'")),
    );
    let version = |version: u32| {
        write_map(&deploy, "all", &format!("{before}: 'before-hook-creation,hook-succeeded,hook-failed'"), version);
        write_map(&deploy, "after", "helm.sh/hook: post-upgrade, helm.sh/hook-delete-policy: hook-succeeded", version);
        write_map(&deploy, "a", "", version);
        deploy.sandbox.commit("a version");
    };
    version(0);
    deploy.apply();
    let planned = |number: u32| {
        version(number);
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        proxy.pass();
    };
    planned(1);
    // No record goes, whatever their number.
    let args = ["apply", "shop.plan", "--auto-approve", "--releases-history-max", "0"];
    deploy.run(0, &args);
    let expected = short(&proxy.writes());
    let hooks = ["POST secrets", "PATCH all", "DELETE load", "PATCH load", RECORD, "DELETE all", "PATCH a"];
    assert_eq!(expected, [&hooks[..], &["PATCH after", RECORD, "DELETE after", RECORD, RECORD]].concat());
    for kill in 1..=expected.len() {
        planned(kill as u32 + 1);
        proxy.stop_after(kill);
        kill_command_after(&deploy, &proxy, kill, &args);
        let before = proxy.writes();
        proxy.pass();
        deploy.run(0, &[&args[..], &["--resume"]].concat());
        let all = short(&[before.clone(), proxy.writes()].concat());
        assert_eq!(all, expected, "killed after {kill}: {before:?}, then {:?}", proxy.writes());
        assert!(deploy.object("configmaps", "all").is_none() && deploy.object("configmaps", "after").is_none());
        deploy.assert_no_changes();
    }
}

/// Nothing tells of a hook that failed and is gone: who resumes means to try again.
#[test]
fn a_hook_that_failed_and_was_deleted_is_tried_again_by_a_run_that_is_resumed() {
    let Some(cluster) = Cluster::shared() else { return };
    let proxy = Proxy::start(cluster);
    let (deploy, _kubelet) = with_hooks("policyfails", &proxy, cluster, 3);
    let hook = "helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-delete-policy: hook-failed";
    deploy.sandbox.write(".helm/templates/load.yaml", &workload("Job", "load", hook));
    let planned = |number: u32| {
        write_map(&deploy, "a", "", number);
        deploy.sandbox.commit("a version");
        deploy.run(0, &["plan", "--out", "shop.plan"]);
        proxy.pass();
    };
    planned(0);
    deploy.run(1, &["apply", "shop.plan", "--auto-approve"]);
    // The namespace is there now.
    planned(1);
    deploy.run(1, &["apply", "shop.plan", "--auto-approve"]);
    let expected = ["POST secrets", "PATCH load", "DELETE load", RECORD];
    assert_eq!(short(&proxy.writes()), expected);
    for kill in 1..=expected.len() {
        planned(kill as u32 + 1);
        proxy.stop_after(kill);
        kill_after(&deploy, &proxy, kill);
        let before = short(&proxy.writes());
        assert_eq!(before, expected[..kill]);
        proxy.pass();
        deploy.run(1, &["apply", "shop.plan", "--auto-approve", "--resume"]);
        let after = short(&proxy.writes());
        let rest = match kill {
            1 | 2 => &expected[kill..],
            3 => &expected[1..],
            // That it failed is recorded.
            _ => &expected[1..3],
        };
        assert_eq!(after, rest, "killed after {kill}");
        assert_eq!(deploy.records().last().map(String::as_str), Some("failed"));
        assert!(deploy.object("configmaps", "a").is_none());
    }
}
