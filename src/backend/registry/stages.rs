//! The store as a store of stages and images.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::address::{is_tag, newest_tag};
use super::manifests::{self, Document};
use super::{REQUESTS, RegistryStore, UPLOADS, failed};
use crate::backend::runtime;
use crate::digest::Sha224Digest;
use crate::ports::oci::{Index, IndexEntry, MEDIA_MANIFEST, Manifest};
use crate::ports::{
    BlobDigest, BlobStore as _, BuiltImage, Descriptor, Head, Published, StageId, StageStore, StoreError, StoredImage,
    StoredStage,
};
use crate::stage::Platform;

/// The blob of manifests that are nothing but annotations. Source: OCI image specification, empty descriptor.
const EMPTY: &[u8] = b"{}";
/// Its media type.
const MEDIA_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The image whose newest tag a manifest names.
const ANNOTATION_NAME: &str = "io.stagewright.newest.name";
/// That tag.
const ANNOTATION_TAG: &str = "io.stagewright.newest.tag";
/// For so many stages at once all tags are listed, instead of those of each stage.
const MANY: usize = 8;

impl StageStore for RegistryStore {
    fn stages(&self, digest: &Sha224Digest) -> Result<Vec<StoredStage>, StoreError> {
        runtime::block_on(async {
            let ids = self.ids(digest).await?;
            self.described(&ids).await
        })
    }

    fn stages_of(&self, digests: &[Sha224Digest]) -> Result<Vec<Vec<StoredStage>>, StoreError> {
        if digests.len() < MANY {
            return digests.iter().map(|digest| self.stages(digest)).collect();
        }
        runtime::block_on(async {
            let all = self.tags_with("").await?;
            let mut ids: BTreeMap<Sha224Digest, Vec<StageId>> = BTreeMap::new();
            for id in all.iter().filter_map(|tag| StageId::parse(tag)) {
                ids.entry(id.digest).or_default().push(id);
            }
            let wanted: Vec<StageId> = digests.iter().filter_map(|d| ids.get(d)).flatten().copied().collect();
            let mut found: BTreeMap<Sha224Digest, Vec<StoredStage>> = BTreeMap::new();
            for stage in self.described(&wanted).await? {
                found.entry(stage.id.digest).or_default().push(stage);
            }
            Ok(digests.iter().map(|digest| found.get(digest).cloned().unwrap_or_default()).collect())
        })
    }

    fn images(&self, tags: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        runtime::block_on(stream::iter(tags).map(|tag| self.image(tag)).buffered(REQUESTS).try_collect())
    }

    fn newest(&self, names: &[String]) -> Result<Vec<Option<StoredImage>>, StoreError> {
        runtime::block_on(stream::iter(names).map(|name| self.newest_of(name)).buffered(REQUESTS).try_collect())
    }

    fn external(&self, reference: &str, platform: &Platform) -> Result<Option<StoredImage>, StoreError> {
        runtime::block_on(self.image_of_others(reference, platform))
    }

    fn tags(&self) -> Result<Vec<String>, StoreError> {
        runtime::block_on(self.tags_with(""))
    }

    fn publish(
        &self,
        digest: &Sha224Digest,
        built: &BuiltImage,
        annotations: &BTreeMap<String, String>,
        created_ms: u64,
        suits: &dyn Fn(&StoredStage) -> bool,
    ) -> Result<Published, StoreError> {
        runtime::block_on(async {
            let blobs = built.layers.iter().chain([&built.config]);
            stream::iter(blobs)
                .map(|blob| self.bring(&blob.digest))
                .buffer_unordered(UPLOADS)
                .try_collect::<()>()
                .await?;
            let before = self.ids(digest).await?;
            if let Some(existing) = self.described(&before).await?.into_iter().find(suits) {
                return Ok(Published::Existing(existing));
            }
            let mut id = StageId { digest: *digest, created_ms };
            while before.contains(&id) {
                id.created_ms += 1;
            }
            let bytes = Manifest::of(built, annotations).to_bytes();
            let manifest = self.keep(&bytes)?;
            self.put_manifest(&id.to_string(), MEDIA_MANIFEST, &bytes).await?;
            // Others may have stored theirs between our look and our deed. Everybody looks again and takes the oldest.
            let mut after = self.ids(digest).await?;
            if !after.contains(&id) {
                after.push(id);
                after.sort();
            }
            let ours = StoredStage { id, manifest, annotations: annotations.clone() };
            let oldest = self.described(&after).await?.into_iter().find(suits).unwrap_or_else(|| ours.clone());
            Ok(if oldest == ours { Published::Stored(ours) } else { Published::Existing(oldest) })
        })
    }

