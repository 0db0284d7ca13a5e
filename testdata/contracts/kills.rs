//! Killed writers leave whole stores and folders, and the next run completes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use stagewright::backend::OciLayout;
use stagewright::backend::manifest_folder::ManifestFolder;
use stagewright::digest::Sha224Digest;
use stagewright::ports::oci::read_image;
use stagewright::ports::{BlobStore, Over, StageStore, Target};

use super::stage_store::image;

/// Names the folder in which a child process writes until it is killed.
const CHILD: &str = "STAGEWRIGHT_KILL_TEST_DIR";

/// Runs one test of this binary as a child, and kills it after some time. Unit: microseconds.
fn run_and_kill(test: &str, dir: &Path, after: u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first file tells that the child is at work; from then on it is killed at any point.
    while fs::read_dir(dir).unwrap().next().is_none() {
        std::thread::sleep(Duration::from_micros(50));
    }
    std::thread::sleep(Duration::from_micros(after));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Returns times spread without a pattern over `0..most`.
fn times(most: u64) -> impl Iterator<Item = u64> {
    (1..=50_u64).map(move |i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20).map(move |t| t % most)
}

fn publish(store: &OciLayout, number: u64) {
    let digest = Sha224Digest::of_bytes(&number.to_be_bytes());
    let built = image(store, &format!("layer {number}").repeat(2_000));
    let stage = match store.publish(&digest, &built, &BTreeMap::new(), 1, &stagewright::ports::any).unwrap() {
        stagewright::ports::Published::Stored(stage) | stagewright::ports::Published::Existing(stage) => stage,
    };
    store.tag(&format!("tag-{number}"), Some("web"), &stage.manifest).unwrap();
}

#[test]
fn a_killed_publication_leaves_a_whole_layout() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let store = OciLayout::new(Path::new(&dir).join("store"));
        for number in 0..u64::MAX {
            publish(&store, number);
        }
    }
    for (round, after) in times(20_000).enumerate() {
        let dir = tempfile::tempdir().unwrap();
        run_and_kill("contracts::kills::a_killed_publication_leaves_a_whole_layout", dir.path(), after);
        let store_dir = dir.path().join("store");
        if store_dir.exists() {
            for name in ["oci-layout", "index.json"] {
                let text = fs::read_to_string(store_dir.join(name)).unwrap();
                serde_json::from_str::<serde_json::Value>(&text).unwrap();
            }
        }
        let store = OciLayout::new(&store_dir);
        for number in 0..u64::MAX {
            let Some(found) = store.images(&[format!("tag-{number}")]).unwrap().remove(0) else { break };
            let (manifest, _) = read_image(&store, &found.manifest).unwrap();
            store.read(&manifest.layers[0].digest).unwrap();
        }
        publish(&store, 1_000_000 + round as u64);
        let temporary = fs::read_dir(store_dir.join(".stagewright/tmp")).unwrap().count();
        assert_eq!(temporary, 0, "leftovers are removed");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "unfinished layouts are removed");
    }
}

/// Writes the resources of one revision, all of which name it.
fn apply(target: &ManifestFolder, revision: u64) {
    let session = target.begin().unwrap();
    let mut resources = serde_json::Map::new();
    for i in 0..20 {
        let path = format!("shop/configmap-{i}.yaml");
        session.write(&path, revision.to_string().as_bytes(), &Over::Anything).unwrap();
        resources.insert(path, serde_json::json!({}));
    }
    session.commit("shop", revision, &serde_json::json!({"revision": revision, "resources": resources})).unwrap();
}

#[test]
fn a_killed_commit_leaves_the_old_folder_or_the_new_one() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let target = ManifestFolder::new(Path::new(&dir).join("out"));
        for revision in 1..u64::MAX {
            apply(&target, revision);
        }
    }
    for after in times(40_000) {
        let dir = tempfile::tempdir().unwrap();
        run_and_kill("contracts::kills::a_killed_commit_leaves_the_old_folder_or_the_new_one", dir.path(), after);
        let target = ManifestFolder::new(dir.path().join("out"));
        let revision = target.revision("shop").unwrap();
        let fact = target.observe("shop").unwrap();
        if let Some(revision) = revision {
            assert_eq!(fact.resources.len(), 20);
            assert!(fact.resources.values().all(|text| *text == revision.to_string()), "revision {revision}: {fact:?}");
        } else {
            assert!(fact.resources.is_empty());
        }
        apply(&target, 9_999);
        assert_eq!(target.revision("shop").unwrap(), Some(9_999));
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 1, "leftovers are removed");
    }
}
