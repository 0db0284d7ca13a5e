//! What is planned is what is written, for what is more than resources: hooks, rollbacks, dismissals, what goes slowly or
//! stays, and replicas that are left to others.
//!
//! The one idea: each operation announces its writes, in the order of the plan and over what is there before; the API
//! server's own account must be those.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use stagewright::backend::{RegistryOptions, RegistryStore, Repository};
use stagewright::ports::StageStore as _;

use super::exact::{Steps, address_of};
use super::kills_of_releases::{config, gadget, web, write, write_shop};
use super::releases::take_back;
use super::tracking::{Kubelet, finished, once, workload};
use crate::services::{Cluster, Registry};

/// The records of the release that there are: their statuses by their numbers.
fn records(cluster: &Cluster, namespace: &str) -> BTreeMap<u64, String> {
    let list = cluster.call("GET", &format!("/api/v1/namespaces/{namespace}/secrets?labelSelector=owner%3Dhelm"), None);
    let label = |r: &Value, key: &str| r["metadata"]["labels"][key].as_str().unwrap().to_owned();
    let all = list["items"].as_array().unwrap();
    all.iter().map(|r| (label(r, "version").parse().unwrap(), label(r, "status"))).collect()
}

/// The writes that operations of a plan announce over what there is now; `done`: of these operations alone.
fn announced(plan: &Value, cluster: &Cluster, namespace: &str, done: Option<&BTreeSet<String>>) -> Vec<String> {
    let mut found = Vec::new();
    let secrets = format!("/api/v1/namespaces/{namespace}/secrets");
    let record = |revision: u64| format!("{secrets}/sh.helm.release.v1.shop.v{revision}");
    let mut known = records(cluster, namespace);
    // What earlier operations of the plan made, or deleted.
    let mut there: BTreeMap<String, bool> = BTreeMap::new();
    for operation in plan["operations"].as_array().unwrap() {
        if done.is_some_and(|done| !done.contains(operation["id"].as_str().unwrap())) {
            continue;
        }
        let work = &operation["work"];
        let address = || address_of(work["path"].as_str().unwrap());
        let revision = || work["revision"].as_u64().unwrap();
        let is = |flag: &str| work[flag] == true;
        match work["action"].as_str().unwrap() {
            "write_resource" => {
                let stands = there.insert(address(), true).unwrap_or_else(|| cluster.object(&address()).is_some());
                found.extend((is("replace") && stands).then(|| format!("delete {}", address())));
                found.extend(is("adopt").then(|| format!("patch {}", address())));
                found.push(format!("patch {}", address()));
                found.extend(is("leaves_replicas").then(|| format!("patch {}", address())));
            }
            "delete_resource" => {
                there.insert(address(), false);
                found.push(format!("delete {}", address()));
            }
            "open_release" if known.contains_key(&revision()) => found.push(format!("update {}", record(revision()))),
            "open_release" => {
                known.insert(revision(), "pending".into());
                found.push(format!("create {secrets}"));
            }
            "record_hooks" => found.push(format!("update {}", record(revision()))),
            "record_release" => {
                found.push(format!("update {}", record(revision())));
                let before = known.iter().filter(|(_, status)| *status == "deployed");
                found.extend(before.map(|(number, _)| format!("update {}", record(*number))));
            }
            "forget_release" => found.extend(known.keys().map(|number| format!("delete {}", record(*number)))),
            "await_resource" | "gate" => {}
            other => panic!("{other}"),
        }
    }
    found
}

impl Steps {
    /// Carries out the saved plan, and compares what was written with what it announced.
    fn carried_out(&mut self, what: &str, plan: &Value, args: &[&str]) {
        self.assert_written(&format!("planning writes nothing: {what}"));
        let announced = announced(plan, self.cluster, &self.deploy.namespace, None);
        assert!(!announced.is_empty(), "{what}");
        self.deploy.run(0, &[&["apply", "shop.plan", "--auto-approve"], args].concat());
        self.expected.extend(announced);
        self.expected.sort();
        self.assert_written(what);
        self.count += 1;
    }