    fn put_image_as(
        &self,
        tag: &str,
        name: Option<&str>,
        bytes: &[u8],
        manifest: &Manifest,
    ) -> Result<BlobDigest, StoreError> {
        check_tag(tag)?;
        let digest = self.keep(bytes)?;
        runtime::block_on(async {
            let blobs = stream::iter(manifest.blobs()).map(|blob| self.bring(&blob.digest));
            blobs.buffer_unordered(UPLOADS).try_collect::<()>().await?;
            self.move_tag(tag, manifest.media_type.as_deref().unwrap_or(MEDIA_MANIFEST), bytes).await?;
            match name {
                Some(name) => self.remember_newest(name, tag).await,
                None => Ok(()),
            }
        })?;
        Ok(digest)
    }

    fn tag(&self, tag: &str, name: Option<&str>, manifest: &BlobDigest) -> Result<(), StoreError> {
        check_tag(tag)?;
        let bytes = self.read(manifest)?;
        let head = Head::parse(&bytes, || format!("manifest {manifest}"))?;
        // They are put before the index that names them; what is not in the cache is read outside of the runtime.
        let manifests = if head.is_index() { self.manifests_of(manifest, &bytes)? } else { Vec::new() };
        runtime::block_on(async {
            for (digest, bytes) in &manifests {
                self.bring_manifest(digest, bytes).await?;
            }
            self.move_tag(tag, head.media_type(), &bytes).await?;
            match name {
                Some(name) => self.remember_newest(name, tag).await,
                None => Ok(()),
            }
        })
    }
}

impl RegistryStore {
    async fn tags_with(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let listed = manifests::tags(&self.own(), &self.repository.path, prefix).await;
        listed.map_err(failed(format!("list the tags of {}", self.repository)))
    }

    /// The stored builds of a stage by their tags, oldest first.
    async fn ids(&self, digest: &Sha224Digest) -> Result<Vec<StageId>, StoreError> {
        let tags = self.tags_with(&format!("{digest}-")).await?;
        let mut ids: Vec<StageId> = tags.iter().filter_map(|tag| StageId::parse(tag)).collect();
        ids.sort();
        Ok(ids)
    }

