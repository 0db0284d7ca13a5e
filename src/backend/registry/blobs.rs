//! The store as a store of blobs: read from the cache, or fetched into it; written to the cache, and brought to the
//! registry when a stage is published.

use std::io::{BufReader, Read, Write};

use super::download::{Failure, fetch};
use super::error::{Kind, RegistryError};
use super::upload::{Upload, has, mount, send};
use super::{RegistryStore, Repository, held, manifests};
use crate::backend::runtime;
use crate::ports::{BlobDigest, BlobError, BlobStore, CheckedReader, StoreError};

impl BlobStore for RegistryStore {
    fn has(&self, digest: &BlobDigest) -> Result<bool, BlobError> {
        if self.cached(digest)?.is_some() || held(&self.present).contains(digest) {
            return Ok(true);
        }
        let found = runtime::block_on(has(&self.own(), &self.repository.path, digest));
        found.map_err(|e| told(format!("look for blob {digest} in {}", self.repository), e))
    }

    fn open(&self, digest: &BlobDigest) -> Result<Box<dyn Read + Send>, BlobError> {
        let slot = held(&self.fetching).entry(digest.clone()).or_default().clone();
        let _alone = held(&slot);
        let mut found = self.cached(digest)?;
        if found.is_none() {
            runtime::block_on(self.fetch(digest))?;
            found = self.cached(digest)?;
        }
        let (file, _) = found.ok_or_else(|| BlobError::Absent(digest.clone()))?;
        let reader = BufReader::with_capacity(64 << 10, file);
        Ok(Box::new(CheckedReader::new(reader, digest.clone(), self.cache.path(digest).display().to_string())))
    }

    fn put(
        &self,
        content: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<(BlobDigest, u64), BlobError> {
        let failed = |source| BlobError::from_io(format!("write a blob to `{}`", self.cache.dir().display()), source);
        let mut blob = self.cache.begin().map_err(failed)?;
        content(&mut blob).map_err(failed)?;
        let ended = self.cache.end(blob, None).map_err(failed)?;
        ended.map_err(BlobError::Absent)
    }
}

impl RegistryStore {
    fn cached(&self, digest: &BlobDigest) -> Result<Option<(std::fs::File, u64)>, BlobError> {
        self.cache.open(digest).map_err(|source| self.cache_failed(source))
    }

    /// Brings a blob, or the manifest of that digest, from wherever it is into the cache.
    async fn fetch(&self, digest: &BlobDigest) -> Result<(), BlobError> {
        let others: Vec<Repository> = held(&self.sources).get(digest).into_iter().flatten().cloned().collect();
        for repository in others.iter().chain([&self.repository]) {
            if self.fetch_from(repository, digest).await? {
                return Ok(());
            }
        }
        let own = manifests::get(&self.own(), &self.repository.path, &digest.to_string()).await;
        match own.map_err(|e| told(format!("fetch manifest {digest} from {}", self.repository), e))? {
            Some(document) => self.cache.keep(&document.bytes).map(|_| ()).map_err(|e| self.cache_failed(e)),
            None => Err(BlobError::Absent(digest.clone())),
        }
    }

    async fn fetch_from(&self, repository: &Repository, digest: &BlobDigest) -> Result<bool, BlobError> {
        let session = self.session(&repository.host);
        fetch(&session, &repository.path, digest, &self.cache).await.map_err(|failure| match failure {
            Failure::Cache(source) => self.cache_failed(source),
            Failure::Registry(e) if e.kind() == Kind::Corrupted => {
                BlobError::Corrupted { digest: digest.clone(), place: format!("{repository}@{digest}") }
            }
            Failure::Registry(e) => told(format!("fetch blob {digest} from {repository}"), e),
        })
    }

    /// Makes sure that our repository has a blob: mounted from a repository beside it, or sent.
    pub(super) async fn bring(&self, digest: &BlobDigest) -> Result<(), StoreError> {
        if held(&self.present).contains(digest) {
            return Ok(());
        }
        let (session, path) = (self.own(), &self.repository.path);
        let attempt = || format!("send blob {digest} to {}", self.repository);
        if !has(&session, path, digest).await.map_err(super::failed(attempt()))?
            && !self.mounted(digest).await.map_err(super::failed(attempt()))?
        {
            let mut found = self.cached(digest)?;
            if found.is_none() {
                let others: Vec<Repository> = held(&self.sources).get(digest).into_iter().flatten().cloned().collect();
                for repository in others {
                    if self.fetch_from(&repository, digest).await? {
                        break;
                    }
                }
                found = self.cached(digest)?;
            }
            let (_, size) = found.ok_or_else(|| BlobError::Absent(digest.clone()))?;
            let upload = Upload { digest, file: &self.cache.path(digest), size };
            send(&session, path, upload).await.map_err(super::failed(attempt()))?;
        }
        held(&self.present).insert(digest.clone());
        Ok(())
    }

    async fn mounted(&self, digest: &BlobDigest) -> Result<bool, RegistryError> {
        let others: Vec<Repository> = held(&self.sources).get(digest).into_iter().flatten().cloned().collect();
        let beside = |other: &&Repository| other.host == self.repository.host && **other != self.repository;
        for other in others.iter().filter(beside) {
            if mount(&self.own(), &self.repository.path, digest, &other.path).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn told(attempt: String, error: RegistryError) -> BlobError {
    BlobError::Io { attempt, source: std::io::Error::other(error) }
}
