//! git: commits and their trees through the object database; the work tree only where it is asked for.
//!
//! What lives here: [`Repository`] and the [`Objects`] over it, work tree status, the overlay of `--dev`, other
//! repositories ([`RemoteRepositories`]). What
//! does not: deciding which files may come from where (`config`).
//!
//! The one idea: libgit2 handles are not shared between threads, trees are. Handles come from a pool, and every
//! tree is parsed once a run.
#![expect(clippy::disallowed_methods, reason = "this is where the repository and the work tree are read")]

mod history;
mod remote;
mod submodules;
mod worktree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustc_hash::FxHashMap;

use crate::source::{Files, FilesError, Mode, ObjectId, Objects, Tree, TreeEntry};

use submodules::{Which, lfs_content};

pub use history::GitHistory;
pub use remote::RemoteRepositories;
pub use worktree::{WorktreeChange, WorktreeState};

/// Where the report of a build is saved when no file is named. Source: werf 2.x.
pub const BUILD_REPORT: &str = ".werf-build-report.json";
/// Where the report of a deploy is saved when no file is named. Source: werf 2.x.
pub const DEPLOY_REPORT: &str = ".werf-deploy-report.json";

/// Why the repository could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no repository here.
    #[error("`{dir}` is not in a git repository")]
    NotARepository {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// It has no work tree.
    #[error("the git repository `{dir}` is bare: it has no work tree")]
    Bare {
        /// The repository.
        dir: PathBuf,
    },
    /// It has no commit.
    #[error("branch `{branch}` has no commit yet")]
    Unborn {
        /// The branch.
        branch: String,
    },
    /// The directory is not in the work tree.
    #[error("`{dir}` is not in the work tree `{root}`")]
    Outside {
        /// The directory.
        dir: PathBuf,
        /// The work tree.
        root: PathBuf,
    },
    /// A name does not lead to a commit.
    #[error("`{rev}` is not a commit of this repository")]
    NoCommit {
        /// The name.
        rev: String,
    },
    /// libgit2 failed.
    #[error("{attempt}")]
    Git {
        /// What was attempted.
        attempt: String,
        /// Why it failed.
        #[source]
        source: git2::Error,
    },
    /// A file of the work tree could not be read.
    #[error("read `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The object database failed.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// 40 hexadecimal digits.
    pub hash: String,
    /// Its tree.
    pub tree: ObjectId,
    /// Author date. Unit: seconds since the Unix epoch.
    pub author_seconds: i64,
    /// Author's offset from UTC. Unit: minutes.
    pub author_offset: i32,
}

/// A repository with a work tree.
pub struct Repository {
    git_dir: PathBuf,
    root: PathBuf,
    pool: Mutex<Vec<git2::Repository>>,
    trees: RwLock<FxHashMap<ObjectId, Arc<Tree>>>,
}

impl Repository {
    /// Finds the repository of a directory, upwards.
    ///
    /// # Errors
    /// There is none, or it is bare.
    pub fn discover(dir: &Path) -> Result<Self, GitError> {
        trust_objects();
        let found = git2::Repository::discover(dir).map_err(|_| GitError::NotARepository { dir: dir.to_owned() })?;
        let git_dir = found.path().to_owned();
        let Some(root) = found.workdir().map(Path::to_owned) else {
            return Err(GitError::Bare { dir: git_dir });
        };
        let root = root.canonicalize().map_err(|source| GitError::Io { path: root, source })?;
        Ok(Self { git_dir, root, pool: Mutex::new(vec![found]), trees: RwLock::default() })
    }

    /// Opens a repository of which only objects are read: in exactly this folder, bare or not.
    fn open_at(dir: &Path) -> Result<Self, git2::Error> {
        trust_objects();
        let found = git2::Repository::open(dir)?;
        let git_dir = found.path().to_owned();
        Ok(Self { root: git_dir.clone(), git_dir, pool: Mutex::new(vec![found]), trees: RwLock::default() })
    }

    /// Returns the work tree's root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of `dir` relative to the root, `/`-separated; empty for the root itself.
    ///
    /// # Errors
    /// The directory does not exist, or lies outside.
    pub fn relative(&self, dir: &Path) -> Result<String, GitError> {
        let full = dir.canonicalize().map_err(|source| GitError::Io { path: dir.to_owned(), source })?;
        let outside = || GitError::Outside { dir: dir.to_owned(), root: self.root.clone() };
        let inner = full.strip_prefix(&self.root).map_err(|_| outside())?;
        let parts: Option<Vec<&str>> = inner.iter().map(std::ffi::OsStr::to_str).collect();
        Ok(parts.ok_or_else(outside)?.join("/"))
    }

    /// Returns the commit that is checked out.
    ///
    /// # Errors
    /// The branch has no commit yet, or libgit2 failed.
    pub fn head(&self) -> Result<Commit, GitError> {
        self.with(|repo| match repo.head() {
            Ok(head) => {
                let commit = head.peel_to_commit().map_err(|e| git_error("read HEAD", e))?;
                Ok(commit_value(&commit))
            }
            Err(e) if e.code() == git2::ErrorCode::UnbornBranch => {
                let reference = repo.find_reference("HEAD").ok();
                let target = reference.and_then(|r| r.symbolic_target().ok().flatten().map(str::to_owned));
                let name = target.unwrap_or_default();
                Err(GitError::Unborn { branch: name.strip_prefix("refs/heads/").unwrap_or(&name).to_owned() })
            }
            Err(e) => Err(git_error("read HEAD", e)),
        })
    }

