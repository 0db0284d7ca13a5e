//! A stage store that looks for stages elsewhere too.
//!
//! The one idea: the others are only read. A stage that is found in one of them is copied when something of ours is
//! to stand on it: a tag, or a stage that is built upon it. So planning writes nothing, and what we store is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

use super::blobs::{BlobDigest, BlobError, BlobStore};
use super::builder::BuiltImage;
use super::copy::{copy_blobs, copy_stage};
use super::oci::Manifest;
use super::stage_store::{Published, StageId, StageStore, StoreError, StoredImage, StoredStage};
use crate::digest::Sha224Digest;
use crate::signature::ANNOTATION_FILES;
use crate::stage::Platform;

/// A primary store over others that are only read.
pub struct LayeredStore {
    primary: Box<dyn StageStore>,
    others: Vec<Box<dyn StageStore>>,
    /// What was found in the others, by manifest, and in which.
    found: Mutex<BTreeMap<BlobDigest, (usize, StoredStage)>>,
}

impl LayeredStore {
    /// Looks into `others`, in order, for what the primary store lacks.
    pub fn new(primary: Box<dyn StageStore>, others: Vec<Box<dyn StageStore>>) -> Self {
        Self { primary, others, found: Mutex::default() }
    }

    /// Returns the first answer of the others that is one.
    fn elsewhere<T>(
        &self,
        mut ask: impl FnMut(&dyn StageStore) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<(usize, T)>, StoreError> {
        for (index, other) in self.others.iter().enumerate() {
            if let Some(answer) = ask(other.as_ref())? {
                return Ok(Some((index, answer)));
            }
        }
        Ok(None)
    }

    /// Copies a stage of another store to ours, if it is one; returns the manifest that ours has for it.
    fn adopt(&self, manifest: &BlobDigest) -> Result<BlobDigest, StoreError> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(manifest).cloned();
        let Some((index, stage)) = found else { return Ok(manifest.clone()) };
        let Some(other) = self.others.get(index) else { return Ok(manifest.clone()) };
        Ok(copy_stage(other.as_ref(), self.primary.as_ref(), &stage)?.manifest)
    }
}

