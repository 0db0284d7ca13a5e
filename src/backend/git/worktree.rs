//! The work tree: what differs from a commit, and the overlay of `--dev`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::submodules::Which;
use super::{BUILD_REPORT, Commit, DEPLOY_REPORT, GitError, Repository, git_error};
use crate::ports::{WorkTree, WorkTreeError};
use crate::source::{Files, MemoryObjects, Mode, ObjectId, Objects};

/// How a file of the work tree differs from the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorktreeState {
    /// It is not known to git, and not ignored.
    Untracked,
    /// It differs from the commit.
    Modified,
    /// It is gone.
    Deleted,
}

/// One file that differs from the commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorktreeChange {
    /// Path from the repository's root.
    pub path: String,
    /// How it differs.
    pub state: WorktreeState,
}

impl Repository {
    /// Returns the files at or below the given paths that differ from HEAD, sorted; all files for no paths.
    ///
    /// # Errors
    /// libgit2 failed.
    pub fn changes(&self, paths: &[String]) -> Result<Vec<WorktreeChange>, GitError> {
        if !paths.is_empty() && self.are_committed(paths) {
            return Ok(Vec::new());
        }
        self.with(|repo| {
            let mut options = git2::StatusOptions::new();
            options.include_untracked(true).recurse_untracked_dirs(true).exclude_submodules(true);
            options.disable_pathspec_match(true).no_refresh(true);
            for path in paths {
                options.pathspec(path);
            }
            let statuses = repo.statuses(Some(&mut options)).map_err(|e| git_error("compare the work tree", e))?;
            let mut changes: Vec<WorktreeChange> = statuses.iter().filter_map(|s| change(&s)).collect();
            changes.sort();
            Ok(changes)
        })
    }

    /// Says whether the files at and below these paths are, byte for byte, those of HEAD. `false` decides nothing: other
    /// bytes may mean the same to git, or be ignored. It is asked first because git has to read its whole index.
    fn are_committed(&self, paths: &[String]) -> bool {
        let Ok(head) = self.head() else { return false };
        paths.iter().all(|path| self.is_committed(head.tree, path).unwrap_or(false))
    }

