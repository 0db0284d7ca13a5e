//! The lock of werf: whoever deploys a release with werf waits for us, and we for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::faults::{Ship, wait_for};
use super::proxy::{Asked, Fate};
use crate::services::Cluster;

/// printf release/shop | openssl dgst -sha3-224
const KEY: &str = "lockgate.io/bf6bf3980ecdf8e1e4d747ef0d87e60fd91c57f8f48c3e1953c1f625";

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// The config map that werf makes when it deploys to a namespace for the first time.
struct Locks<'a> {
    ship: &'a Ship,
    address: String,
}

impl<'a> Locks<'a> {
    fn of(ship: &'a Ship) -> Self {
        let list = format!("/api/v1/namespaces/{}/configmaps", ship.deploy.namespace);
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "werf-synchronization"}}).to_string();
        ship.cluster.call("POST", &list, Some(("application/json", map)));
        Self { ship, address: format!("{list}/werf-synchronization") }
    }

    /// Writes a lease as werf does, or removes it.
    fn put(&self, lease: Option<&Value>) {
        self.annotate(KEY, lease.map(Value::to_string).as_deref());
    }

    fn annotate(&self, key: &str, text: Option<&str>) {
        let patch = json!({"metadata": {"annotations": {key: text}}}).to_string();
        self.ship.cluster.call("PATCH", &self.address, Some(("application/merge-patch+json", patch)));
    }

    fn lease(&self) -> Option<Value> {
        let map = self.ship.cluster.object(&self.address).unwrap();
        Some(serde_json::from_str(map["metadata"]["annotations"][KEY].as_str()?).unwrap())
    }
}

/// A lease of werf that is over after so many seconds.
fn of_werf(seconds: i64) -> Value {
    json!({"uuid": "8c0b7d4e-werf", "lockName": "release/shop", "ExpireAtTimestamp": now() + seconds, "SharedHoldersCount": 1,
        "IsShared": false, "QueueMembers": {}})
}

/// S60
#[test]
fn s60_an_apply_waits_for_werf_and_werf_for_an_apply() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "with-werf");
    let locks = Locks::of(&ship);
    ship.write(1);
    ship.save();
    locks.put(Some(&of_werf(10)));
    ship.proxy.pass();
    let ran = ship.deploy.run(6, &["apply", "--auto-approve", "--lock-timeout", "0"]);
    let told = "is held by werf (ConfigMap werf-synchronization)";
    assert!(ran.err.contains(told), "{}", ran.err);
    assert_eq!(ship.lease(), None, "it does not keep what it cannot use");
    assert_eq!(locks.lease().unwrap()["uuid"], "8c0b7d4e-werf");
    let (flag, reached) = ship.hold(|asked| asked.target.contains("/configmaps/a") && asked.writes);
    let mut child = ship.running(&[]);
    child.until(told);
    // A werf that lives renews its lease.
    locks.put(Some(&of_werf(10)));
    std::thread::sleep(Duration::from_secs(2));
    assert!(!reached.load(Ordering::Relaxed), "it waits");
    locks.put(None);
    wait_for("the first write begins", || reached.load(Ordering::Relaxed));
    let ours = locks.lease().expect("werf waits for it");
    assert_eq!((&ours["lockName"], &ours["IsShared"]), (&json!("release/shop"), &json!(false)));
    assert_eq!((&ours["SharedHoldersCount"], &ours["QueueMembers"]), (&json!(1), &json!({})));
    assert!(ours["ExpireAtTimestamp"].as_i64().unwrap() > now() + 20 && ours["uuid"].is_string(), "{ours}");
    // While it lasts it is renewed, and whoever stands in line stays there.
    let line = json!({"w": {"AcquirerId": "w", "AcquiredAtTimestamp": now(), "ExpireAtTimestamp": now() + 60}});
    let mut queued = ours.clone();
    queued["QueueMembers"] = line.clone();
    locks.put(Some(&queued));
    // Another release of the namespace has its own lock in there.
    locks.annotate("lockgate.io/other", Some("theirs"));
    std::thread::sleep(Duration::from_secs(7));
    let renewed = locks.lease().unwrap();
    assert!(renewed["ExpireAtTimestamp"].as_i64() > ours["ExpireAtTimestamp"].as_i64(), "{renewed}");
    assert_eq!((&renewed["uuid"], &renewed["QueueMembers"]), (&ours["uuid"], &line));
    flag.store(true, Ordering::Relaxed);
    wait_for("it ends", || child.0.try_wait().unwrap().is_some());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    let left = locks.lease().expect("who stands in line takes it");
    assert!(left["ExpireAtTimestamp"].as_i64().unwrap() < now() && left["QueueMembers"] == line, "{left}");
    locks.put(None);
    ship.write(2);
    ship.deploy.apply();
    assert_eq!(locks.lease(), None, "nobody stands in line");
    ship.assert_afloat();
}