    /// Returns the commit that a name stands for.
    ///
    /// # Errors
    /// There is no such commit.
    pub fn commit(&self, rev: &str) -> Result<Commit, GitError> {
        self.with(|repo| {
            let object = repo.revparse_single(rev).ok();
            let commit = object.and_then(|o| o.peel_to_commit().ok());
            commit.map(|c| commit_value(&c)).ok_or_else(|| GitError::NoCommit { rev: rev.to_owned() })
        })
    }

    /// Returns the files of a commit, with those of submodules that are checked out.
    pub fn files(self: &Arc<Self>, commit: &Commit) -> Files {
        let objects: Arc<dyn Objects> = self.clone();
        let files = Files::new(objects, commit.tree);
        // What cannot be laid in is told by `gaps`.
        self.with_submodules(files.clone(), Which::Recorded).unwrap_or(files)
    }

    /// Returns the URL of the remote `origin`, if there is one.
    pub fn origin_url(&self) -> Option<String> {
        self.with(|repo| repo.find_remote("origin").ok().and_then(|r| r.url().ok().map(str::to_owned)))
    }

    /// Lends a handle of the pool to `f`.
    fn with<T>(&self, f: impl FnOnce(&git2::Repository) -> T) -> T {
        let taken = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let repo = taken.or_else(|| git2::Repository::open(&self.git_dir).ok());
        let repo = repo.expect("a repository that was open can be opened again");
        let result = f(&repo);
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(repo);
        result
    }
}

/// Reads objects without hashing them again: their compressed form has a checksum, and git does the same.
fn trust_objects() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| git2::opts::strict_hash_verification(false));
}

fn git_error(attempt: impl Into<String>, source: git2::Error) -> GitError {
    GitError::Git { attempt: attempt.into(), source }
}

fn commit_value(commit: &git2::Commit<'_>) -> Commit {
    let time = commit.author().when();
    Commit {
        hash: commit.id().to_string(),
        tree: object_id(commit.tree_id()),
        author_seconds: time.seconds(),
        author_offset: time.offset_minutes(),
    }
}

fn object_id(oid: git2::Oid) -> ObjectId {
    let mut bytes = [0; 20];
    for (to, from) in bytes.iter_mut().zip(oid.as_bytes()) {
        *to = *from;
    }
    ObjectId(bytes)
}

fn oid(id: ObjectId) -> Result<git2::Oid, FilesError> {
    git2::Oid::from_bytes(&id.0).map_err(|e| FilesError::Object { id, cause: e.message().to_owned() })
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Repository({})", self.root.display())
    }
}

impl Objects for Repository {
    fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, FilesError> {
        if let Some(tree) = self.trees.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(tree.clone());
        }
        let wrap = |e: git2::Error| FilesError::Object { id, cause: e.message().to_owned() };
        let tree = self.with(|repo| {
            let found = repo.find_tree(oid(id)?).map_err(wrap)?;
            let entries = found.iter().map(|entry| tree_entry(id, &entry)).collect::<Result<Vec<_>, _>>()?;
            Ok(Arc::new(Tree::new(entries)))
        })?;
        self.trees.write().unwrap_or_else(PoisonError::into_inner).insert(id, tree.clone());
        Ok(tree)
    }

    fn blob(&self, id: ObjectId) -> Result<Arc<[u8]>, FilesError> {
        let wrap = |e: git2::Error| FilesError::Object { id, cause: e.message().to_owned() };
        self.with(|repo| {
            let blob = repo.find_blob(oid(id)?).map_err(wrap)?;
            Ok(lfs_content(repo, blob.content()).map_or_else(|| Arc::from(blob.content()), Arc::from))
        })
    }

    fn size(&self, id: ObjectId) -> Result<u64, FilesError> {
        let wrap = |e: git2::Error| FilesError::Object { id, cause: e.message().to_owned() };
        let header = |repo: &git2::Repository| repo.odb()?.read_header(git2::Oid::from_str(&id.to_string())?);
        let size = self.with(|repo| Ok(header(repo).map_err(wrap)?.0 as u64))?;
        // A short one may be a pointer of LFS.
        if size < 1024 { Ok(self.blob(id)?.len() as u64) } else { Ok(size) }
    }
}

fn tree_entry(tree: ObjectId, entry: &git2::TreeEntry<'_>) -> Result<TreeEntry, FilesError> {
    let name = std::str::from_utf8(entry.name_bytes());
    let bad = |cause: String| FilesError::Object { id: tree, cause };
    let name = name.map_err(|_| {
        bad(format!("the file name `{}` is not UTF-8; rename it", String::from_utf8_lossy(entry.name_bytes())))
    })?;
    Ok(TreeEntry { name: name.into(), mode: mode(entry.filemode_raw()), id: object_id(entry.id()) })
}

fn mode(raw: i32) -> Mode {
    match raw {
        0o040_000 => Mode::Directory,
        0o120_000 => Mode::Symlink,
        0o160_000 => Mode::Submodule,
        raw if raw & 0o111 != 0 => Mode::Executable,
        _ => Mode::File,
    }
}