    fn is_committed(&self, root: ObjectId, path: &str) -> Option<bool> {
        let path = path.trim_end_matches('/');
        let mut at = (Mode::Directory, root);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if at.0 != Mode::Directory {
                return Some(false);
            }
            match self.tree(at.1).ok()?.get(name) {
                Some(entry) => at = (entry.mode, entry.id),
                None => return Some(self.root.join(path).symlink_metadata().is_err()),
            }
        }
        let mut waiting = vec![(path.to_owned(), at)];
        while let Some((path, (mode, id))) = waiting.pop() {
            if mode != Mode::Directory {
                let (found, content) = read_work_file(&self.root, &path).ok()??;
                if found != mode || ObjectId::of_blob(&content) != id {
                    return Some(false);
                }
                continue;
            }
            let place = self.root.join(&path);
            if !place.symlink_metadata().ok()?.is_dir() {
                return Some(false);
            }
            let tree = self.tree(id).ok()?;
            let mut count = 0;
            for entry in std::fs::read_dir(place).ok()? {
                // A name that the commit does not have; whether it counts, git has to say.
                tree.get(entry.ok()?.file_name().to_str()?)?;
                count += 1;
            }
            if count != tree.entries().len() {
                return Some(false);
            }
            let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            waiting.extend(tree.entries().iter().map(|entry| (below(&entry.name), (entry.mode, entry.id))));
        }
        Some(true)
    }

    /// Says whether a file is no part of the work tree: git ignores it, or it lies elsewhere.
    pub fn is_ignored(&self, file: &Path) -> bool {
        let (Some(Ok(dir)), Ok(root)) = (file.parent().map(Path::canonicalize), self.root.canonicalize()) else {
            return true;
        };
        let Ok(within) = dir.strip_prefix(root) else { return true };
        let name = file.file_name().map(|name| within.join(name)).unwrap_or_default();
        self.with(|git| git.is_path_ignored(&name)).unwrap_or(true)
    }

    /// Returns the files of the work tree as if all of it were committed: changed, new and deleted files count,
    /// ignored ones do not.
    ///
    /// # Errors
    /// libgit2 or the file system failed.
    pub fn dev_files(self: &Arc<Self>, head: &Commit) -> Result<Files, GitError> {
        let files = self.changed_files(head, &[])?;
        self.with_submodules(files, Which::CheckedOut)
    }

    /// As [`Repository::dev_files`], but only files at or below these paths are looked at; the others are those of the
    /// commit. All files for no paths.
    ///
    /// # Errors
    /// libgit2 or the file system failed.
    pub fn dev_files_at(self: &Arc<Self>, head: &Commit, paths: &[String]) -> Result<Files, GitError> {
        let files = self.changed_files(head, paths)?;
        self.with_submodules(files, Which::Recorded)
    }

    fn changed_files(self: &Arc<Self>, head: &Commit, paths: &[String]) -> Result<Files, GitError> {
        let mut changes = BTreeMap::new();
        let is_report = |change: &WorktreeChange| {
            let name = change.path.rsplit('/').next().unwrap_or_default();
            change.state == WorktreeState::Untracked && [BUILD_REPORT, DEPLOY_REPORT].contains(&name)
        };
        // What a run says of itself is nothing that it is made from.
        for WorktreeChange { path, state } in self.changes(paths)?.into_iter().filter(|change| !is_report(change)) {
            let content = match state {
                WorktreeState::Deleted => None,
                WorktreeState::Modified | WorktreeState::Untracked => read_work_file(&self.root, &path)?,
            };
            changes.insert(path, content);
        }
        let objects: Arc<dyn Objects> = self.clone();
        if changes.is_empty() {
            return Ok(Files::new(objects, head.tree));
        }
        let overlay = MemoryObjects::over(objects);
        let root = overlay.with_changes(Some(head.tree), &changes)?;
        Ok(Files::new(Arc::new(overlay), root))
    }
}

impl WorkTree for Repository {
    fn below(&self, path: &str) -> Result<BTreeMap<String, (Mode, Vec<u8>)>, WorkTreeError> {
        let failed = |path: &str, cause: String| WorkTreeError { path: path.to_owned(), cause };
        let place = self.root.join(path);
        let Ok(above) = place.parent().unwrap_or(&place).canonicalize() else { return Ok(BTreeMap::new()) };
        let root = self.root.canonicalize().map_err(|e| failed(path, e.to_string()))?;
        if !above.starts_with(&root) {
            return Err(failed(path, "it lies outside of the repository".to_owned()));
        }
        let mut found = BTreeMap::new();
        let mut waiting = vec![path.to_owned()];
        while let Some(path) = waiting.pop() {
            let place = self.root.join(&path);
            if place.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                for entry in std::fs::read_dir(&place).map_err(|e| failed(&path, e.to_string()))? {
                    let name = entry.map_err(|e| failed(&path, e.to_string()))?.file_name();
                    let Some(name) = name.to_str() else {
                        return Err(failed(&path, format!("the name `{}` is not UTF-8", name.display())));
                    };
                    if name != ".git" {
                        waiting.push(if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") });
                    }
                }
            } else if let Some(file) = read_work_file(&self.root, &path).map_err(|e| failed(&path, e.to_string()))? {
                found.insert(path, file);
            }
        }
        Ok(found)
    }
}

fn change(entry: &git2::StatusEntry<'_>) -> Option<WorktreeChange> {
    let status = entry.status();
    let path = String::from_utf8(entry.path_bytes().to_vec()).ok()?;
    let state = if status.is_wt_new() {
        WorktreeState::Untracked
    } else if status.is_wt_deleted() || (status.is_index_deleted() && !status.is_wt_modified()) {
        WorktreeState::Deleted
    } else if status.is_ignored() || status == git2::Status::CURRENT {
        return None;
    } else {
        WorktreeState::Modified
    };
    // A nested repository is reported as an untracked directory.
    (!path.ends_with('/')).then_some(WorktreeChange { path, state })
}

