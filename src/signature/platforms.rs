//! What is recorded with the index of an image for several platforms: the content-based tag of each.
//!
//! The one idea: the index has no record of ingredients of its own. It names the images that have one.

use std::collections::BTreeMap;

/// Index annotation: the content-based tags of an image on its platforms, as JSON.
pub const ANNOTATION_PLATFORMS: &str = "io.stagewright.platforms";

/// Content-based tags by platform.
pub type PlatformTags = BTreeMap<String, String>;

/// Writes the annotations of an index.
pub fn platform_annotations(tags: &PlatformTags) -> BTreeMap<String, String> {
    let json = serde_json::to_string(tags).expect("strings are JSON");
    BTreeMap::from([(ANNOTATION_PLATFORMS.to_owned(), json)])
}

/// Reads them; none where the annotations are not those of an index, or cannot be read.
pub fn platform_tags(annotations: &BTreeMap<String, String>) -> PlatformTags {
    annotations.get(ANNOTATION_PLATFORMS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}
