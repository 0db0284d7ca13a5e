//! Other tools read our layouts: skopeo and umoci.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use stagewright::backend::OciLayout;
use stagewright::digest::Sha224Digest;
use stagewright::ports::oci::read_image;
use stagewright::ports::{BlobDigest, Published, StageStore};
use stagewright::stage::Platform;

use super::stage_store::{image, layer};

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

#[test]
fn an_image_in_the_format_of_docker_that_skopeo_copied_keeps_what_oci_has_no_field_for() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = dir.path().join("image").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let hex = |bytes: &[u8]| BlobDigest::of(bytes).to_string().trim_start_matches("sha256:").to_owned();
    let (plain, packed) = layer("x");
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {"Healthcheck": {"Test": ["CMD", "true"]}, "Shell": ["/bin/bash", "-c"], "OnBuild": ["RUN x"]},
        "rootfs": {"type": "layers", "diff_ids": [BlobDigest::of(&plain).to_string()]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "x"}],
    });
    let config = config.to_string();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": config.len(), "digest": BlobDigest::of(config.as_bytes()).to_string(),
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "size": packed.len(), "digest": BlobDigest::of(&packed).to_string(),
        }],
    });
    put("version", b"Directory Transport Version: 1.1\n");
    put("manifest.json", manifest.to_string().as_bytes());
    put(&hex(config.as_bytes()), config.as_bytes());
    put(&hex(&packed), &packed);
    let copy = ["--insecure-policy", "copy", "--preserve-digests", "dir:image", "oci:store:base:1"];
    if tool("skopeo", &copy, dir.path()).is_none() {
        return;
    }
    let store = OciLayout::new(dir.path().join("store"));
    let found = store.external("base:1", &Platform::linux_amd64()).unwrap().expect("it was copied");
    let (_, config) = read_image(&store, &found.manifest).unwrap();
    let kept = serde_json::to_value(&config.config).unwrap();
    assert_eq!(kept["Healthcheck"]["Test"], serde_json::json!(["CMD", "true"]));
    assert_eq!(kept["Shell"], serde_json::json!(["/bin/bash", "-c"]));
    assert_eq!(kept["OnBuild"], serde_json::json!(["RUN x"]));
}
