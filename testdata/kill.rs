//! `apply` is killed at random points: the store and the manifests are never torn, and the next apply completes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::builds::git;

const KILLS: u32 = 50;

fn stagewright(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
    command.args(args).current_dir(dir).env_clear().env("HOME", dir).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Writes a project of which every file and every manifest holds `version`.
fn write_version(dir: &Path, version: u32) {
    let mut config = String::from("project: kill\nconfigVersion: 1\n");
    for image in 0..6 {
        let folder = dir.join(format!("s{image}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..5 {
            let text = format!("version {version} image {image} file {file}\n").repeat(2_000);
            std::fs::write(folder.join(format!("f{file}")), text).unwrap();
        }
        config += &format!("---\nimage: s{image}\nfrom: scratch\ngit:\n- add: /s{image}\n  to: /app\n");
    }
    std::fs::write(dir.join("werf.yaml"), config).unwrap();
    let templates = dir.join(".helm/templates");
    std::fs::create_dir_all(&templates).unwrap();
    let text = format!(
        "{{{{- range $i := until 12 }}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c{{{{ $i }}}}\ndata:\n  \
         version: \"{version}\"\n{{{{- end }}}}\n"
    );
    std::fs::write(templates.join("c.yaml"), text).unwrap();
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "version"]);
}

/// Every tag leads to a manifest whose blobs are there with the right digests.
fn check_layout(store: &Path) {
    let Ok(index) = std::fs::read(store.join("index.json")) else { return };
    let index: serde_json::Value = serde_json::from_slice(&index).expect("index.json is whole");
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        let bytes = std::fs::read(store.join("blobs/sha256").join(&digest)).expect("a named blob is there");
        assert_eq!(hex::encode(Sha256::digest(&bytes)), digest, "a blob has its digest");
        assert_eq!(bytes.len() as u64, descriptor["size"].as_u64().unwrap());
        bytes
    };
    for entry in index["manifests"].as_array().unwrap() {
        let manifest: serde_json::Value = serde_json::from_slice(&blob(entry)).unwrap();
        blob(&manifest["config"]);
        manifest["layers"].as_array().unwrap().iter().for_each(|layer| {
            blob(layer);
        });
    }
}

/// The folder holds all manifests of one version, and a record of them.
fn check_manifests(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut versions: BTreeMap<String, u32> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for entry in entries {
        let path = entry.unwrap().path();
        names.insert(path.file_name().unwrap().to_string_lossy().into_owned());
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let line = text.lines().find(|l| l.contains("version:")).expect("a manifest is whole").to_owned();
            *versions.entry(line).or_default() += 1;
        }
    }
    assert_eq!(versions.len(), 1, "manifests of two versions: {versions:?}");
    assert_eq!(versions.values().sum::<u32>(), 12, "{names:?}");
    assert!(names.contains(".stagewright-release.json"), "{names:?}");
}

#[test]
fn a_killed_apply_leaves_nothing_torn_and_the_next_one_completes() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    git(dir, &["init", "-q"]);
    std::fs::write(dir.join(".gitignore"), ".stagewright/\n").unwrap();
    write_version(dir, 0);
    let start = Instant::now();
    assert!(stagewright(dir, &["apply", "--auto-approve"]).status().unwrap().success());
    let whole = start.elapsed();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut killed = 0;
    for round in 1..=KILLS * 8 {
        if killed == KILLS {
            break;
        }
        write_version(dir, round);
        let mut child = stagewright(dir, &["apply", "--auto-approve"]).spawn().unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let part = (random % 1_000) as f64 / 1_000.0;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * part));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().ok();
        child.wait().unwrap();
        check_layout(&dir.join(".stagewright/store"));
        check_manifests(&dir.join(".stagewright/manifests/kill"));
        if round % 5 == 0 || killed == KILLS {
            assert!(stagewright(dir, &["apply", "--auto-approve"]).status().unwrap().success(), "round {round}");
            let plan = stagewright(dir, &["plan", "--exit-code"]).status().unwrap();
            assert_eq!(plan.code(), Some(0), "round {round}: the plan after an apply is empty");
        }
    }
    assert_eq!(killed, KILLS, "too few applies were still running when they were killed");
    // One that was killed after the exchange leaves the old folder to the next that writes.
    write_version(dir, 0);
    assert!(stagewright(dir, &["apply", "--auto-approve"]).status().unwrap().success());
    let leftovers: Vec<_> = std::fs::read_dir(dir.join(".stagewright/manifests")).unwrap().collect();
    assert_eq!(leftovers.len(), 1, "{leftovers:?}");
}
