//! The `dir:` target: a folder of manifests for each release, watched by Argo CD or Flux.
//!
//! What lives here: [`ManifestFolder`]. What does not: names and contents of the files (`plan`).
//!
//! The one idea: an apply builds the whole new folder beside the old one and exchanges the two in one system call. At any
//! moment the folder is the old one or the new one; a killed apply leaves at most a hidden folder, which the next removes.
#![expect(clippy::disallowed_methods, reason = "this is where manifests are read and written")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::observed::ReleaseFact;
use crate::ports::{Over, Target, TargetError, TargetSession};

/// The record of the last apply, within the release's folder. Hidden, so that no controller takes it for a manifest.
const RECORD: &str = ".stagewright-release.json";

/// A folder that holds the manifests of releases, each in a folder of its own.
#[derive(Debug)]
pub struct ManifestFolder {
    root: PathBuf,
}

impl ManifestFolder {
    /// Names the folder, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Returns the folder of a release as it stands: where an exchange is not atomic and was cut off, the old one.
    fn standing(&self, release: &str) -> PathBuf {
        let folder = self.root.join(release);
        let old = self.old(release);
        if !folder.exists() && old.exists() { old } else { folder }
    }

    fn new_folder(&self, release: &str) -> PathBuf {
        self.root.join(format!(".stagewright-new-{release}"))
    }

    fn old(&self, release: &str) -> PathBuf {
        self.root.join(format!(".stagewright-old-{release}"))
    }

    fn record(&self, release: &str) -> Result<Option<serde_json::Value>, TargetError> {
        let path = self.standing(release).join(RECORD);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let attempt = || {
            format!("read the release record `{}`; restore it, or remove it to adopt the folder anew", path.display())
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| TargetError { attempt: attempt(), source: e.into() })
    }
}

fn failed(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> TargetError {
    let attempt = attempt.into();
    move |source| TargetError { attempt, source }
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, TargetError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(failed(format!("read `{}`", path.display()))(e)),
    }
}

/// Refuses a path that would leave the folder: plans come from files.
fn safe<'a>(path: &'a str, what: &str) -> Result<&'a str, TargetError> {
    let ok = !path.is_empty() && path.split('/').all(|p| !p.is_empty() && p != "." && p != ".." && !p.contains('\\'));
    if ok {
        return Ok(path);
    }
    let source = io::Error::new(io::ErrorKind::InvalidInput, "it leads out of the target's folder");
    Err(TargetError { attempt: format!("use the {what} `{path}`"), source })
}

impl Target for ManifestFolder {
    fn observe(&self, release: &str) -> Result<ReleaseFact, TargetError> {
        let record = self.record(safe(release, "release name")?)?;
        let folder = self.standing(release);
        let mut files = BTreeMap::new();
        list(&folder, "", &mut files)?;
        let mut fact = ReleaseFact { record, ..ReleaseFact::default() };
        let recorded: BTreeSet<String> = fact
            .record
            .as_ref()
            .and_then(|r| r.get("resources")?.as_object())
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default();
        for (inner, is_file) in files {
            let path = format!("{release}/{inner}");
            if inner == RECORD || inner.ends_with('/') {
                continue;
            }
            if !recorded.contains(&path) {
                fact.foreign.insert(path.clone());
            }
            if is_file && let Some(Ok(text)) = read_if_there(&folder.join(&inner))?.map(String::from_utf8) {
                fact.resources.insert(path, text);
            }
        }
        Ok(fact)
    }

    fn content(&self, path: &str) -> Result<Option<Vec<u8>>, TargetError> {
        let (release, inner) = safe(path, "path")?.split_once('/').unwrap_or((path, ""));
        read_if_there(&self.standing(release).join(inner))
    }

    fn revision(&self, release: &str) -> Result<Option<u64>, TargetError> {
        let record = self.record(safe(release, "release name")?)?;
        Ok(record.and_then(|r| r.get("revision")?.as_u64()))
    }

    fn begin(&self) -> Result<Box<dyn TargetSession + '_>, TargetError> {
        let attempt = format!("create the folder `{}`", self.root.display());
        fs::create_dir_all(&self.root).map_err(failed(attempt))?;
        let lock = File::open(&self.root).map_err(failed(format!("open `{}`", self.root.display())))?;
        lock.try_lock().map_err(|e| TargetError {
            attempt: format!(
                "lock `{}`: another apply is writing to it; wait for it and try again",
                self.root.display()
            ),
            source: match e {
                fs::TryLockError::Error(source) => source,
                fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            },
        })?;
        Ok(Box::new(Session { folder: self, changes: Mutex::default(), _lock: lock }))
    }
}

