//! Blobs on this machine: what was made here, and what was fetched once.
//!
//! The one idea: a file is named by the digest of its bytes, appears whole, and is hashed again before this process
//! uses it for the first time; what is damaged is removed and counts as not there.

#![expect(clippy::disallowed_methods, reason = "this is where the cache is read and written")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::backend::disk::{HashingWriter, TempFile, remove_leftovers};
use crate::backend::eviction::{Shelf, Using};
use crate::ports::BlobDigest;

/// Blobs in a folder, which is made when it is needed. Several processes may use it at once.
pub struct BlobFolder {
    dir: PathBuf,
    prepared: OnceLock<()>,
    shelf: Shelf,
    /// How much blobs may take after a run. Unit: bytes.
    limit: Option<u64>,
    using: Mutex<Option<Using>>,
    /// Those whose bytes this process has seen.
    checked: Mutex<BTreeSet<BlobDigest>>,
}

/// A blob that is being written.
pub struct BlobWriter {
    out: HashingWriter<BufWriter<File>>,
    temp: TempFile,
}

impl BlobFolder {
    /// Names the folder.
    pub fn new(dir: impl Into<PathBuf>, limit: Option<u64>) -> Self {
        let dir = dir.into();
        let shelf = Shelf::new(&dir, "sha256");
        Self { dir, prepared: OnceLock::new(), shelf, limit, using: Mutex::default(), checked: Mutex::default() }
    }

    /// Says that blobs are used from now on.
    fn begin_use(&self) -> io::Result<()> {
        let mut using = self.using.lock().unwrap_or_else(PoisonError::into_inner);
        if using.is_none() {
            *using = Some(self.shelf.begin()?);
        }
        Ok(())
    }

    /// Returns where a blob lies, if it is there.
    pub fn path(&self, digest: &BlobDigest) -> PathBuf {
        self.dir.join("sha256").join(digest.hex())
    }

    /// Opens a blob, with its size; `None` when it is not there, or damaged.
    pub fn open(&self, digest: &BlobDigest) -> io::Result<Option<(File, u64)>> {
        let path = self.path(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        if !self.checked().contains(digest) {
            self.begin_use()?;
            // It may be taken away until it is marked.
            let marked = self.shelf.still(|| match File::options().append(true).open(&path) {
                Ok(file) => file.set_modified(std::time::SystemTime::now()),
                Err(error) => Err(error),
            })?;
            match marked {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        let size = file.metadata()?.size();
        if !self.checked().contains(digest) {
            let mut hash = HashingWriter::new(io::sink());
            io::copy(&mut file, &mut hash)?;
            if hash.finish().0 != *digest {
                // Somebody else may have been faster.
                let _ = fs::remove_file(&path);
                return Ok(None);
            }
            file.rewind()?;
            self.checked().insert(digest.clone());
        }
        Ok(Some((file, size)))
    }

    /// Begins a blob.
    pub fn begin(&self) -> io::Result<BlobWriter> {
        let temporary = self.dir.join("tmp");
        if self.prepared.get().is_none() {
            // Layers may hold what is not for everybody on this machine.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            fs::create_dir_all(self.dir.join("sha256"))?;
            let _ = remove_leftovers(&temporary);
            self.begin_use()?;
            let _ = self.prepared.set(());
        }
        let temp = TempFile::create(&temporary)?;
        let out = HashingWriter::new(BufWriter::with_capacity(128 << 10, temp.file.try_clone()?));
        Ok(BlobWriter { out, temp })
    }

    /// Ends a blob, which must have this digest where one is given; `Err` with what it has instead.
    pub fn end(
        &self,
        mut blob: BlobWriter,
        wanted: Option<&BlobDigest>,
    ) -> io::Result<Result<(BlobDigest, u64), BlobDigest>> {
        blob.out.flush()?;
        let (digest, size) = blob.out.finish();
        if wanted.is_some_and(|wanted| *wanted != digest) {
            return Ok(Err(digest));
        }
        blob.temp.rename(&self.path(&digest))?;
        self.checked().insert(digest.clone());
        Ok(Ok((digest, size)))
    }

    /// Stores bytes and returns their digest.
    pub fn keep(&self, bytes: &[u8]) -> io::Result<BlobDigest> {
        let digest = BlobDigest::of(bytes);
        if self.open(&digest)?.is_none() {
            let mut blob = self.begin()?;
            blob.write_all(bytes)?;
            let _ = self.end(blob, None)?;
        }
        Ok(digest)
    }

    /// Returns the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn checked(&self) -> std::sync::MutexGuard<'_, BTreeSet<BlobDigest>> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for BlobFolder {
    fn drop(&mut self) {
        let using = self.using.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(limit) = self.limit.filter(|_| using.is_some()) {
            drop(using);
            // What cannot be taken away now will be next time.
            let _ = self.shelf.evict(limit, &self.dir);
        }
    }
}

impl BlobWriter {
    /// Returns how much was written. Unit: bytes.
    pub fn size(&self) -> u64 {
        self.out.size()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_damaged_blob_counts_as_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let digest = BlobFolder::new(dir.path().join("blobs"), None).keep(b"hello").unwrap();
        let folder = BlobFolder::new(dir.path().join("blobs"), None);
        fs::write(folder.path(&digest), "hellO").unwrap();
        assert!(folder.open(&digest).unwrap().is_none());
        assert!(!folder.path(&digest).exists());
        assert_eq!(folder.keep(b"hello").unwrap(), digest);
        let (mut file, size) = folder.open(&digest).unwrap().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), size), ("hello", 5));
        assert_eq!(fs::metadata(folder.dir()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_has_another_digest_is_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = BlobFolder::new(dir.path(), None);
        let mut blob = folder.begin().unwrap();
        blob.write_all(b"other").unwrap();
        let wanted = BlobDigest::of(b"hello");
        assert_eq!(folder.end(blob, Some(&wanted)).unwrap(), Err(BlobDigest::of(b"other")));
        assert!(folder.open(&wanted).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    }

    #[test]
    fn blobs_are_bounded_when_nobody_uses_them() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (BlobFolder::new(dir.path(), Some(15)), BlobFolder::new(dir.path(), Some(15)));
        let kept = [b"0123456789".as_slice(), b"abcdefghij"].map(|bytes| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            one.keep(bytes).unwrap()
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(two.open(&kept[0]).unwrap().is_some());
        drop(one);
        assert!(two.open(&kept[0]).unwrap().is_some());
        drop(two);
        let last = BlobFolder::new(dir.path(), None);
        assert!(last.path(&kept[0]).exists() && !last.path(&kept[1]).exists(), "the one that was used last stays");
    }
}
