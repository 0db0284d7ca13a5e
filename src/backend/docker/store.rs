//! The stage store `docker:NAME`: the images of a Docker Engine, stages as `NAME:DIGEST-TIME`, images as `NAME:SIGNATURE`.
//!
//! What lives here: names, labels, and blobs that are read back. What does not: what is built (`mod`), the format of
//! archives (`context`, `export`).
//!
//! The one idea: the engine's list of images is the index. Each image carries its whole manifest in one label, so that one
//! request tells stages, images and what was recorded. Blobs lie in a cache folder; those that were removed from it are
//! taken out of the engine again.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::PathBuf;

use bollard::models::ImageSummary;
use bollard::query_parameters::{ListImagesOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder};

use super::dockerfile::BaseImage;
use super::engine::{Connection, Engine, with_causes};
use super::export::{export, io_error};
use super::load;
use crate::backend::{OciLayout, runtime};
use crate::digest::Sha224Digest;
use crate::ports::oci::{ImageConfig, MEDIA_CONFIG, Manifest};
use crate::ports::{
    BlobDigest, BlobError, BlobStore, BuiltImage, Descriptor, Published, StageId, StageStore, StoreError, StoredImage,
    StoredStage,
};
use crate::stage::Platform;

/// The label that holds the manifest.
const LABEL: &str = "dev.stagewright.manifest";
/// What stands before the name of an image in the tag of its newest build.
const NEWEST: &str = "newest-";

/// A stage store in a Docker Engine.
pub struct DockerStore {
    engine: Engine,
    name: String,
    cache: OciLayout,
}

/// An image of ours.
struct Found {
    id: String,
    text: String,
    digest: BlobDigest,
    manifest: Manifest,
    tags: Vec<String>,
}

impl DockerStore {
    /// Names the store; blobs are kept in the folder `cache`.
    pub fn new(engine: Engine, name: String, cache: impl Into<PathBuf>) -> Self {
        Self { engine, name, cache: OciLayout::new(cache) }
    }

    fn connect(&self) -> Result<&Connection, StoreError> {
        self.engine.connect().map_err(|e| io_error("connect to the Docker Engine", e))
    }

    fn failed(&self, attempt: &str, why: &dyn std::error::Error) -> StoreError {
        io_error(attempt, self.engine.failed(attempt, with_causes(why)))
    }

    /// Lists our images.
    fn list(&self) -> Result<Vec<Found>, StoreError> {
        let filters = HashMap::from([("reference".to_owned(), vec![self.name.clone()])]);
        let options = ListImagesOptionsBuilder::new().filters(&filters).build();
        let listed = runtime::block_on(self.connect()?.docker.list_images(Some(options)));
        let listed = listed.map_err(|e| self.failed("list the images of the engine", &e))?;
        Ok(listed.into_iter().filter_map(|image| self.found(image)).collect())
    }

    fn found(&self, mut image: ImageSummary) -> Option<Found> {
        let text = image.labels.remove(LABEL)?;
        let manifest = Manifest::parse(text.as_bytes(), String::new).ok()?;
        let prefix = format!("{}:", self.name);
        let tags = image.repo_tags.iter().filter_map(|tag| tag.strip_prefix(&prefix)).map(str::to_owned).collect();
        Some(Found { id: image.id, digest: BlobDigest::of(text.as_bytes()), text, manifest, tags })
    }

    /// Loads an image into the engine under a name, with its manifest in the label.
    fn load(&self, manifest: Manifest, name: &str) -> Result<(), StoreError> {
        let bytes = manifest.to_bytes();
        self.cache.put(&mut |out| out.write_all(&bytes))?;
        let parsed = self.labelled(&manifest)?;
        let image = BaseImage { manifest, config: parsed.to_bytes(), parsed, name: name.to_owned() };
        let connection = self.connect()?;
        // The engine may have all of its layers.
        let names = std::slice::from_ref(&image.name);
        let thin = load(&self.engine, connection, &image, names, self, false);
        let loaded = thin.or_else(|_| load(&self.engine, connection, &image, names, self, true));
        loaded.map_err(|e| StoreError::Io { attempt: format!("load {name}"), source: std::io::Error::other(e) })
    }

    /// Returns the configuration of an image as the engine has it: with the manifest in the label.
    fn labelled(&self, manifest: &Manifest) -> Result<ImageConfig, StoreError> {
        let config = self.read(&manifest.config.digest)?;
        let mut parsed = ImageConfig::parse(&config, || format!("image configuration {}", manifest.config.digest))?;
        parsed.config.labels.insert(LABEL.into(), String::from_utf8_lossy(&manifest.to_bytes()).into_owned());
        Ok(parsed)
    }

    /// Says whether an image of the engine is one that was loaded from here, with this manifest: the engine names images
    /// by the digests of their configurations.
    fn is_loaded_as(&self, id: &str, manifest: &Manifest) -> Result<bool, StoreError> {
        let known = self.cache.has(&manifest.config.digest)?;
        Ok(known && BlobDigest::of(&self.labelled(manifest)?.to_bytes()).to_string() == id)
    }