    /// Plans the project, and carries that out.
    fn deployed_as(&mut self, what: &str, has: &[&str]) -> Value {
        let plan = self.plan(what);
        let ids: Vec<&str> = plan["operations"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap()).collect();
        for part in has {
            assert!(ids.iter().any(|id| id.contains(part)), "{what}: {part} is not in {ids:#?}");
        }
        self.carried_out(what, &plan, &[]);
        self.deploy.assert_no_changes();
        plan
    }

    /// Makes a plan that takes the release back.
    fn taken_back(&self, args: &[&str]) -> Value {
        take_back(&self.deploy, 0, &[args, &["--out", "shop.plan"]].concat());
        let shown = self.deploy.sandbox.run(&["show", "shop.plan", "-o", "json"]);
        let plan = serde_json::from_str(&shown.out).unwrap();
        super::scenarios::assert_published(&plan);
        plan
    }
}

/// Removes the finalizers of an object once it is deleted, as whoever put them there.
fn let_go<T>(cluster: &'static Cluster, address: &str, meanwhile: impl FnOnce() -> T) -> T {
    let ended = Arc::new(AtomicBool::new(false));
    let (end, address) = (ended.clone(), address.to_owned());
    let thread = std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            let held = cluster.object(&address).is_some_and(|o| !o["metadata"]["deletionTimestamp"].is_null());
            if held {
                let patch = json!({"metadata": {"finalizers": null}}).to_string();
                cluster.send("admin", "PATCH", &address, Some(("application/merge-patch+json", patch)));
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    });
    let result = meanwhile();
    ended.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    result
}

#[test]
fn hooks_rollbacks_and_dismissals_write_what_they_announce() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut steps = Steps::new(cluster, "exacthooks");
    write_shop(&steps.deploy, "one");
    let hooks = ["hook:pre-install", "hook:post-install", "record-hooks:pre-install", "delete:pre-install"];
    steps.deployed_as("an install with hooks of each policy", &hooks);
    write_shop(&steps.deploy, "two");
    steps.deployed_as("an upgrade with hooks", &["hook:pre-upgrade", "hook:post-upgrade", "delete:post-upgrade"]);
    let plan = steps.taken_back(&["release", "rollback"]);
    steps.carried_out("a rollback with hooks", &plan, &[]);
    let ids = plan["operations"].to_string();
    assert!(ids.contains("hook:pre-rollback") && ids.contains("hook:post-rollback"), "{ids}");
    let plan = steps.taken_back(&["release", "rollback", "2"]);
    steps.carried_out("a rollback to a revision", &plan, &[]);
    let plan = steps.taken_back(&["dismiss"]);
    let ids = plan["operations"].to_string();
    assert!(
        ids.contains("hook:pre-delete") && ids.contains("hook:post-delete") && ids.contains("forget:shop"),
        "{ids}"
    );
    steps.carried_out("a dismissal with hooks", &plan, &[]);
    write_shop(&steps.deploy, "three");
    steps.deployed_as("an install after a dismissal", &["open:shop"]);
    let plan = steps.taken_back(&["dismiss", "--with-namespace"]);
    assert!(plan["operations"].to_string().contains("delete:-/Namespace/exacthooks"));
    steps.carried_out("a dismissal with its namespace", &plan, &[]);
    assert_eq!(steps.count, 7);
}

