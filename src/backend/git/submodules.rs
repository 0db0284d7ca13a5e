//! Submodules and Git LFS: content that a commit names and another store holds.
//!
//! The one idea: the files of a checked out submodule are laid into the tree of the repository, at the commit that is
//! recorded there, so that nobody above has to know of submodules. What cannot be laid in is told as a [`Gap`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{Commit, GitError, Repository, git_error};
use crate::source::{Entry, Files, Gap, GapKind, JoinedObjects, MemoryObjects, Mode, Objects};

/// How deep submodules may nest.
const MAX_DEPTH: usize = 16;

/// Pointers of Git LFS are shorter. Unit: bytes. Source: the specification of Git LFS.
const MAX_POINTER: usize = 1024;

/// Which commit of a submodule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The one that is recorded.
    Recorded,
    /// The one that is checked out.
    CheckedOut,
}

impl Repository {
    /// Lays the files of submodules into a tree of this repository.
    pub(super) fn with_submodules(&self, files: Files, which: Which) -> Result<Files, GitError> {
        self.nested(files, which, 0)
    }

    fn nested(&self, files: Files, which: Which, depth: usize) -> Result<Files, GitError> {
        if depth >= MAX_DEPTH || !matches!(files.entry(".gitmodules"), Ok(Some(_))) {
            return Ok(files);
        }
        let mut entries = BTreeMap::new();
        let mut stores = Vec::new();
        for path in module_paths(&files.read(".gitmodules")?) {
            let Ok(Some(Entry { mode: Mode::Submodule, id })) = files.entry(&path) else { continue };
            let Ok(module) = Self::open_at(&self.root.join(&path)) else { continue };
            let module = Arc::new(Self { root: self.root.join(&path), ..module });
            let commit = match which {
                Which::Recorded => module.commit(&id.to_string()).ok(),
                Which::CheckedOut => module.head().ok(),
            };
            let Some(commit) = commit else { continue };
            let objects: Arc<dyn Objects> = module.clone();
            let inner = module.nested(Files::new(objects, commit.tree), Which::Recorded, depth + 1)?;
            entries.insert(path, Some(Entry { mode: Mode::Directory, id: inner.root() }));
            stores.push(inner.objects().clone());
        }
        if entries.is_empty() {
            return Ok(files);
        }
        let joined = JoinedObjects::new(files.objects().clone(), stores);
        let overlay = MemoryObjects::over(Arc::new(joined));
        let root = overlay.with_entries(Some(files.root()), &entries)?;
        Ok(Files::new(Arc::new(overlay), root))
    }

    /// Returns what of a commit cannot be taken. With `dev`, changes of submodules are no obstacle.
    ///
    /// # Errors
    /// libgit2 failed.
    pub fn gaps(self: &Arc<Self>, head: &Commit, dev: bool) -> Result<Vec<Gap>, GitError> {
        let objects: Arc<dyn Objects> = self.clone();
        let files = Files::new(objects, head.tree);
        let mut gaps = Vec::new();
        if matches!(files.entry(".gitmodules"), Ok(Some(_))) || self.root.join(".gitmodules").is_file() {
            gaps.extend(self.submodule_gaps(dev)?);
        }
        if let Ok(attributes) = files.read(".gitattributes")
            && attributes.windows(10).any(|word| word == b"filter=lfs")
        {
            gaps.extend(self.lfs_gaps(&files)?);
        }
        gaps.sort();
        Ok(gaps)
    }

    fn submodule_gaps(&self, dev: bool) -> Result<Vec<Gap>, GitError> {
        self.with(|repo| {
            let failed = |e| git_error("compare the submodules", e);
            let mut gaps = Vec::new();
            for module in repo.submodules().map_err(failed)? {
                let path = module.path().to_string_lossy().into_owned();
                let status = repo.submodule_status(&path, git2::SubmoduleIgnore::None).map_err(failed)?;
                let kind = gap_kind(status).or_else(|| {
                    let recorded = module.head_id().or_else(|| module.index_id())?;
                    let has = module.open().ok().is_some_and(|inner| inner.find_commit(recorded).is_ok());
                    (!has).then_some(GapKind::SubmoduleAbsent)
                });
                let counts = |kind: &GapKind| !dev || *kind == GapKind::SubmoduleAbsent;
                gaps.extend(kind.filter(counts).map(|kind| Gap { path, kind }));
            }
            Ok(gaps)
        })
    }

