//! What every stage store promises.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use stagewright::backend::OciLayout;
use stagewright::digest::Sha224Digest;
use stagewright::ports::oci::{
    ImageConfig, Index, IndexEntry, MEDIA_CONFIG, MEDIA_INDEX, MEDIA_LAYER_GZIP, MEDIA_MANIFEST, Manifest, RootFs,
    read_image,
};
use stagewright::ports::{
    BlobDigest, BlobError, BlobStore, BuiltImage, Descriptor, Document, MemoryStore, Published, StageStore, StoreError,
    StoredImage, StoredStage, copy_image, put_index,
};
use stagewright::stage::{ImageRef, Platform};

/// Puts an image with one layer into a store; the layer is a real one, for engines look into it.
pub fn image(store: &dyn StageStore, content: &str) -> BuiltImage {
    let (plain, packed) = layer(content);
    let (layer, layer_size) = store.put(&mut |out| out.write_all(&packed)).unwrap();
    let rootfs = RootFs { diff_ids: vec![BlobDigest::of(&plain)], ..RootFs::default() };
    let config = ImageConfig { architecture: "amd64".into(), os: "linux".into(), rootfs, ..ImageConfig::default() };
    let (config, config_size) = store.put(&mut |out| out.write_all(&config.to_bytes())).unwrap();
    BuiltImage {
        config: Descriptor { media_type: MEDIA_CONFIG.into(), digest: config, size: config_size },
        layers: vec![Descriptor { media_type: MEDIA_LAYER_GZIP.into(), digest: layer, size: layer_size }],
    }
}

/// Returns the layer of [`image`], plain and compressed.
pub fn layer(content: &str) -> (Vec<u8>, Vec<u8>) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, "content", content.as_bytes()).unwrap();
    let plain = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    let packed = gzip.finish().unwrap();
    (plain, packed)
}

fn notes(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("note".to_owned(), text.to_owned())])
}

/// Returns the store that holds an image of others, and how a tag of it begins.
type BasesOf<'a> = dyn Fn(&str) -> (Box<dyn StageStore + 'a>, String) + 'a;

/// A store, and where its images of others come from.
struct Case<'a> {
    store: &'a dyn StageStore,
    /// What stands before the names of images of others.
    prefix: String,
    /// The store in which the images `NAME` of others are, and what a tag of theirs begins with.
    bases: &'a BasesOf<'a>,
}

