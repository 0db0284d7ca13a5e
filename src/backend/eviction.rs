//! A bound for what a cache on this machine takes: what was not used for longest goes first.
//!
//! What lives here: marks of use, and what goes. What does not: what the entries are.
//!
//! The one idea: whoever uses a cache holds a lock beside it for as long as it runs, made before its first use. Nothing that
//! was used since the oldest of them began is taken away; so no process has to say what it uses.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is looked at")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

/// The end of the name of the file that says when a folder was used last, and how large it is.
const MARK: &str = "used";

/// A cache: a folder of entries, and a folder `runs` of locks beside it.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    entries: &'static str,
}

/// A process that uses a cache, until it is dropped.
#[derive(Debug)]
pub struct Using {
    lock: PathBuf,
    _held: File,
}

impl Drop for Using {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.lock);
    }
}

/// What was taken away.
#[derive(Debug, Default)]
pub struct Evicted {
    /// How much it was. Unit: bytes.
    pub bytes: u64,
    /// Folders that are out of the way, and are to be removed.
    pub folders: Vec<PathBuf>,
}

struct Entry {
    path: PathBuf,
    used: SystemTime,
    size: u64,
}

impl Shelf {
    /// Names a cache: its entries are in the folder `entries` of `folder`.
    pub fn new(folder: impl Into<PathBuf>, entries: &'static str) -> Self {
        Self { folder: folder.into(), entries }
    }

    /// Says that this process uses the cache from now on.
    ///
    /// # Errors
    /// The lock cannot be made.
    pub fn begin(&self) -> io::Result<Using> {
        let runs = self.folder.join("runs");
        fs::create_dir_all(&runs)?;
        // Locks that nobody holds are those of processes that were killed.
        for lock in fs::read_dir(&runs)?.flatten() {
            // Held until it is removed: somebody may be about to lock it.
            let Ok(file) = File::open(lock.path()) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_file(lock.path());
            }
        }
        loop {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let lock = runs.join(format!("{id}.lock"));
            let held = File::create_new(&lock)?;
            if flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok() && lock.exists() {
                return Ok(Using { lock, _held: held });
            }
        }
    }

    /// Does something with entries, of which none is taken away meanwhile.
    ///
    /// # Errors
    /// The lock cannot be taken.
    pub fn still<T>(&self, deed: impl FnOnce() -> T) -> io::Result<T> {
        let lock = self.lock()?;
        flock(&lock, FlockOperation::LockShared)?;
        Ok(deed())
    }

    fn lock(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(self.folder.join("evict.lock"))
    }

    /// Notes that a folder of the cache is used now, and how large it is when it is new.
    ///
    /// # Errors
    /// The note cannot be written.
    pub fn mark(&self, entry: &Path, is_new: bool) -> io::Result<()> {
        let mark = mark_of(entry);
        if is_new || !mark.exists() {
            return fs::write(mark, size_of(entry).to_string());
        }
        File::options().append(true).open(mark)?.set_modified(SystemTime::now())
    }

    /// Returns how much all entries take. Unit: bytes.
    pub fn size(&self) -> u64 {
        self.list().iter().map(|entry| entry.size).sum()
    }

    /// Says whether some process uses the cache.
    pub fn is_used(&self) -> bool {
        self.oldest_use().is_some()
    }

    /// Takes entries away until all others take `limit` at most, those that were not used for longest first; folders go
    /// to `aside`, which is outside of the cache.
    ///
    /// # Errors
    /// The lock cannot be taken, or an entry cannot be taken away.
    pub fn evict(&self, limit: u64, aside: &Path) -> io::Result<Evicted> {
        let mut evicted = Evicted::default();
        if !self.folder.join(self.entries).is_dir() {
            return Ok(evicted);
        }
        let lock = self.lock()?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let oldest = self.oldest_use();
        let mut entries = self.list();
        let mut total: u64 = entries.iter().map(|entry| entry.size).sum();
        entries.sort_by_key(|entry| entry.used);
        for entry in entries {
            if total <= limit || oldest.is_some_and(|oldest| entry.used >= oldest) {
                break;
            }
            if entry.path.is_dir() {
                let away = aside.join(entry.path.file_name().unwrap_or_default());
                fs::rename(&entry.path, &away)?;
                let _ = fs::remove_file(mark_of(&entry.path));
                evicted.folders.push(away);
            } else {
                fs::remove_file(&entry.path)?;
            }
            total -= entry.size;
            evicted.bytes += entry.size;
        }
        Ok(evicted)
    }

    /// When the oldest process that still uses the cache began.
    fn oldest_use(&self) -> Option<SystemTime> {
        let locks = fs::read_dir(self.folder.join("runs")).into_iter().flatten().flatten();
        let live = locks.filter(|lock| lock.path().extension().is_some_and(|e| e == "lock")).filter_map(|lock| {
            let file = File::open(lock.path()).ok()?;
            let is_held = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
            is_held.then(|| file.metadata().and_then(|m| m.modified()).ok()).flatten()
        });
        live.min()
    }

    fn list(&self) -> Vec<Entry> {
        let all = fs::read_dir(self.folder.join(self.entries)).into_iter().flatten().flatten();
        let entries = all.filter_map(|found| {
            let (path, meta) = (found.path(), found.metadata().ok()?);
            if !meta.is_dir() {
                let is_mark = path.extension().is_some_and(|e| e == MARK);
                return (!is_mark).then(|| Entry {
                    used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                    size: meta.size(),
                    path,
                });
            }
            let mark = mark_of(&path);
            let used = fs::metadata(&mark).and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
            let size = fs::read_to_string(&mark).ok().and_then(|text| text.parse().ok());
            Some(Entry { used, size: size.unwrap_or_else(|| size_of(&path)), path })
        });
        entries.collect()
    }
}

