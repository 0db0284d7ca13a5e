//! The files of a repository as they lie on the disk, whatever git thinks of them.

use std::collections::BTreeMap;
use std::fmt;

use crate::source::{Files, FilesError, Mode};

/// Reads the work tree of a repository. Several threads may ask at once.
pub trait WorkTree: Send + Sync + fmt::Debug {
    /// Returns the file at a path of the repository, or the files below a directory; ignored ones too. Empty when
    /// nothing is there.
    ///
    /// # Errors
    /// A file cannot be read, or the path leads out of the repository.
    fn below(&self, path: &str) -> Result<BTreeMap<String, (Mode, Vec<u8>)>, WorkTreeError>;
}

/// Why the work tree could not be read: `read app/file: permission denied`.
#[derive(Debug, thiserror::Error)]
#[error("read {path}: {cause}")]
pub struct WorkTreeError {
    /// The file.
    pub path: String,
    /// What the system said.
    pub cause: String,
}

/// A work tree in memory; empty, nothing is there.
#[derive(Clone, Debug, Default)]
pub struct MemoryWorkTree(pub Option<Files>);

impl WorkTree for MemoryWorkTree {
    fn below(&self, path: &str) -> Result<BTreeMap<String, (Mode, Vec<u8>)>, WorkTreeError> {
        let told = |error: FilesError| WorkTreeError { path: path.to_owned(), cause: error.to_string() };
        let Some(files) = &self.0 else { return Ok(BTreeMap::new()) };
        let entries = match files.entry(path).map_err(told)? {
            None => Vec::new(),
            Some(entry) if entry.mode == Mode::Directory => files.walk(path).map_err(told)?,
            Some(entry) => vec![(path.to_owned(), entry)],
        };
        let read = |(path, entry): (String, crate::source::Entry)| {
            Ok((path, (entry.mode, files.objects().blob(entry.id).map_err(told)?.to_vec())))
        };
        entries.into_iter().map(read).collect()
    }
}
