//! The registry store over a real registry that fails in every way a proxy can make it fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stagewright::backend::{CredentialSource, RegistryOptions, RegistryStore, Repository, Retry};
use stagewright::digest::Sha224Digest;
use stagewright::ports::oci::{MEDIA_INDEX, MEDIA_MANIFEST, Manifest, read_image};
use stagewright::ports::{
    BlobDigest, BlobError, BlobStore, BuiltImage, Descriptor, Published, StageId, StageStore, StoredStage,
};
use stagewright::stage::Platform;

use super::proxy::{Asked, Deed, Proxy};
use super::stage_store::{image, layer};
use crate::services::Registry;

/// Pauses are short here.
const RETRY: Retry = Retry { attempts: 6, pause: Duration::from_millis(2) };

/// A name that no other test uses.
pub fn fresh_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A store in a registry, with a cache of its own.
pub fn store(registry: &Registry, path: &str) -> RegistryStore {
    let text = registry.docker_config();
    let credentials = vec![CredentialSource::Text { variable: "DOCKER_AUTH_CONFIG", text }];
    open(&registry.address, path, RegistryOptions { credentials, retry: RETRY, ..RegistryOptions::default() })
}

fn open(address: &str, path: &str, options: RegistryOptions) -> RegistryStore {
    let repository = Repository::parse(&format!("{address}/{path}")).unwrap();
    RegistryStore::new(repository, options, None).unwrap()
}

fn through(proxy: &Proxy, path: &str) -> RegistryStore {
    open(&proxy.address, path, RegistryOptions { retry: RETRY, ..RegistryOptions::default() })
}

fn notes(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("note".to_owned(), text.to_owned())])
}

fn stage_of(published: Published) -> StoredStage {
    match published {
        Published::Stored(stage) | Published::Existing(stage) => stage,
    }
}

/// The whole chain of causes.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text += &format!(": {cause}");
        next = cause.source();
    }
    text
}

/// Publishes, tags and reads everything back on another machine.
fn round_trip(proxy: &Proxy, path: &str, content: &str) {
    let digest = Sha224Digest::of_bytes(content.as_bytes());
    let writer = through(proxy, path);
    let built = image(&writer, content);
    let stage = stage_of(writer.publish(&digest, &built, &notes("n"), 7, &stagewright::ports::any).unwrap());
    writer.tag("t", Some("web"), &stage.manifest).unwrap();
    let reader = through(proxy, path);
    let found = reader.images(&["t".into(), "absent".into()]).unwrap();
    assert_eq!(found[0].as_ref().unwrap().manifest, stage.manifest);
    assert_eq!(found[1], None);
    assert_eq!(reader.stages(&digest).unwrap(), std::slice::from_ref(&stage));
    assert_eq!(reader.newest(&["web".into()]).unwrap()[0].as_ref().unwrap().tag, "t");
    let (manifest, _) = read_image(&reader, &stage.manifest).unwrap();
    assert_eq!(manifest.layers, built.layers);
    assert_eq!(reader.read(&manifest.layers[0].digest).unwrap(), layer(content).1);
}