/// Lists files and links below a folder; hidden folders too, for they may belong to somebody.
fn list(folder: &Path, prefix: &str, found: &mut BTreeMap<String, bool>) -> Result<(), TargetError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(format!("list `{}`", folder.display()))(e)),
    };
    for entry in entries {
        let entry = entry.map_err(failed(format!("list `{}`", folder.display())))?;
        let Ok(name) = entry.file_name().into_string() else {
            let source = io::Error::new(io::ErrorKind::InvalidData, "its name is not UTF-8; rename or move it");
            return Err(failed(format!("keep `{}`", entry.path().display()))(source));
        };
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().map_err(failed(format!("look at `{}`", entry.path().display())))?;
        if kind.is_dir() {
            // A folder stays even when it is empty: somebody made it.
            found.insert(format!("{path}/"), false);
            list(&entry.path(), &path, found)?;
        } else {
            found.insert(path, kind.is_file());
        }
    }
    Ok(())
}

struct Session<'a> {
    folder: &'a ManifestFolder,
    /// By path within the target; `None` removes.
    changes: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
    _lock: File,
}

impl Session<'_> {
    fn changes(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TargetSession for Session<'_> {
    fn write(&self, path: &str, content: &[u8], _: &Over) -> Result<(), TargetError> {
        self.changes().insert(safe(path, "path")?.to_owned(), Some(content.to_vec()));
        Ok(())
    }

    fn delete(&self, path: &str, _: &Over) -> Result<(), TargetError> {
        self.changes().insert(safe(path, "path")?.to_owned(), None);
        Ok(())
    }

    fn commit(&self, release: &str, _revision: u64, record: &serde_json::Value) -> Result<(), TargetError> {
        let release = safe(release, "release name")?;
        let (standing, new) = (self.folder.standing(release), self.folder.new_folder(release));
        remove_folder(&new)?;
        fs::create_dir(&new).map_err(failed(format!("create `{}`", new.display())))?;
        let prefix = format!("{release}/");
        let held = self.changes();
        let changes: BTreeMap<&str, &Option<Vec<u8>>> =
            held.iter().filter_map(|(path, c)| Some((path.strip_prefix(&prefix)?, c))).collect();
        let mut kept = BTreeMap::new();
        list(&standing, "", &mut kept)?;
        for path in kept.keys().filter(|p| *p != RECORD && !changes.contains_key(p.as_str())) {
            if path.ends_with('/') {
                make_parent(&new.join(path).join("x"))?;
            } else {
                carry_over(&standing.join(path), &new.join(path))?;
            }
        }
        for (path, content) in &changes {
            if let Some(content) = content {
                let secret = path.rsplit('/').next().is_some_and(|name| name.starts_with("secret-"));
                write_file(&new.join(path), content, secret)?;
            }
        }
        let mut text = serde_json::to_vec_pretty(record).map_err(|e| failed("write the release record")(e.into()))?;
        text.push(b'\n');
        write_file(&new.join(RECORD), &text, false)?;
        sync_folder(&new)?;
        self.exchange(release, &new)
    }
}

impl Session<'_> {
    /// Puts the new folder in the place of the old one, and removes the old one.
    fn exchange(&self, release: &str, new: &Path) -> Result<(), TargetError> {
        let folder = self.folder.root.join(release);
        let attempt = format!("put the new manifests into `{}`", folder.display());
        let old = self.folder.old(release);
        if !folder.exists() {
            fs::rename(new, &folder).map_err(failed(attempt))?;
        } else if exchange(new, &folder).is_err() {
            // Not every file system can exchange; a reader then finds the old folder under its other name.
            remove_folder(&old)?;
            fs::rename(&folder, &old).map_err(failed(attempt.clone()))?;
            fs::rename(new, &folder).map_err(failed(attempt))?;
        }
        sync_folder(&self.folder.root)?;
        remove_folder(new)?;
        remove_folder(&old)
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn remove_folder(path: &Path) -> Result<(), TargetError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed(format!("remove `{}`", path.display()))(e)),
        _ => Ok(()),
    }
}

fn make_parent(path: &Path) -> Result<(), TargetError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    fs::create_dir_all(parent).map_err(failed(format!("create `{}`", parent.display())))
}

/// Brings an unchanged file into the new folder: a hard link where that works, for files are never changed in place.
fn carry_over(from: &Path, to: &Path) -> Result<(), TargetError> {
    make_parent(to)?;
    let attempt = || format!("keep `{}`", from.display());
    let meta = fs::symlink_metadata(from).map_err(failed(attempt()))?;
    #[cfg(unix)]
    if meta.is_symlink() {
        let target = fs::read_link(from).map_err(failed(attempt()))?;
        return std::os::unix::fs::symlink(target, to).map_err(failed(attempt()));
    }
    if !meta.is_file() {
        let source = io::Error::new(io::ErrorKind::Unsupported, "it is no file, link or folder; move it elsewhere");
        return Err(failed(attempt())(source));
    }
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(|_| ())).map_err(failed(attempt()))
}

