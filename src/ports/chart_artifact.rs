//! Charts in a store of images: what Helm pushes to a registry, and pulls from there.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::blobs::{BlobDigest, BlobError, Descriptor};
use super::builder::BuiltImage;
use super::index::Document;
use super::oci::Manifest;
use super::stage_store::{StageStore, StoreError};

/// The configuration of a chart in a registry. Source: Helm.
pub const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
/// The layer that is the chart's archive, now, and in old versions of Helm and in werf. The first is written.
pub const CHART_LAYERS: [&str; 2] = ["application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/tar+gzip"];
/// The largest archive that is read. Unit: bytes.
const MAX_ARCHIVE: u64 = 100 << 20;

/// A chart that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledChart {
    /// The digest of its manifest.
    pub digest: BlobDigest,
    /// Its archive.
    pub archive: Vec<u8>,
}

/// Why no chart was pulled or pushed.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// What has the tag is something else.
    #[error("it is no chart: {why}")]
    NoChart {
        /// What it is.
        why: String,
    },
    /// An image has the tag.
    #[error("the tag `{tag}` is taken: an image has it, and no chart is put in its place")]
    Taken {
        /// The tag.
        tag: String,
    },
    /// The store failed, or what it holds is corrupted.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BlobError> for ChartError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

/// Pulls the chart under a tag; `None` where there is nothing.
///
/// # Errors
/// What is there is no chart, is too large or corrupted, or the store failed.
pub fn pull_chart(store: &dyn StageStore, tag: &str) -> Result<Option<PulledChart>, ChartError> {
    let Some(found) = store.images(&[tag.to_owned()])?.into_iter().flatten().next() else { return Ok(None) };
    let no_chart = |why: String| ChartError::NoChart { why };
    let invalid = |why: String| StoreError::Invalid { what: format!("chart `{tag}`"), why };
    let manifest = match Document::read(store, &found.manifest)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(_) => return Err(no_chart("it is an image for several platforms".to_owned())),
    };
    if manifest.config.media_type != CHART_CONFIG {
        return Err(no_chart(format!("its configuration is {}", manifest.config.media_type)));
    }
    let layer = manifest.layers.iter().find(|layer| CHART_LAYERS.contains(&layer.media_type.as_str()));
    let layer = layer.ok_or_else(|| invalid("its manifest names no archive of a chart".to_owned()))?;
    let too_large = || invalid(format!("it is larger than {MAX_ARCHIVE} bytes"));
    if layer.size > MAX_ARCHIVE {
        return Err(too_large().into());
    }
    let mut archive = Vec::new();
    let read = store.open(&layer.digest)?.take(MAX_ARCHIVE + 1).read_to_end(&mut archive);
    read.map_err(|e| BlobError::from_io(format!("read blob {}", layer.digest), e))?;
    if archive.len() as u64 > MAX_ARCHIVE {
        return Err(too_large().into());
    }
    Ok(Some(PulledChart { digest: found.manifest, archive }))
}

/// Pushes a chart, of its archive and its Chart.yaml as JSON, and puts a tag on it; returns the digest of its manifest, and
/// whether it was there already as it is.
///
/// # Errors
/// As [`chart_under`]; the tag is then as it was before.
pub fn push_chart(
    store: &dyn StageStore,
    tag: &str,
    (archive, config): (&[u8], &[u8]),
    annotations: &BTreeMap<String, String>,
) -> Result<(BlobDigest, bool), ChartError> {
    let descriptor = |media_type: &str, bytes: &[u8]| Descriptor {
        media_type: media_type.to_owned(),
        digest: BlobDigest::of(bytes),
        size: bytes.len() as u64,
    };
    let [layer, _] = CHART_LAYERS;
    let built = BuiltImage { config: descriptor(CHART_CONFIG, config), layers: vec![descriptor(layer, archive)] };
    let manifest = Manifest::of(&built, annotations);
    let digest = BlobDigest::of(&manifest.to_bytes());
    if chart_under(store, tag)?.is_some_and(|there| there == digest) {
        return Ok((digest, true));
    }
    for bytes in [config, archive] {
        store.put(&mut |out| out.write_all(bytes))?;
    }
    Ok((store.put_image(tag, None, &manifest)?, false))
}

/// Returns the manifest of the chart under a tag, if there is one.
///
/// # Errors
/// An image has the tag, which no chart may take from it; or the store failed.
pub fn chart_under(store: &dyn StageStore, tag: &str) -> Result<Option<BlobDigest>, ChartError> {
    let Some(there) = store.images(&[tag.to_owned()])?.into_iter().flatten().next() else { return Ok(None) };
    match Document::read(store, &there.manifest)? {
        Document::Manifest(manifest) if manifest.config.media_type == CHART_CONFIG => Ok(Some(there.manifest)),
        Document::Manifest(_) | Document::Index(_) => Err(ChartError::Taken { tag: tag.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    #[test]
    fn a_pushed_chart_is_pulled_and_pushed_once() {
        let store = MemoryStore::default();
        let notes = BTreeMap::new();
        assert_eq!(pull_chart(&store, "v1").unwrap(), None);
        let (digest, there) = push_chart(&store, "v1", (b"archive", b"{}"), &notes).unwrap();
        assert!(!there);
        assert_eq!(push_chart(&store, "v1", (b"archive", b"{}"), &notes).unwrap(), (digest.clone(), true));
        assert_eq!(pull_chart(&store, "v1").unwrap(), Some(PulledChart { digest, archive: b"archive".to_vec() }));
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        let store = MemoryStore::default();
        let stage = super::super::copy::tests::stored(&store, "a");
        store.tag("v1", None, &stage.manifest).unwrap();
        assert!(pull_chart(&store, "v1").unwrap_err().to_string().contains("it is no chart"));
        let pushed = push_chart(&store, "v1", (b"archive", b"{}"), &BTreeMap::new());
        assert!(pushed.unwrap_err().to_string().contains("an image has it"));
        assert_eq!(store.images(&["v1".into()]).unwrap()[0].as_ref().unwrap().manifest, stage.manifest);
    }
}