#[test]
fn what_goes_slowly_stays_or_is_made_anew_writes_what_it_announces() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut steps = Steps::new(cluster, "exactslow");
    let held = |value: &str, more: &str| {
        config("held", more, value).replace("name: held,", "name: held, finalizers: [example.org/held],")
    };
    let address = address_of("exactslow/ConfigMap/held");
    write(&steps.deploy, "a", &config("a", "", "one"));
    write(&steps.deploy, "held", &held("one", ""));
    write(&steps.deploy, "kept", &config("kept", "helm.sh/resource-policy: keep", "one"));
    steps.deployed_as("an object with a finalizer", &["write:exactslow/ConfigMap/held"]);
    // Made anew though it could be changed.
    let anew = "werf.io/delete-policy: before-creation";
    write(&steps.deploy, "held", &held("two", anew));
    let_go(cluster, &address, || drop(steps.deployed_as("one that is made anew", &["write:exactslow/ConfigMap/held"])));
    write(&steps.deploy, "held", "");
    let_go(cluster, &address, || drop(steps.deployed_as("a deletion with a finalizer", &["delete:exactslow"])));
    assert!(cluster.object(&address).is_none());
    write(&steps.deploy, "kept", "");
    let plan = steps.deployed_as("one that is kept", &["release:shop"]);
    assert!(!plan["operations"].to_string().contains("delete_resource"), "{:#}", plan["operations"]);
    assert!(cluster.object(&address_of("exactslow/ConfigMap/kept")).is_some());
    // Fields that Helm set are taken over by a request of its own.
    let patch = json!({"data": {"theirs": "x"}}).to_string();
    let theirs = format!("{}?fieldManager=helm", address_of("exactslow/ConfigMap/a"));
    cluster.call("PATCH", &theirs, Some(("application/merge-patch+json", patch)));
    write(&steps.deploy, "a", &config("a", "", "two"));
    let plan = steps.deployed_as("fields of another tool", &["write:exactslow/ConfigMap/a"]);
    assert!(plan["operations"].to_string().contains("\"adopt\":true"), "{:#}", plan["operations"]);
    assert_eq!(steps.count, 5);
}

/// What is left to others with a request of its own is named by its operation, and told to the reader.
#[test]
fn replicas_that_are_left_to_others_are_announced() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut steps = Steps::new(cluster, "exactonce");
    let once = "werf.io/replicas-on-creation: '1'";
    write(&steps.deploy, "web", &web(once, ""));
    steps.deploy.sandbox.commit("a workload");
    let shown = steps.deploy.run(0, &["plan"]).out;
    assert!(shown.contains("its replicas are set this once, and then left to others"), "{shown}");
    let plan = steps.deployed_as("replicas that are set once", &["write:exactonce/Deployment.apps/web"]);
    let leaves = |plan: &Value| -> Vec<bool> {
        let writes = plan["operations"].as_array().unwrap().iter().map(|o| &o["work"]);
        writes.filter(|w| w["action"] == "write_resource").map(|w| w["leaves_replicas"] == true).collect()
    };
    assert_eq!(leaves(&plan), [false, true], "the namespace has none");
    write(&steps.deploy, "web", &web(once, "paused: true, "));
    let plan = steps.deployed_as("a change later", &["write:exactonce/Deployment.apps/web"]);
    assert_eq!(leaves(&plan), [false], "they are left already");
    write(&steps.deploy, "own", &web("", "replicas: 0, ").replace("web", "own"));
    steps.deployed_as("replicas of ours", &["write:exactonce/Deployment.apps/own"]);
    write(&steps.deploy, "own", &web(once, "").replace("web", "own"));
    let plan = steps.deployed_as("replicas that were ours until now", &["write:exactonce/Deployment.apps/own"]);
    assert_eq!(leaves(&plan), [true]);
    assert_eq!(steps.count, 4);
}

/// A tag of the plan that moves in the registry, or goes, between plan and apply: nothing is written.
#[test]
fn a_tag_that_moved_meanwhile_stops_a_plan() {
    moved_tags_stop_a_plan("exacttag", |repo| vec!["--repo".to_owned(), repo.to_owned()]);
}

/// The manifests name the images there: what becomes of them in the stage store is of no interest.
#[test]
fn a_tag_that_moved_in_the_final_repository_stops_a_plan() {
    moved_tags_stop_a_plan("exactfinal", |repo| {
        ["--repo", "oci:stages", "--final-repo", repo].map(str::to_owned).to_vec()
    });
}

