//! Builds on machines that fail: a full disk, a network that is cut. What is told, and that the next build completes.

use std::fs;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stagewright::ports::oci::read_image;
use stagewright::ports::{StageStore as _, copy_image};

use super::builds::{Built, cannot_run, git};
use super::contracts::proxy::{Deed, Proxy};
use super::contracts::registry_store;
use super::services::Registry;

/// Runs a script in which `$1` is mounted as a disk of its own, of this size, and `build` builds.
fn on_small_disk(built: &Built, folder: &str, size: &str, script: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_stagewright");
    let (folder, store) = (built.path(folder), built.path("store"));
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "set -e; cp -a \"$1\" \"$1.before\"; mount -t tmpfs -o size={size} none \"$1\"; cp -a \"$1.before/.\" \"$1\"\n\
         build() {{ {program} build --repo oci:{} >&2 && echo built || echo \"failed $?\"; }}\n{script}",
        store.display()
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &text, "sh"]).arg(folder).current_dir(built.path("project"));
    command.env_clear().env("HOME", built.path("home")).env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").output().unwrap()
}

#[test]
fn a_full_disk_is_told_and_room_is_all_that_is_missing() {
    if cannot_run().is_some() {
        return;
    }
    let more = "build; mount -o remount,size=200m \"$1\"; build";
    // Where images are unpacked: not even the base fits.
    let built = Built::dockerfile("FROM busybox:test\nRUN echo 1 > /one\n");
    let ran = on_small_disk(&built, "home", "500k", more);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(out, "failed 1\nbuilt\n", "{err}");
    assert!(err.contains("unpack layer") && err.contains("No space left on device"), "{err}");
    // Where a command writes: it is told by the command itself.
    let built = Built::dockerfile("FROM busybox:test\nRUN dd if=/dev/zero of=/big bs=1M count=30\n");
    let ran = on_small_disk(&built, "home", "12m", more);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(out, "failed 1\nbuilt\n", "{err}");
    assert!(err.contains("No space left on device") && err.contains("--> Dockerfile:2"), "{err}");
    // Where the store is: the layer does not fit.
    let built = Built::dockerfile("FROM busybox:test\nRUN dd if=/dev/urandom of=/big bs=1M count=30\n");
    let count = "build; ls -a \"$1/.stagewright/tmp\" 2>/dev/null | grep -vc '^[.]' || true; ";
    let ran = on_small_disk(&built, "store", "12m", &format!("{count} mount -o remount,size=200m \"$1\"; build"));
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(out, "failed 1\n0\nbuilt\n", "{err}");
    assert!(err.contains("No space left on device"), "{err}");
}

#[test]
fn a_network_that_is_cut_fails_the_build_and_the_next_one_completes() {
    let Some(registry) = Registry::shared() else { return };
    if cannot_run().is_some() {
        return;
    }
    const FETCH: usize = 0;
    const PUSH: usize = 1;
    let phase = Arc::new(AtomicUsize::new(FETCH));
    let seen = phase.clone();
    let built = Built::dockerfile("FROM scratch\n");
    let store = built.store();
    let base = store.images(&["busybox:test".into()]).unwrap().remove(0).unwrap();
    // A plan reads the configuration of the base, a build its layers.
    let layer = read_image(&store, &base.manifest).unwrap().0.layers[0].digest.to_string();
    let proxy = Proxy::start(&registry.address, move |asked, _| {
        let is_fetch = asked.method == "GET" && asked.path.contains(&layer);
        let is_push = ["PATCH", "PUT"].contains(&asked.method.as_str());
        match seen.load(Ordering::Relaxed) {
            FETCH if is_fetch => Deed::CutAnswer,
            PUSH if is_push => Deed::CutRequest,
            _ => Deed::Pass,
        }
    });
    let folder = registry_store::fresh_name();
    let bases = registry_store::store(registry, &format!("{folder}/busybox"));
    copy_image(&store, &bases, &base.manifest, "test", None).unwrap();
    let dockerfile = format!("FROM {}/{folder}/busybox:test\nRUN echo 1 > /one\n", proxy.address);
    fs::write(built.path("project/Dockerfile"), dockerfile).unwrap();
    git(&built.path("project"), &["commit", "-qam", "two"]);
    let build = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagewright"));
        command.args(["build", "--repo", &format!("{}/{folder}/app", proxy.address)]);
        command.current_dir(built.path("project")).env_clear().env("HOME", built.path("home"));
        let ran = command.env("PATH", "/usr/bin:/bin").output().unwrap();
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let ours = registry_store::store(registry, &format!("{folder}/app"));
    for (phase_now, word) in [(FETCH, "layer"), (PUSH, "upload")] {
        phase.store(phase_now, Ordering::Relaxed);
        let (code, told) = build();
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains("failed to build app/dockerfile") && told.contains(&proxy.address), "{word}: {told}");
        assert_eq!(ours.tags().unwrap_or_default(), Vec::<String>::new());
    }
    phase.store(2, Ordering::Relaxed);
    let (code, told) = build();
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(ours.tags().unwrap().len(), 3, "a stage, its image, and what is newest");
}
