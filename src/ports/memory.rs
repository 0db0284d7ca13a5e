//! The in-memory stage store: the twin that tests and examples run on.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::blobs::{BlobDigest, BlobError, BlobStore};
use super::builder::BuiltImage;
use super::index::Document;
use super::oci::{Manifest, normalize_reference, read_manifest};
use super::stage_store::{Published, StageId, StageStore, StoreError, StoredImage, StoredStage};
use crate::digest::Sha224Digest;
use crate::stage::Platform;

#[derive(Default)]
struct State {
    blobs: BTreeMap<BlobDigest, Arc<[u8]>>,
    stages: BTreeMap<StageId, BlobDigest>,
    images: BTreeMap<String, BlobDigest>,
    /// The tag that was put last, by image name.
    newest: BTreeMap<String, String>,
}

/// A stage store in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn image(&self, tag: &str) -> Result<Option<StoredImage>, StoreError> {
        let by_digest = |s: &State| s.images.values().find(|digest| digest.to_string() == tag).cloned();
        let found = self.with(|s| s.images.get(tag).cloned().or_else(|| by_digest(s)));
        let Some(manifest) = found else { return Ok(None) };
        let annotations = match Document::read(self, &manifest)? {
            Document::Manifest(manifest) => manifest.annotations,
            Document::Index(index) => index.annotations,
        };
        Ok(Some(StoredImage { tag: tag.to_owned(), manifest, annotations }))
    }

    /// Chooses the manifest for a platform where an image is an index.
    fn image_on(&self, tag: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError> {
        let Some(found) = self.image(tag)? else { return Ok(None) };
        let Document::Index(index) = Document::read(self, &found.manifest)? else { return Ok(Some(found)) };
        let entry = index.for_platform(platform).ok_or_else(|| {
            let offered = index.manifests.iter().filter_map(|e| e.platform.as_ref()).map(ToString::to_string);
            let offered = offered.collect::<Vec<_>>().join(", ");
            let why = format!("it is not there for {platform}, only for {offered}");
            StoreError::Invalid { what: format!("image `{tag}`"), why }
        })?;
        let annotations = read_manifest(self, &entry.digest)?.annotations;
        Ok(Some(StoredImage { tag: tag.to_owned(), manifest: entry.digest.clone(), annotations }))
    }
}

impl BlobStore for MemoryStore {
    fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError> {
        Ok(self.with(|s| s.blobs.contains_key(digest)))
    }

    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send>, BlobError> {
        let found = self.with(|s| s.blobs.get(digest).cloned());
        found.map_or_else(
            || Err(BlobError::Absent(digest.clone())),
            |bytes| Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read + Send>),
        )
    }

    fn put(
        &self,
        content: &mut dyn FnMut(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<(BlobDigest, u64), BlobError> {
        let mut bytes = Vec::new();
        content(&mut bytes).map_err(|source| BlobError::from_io("write a blob".into(), source))?;
        let digest = BlobDigest::of(&bytes);
        let size = bytes.len() as u64;
        self.with(|s| s.blobs.insert(digest.clone(), bytes.into()));
        Ok((digest, size))
    }
}

impl StageStore for MemoryStore {
    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError> {
        let from = StageId { digest: *digest, created_ms: 0 };
        let to = StageId { digest: *digest, created_ms: u64::MAX };
        let found: Vec<(StageId, BlobDigest)> =
            self.with(|s| s.stages.range(from..=to).map(|(id, manifest)| (*id, manifest.clone())).collect());
        let stored = found.into_iter().filter_map(|(id, manifest)| {
            let annotations = read_manifest(self, &manifest).ok()?.annotations;
            Some(StoredStage { id, manifest, annotations })
        });
        Ok(stored.collect())
    }

    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        tags.iter().map(|tag| self.image(tag)).collect()
    }

    fn newest(&self, names: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        let tags: Vec<Option<String>> = self.with(|s| names.iter().map(|n| s.newest.get(n).cloned()).collect());
        tags.into_iter().map(|tag| tag.map_or(Ok(None), |tag| self.image(&tag))).collect()
    }

    fn external(&self, reference: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError> {
        if let Some(found) = self.image_on(reference, platform)? {
            return Ok(Some(found));
        }
        let wanted = normalize_reference(reference);
        let tag = self.with(|s| s.images.keys().find(|tag| normalize_reference(tag) == wanted).cloned());
        tag.map_or(Ok(None), |tag| self.image_on(&tag, platform))
    }

    fn tags(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.with(|s| s.stages.keys().map(StageId::to_string).chain(s.images.keys().cloned()).collect()))
    }

    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
        suits: &dyn Fn(&StoredStage) -> bool,
    ) -> Result<Published, StoreError> {
        if let Some(existing) = self.stages(digest)?.into_iter().find(suits) {
            return Ok(Published::Existing(existing));
        }
        let bytes = Manifest::of(built, annotations).to_bytes();
        let (manifest, _) = self.put(&mut |out| out.write_all(&bytes))?;
        let id = self.with(|s| {
            let mut id = StageId { digest: *digest, created_ms };
            while s.stages.contains_key(&id) {
                id.created_ms += 1;
            }
            s.stages.insert(id, manifest.clone());
            id
        });
        Ok(Published::Stored(StoredStage { id, manifest, annotations: annotations.clone() }))
    }

    fn tag(&self, tag: &str, name: Option<&str>, manifest: &BlobDigest) -> Result<(), StoreError> {
        if let Document::Index(index) = Document::read(self, manifest)? {
            index.manifests.iter().try_for_each(|entry| read_manifest(self, &entry.digest).map(drop))?;
        }
        self.with(|s| {
            s.images.insert(tag.to_owned(), manifest.clone());
            if let Some(name) = name {
                s.newest.insert(name.to_owned(), tag.to_owned());
            }
        });
        Ok(())
    }
}
