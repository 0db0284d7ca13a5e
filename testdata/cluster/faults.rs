//! What goes wrong between the program and the API server, and who comes between: failures that pass and failures that
//! stay, interruptions, and others who apply at the same time.
//!
//! Each ends in success, or in an error that says why, with a record that the next run can go on from.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::proxy::{Asked, Fate, Proxy};
use super::{Deploy, Ground};
use crate::services::Cluster;

/// A small release behind a proxy.
pub(super) struct Ship {
    pub(super) deploy: Deploy,
    pub(super) proxy: Proxy,
    pub(super) cluster: &'static Cluster,
}

impl Ship {
    /// Holds the requests that are meant until the first flag is set; the second tells that one has come.
    pub(super) fn hold(
        &self,
        is_meant: impl Fn(&Asked) -> bool + Send + 'static,
    ) -> (Arc<AtomicBool>, Arc<AtomicBool>) {
        let (flag, reached) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (hold, told) = (flag.clone(), reached.clone());
        self.proxy.set(move |asked| {
            if is_meant(asked) {
                told.store(true, Ordering::Relaxed);
                Fate::Wait(hold.clone())
            } else {
                Fate::Pass
            }
        });
        (flag, reached)
    }

    fn new(cluster: &'static Cluster, namespace: &str) -> Self {
        let proxy = Proxy::start(cluster);
        let mut deploy = Deploy::bare(namespace, Ground::Real(cluster));
        let file = deploy.sandbox.home().join("kubeconfig");
        std::fs::write(&file, super::kubeconfig(&proxy.address)).unwrap();
        deploy.kubeconfig = file.display().to_string();
        let ship = Self { deploy, proxy, cluster };
        ship.write(0);
        ship
    }

    /// As `new`, with a first version in the cluster.
    pub(super) fn afloat(cluster: &'static Cluster, namespace: &str) -> Self {
        let ship = Self::new(cluster, namespace);
        ship.deploy.apply();
        ship
    }

    /// Two maps and a Secret, all of them changed, one after the other.
    pub(super) fn write(&self, version: u32) {
        let object = |kind: &str, name: &str, weight: u32, data: &str| {
            format!(
                "---\napiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, annotations: {{werf.io/weight: '{weight}'}}}}\n{data}: {{v: 'version-{version}'}}\n"
            )
        };
        let text = [
            object("ConfigMap", "a", 1, "data"),
            object("ConfigMap", "b", 2, "data"),
            object("Secret", "s", 3, "stringData"),
        ];
        self.deploy.sandbox.write(".helm/templates/all.yaml", &text.concat()).commit("a version");
    }

    pub(super) fn save(&self) {
        self.deploy.run(0, &["plan", "--out", "shop.plan"]);
    }

    /// Applies the saved plan, with what is typed besides.
    pub(super) fn running(&self, args: &[&str]) -> Running {
        Running(self.start(args))
    }

    fn start(&self, args: &[&str]) -> Child {
        let all = ["apply", "shop.plan", "--auto-approve", "--kubeconfig", &self.deploy.kubeconfig];
        let mut command = self.deploy.sandbox.command(&[&all[..], args].concat());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(super) fn lease(&self) -> Option<Value> {
        self.cluster.object(&self.lease_address())
    }

    fn lease_address(&self) -> String {
        let namespace = &self.deploy.namespace;
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/stagewright-lock-shop")
    }

    /// The description of the last record.
    fn last_description(&self) -> String {
        use base64::Engine as _;
        let number = self.deploy.records().len();
        let record = self.deploy.object("secrets", &format!("sh.helm.release.v1.shop.v{number}")).unwrap();
        let decode = |text: &[u8]| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let packed = decode(&decode(record["data"]["release"].as_str().unwrap().as_bytes()));
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        let release: Value = serde_json::from_str(&text).unwrap();
        release["info"]["description"].as_str().unwrap().to_owned()
    }

    /// Everything is as wanted, and the last record says so.
    fn assert_on_course(&self) {
        self.proxy.pass();
        self.deploy.assert_no_changes();
        assert_eq!(self.deploy.records().last().map(String::as_str), Some("deployed"));
    }

    /// As `assert_on_course`, and nobody holds the lock.
    pub(super) fn assert_afloat(&self) {
        self.assert_on_course();
        assert_eq!(self.lease(), None, "the lock is given back");
    }

    /// The lock of who died after the last write stays, and is nobody's: where nothing changes, nothing is locked.
    fn assert_free(&self) {
        self.write(100);
        self.deploy.run(0, &["apply", "--auto-approve", "--lock-timeout", "0"]);
        self.assert_afloat();
    }
}

/// Ends a program that a failed test left.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Waits until it ends; the code, and what it said.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.0.wait().unwrap().code(), said)
    }

    /// Waits until it says something.
    pub(super) fn until(&mut self, text: &str) -> String {
        let stderr = self.0.stderr.take().unwrap();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut said = String::new();
        loop {
            let line =
                receive.recv_timeout(Duration::from_mins(2)).unwrap_or_else(|_| panic!("{text} is not said: {said}"));
            said += &format!("{line}\n");
            if line.contains(text) {
                return said;
            }
        }
    }
}

