//! Folders on the disk: unpacked layers that are kept, and scratch folders that are not.
//!
//! The one idea: a scratch folder lives as long as the lock beside it is held. The kernel lets go of the lock when its
//! process ends in any way, so whoever comes next can tell leftovers from work in progress.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is written")]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Once;

use rustix::fs::{FlockOperation, flock};

use crate::backend::eviction::{Shelf, remove_tree};

/// The folder that all the others are in.
#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    swept: Once,
    /// How much unpacked layers may take after a run. Unit: bytes.
    limit: Option<u64>,
}

impl Drop for Cache {
    fn drop(&mut self) {
        if let Some(limit) = self.limit.filter(|_| self.swept.is_completed()) {
            // What cannot be taken away now will be next time.
            let _ = self.evict(limit);
        }
    }
}

/// A folder for one run, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    /// Its name in the cache.
    name: String,
    folder: PathBuf,
    lock: PathBuf,
    _held: File,
}

impl Cache {
    /// Names the folder; nothing is written yet.
    pub fn new(folder: PathBuf, limit: Option<u64>) -> Self {
        Self { folder, swept: Once::new(), limit }
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(&self.folder, "layers")
    }

    /// Takes unpacked layers away until the others take `limit` at most; returns how much was freed. Unit: bytes.
    pub fn evict(&self, limit: u64) -> io::Result<u64> {
        if !self.folder.join("layers").is_dir() {
            return Ok(0);
        }
        // Folders are renamed while nobody may look, and removed afterwards.
        let aside = tempfile::Builder::new().prefix("evicted-").tempdir_in(&self.folder)?;
        let evicted = self.shelf().evict(limit, aside.path())?;
        for folder in &evicted.folders {
            remove_tree(folder)?;
        }
        Ok(evicted.bytes)
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a scratch folder. The first one sweeps what killed runs left behind.
    pub fn scratch(&self) -> io::Result<Scratch> {
        let runs = self.folder.join("runs");
        fs::create_dir_all(&runs)?;
        self.swept.call_once(|| sweep(&runs));
        loop {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let id = id.get(..12).unwrap_or(&id).to_owned();
            let lock = runs.join(format!("{id}.lock"));
            let held = File::create_new(&lock)?;
            // Somebody who sweeps may have been faster.
            if flock(&held, FlockOperation::NonBlockingLockExclusive).is_err() || !lock.exists() {
                continue;
            }
            let folder = runs.join(&id);
            fs::create_dir(&folder)?;
            return Ok(Scratch { name: format!("runs/{id}"), folder, lock, _held: held });
        }
    }

    /// Returns a kept folder, relative to the cache; `fill` makes it the first time, in a folder of its own.
    pub fn kept<E>(
        &self,
        name: &str,
        scratch: &Scratch,
        failed: impl Fn(io::Error) -> E,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let folder = self.folder.join(name);
        let shelf = self.shelf();
        let is_layer = name.starts_with("layers/");
        let marked = |is_new: bool| -> io::Result<bool> {
            let is_there = folder.exists();
            if is_there && is_layer {
                shelf.mark(&folder, is_new)?;
            }
            Ok(is_there)
        };
        if shelf.still(|| marked(false)).flatten().map_err(&failed)? {
            return Ok(());
        }
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(&failed)?;
        }
        let made = scratch.folder.join(name.replace('/', "-"));
        fs::create_dir(&made).map_err(&failed)?;
        fill(&made)?;
        let moved = shelf.still(|| match fs::rename(&made, &folder) {
            Ok(()) => marked(true).map(drop),
            // Another process made the same.
            Err(_) if folder.exists() => marked(false).and_then(|_| fs::remove_dir_all(&made)),
            Err(error) => Err(error),
        });
        moved.flatten().map_err(failed)
    }
}

impl Scratch {
    /// Returns its path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the name of something in it, relative to the cache.
    pub fn name(&self, inside: &str) -> String {
        format!("{}/{inside}", self.name)
    }

    /// Makes a folder in it and returns its path.
    pub fn make(&self, inside: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(inside);
        fs::create_dir(&path)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.folder);
        let _ = fs::remove_file(&self.lock);
    }
}

/// Removes the folders of runs that ended without it.
fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let lock = entry.path();
        if lock.extension().is_none_or(|e| e != "lock") {
            continue;
        }
        let Ok(file) = File::open(&lock) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove_tree(&lock.with_extension(""));
            let _ = fs::remove_file(&lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_are_swept_and_work_in_progress_is_not() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().join("cache"), None);
        let held = cache.scratch().unwrap();
        let left = home.path().join("cache/runs/dead");
        fs::create_dir_all(left.join("upper")).unwrap();
        fs::write(left.with_extension("lock"), "").unwrap();
        let next = Cache::new(home.path().join("cache"), None);
        let own = next.scratch().unwrap();
        assert!(!left.exists() && held.folder().exists() && own.folder().exists());
        let gone = own.folder().to_owned();
        drop(own);
        assert!(!gone.exists());
    }

    #[test]
    fn what_is_kept_is_made_once_and_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().to_owned(), None);
        let scratch = cache.scratch().unwrap();
        let failed = cache.kept("layers/a", &scratch, |e| e, |_| Err(io::Error::other("no")));
        assert!(failed.is_err() && !home.path().join("layers/a").exists());
        let again = cache.scratch().unwrap();
        cache.kept("layers/a", &again, |e| e, |dir| fs::write(dir.join("f"), "1")).unwrap();
        cache.kept("layers/a", &again, |e| e, |_| panic!("it is there")).unwrap();
        assert!(home.path().join("layers/a/f").exists());
    }

    #[test]
    fn unpacked_layers_are_bounded_when_the_run_is_over() {
        let home = tempfile::tempdir().unwrap();
        let fill = |cache: &Cache, scratch: &Scratch, name: &str| {
            cache.kept(name, scratch, |e| e, |dir| fs::write(dir.join("f"), vec![1; 100_000])).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        let cache = Cache::new(home.path().to_owned(), Some(150_000));
        let scratch = cache.scratch().unwrap();
        for name in ["layers/a", "layers/b"] {
            fill(&cache, &scratch, name);
        }
        fill(&cache, &scratch, "layers/a");
        assert_eq!(cache.evict(0).unwrap(), 0, "a run uses them");
        drop(scratch);
        drop(cache);
        assert!(home.path().join("layers/a").exists() && !home.path().join("layers/b").exists());
        assert!(
            fs::read_dir(home.path()).unwrap().all(|e| !e.unwrap().path().display().to_string().contains("evicted"))
        );
    }
}