#[test]
fn what_passes_is_tried_again() {
    let Some(registry) = Registry::shared() else { return };
    let answer = |status, headers: &str| Deed::Answer(status, headers.to_owned(), "broken".to_owned());
    let faults: [(&str, Deed); 9] = [
        ("500", answer("500 Internal Server Error", "")),
        ("502", answer("502 Bad Gateway", "")),
        ("503", answer("503 Service Unavailable", "Retry-After: 0\r\n")),
        ("429", answer("429 Too Many Requests", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n")),
        ("close", Deed::Close),
        ("cut answer", Deed::CutAnswer),
        ("cut request", Deed::CutRequest),
        ("corrupt", Deed::Corrupt),
        ("slow", Deed::Slow(Duration::from_millis(20))),
    ];
    for (name, fault) in faults {
        let done = Arc::new(AtomicUsize::new(0));
        let count = done.clone();
        let proxy = Proxy::start(&registry.address, move |asked, before| {
            // What is not checked by a digest is not made wrong: no client can know.
            let checked =
                asked.method == "GET" && (asked.path.contains("/blobs/sha256") || asked.path.contains("/manifests/"));
            let fits = match &fault {
                Deed::Corrupt => checked,
                Deed::CutRequest => asked.length > 1,
                Deed::CutAnswer => asked.method == "GET" && !asked.path.ends_with("/v2/"),
                Deed::Pass | Deed::Answer(..) | Deed::Close | Deed::Slow(_) => true,
            };
            if fits && before == 0 {
                count.fetch_add(1, Ordering::Relaxed);
                return fault.clone();
            }
            Deed::Pass
        });
        round_trip(&proxy, &fresh_name(), &format!("a layer {name} {}", "x".repeat(50_000)));
        assert!(done.load(Ordering::Relaxed) >= 2, "{name} never happened");
    }
}

#[test]
fn a_server_says_when_to_come_again() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = Proxy::start(&registry.address, |asked, before| {
        if asked.path.contains("/manifests/") && before == 0 {
            return Deed::Answer("429 Too Many Requests", "Retry-After: 1\r\n".into(), String::new());
        }
        Deed::Pass
    });
    let start = std::time::Instant::now();
    assert_eq!(through(&proxy, &fresh_name()).images(&["t".into()]).unwrap(), [None]);
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(proxy.asked().iter().filter(|a| a.path.contains("/manifests/")).count(), 2);
}

#[test]
fn what_lasts_is_told_with_host_and_status_and_leaves_no_stage() {
    let Some(registry) = Registry::shared() else { return };
    let digest = Sha224Digest::of_bytes(b"stage");
    for (status, told) in [
        ("507 Insufficient Storage", "the disk of the registry is full"),
        ("500 Internal Server Error", "no space left (tried 6 times)"),
        ("413 Payload Too Large", "limits the size of uploads"),
        ("403 Forbidden", "the user may not do that"),
        ("401 Unauthorized", "docker login 127.0.0.1"),
    ] {
        let proxy = Proxy::start(&registry.address, move |asked, _| {
            if asked.method == "PUT" && asked.path.contains("/blobs/uploads/") {
                let body = r#"{"errors":[{"code":"UNKNOWN","message":"no space left"}]}"#;
                return Deed::Answer(status, String::new(), body.to_owned());
            }
            Deed::Pass
        });
        let path = fresh_name();
        let store = through(&proxy, &path);
        let failed =
            store.publish(&digest, &image(&store, "layer"), &notes("1"), 1, &stagewright::ports::any).unwrap_err();
        let text = words(&failed);
        assert!(text.contains(told) && text.contains(&proxy.address), "{status}: {text}");
        assert!(text.contains("send blob sha256:"), "{text}");
        assert_eq!(through(&proxy, &path).stages(&digest).unwrap(), []);
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let store = open(&nobody.to_string(), "shop", RegistryOptions { retry: RETRY, ..RegistryOptions::default() });
    let text = words(&store.images(&["t".into()]).unwrap_err());
    assert!(text.contains(&format!("{nobody} cannot be reached (tried 4 times)")), "{text}");
}

#[test]
fn corrupted_bytes_are_never_used() {
    let Some(registry) = Registry::shared() else { return };
    let path = fresh_name();
    let good = store(registry, &path);
    let digest = Sha224Digest::of_bytes(b"stage");
    let built = image(&good, "a layer that will be damaged");
    let stage = stage_of(good.publish(&digest, &built, &notes("1"), 1, &stagewright::ports::any).unwrap());
    good.tag("t", Some("web"), &stage.manifest).unwrap();
    let layer = &built.layers[0].digest;
    let proxy = Proxy::start(&registry.address, |asked, _| {
        if asked.method == "GET" && asked.path.contains("sha256:") { Deed::Corrupt } else { Deed::Pass }
    });
    let reader = through(&proxy, &path);
    let failed = reader.read(layer).unwrap_err();
    assert!(matches!(&failed, BlobError::Corrupted { digest, .. } if digest == layer), "{}", words(&failed));
    assert_eq!(proxy.asked().iter().filter(|a| a.path.contains("/blobs/")).count(), 6);
    let proxy = Proxy::start(&registry.address, |asked, _| {
        if asked.method == "GET" && asked.path.contains("/manifests/") { Deed::Corrupt } else { Deed::Pass }
    });
    let text = words(&through(&proxy, &path).images(&["t".into()]).unwrap_err());
    assert!(text.contains("has the digest sha256:") && text.contains(&format!("{path}:t")), "{text}");
}

/// A token server and a registry that asks for its tokens; each token is good for `uses` requests.
fn with_tokens(registry: &Registry, uses: usize) -> Proxy {
    let own = Arc::new(Mutex::new(String::new()));
    let (address, state) = (own.clone(), Mutex::new((0_usize, 0_usize)));
    let proxy = Proxy::start(&registry.address, move |asked, _| {
        let mut state = state.lock().unwrap();
        if asked.path.starts_with("/token") {
            *state = (state.0 + 1, 0);
            let basic = "Basic bWU6czNjcmV0";
            if asked.authorization.as_deref() != Some(basic) {
                return Deed::Answer("401 Unauthorized", String::new(), "{}".into());
            }
            return Deed::Answer("200 OK", String::new(), format!("{{\"token\":\"t{}\",\"expires_in\":300}}", state.0));
        }
        let token = format!("Bearer t{}", state.0);
        state.1 += 1;
        if asked.authorization.as_deref() == Some(&token) && state.1 <= uses {
            return Deed::Pass;
        }
        let realm = format!("http://{}/token", address.lock().unwrap());
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\"\r\n");
        Deed::Answer("401 Unauthorized", challenge, "{}".into())
    });
    own.lock().unwrap().push_str(&proxy.address);
    proxy
}

fn with_login(proxy: &Proxy, path: &str, password: &str) -> RegistryStore {
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("me:{password}"));
    let text = format!("{{\"auths\": {{{:?}: {{\"auth\": {auth:?}}}}}}}", proxy.address);
    let credentials = vec![CredentialSource::Text { variable: "DOCKER_AUTH_CONFIG", text }];
    open(&proxy.address, path, RegistryOptions { credentials, retry: RETRY, ..RegistryOptions::default() })
}

