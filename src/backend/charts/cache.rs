//! The cache of fetched archives: a folder with a file for each content, and a name for each release.

#![expect(clippy::disallowed_methods, reason = "this is where the cache is read and written")]

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::backend::disk::{TempFile, remove_leftovers};
use crate::ports::{ArchiveCache, BlobDigest, ChartRelease};

/// Archives in a folder. Several processes may use it at once; what is damaged counts as not there.
#[derive(Clone, Debug)]
pub struct ArchiveFolder {
    dir: PathBuf,
}

impl ArchiveFolder {
    /// Names the folder; it is made with the first archive.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn archive(&self, digest: &BlobDigest) -> PathBuf {
        self.dir.join("archives").join(format!("{}.tgz", digest.hex()))
    }

    fn release(&self, release: &ChartRelease) -> PathBuf {
        let key = [release.repository.as_str(), &release.name, &release.version].join("\n");
        self.dir.join("releases").join(BlobDigest::of(key.as_bytes()).hex())
    }

    fn write(&self, to: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.dir.join("tmp");
        let _ = remove_leftovers(&temporary);
        let mut file = TempFile::create(&temporary)?;
        file.file.write_all(bytes)?;
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        file.rename(to)
    }
}

impl ArchiveCache for ArchiveFolder {
    fn by_digest(&self, digest: &BlobDigest) -> Option<Vec<u8>> {
        let bytes = fs::read(self.archive(digest)).ok()?;
        (BlobDigest::of(&bytes) == *digest).then_some(bytes)
    }

    fn by_release(&self, release: &ChartRelease) -> Option<Vec<u8>> {
        let text = fs::read_to_string(self.release(release)).ok()?;
        self.by_digest(&BlobDigest::parse(text.trim())?)
    }

    fn keep(&self, release: &ChartRelease, archive: &[u8]) {
        let digest = BlobDigest::of(archive);
        let path = self.archive(&digest);
        let kept = if self.by_digest(&digest).is_some() { Ok(()) } else { self.write(&path, archive) };
        // A cache that cannot be written makes the next run slower, nothing else.
        let _ = kept.and_then(|()| self.write(&self.release(release), format!("{digest}\n").as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_found_by_content_and_by_release_until_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let cache = ArchiveFolder::new(dir.path());
        let release = ChartRelease { repository: "https://a".into(), name: "web".into(), version: "1.0.0".into() };
        assert_eq!(cache.by_release(&release), None);
        cache.keep(&release, b"archive");
        assert_eq!(cache.by_release(&release).unwrap(), b"archive");
        let digest = BlobDigest::of(b"archive");
        assert_eq!(cache.by_digest(&digest).unwrap(), b"archive");
        assert_eq!(cache.by_release(&ChartRelease { version: "1.0.1".into(), ..release.clone() }), None);
        fs::write(cache.archive(&digest), b"archivf").unwrap();
        assert_eq!(cache.by_release(&release), None);
        cache.keep(&release, b"archive");
        assert!(cache.by_release(&release).is_some());
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let cache = ArchiveFolder::new(dir.path().join("file"));
        let release = ChartRelease { repository: String::new(), name: String::new(), version: String::new() };
        cache.keep(&release, b"archive");
        assert_eq!(cache.by_release(&release), None);
    }
}
