//! What others do between the last look at a resource and its write: nothing is written over it unseen.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::proxy::{Asked, Fate, Proxy};
use super::{Deploy, Ground, kubeconfig};
use crate::services::Cluster;

const MERGE: &str = "application/merge-patch+json";

/// A release whose requests go through a proxy.
struct Between {
    deploy: Deploy,
    cluster: &'static Cluster,
    proxy: Proxy,
}

impl Between {
    fn new(namespace: &str, templates: &str) -> Option<Self> {
        let cluster = Cluster::shared()?;
        let mut deploy = Deploy::bare(namespace, Ground::Real(cluster));
        deploy.sandbox.write(".helm/templates/all.yaml", templates).commit("a release");
        let proxy = Proxy::start(cluster);
        let file = deploy.sandbox.home().join("proxied");
        std::fs::write(&file, kubeconfig(&proxy.address)).unwrap();
        deploy.kubeconfig = file.display().to_string();
        Some(Self { deploy, cluster, proxy })
    }

    /// Just before what writes to an address is passed on, something is done: as often as `times`. Returns the writes to it.
    fn before(&self, address: &str, times: usize, act: impl Fn(&Cluster) + Send + 'static) -> Arc<Mutex<usize>> {
        let (seen, address, cluster) = (Arc::<Mutex<usize>>::default(), address.to_owned(), self.cluster);
        let writes = seen.clone();
        self.proxy.set(move |asked: &Asked| {
            if asked.writes && asked.target.split('?').next() == Some(address.as_str()) {
                let mut writes = writes.lock().unwrap();
                *writes += 1;
                if *writes <= times {
                    act(cluster);
                }
            }
            Fate::Pass
        });
        seen
    }

    /// The first template with something else in it.
    fn change(&self, from: &str, to: &str) {
        self.deploy.edit(".helm/templates/all.yaml", from, to);
    }

    fn apply(&self, code: i32) -> String {
        self.deploy.run(code, &["apply", "--auto-approve", "--no-wait"]).err
    }

    fn data(&self, name: &str) -> Value {
        self.deploy.object("configmaps", name).map_or(Value::Null, |found| found["data"].clone())
    }
}

fn patch(address: &str, body: &Value) -> impl Fn(&Cluster) + Send + 'static {
    let (address, body) = (address.to_owned(), body.to_string());
    move |cluster: &Cluster| drop(cluster.call("PATCH", &address, Some((MERGE, body.clone()))))
}

const MAPS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {v: v1}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: goes}\ndata: {v: v1}\n";

#[test]
fn what_others_write_between_the_look_and_the_write_is_not_written_over() {
    let Some(between) = Between::new("between", MAPS) else { return };
    let (a, goes) = (between.deploy.address("configmaps", "a"), between.deploy.address("configmaps", "goes"));
    between.proxy.pass();
    between.apply(0);
    between.change("{v: v1}\n---", "{v: v2}\n---");
    between.before(&a, 1, patch(&a, &json!({"data": {"v": "theirs"}})));
    let err = between.apply(4);
    assert!(err.contains("it was changed; last written by") && err.contains("data.v: \"theirs\""), "{err}");
    assert_eq!(between.data("a"), json!({"v": "theirs"}));
    // The same of what is made, and of what is deleted.
    let made = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\ndata: {v: v1}\n";
    between.proxy.pass();
    between.apply(0);
    between.deploy.sandbox.write(".helm/templates/more.yaml", made).commit("one more");
    let new = between.deploy.address("configmaps", "new");
    let list = new.rsplit_once('/').unwrap().0.to_owned();
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"v": "theirs"}});
    between.before(&new, 1, move |cluster| {
        drop(cluster.call("POST", &list, Some(("application/json", theirs.to_string()))));
    });
    let err = between.apply(4);
    assert!(err.contains("it was made meanwhile"), "{err}");
    assert_eq!(between.data("new"), json!({"v": "theirs"}));
    between.cluster.call("DELETE", &new, None);
    between.proxy.pass();
    between.apply(0);
    let without = MAPS.split("---").next().unwrap().replace("v1}", "v2}");
    between.deploy.sandbox.write(".helm/templates/all.yaml", &without).commit("one less");
    between.before(&goes, 1, patch(&goes, &json!({"data": {"v": "theirs"}})));
    let err = between.apply(4);
    assert!(err.contains("it was changed; last written by"), "{err}");
    assert_eq!(between.data("goes"), json!({"v": "theirs"}));
}