#[test]
fn tokens_are_fetched_once_and_again_when_they_have_expired() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = with_tokens(registry, usize::MAX);
    let tags: Vec<String> = (0..40).map(|i| format!("t{i}")).collect();
    assert_eq!(with_login(&proxy, &fresh_name(), "s3cret").images(&tags).unwrap().len(), 40);
    assert_eq!(proxy.asked().len(), 40 + 2, "one greeting, one token");
    let proxy = with_tokens(registry, 3);
    let store = with_login(&proxy, &fresh_name(), "s3cret");
    let digest = Sha224Digest::of_bytes(b"stage");
    let built = image(&store, "layer");
    let stage = stage_of(store.publish(&digest, &built, &notes("1"), 1, &stagewright::ports::any).unwrap());
    store.tag("t", Some("web"), &stage.manifest).unwrap();
    assert!(proxy.asked().iter().filter(|a| a.path.starts_with("/token")).count() > 2);
    let text = words(&with_login(&proxy, "shop", "wr0ng").images(&["t".into()]).unwrap_err());
    assert!(text.contains("docker login") && !text.contains("wr0ng"), "{text}");
}

#[test]
fn many_tags_come_in_pages() {
    let Some(registry) = Registry::shared() else { return };
    let path = fresh_name();
    let good = store(registry, &path);
    let digests: Vec<Sha224Digest> = (0..12_u8).map(|i| Sha224Digest::of_bytes(&[i])).collect();
    let mut all = BTreeSet::new();
    for digest in &digests {
        let stage = stage_of(
            good.publish(digest, &image(&good, &digest.to_string()), &notes("1"), 1, &stagewright::ports::any).unwrap(),
        );
        all.insert(stage.id.to_string());
    }
    let tags = all.clone();
    let listing = format!("/v2/{path}/tags/list");
    let proxy = Proxy::start(&registry.address, move |asked, _| {
        let Some(query) = asked.path.strip_prefix(&format!("{listing}?")) else { return Deed::Pass };
        let last = query.split('&').find_map(|part| part.strip_prefix("last=")).unwrap_or("").to_owned();
        let page: Vec<&String> =
            tags.range((std::ops::Bound::Excluded(last), std::ops::Bound::Unbounded)).take(3).collect();
        let next = if page.len() == 3 {
            format!("Link: <{listing}?n=3&last={}>; rel=\"next\"\r\n", page[2])
        } else {
            String::new()
        };
        Deed::Answer("200 OK", next, serde_json::json!({"name": "x", "tags": page}).to_string())
    });
    let store = through(&proxy, &path);
    for digest in &digests {
        assert_eq!(store.stages(digest).unwrap().len(), 1);
    }
    let lists = proxy.asked().iter().filter(|a| a.path.contains("/tags/list")).count();
    assert_eq!(lists, digests.len(), "a stage is found on the first page that it can be on");
    let found = store.stages_of(&digests).unwrap();
    assert!(found.iter().all(|stages| stages.len() == 1));
    let lists = proxy.asked().iter().filter(|a| a.path.contains("/tags/list")).count();
    assert_eq!(lists, 5, "for many stages all tags are listed, once");
}