    /// Reads what was recorded with stages. One that is gone or cannot be read is left out.
    async fn described(&self, ids: &[StageId]) -> Result<Vec<StoredStage>, StoreError> {
        let one = |id: StageId| async move {
            match self.image(&id.to_string()).await {
                Ok(image) => Ok(image.map(|i| StoredStage { id, manifest: i.manifest, annotations: i.annotations })),
                Err(StoreError::Invalid { .. }) => Ok(None),
                Err(e) => Err(e),
            }
        };
        let found = stream::iter(ids.to_vec()).map(one).buffered(REQUESTS).try_collect::<Vec<_>>().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Reads the manifest under a tag, and keeps it.
    async fn image(&self, tag: &str) -> Result<Option<StoredImage>, StoreError> {
        if !is_tag(tag) && BlobDigest::parse(tag).is_none() {
            return Ok(None);
        }
        let Some(Document { bytes, .. }) = self.manifest(tag).await? else { return Ok(None) };
        let annotations = Head::parse(&bytes, || format!("manifest {}:{tag}", self.repository))?.annotations;
        let manifest = self.keep(&bytes)?;
        Ok(Some(StoredImage { tag: tag.to_owned(), manifest, annotations: annotations.unwrap_or_default() }))
    }

    async fn manifest(&self, tag: &str) -> Result<Option<Document>, StoreError> {
        let found = manifests::get(&self.own(), &self.repository.path, tag).await;
        found.map_err(failed(format!("read manifest {}:{tag}", self.repository)))
    }

    async fn put_manifest(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let put = manifests::put(&self.own(), &self.repository.path, tag, media_type, bytes).await;
        put.map_err(failed(format!("store manifest {}:{tag}", self.repository)))
    }

    /// Reads the manifests that an index lists.
    fn manifests_of(&self, digest: &BlobDigest, index: &[u8]) -> Result<Vec<(BlobDigest, Vec<u8>)>, StoreError> {
        let index = Index::parse(index, || format!("image index {digest}"))?;
        let read = |entry: IndexEntry| Ok((entry.digest.clone(), self.read(&entry.digest)?));
        index.manifests.into_iter().map(read).collect()
    }

    /// Makes sure that our repository has a manifest, and what it names.
    async fn bring_manifest(&self, digest: &BlobDigest, bytes: &[u8]) -> Result<(), StoreError> {
        let name = digest.to_string();
        if self.manifest(&name).await?.is_some() {
            return Ok(());
        }
        let manifest = Manifest::parse(bytes, || format!("manifest {digest}"))?;
        let blobs = stream::iter(manifest.blobs()).map(|blob| self.bring(&blob.digest));
        blobs.buffer_unordered(UPLOADS).try_collect::<()>().await?;
        self.put_manifest(&name, manifest.media_type.as_deref().unwrap_or(MEDIA_MANIFEST), bytes).await
    }

    /// Notes that a tag is the newest of a name. Who comes last is right.
    async fn remember_newest(&self, name: &str, tag: &str) -> Result<(), StoreError> {
        let digest = self.keep(EMPTY)?;
        self.bring(&digest).await?;
        let empty = Descriptor { media_type: MEDIA_EMPTY.into(), digest, size: EMPTY.len() as u64 };
        let notes = [(ANNOTATION_NAME, name), (ANNOTATION_TAG, tag)];
        let annotations = notes.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let nothing = BuiltImage { config: empty.clone(), layers: vec![empty] };
        let bytes = Manifest::of(&nothing, &annotations).to_bytes();
        self.move_tag(&newest_tag(name), MEDIA_MANIFEST, &bytes).await
    }

    /// Puts a tag on a manifest, unless it is there: of twenty builders of one commit, one writes.
    async fn move_tag(&self, tag: &str, media_type: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if self.manifest(tag).await?.is_some_and(|document| document.bytes == bytes) {
            return Ok(());
        }
        self.put_manifest(tag, media_type, bytes).await
    }

    async fn newest_of(&self, name: &str) -> Result<Option<StoredImage>, StoreError> {
        let tag = newest_tag(name);
        let Some(document) = self.manifest(&tag).await? else { return Ok(None) };
        let notes = Head::parse(&document.bytes, || format!("manifest {}:{tag}", self.repository))?.annotations;
        let notes = notes.unwrap_or_default();
        match notes.get(ANNOTATION_TAG).filter(|_| notes.get(ANNOTATION_NAME).is_some_and(|n| n == name)) {
            Some(tag) => self.image(tag).await,
            None => Ok(None),
        }
    }
}

fn check_tag(tag: &str) -> Result<(), StoreError> {
    if is_tag(tag) {
        return Ok(());
    }
    let why = "a tag has up to 128 letters, digits, `_`, `.` and `-`".to_owned();
    Err(StoreError::Invalid { what: format!("tag `{tag}`"), why })
}
