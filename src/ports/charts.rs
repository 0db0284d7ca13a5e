//! The ports of charts that lie elsewhere: where they are fetched from, and where fetched archives are kept.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Mutex;

use super::BlobDigest;

/// What is fetched over HTTP; it decides how much of it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The index of a repository.
    Index,
    /// The archive of a chart.
    Archive,
}

/// Fetches charts. Addresses may hold a password; what is told never does.
pub trait ChartSource: Send + Sync {
    /// Fetches what lies at an `http://` or `https://` address.
    ///
    /// # Errors
    /// It is not there, not ours to read, too large, or was cut off.
    fn get(&self, url: &str, wanted: Wanted) -> Result<Vec<u8>, FetchError>;

    /// Lists the tags of an OCI repository, `HOST/PATH/NAME`, in any order.
    ///
    /// # Errors
    /// The registry does not answer, or not to us.
    fn tags(&self, repository: &str) -> Result<Vec<String>, FetchError>;

    /// Fetches the archive of a chart from an OCI repository, by tag or by digest (`sha256:…`).
    ///
    /// # Errors
    /// It is not there, is no chart, or what came does not have the digest that the manifest names.
    fn pull(&self, repository: &str, tag: &str) -> Result<Vec<u8>, FetchError>;
}

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not there.
    #[error("{place} is not there")]
    NotFound {
        /// The address, without secrets.
        place: String,
    },
    /// It is not ours to read.
    #[error("{place}: access is denied ({reason})")]
    Denied {
        /// The address, without secrets.
        place: String,
        /// What the server said.
        reason: String,
    },
    /// Something else came.
    #[error("{place}: {fault}")]
    Unusable {
        /// The address, without secrets.
        place: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The network, the server or a file failed.
    #[error("fetch {place}")]
    Failed {
        /// The address, without secrets.
        place: String,
        /// What failed.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Names one released chart. What it names is taken to be the same for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChartRelease {
    /// Address of the repository.
    pub repository: String,
    /// Name of the chart.
    pub name: String,
    /// Its exact version.
    pub version: String,
}

/// Keeps fetched archives by their content. What cannot be kept is fetched again, so nothing here fails.
pub trait ArchiveCache: Send + Sync {
    /// Returns the archive with that digest.
    fn by_digest(&self, digest: &BlobDigest) -> Option<Vec<u8>>;

    /// Returns the archive that was fetched for a release before.
    fn by_release(&self, release: &ChartRelease) -> Option<Vec<u8>>;

    /// Keeps the archive of a release.
    fn keep(&self, release: &ChartRelease, archive: &[u8]);
}

/// Charts in memory: the twin of [`ChartSource`]. It counts what is asked.
#[derive(Debug, Default)]
pub struct MemoryCharts {
    /// What lies at which address.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Archives by repository and tag.
    pub pushed: BTreeMap<(String, String), Vec<u8>>,
    asked: Mutex<Vec<String>>,
}

impl MemoryCharts {
    /// Returns the addresses that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no holder of the lock panics").clone()
    }

    fn note(&self, address: &str) {
        self.asked.lock().expect("no holder of the lock panics").push(address.to_owned());
    }
}

impl ChartSource for MemoryCharts {
    fn get(&self, url: &str, _: Wanted) -> Result<Vec<u8>, FetchError> {
        self.note(url);
        self.files.get(url).cloned().ok_or_else(|| FetchError::NotFound { place: url.to_owned() })
    }

    fn tags(&self, repository: &str) -> Result<Vec<String>, FetchError> {
        self.note(repository);
        let tags = self.pushed.keys().filter(|(of, _)| of == repository);
        Ok(tags.map(|(_, tag)| tag.clone()).collect())
    }

    fn pull(&self, repository: &str, tag: &str) -> Result<Vec<u8>, FetchError> {
        let place = format!("{repository}:{tag}");
        self.note(&place);
        let found = self.pushed.get(&(repository.to_owned(), tag.to_owned()));
        found.cloned().ok_or(FetchError::NotFound { place })
    }
}

/// Archives in memory: the twin of [`ArchiveCache`].
#[derive(Debug, Default)]
pub struct MemoryArchives(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    archives: BTreeMap<BlobDigest, Vec<u8>>,
    releases: BTreeMap<ChartRelease, BlobDigest>,
}

impl ArchiveCache for MemoryArchives {
    fn by_digest(&self, digest: &BlobDigest) -> Option<Vec<u8>> {
        self.0.lock().expect("no holder of the lock panics").archives.get(digest).cloned()
    }

    fn by_release(&self, release: &ChartRelease) -> Option<Vec<u8>> {
        let kept = self.0.lock().expect("no holder of the lock panics");
        kept.releases.get(release).and_then(|digest| kept.archives.get(digest)).cloned()
    }

    fn keep(&self, release: &ChartRelease, archive: &[u8]) {
        let mut kept = self.0.lock().expect("no holder of the lock panics");
        let digest = BlobDigest::of(archive);
        kept.archives.insert(digest.clone(), archive.to_vec());
        kept.releases.insert(release.clone(), digest);
    }
}