fn write_file(path: &Path, content: &[u8], secret: bool) -> Result<(), TargetError> {
    make_parent(path)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if secret { 0o600 } else { 0o644 });
    let written = options.open(path).and_then(|mut file| file.write_all(content).and_then(|()| file.sync_data()));
    let _ = secret;
    written.map_err(failed(format!("write `{}`", path.display())))
}

fn sync_folder(path: &Path) -> Result<(), TargetError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(failed(format!("write `{}` to the disk", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn apply(target: &ManifestFolder, revision: u64, changes: &[(&str, Option<&str>)]) {
        let session = target.begin().unwrap();
        for (path, content) in changes {
            match content {
                Some(content) => session.write(path, content.as_bytes(), &Over::Anything).unwrap(),
                None => session.delete(path, &Over::Anything).unwrap(),
            }
        }
        let mut resources = serde_json::Map::new();
        for (path, _) in changes.iter().filter(|(_, c)| c.is_some()) {
            resources.insert((*path).to_owned(), json!({}));
        }
        session.commit("shop", revision, &json!({ "revision": revision, "resources": resources })).unwrap();
    }

    #[test]
    fn what_was_written_is_observed_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = ManifestFolder::new(dir.path().join("out"));
        assert_eq!(target.observe("shop").unwrap(), ReleaseFact::default());
        apply(&target, 1, &[("shop/service-web.yaml", Some("a")), ("shop/other/secret-x.yaml", Some("s"))]);
        let fact = target.observe("shop").unwrap();
        assert_eq!(fact.resources.keys().collect::<Vec<_>>(), ["shop/other/secret-x.yaml", "shop/service-web.yaml"]);
        assert!(fact.foreign.is_empty());
        assert_eq!(target.revision("shop").unwrap(), Some(1));
        let names: Vec<_> = fs::read_dir(dir.path().join("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["shop"]);
    }

    #[test]
    fn unchanged_and_foreign_files_stay_deleted_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let target = ManifestFolder::new(dir.path());
        apply(&target, 1, &[("shop/a.yaml", Some("1")), ("shop/b.yaml", Some("2"))]);
        fs::write(dir.path().join("shop/README.md"), "mine").unwrap();
        fs::create_dir(dir.path().join("shop/empty")).unwrap();
        apply(&target, 2, &[("shop/a.yaml", None)]);
        assert_eq!(target.content("shop/a.yaml").unwrap(), None);
        assert_eq!(target.content("shop/b.yaml").unwrap().unwrap(), b"2");
        assert_eq!(target.content("shop/README.md").unwrap().unwrap(), b"mine");
        assert!(target.observe("shop").unwrap().foreign.contains("shop/README.md"));
        assert!(dir.path().join("shop/empty").is_dir());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_kept_stops_the_apply_before_anything_is_lost() {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = tempfile::tempdir().unwrap();
        let target = ManifestFolder::new(dir.path());
        apply(&target, 1, &[("shop/a.yaml", Some("1"))]);
        let odd = dir.path().join("shop").join(std::ffi::OsStr::from_bytes(b"bad\xff"));
        fs::write(&odd, "x").unwrap();
        let session = target.begin().unwrap();
        session.write("shop/a.yaml", b"2", &Over::Anything).unwrap();
        assert!(session.commit("shop", 2, &json!({})).is_err());
        assert!(odd.exists());
        assert_eq!(target.content("shop/a.yaml").unwrap().unwrap(), b"1");
    }

    #[cfg(unix)]
    #[test]
    fn files_of_secrets_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let target = ManifestFolder::new(dir.path());
        apply(&target, 1, &[("shop/secret-a.yaml", Some("1")), ("shop/b.yaml", Some("2"))]);
        let mode = |p: &str| fs::metadata(dir.path().join(p)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("shop/secret-a.yaml"), 0o600);
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let target = ManifestFolder::new(dir.path());
        let session = target.begin().unwrap();
        assert!(session.write("shop/../../x", b"", &Over::Anything).is_err());
        assert!(session.write("/etc/x", b"", &Over::Anything).is_err());
        assert!(target.observe("..").is_err());
    }

    #[test]
    fn a_second_writer_is_told_to_wait() {
        let dir = tempfile::tempdir().unwrap();
        let target = ManifestFolder::new(dir.path());
        let _first = target.begin().unwrap();
        let second = target.begin().err().expect("the folder is locked");
        assert!(second.attempt.contains("another apply"));
    }

    #[test]
    fn leftovers_of_a_killed_apply_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = ManifestFolder::new(dir.path());
        apply(&target, 1, &[("shop/a.yaml", Some("1"))]);
        fs::create_dir(dir.path().join(".stagewright-new-shop")).unwrap();
        fs::write(dir.path().join(".stagewright-new-shop/a.yaml"), "half").unwrap();
        apply(&target, 2, &[("shop/a.yaml", Some("2"))]);
        assert!(!dir.path().join(".stagewright-new-shop").exists());
        assert_eq!(target.content("shop/a.yaml").unwrap().unwrap(), b"2");
    }
}
