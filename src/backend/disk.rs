//! Files that appear whole or not at all: temporary files that a killed process cannot leave behind for good.
//!
//! The one idea: a writer holds a lock on its temporary file; a file that can be locked has no living writer, so
//! the next writer removes it.
#![expect(clippy::disallowed_methods, reason = "this is where the disk is written")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use crate::ports::BlobDigest;

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Returns a file name that no other living process of this machine uses.
pub fn unique_name() -> String {
    format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A locked temporary file; removed when dropped, unless it was renamed.
pub struct TempFile {
    /// The open file.
    pub file: File,
    path: PathBuf,
    kept: bool,
}

impl TempFile {
    /// Makes a file in `dir`, which is made too when it is missing.
    pub fn create(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        loop {
            let path = dir.join(unique_name());
            let file = match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(e),
            };
            file.lock()?;
            // A cleaner may have locked and removed it between the two calls.
            if is_same_file(&file, &path)? {
                return Ok(Self { file, path, kept: false });
            }
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, over whatever has it. The caller has flushed and synced it.
    pub fn rename(mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing more can be done; the next writer tries again.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Counts and hashes what passes through.
pub struct HashingWriter<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Passes everything on to `out`.
    pub fn new(out: W) -> Self {
        Self { out, hash: Sha256::new(), size: 0 }
    }

    /// Returns how much has passed. Unit: bytes.
    #[cfg(feature = "registry")]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest and the size of what has passed. Unit: bytes.
    pub fn finish(self) -> (BlobDigest, u64) {
        (BlobDigest::from_sha256(self.hash.finalize().into()), self.size)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Removes the files of `dir` that no living process holds.
pub fn remove_leftovers(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let path = entry?.path();
        // Somebody else may clean at the same time: a file that is gone is as good as removed.
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { continue };
        if file.try_lock().is_ok() && is_same_file(&file, &path)? {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// Opens (or makes) a lock file and waits until it is ours; released when the file is dropped.
pub fn lock_file(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        if is_same_file(&file, path)? {
            return Ok(file);
        }
    }
}

/// Says whether the open file is still the one at `path`.
pub fn is_same_file(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_living_writers_stay_and_others_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut living = TempFile::create(dir.path()).unwrap();
        fs::write(dir.path().join("dead"), "x").unwrap();
        remove_leftovers(dir.path()).unwrap();
        assert!(!dir.path().join("dead").exists());
        living.file.write_all(b"y").unwrap();
        living.rename(&dir.path().join("kept")).unwrap();
        assert_eq!(fs::read(dir.path().join("kept")).unwrap(), b"y");
        drop(TempFile::create(dir.path()).unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
