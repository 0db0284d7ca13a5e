//! Other tools read our layouts: skopeo and umoci.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use stagewright::backend::OciLayout;
use stagewright::digest::Sha224Digest;
use stagewright::ports::{Published, StageStore};

use super::stage_store::image;

/// Runs a tool; `None` (and a note) when it is not installed, which is a failure where `CI=true`.
pub fn tool(name: &str, args: &[&str], dir: &Path) -> Option<Output> {
    match Command::new(name).args(args).current_dir(dir).output() {
        Ok(output) => {
            assert!(output.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
            Some(output)
        }
        Err(e) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{name} is needed: {e}");
            println!("skipped: {name} is not installed");
            None
        }
    }
}

#[test]
fn skopeo_inspects_stages_and_images() {
    let dir = tempfile::tempdir().unwrap();
    let store = OciLayout::new(dir.path().join("store"));
    let digest = Sha224Digest::of_bytes(b"stage");
    let notes = BTreeMap::from([("note".to_owned(), "x".to_owned())]);
    let published = store.publish(&digest, &image(&store, "layer"), &notes, 5, &stagewright::ports::any).unwrap();
    let Published::Stored(stage) = published else { panic!("the store was empty") };
    store.tag("v1", Some("web"), &stage.manifest).unwrap();
    for tag in ["v1".to_owned(), stage.id.to_string()] {
        let Some(output) = tool("skopeo", &["inspect", &format!("oci:store:{tag}")], dir.path()) else { return };
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["Digest"], stage.manifest.to_string());
        assert_eq!((&told["Os"], &told["Architecture"]), (&"linux".into(), &"amd64".into()));
    }
}