    fn lfs_gaps(&self, files: &Files) -> Result<Vec<Gap>, GitError> {
        let mut gaps = Vec::new();
        let all = files.walk("")?;
        self.with(|repo| {
            for (path, entry) in all.into_iter().filter(|(_, e)| matches!(e.mode, Mode::File | Mode::Executable)) {
                let filter = repo.get_attr(Path::new(&path), "filter", git2::AttrCheckFlags::default());
                if !matches!(filter, Ok(Some("lfs"))) {
                    continue;
                }
                let Ok(blob) = super::oid(entry.id)
                    .map_err(GitError::from)
                    .and_then(|id| repo.find_blob(id).map_err(|e| git_error(format!("read `{path}`"), e)))
                else {
                    continue;
                };
                if let Some(pointer) = Pointer::read(blob.content())
                    && !pointer.place(repo.commondir()).is_file()
                {
                    gaps.push(Gap { path, kind: GapKind::LfsPointer });
                }
            }
        });
        Ok(gaps)
    }
}

/// Returns what is wrong with a submodule, the gravest first.
fn gap_kind(status: git2::SubmoduleStatus) -> Option<GapKind> {
    use git2::SubmoduleStatus as S;
    let has = |flags: S| status.intersects(flags);
    if has(S::INDEX_ADDED | S::WD_ADDED) {
        Some(GapKind::SubmoduleAdded)
    } else if has(S::WD_UNINITIALIZED) {
        Some(GapKind::SubmoduleAbsent)
    } else if has(S::INDEX_DELETED | S::WD_DELETED) {
        Some(GapKind::SubmoduleDeleted)
    } else if has(S::INDEX_MODIFIED | S::WD_MODIFIED) {
        Some(GapKind::SubmoduleCommit)
    } else if has(S::WD_INDEX_MODIFIED | S::WD_WD_MODIFIED) {
        Some(GapKind::SubmoduleUncommitted)
    } else if has(S::WD_UNTRACKED) {
        Some(GapKind::SubmoduleUntracked)
    } else {
        None
    }
}

/// Returns the paths that a `.gitmodules` names; those that lead out are left out.
fn module_paths(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let values = text.lines().filter_map(|line| line.trim().split_once('='));
    let paths = values.filter(|(key, _)| key.trim() == "path").map(|(_, value)| value.trim().trim_matches('"'));
    paths.filter_map(crate::source::normalize_path).filter(|path| !path.is_empty()).collect()
}

/// What a pointer of Git LFS names. Source: the specification of Git LFS, version 1.
struct Pointer {
    sha256: String,
    size: usize,
}

impl Pointer {
    fn read(content: &[u8]) -> Option<Self> {
        if content.len() > MAX_POINTER || !content.starts_with(b"version https://git-lfs.github.com/spec/v1\n") {
            return None;
        }
        let text = std::str::from_utf8(content).ok()?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        let sha256 = value("oid sha256:")?.to_owned();
        let is_hex = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let size = value("size ")?.parse().ok()?;
        is_hex.then_some(Self { sha256, size })
    }

    /// Where the content is kept.
    fn place(&self, git_dir: &Path) -> PathBuf {
        let (first, second) = (self.sha256.get(..2).unwrap_or(""), self.sha256.get(2..4).unwrap_or(""));
        git_dir.join("lfs/objects").join(first).join(second).join(&self.sha256)
    }
}

/// Returns what a pointer of Git LFS points to; `None` for other content, and where it is not here or damaged.
pub(super) fn lfs_content(repo: &git2::Repository, content: &[u8]) -> Option<Vec<u8>> {
    let pointer = Pointer::read(content)?;
    let found = std::fs::read(pointer.place(repo.commondir())).ok()?;
    let digest: String = Sha256::digest(&found).iter().map(|byte| format!("{byte:02x}")).collect();
    (found.len() == pointer.size && digest == pointer.sha256).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_told_from_other_files() {
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 3\n", "ab".repeat(32));
        let read = Pointer::read(pointer.as_bytes()).unwrap();
        assert_eq!((read.size, read.place(Path::new("/g")).to_string_lossy().into_owned()), {
            let name = "ab".repeat(32);
            (3, format!("/g/lfs/objects/ab/ab/{name}"))
        });
        for other in ["", "version https://git-lfs.github.com/spec/v1\noid sha256:../../x\nsize 3\n", "text"] {
            assert!(Pointer::read(other.as_bytes()).is_none());
        }
    }

    #[test]
    fn paths_of_modules_stay_inside() {
        let text = b"[submodule \"a\"]\n\tpath = libs/a\n\turl = x\n[submodule \"b\"]\n\tpath = \"../b\"\n\tpath=c\n";
        assert_eq!(module_paths(text), ["libs/a", "c"]);
    }
}