#[test]
fn what_is_nobodys_business_between_the_look_and_the_write_stops_nothing() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 0\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: a, image: 'a:1'}]}\n";
    let Some(between) = Between::new("besides", deployment) else { return };
    let web = between.deploy.address("deployments", "web");
    between.proxy.pass();
    between.apply(0);
    between.change("a:1", "a:2");
    let mark = std::sync::atomic::AtomicUsize::new(0);
    let at = web.clone();
    let writes = between.before(&web, 3, move |cluster| {
        let n = mark.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        let body = json!({"metadata": {"annotations": {"example.org/seen": n}}}).to_string();
        cluster.call("PATCH", &at, Some((MERGE, body)));
    });
    between.apply(0);
    assert_eq!(*writes.lock().unwrap(), 4, "it is looked at and written again");
    let now = between.deploy.object("deployments", "web").unwrap();
    assert_eq!(now["spec"]["template"]["spec"]["containers"][0]["image"], "a:2");
    assert_eq!(now["metadata"]["annotations"]["example.org/seen"], "2");
    // Nor does one that is written all the time.
    between.change("a:2", "a:4");
    let (mark, at) = (std::sync::atomic::AtomicUsize::new(0), web.clone());
    let writes = between.before(&web, usize::MAX, move |cluster| {
        let n = mark.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
        cluster.call(
            "PATCH",
            &at,
            Some((MERGE, json!({"metadata": {"annotations": {"example.org/seen": n}}}).to_string())),
        );
    });
    between.apply(0);
    assert_eq!(*writes.lock().unwrap(), 6, "in the end only the object counts");
    between.change("a:4", "a:2");
    between.proxy.pass();
    between.apply(0);
    // A write whose answer is lost was made.
    between.change("a:2", "a:3");
    let (at, lost) = (web.clone(), Mutex::new(false));
    between.proxy.set(move |asked| {
        let is_it = asked.writes && asked.target.split('?').next() == Some(at.as_str());
        if is_it && !std::mem::replace(&mut *lost.lock().unwrap(), true) { Fate::Lose } else { Fate::Pass }
    });
    between.apply(0);
    between.proxy.pass();
    between.deploy.assert_no_changes();
}

#[test]
fn what_others_make_in_the_same_moment_is_told_though_no_field_is_ours() {
    let Some(between) = Between::new("moment", MAPS) else { return };
    between.proxy.pass();
    between.apply(0);
    let made = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: new}\ndata: {v: v1}\n";
    between.deploy.sandbox.write(".helm/templates/more.yaml", made).commit("one more");
    let new = between.deploy.address("configmaps", "new");
    let list = new.rsplit_once('/').unwrap().0.to_owned();
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}, "data": {"w": "theirs"}});
    between.before(&new, 1, move |cluster| {
        let list = format!("{list}?fieldManager=somebody");
        drop(cluster.call("POST", &list, Some(("application/json", theirs.to_string()))));
    });
    let err = between.apply(1);
    assert!(err.contains("somebody made it in the same moment"), "{err}");
}

#[test]
fn what_is_on_its_way_out_is_made_anew_whoever_set_its_fields() {
    let Some(between) = Between::new("wayout", MAPS) else { return };
    let a = between.deploy.address("configmaps", "a");
    between.proxy.pass();
    between.apply(0);
    let held = json!({"metadata": {"finalizers": ["example.org/held"]}, "data": {"v": "theirs"}});
    patch(&a, &held)(between.cluster);
    let uid = between.deploy.object("configmaps", "a").unwrap()["metadata"]["uid"].clone();
    between.cluster.call("DELETE", &a, None);
    let (free, cluster) = (patch(&a, &json!({"metadata": {"finalizers": null}})), between.cluster);
    let freed = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(3));
        free(cluster);
    });
    between.apply(0);
    freed.join().unwrap();
    let now = between.deploy.object("configmaps", "a").unwrap();
    assert_ne!(now["metadata"]["uid"], uid);
    assert_eq!(now["data"], json!({"v": "v1"}));
}