    /// Puts the blobs of an image back into the cache.
    fn restore(&self, found: &Found) -> Result<(), StoreError> {
        let exported = export(&self.engine, &found.id, &|_| true, &self.cache)?;
        let mut config = exported.parsed;
        config.config.labels.remove(LABEL);
        for bytes in [config.to_bytes(), found.text.clone().into_bytes()] {
            self.cache.put(&mut |out| out.write_all(&bytes))?;
        }
        Ok(())
    }

    /// Finds the image that has a blob.
    fn holder(&self, digest: &BlobDigest) -> Result<Option<Found>, StoreError> {
        let names = |found: &Found| {
            found.digest == *digest
                || found.manifest.config.digest == *digest
                || found.manifest.layers.iter().any(|layer| layer.digest == *digest)
        };
        Ok(self.list()?.into_iter().find(names))
    }

    fn put_tag(&self, id: &str, tag: &str) -> Result<(), StoreError> {
        let options = TagImageOptionsBuilder::new().repo(&self.name).tag(tag).build();
        let tagged = runtime::block_on(self.connect()?.docker.tag_image(id, Some(options)));
        tagged.map_err(|e| self.failed(&format!("tag {}:{tag}", self.name), &e))
    }
}

/// Blob errors hold what the store said.
fn as_blob_error(error: StoreError) -> BlobError {
    match error {
        StoreError::Blob(error) => error,
        StoreError::Io { attempt, source } => BlobError::Io { attempt, source },
        error @ StoreError::Invalid { .. } => {
            BlobError::Io { attempt: "read the engine's images".into(), source: std::io::Error::other(error) }
        }
    }
}

/// Returns the tag of the newest image of a name.
fn newest_tag(name: &str) -> String {
    let mut tag = NEWEST.to_owned();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || "-.".contains(c) {
            tag.push(c);
        } else {
            tag.push_str(&format!("_{:x}", u32::from(c)));
        }
    }
    tag
}

fn stored_image(found: &Found, tag: &str) -> StoredImage {
    StoredImage { tag: tag.to_owned(), manifest: found.digest.clone(), annotations: found.manifest.annotations.clone() }
}

impl BlobStore for DockerStore {
    fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError> {
        Ok(self.cache.has(digest)? || self.holder(digest).map_err(as_blob_error)?.is_some())
    }

    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send>, BlobError> {
        match self.cache.open(digest) {
            Err(BlobError::Absent(_)) => {}
            other => return other,
        }
        if let Some(found) = self.holder(digest).map_err(as_blob_error)? {
            self.restore(&found).map_err(as_blob_error)?;
        }
        self.cache.open(digest)
    }