#[test]
fn a_large_blob_arrives_over_connections_that_break_off() {
    let Some(registry) = Registry::shared() else { return };
    let proxy = Proxy::start(&registry.address, |asked, before| match asked.method.as_str() {
        "PATCH" if before == 0 => Deed::CutRequest,
        "PATCH" if before == 1 => Deed::Close,
        "GET" if asked.path.contains("/blobs/sha256") && before == 0 => Deed::CutAnswer,
        _ => Deed::Pass,
    });
    let path = fresh_name();
    let writer = through(&proxy, &path);
    let mut bytes = vec![0; 9 << 20];
    let mut seed = 1_u32;
    bytes.iter_mut().for_each(|b| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *b = (seed >> 24) as u8;
    });
    let (layer, size) = writer.put(&mut |out| out.write_all(&bytes)).unwrap();
    let mut built = image(&writer, "x");
    built.layers = vec![Descriptor { digest: layer.clone(), size, ..built.layers[0].clone() }];
    writer.publish(&Sha224Digest::of_bytes(b"big"), &built, &notes("1"), 1, &stagewright::ports::any).unwrap();
    let asked = proxy.asked();
    let patches: Vec<&Asked> = asked.iter().filter(|a| a.method == "PATCH").collect();
    assert_eq!(patches.len(), 3, "{asked:#?}");
    let reader = through(&proxy, &path);
    assert!(reader.read(&layer).unwrap() == bytes);
    let asked = proxy.asked();
    let second = asked.iter().rfind(|a| a.path.contains("/blobs/sha256")).unwrap();
    assert!(second.range.as_deref().is_some_and(|r| r.starts_with("bytes=")) && second.status == 206, "{asked:#?}");
}

#[test]
fn a_base_beside_our_repository_is_mounted_and_its_platform_chosen() {
    let Some(registry) = Registry::shared() else { return };
    let folder = fresh_name();
    let bases = store(registry, &format!("{folder}/library/alpine"));
    let put = |architecture: &str| {
        let built = image(&bases, &format!("base {architecture}"));
        let digest = Sha224Digest::of_bytes(architecture.as_bytes());
        let stage =
            stage_of(bases.publish(&digest, &built, &notes(architecture), 1, &stagewright::ports::any).unwrap());
        let size = bases.read(&stage.manifest).unwrap().len();
        let entry = serde_json::json!({"mediaType": MEDIA_MANIFEST, "digest": stage.manifest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}});
        (built, entry)
    };
    let (arm, amd) = (put("arm64"), put("amd64"));
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": MEDIA_INDEX, "manifests": [arm.1, amd.1]}).to_string();
    let (index, _) = bases.put(&mut |out| out.write_all(index.as_bytes())).unwrap();
    bases.tag("3.18", Some("alpine"), &index).unwrap();
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let mirrors = vec![format!("{}/{folder}", proxy.address)];
    let options = RegistryOptions { mirrors, retry: RETRY, ..RegistryOptions::default() };
    let ours = open(&proxy.address, &format!("{folder}/shop"), options);
    let platform = |architecture: &str| Platform { architecture: architecture.into(), ..Platform::linux_amd64() };
    // The name is that of Docker's registry, the mirror has it.
    let base = ours.external("alpine:3.18", &platform("amd64")).unwrap().unwrap();
    assert_eq!(base.annotations, notes("amd64"));
    let missing = ours.external("alpine:3.18", &platform("s390x")).unwrap_err();
    assert!(missing.to_string().contains("linux/s390x") && missing.to_string().contains("linux/arm64"));
    let over = BuiltImage { layers: amd.0.layers.clone(), ..image(&ours, "ours") };
    ours.publish(&Sha224Digest::of_bytes(b"over"), &over, &notes("1"), 1, &stagewright::ports::any).unwrap();
    let asked = proxy.asked();
    let mounts: Vec<&Asked> = asked.iter().filter(|a| a.path.contains("mount=")).collect();
    assert!(!mounts.is_empty() && mounts.iter().all(|a| a.status == 201), "{asked:#?}");
    assert!(!asked.iter().any(|a| a.path.contains(&format!("/blobs/{}", amd.0.layers[0].digest)) && a.method == "GET"));
    assert_eq!(ours.read(&amd.0.layers[0].digest).unwrap(), layer("base amd64").1);
}

