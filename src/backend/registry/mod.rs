//! The stage store `HOST[:PORT]/PATH`: a repository in a registry, over the OCI distribution API.
//!
//! What lives here: stages under `DIGEST-MILLISECONDS`, images under their content-based tags, the blobs of both, and
//! the images of others that builds begin with. What does not: the documents themselves (`ports::oci`).
//!
//! The one idea: nothing is locked and nothing is overwritten. Blobs are brought first; then whoever finds the stage
//! stored uses it, and of several that were stored at once the oldest counts, for everybody. What was fetched or made
//! stays in a cache on this machine.
//!
//! `newest-NAME` is a small manifest that names the tag which was stored last for an image: it is asked for only when
//! an image must be built, to tell why.

mod address;
mod auth;
mod blobs;
mod cache;
mod download;
mod error;
mod external;
mod manifests;
mod retry;
mod session;
mod stages;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::address::Repository;
use self::cache::BlobFolder;
use self::error::RegistryError;
pub use self::retry::Retry;
pub use self::session::RegistryOptions;
use self::session::Session;
use super::runtime;
use crate::ports::{BlobDigest, BlobError, StoreError};

/// How many requests are under way at once.
const REQUESTS: usize = 16;
/// How many blobs are sent at once.
const UPLOADS: usize = 4;

/// A stage store in a registry.
pub struct RegistryStore {
    repository: Repository,
    options: RegistryOptions,
    cache: BlobFolder,
    sessions: Mutex<BTreeMap<String, Arc<Session>>>,
    /// Other repositories that are known to have a blob.
    sources: Mutex<BTreeMap<BlobDigest, BTreeSet<Repository>>>,
    /// Blobs that were seen in our repository.
    present: Mutex<BTreeSet<BlobDigest>>,
    /// Blobs that are being fetched: others wait for them.
    fetching: Mutex<BTreeMap<BlobDigest, Arc<Mutex<()>>>>,
    /// The cache of a machine that has no place for one.
    _temporary: Option<tempfile::TempDir>,
}

impl RegistryStore {
    /// Names the repository and the folder of cached blobs; nothing is asked or made yet.
    ///
    /// # Errors
    /// No folder was given, and no temporary one can be made.
    pub fn new(repository: Repository, options: RegistryOptions, cache: Option<PathBuf>) -> std::io::Result<Self> {
        runtime::prepare();
        let temporary = if cache.is_none() { Some(tempfile::tempdir()?) } else { None };
        let dir = cache.or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned())).unwrap_or_default();
        let limit = options.cache_limit;
        Ok(Self {
            repository,
            options,
            cache: BlobFolder::new(dir, limit),
            sessions: Mutex::default(),
            sources: Mutex::default(),
            present: Mutex::default(),
            fetching: Mutex::default(),
            _temporary: temporary,
        })
    }

    /// Returns the repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    fn session(&self, host: &str) -> Arc<Session> {
        self.session_with(host, &self.options)
    }

    fn session_with(&self, host: &str, options: &RegistryOptions) -> Arc<Session> {
        let mut sessions = held(&self.sessions);
        let made = || Arc::new(Session::new(host, options.clone()));
        sessions.entry(host.to_owned()).or_insert_with(made).clone()
    }

    fn own(&self) -> Arc<Session> {
        self.session(&self.repository.host)
    }

    /// Keeps the bytes of a manifest, so that it can be read like any other blob.
    fn keep(&self, bytes: &[u8]) -> Result<BlobDigest, StoreError> {
        self.cache.keep(bytes).map_err(|source| self.cache_failed(source).into())
    }

    fn cache_failed(&self, source: std::io::Error) -> BlobError {
        BlobError::Io { attempt: format!("use the cache of blobs `{}`", self.cache.dir().display()), source }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failed(attempt: String) -> impl FnOnce(RegistryError) -> StoreError {
    move |error| StoreError::Io { attempt, source: std::io::Error::other(error) }
}
