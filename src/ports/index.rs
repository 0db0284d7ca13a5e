//! Indexes in stores: an image for several platforms is an index of its manifests.
//!
//! What lives here: making, reading and storing an index of ours. What does not: the JSON (`oci`), choosing a platform
//! of an image of others (the stores).
//!
//! The one idea: an index is a pure function of what it lists. It holds no time and no order but that of platforms,
//! so whoever makes it twice makes the same bytes.

use std::collections::BTreeMap;

use super::blobs::{BlobDigest, BlobStore};
use super::oci::{Index, IndexEntry, MEDIA_INDEX, MEDIA_MANIFEST, Manifest, is_index_media_type};
use super::stage_store::{StageStore, StoreError};
use crate::stage::Platform;

/// What a tag stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// The manifest of an image.
    Manifest(Manifest),
    /// The index of an image for several platforms.
    Index(Index),
}

/// What tells an index from a manifest, and what was recorded with either.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The media type, where the document names it.
    #[serde(default)]
    pub media_type: Option<String>,
    /// There in an index.
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    /// What was recorded with it.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Head {
    /// Reads the head of a manifest or index; `what` names it in the error.
    ///
    /// # Errors
    /// [`StoreError::Invalid`].
    pub fn parse(bytes: &[u8], what: impl Fn() -> String) -> Result<Self, StoreError> {
        serde_json::from_slice(bytes).map_err(|e| StoreError::Invalid { what: what(), why: e.to_string() })
    }

    /// Says whether it is that of an index.
    pub fn is_index(&self) -> bool {
        self.media_type.as_deref().map_or(self.manifests.is_some(), is_index_media_type)
    }

    /// Returns the media type of the document, also where it does not name it.
    pub fn media_type(&self) -> &str {
        let implied = if self.is_index() { MEDIA_INDEX } else { MEDIA_MANIFEST };
        self.media_type.as_deref().unwrap_or(implied)
    }
}

impl Document {
    /// Reads a stored manifest or index.
    ///
    /// # Errors
    /// The blob is absent or corrupted, or is neither.
    pub fn read<S: BlobStore + ?Sized>(store: &S, digest: &BlobDigest) -> Result<Self, StoreError> {
        let bytes = store.read(digest)?;
        let what = || format!("manifest {digest}");
        Ok(if Head::parse(&bytes, what)?.is_index() {
            Self::Index(Index::parse(&bytes, || format!("image index {digest}"))?)
        } else {
            Self::Manifest(Manifest::parse(&bytes, what)?)
        })
    }
}

impl Index {
    /// Lists the manifests of an image; they come by the names of their platforms.
    pub fn of(manifests: Vec<IndexEntry>, annotations: BTreeMap<String, String>) -> Self {
        Self { schema_version: 2, media_type: Some(MEDIA_INDEX.into()), manifests, annotations }
    }

    /// Returns the bytes whose digest names the index.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an index has string keys only")
    }
}

impl IndexEntry {
    /// Describes a stored manifest as that for a platform.
    ///
    /// # Errors
    /// The blob is absent or corrupted, or is no manifest.
    pub fn of<S: BlobStore + ?Sized>(store: &S, platform: Platform, manifest: &BlobDigest) -> Result<Self, StoreError> {
        let bytes = store.read(manifest)?;
        let head = Head::parse(&bytes, || format!("manifest {manifest}"))?;
        Ok(Self {
            media_type: head.media_type().to_owned(),
            digest: manifest.clone(),
            size: bytes.len() as u64,
            platform: Some(platform),
            annotations: BTreeMap::new(),
        })
    }
}

/// Stores an index under a tag, or moves the tag to it; returns its digest. Its manifests are in the store already.
/// For the name see [`StageStore::tag`].
///
/// # Errors
/// The store holds no indexes, lacks a manifest, or failed; the tag is then as it was before.
pub fn put_index(
    store: &dyn StageStore,
    tag: &str,
    name: Option<&str>,
    index: &Index,
) -> Result<BlobDigest, StoreError> {
    check_indexes(store, tag)?;
    let bytes = index.to_bytes();
    let (digest, _) = store.put(&mut |out| out.write_all(&bytes))?;
    store.tag(tag, name, &digest)?;
    Ok(digest)
}

/// Refuses a store that holds no indexes.
pub(super) fn check_indexes(store: &dyn StageStore, tag: &str) -> Result<(), StoreError> {
    if store.holds_indexes() {
        return Ok(());
    }
    let why = "it is for several platforms, and this store holds one platform of an image".to_owned();
    Err(StoreError::Invalid { what: format!("image {tag}"), why })
}

#[cfg(test)]
mod tests {
    use super::super::copy::tests::stored;
    use super::super::{MemoryStore, copy_image};
    use super::*;

    fn platform(architecture: &str) -> Platform {
        Platform { architecture: architecture.into(), ..Platform::linux_amd64() }
    }

    fn made(store: &MemoryStore) -> Index {
        let entry = |architecture: &str| {
            IndexEntry::of(store, platform(architecture), &stored(store, architecture).manifest).unwrap()
        };
        let notes = BTreeMap::from([("of".to_owned(), "both".to_owned())]);
        Index::of(vec![entry("amd64"), entry("arm64")], notes)
    }

    #[test]
    fn an_index_has_the_same_bytes_whenever_it_is_made() {
        let (one, two) = (made(&MemoryStore::default()), made(&MemoryStore::default()));
        assert_eq!(one.to_bytes(), two.to_bytes());
        let text = String::from_utf8(one.to_bytes()).unwrap();
        assert!(
            text.starts_with(&format!(r#"{{"schemaVersion":2,"mediaType":"{MEDIA_INDEX}","manifests":["#)),
            "{text}"
        );
        assert!(text.contains(r#""platform":{"os":"linux","architecture":"arm64"}"#), "{text}");
    }

    #[test]
    fn a_copy_of_an_index_has_its_digest_and_all_of_its_manifests() {
        let (from, to) = (MemoryStore::default(), MemoryStore::default());
        let index = made(&from);
        let digest = put_index(&from, "t", Some("web"), &index).unwrap();
        assert_eq!(copy_image(&from, &to, &digest, "u", Some("web")).unwrap(), digest);
        assert_eq!(Document::read(&to, &digest).unwrap(), Document::Index(index.clone()));
        for entry in &index.manifests {
            let Document::Manifest(manifest) = Document::read(&to, &entry.digest).unwrap() else { panic!() };
            assert!(manifest.blobs().all(|blob| to.has(&blob.digest).unwrap()));
        }
        let found = to.newest(&["web".into()]).unwrap().remove(0).unwrap();
        assert_eq!((found.tag.as_str(), found.annotations), ("u", index.annotations));
        let chosen = to.external("u", &platform("arm64")).unwrap().unwrap();
        assert_eq!(Some(&chosen.manifest), index.manifests.get(1).map(|entry| &entry.digest));
        assert!(to.external("u", &platform("s390x")).unwrap_err().to_string().contains("linux/s390x"));
    }
}