#[test]
fn a_lock_of_a_werf_that_died_is_taken_when_nobody_renews_it() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "after-werf");
    let locks = Locks::of(&ship);
    // It is over by any clock.
    ship.write(1);
    locks.put(Some(&of_werf(-100_000)));
    ship.deploy.run(0, &["apply", "--auto-approve", "--lock-timeout", "0"]);
    assert_eq!(locks.lease(), None);
    // Clocks differ: it is watched for as long as werf lets it live.
    ship.write(2);
    locks.put(Some(&of_werf(-1)));
    let start = Instant::now();
    ship.deploy.run(0, &["apply", "--auto-approve"]);
    assert!(start.elapsed() > Duration::from_secs(9));
    assert_eq!(locks.lease(), None);
    ship.assert_afloat();
}

#[test]
fn a_run_that_lost_the_lock_to_werf_begins_nothing_new() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "to-werf");
    let locks = Locks::of(&ship);
    ship.write(1);
    ship.save();
    let (flag, reached) = ship.hold(|asked| asked.target.contains("/configmaps/a") && asked.writes);
    let child = ship.running(&[]);
    wait_for("the first write begins", || reached.load(Ordering::Relaxed));
    locks.put(Some(&of_werf(60)));
    std::thread::sleep(Duration::from_secs(7));
    flag.store(true, Ordering::Relaxed);
    let (code, said) = child.end();
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(ship.lease(), None, "our own is given back");
    assert!(said.contains("the lock of the release was lost") && said.contains("took its lock"), "{said}");
    let writes = ship.proxy.writes();
    assert_eq!(writes.iter().filter(|w| w.starts_with("PATCH")).count(), 1, "{writes:?}");
    assert_eq!(locks.lease().unwrap()["uuid"], "8c0b7d4e-werf", "theirs stays");
    locks.put(None);
    ship.proxy.pass();
    ship.deploy.apply();
    ship.assert_afloat();
}

/// An account that was made for werf may keep no Lease: werf's lock is as good.
#[test]
fn an_account_without_leases_has_the_lock_of_werf() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "leaseless-werf");
    let locks = Locks::of(&ship);
    let denied = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
        "message": "leases.coordination.k8s.io is forbidden: User \"ci\" cannot create resource \"leases\""})
    .to_string();
    let deny = move |asked: &Asked| asked.target.contains("/leases").then(|| Fate::Answer(403, None, denied.clone()));
    let (held, reached) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (hold, told) = (held.clone(), reached.clone());
    ship.proxy.set(move |asked| match deny(asked) {
        Some(fate) => fate,
        None if asked.target.contains("/configmaps/a") && asked.writes => {
            told.store(true, Ordering::Relaxed);
            Fate::Wait(hold.clone())
        }
        None => Fate::Pass,
    });
    ship.write(1);
    locks.put(Some(&of_werf(60)));
    let ran = ship.deploy.run(6, &["apply", "--auto-approve", "--lock-timeout", "0"]);
    assert!(ran.err.contains("is held by werf"), "{}", ran.err);
    locks.put(None);
    ship.save();
    let child = ship.running(&[]);
    wait_for("the first write begins", || reached.load(Ordering::Relaxed));
    let ours = locks.lease().expect("werf waits for it");
    std::thread::sleep(Duration::from_secs(7));
    let renewed = locks.lease().unwrap();
    assert!(renewed["ExpireAtTimestamp"].as_i64() > ours["ExpireAtTimestamp"].as_i64(), "{renewed}");
    held.store(true, Ordering::Relaxed);
    let (code, said) = child.end();
    assert!(code == Some(0) && said.contains("locked by werf's lock alone"), "{said}");
    assert_eq!((locks.lease(), ship.lease()), (None, None));
    ship.proxy.pass();
    ship.deploy.assert_no_changes();
}

/// Somebody deletes what werf keeps its locks in: our own lock is held all the same.
#[test]
fn a_run_goes_on_where_the_locks_of_werf_are_deleted_and_an_answer_is_lost() {
    let Some(cluster) = Cluster::shared() else { return };
    let ship = Ship::afloat(cluster, "without-werf");
    let locks = Locks::of(&ship);
    ship.write(1);
    ship.save();
    let (flag, reached) = ship.hold(|asked| asked.target.contains("/configmaps/a") && asked.writes);
    let child = ship.running(&[]);
    wait_for("the first write begins", || reached.load(Ordering::Relaxed));
    cluster.call("DELETE", &locks.address, None);
    std::thread::sleep(Duration::from_secs(7));
    flag.store(true, Ordering::Relaxed);
    let (code, said) = child.end();
    assert_eq!(code, Some(0), "{said}");
    ship.assert_afloat();
    // What is given back and not answered is given back all the same; so is what is taken.
    let locks = Locks::of(&ship);
    ship.write(2);
    ship.proxy.set(|asked| {
        let is_first = asked.target.contains("werf-synchronization?fieldManager") && asked.again == 0;
        if is_first { Fate::Lose } else { Fate::Pass }
    });
    ship.deploy.apply();
    assert_eq!(locks.lease(), None);
    ship.assert_afloat();
}
