//! The in-memory stage store: the twin that tests and examples run on.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Mutex, PoisonError};

use super::blobs::{BlobDigest, BlobError, BlobStore};
use super::builder::BuiltImage;
use super::stage_store::{Published, StageId, StageStore, StoreError, StoredImage, StoredStage};
use crate::digest::Sha224Digest;

#[derive(Default)]
struct State {
    blobs: BTreeMap<BlobDigest, Vec<u8>>,
    stages: BTreeMap<StageId, StoredStage>,
    images: BTreeMap<String, StoredImage>,
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
        content(&mut bytes).map_err(|source| BlobError::Io { attempt: "write a blob".into(), source })?;
        let digest = BlobDigest::of(&bytes);
        let size = bytes.len() as u64;
        self.with(|s| s.blobs.insert(digest.clone(), bytes));
        Ok((digest, size))
    }
}

impl StageStore for MemoryStore {
    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError> {
        let from = StageId { digest: *digest, created_ms: 0 };
        let to = StageId { digest: *digest, created_ms: u64::MAX };
        Ok(self.with(|s| s.stages.range(from..=to).map(|(_, stage)| stage.clone()).collect()))
    }

    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        Ok(self.with(|s| tags.iter().map(|t| s.images.get(t).cloned()).collect()))
    }

    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
    ) -> Result<Published, StoreError> {
        if let Some(existing) = self.stages(digest)?.into_iter().next() {
            return Ok(Published::Existing(existing));
        }
        let manifest = super::blobs::BlobDigest::of(&serde_json::to_vec(&(built, annotations)).unwrap_or_default());
        let id = StageId { digest: *digest, created_ms };
        let stored = StoredStage { id, manifest, annotations: annotations.clone() };
        self.with(|s| s.stages.insert(id, stored.clone()));
        Ok(Published::Stored(stored))
    }

    fn tag(&self, tag: &str, name: &str, manifest: &BlobDigest) -> Result<(), StoreError> {
        self.with(|s| {
            let stage = s.stages.values().find(|stage| stage.manifest == *manifest);
            let annotations = stage.map(|stage| stage.annotations.clone()).unwrap_or_default();
            let (tag, name, manifest) = (tag.to_owned(), Some(name.to_owned()), manifest.clone());
            s.images.insert(tag.clone(), StoredImage { tag, name, manifest, annotations });
        });
        Ok(())
    }
}