pub(super) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_mins(2), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What a server or a proxy before it answers when it cannot answer now.
fn busy(code: u16, message: &str) -> Fate {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": "Busy"});
    Fate::Answer(code, None, status.to_string())
}

/// A fault, by its name.
type Fault = (&'static str, fn() -> Fate);

const FAULTS: [Fault; 8] = [
    ("429", || Fate::Answer(429, Some(1), "Too many requests, please try again later.".into())),
    ("500", || busy(500, "etcdserver: request timed out")),
    ("502", || Fate::Answer(502, None, "<html>Bad Gateway</html>".into())),
    ("503", || busy(503, "apiserver is shutting down")),
    ("504", || busy(504, "Timeout: request did not complete within the requested timeout")),
    ("409 of a quota", || {
        busy(
            409,
            "Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified; please apply your changes to the latest version and try again",
        )
    }),
    ("cut", || Fate::Cut),
    ("lost", || Fate::Lose),
];

/// S71
#[test]
fn a_fault_at_every_request_that_passes_is_not_even_noticed() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "passing");
    ship.proxy.pass();
    ship.write(1);
    ship.deploy.apply();
    let undisturbed = ship.proxy.writes();
    for (n, (name, fault)) in FAULTS.into_iter().enumerate() {
        ship.proxy.pass();
        ship.write(2 + n as u32);
        ship.save();
        // Every request fails at first; what is read too often would only take time.
        ship.proxy
            .set(move |asked| if asked.again == 0 && (asked.writes || name != "429") { fault() } else { Fate::Pass });
        let ran = ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
        // What was carried out without an answer is looked at, and not sent again.
        let writes = ship.proxy.writes();
        assert_eq!(writes.len(), undisturbed.len(), "{name}: {writes:?} {}", ran.err);
        ship.assert_afloat();
        let records = ship.deploy.records();
        let deployed = records.iter().filter(|status| *status == "deployed").count();
        assert!(deployed == 1 && !records.contains(&"failed".to_owned()), "{name}: {records:?}");
    }
}

#[test]
fn the_server_says_when_to_come_again() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "asked");
    ship.write(1);
    ship.save();
    let times = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = times.clone();
    ship.proxy.set(move |asked| {
        if !asked.target.contains("/configmaps/a") || !asked.writes {
            return Fate::Pass;
        }
        seen.lock().unwrap().push(Instant::now());
        if asked.again == 0 { Fate::Answer(429, Some(2), "wait".into()) } else { Fate::Pass }
    });
    ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    let times = times.lock().unwrap().clone();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= Duration::from_secs(2));
    ship.assert_afloat();
    // What takes longer than it may is told, and ends.
    ship.write(2);
    ship.proxy.set(|asked| {
        if asked.target.contains("/configmaps/a") && asked.writes {
            Fate::Answer(429, Some(600), "wait".into())
        } else {
            Fate::Pass
        }
    });
    let ran = ship.deploy.run(1, &["apply", "--auto-approve", "--kube-retry-time", "2"]);
    assert!(ran.err.contains("wait (Too Many Requests)"), "{}", ran.err);
    ship.proxy.pass();
    ship.deploy.apply();
    ship.assert_afloat();
}

