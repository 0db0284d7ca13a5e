//! The stage store in a Docker Engine. Its layers must be real ones, so it has images of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use stagewright::backend::{DockerBuilder, DockerStore, Engine, EngineAddress, HostAccess};
use stagewright::digest::Sha224Digest;
use stagewright::ports::oci::read_image;
use stagewright::ports::{
    BlobDigest, BlobError, BlobStore as _, BuildContext, BuildError, Builder as _, BuiltImage, Published, StageStore,
    StoreError,
};
use stagewright::source::{MemoryObjects, Objects};
use stagewright::stage::{
    Base, BuildPart, BuildRequest, ConfigChange, CopySource, CopyStep, ImageRef, Owner, Platform, RunStep, Step,
};

use crate::services::{BUSYBOX, Docker};

fn engine(docker: &Docker) -> Engine {
    Engine::new(EngineAddress { host: docker.host(), certificates: None, named_by: "the test".into() })
}

/// A store in an engine, with a cache of its own in a folder.
pub fn store(docker: &Docker, name: &str, folder: &std::path::Path) -> DockerStore {
    DockerStore::new(engine(docker), name.to_owned(), folder.join(name.replace('/', "-")))
}

/// Builds an image with one file over the engine's busybox.
fn image(docker: &Docker, store: &dyn StageStore, content: &str) -> BuiltImage {
    let copy = Step::Copy(CopyStep {
        sources: vec![CopySource::Inline { name: "told".into(), content: content.into() }],
        to: "/etc/told".into(),
        owner: Owner::default(),
        mode: None,
        extract: false,
        parents: false,
        link: false,
        created_by: "COPY told /etc/told".into(),
    });
    let run = Step::Run(RunStep::new("RUN cp".into(), vec!["cp /etc/told /etc/copied".into()], true));
    let steps = vec![copy, run, Step::Config(ConfigChange::Cmd(vec!["cat".into(), "/etc/copied".into()]))];
    let base = Base::Image(ImageRef::External { reference: BUSYBOX.into() });
    let part = BuildPart { name: "main".into(), base, arguments: BTreeMap::new(), steps };
    let request = BuildRequest::new(Platform::linux_amd64(), vec![part]);
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    DockerBuilder::new(engine(docker), HostAccess::default())
        .build(&request, &BuildContext::new(&objects, store))
        .unwrap()
}

fn notes(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("note".to_owned(), text.to_owned())])
}

#[test]
fn stages_and_images_are_images_of_the_engine() {
    let Some(docker) = Docker::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = DockerStore::new(engine(docker), "store-test".into(), dir.path().join("cache"));
    let digest = Sha224Digest::of_bytes(b"stage");
    assert_eq!(store.stages(&digest).unwrap(), []);
    assert_eq!(store.images(&["a".into()]).unwrap(), [None]);
    assert_eq!(store.external("nobody/knows", &Platform::linux_amd64()).unwrap(), None);
    assert!(matches!(store.read(&BlobDigest::of(b"x")), Err(BlobError::Absent(_))));

    let built = image(docker, &store, "one\n");
    let Published::Stored(first) = store.publish(&digest, &built, &notes("1"), 5, &stagewright::ports::any).unwrap()
    else {
        panic!("nothing was there")
    };
    assert_eq!(first.id.created_ms, 5);
    let second =
        store.publish(&digest, &image(docker, &store, "two\n"), &notes("2"), 6, &stagewright::ports::any).unwrap();
    assert_eq!(second, Published::Existing(first.clone()));
    assert_eq!(store.stages(&digest).unwrap(), std::slice::from_ref(&first));
    assert_eq!(docker.run(&["run", "--rm", "--network=none", &format!("store-test:{}", first.id)]), "one");

    store.tag("v1", Some("web/shop"), &first.manifest).unwrap();
    let found = store.images(&["no".into(), "v1".into()]).unwrap();
    assert_eq!(found[1].as_ref().unwrap().annotations, notes("1"));
    let newest = store.newest(&["web/shop".into(), "web".into()]).unwrap();
    assert_eq!((newest[0].as_ref().unwrap().tag.as_str(), &newest[1]), ("v1", &None));
    let absent = store.tag("v1", None, &BlobDigest::of(b"nothing"));
    assert!(matches!(absent, Err(StoreError::Blob(BlobError::Absent(_)))), "{absent:?}");

    // Another host folder, the same engine: everything is read back with the same digests.
    let again = DockerStore::new(engine(docker), "store-test".into(), dir.path().join("other"));
    let (manifest, config) = read_image(&again, &first.manifest).unwrap();
    assert_eq!((manifest.config, manifest.layers.len()), (built.config, built.layers.len()));
    assert!(config.config.labels.is_empty());
    for layer in &manifest.layers {
        assert!(!again.read(&layer.digest).unwrap().is_empty());
    }
}