impl BlobStore for LayeredStore {
    fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError> {
        if self.primary.has(digest)? {
            return Ok(true);
        }
        for other in &self.others {
            if other.has(digest)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send>, BlobError> {
        let mut opened = self.primary.open(digest);
        for other in &self.others {
            if !matches!(opened, Err(BlobError::Absent(_))) {
                break;
            }
            opened = other.open(digest);
        }
        opened
    }

    fn put(&self, content: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>) -> Result<(BlobDigest, u64), BlobError> {
        self.primary.put(content)
    }
}

impl StageStore for LayeredStore {
    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError> {
        Ok(self.stages_of(&[*digest])?.into_iter().flatten().collect())
    }

    fn stages_of(&self, digests: &[Sha224Digest]) -> Result<Vec<Vec<StoredStage>>, StoreError> {
        let mut all = self.primary.stages_of(digests)?;
        for (index, other) in self.others.iter().enumerate() {
            // Builds that hold files of git mappings may not suit: what others have comes after them.
            let may_not_suit = |s: &StoredStage| s.annotations.contains_key(ANNOTATION_FILES);
            let lacking = digests.iter().zip(&mut all).filter(|(_, stages)| stages.iter().all(may_not_suit));
            let (digests, slots): (Vec<Sha224Digest>, Vec<_>) = lacking.map(|(digest, slot)| (*digest, slot)).unzip();
            if digests.is_empty() {
                break;
            }
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            for (slot, stages) in slots.into_iter().zip(other.stages_of(&digests)?) {
                found.extend(stages.iter().map(|stage| (stage.manifest.clone(), (index, stage.clone()))));
                let known: BTreeSet<StageId> = slot.iter().map(|stage| stage.id).collect();
                slot.extend(stages.into_iter().filter(|stage| !known.contains(&stage.id)));
            }
        }
        Ok(all)
    }

    /// An image is one of ours: what has a tag elsewhere is known by its stages.
    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        self.primary.images(tags)
    }

    fn newest(&self, names: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        let mut all = self.primary.newest(names)?;
        for (name, slot) in names.iter().zip(&mut all).filter(|(_, slot)| slot.is_none()) {
            let one = std::slice::from_ref(name);
            let found = self.elsewhere(|other| Ok(other.newest(one)?.into_iter().flatten().next()))?;
            *slot = found.map(|(_, image)| image);
        }
        Ok(all)
    }

    fn external(&self, reference: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError> {
        match self.primary.external(reference, platform)? {
            Some(found) => Ok(Some(found)),
            None => Ok(self.elsewhere(|other| other.external(reference, platform))?.map(|(_, image)| image)),
        }
    }

    fn holds_indexes(&self) -> bool {
        self.primary.holds_indexes()
    }

    fn tags(&self) -> Result<Vec<String>, StoreError> {
        self.primary.tags()
    }

    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
        suits: &dyn Fn(&StoredStage) -> bool,
    ) -> Result<Published, StoreError> {
        self.bring(built.layers.iter().chain([&built.config]))?;
        self.primary.publish(digest, built, annotations, created_ms, suits)
    }

    fn tag(&self, tag: &str, name: Option<&str>, manifest: &BlobDigest) -> Result<(), StoreError> {
        let manifest = self.adopt(manifest)?;
        self.primary.tag(tag, name, &manifest)
    }

    fn put_image_as(
        &self,
        tag: &str,
        name: Option<&str>,
        bytes: &[u8],
        manifest: &Manifest,
    ) -> Result<BlobDigest, StoreError> {
        self.bring(manifest.blobs())?;
        self.primary.put_image_as(tag, name, bytes, manifest)
    }
}

impl LayeredStore {
    /// Copies the blobs that only the others have.
    fn bring<'a>(&self, blobs: impl IntoIterator<Item = &'a super::Descriptor>) -> Result<(), StoreError> {
        copy_blobs(self, self.primary.as_ref(), blobs)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::copy::tests::stored;
    use super::super::{Descriptor, MemoryStore};
    use super::*;

    /// A store that the test looks into from outside.
    #[derive(Clone, Default)]
    struct Shared(Arc<MemoryStore>);

    impl BlobStore for Shared {
        fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError> {
            self.0.has(digest)
        }

        fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send>, BlobError> {
            self.0.open(digest)
        }

        fn put(
            &self,
            content: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
        ) -> Result<(BlobDigest, u64), BlobError> {
            self.0.put(content)
        }
    }

    impl StageStore for Shared {
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

        fn tags(&self) -> Result<Vec<String>, StoreError> {
            self.0.tags()
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

    fn layered() -> (Shared, Shared, LayeredStore) {
        let (ours, theirs) = (Shared::default(), Shared::default());
        let layered = LayeredStore::new(Box::new(ours.clone()), vec![Box::new(theirs.clone())]);
        (ours, theirs, layered)
    }

    #[test]
    fn a_stage_that_is_elsewhere_is_found_and_copied_when_it_is_tagged() {
        let (ours, theirs, layered) = layered();
        let stage = stored(&theirs.0, "a");
        theirs.tag("content", Some("web"), &stage.manifest).unwrap();
        assert_eq!(layered.stages(&stage.id.digest).unwrap(), std::slice::from_ref(&stage));
        assert_eq!(layered.images(&["content".into()]).unwrap(), [None], "the tag is to be put in our store");
        assert_eq!(layered.newest(&["web".into()]).unwrap().remove(0).unwrap().tag, "content");
        assert!(ours.tags().unwrap().is_empty(), "looking writes nothing");
        layered.tag("content", Some("web"), &stage.manifest).unwrap();
        assert_eq!(ours.stages(&stage.id.digest).unwrap(), std::slice::from_ref(&stage));
        assert_eq!(ours.images(&["content".into()]).unwrap().remove(0).unwrap().manifest, stage.manifest);
        assert_eq!(theirs.tags().unwrap().len(), 2, "nothing is written elsewhere");
    }

    #[test]
    fn builds_over_other_files_are_looked_for_elsewhere_too() {
        let (ours, theirs, layered) = layered();
        let digest = Sha224Digest::of_bytes(b"bound");
        let holding = |store: &MemoryStore, files: &str, ms| {
            let (config, size) = store.put(&mut |out| out.write_all(files.as_bytes())).unwrap();
            let config = Descriptor { media_type: "application/json".into(), digest: config, size };
            let notes = BTreeMap::from([(ANNOTATION_FILES.to_owned(), files.to_owned())]);
            store.publish(&digest, &BuiltImage { config, layers: Vec::new() }, &notes, ms, &crate::ports::any).unwrap();
        };
        holding(&ours.0, "ours", 9);
        holding(&theirs.0, "theirs", 5);
        let found = layered.stages(&digest).unwrap();
        let files: Vec<&str> = found.iter().map(|stage| stage.annotations[ANNOTATION_FILES].as_str()).collect();
        assert_eq!(files, ["ours", "theirs"], "what is ours needs no copy");
        layered.tag("content", Some("web"), &found[1].manifest).unwrap();
        assert_eq!(ours.stages(&digest).unwrap().len(), 2);
        assert_eq!(layered.stages(&digest).unwrap().len(), 2);
    }

    #[test]
    fn what_is_built_upon_a_stage_from_elsewhere_is_whole() {
        let (ours, theirs, layered) = layered();
        let stage = stored(&theirs.0, "a");
        let base = super::super::oci::read_manifest(&layered, &stage.manifest).unwrap();
        let (digest, size) = layered.put(&mut |out| out.write_all(b"more")).unwrap();
        let more = Descriptor { media_type: "text/plain".into(), digest, size };
        let built = BuiltImage { config: base.config, layers: base.layers.into_iter().chain([more]).collect() };
        layered.publish(&Sha224Digest::of_bytes(b"b"), &built, &BTreeMap::new(), 9, &crate::ports::any).unwrap();
        assert!(built.layers.iter().all(|layer| ours.has(&layer.digest).unwrap()));
    }
}