#[test]
fn a_pod_waits_for_the_account_that_its_new_namespace_gives_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::new(cluster, "accounts");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: once}\nspec: {nodeName: nowhere, containers: [{name: main, image: 'example/web:1'}]}\n";
    ship.deploy.sandbox.write(".helm/templates/all.yaml", pod).commit("a pod");
    // As the server says it until the controller of accounts has seen the namespace.
    ship.proxy.set(|asked| {
        let is_new = asked.writes && asked.target.contains("/pods/once") && asked.again < 2;
        let message = "pods \"once\" is forbidden: error looking up service account accounts/default: serviceaccount \"default\" not found";
        let status = json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": message, "code": 403});
        if is_new { Fate::Answer(403, None, status.to_string()) } else { Fate::Pass }
    });
    let fate = |_: &str, nth| super::tracking::once(nth, super::tracking::ready());
    let _kubelet = super::tracking::Kubelet::start(cluster, "accounts", Box::new(fate));
    ship.deploy.run(0, &["apply", "--auto-approve"]);
    assert!(cluster.object("/api/v1/namespaces/accounts/pods/once").is_some());
    assert_eq!(ship.deploy.records(), ["deployed"]);
}

#[test]
fn what_takes_long_is_told() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "told");
    ship.write(1);
    ship.save();
    let start = Arc::new(std::sync::Mutex::new(None::<Instant>));
    ship.proxy.set(move |asked| {
        let mut start = start.lock().unwrap();
        let is_meant = asked.target.contains("/configmaps/a") && asked.writes;
        if is_meant && start.get_or_insert_with(Instant::now).elapsed() < Duration::from_secs(8) {
            busy(503, "apiserver is shutting down")
        } else {
            Fate::Pass
        }
    });
    let ran = ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    assert!(ran.err.contains("the API server answers 503 (Busy), tried again for "), "{}", ran.err);
    ship.assert_afloat();
}

#[test]
fn a_fault_that_stays_is_an_error_with_its_cause_and_the_next_run_goes_on() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "staying");
    let mut version = 0;
    for (name, fault) in FAULTS {
        version += 1;
        ship.proxy.pass();
        ship.write(version);
        ship.save();
        ship.proxy.set(
            move |asked| if asked.target.contains("/configmaps/b") && asked.writes { fault() } else { Fate::Pass },
        );
        if name == "lost" {
            // It is carried out, and found.
            ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
            ship.assert_afloat();
            continue;
        }
        let ran = ship.deploy.run(1, &["apply", "shop.plan", "--auto-approve", "--kube-retry-time", "1"]);
        assert!(ran.err.contains("failed to write staying/ConfigMap/b"), "{name}: {}", ran.err);
        assert!(ran.err.contains("skipped") && ran.err.contains("Failed: "), "{name}: {}", ran.err);
        ship.proxy.pass();
        assert_eq!(ship.deploy.records().last().map(String::as_str), Some("failed"), "{name}");
        assert_eq!(ship.lease(), None, "{name}");
        // In turn: on with the same plan, and anew.
        let again: &[&str] = if version % 2 == 0 {
            &["apply", "shop.plan", "--auto-approve", "--resume"]
        } else {
            &["apply", "--auto-approve"]
        };
        ship.deploy.run(0, again);
        ship.assert_afloat();
    }
}

#[test]
fn a_server_that_vanishes_after_any_write_is_an_error_and_the_next_run_goes_on() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "vanishing");
    ship.proxy.pass();
    ship.write(1);
    ship.deploy.apply();
    let writes = ship.proxy.writes().len();
    assert_eq!(writes, 6);
    for last in 1..=writes {
        ship.proxy.pass();
        ship.write(1 + last as u32);
        ship.save();
        ship.proxy.stop_after(last);
        let ran = ship.deploy.run(1, &["apply", "shop.plan", "--auto-approve", "--kube-retry-time", "1"]);
        assert!(ran.err.contains("caused by") || ran.err.contains("failed to "), "{last}: {}", ran.err);
        assert!(!ran.err.contains("Applied"), "{last}: {}", ran.err);
        let before = ship.proxy.writes();
        ship.proxy.pass();
        if last % 2 == 0 {
            ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--resume"]);
            let mut all = [before.clone(), ship.proxy.writes()].concat();
            all.sort();
            all.dedup();
            let count = before.len() + ship.proxy.writes().len();
            assert_eq!(all.len(), count, "nothing twice: {last}: {before:?}, then {:?}", ship.proxy.writes());
        } else {
            ship.deploy.apply();
        }
        ship.assert_on_course();
    }
    ship.assert_free();
}

