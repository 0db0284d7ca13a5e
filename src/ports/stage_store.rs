//! The stage store port: which stages and images exist, and publishing new ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::blobs::{BlobDigest, BlobError, BlobStore};
use super::builder::BuiltImage;
use super::oci::Manifest;
use crate::digest::Sha224Digest;
use crate::stage::{ImageRef, Platform};

/// Names one stored build of a stage, written `DIGEST-TIMESTAMP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId {
    /// The stage digest.
    pub digest: Sha224Digest,
    /// When it was published. Unit: milliseconds since the Unix epoch.
    pub created_ms: u64,
}

impl StageId {
    /// Reads 56 hexadecimal digits, a dash and decimal digits; `None` for anything else.
    pub fn parse(tag: &str) -> Option<Self> {
        let (digest, ms) = tag.split_once('-')?;
        if ms.is_empty() || !ms.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self { digest: Sha224Digest::from_hex(digest)?, created_ms: ms.parse().ok()? })
    }
}

impl std::fmt::Display for StageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.digest, self.created_ms)
    }
}

impl Serialize for StageId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StageId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a stage id is DIGEST-MILLISECONDS"))
    }
}

/// A stored build of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredStage {
    /// Its id.
    pub id: StageId,
    /// Its manifest.
    pub manifest: BlobDigest,
    /// The annotations of its manifest: what was recorded when it was built.
    pub annotations: BTreeMap<String, String>,
}

/// A stored image: a content-based tag (or another name) on a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// The tag.
    pub tag: String,
    /// Its manifest, or its index where it is for several platforms.
    pub manifest: BlobDigest,
    /// The annotations of either.
    pub annotations: BTreeMap<String, String>,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Ours is stored.
    Stored(StoredStage),
    /// Somebody was faster: theirs is used, ours discarded.
    Existing(StoredStage),
}

/// Why the stage store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A blob failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A manifest or an index is not what it should be.
    #[error("{what} is not valid: {why}")]
    Invalid {
        /// Which object.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// Input or output failed.
    #[error("{attempt}")]
    Io {
        /// What was attempted, on which object.
        attempt: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Every stored build of a stage suits.
pub fn any(_: &StoredStage) -> bool {
    true
}

/// Knows stages and images by digest and tag. Stored stages are never overwritten.
pub trait StageStore: BlobStore {
    /// Returns the stored builds of a stage, oldest first.
    ///
    /// # Errors
    /// The store failed. A candidate whose manifest is missing or broken is left out, not an error.
    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError>;

    /// Returns the stored builds of several stages, each oldest first; in fewer round trips where the store can.
    ///
    /// # Errors
    /// As [`StageStore::stages`].
    fn stages_of(&self, digests: &[Sha224Digest]) -> Result<Vec<Vec<StoredStage>>, StoreError> {
        digests.iter().map(|digest| self.stages(digest)).collect()
    }

    /// Returns the image under each tag, or of each digest (`sha256:…`), `None` where there is none; one round trip where
    /// the store can.
    ///
    /// # Errors
    /// The store failed.
    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError>;

    /// Returns the image that was stored last under each name, `None` where there is none.
    ///
    /// # Errors
    /// The store failed.
    fn newest(&self, names: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError>;

    /// Returns the image of somebody else under its reference, in short or full form, for a platform.
    ///
    /// # Errors
    /// The store failed, or holds the image in a form that cannot be read.
    fn external(&self, reference: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError>;

    /// Stores a built stage, unless a suitable one of that digest is there meanwhile; the oldest such is used.
    ///
    /// The blobs are in the store already. `created_ms` is moved on until it is unique. `suits` says which stored
    /// builds may be used in place of ours; [`any`] where the digest tells all content.
    ///
    /// # Errors
    /// The store failed; it is then as it was before.
    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
        suits: &dyn Fn(&StoredStage) -> bool,
    ) -> Result<Published, StoreError>;

    /// Puts a tag on a stored manifest, or on an index whose manifests are stored, as the newest image of a name; on another manifest it is moved. Images of equal
    /// content have one tag.
    /// A tag of the user's choice has no name: what is newest under a name is found by content-based tags alone.
    ///
    /// # Errors
    /// The manifest is absent, or the store failed; it is then as it was before.
    fn tag(&self, tag: &str, name: Option<&str>, manifest: &BlobDigest) -> Result<(), StoreError>;

    /// Stores an image that is no stage, under a tag, or moves the tag to it; returns its digest. The blobs are in the
    /// store already. For the name see [`StageStore::tag`].
    ///
    /// # Errors
    /// The store failed; the tag is then as it was before.
    fn put_image(&self, tag: &str, name: Option<&str>, manifest: &Manifest) -> Result<BlobDigest, StoreError> {
        self.put_image_as(tag, name, &manifest.to_bytes(), manifest)
    }

    /// Stores an image as [`StageStore::put_image`] does, with a manifest that is written in these bytes: others indent
    /// theirs, and note what we do not know.
    ///
    /// # Errors
    /// The store failed; the tag is then as it was before.
    fn put_image_as(
        &self,
        tag: &str,
        name: Option<&str>,
        bytes: &[u8],
        _manifest: &Manifest,
    ) -> Result<BlobDigest, StoreError> {
        let (digest, _) = self.put(&mut |out| out.write_all(bytes))?;
        self.tag(tag, name, &digest)?;
        Ok(digest)
    }

    /// Says whether it can hold an image for several platforms.
    fn holds_indexes(&self) -> bool {
        true
    }

    /// Returns every tag, those of stages included, in any order.
    ///
    /// # Errors
    /// The store failed, or cannot list what it holds.
    fn tags(&self) -> Result<Vec<String>, StoreError> {
        let why = "this store cannot list it".to_owned();
        Err(StoreError::Invalid { what: "the list of all tags".to_owned(), why })
    }

    /// Returns the manifest of an image or stage; of several stored builds of a stage, the oldest.
    ///
    /// # Errors
    /// The store failed.
    fn resolve(&self, image: &ImageRef, platform: &Platform) -> Result<Option<BlobDigest>, StoreError> {
        Ok(match image {
            ImageRef::Project { signature, .. } => {
                let found = self.images(&[signature.to_string()])?;
                found.into_iter().flatten().next().map(|image| image.manifest)
            }
            ImageRef::Stage { digest, created_ms, .. } => {
                let is_meant = |stage: &StoredStage| created_ms.is_none_or(|ms| ms == stage.id.created_ms);
                self.stages(digest)?.into_iter().find(is_meant).map(|stage| stage.manifest)
            }
            ImageRef::External { reference } => self.external(reference, platform)?.map(|image| image.manifest),
        })
    }
}
