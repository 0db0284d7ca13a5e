//! What it costs to watch many resources at once: requests are counted, time is not.

use std::collections::BTreeMap;

use super::tracking::{Kubelet, apply, ready, release, waits, workload};

/// Reads of a namespace, by verb and kind: of one object, of a list, and of lines.
fn counted(reads: &[(String, String)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (verb, address) in reads {
        let path = address.split('?').next().unwrap_or_default();
        let mut rest = path.split('/').skip_while(|part| *part != "namespaces").skip(2);
        let kind = rest.next().unwrap_or("namespace").to_owned();
        *counts.entry(format!("{verb} {kind}")).or_insert(0) += 1;
    }
    counts
}

#[test]
fn twenty_workloads_are_watched_with_a_few_requests_a_round() {
    let all: Vec<String> = (0..20).map(|i| workload("Deployment", &format!("web{i}"), "")).collect();
    let Some((deploy, cluster)) = release("many", &[("all", all.join("---\n"))]) else { return };
    // Each pod is looked at five times before it is ready.
    let late = |_: &str, nth: u32| (nth < 6).then(|| if nth < 5 { waits("ContainerCreating", "", 0) } else { ready() });
    let _kubelet = Kubelet::start(cluster, "many", Box::new(late));
    apply(&deploy, 0);
    let counts = counted(&cluster.reads("/namespaces/many/"));
    let count = |what: &str| counts.get(what).copied().unwrap_or(0);
    // What is said is listed once, and followed from there.
    assert!(count("list events") <= 3, "{counts:?}");
    // The workloads begin one after the other, and are soon looked at together, for as long as that takes.
    let looks = count("get deployments") + count("list deployments");
    assert!(count("get deployments") <= 100, "{counts:?}");
    // A workload that begins may be looked at by itself, of whatever was listed just then.
    let looks = looks + all.len();
    assert!(count("list pods") <= looks && count("list replicasets") <= looks, "{counts:?}");
}