impl Case<'_> {
    fn reference(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

/// Runs a test over the twin, over a folder, over real registries and over a real engine.
fn on_all(test: impl Fn(&dyn StageStore)) {
    on_cases(|case| test(case.store));
}

fn on_cases(test: impl Fn(&Case<'_>)) {
    let embedded = |store: &dyn StageStore| {
        let bases = |name: &str| (Box::new(Borrowed(store)) as Box<dyn StageStore + '_>, format!("{name}:"));
        test(&Case { store, prefix: String::new(), bases: &bases });
    };
    embedded(&MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    embedded(&OciLayout::new(dir.path().join("a/store")));
    #[cfg(feature = "registry")]
    for registry in [crate::services::Registry::shared(), crate::services::Registry::with_login()].into_iter().flatten()
    {
        let folder = super::registry_store::fresh_name();
        let open = |path: &str| super::registry_store::store(registry, &format!("{folder}/{path}"));
        let bases = |name: &str| (Box::new(open(&format!("bases/{name}"))) as Box<dyn StageStore + '_>, String::new());
        let prefix = format!("{}/{folder}/bases/", registry.address);
        test(&Case { store: &open("shop"), prefix, bases: &bases });
    }
    #[cfg(feature = "docker")]
    if let Some(docker) = crate::services::Docker::shared() {
        let folder = super::registry_store::fresh_name();
        let open = |path: &str| super::docker_store::store(docker, &format!("{folder}/{path}"), dir.path());
        let bases = |name: &str| (Box::new(open(&format!("bases/{name}"))) as Box<dyn StageStore + '_>, String::new());
        test(&Case { store: &open("shop"), prefix: format!("{folder}/bases/"), bases: &bases });
    }
}

/// A store that somebody else holds.
struct Borrowed<'a>(&'a dyn StageStore);

impl BlobStore for Borrowed<'_> {
    fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError> {
        self.0.has(digest)
    }

    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn std::io::Read + Send>, BlobError> {
        self.0.open(digest)
    }

    fn put(
        &self,
        content: &mut dyn FnMut(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<(BlobDigest, u64), BlobError> {
        self.0.put(content)
    }
}

impl StageStore for Borrowed<'_> {
    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError> {
        self.0.stages(digest)
    }

    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        self.0.images(tags)
    }

    fn newest(&self, names: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        self.0.newest(names)
    }

    fn external(&self, reference: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError> {
        self.0.external(reference, platform)
    }

    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
        suits: &dyn Fn(&StoredStage) -> bool,
    ) -> Result<Published, StoreError> {
        self.0.publish(digest, built, annotations, created_ms, suits)
    }

    fn tag(&self, tag: &str, name: Option<&str>, manifest: &BlobDigest) -> Result<(), StoreError> {
        self.0.tag(tag, name, manifest)
    }
}

#[test]
fn an_empty_store_knows_nothing() {
    on_cases(|case| {
        let store = case.store;
        let digest = Sha224Digest::of_bytes(b"x");
        assert_eq!(store.stages(&digest).unwrap(), []);
        assert_eq!(store.images(&["a".into(), "b".into()]).unwrap(), [None, None]);
        assert_eq!(store.external(&case.reference("alpine"), &Platform::linux_amd64()).unwrap(), None);
        let blob = BlobDigest::of(b"x");
        assert!(!store.has(&blob).unwrap());
        assert!(matches!(store.read(&blob), Err(BlobError::Absent(_))));
    });
}

#[test]
fn a_blob_is_read_back_by_its_digest() {
    on_all(|store| {
        let (digest, size) = store.put(&mut |out| out.write_all(b"hello")).unwrap();
        assert_eq!((digest.clone(), size), (BlobDigest::of(b"hello"), 5));
        assert_eq!(store.read(&digest).unwrap(), b"hello");
        assert_eq!(store.put(&mut |out| out.write_all(b"hello")).unwrap().0, digest);
        let failed = store.put(&mut |_| Err(std::io::Error::other("stop")));
        assert!(matches!(failed, Err(BlobError::Io { .. })));
    });
}

#[test]
fn the_first_published_stage_wins() {
    on_all(|store| {
        let digest = Sha224Digest::of_bytes(b"stage");
        let built = image(store, "layer");
        let Published::Stored(first) =
            store.publish(&digest, &built, &notes("1"), 5, &stagewright::ports::any).unwrap()
        else {
            panic!("nothing was there")
        };
        assert_eq!(first.id.created_ms, 5);
        let second = store.publish(&digest, &image(store, "other"), &notes("2"), 6, &stagewright::ports::any).unwrap();
        assert_eq!(second, Published::Existing(first.clone()));
        let (manifest, config) = read_image(store, &first.manifest).unwrap();
        assert_eq!(store.stages(&digest).unwrap(), [first]);
        assert_eq!(manifest.annotations, notes("1"));
        assert_eq!(config.os, "linux");
        assert_eq!(manifest.layers, built.layers);
    });
}

#[test]
fn an_unsuitable_build_is_passed_over_and_both_are_kept() {
    on_all(|store| {
        let digest = Sha224Digest::of_bytes(b"stage");
        let is = |note: &'static str| move |stage: &StoredStage| stage.annotations == notes(note);
        let publish = |note: &'static str, ms| store.publish(&digest, &image(store, note), &notes(note), ms, &is(note));
        let Published::Stored(first) = publish("1", 5).unwrap() else { panic!("nothing was there") };
        let Published::Stored(second) = publish("2", 6).unwrap() else { panic!("what is there does not suit") };
        assert_eq!(publish("2", 7).unwrap(), Published::Existing(second.clone()));
        assert_eq!(publish("1", 8).unwrap(), Published::Existing(first.clone()));
        assert_eq!(store.stages(&digest).unwrap(), [first.clone(), second.clone()]);
        let meant = |created_ms| {
            store.resolve(&ImageRef::Stage { digest, created_ms, content: None }, &Platform::linux_amd64()).unwrap()
        };
        assert_eq!(meant(None), Some(first.manifest));
        assert_eq!(meant(Some(second.id.created_ms)), Some(second.manifest));
    });
}

#[test]
fn stages_whose_manifest_is_lost_do_not_count_and_ids_are_unique() {
    let dir = tempfile::tempdir().unwrap();
    let store = OciLayout::new(dir.path());
    let digest = Sha224Digest::of_bytes(b"stage");
    for (text, expected) in [("1", 7), ("2", 8), ("3", 9)] {
        let published =
            store.publish(&digest, &image(&store, text), &notes(text), 7, &stagewright::ports::any).unwrap();
        let Published::Stored(stage) = published else { panic!("the others are lost") };
        assert_eq!(stage.id.created_ms, expected);
        fs::remove_file(dir.path().join("blobs/sha256").join(stage.manifest.hex())).unwrap();
    }
}

#[test]
fn a_tag_names_a_manifest_and_can_move() {
    on_all(|store| {
        let publish = |text: &str| {
            let digest = Sha224Digest::of_bytes(text.as_bytes());
            match store.publish(&digest, &image(store, text), &notes(text), 1, &stagewright::ports::any).unwrap() {
                Published::Stored(stage) | Published::Existing(stage) => stage.manifest,
            }
        };
        let (one, two) = (publish("1"), publish("2"));
        store.tag("t", Some("web"), &one).unwrap();
        store.tag("t", Some("other"), &one).unwrap();
        let found = store.images(&["no".into(), "t".into()]).unwrap();
        let image = found[1].clone().unwrap();
        assert_eq!(found[0], None);
        assert_eq!((&image.manifest, &image.annotations), (&one, &notes("1")));
        let newest = store.newest(&["web".into(), "other".into(), "none".into()]).unwrap();
        assert_eq!(
            newest.iter().map(|i| i.as_ref().map(|i| i.tag.as_str())).collect::<Vec<_>>(),
            [Some("t"), Some("t"), None]
        );
        store.tag("t", Some("web"), &two).unwrap();
        assert_eq!(store.images(&["t".into()]).unwrap()[0].as_ref().unwrap().manifest, two);
        let by_digest = store.images(&[two.to_string(), BlobDigest::of(b"nothing").to_string()]).unwrap();
        assert_eq!(by_digest.iter().flatten().map(|image| &image.manifest).collect::<Vec<_>>(), [&two]);
        let absent = store.tag("t", Some("web"), &BlobDigest::of(b"nothing"));
        assert!(matches!(absent, Err(StoreError::Blob(BlobError::Absent(_)))), "{absent:?}");
        assert_eq!(store.images(&["t".into()]).unwrap()[0].as_ref().unwrap().manifest, two);
    });
}

#[test]
fn an_image_that_is_no_stage_is_stored_under_a_tag_and_listed() {
    on_all(|store| {
        let manifest = |text: &str| Manifest::of(&image(store, text), &notes(text));
        let (one, two) = (manifest("1"), manifest("2"));
        let digest = store.put_image("v1", Some("web"), &one).unwrap();
        assert_eq!(digest, BlobDigest::of(&one.to_bytes()));
        assert_eq!(store.put_image("v1", Some("web"), &one).unwrap(), digest);
        let found = store.images(&["v1".into()]).unwrap().remove(0).unwrap();
        assert_eq!((&found.manifest, &found.annotations), (&digest, &notes("1")));
        let moved = store.put_image("v1", None, &two).unwrap();
        assert_eq!(store.images(&["v1".into()]).unwrap()[0].as_ref().unwrap().manifest, moved);
        assert_eq!(read_image(store, &moved).unwrap().0.layers, two.layers);
        store.put_image("v2", None, &two).unwrap();
        let stage = Sha224Digest::of_bytes(b"stage");
        store.publish(&stage, &image(store, "3"), &notes("3"), 7, &stagewright::ports::any).unwrap();
        let mut tags = store.tags().unwrap();
        // Where the store notes what is newest as a tag, it may list that too.
        tags.retain(|tag| !tag.starts_with("newest-"));
        tags.sort();
        let mut expected = ["v1".to_owned(), "v2".to_owned(), format!("{stage}-7")];
        expected.sort();
        assert_eq!(tags, expected);
    });
}

#[test]
fn images_are_resolved_by_what_names_them() {
    on_cases(|case| {
        let store = case.store;
        let digest = Sha224Digest::of_bytes(b"stage");
        store.publish(&digest, &image(store, "1"), &notes("1"), 2, &stagewright::ports::any).unwrap();
        let manifest = store.stages(&digest).unwrap()[0].manifest.clone();
        let signature = Sha224Digest::of_bytes(b"image");
        store.tag(&signature.to_string(), Some("web"), &manifest).unwrap();
        let (bases, tag) = (case.bases)("alpine");
        bases.publish(&digest, &image(&*bases, "1"), &notes("1"), 2, &stagewright::ports::any).unwrap();
        bases.tag(&format!("{tag}3.18"), Some("alpine"), &manifest).unwrap();
        let resolve = |image: ImageRef| store.resolve(&image, &Platform::linux_amd64()).unwrap();
        let external = |reference: &str| resolve(ImageRef::External { reference: case.reference(reference) });
        assert_eq!(resolve(ImageRef::Stage { digest, created_ms: None, content: None }), Some(manifest.clone()));
        assert_eq!(resolve(ImageRef::Stage { digest: signature, created_ms: None, content: None }), None);
        assert_eq!(resolve(ImageRef::Project { name: "web".into(), signature }), Some(manifest.clone()));
        assert_eq!(external("alpine:3.18"), Some(manifest.clone()));
        if case.prefix.is_empty() {
            assert_eq!(external("docker.io/library/alpine:3.18"), Some(manifest));
        }
        assert_eq!(external("alpine"), None);
        assert_eq!(external("alpine:3.19"), None);
    });
}

#[test]
fn an_index_is_tagged_read_back_and_copied_whole() {
    on_cases(|case| {
        let store = case.store;
        let platform = |architecture: &str| Platform { architecture: architecture.into(), ..Platform::linux_amd64() };
        let entry = |architecture: &str| {
            let digest = Sha224Digest::of_bytes(architecture.as_bytes());
            let manifest = match store
                .publish(&digest, &image(store, architecture), &notes(architecture), 1, &stagewright::ports::any)
                .unwrap()
            {
                Published::Stored(stage) | Published::Existing(stage) => stage.manifest,
            };
            IndexEntry::of(store, platform(architecture), &manifest).unwrap()
        };
        let index = Index::of(vec![entry("amd64"), entry("arm64")], notes("both"));
        if !store.holds_indexes() {
            let error = put_index(store, "i", Some("web"), &index).unwrap_err().to_string();
            return assert!(error.contains("several platforms"), "{error}");
        }
        let digest = put_index(store, "i", Some("web"), &index).unwrap();
        assert_eq!(digest, BlobDigest::of(&index.to_bytes()));
        assert_eq!(put_index(store, "i", Some("web"), &index).unwrap(), digest);
        let found = store.images(&["i".into()]).unwrap().remove(0).unwrap();
        assert_eq!((&found.manifest, &found.annotations), (&digest, &notes("both")));
        assert_eq!(store.newest(&["web".into()]).unwrap().remove(0).unwrap().tag, "i");
        assert_eq!(Document::read(store, &digest).unwrap(), Document::Index(index.clone()));
        // A further tag stands on the same index.
        store.tag("j", None, &digest).unwrap();
        assert_eq!(store.images(&["j".into()]).unwrap().remove(0).unwrap().manifest, digest);
        // As a base it is the image of the platform that is asked for.
        let (bases, tag) = (case.bases)("listed");
        copy_image(store, &*bases, &digest, &format!("{tag}1"), None).unwrap();
        let base = |on: &str| store.external(&case.reference("listed:1"), &platform(on));
        assert_eq!(base("arm64").unwrap().unwrap().annotations, notes("arm64"));
        assert_eq!(base("amd64").unwrap().unwrap().manifest, index.manifests[0].digest);
        let error = base("s390x").unwrap_err().to_string();
        assert!(error.contains("linux/s390x") && error.contains("linux/arm64"), "{error}");
        // An index of what is not there is refused, and the tag stays.
        let absent = IndexEntry { digest: BlobDigest::of(b"nothing"), ..index.manifests[0].clone() };
        let broken = Index::of(vec![absent], BTreeMap::new());
        assert!(put_index(store, "i", Some("web"), &broken).is_err());
        assert_eq!(store.images(&["i".into()]).unwrap().remove(0).unwrap().manifest, digest);
    });
}

#[test]
fn asking_makes_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let store = OciLayout::new(dir.path().join("store"));
    an_answer(&store);
    assert!(!dir.path().join("store").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

fn an_answer(store: &OciLayout) {
    assert_eq!(store.images(&["a".into()]).unwrap(), [None]);
    assert_eq!(store.stages(&Sha224Digest::of_bytes(b"x")).unwrap(), []);
}

#[test]
fn a_folder_with_other_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("werf.yaml"), "x").unwrap();
    let error = OciLayout::new(dir.path()).put(&mut |out| out.write_all(b"x")).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("holds other files"), "{cause}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_second_process_sees_what_the_first_wrote_and_foreign_entries_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (OciLayout::new(dir.path()), OciLayout::new(dir.path()));
    an_answer(&two);
    let digest = Sha224Digest::of_bytes(b"stage");
    one.publish(&digest, &image(&one, "1"), &notes("1"), 2, &stagewright::ports::any).unwrap();
    let manifest = two.stages(&digest).unwrap()[0].manifest.clone();
    let index = dir.path().join("index.json");
    let text = fs::read_to_string(&index).unwrap();
    let foreign = r#"{"mediaType":"x/y","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1,"data":"AA=="}"#;
    fs::write(
        &index,
        text.replace("\"manifests\":[", &format!("\"annotations\":{{\"k\":\"v\"}},\"manifests\":[{foreign},")),
    )
    .unwrap();
    two.tag("t", Some("web"), &manifest).unwrap();
    let text = fs::read_to_string(&index).unwrap();
    assert!(text.contains(foreign) && text.contains(r#""annotations":{"k":"v"}"#), "{text}");
    assert_eq!(one.images(&["t".into()]).unwrap()[0].as_ref().unwrap().manifest, manifest);
}

#[test]
fn corruption_is_told_with_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = OciLayout::new(dir.path());
    let digest = Sha224Digest::of_bytes(b"stage");
    store.publish(&digest, &image(&store, "1"), &notes("1"), 2, &stagewright::ports::any).unwrap();
    let manifest = store.stages(&digest).unwrap()[0].manifest.clone();
    store.tag("t", Some("web"), &manifest).unwrap();
    let file = dir.path().join("blobs/sha256").join(manifest.hex());
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, String::from_utf8(bytes.clone()).unwrap().replace("note", "nose")).unwrap();
    let error = store.images(&["t".into()]).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()) && error.contains("apply again"), "{error}");
    assert_eq!(store.stages(&digest).unwrap(), []);
    fs::remove_file(&file).unwrap();
    assert_eq!(store.images(&["t".into()]).unwrap(), [None]);
    fs::write(&file, bytes).unwrap();
    assert_eq!(store.stages(&digest).unwrap().len(), 1);
    fs::write(dir.path().join("index.json"), "{").unwrap();
    let error = store.images(&["t".into()]).unwrap_err().to_string();
    assert!(error.contains("index.json") && error.contains("restore"), "{error}");
    assert!(store.tag("u", Some("web"), &manifest).is_err());
}

#[test]
fn a_platform_is_chosen_from_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = OciLayout::new(dir.path());
    let put = |bytes: &[u8]| store.put(&mut |out| out.write_all(bytes)).unwrap();
    let entry = |architecture: &str| {
        let (digest, size) = put(&Manifest::of(&image(&store, architecture), &notes(architecture)).to_bytes());
        serde_json::json!({"mediaType": MEDIA_MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let nested = serde_json::json!({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [entry("arm64"), entry("amd64")]});
    let (digest, size) = put(nested.to_string().as_bytes());
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{"mediaType": MEDIA_INDEX, "digest": digest, "size": size,
        "annotations": {"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "docker.io/library/alpine:3.18"}}]});
    fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
    let platform = |architecture: &str| Platform { architecture: architecture.into(), ..Platform::linux_amd64() };
    let found = |architecture: &str| store.external("alpine:3.18", &platform(architecture));
    assert_eq!(found("arm64").unwrap().unwrap().annotations, notes("arm64"));
    assert_eq!(found("amd64").unwrap().unwrap().annotations, notes("amd64"));
    let error = found("s390x").unwrap_err().to_string();
    assert!(error.contains("linux/s390x") && error.contains("linux/arm64"), "{error}");
}

#[test]
fn writers_in_many_threads_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let stores = [OciLayout::new(dir.path().join("s")), OciLayout::new(dir.path().join("s"))].map(Arc::new);
    let threads: Vec<_> = (0..8)
        .map(|t| {
            let store = stores[t % 2].clone();
            std::thread::spawn(move || {
                for i in 0..10 {
                    let digest = Sha224Digest::of_bytes(format!("{}", i * 8 + t).as_bytes());
                    let built = image(&*store, &format!("{i}"));
                    store.publish(&digest, &built, &notes("x"), 1, &stagewright::ports::any).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    for i in 0..80 {
        assert_eq!(stores[0].stages(&Sha224Digest::of_bytes(format!("{i}").as_bytes())).unwrap().len(), 1);
    }
    assert_eq!(fs::read_dir(dir.path().join("s/.stagewright/tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