#[test]
fn what_others_build_on_an_image_of_ours_is_theirs() {
    let Some(docker) = Docker::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = DockerStore::new(engine(docker), "label-test".into(), dir.path().join("cache"));
    let built = image(docker, &store, "ours\n");
    let digest = Sha224Digest::of_bytes(b"label");
    let Published::Stored(stage) = store.publish(&digest, &built, &notes("1"), 5, &stagewright::ports::any).unwrap()
    else {
        panic!("nothing was there")
    };
    let ours = format!("label-test:{}", stage.id);
    let context = dir.path().join("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), format!("FROM {ours}\nCOPY Dockerfile /theirs\nENV A=b\n")).unwrap();
    docker.run(&["build", "-q", "-t", "theirs-test", &context.display().to_string()]);

    // With the cache of whoever built it, and with an empty one.
    for cache in ["cache", "empty"] {
        let store = DockerStore::new(engine(docker), "other-test".into(), dir.path().join(cache));
        let read = |name: &str| {
            let found = store.external(name, &Platform::linux_amd64()).unwrap().unwrap();
            (found.annotations.clone(), read_image(&store, &found.manifest).unwrap())
        };
        let (annotations, (manifest, config)) = read("theirs-test");
        assert!(annotations.is_empty() && config.config.labels.is_empty(), "{cache}");
        assert_eq!(manifest.layers.len(), built.layers.len() + 1, "{cache}");
        assert!(config.config.env.contains(&"A=b".to_owned()), "{cache}");
        let (annotations, (manifest, _)) = read(&ours);
        assert_eq!((annotations, manifest.layers.len()), (notes("1"), built.layers.len()), "{cache}");
    }
}

#[test]
fn a_failed_command_is_told_and_a_cancelled_one_ends() {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    let Some(docker) = Docker::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = DockerStore::new(engine(docker), "fail-test".into(), dir.path().join("cache"));
    let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
    let build = |script: &str, context: &BuildContext<'_>| {
        let steps = vec![Step::Run(RunStep::new(format!("RUN {script}"), vec![script.to_owned()], true))];
        let base = Base::Image(ImageRef::External { reference: BUSYBOX.into() });
        let part = BuildPart { name: "main".into(), base, arguments: BTreeMap::new(), steps };
        DockerBuilder::new(engine(docker), HostAccess::default())
            .build(&BuildRequest::new(Platform::linux_amd64(), vec![part]), context)
    };
    let told = Mutex::new(Vec::new());
    let output = |line: &str| told.lock().unwrap().push(line.to_owned());
    let context = BuildContext { output: &output, ..BuildContext::new(&objects, &store) };
    let error = build("echo one; echo two >&2; exit 3", &context).unwrap_err();
    let BuildError::Command { step, status, mut last_lines } = error else { panic!("{error}") };
    last_lines.sort();
    assert_eq!((step.as_str(), status), ("RUN echo one; echo two >&2; exit 3", 3));
    assert_eq!(last_lines, ["one", "two"]);
    assert_eq!(told.lock().unwrap().len(), 2);

    let cancelled = AtomicBool::new(false);
    let output = |_: &str| cancelled.store(true, Ordering::Relaxed);
    let context = BuildContext { output: &output, cancelled: &cancelled, ..BuildContext::new(&objects, &store) };
    let ended = build("echo started; sleep 600", &context);
    assert!(matches!(ended, Err(BuildError::Cancelled(_))), "{ended:?}");
}