    fn put(
        &self,
        content: &mut dyn FnMut(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<(BlobDigest, u64), BlobError> {
        self.cache.put(content)
    }
}

impl StageStore for DockerStore {
    /// An image of an engine is for one platform.
    fn holds_indexes(&self) -> bool {
        false
    }

    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError> {
        Ok(self.stages_of(&[*digest])?.pop().unwrap_or_default())
    }

    fn stages_of(&self, digests: &[Sha224Digest]) -> Result<Vec<Vec<StoredStage>>, StoreError> {
        let mut all: BTreeMap<Sha224Digest, Vec<StoredStage>> = BTreeMap::new();
        for found in self.list()? {
            for id in found.tags.iter().filter_map(|tag| StageId::parse(tag)) {
                let annotations = found.manifest.annotations.clone();
                let stage = StoredStage { id, manifest: found.digest.clone(), annotations };
                all.entry(id.digest).or_default().push(stage);
            }
        }
        let mut of = |digest| {
            let mut stages: Vec<StoredStage> = all.get(digest).cloned().unwrap_or_default();
            stages.sort_by_key(|stage| stage.id);
            stages
        };
        Ok(digests.iter().map(&mut of).collect())
    }

    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        let all = self.list()?;
        let is = |f: &Found, tag: &String| f.tags.contains(tag) || f.digest.to_string() == *tag;
        let of = |tag: &String| all.iter().find(|f| is(f, tag)).map(|f| stored_image(f, tag));
        Ok(tags.iter().map(of).collect())
    }

    fn newest(&self, names: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        let all = self.list()?;
        let of = |name: &String| {
            let newest = newest_tag(name);
            let found = all.iter().find(|f| f.tags.contains(&newest))?;
            let tag = found.tags.iter().find(|t| StageId::parse(t).is_none() && !t.starts_with(NEWEST))?;
            Some(stored_image(found, tag))
        };
        Ok(names.iter().map(of).collect())
    }

    fn external(&self, reference: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError> {
        let inspected = runtime::block_on(self.connect()?.docker.inspect_image(reference));
        let inspected = match inspected {
            Ok(inspected) => inspected,
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => return Ok(None),
            Err(e) => return Err(self.failed(&format!("look for the image {reference}"), &e)),
        };
        let is = |text: &Option<String>, wanted: &str| text.as_deref().is_none_or(|t| t.is_empty() || t == wanted);
        if !is(&inspected.os, &platform.os) || !is(&inspected.architecture, &platform.architecture) {
            let [os, architecture] = [inspected.os, inspected.architecture].map(Option::unwrap_or_default);
            let why = format!("the engine has it for {os}/{architecture}, not for {platform}");
            return Err(StoreError::Invalid { what: format!("image `{reference}`"), why });
        }
        let id = inspected.id.unwrap_or_default();
        let label = inspected.config.and_then(|c| c.labels).and_then(|mut labels| labels.remove(LABEL));
        let ours = label.as_ref().and_then(|text| Manifest::parse(text.as_bytes(), String::new).ok());
        if let (Some(text), Some(manifest)) = (&label, &ours)
            && self.is_loaded_as(&id, manifest)?
        {
            let (digest, _) = self.cache.put(&mut |out| out.write_all(text.as_bytes()))?;
            let annotations = manifest.annotations.clone();
            return Ok(Some(StoredImage { tag: reference.to_owned(), manifest: digest, annotations }));
        }
        let known = format!("engine-{}", id.trim_start_matches("sha256:"));
        let cached = self.cache.images(std::slice::from_ref(&known))?.pop().flatten();
        if let Some(cached) = cached {
            return Ok(Some(StoredImage { tag: reference.to_owned(), ..cached }));
        }
        let mut exported = export(&self.engine, &id, &|_| true, &self.cache)?;
        // What others build on an image of ours inherits its label, and is an image of theirs.
        if exported.parsed.config.labels.remove(LABEL).is_some() {
            exported.config = exported.parsed.to_bytes();
        }
        let config = &exported.parsed;
        let layers: Option<Vec<Descriptor>> =
            config.rootfs.diff_ids.iter().map(|diff_id| exported.layers.get(diff_id).cloned()).collect();
        let layers = layers.ok_or_else(|| StoreError::Invalid {
            what: format!("image `{reference}`"),
            why: "the engine did not give all of its layers".into(),
        })?;
        let (digest, size) = self.cache.put(&mut |out| out.write_all(&exported.config))?;
        if let (Some(text), Some(manifest)) = (&label, ours)
            && manifest.config.digest == digest
        {
            let (digest, _) = self.cache.put(&mut |out| out.write_all(text.as_bytes()))?;
            let annotations = manifest.annotations;
            return Ok(Some(StoredImage { tag: reference.to_owned(), manifest: digest, annotations }));
        }
        let config = Descriptor { media_type: MEDIA_CONFIG.into(), digest, size };
        let bytes = Manifest::of(&BuiltImage { config, layers }, &BTreeMap::new()).to_bytes();
        let (manifest, _) = self.cache.put(&mut |out| out.write_all(&bytes))?;
        self.cache.tag(&known, None, &manifest)?;
        Ok(Some(StoredImage { tag: reference.to_owned(), manifest, annotations: BTreeMap::new() }))
    }

    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
        suits: &dyn Fn(&StoredStage) -> bool,
    ) -> Result<Published, StoreError> {
        let all = self.list()?;
        if let Some(existing) = self.stages(digest)?.into_iter().find(suits) {
            return Ok(Published::Existing(existing));
        }
        let mut id = StageId { digest: *digest, created_ms };
        while all.iter().any(|f| f.tags.contains(&id.to_string())) {
            id.created_ms += 1;
        }
        let name = format!("{}:{id}", self.name);
        self.load(Manifest::of(built, annotations), &name)?;
        // Who came first wins; whoever finds an older one withdraws.
        match self.stages(digest)?.into_iter().find(suits) {
            Some(oldest) if oldest.id != id => {
                let none: Option<RemoveImageOptions> = None;
                let _ = runtime::block_on(self.connect()?.docker.remove_image(&name, none, None));
                Ok(Published::Existing(oldest))
            }
            Some(ours) => Ok(Published::Stored(ours)),
            None => Err(StoreError::Invalid { what: name, why: "the engine does not list what was loaded".into() }),
        }
    }

    fn tag(&self, tag: &str, name: Option<&str>, manifest: &BlobDigest) -> Result<(), StoreError> {
        let found = self.list()?.into_iter().find(|f| f.digest == *manifest);
        let found = found.ok_or_else(|| BlobError::Absent(manifest.clone()))?;
        self.put_tag(&found.id, tag)?;
        name.map_or(Ok(()), |name| self.put_tag(&found.id, &newest_tag(name)))
    }

    // An engine keeps no manifests: it is written as ours are.
    fn put_image_as(
        &self,
        tag: &str,
        name: Option<&str>,
        _: &[u8],
        manifest: &Manifest,
    ) -> Result<BlobDigest, StoreError> {
        let digest = BlobDigest::of(&manifest.to_bytes());
        if !self.list()?.iter().any(|found| found.digest == digest) {
            self.load(manifest.clone(), &format!("{}:{tag}", self.name))?;
        }
        self.tag(tag, name, &digest)?;
        Ok(digest)
    }

    fn tags(&self) -> Result<Vec<String>, StoreError> {
        let tags = self.list()?.into_iter().flat_map(|found| found.tags);
        Ok(tags.filter(|tag| !tag.starts_with(NEWEST)).collect())
    }
}