/// S62
#[test]
fn an_interrupted_run_ends_its_writes_says_so_in_the_record_and_frees_the_lock() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "interrupted");
    for (n, signal) in [rustix::process::Signal::INT, rustix::process::Signal::TERM].into_iter().enumerate() {
        ship.write(1 + n as u32);
        ship.save();
        let (flag, reached) = ship.hold(|asked| asked.target.contains("/configmaps/a") && asked.writes);
        let child = Running(ship.start(&[]));
        wait_for("the first write begins", || reached.load(Ordering::Relaxed));
        assert!(ship.lease().is_some(), "it holds the lock");
        let pid = rustix::process::Pid::from_child(&child.0);
        rustix::process::kill_process(pid, signal).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        flag.store(true, Ordering::Relaxed);
        let (code, said) = child.end();
        assert_eq!(code, Some(130), "{said}");
        let writes = ship.proxy.writes();
        assert_eq!(writes.iter().filter(|w| w.starts_with("PATCH")).count(), 1, "what was under way ended: {writes:?}");
        assert!(said.contains("Interrupted: "), "{said}");
        assert_eq!(ship.deploy.records().last().map(String::as_str), Some("failed"));
        assert_eq!(ship.last_description(), "interrupted");
        assert_eq!(ship.lease(), None);
        ship.proxy.pass();
        ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--resume"]);
        ship.assert_afloat();
    }
}

/// S61
#[test]
fn a_small_release_that_is_killed_after_any_write_goes_on_with_no_manual_step() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "killing");
    for kill in 1..=6 {
        ship.write(kill as u32);
        ship.save();
        ship.proxy.stop_after(kill);
        let child = Running(ship.start(&[]));
        wait_for("the write is reached", || ship.proxy.writes().len() >= kill);
        drop(child);
        ship.proxy.pass();
        // A new plan, and not the one that was killed.
        ship.deploy.apply();
        ship.assert_on_course();
        let records = ship.deploy.records();
        assert!(records.iter().all(|status| !status.starts_with("pending")), "{records:?}");
    }
    ship.assert_free();
}

/// S60
#[test]
fn a_second_apply_waits_for_the_first_and_then_looks_at_its_plan_again() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "both");
    ship.write(1);
    ship.save();
    let (flag, reached) = ship.hold(|asked| asked.writes && asked.done == 0);
    let first = Running(ship.start(&[]));
    wait_for("the first has the lock", || reached.load(Ordering::Relaxed) && ship.lease().is_some());
    // The same plan: until the first has written, it is as good.
    let ran = ship.deploy.sandbox.run(&[
        "apply",
        "shop.plan",
        "--auto-approve",
        "--lock-timeout",
        "0",
        "--kubeconfig",
        &ship.deploy.kubeconfig,
    ]);
    assert!(ran.code == 6 && ran.err.contains("is held by process"), "{ran:?}");
    let mut second = Running(ship.start(&[]));
    let said = second.until("is held by process");
    assert!(said.contains(&format!("process {} of ", first.0.id())) && said.contains(" since 20"), "{said}");
    flag.store(true, Ordering::Relaxed);
    let (code, said) = first.end();
    assert_eq!(code, Some(0), "{said}");
    wait_for("the second ends", || second.0.try_wait().unwrap().is_some());
    assert_eq!(second.0.wait().unwrap().code(), Some(4), "its plan is stale");
    ship.assert_afloat();
}

/// S60
#[test]
fn s60_an_apply_without_a_saved_plan_that_waited_makes_its_plan_again() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "waited");
    ship.write(1);
    let start = || {
        let own = ["--target", "cluster", "--namespace", "waited", "--release", "shop"];
        let args = ["apply", "--auto-approve", "--kubeconfig", &ship.deploy.kubeconfig];
        let mut command = ship.deploy.sandbox.command(&[&args[..], &own].concat());
        Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    };
    let (flag, reached) = ship.hold(|asked| asked.writes && asked.done == 0);
    let first = start();
    wait_for("the first has the lock", || reached.load(Ordering::Relaxed) && ship.lease().is_some());
    // The other one has a newer version, and plans it over what is there before the first has written.
    ship.write(2);
    let mut second = start();
    second.until("is held by process");
    flag.store(true, Ordering::Relaxed);
    let (code, said) = first.end();
    assert_eq!(code, Some(0), "{said}");
    wait_for("the second ends", || second.0.try_wait().unwrap().is_some());
    assert_eq!(second.0.wait().unwrap().code(), Some(0), "its plan is made again");
    assert_eq!(ship.deploy.object("configmaps", "a").unwrap()["data"]["v"], "version-2");
    assert_eq!(ship.deploy.records(), ["superseded", "superseded", "deployed"]);
    ship.assert_afloat();
}

