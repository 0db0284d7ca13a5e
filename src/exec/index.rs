//! Tagging an image for several platforms: an index over what the tags of its platforms stand on.

use std::collections::BTreeMap;

use super::work::{Done, MOST_TAGS, WorkError};
use crate::ports::oci::{Index, IndexEntry};
use crate::ports::{StageStore, StoreError, put_index};
use crate::signature::platform_annotations;
use crate::stage::Platform;

/// Makes the index of an image and puts its content-based tag on it.
pub(super) fn tag_index(
    store: &dyn StageStore,
    image: &str,
    signature: &str,
    platforms: &BTreeMap<String, String>,
) -> Result<Done, WorkError> {
    let mut index = index_of(store, platforms)?;
    for _ in 0..MOST_TAGS {
        put_index(store, signature, Some(image), &index)?;
        // The tag of a platform may have moved to an older build meanwhile: everybody looks again.
        let now = index_of(store, platforms)?;
        if now == index {
            break;
        }
        index = now;
    }
    Ok(Done::Now)
}

/// Puts a tag of the user's choice where the content-based one stands.
pub(super) fn tag_as(store: &dyn StageStore, tag: &str, signature: &str) -> Result<Done, WorkError> {
    let image = store.images(&[signature.to_owned()])?.into_iter().flatten().next();
    let image = image.ok_or_else(|| WorkError::NoImage(signature.to_owned()))?;
    store.tag(tag, None, &image.manifest)?;
    Ok(Done::Now)
}

fn index_of(store: &dyn StageStore, platforms: &BTreeMap<String, String>) -> Result<Index, WorkError> {
    let tags: Vec<String> = platforms.values().cloned().collect();
    let mut entries = Vec::with_capacity(tags.len());
    for ((platform, tag), found) in platforms.iter().zip(store.images(&tags)?) {
        let found = found.ok_or_else(|| WorkError::NoImage(tag.clone()))?;
        let platform = Platform::parse(platform).ok_or_else(|| StoreError::Invalid {
            what: format!("platform `{platform}`"),
            why: "it is not OS/ARCHITECTURE".to_owned(),
        })?;
        entries.push(IndexEntry::of(store, platform, &found.manifest)?);
    }
    Ok(Index::of(entries, platform_annotations(platforms)))
}
