//! Read-only trees of git objects: the trait [`Objects`], the tree walker [`Files`], and [`MemoryObjects`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::FxHashMap;
use sha1::{Digest as _, Sha1};

/// The name git gives to a blob or a tree: SHA-1 of its type, length and content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub [u8; 20]);

impl ObjectId {
    /// Returns the id of a blob with this content. Source: git, `hash-object -t blob`.
    pub fn of_blob(content: &[u8]) -> Self {
        Self::of("blob", content)
    }

    /// Returns the id of a tree with these entries, in any order. Source: git, `mktree`.
    pub fn of_tree(entries: &[TreeEntry]) -> Self {
        let mut sorted: Vec<&TreeEntry> = entries.iter().collect();
        sorted.sort_by(|a, b| git_order(a, b));
        let mut raw = Vec::with_capacity(entries.len() * 40);
        for entry in sorted {
            raw.extend_from_slice(entry.mode.octal().as_bytes());
            raw.push(b' ');
            raw.extend_from_slice(entry.name.as_bytes());
            raw.push(0);
            raw.extend_from_slice(&entry.id.0);
        }
        Self::of("tree", &raw)
    }

    fn of(kind: &str, content: &[u8]) -> Self {
        let mut hash = Sha1::new();
        hash.update(format!("{kind} {}\0", content.len()).as_bytes());
        hash.update(content);
        Self(hash.finalize().into())
    }

    /// Reads 40 hexadecimal digits; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

/// Orders tree entries as git does: by bytes, a directory as if its name ended in `/`.
fn git_order(a: &TreeEntry, b: &TreeEntry) -> std::cmp::Ordering {
    fn bytes(entry: &TreeEntry) -> impl Iterator<Item = u8> + '_ {
        let slash = if entry.mode == Mode::Directory { "/" } else { "" };
        entry.name.bytes().chain(slash.bytes())
    }
    bytes(a).cmp(bytes(b))
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for ObjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("an object id has 40 hexadecimal digits"))
    }
}

/// What a tree entry is. Source: the file modes of git trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A regular file, 0644.
    File,
    /// A regular file, 0755.
    Executable,
    /// A symbolic link; its blob is the target.
    Symlink,
    /// A directory.
    Directory,
    /// A commit of another repository; its content is not in this one.
    Submodule,
}

impl Mode {
    /// Returns the mode as git writes it in a tree.
    pub fn octal(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Directory => "40000",
            Self::Submodule => "160000",
        }
    }
}

/// One name in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// A single path component.
    pub name: Box<str>,
    /// What it is.
    pub mode: Mode,
    /// Blob, tree or commit.
    pub id: ObjectId,
}

/// The entries of one directory, sorted by name bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree(Vec<TreeEntry>);

impl Tree {
    /// Makes a tree; the entries may come in any order.
    pub fn new(mut entries: Vec<TreeEntry>) -> Self {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Self(entries)
    }

    /// Returns the entry of that name.
    pub fn get(&self, name: &str) -> Option<&TreeEntry> {
        self.0.binary_search_by(|e| (*e.name).cmp(name)).ok().and_then(|i| self.0.get(i))
    }

    /// Returns all entries, sorted by name bytes.
    pub fn entries(&self) -> &[TreeEntry] {
        &self.0
    }
}

/// A store of git objects, read by id.
///
/// Errors: [`FilesError`] when the object is absent or unreadable.
pub trait Objects: Send + Sync {
    /// Returns the entries of a tree.
    ///
    /// # Errors
    /// The tree is absent or unreadable.
    fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, FilesError>;
    /// Returns the bytes of a blob.
    ///
    /// # Errors
    /// The blob is absent or unreadable.
    fn blob(&self, id: ObjectId) -> Result<Arc<[u8]>, FilesError>;

    /// Returns the size of a blob. Unit: bytes.
    ///
    /// # Errors
    /// As [`Objects::blob`].
    fn size(&self, id: ObjectId) -> Result<u64, FilesError> {
        Ok(self.blob(id)?.len() as u64)
    }
}

/// Why a file could not be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FilesError {
    /// No such file.
    #[error("`{path}` does not exist")]
    NotFound {
        /// The path asked for.
        path: String,
    },
    /// The path is something else than what was asked for.
    #[error("`{path}` is {found}, not {wanted}")]
    WrongKind {
        /// The path asked for.
        path: String,
        /// What it is, with its article.
        found: &'static str,
        /// What was asked for, with its article.
        wanted: &'static str,
    },
    /// A link leads out of the tree, or in a circle.
    #[error("the symbolic link `{path}` leads out of the repository or in a circle")]
    Link {
        /// The link.
        path: String,
    },
    /// The object store failed.
    #[error("read object {id}: {cause}")]
    Object {
        /// The object.
        id: ObjectId,
        /// What the store said.
        cause: String,
    },
}

