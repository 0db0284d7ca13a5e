//! The native builder over a layout on disk, read back by umoci and skopeo.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use stagewright::backend::{NativeBuilder, OciLayout};
use stagewright::digest::Sha224Digest;
use stagewright::ports::{BuildContext, Builder, BuiltImage, MemoryStore, Published, StageStore};
use stagewright::source::{Files, MemoryObjects, Mode, Objects};
use stagewright::stage::{
    Base, BuildPart, BuildRequest, ConfigChange, CopySource, CopyStep, FilterSpec, ImageRef, Owner, Platform, Step,
    TreeSource, take,
};

use super::oci_tools::tool;

fn repository() -> Files {
    let objects = MemoryObjects::new();
    let file = |mode, text: &str| Some((mode, text.as_bytes().to_vec()));
    let long = format!("src/{}{}.txt", "deep/".repeat(30), "n".repeat(120));
    let changes = BTreeMap::from([
        ("src/main.py".to_owned(), file(Mode::Executable, "print()\n")),
        ("src/data/a b.txt".to_owned(), file(Mode::File, "text")),
        ("src/data/link".to_owned(), file(Mode::Symlink, "../main.py")),
        ("src/ü.txt".to_owned(), file(Mode::File, "")),
        (long, file(Mode::File, "long")),
        ("conf".to_owned(), file(Mode::File, "c")),
    ]);
    let root = objects.with_changes(None, &changes).unwrap();
    Files::new(Arc::new(objects), root)
}

fn tree(files: &Files, path: &str) -> CopySource {
    let objects = Arc::new(MemoryObjects::over(files.objects().clone()));
    let (mode, id) = take(&objects, files.root(), path, &FilterSpec::All).unwrap().unwrap();
    CopySource::Tree(TreeSource {
        root: files.root(),
        path: path.into(),
        filter: FilterSpec::All,
        id,
        mode,
        called: None,
    })
}

fn copy(source: CopySource, to: &str, owner: Option<(&str, &str)>) -> Step {
    Step::Copy(CopyStep {
        sources: vec![source],
        to: to.into(),
        owner: Owner { user: owner.map(|o| o.0.into()), group: owner.map(|o| o.1.into()) },
        mode: None,
        extract: false,
        parents: false,
        link: false,
        created_by: format!("COPY … {to}"),
    })
}

fn build(store: &dyn StageStore, files: &Files, base: Base) -> BuiltImage {
    let steps = vec![
        Step::Config(ConfigChange::Workdir("/srv/app".into())),
        copy(tree(files, "src"), ".", None),
        copy(tree(files, "conf"), "/etc/conf.d/", Some(("33", "44"))),
        copy(tree(files, "conf"), "/gone/again", None),
        Step::Config(ConfigChange::Env("MODE".into(), "prod".into())),
        Step::Config(ConfigChange::Expose("8080".into())),
        Step::Config(ConfigChange::Cmd(vec!["./main.py".into()])),
    ];
    let part = BuildPart { name: "main".into(), base, arguments: BTreeMap::new(), steps };
    let request = BuildRequest::new(Platform::linux_amd64(), vec![part]);
    let objects: &Arc<dyn Objects> = files.objects();
    NativeBuilder::default().build(&request, &BuildContext::new(objects, store)).unwrap()
}

/// Lists a folder: type, mode, owner, path, and content or target.
fn list(root: &Path, prefix: &str, lines: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(prefix)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let meta = entry.path().symlink_metadata().unwrap();
        let (kind, content) = if meta.is_dir() {
            ('d', String::new())
        } else if meta.is_symlink() {
            ('l', fs::read_link(entry.path()).unwrap().display().to_string())
        } else {
            ('f', fs::read_to_string(entry.path()).unwrap())
        };
        lines.push(format!(
            "{kind} {:o} {}:{} {path} {content}",
            meta.permissions().mode() & 0o7777,
            meta.uid(),
            meta.gid()
        ));
        if meta.is_dir() {
            list(root, &path, lines);
        }
    }
}

