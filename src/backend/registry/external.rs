//! Images of others: found in their own registries, or in a mirror, and remembered with where they are.

use super::address::DOCKER;
use super::manifests::{self, Document};
use super::{RegistryOptions, RegistryStore, Repository, failed, held};
use crate::ports::oci::{Index, Manifest, is_index_media_type};
use crate::ports::{StoreError, StoredImage};
use crate::stage::Platform;

/// How deep an index may stand in an index.
const MAX_INDEX_DEPTH: usize = 4;

impl RegistryStore {
    /// Finds an image by its reference, for a platform.
    pub(super) async fn image_of_others(
        &self,
        reference: &str,
        platform: &Platform,
    ) -> Result<Option<StoredImage>, StoreError> {
        let Some((repository, tag)) = Repository::of_reference(reference) else { return Ok(None) };
        let mut found = None;
        for mirror in self.mirrors_of(&repository) {
            // A mirror that is down or does not have it is no fault: there is the registry itself.
            if let Ok(Some(document)) = self.document(&mirror, &tag, reference).await {
                found = Some((mirror, document));
                break;
            }
        }
        let (place, mut document) = match found {
            Some(found) => found,
            None => match self.document(&repository, &tag, reference).await? {
                Some(document) => (repository, document),
                None => return Ok(None),
            },
        };
        for _ in 0..MAX_INDEX_DEPTH {
            if !is_index(&document) {
                return self.remember(reference, &place, &document).map(Some);
            }
            let index = Index::parse(&document.bytes, || format!("image index `{reference}`"))?;
            let Some(entry) = index.for_platform(platform) else {
                let offered = index.manifests.iter().filter_map(|e| e.platform.as_ref()).map(ToString::to_string);
                let offered = offered.collect::<Vec<_>>().join(", ");
                let why = format!("it is not there for {platform}, only for {offered}");
                return Err(StoreError::Invalid { what: format!("image `{reference}`"), why });
            };
            let below = self.document(&place, &entry.digest.to_string(), reference).await?;
            document = below.ok_or_else(|| StoreError::Invalid {
                what: format!("image `{reference}`"),
                why: format!("its index names the manifest {}, which is not there", entry.digest),
            })?;
        }
        let why = "its indexes stand too deep in each other".to_owned();
        Err(StoreError::Invalid { what: format!("image `{reference}`"), why })
    }

    /// Where an image of `docker.io` is looked for first.
    fn mirrors_of(&self, repository: &Repository) -> Vec<Repository> {
        if repository.host != DOCKER {
            return Vec::new();
        }
        let mirrored = self.options.mirrors.iter().map(|mirror| {
            let (scheme, address) = mirror.split_once("://").unwrap_or(("https", mirror));
            let address = address.trim_end_matches('/');
            let (host, path) = match address.split_once('/') {
                Some((host, prefix)) => (host, format!("{prefix}/{}", repository.path)),
                None => (address, repository.path.clone()),
            };
            if scheme == "http" {
                // Its session is made here, so that it is spoken to in this way.
                self.session_with(host, &RegistryOptions { insecure: true, ..self.options.clone() });
            }
            Repository { host: host.to_owned(), path }
        });
        mirrored.collect()
    }

    async fn document(&self, place: &Repository, tag: &str, reference: &str) -> Result<Option<Document>, StoreError> {
        let found = manifests::get(&self.session(&place.host), &place.path, tag).await;
        found.map_err(failed(format!("read the manifest of `{reference}` from {place}")))
    }

    /// Keeps a manifest, and where its blobs are.
    fn remember(&self, reference: &str, place: &Repository, document: &Document) -> Result<StoredImage, StoreError> {
        let manifest = Manifest::parse(&document.bytes, || format!("manifest of `{reference}`"))?;
        let mut sources = held(&self.sources);
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            sources.entry(blob.digest.clone()).or_default().insert(place.clone());
        }
        drop(sources);
        let digest = self.keep(&document.bytes)?;
        Ok(StoredImage { tag: reference.to_owned(), manifest: digest, annotations: manifest.annotations })
    }
}

/// Says whether a document lists manifests; the registry's word counts only where the document says nothing.
fn is_index(document: &Document) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let head: Option<Head> = serde_json::from_slice(&document.bytes).ok();
    match head {
        Some(Head { media_type: Some(media_type), .. }) => is_index_media_type(&media_type),
        Some(head) => head.manifests.is_some() || is_index_media_type(&document.media_type),
        None => is_index_media_type(&document.media_type),
    }
}