#[test]
fn an_answer_that_takes_long_is_told_while_it_is_waited_for() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "silent");
    ship.write(1);
    let (flag, reached) = ship.hold(|asked| asked.target.contains("/configmaps/a") && asked.again == 0);
    let own = ["--target", "cluster", "--namespace", "silent", "--release", "shop"];
    let args = ["apply", "--auto-approve", "--kubeconfig", &ship.deploy.kubeconfig];
    let mut command = ship.deploy.sandbox.command(&[&args[..], &own].concat());
    let mut child = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let said = child.until("the API server has not answered for ");
    assert!(reached.load(Ordering::Relaxed) && said.contains("/namespaces/silent/configmaps/a"), "{said}");
    flag.store(true, Ordering::Relaxed);
    wait_for("it ends", || child.0.try_wait().unwrap().is_some());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    ship.assert_afloat();
}

/// One that accepts every connection, and never answers.
#[test]
fn a_server_that_never_answers_is_given_up() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::new(cluster, "mute");
    let (_flag, _) = ship.hold(|_| true);
    let ran = ship.deploy.run(1, &["plan"]);
    assert!(ran.err.contains("has not answered for ") && ran.err.contains("no answer for "), "{}", ran.err);
}

/// Once its records are gone, nothing but the namespace is left to be deleted.
#[test]
fn a_saved_dismissal_that_is_killed_after_its_records_went_is_resumed() {
    let Some(cluster) = Cluster::shared() else { return };
    let dismissed = |namespace: &str| {
        let ship = Ship::new(cluster, namespace);
        let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bye, annotations: {helm.sh/hook: pre-delete}}\n";
        ship.deploy.sandbox.write(".helm/templates/hook.yaml", hook).commit("a hook");
        ship.deploy.apply();
        ship.deploy.run(0, &["dismiss", "--with-namespace", "--out", "shop.plan"]);
        ship
    };
    let ship = dismissed("dismissed");
    ship.proxy.pass();
    ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve"]);
    let writes = ship.proxy.writes();
    assert!(writes.last().is_some_and(|last| last.ends_with("/namespaces/dismissed")), "{writes:?}");
    for back in 0..2 {
        let ship = dismissed(&format!("dismissed{back}"));
        let last = writes.len() - back;
        ship.proxy.stop_after(last);
        let child = Running(ship.start(&[]));
        wait_for("so many writes", || ship.proxy.writes().len() >= last);
        drop(child);
        ship.proxy.pass();
        let ran = ship.deploy.run(0, &["apply", "shop.plan", "--auto-approve", "--resume"]);
        let namespace = format!("/api/v1/namespaces/{}", ship.deploy.namespace);
        assert_eq!(ship.cluster.object(&namespace), None, "{back}: {}", ran.err);
        let again: Vec<String> = ship.proxy.writes();
        assert!(again.iter().all(|write| !write.starts_with("PATCH")), "nothing is made again: {again:?}");
    }
}

#[test]
fn the_lock_of_a_first_install_is_taken_as_soon_as_there_is_a_place_for_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::new(cluster, "maiden");
    ship.save();
    let (flag, reached) = ship.hold(|asked| asked.target.contains("/secrets") && asked.writes && asked.done == 1);
    let child = Running(ship.start(&[]));
    wait_for("the record is written", || reached.load(Ordering::Relaxed));
    let lease = ship.lease().expect("it is locked before the record is written");
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().contains(&format!("process {} ", child.0.id())));
    flag.store(true, Ordering::Relaxed);
    assert_eq!(child.end().0, Some(0));
    ship.assert_afloat();
}