#[test]
fn a_cache_serves_the_next_run_and_a_damaged_one_is_mended() {
    let Some(registry) = Registry::shared() else { return };
    let path = fresh_name();
    let good = store(registry, &path);
    let built = image(&good, "kept");
    good.publish(&Sha224Digest::of_bytes(b"s"), &built, &notes("1"), 1, &stagewright::ports::any).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(&registry.address, |_, _| Deed::Pass);
    let kept = &built.layers[0].digest;
    let read = || {
        let repository = Repository::parse(&format!("{}/{path}", proxy.address)).unwrap();
        let store =
            RegistryStore::new(repository, RegistryOptions::default(), Some(cache.path().join("blobs"))).unwrap();
        assert_eq!(store.read(kept).unwrap(), layer("kept").1);
        proxy.asked().len()
    };
    assert_eq!((read(), read()), (2, 0));
    let file = cache.path().join("blobs/sha256").join(kept.hex());
    std::fs::write(&file, "kepT").unwrap();
    assert_eq!((read(), read()), (2, 0));
}

#[test]
fn of_twenty_writers_one_wins_for_all() {
    let Some(registry) = Registry::shared() else { return };
    let path = fresh_name();
    let digest = Sha224Digest::of_bytes(b"raced");
    let writers: Vec<_> = (0..20)
        .map(|number| {
            let store = store(registry, &path);
            std::thread::spawn(move || {
                let built = image(&store, &format!("built by {number}"));
                let stage = stage_of(
                    store.publish(&digest, &built, &notes("x"), 1_000 + number, &stagewright::ports::any).unwrap(),
                );
                // As a run does: it tags, looks again, and puts it right.
                let mut manifest = stage.manifest;
                loop {
                    store.tag("content", Some("web"), &manifest).unwrap();
                    let oldest = store.stages(&digest).unwrap()[0].manifest.clone();
                    if oldest == manifest {
                        return;
                    }
                    manifest = oldest;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let reader = store(registry, &path);
    let stored = reader.stages(&digest).unwrap();
    let tagged = reader.images(&["content".into()]).unwrap().remove(0).unwrap();
    assert_eq!(tagged.manifest, stored[0].manifest);
    let late =
        stage_of(reader.publish(&digest, &image(&reader, "late"), &notes("x"), 1, &stagewright::ports::any).unwrap());
    assert_eq!(late, stored[0]);
    for stage in &stored {
        let manifest = Manifest::parse(&reader.read(&stage.manifest).unwrap(), String::new).unwrap();
        reader.read(&manifest.layers[0].digest).unwrap();
    }
}

#[test]
fn a_stage_whose_manifest_is_gone_does_not_count() {
    let Some(registry) = Registry::start(None) else { return };
    let good = store(&registry, "shop");
    let digest = Sha224Digest::of_bytes(b"stage");
    let first = stage_of(good.publish(&digest, &image(&good, "1"), &notes("1"), 7, &stagewright::ports::any).unwrap());
    let file = registry.data().join("blobs/sha256").join(&first.manifest.hex()[..2]).join(first.manifest.hex());
    std::fs::remove_dir_all(file).unwrap();
    let again = store(&registry, "shop");
    assert_eq!(again.stages(&digest).unwrap(), []);
    let Published::Stored(second) =
        again.publish(&digest, &image(&again, "2"), &notes("2"), 7, &stagewright::ports::any).unwrap()
    else {
        panic!("the first is gone")
    };
    assert_eq!(second.id, StageId { digest, created_ms: 8 });
    let absent = again.tag("t", Some("web"), &BlobDigest::of(b"nothing"));
    assert!(absent.is_err());
}