/// A file or directory that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub mode: Mode,
    /// Its object.
    pub id: ObjectId,
}

/// A read-only tree of files: a root tree in an object store. Paths are relative, `/`-separated, without
/// leading slash; the root is the empty path.
#[derive(Clone)]
pub struct Files {
    objects: Arc<dyn Objects>,
    root: ObjectId,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Files {
    /// Makes the tree with that root.
    pub fn new(objects: Arc<dyn Objects>, root: ObjectId) -> Self {
        Self { objects, root }
    }

    /// Returns the root tree's id.
    pub fn root(&self) -> ObjectId {
        self.root
    }

    /// Returns the store below.
    pub fn objects(&self) -> &Arc<dyn Objects> {
        &self.objects
    }

    /// Finds a path without following links; `None` when there is nothing.
    ///
    /// # Errors
    /// The object store failed.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>, FilesError> {
        let mut at = Entry { mode: Mode::Directory, id: self.root };
        for name in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
            if at.mode != Mode::Directory {
                return Ok(None);
            }
            match self.objects.tree(at.id)?.get(name) {
                Some(next) => at = Entry { mode: next.mode, id: next.id },
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Finds a path, following symbolic links that stay inside the tree; returns the real path too.
    ///
    /// # Errors
    /// The object store failed, or a link leads out of the tree or in a circle.
    pub fn resolve(&self, path: &str) -> Result<Option<(String, Entry)>, FilesError> {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        let link_error = || FilesError::Link { path: path.to_owned() };
        while let Some(name) = todo.pop() {
            if name.is_empty() || name == "." {
                continue;
            }
            if name == ".." {
                done.pop().ok_or_else(link_error)?;
                continue;
            }
            done.push(name);
            let here = done.join("/");
            let Some(entry) = self.entry(&here)? else { return Ok(None) };
            if entry.mode == Mode::Symlink {
                links += 1;
                let target = String::from_utf8_lossy(&self.objects.blob(entry.id)?).into_owned();
                if links > 40 || target.starts_with('/') {
                    return Err(link_error());
                }
                done.pop();
                todo.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        let real = done.join("/");
        Ok(self.entry(&real)?.map(|entry| (real, entry)))
    }

    /// Returns the bytes of a file, following links that stay inside.
    ///
    /// # Errors
    /// Nothing is there, it is no file, a link leads out, or the object store failed.
    pub fn read(&self, path: &str) -> Result<Arc<[u8]>, FilesError> {
        let (_, entry) = self.resolve(path)?.ok_or_else(|| FilesError::NotFound { path: path.to_owned() })?;
        match entry.mode {
            Mode::File | Mode::Executable | Mode::Symlink => self.objects.blob(entry.id),
            Mode::Directory => {
                Err(FilesError::WrongKind { path: path.to_owned(), found: "a directory", wanted: "a file" })
            }
            Mode::Submodule => {
                Err(FilesError::WrongKind { path: path.to_owned(), found: "a submodule", wanted: "a file" })
            }
        }
    }

    /// Returns the tree below `path` as files of their own, following links; `None` when it is no directory.
    ///
    /// # Errors
    /// The object store failed, or a link leads out of the tree.
    pub fn subtree(&self, path: &str) -> Result<Option<Self>, FilesError> {
        let found = self.resolve(path)?.filter(|(_, e)| e.mode == Mode::Directory);
        Ok(found.map(|(_, entry)| Self { objects: self.objects.clone(), root: entry.id }))
    }

    /// Returns every file, link and submodule below `path` with its path from the root, in tree order.
    ///
    /// # Errors
    /// The object store failed.
    pub fn walk(&self, path: &str) -> Result<Vec<(String, Entry)>, FilesError> {
        let mut found = Vec::new();
        let prefix = path.trim_matches('/');
        match self.entry(prefix)? {
            None => {}
            Some(Entry { mode: Mode::Directory, id }) => self.walk_tree(prefix, id, &mut found)?,
            Some(entry) => found.push((prefix.to_owned(), entry)),
        }
        Ok(found)
    }

    fn walk_tree(&self, prefix: &str, id: ObjectId, found: &mut Vec<(String, Entry)>) -> Result<(), FilesError> {
        for entry in self.objects.tree(id)?.entries() {
            let path = if prefix.is_empty() { entry.name.to_string() } else { format!("{prefix}/{}", entry.name) };
            match entry.mode {
                Mode::Directory => self.walk_tree(&path, entry.id, found)?,
                Mode::File | Mode::Executable | Mode::Symlink | Mode::Submodule => {
                    found.push((path, Entry { mode: entry.mode, id: entry.id }));
                }
            }
        }
        Ok(())
    }
}

/// Cleans a relative path: `.` and empty components vanish, `a/..` collapses; `None` when it leaves the root.
pub fn normalize_path(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// An object store in memory, alone or as an overlay over another one.
#[derive(Default)]
pub struct MemoryObjects {
    below: Option<Arc<dyn Objects>>,
    trees: RwLock<FxHashMap<ObjectId, Arc<Tree>>>,
    blobs: RwLock<FxHashMap<ObjectId, Arc<[u8]>>>,
}

impl MemoryObjects {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an overlay: what is not here is looked up in `below`.
    pub fn over(below: Arc<dyn Objects>) -> Self {
        Self { below: Some(below), ..Self::default() }
    }

    /// Stores a blob and returns its id.
    pub fn insert_blob(&self, content: impl Into<Arc<[u8]>>) -> ObjectId {
        let content = content.into();
        let id = ObjectId::of_blob(&content);
        self.blobs.write().unwrap_or_else(PoisonError::into_inner).insert(id, content);
        id
    }

    /// Stores a tree and returns its id.
    pub fn insert_tree(&self, entries: Vec<TreeEntry>) -> ObjectId {
        let id = ObjectId::of_tree(&entries);
        self.trees.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(Tree::new(entries)));
        id
    }

    /// Returns the tree that differs from `root` in the given paths: `Some` sets a file, `None` removes one.
    ///
    /// # Errors
    /// The object store failed.
    pub fn with_changes(
        &self,
        root: Option<ObjectId>,
        changes: &BTreeMap<String, Option<(Mode, Vec<u8>)>>,
    ) -> Result<ObjectId, FilesError> {
        let stored =
            |(mode, content): &(Mode, Vec<u8>)| Entry { mode: *mode, id: self.insert_blob(content.as_slice()) };
        let entries = changes.iter().map(|(path, change)| (path.clone(), change.as_ref().map(stored))).collect();
        self.with_entries(root, &entries)
    }

    /// As [`MemoryObjects::with_changes`], of objects that are stored already, here or below.
    ///
    /// # Errors
    /// The object store failed.
    pub fn with_entries(
        &self,
        root: Option<ObjectId>,
        changes: &BTreeMap<String, Option<Entry>>,
    ) -> Result<ObjectId, FilesError> {
        let list: Vec<Change<'_>> = changes.iter().map(|(p, c)| (p.as_str(), *c)).collect();
        let changed = self.changed_tree(root, &list)?;
        Ok(changed.unwrap_or_else(|| self.insert_tree(Vec::new())))
    }

    fn changed_tree(&self, base: Option<ObjectId>, changes: &[Change<'_>]) -> Result<Option<ObjectId>, FilesError> {
        let mut entries: BTreeMap<Box<str>, TreeEntry> = BTreeMap::new();
        if let Some(id) = base {
            entries.extend(self.tree(id)?.entries().iter().map(|e| (e.name.clone(), e.clone())));
        }
        let mut below: BTreeMap<&str, Vec<Change<'_>>> = BTreeMap::new();
        for (path, change) in changes {
            match (path.split_once('/'), change) {
                (Some((dir, rest)), _) => below.entry(dir).or_default().push((rest, *change)),
                (None, None) => {
                    entries.remove(*path);
                }
                (None, Some(Entry { mode, id })) => {
                    entries.insert((*path).into(), TreeEntry { name: (*path).into(), mode: *mode, id: *id });
                }
            }
        }
        for (dir, changes) in below {
            let old = entries.get(dir).filter(|e| e.mode == Mode::Directory).map(|e| e.id);
            match self.changed_tree(old, &changes)? {
                Some(id) => entries.insert(dir.into(), TreeEntry { name: dir.into(), mode: Mode::Directory, id }),
                None if old.is_some() => entries.remove(dir),
                None => None,
            };
        }
        if entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.insert_tree(entries.into_values().collect())))
    }

    /// Makes a tree of plain text files: the usual way to write a fixture.
    ///
    /// Panics: never; the store starts empty.
    pub fn files<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Files {
        let store = Self::new();
        let changes =
            texts.into_iter().map(|(p, t)| (p.to_owned(), Some((Mode::File, t.as_bytes().to_vec())))).collect();
        let root = store.with_changes(None, &changes).expect("an empty store has nothing to fail on");
        Files::new(Arc::new(store), root)
    }
}

type Change<'a> = (&'a str, Option<Entry>);

/// Several object stores as one: an object is taken from the first that has it.
pub struct JoinedObjects(Vec<Arc<dyn Objects>>);

impl JoinedObjects {
    /// Joins stores; there must be one at least.
    pub fn new(first: Arc<dyn Objects>, others: impl IntoIterator<Item = Arc<dyn Objects>>) -> Self {
        Self(std::iter::once(first).chain(others).collect())
    }

    fn first<T>(&self, id: ObjectId, get: impl Fn(&dyn Objects) -> Result<T, FilesError>) -> Result<T, FilesError> {
        let mut failed = None;
        for store in &self.0 {
            match get(store.as_ref()) {
                Ok(found) => return Ok(found),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        Err(failed.unwrap_or_else(|| FilesError::Object { id, cause: "no such object".into() }))
    }
}

impl Objects for JoinedObjects {
    fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, FilesError> {
        self.first(id, |store| store.tree(id))
    }

    fn blob(&self, id: ObjectId) -> Result<Arc<[u8]>, FilesError> {
        self.first(id, |store| store.blob(id))
    }

    fn size(&self, id: ObjectId) -> Result<u64, FilesError> {
        self.first(id, |store| store.size(id))
    }
}

impl Objects for MemoryObjects {
    fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, FilesError> {
        if let Some(tree) = self.trees.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(tree.clone());
        }
        let below = self.below.as_ref();
        below.map_or_else(|| Err(FilesError::Object { id, cause: "no such tree".into() }), |b| b.tree(id))
    }

    fn blob(&self, id: ObjectId) -> Result<Arc<[u8]>, FilesError> {
        if let Some(blob) = self.blobs.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(blob.clone());
        }
        let below = self.below.as_ref();
        below.map_or_else(|| Err(FilesError::Object { id, cause: "no such blob".into() }), |b| b.blob(id))
    }

    fn size(&self, id: ObjectId) -> Result<u64, FilesError> {
        let ours = self.blobs.read().unwrap_or_else(PoisonError::into_inner).get(&id).map(|blob| blob.len() as u64);
        let below = || self.below.as_ref().map(|b| b.size(id));
        ours.map(Ok).or_else(below).unwrap_or_else(|| Err(FilesError::Object { id, cause: "no such blob".into() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        assert_eq!(ObjectId::of_blob(b"hello\n").to_string(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(ObjectId::of_tree(&[]).to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
    }

    #[test]
    fn a_change_keeps_the_ids_of_untouched_directories() {
        let files = MemoryObjects::files([("a/x", "1"), ("b/y", "2")]);
        let over = MemoryObjects::over(files.objects().clone());
        let changes = BTreeMap::from([("a/x".to_owned(), Some((Mode::File, b"3".to_vec())))]);
        let root = over.with_changes(Some(files.root()), &changes).unwrap();
        let changed = Files::new(Arc::new(over), root);
        assert_eq!(changed.entry("b").unwrap(), files.entry("b").unwrap());
        assert_ne!(changed.entry("a").unwrap(), files.entry("a").unwrap());
        assert_eq!(&*changed.read("a/x").unwrap(), b"3");
    }

    #[test]
    fn a_removed_last_file_removes_its_directory() {
        let files = MemoryObjects::files([("a/b/x", "1"), ("y", "2")]);
        let over = MemoryObjects::over(files.objects().clone());
        let root = over.with_changes(Some(files.root()), &BTreeMap::from([("a/b/x".to_owned(), None)])).unwrap();
        assert_eq!(root, MemoryObjects::files([("y", "2")]).root());
    }

    #[test]
    fn links_are_followed_inside_and_refused_outside() {
        let store = MemoryObjects::new();
        let link = |t: &str| Some((Mode::Symlink, t.as_bytes().to_vec()));
        let changes = BTreeMap::from([
            ("dir/file".to_owned(), Some((Mode::File, b"x".to_vec()))),
            ("in".to_owned(), link("dir/../dir/file")),
            ("out".to_owned(), link("../secret")),
            ("loop".to_owned(), link("loop")),
        ]);
        let root = store.with_changes(None, &changes).unwrap();
        let files = Files::new(Arc::new(store), root);
        assert_eq!(&*files.read("in").unwrap(), b"x");
        assert!(matches!(files.read("out"), Err(FilesError::Link { .. })));
        assert!(matches!(files.read("loop"), Err(FilesError::Link { .. })));
    }
}
