//! Copies between stores: blobs that are missing, then what names them.

use super::blobs::{BlobDigest, BlobError, Descriptor};
use super::builder::BuiltImage;
use super::index::{Document, check_indexes};
use super::oci::{Manifest, read_manifest};
use super::stage_store::{Published, StageStore, StoreError, StoredStage};
use crate::signature::ANNOTATION_FILES;

/// Copies what a manifest names, where it is missing.
///
/// # Errors
/// A blob is absent or corrupted, or a store failed. Nothing but unreferenced blobs is left behind.
pub fn copy_blobs<'a>(
    from: &dyn StageStore,
    to: &dyn StageStore,
    blobs: impl IntoIterator<Item = &'a Descriptor>,
) -> Result<(), StoreError> {
    for blob in blobs {
        if !to.has(&blob.digest)? {
            copy_blob(from, to, &blob.digest)?;
        }
    }
    Ok(())
}

fn copy_blob(from: &dyn StageStore, to: &dyn StageStore, digest: &BlobDigest) -> Result<(), StoreError> {
    let mut reader = from.open(digest)?;
    // The reader checks the digest when it comes to the end.
    let (stored, _) = to.put(&mut |out| std::io::copy(&mut reader, out).map(|_| ()))?;
    if stored == *digest {
        Ok(())
    } else {
        Err(BlobError::Corrupted { digest: digest.clone(), place: format!("the copy of blob {digest}") }.into())
    }
}

/// Copies a stored build of a stage with its id, unless one of that digest and of the same files is there.
///
/// # Errors
/// As [`copy_blobs`].
pub fn copy_stage(from: &dyn StageStore, to: &dyn StageStore, stage: &StoredStage) -> Result<StoredStage, StoreError> {
    // Builds of one stage that hold other files are not the same.
    let same = |there: &StoredStage| there.annotations.get(ANNOTATION_FILES) == stage.annotations.get(ANNOTATION_FILES);
    if let Some(there) = to.stages(&stage.id.digest)?.into_iter().find(same) {
        return Ok(there);
    }
    let manifest = read_manifest(from, &stage.manifest)?;
    copy_blobs(from, to, manifest.blobs())?;
    let built = BuiltImage { config: manifest.config, layers: manifest.layers };
    match to.publish(&stage.id.digest, &built, &stage.annotations, stage.id.created_ms, &same)? {
        Published::Stored(stage) | Published::Existing(stage) => Ok(stage),
    }
}

/// Copies an image, on all of its platforms, and puts a tag on it; the copy has the same digest. See [`StageStore::put_image`] for the name.
///
/// # Errors
/// As [`copy_blobs`]; or the store cannot hold the manifest as it is.
pub fn copy_image(
    from: &dyn StageStore,
    to: &dyn StageStore,
    image: &BlobDigest,
    tag: &str,
    name: Option<&str>,
) -> Result<BlobDigest, StoreError> {
    let index = match Document::read(from, image)? {
        Document::Manifest(manifest) => {
            copy_blobs(from, to, manifest.blobs())?;
            // Its digest is that of the bytes in which somebody else may have written it.
            let stored = to.put_image_as(tag, name, &from.read(image)?, &manifest)?;
            if stored != *image {
                let why = format!("its copy has the digest {stored}: the store writes manifests in a way of its own");
                return Err(StoreError::Invalid { what: format!("image {image}"), why });
            }
            return Ok(stored);
        }
        Document::Index(index) => index,
    };
    check_indexes(to, tag)?;
    for entry in &index.manifests {
        copy_manifest(from, to, &entry.digest)?;
    }
    copy_blob(from, to, image)?;
    to.tag(tag, name, image)?;
    Ok(image.clone())
}

/// Copies a manifest and what it names.
///
/// # Errors
/// As [`copy_blobs`].
pub fn copy_manifest(from: &dyn StageStore, to: &dyn StageStore, manifest: &BlobDigest) -> Result<(), StoreError> {
    copy_blobs(from, to, read_manifest(from, manifest)?.blobs())?;
    copy_blob(from, to, manifest)
}

impl Manifest {
    /// Returns the configuration and the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().chain([&self.config])
    }

    /// Returns the size of the configuration and the layers. Unit: bytes.
    pub fn size(&self) -> u64 {
        self.blobs().map(|blob| blob.size).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::super::{BlobStore as _, MemoryStore};
    use super::*;
    use crate::digest::Sha224Digest;

    pub fn stored(store: &MemoryStore, content: &str) -> StoredStage {
        let blob = |text: String| {
            let (digest, size) = store.put(&mut |out| out.write_all(text.as_bytes())).unwrap();
            Descriptor { media_type: "text/plain".into(), digest, size }
        };
        let built = BuiltImage { config: blob("{}".into()), layers: vec![blob(content.into())] };
        let notes = BTreeMap::from([("note".to_owned(), content.to_owned())]);
        match store.publish(&Sha224Digest::of_bytes(content.as_bytes()), &built, &notes, 7, &crate::ports::any).unwrap()
        {
            Published::Stored(stage) | Published::Existing(stage) => stage,
        }
    }

    #[test]
    fn a_copied_stage_keeps_its_id_and_its_digest() {
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let stage = stored(&from, "a");
        assert_eq!(copy_stage(&from, &to, &stage).unwrap(), stage);
        assert_eq!(to.stages(&stage.id.digest).unwrap(), std::slice::from_ref(&stage));
        let older = StoredStage { id: crate::ports::StageId { created_ms: 3, ..stage.id }, ..stage.clone() };
        assert_eq!(copy_stage(&from, &to, &older).unwrap(), stage, "what is there is used");
        assert!(read_manifest(&to, &stage.manifest).unwrap().blobs().all(|b| to.has(&b.digest).unwrap()));
    }

    #[test]
    fn a_copied_image_has_the_same_digest_and_a_tag() {
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let stage = stored(&from, "a");
        assert_eq!(copy_image(&from, &to, &stage.manifest, "v1", Some("web")).unwrap(), stage.manifest);
        let image = to.images(&["v1".into()]).unwrap().remove(0).unwrap();
        assert_eq!((image.manifest, &image.annotations), (stage.manifest, &stage.annotations));
        assert_eq!(to.newest(&["web".into()]).unwrap().remove(0).unwrap().tag, "v1");
    }
    #[test]
    fn a_manifest_that_others_wrote_is_copied_as_it_is() {
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let manifest = read_manifest(&from, &stored(&from, "a").manifest).unwrap();
        let indented = serde_json::to_vec_pretty(&manifest).unwrap();
        let (digest, _) = from.put(&mut |out| out.write_all(&indented)).unwrap();
        assert_eq!(copy_image(&from, &to, &digest, "v1", None).unwrap(), digest);
        assert_eq!(to.images(&["v1".into()]).unwrap().remove(0).unwrap().manifest, digest);
    }
}