#[test]
fn every_store_gets_the_same_digests() {
    let files = repository();
    let dir = tempfile::tempdir().unwrap();
    let on_disk = build(&OciLayout::new(dir.path().join("s")), &files, Base::Scratch);
    assert_eq!(build(&MemoryStore::default(), &files, Base::Scratch), on_disk);
    assert_eq!(on_disk.layers.len(), 4);
}

#[test]
fn umoci_unpacks_what_was_built() {
    // Owners and the base's removals can only be unpacked by root.
    if rustix::process::geteuid().as_raw() != 0 {
        println!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    // A base with a whiteout, made by umoci itself.
    let run = |name: &str, args: &[&str]| tool(name, args, path);
    if run("umoci", &["init", "--layout", "store"]).is_none() {
        return;
    }
    run("umoci", &["new", "--image", "store:base"]);
    run("umoci", &["unpack", "--image", "store:base", "first"]);
    let shell =
        |script: &str| assert!(Command::new("sh").args(["-ec", script]).current_dir(path).status().unwrap().success());
    shell(
        "cd first/rootfs; mkdir -m 700 gone tmp etc; echo x >gone/x; echo y >etc/y; chmod 1777 tmp; chmod 755 etc; ln -s etc cfg; chown 7:8 tmp",
    );
    run("umoci", &["repack", "--image", "store:base", "first"]);
    run("umoci", &["unpack", "--image", "store:base", "second"]);
    shell("cd second/rootfs; rm -r gone etc/y");
    run("umoci", &["repack", "--image", "store:base", "second"]);

    let files = repository();
    let store = OciLayout::new(path.join("store"));
    let built = build(&store, &files, Base::Image(ImageRef::External { reference: "base".into() }));
    let digest = Sha224Digest::of_bytes(b"stage");
    let published = store.publish(&digest, &built, &BTreeMap::new(), 1, &stagewright::ports::any).unwrap();
    let Published::Stored(stage) = published else { panic!("the stage is new") };
    store.tag("v1", Some("web"), &stage.manifest).unwrap();
    run("umoci", &["unpack", "--keep-dirlinks", "--image", "store:v1", "third"]);
    let root = path.join("third/rootfs");
    assert_eq!(fs::metadata(root.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
    assert_eq!(fs::metadata(root.join("srv/app/main.py")).unwrap().mtime(), 0);
    let mut lines = Vec::new();
    list(&root, "", &mut lines);
    lines.retain(|line| !line.contains("deep"));
    lines.sort();
    assert_eq!(
        lines,
        [
            "d 1777 7:8 tmp ",
            "d 755 0:0 etc ",
            "d 755 0:0 gone ",
            "d 755 0:0 srv ",
            "d 755 0:0 srv/app ",
            "d 755 0:0 srv/app/data ",
            "d 755 33:44 etc/conf.d ",
            "f 644 0:0 gone/again c",
            "f 644 0:0 srv/app/data/a b.txt text",
            "f 644 0:0 srv/app/ü.txt ",
            "f 644 33:44 etc/conf.d/conf c",
            "f 755 0:0 srv/app/main.py print()\n",
            "l 777 0:0 cfg etc",
            "l 777 0:0 srv/app/data/link ../main.py",
        ]
    );
    let long = root.join(format!("srv/app/{}{}.txt", "deep/".repeat(30), "n".repeat(120)));
    assert_eq!(fs::read_to_string(long).unwrap(), "long");

    let output = run("skopeo", &["inspect", "--config", "oci:store:v1"]).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(config["config"]["WorkingDir"], "/srv/app");
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["./main.py"]));
    assert_eq!(config["config"]["ExposedPorts"], serde_json::json!({"8080/tcp": {}}));
    // skopeo reads every blob and checks every digest on the way.
    run("skopeo", &["copy", "oci:store:v1", "dir:copied"]);
    assert!(path.join("copied/manifest.json").exists());
}