/// `options` says by which options a repository is used, in which tags are moved and deleted.
fn moved_tags_stop_a_plan(namespace: &str, options: impl Fn(&str) -> Vec<String>) {
    let (Some(cluster), Some(registry)) = (Cluster::shared(), Registry::shared()) else { return };
    let mut steps = Steps::new(cluster, namespace);
    let repo = format!("{}/{namespace}", registry.address);
    let options = options(&repo);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    steps.deploy.sandbox.write(".gitignore", "/shop.plan\n/stages\n");
    let project = "configVersion: 1\nproject: shop\n---\nimage: one\ndockerfile: one.Dockerfile\n---\nimage: two\ndockerfile: two.Dockerfile\n";
    steps.deploy.sandbox.write("werf.yaml", project);
    for name in ["one", "two"] {
        steps.deploy.sandbox.write(&format!("{name}.Dockerfile"), &format!("FROM scratch\nCOPY {name}.txt /\n"));
        steps.deploy.sandbox.write(&format!("{name}.txt"), name);
        let text = web("", "replicas: 0, ").replace("name: web", &format!("name: {name}"));
        write(&steps.deploy, name, &text.replace("image: a", &format!("image: {{{{ .Values.werf.image.{name} }}}}")));
    }
    write(&steps.deploy, "a", &config("a", "", "zero"));
    steps.deploy.sandbox.commit("the shop");
    steps.deploy.run(0, &[&["apply", "--auto-approve", "--no-wait"], &options[..]].concat());
    steps.expected = steps.written();
    let store = RegistryStore::new(Repository::parse(&repo).unwrap(), RegistryOptions::default(), None).unwrap();
    let planned = |steps: &Steps, value: &str| -> Vec<String> {
        write(&steps.deploy, "a", &config("a", "", value));
        steps.deploy.sandbox.commit(value);
        let plan = steps.deploy.run(0, &[&["plan", "--out", "shop.plan", "-o", "json"], &options[..]].concat()).out;
        let plan: Value = serde_json::from_str(&plan).unwrap();
        super::scenarios::assert_published(&plan);
        let tag =
            |name: &str| plan["images"].as_array().unwrap().iter().find(|i| i["name"] == name).unwrap()["tag"].clone();
        ["one", "two"].map(|name| tag(name).as_str().unwrap().to_owned()).to_vec()
    };
    let tags = planned(&steps, "first");
    let found = store.images(&tags).unwrap();
    let manifests: Vec<_> = found.into_iter().map(|image| image.unwrap().manifest).collect();
    let stops = |steps: &Steps, what: &str| {
        let ran = steps.deploy.run(4, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
        assert!(ran.err.contains(&format!("image {}", tags[0])), "{what}: {}", ran.err);
        steps.assert_written(what);
    };
    store.tag(&tags[0], None, &manifests[1]).unwrap();
    stops(&steps, "a tag is moved");
    store.tag(&tags[0], None, &manifests[0]).unwrap();
    // As it was, it is carried out.
    steps.deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--no-wait"]);
    steps.expected = steps.written();
    planned(&steps, "second");
    let mut stream = std::net::TcpStream::connect(&registry.address).unwrap();
    let (host, manifest) = (&registry.address, &manifests[0]);
    write!(stream, "DELETE /v2/{namespace}/manifests/{manifest} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("202"), "{answer}");
    stops(&steps, "an image is deleted");
}

/// What the program says it did.
fn done(out: &str) -> BTreeSet<String> {
    let outcome: Value = serde_json::from_str(out).unwrap();
    outcome["done"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// In one namespace an apply fails, and its rollback is planned and carried out by hand; in the other it is automatic.
#[test]
fn an_automatic_rollback_writes_what_one_by_hand_announces() {
    let Some(cluster) = Cluster::shared() else { return };
    let begun = |namespace: &str| {
        let mut steps = Steps::new(cluster, namespace);
        write_shop(&steps.deploy, "one");
        write(&steps.deploy, "gadget", &gadget(1, "{state: fine}"));
        steps.deployed_as("a release", &["open:shop"]);
        write_shop(&steps.deploy, "two");
        write(&steps.deploy, "gadget", &gadget(2, "{state: fine, conditions: [{type: Stalled, status: 'True'}]}"));
        write(&steps.deploy, "new", &config("new", "", "two"));
        let plan = steps.plan("one that fails");
        (steps, plan)
    };
    let (mut by_hand, plan) = begun("exactback1");
    let count = by_hand.expected.len();
    let failed = |steps: &mut Steps, plan: &Value, args: &[&str]| {
        let namespace = steps.deploy.namespace.clone();
        // What an operation announces depends on what is there before.
        let ids = plan["operations"].as_array().unwrap().iter().map(|o| o["id"].as_str().unwrap().to_owned());
        let of = |id: String| (announced(plan, cluster, &namespace, Some(&BTreeSet::from([id.clone()]))), id);
        let all: Vec<(Vec<String>, String)> = ids.map(of).collect();
        let ran = steps.deploy.run(1, &[&["apply", "shop.plan", "--auto-approve", "-o", "json"], args].concat());
        let done = done(&ran.out);
        steps.expected.extend(all.into_iter().filter(|(_, id)| done.contains(id)).flat_map(|(writes, _)| writes));
        // That it failed stands in its record.
        steps.expected.push(format!("update /api/v1/namespaces/{namespace}/secrets/sh.helm.release.v1.shop.v2"));
    };
    failed(&mut by_hand, &plan, &[]);
    by_hand.expected.sort();
    by_hand.assert_written("an apply that fails");
    let back = by_hand.taken_back(&["release", "rollback"]);
    by_hand.carried_out("its rollback", &back, &[]);
    assert!(by_hand.expected.len() > count + 12, "{:#?}", by_hand.expected);

    let (mut automatic, plan) = begun("exactback2");
    failed(&mut automatic, &plan, &["--auto-rollback"]);
    let mut expected: Vec<String> =
        by_hand.expected.iter().map(|write| write.replace("exactback1", "exactback2")).collect();
    expected.sort();
    automatic.expected = expected;
    automatic.assert_written("the same, at once");
}

/// A hook that fails is deleted where its policy says so, by the operation that waits for it.
#[test]
fn a_hook_that_fails_writes_what_it_announces() {
    let Some(cluster) = Cluster::shared() else { return };
    let mut steps = Steps::new(cluster, "exactfail");
    let _kubelet = Kubelet::start(cluster, "exactfail", Box::new(|_: &str, nth| once(nth, finished(1))));
    write(&steps.deploy, "a", &config("a", "", "one"));
    steps.deployed_as("a release", &["open:shop"]);
    let hook = "helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: hook-failed";
    write(&steps.deploy, "job", &workload("Job", "migrate", hook));
    write(&steps.deploy, "a", &config("a", "", "two"));
    let plan = steps.plan("a hook that fails");
    let waits =
        plan["operations"].as_array().unwrap().iter().find(|o| o["work"]["action"] == "await_resource").unwrap();
    assert_eq!(waits["work"]["tracking"]["delete_failed"], true, "{waits:#}");
    let ran = steps.deploy.run(1, &["apply", "shop.plan", "--auto-approve", "-o", "json"]);
    assert!(!done(&ran.out).contains("write:exactfail/ConfigMap/a"), "{}", ran.out);
    let job = address_of("exactfail/Job.batch/migrate");
    let secrets = "/api/v1/namespaces/exactfail/secrets";
    let failed = format!("update {secrets}/sh.helm.release.v1.shop.v2");
    steps.expected.extend([format!("create {secrets}"), format!("patch {job}"), format!("delete {job}"), failed]);
    steps.expected.sort();
    steps.assert_written("a hook that fails");
}