/// Reads a file of the work tree with its mode; `None` when it is gone or no file.
fn read_work_file(root: &Path, path: &str) -> Result<Option<(Mode, Vec<u8>)>, GitError> {
    let full = root.join(path);
    let io = |source| GitError::Io { path: full.clone(), source };
    let meta = match full.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    if meta.is_symlink() {
        let target = std::fs::read_link(&full).map_err(io)?;
        return Ok(Some((Mode::Symlink, target.into_os_string().into_encoded_bytes())));
    }
    if !meta.is_file() {
        return Ok(None);
    }
    let mode = if is_executable(&meta) { Mode::Executable } else { Mode::File };
    Ok(Some((mode, std::fs::read(&full).map_err(io)?)))
}

#[cfg(unix)]
fn is_executable(meta: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&meta.permissions()) & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(dir: &Path) -> Arc<Repository> {
        let repo = git2::Repository::init(dir).unwrap();
        std::fs::write(dir.join("a"), "1").unwrap();
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::fs::write(dir.join("sub/b"), "2").unwrap();
        std::fs::write(dir.join(".gitignore"), "*.log\n").unwrap();
        let mut index = repo.index().unwrap();
        index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
        index.write().unwrap();
        let tree = repo.find_tree(index.write_tree().unwrap()).unwrap();
        let author = git2::Signature::now("a", "a@example.org").unwrap();
        repo.commit(Some("HEAD"), &author, &author, "first", &tree, &[]).unwrap();
        Arc::new(Repository::discover(&dir.join("sub")).unwrap())
    }

    #[test]
    fn reports_of_runs_are_no_part_of_the_work_tree_unless_they_are_committed() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repository(dir.path());
        let head = repo.head().unwrap();
        for name in [BUILD_REPORT, DEPLOY_REPORT, "sub/.werf-deploy-report.json"] {
            std::fs::write(dir.path().join(name), "{}").unwrap();
        }
        assert_eq!(repo.dev_files(&head).unwrap().root(), head.tree);
        assert!(!repo.is_ignored(&dir.path().join("report.json")));
        assert!(repo.is_ignored(&dir.path().join("report.log")) && repo.is_ignored(&dir.path().join("../report.json")));
    }

    #[test]
    fn a_commit_is_read_without_the_work_tree() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repository(dir.path());
        std::fs::write(dir.path().join("a"), "changed").unwrap();
        let files = repo.files(&repo.head().unwrap());
        assert_eq!(&*files.read("a").unwrap(), b"1");
        assert_eq!(repo.relative(&dir.path().join("sub")).unwrap(), "sub");
    }

    #[test]
    fn dev_files_hold_changed_new_and_deleted_files_but_no_ignored_ones() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repository(dir.path());
        std::fs::write(dir.path().join("a"), "changed").unwrap();
        std::fs::write(dir.path().join("new"), "n").unwrap();
        std::fs::write(dir.path().join("x.log"), "l").unwrap();
        std::fs::remove_file(dir.path().join("sub/b")).unwrap();
        let head = repo.head().unwrap();
        let files = repo.dev_files(&head).unwrap();
        let names: Vec<String> = files.walk("").unwrap().into_iter().map(|(p, _)| p).collect();
        assert_eq!(names, [".gitignore", "a", "new"]);
        assert_eq!(&*files.read("a").unwrap(), b"changed");
    }

    #[test]
    fn a_clean_dev_tree_is_the_commit() {
        let dir = tempfile::tempdir().unwrap();
        let repo = repository(dir.path());
        let head = repo.head().unwrap();
        assert_eq!(repo.dev_files(&head).unwrap().root(), head.tree);
    }

    #[test]
    fn an_unborn_branch_and_a_missing_repository_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Repository::discover(dir.path()), Err(GitError::NotARepository { .. })));
        git2::Repository::init(dir.path()).unwrap();
        assert!(matches!(Repository::discover(dir.path()).unwrap().head(), Err(GitError::Unborn { .. })));
    }
}
