//! A builder is killed at random points while it stores in a registry: no tag is ever torn, and the next run completes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stagewright::backend::{CredentialSource, RegistryOptions, RegistryStore, Repository};
use stagewright::digest::Sha224Digest;
use stagewright::ports::oci::read_image;
use stagewright::ports::{BlobStore as _, StageId, StageStore as _};

use crate::services::Registry;

use crate::builds::git;

const KILLS: u32 = 100;

/// Writes a project of which every file holds `version`.
fn write_version(dir: &Path, version: u32) {
    let mut config = String::from("project: kill\nconfigVersion: 1\n");
    for image in 0..4 {
        let folder = dir.join(format!("s{image}"));
        std::fs::create_dir_all(&folder).unwrap();
        for file in 0..3 {
            let text = format!("version {version} image {image} file {file}\n").repeat(500);
            std::fs::write(folder.join(format!("f{file}")), text).unwrap();
        }
        config += &format!("---\nimage: s{image}\nfrom: scratch\ngit:\n- add: /s{image}\n  to: /app\n");
    }
    std::fs::write(dir.join("werf.yaml"), config).unwrap();
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "version"]);
}

/// A host: a builder with a home, and so a cache of blobs, of its own.
struct Host<'a> {
    registry: &'a Registry,
    repo: String,
    project: &'a Path,
    home: &'a Path,
    /// The same repository, seen from a host without a cache.
    store: RegistryStore,
}

impl Host<'_> {
    fn build(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
        command.args(["build", "--repo", &self.repo]).current_dir(self.project).env_clear().env("HOME", self.home);
        command.env("DOCKER_AUTH_CONFIG", self.registry.docker_config());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Every tag leads to an image whose blobs are there, with the right digests. Returns the number of images.
    fn check(&self) -> usize {
        let store = &self.store;
        // Before anything is stored there is no repository.
        let tags = store.tags().unwrap_or_default();
        let mut images = 0;
        for tag in tags.iter().filter(|t| StageId::parse(t).is_some() || Sha224Digest::from_hex(t).is_some()) {
            let image = store.images(std::slice::from_ref(tag)).unwrap().remove(0).expect("a listed tag is there");
            let (manifest, _) = read_image(store, &image.manifest).expect("an image is whole");
            for layer in &manifest.layers {
                store.read(&layer.digest).expect("a layer is whole");
            }
            images += usize::from(Sha224Digest::from_hex(tag).is_some());
        }
        images
    }
}

#[test]
fn a_killed_builder_leaves_nothing_torn_in_a_registry_and_the_next_one_completes() {
    let Some(registry) = Registry::shared() else { return };
    let temp = tempfile::tempdir().unwrap();
    let (dir, home) = (temp.path().join("project"), temp.path().join("home"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::create_dir_all(&home).unwrap();
    git(&dir, &["init", "-q"]);
    std::fs::write(dir.join(".gitignore"), ".stagewright/\n").unwrap();
    write_version(&dir, 0);
    let path = crate::contracts::registry_store::fresh_name();
    let repo = format!("{}/{path}", registry.address);
    let text = registry.docker_config();
    let credentials = vec![CredentialSource::Text { variable: "DOCKER_AUTH_CONFIG", text }];
    let options = RegistryOptions { credentials, ..RegistryOptions::default() };
    let store = RegistryStore::new(Repository::parse(&repo).unwrap(), options, None).unwrap();
    let host = Host { registry, repo, project: &dir, home: &home, store };
    let start = Instant::now();
    assert!(host.build().status().unwrap().success());
    let whole = start.elapsed();
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut killed = 0;
    for round in 1..=KILLS * 8 {
        if killed == KILLS {
            break;
        }
        write_version(&dir, round);
        let mut child = host.build().spawn().unwrap();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let part = f64::from(u32::try_from(random % 1_000).unwrap()) / 1_000.0;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * part));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().ok();
        child.wait().unwrap();
        if round % 10 == 0 || killed == KILLS {
            let before = host.check();
            assert!(host.build().status().unwrap().success(), "round {round}");
            let after = host.check();
            assert!(after >= before && after >= 4, "round {round}: {before} images, then {after}");
        }
    }
    assert_eq!(killed, KILLS, "too few builds were still running when they were killed");
}
