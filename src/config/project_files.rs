//! Reading project files by the rules of giterminism: from the commit, unless a rule allows the disk.
//!
//! The one idea: commit and disk are two trees of the same objects, so a file is changed where the two ids differ.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::source::glob::PathMatcher;
use crate::source::{Entry, Files, FilesError, Mode, PathFilter, Verdict, normalize_path};

/// The files of the project directory.
#[derive(Clone, Debug)]
pub(super) struct ProjectFiles {
    /// What is built.
    pub committed: Files,
    /// What lies on the disk, ignored files aside; `None` when it is of no account.
    pub disk: Option<Files>,
    /// The disk counts, whatever was committed.
    pub loose: bool,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFault {
    /// It is nowhere.
    #[error("the file `{path}` does not exist")]
    NotFound {
        /// The file.
        path: String,
    },
    /// It is on the disk alone.
    #[error("the file `{path}` is not committed: commit it, or allow it in the giterminism configuration")]
    Untracked {
        /// The file.
        path: String,
    },
    /// Disk and commit differ.
    #[error(
        "the file `{path}` has changes that are not committed: commit them, or allow it in the giterminism configuration"
    )]
    Uncommitted {
        /// The file.
        path: String,
    },
    /// It leads out, is no file, or the store failed.
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl ProjectFiles {
    /// Reads a file; `allowed` says whether a rule lets it come from the disk.
    pub fn read(&self, path: &str, allowed: bool) -> Result<Arc<[u8]>, ReadFault> {
        let not_found = || ReadFault::NotFound { path: path.to_owned() };
        let path = &normalize_path(path).ok_or_else(not_found)?;
        if let Some(disk) = self.disk.as_ref().filter(|_| allowed || self.loose) {
            disk.resolve(path)?.ok_or_else(not_found)?;
            return Ok(disk.read(path)?);
        }
        match self.state(path)? {
            State::Clean(_) => Ok(self.committed.read(path)?),
            State::Absent => Err(not_found()),
            State::Untracked => Err(ReadFault::Untracked { path: path.clone() }),
            State::Changed => Err(ReadFault::Uncommitted { path: path.clone() }),
        }
    }

    /// Returns what is at a path, links followed; a changed file or a directory with changes is not there.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>, ReadFault> {
        let Some(path) = normalize_path(path) else { return Ok(None) };
        if let Some(disk) = self.disk.as_ref().filter(|_| self.loose) {
            return Ok(disk.resolve(&path)?.map(|(_, entry)| entry));
        }
        match self.state(&path)? {
            State::Clean(entry) => Ok(Some(entry)),
            State::Absent | State::Untracked | State::Changed => Ok(None),
        }
    }

    fn state(&self, path: &str) -> Result<State, ReadFault> {
        let committed = self.committed.resolve(path)?.map(|(_, entry)| entry);
        let Some(disk) = &self.disk else { return Ok(committed.map_or(State::Absent, State::Clean)) };
        let disk = disk.resolve(path)?.map(|(_, entry)| entry);
        Ok(match (committed, disk) {
            (Some(committed), Some(disk)) if committed == disk => State::Clean(committed),
            (Some(_), _) => State::Changed,
            (None, Some(_)) => State::Untracked,
            (None, None) => State::Absent,
        })
    }

    /// Returns the paths of the files below `base` that match, from commit and disk, sorted.
    pub fn glob(&self, base: &str, matcher: &PathMatcher) -> Result<Vec<String>, ReadFault> {
        let mut found = BTreeSet::new();
        let committed = Some(&self.committed).filter(|_| !self.loose || self.disk.is_none());
        for files in committed.into_iter().chain(&self.disk) {
            let Some((_, entry)) = files.resolve(base)? else { continue };
            if entry.mode == Mode::Directory {
                let Some(below) = files.subtree(base)? else { continue };
                walk(&below, base, "", matcher, &mut found, 0)?;
            } else if matcher.matches("") {
                found.insert(base.to_owned());
            }
        }
        Ok(found.into_iter().collect())
    }
}

enum State {
    Clean(Entry),
    Changed,
    Untracked,
    Absent,
}

/// Linked directories are followed no deeper than this, so that a circle ends.
const MAX_DEPTH: usize = 64;

fn walk(
    files: &Files,
    base: &str,
    below: &str,
    matcher: &PathMatcher,
    found: &mut BTreeSet<String>,
    depth: usize,
) -> Result<(), ReadFault> {
    let join = |a: &str, b: &str| if a.is_empty() { b.to_owned() } else { format!("{a}/{b}") };
    let Some((_, here)) = files.resolve(below)? else { return Ok(()) };
    if here.mode != Mode::Directory || depth > MAX_DEPTH {
        return Ok(());
    }
    for entry in files.objects().tree(here.id)?.entries() {
        let path = join(below, &entry.name);
        let mode = match entry.mode {
            // A link that leads nowhere is not there.
            Mode::Symlink => files.resolve(&path).ok().flatten().map_or(Mode::Submodule, |(_, target)| target.mode),
            Mode::File | Mode::Executable | Mode::Directory | Mode::Submodule => entry.mode,
        };
        match mode {
            Mode::Directory => {
                if matcher.verdict(&path, true) != Verdict::None {
                    walk(files, base, &path, matcher, found, depth + 1)?;
                }
            }
            Mode::File | Mode::Executable | Mode::Symlink => {
                if matcher.matches(&path) {
                    found.insert(join(base, &path));
                }
            }
            Mode::Submodule => {}
        }
    }
    Ok(())
}