fn mark_of(entry: &Path) -> PathBuf {
    let mut name = entry.as_os_str().to_owned();
    name.push(".");
    name.push(MARK);
    name.into()
}

/// Removes a folder; directories that forbid it are opened first.
///
/// # Errors
/// Something in it belongs to somebody else.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(folder);
            fs::remove_dir_all(folder)
        }
        other => other,
    }
}

fn open_directories(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            open_directories(&entry.path());
        }
    }
}

/// Returns what a folder takes on the disk. Unit: bytes.
pub fn size_of(folder: &Path) -> u64 {
    let mut todo = vec![folder.to_owned()];
    let mut size = 0;
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            // Each name of a file bears its part of it.
            size += meta.blocks() * 512 / meta.nlink().max(1);
            if meta.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shelf(dir: &Path, sizes: &[(&str, usize)]) -> Shelf {
        let entries = dir.join("sha256");
        fs::create_dir_all(&entries).unwrap();
        for (age, (name, size)) in sizes.iter().enumerate() {
            fs::write(entries.join(name), vec![0; *size]).unwrap();
            let used = SystemTime::now() - Duration::from_secs(1_000 - age as u64);
            File::options().append(true).open(entries.join(name)).unwrap().set_modified(used).unwrap();
        }
        Shelf::new(dir, "sha256")
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir.join("sha256")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = shelf(dir.path(), &[("a", 10), ("b", 20), ("c", 30)]);
        assert_eq!(shelf.evict(60, dir.path()).unwrap().bytes, 0);
        assert_eq!(shelf.evict(55, dir.path()).unwrap().bytes, 10);
        assert_eq!(names(dir.path()), ["b", "c"]);
        assert_eq!(shelf.evict(0, dir.path()).unwrap().bytes, 50);
        assert_eq!((names(dir.path()), shelf.size()), (vec![], 0));
    }

    #[test]
    fn what_a_running_process_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = shelf(dir.path(), &[("a", 10), ("b", 20)]);
        let using = shelf.begin().unwrap();
        fs::write(dir.path().join("sha256/new"), [0; 40]).unwrap();
        assert!(shelf.is_used());
        // Who uses it may be another process: only its lock counts.
        assert_eq!(shelf.evict(0, dir.path()).unwrap().bytes, 30);
        assert_eq!(names(dir.path()), ["new"]);
        drop(using);
        assert!(!shelf.is_used());
        assert_eq!(shelf.evict(0, dir.path()).unwrap().bytes, 40);
    }

    #[test]
    fn folders_have_a_mark_of_use_and_size() {
        let dir = tempfile::tempdir().unwrap();
        let (layers, aside) = (dir.path().join("layers"), dir.path().join("aside"));
        let shelf = Shelf::new(dir.path(), "layers");
        fs::create_dir_all(&aside).unwrap();
        for name in ["a", "b"] {
            fs::create_dir_all(layers.join(name).join("in")).unwrap();
            fs::write(layers.join(name).join("in/file"), vec![1; 10_000]).unwrap();
            shelf.mark(&layers.join(name), true).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        shelf.mark(&layers.join("a"), false).unwrap();
        let whole = shelf.size();
        assert!(whole >= 20_000, "{whole}");
        let evicted = shelf.evict(whole - 1, &aside).unwrap();
        assert_eq!(evicted.folders, [aside.join("b")]);
        assert!(layers.join("a").exists() && !layers.join("b").exists() && !layers.join("b.used").exists());
    }
}