/// Of a Secret nothing is told but its version, and taking its fields over changes that.
#[test]
fn a_run_that_is_killed_after_it_took_over_the_fields_of_a_secret_is_resumed() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "adopting");
    let make = |name: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
            "name": name, "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "shop", "meta.helm.sh/release-namespace": "adopting"}},
            "data": {"v": "b2xk", "gone": "b2xk"}});
        let list = "/api/v1/namespaces/adopting/secrets";
        cluster.call("POST", &format!("{list}?fieldManager=helm"), Some(("application/json", secret.to_string())));
    };
    for (n, meddles) in [false, true].into_iter().enumerate() {
        let name = format!("taken{n}");
        make(&name);
        let text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{v: new}}\n");
        ship.deploy.sandbox.write(&format!(".helm/templates/{name}.yaml"), &text).commit("a Secret");
        ship.save();
        // The record, and the fields.
        ship.proxy.stop_after(2);
        let child = Running(ship.start(&[]));
        wait_for("the fields are taken over", || ship.proxy.writes().len() >= 2);
        drop(child);
        assert!(ship.proxy.writes()[1].ends_with(&name), "{:?}", ship.proxy.writes());
        ship.proxy.pass();
        let args = ["apply", "shop.plan", "--auto-approve", "--resume"];
        if meddles {
            // Times are kept in seconds.
            std::thread::sleep(Duration::from_millis(1100));
            let patch = json!({"data": {"v": "dGhlaXJz"}}).to_string();
            let address = format!("/api/v1/namespaces/adopting/secrets/{name}");
            cluster.call("PATCH", &address, Some(("application/merge-patch+json", patch)));
            let ran = ship.deploy.run(4, &args);
            assert!(ran.err.contains(&name), "{}", ran.err);
            ship.deploy.apply();
        } else {
            ship.deploy.run(0, &args);
        }
        let data = ship.deploy.object("secrets", &name).unwrap()["data"].clone();
        assert_eq!(data, json!({"v": "bmV3"}), "what Helm set and nobody wants is gone");
        ship.assert_afloat();
    }
}

/// A Lease of somebody else.
fn lease_of(holder: &str, ship: &Ship, renewed: &str, lasts: u32) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "stagewright-lock-shop", "namespace": ship.deploy.namespace},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": lasts, "acquireTime": renewed, "renewTime": renewed},
    })
}

fn put_lease(ship: &Ship, lease: &Value) {
    let (list, _) =
        ship.lease_address().rsplit_once('/').map(|(list, name)| (list.to_owned(), name.to_owned())).unwrap();
    ship.cluster.call("POST", &list, Some(("application/json", lease.to_string())));
}

#[test]
fn the_lock_of_a_dead_holder_is_free_after_its_time_and_that_of_a_living_one_is_not() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "dead");
    ship.write(1);
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    put_lease(&ship, &lease_of("me on another machine", &ship, &now, 600));
    ship.proxy.pass();
    let ran = ship.deploy.run(6, &["apply", "--auto-approve", "--lock-timeout", "1"]);
    assert!(ran.err.contains("held by me on another machine since 20"), "{}", ran.err);
    assert_eq!(ship.proxy.writes(), Vec::<String>::new());
    ship.cluster.call("DELETE", &ship.lease_address(), None);
    // Nobody renews it: it is over when its time has passed, by our own clock.
    put_lease(&ship, &lease_of("me on another machine", &ship, &now, 1));
    ship.deploy.run(0, &["apply", "--auto-approve"]);
    ship.assert_afloat();
    // One that is old by any clock is not even waited for.
    ship.write(2);
    put_lease(&ship, &lease_of("me long ago", &ship, "2020-01-01T00:00:00.000000Z", 600));
    ship.deploy.run(0, &["apply", "--auto-approve", "--lock-timeout", "0"]);
    ship.assert_afloat();
}

#[test]
fn a_run_that_lost_its_lock_begins_nothing_new() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "lost");
    ship.write(1);
    ship.save();
    let (flag, reached) = ship.hold(|asked| asked.target.contains("/configmaps/a") && asked.writes);
    let child = Running(ship.start(&["--auto-rollback"]));
    wait_for("the first write begins", || reached.load(Ordering::Relaxed));
    // Somebody takes the lock; the program learns it when it renews its own.
    let version = |lease: &Value| lease["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let patch = json!({"spec": {"holderIdentity": "the other one"}}).to_string();
    let taken = ship.cluster.call("PATCH", &ship.lease_address(), Some(("application/merge-patch+json", patch)));
    std::thread::sleep(Duration::from_secs(7));
    flag.store(true, Ordering::Relaxed);
    let (code, said) = child.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the lock of the release was lost") && said.contains("the other one has it now"), "{said}");
    let writes = ship.proxy.writes();
    assert_eq!(writes.iter().filter(|w| w.starts_with("PATCH")).count(), 1, "{writes:?}");
    assert_eq!(version(&ship.lease().unwrap()), version(&taken), "theirs stays");
    // What becomes of the release says who has the lock.
    assert!(said.contains("was not rolled back: somebody else has taken it over"), "{said}");
    assert!(!writes.iter().any(|w| w.starts_with("PUT") && w.contains("secrets")), "{writes:?}");
    ship.cluster.call("DELETE", &ship.lease_address(), None);
    ship.proxy.pass();
    ship.deploy.apply();
    ship.assert_afloat();
}
