//! The files of an image as metadata: layers, the view through them, and the layer being made.
//!
//! What lives here: [`Node`], [`Layer`], [`View`] and [`Draft`]. What does not: bytes (`content.rs`).
//!
//! The one idea: a file's bytes are a reference to where they are, a git blob or a member of an archive. So copying
//! between images copies references, and only layers of the result are ever written.
//!
//! Paths have no leading slash; the root is the empty path.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::scratch::Scratch;
use crate::ports::BlobDigest;
use crate::source::ObjectId;

/// How many links a path may lead through.
const MAX_LINKS: usize = 255;

/// Extended attributes, by name.
pub type Attributes = Arc<BTreeMap<String, Vec<u8>>>;

/// The bit that makes what is put into a directory belong to its group.
const SET_GROUP: u32 = 0o2000;

/// Whose a directory becomes that has to be made on the way to something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewDirectory {
    /// User; root where none is asked for.
    pub uid: Option<u64>,
    /// Group.
    pub gid: Option<u64>,
}

/// One file, directory, link or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, 07777.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Extended attributes.
    pub xattrs: Option<Attributes>,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file; `linked` when the archive has it under several names.
    File {
        /// Where its bytes are.
        content: Content,
        /// Whether equal content means the same inode.
        linked: bool,
    },
    /// A symbolic link and its target.
    Symlink(Box<str>),
    /// A hard link to a path that its own archive does not hold.
    Hardlink(Box<str>),
    /// A device or a pipe: type flag of tar, major and minor number.
    Special(u8, u32, u32),
}

/// Where the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A git blob.
    Blob(ObjectId),
    /// Here.
    Text(Arc<[u8]>),
    /// A member of an archive, by its number.
    Member(Arc<Archive>, usize),
    /// A file of a folder on the disk, by its path there. Several names of one file have the same path.
    Host(Arc<HostTree>, Box<str>),
}

/// A folder of files on the disk; it lasts as long as somebody refers to it.
#[derive(Debug)]
pub struct HostTree {
    folder: PathBuf,
    _held: Held,
}

/// What makes a folder last.
#[derive(Debug)]
enum Held {
    Scratch { _held: Arc<Scratch> },
    Temporary { _held: tempfile::TempDir },
}

impl HostTree {
    /// Names a folder that lasts as long as `scratch`.
    pub fn new(folder: PathBuf, scratch: Arc<Scratch>) -> Self {
        Self { folder, _held: Held::Scratch { _held: scratch } }
    }

    /// Takes a folder that is removed with it.
    pub fn temporary(folder: tempfile::TempDir) -> Self {
        Self { folder: folder.path().to_owned(), _held: Held::Temporary { _held: folder } }
    }

    /// Returns the place of a file.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.join(inside)
    }
}

impl PartialEq for HostTree {
    fn eq(&self, other: &Self) -> bool {
        self.folder == other.folder
    }
}

impl Eq for HostTree {}

/// A tar file, plain or compressed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Archive {
    /// A layer in the store.
    Layer(BlobDigest),
    /// A file of the repository.
    Blob(ObjectId),
}

impl Node {
    /// Returns a directory of root, 0755.
    pub fn directory() -> Self {
        Self { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, xattrs: None }
    }

    /// Returns a file of root, 0644.
    pub fn file(content: Content) -> Self {
        Self { kind: Kind::File { content, linked: false }, mode: 0o644, uid: 0, gid: 0, xattrs: None }
    }

    /// Returns a symbolic link of root.
    pub fn symlink(target: &str) -> Self {
        Self { kind: Kind::Symlink(target.into()), mode: 0o777, uid: 0, gid: 0, xattrs: None }
    }

    /// Says whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

/// One layer: what it holds and what it hides of those below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// By path; what is in a directory follows it.
    pub entries: BTreeMap<Box<str>, Node>,
    /// Paths that are removed from the layers below.
    pub whiteouts: BTreeSet<Box<str>>,
    /// Directories whose content in the layers below is hidden.
    pub opaque: BTreeSet<Box<str>>,
    /// Directories that it has no entry for, though it holds something in them.
    pub implied: BTreeSet<Box<str>>,
}

/// What an implied directory is where no lower layer has it.
static IMPLIED: Node = Node { kind: Kind::Directory, mode: 0o755, uid: 0, gid: 0, xattrs: None };

impl Layer {
    /// Says whether a path of a lower layer cannot be seen through this one, which does not hold it itself.
    fn hides(&self, path: &str) -> bool {
        if !self.whiteouts.is_empty() && (self.whiteouts.contains(path)) {
            return true;
        }
        ancestors(path).any(|above| {
            self.whiteouts.contains(above)
                || self.opaque.contains(above)
                || self.entries.get(above).is_some_and(|node| !node.is_directory())
        })
    }

    /// Returns the entries strictly below a directory.
    fn below<'a>(&'a self, directory: &str) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        range_below(&self.entries, directory)
    }

    fn remove_below(&mut self, directory: &str) {
        remove_below(&mut self.entries, directory);
    }
}

/// Several layers seen as one; lowest first.
#[derive(Clone, Debug, Default)]
pub struct View(pub Vec<Arc<Layer>>);

impl View {
    /// Returns what is at a path; links are not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        let mut implied = None;
        for layer in self.0.iter().rev() {
            if let Some(node) = layer.entries.get(path) {
                return if node.is_directory() { Some(node) } else { implied.or(Some(node)) };
            }
            if layer.implied.contains(path) {
                implied = Some(&IMPLIED);
            }
            if layer.hides(path) {
                break;
            }
        }
        implied
    }

    /// Returns all that is strictly below a directory, by full path.
    pub fn below(&self, directory: &str) -> BTreeMap<Box<str>, Node> {
        let mut seen: BTreeMap<Box<str>, Node> = BTreeMap::new();
        for layer in &self.0 {
            if layer.whiteouts.contains(directory)
                || layer.hides(directory)
                || layer.opaque.contains(directory)
                || layer.entries.get(directory).is_some_and(|n| !n.is_directory())
            {
                seen.clear();
            }
            for path in layer.whiteouts.iter().filter(|path| is_below(path, directory)) {
                seen.remove(path);
                remove_below(&mut seen, path);
            }
            for path in layer.opaque.iter().filter(|path| is_below(path, directory)) {
                remove_below(&mut seen, path);
            }
            for (path, node) in layer.below(directory) {
                let replaced = seen.insert(path.into(), node.clone());
                if replaced.is_some_and(|old| old.is_directory()) && !node.is_directory() {
                    remove_below(&mut seen, path);
                }
            }
            for path in layer.implied.iter().filter(|path| is_below(path, directory)) {
                if !seen.get(path).is_some_and(Node::is_directory) {
                    seen.insert(path.clone(), IMPLIED.clone());
                }
            }
        }
        seen
    }

    /// Returns a real path: links are followed inside the root; what is missing stays as written.
    pub fn resolve(&self, path: &str) -> Result<String, Obstacle> {
        resolve(|p| self.get(p), path)
    }

    /// Returns the node with the bytes of a hard link whose own archive does not hold them.
    pub fn content_of<'a>(&'a self, node: &'a Node) -> Option<&'a Content> {
        match &node.kind {
            Kind::File { content, .. } => Some(content),
            Kind::Hardlink(target) => match &self.get(target)?.kind {
                Kind::File { content, .. } => Some(content),
                Kind::Directory | Kind::Symlink(_) | Kind::Hardlink(_) | Kind::Special(..) => None,
            },
            Kind::Directory | Kind::Symlink(_) | Kind::Special(..) => None,
        }
    }
}

/// What stands in the way of a copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// A directory is needed there.
    #[error("`/{0}` is not a directory in the image")]
    NotADirectory(String),
    /// A file cannot replace it.
    #[error("`/{0}` is a directory in the image; a file cannot replace it")]
    IsDirectory(String),
    /// Links lead in a circle.
    #[error("the path `/{0}` leads through too many links")]
    Links(String),
    /// The name would be read as a removal.
    #[error("`/{0}` cannot be in a layer: names that begin with `.wh.` mean removals there")]
    Whiteout(String),
}

/// A layer in the making over a view.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    below: View,
    /// What was made.
    pub layer: Layer,
    /// Whether links of the base in a destination are ignored, and what stands in the way is replaced.
    pub replace: bool,
}

impl Draft {
    /// Starts an empty layer.
    pub fn over(below: View) -> Self {
        Self { below, ..Self::default() }
    }

    /// Returns what is at a path now; links are not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        if let Some(node) = self.layer.entries.get(path) {
            return Some(node);
        }
        if self.layer.hides(path) { None } else { self.below.get(path) }
    }

    /// Returns a real path, as [`View::resolve`].
    pub fn resolve(&self, path: &str) -> Result<String, Obstacle> {
        if self.replace {
            return Ok(clean(path));
        }
        resolve(|p| self.get(p), path)
    }

    /// Returns a real path, of which the last component is not followed.
    pub fn resolve_parent(&self, path: &str) -> Result<String, Obstacle> {
        let path = clean(path);
        match path.rsplit_once('/') {
            Some((parent, name)) => Ok(join(&self.resolve(parent)?, name)),
            None => Ok(path),
        }
    }

    /// Makes a directory and those above it where they are missing; existing ones stay as they are.
    ///
    /// Below a directory with the set-group-id bit a new one has the bit too, and the group where none is asked for.
    /// Source: Linux.
    pub fn make_directories(&mut self, path: &str, like: &NewDirectory) -> Result<(), Obstacle> {
        if path.is_empty() || self.get(path).is_some_and(Node::is_directory) {
            return Ok(());
        }
        let ends: Vec<usize> = path.match_indices('/').map(|(i, _)| i).chain([path.len()]).collect();
        for prefix in ends.into_iter().filter_map(|end| path.get(..end)) {
            match self.get(prefix) {
                Some(node) if node.is_directory() => {}
                Some(_) if !self.replace => return Err(Obstacle::NotADirectory(prefix.to_owned())),
                Some(_) | None => {
                    let above = self.get(parent_of(prefix)).filter(|node| node.mode & SET_GROUP != 0);
                    let (bit, group) = above.map_or((0, 0), |above| (SET_GROUP, above.gid));
                    let mode = Node::directory().mode | bit;
                    let (uid, gid) = (like.uid.unwrap_or(0), like.gid.unwrap_or(group));
                    self.put(prefix, Node { mode, uid, gid, ..Node::directory() })?;
                }
            }
        }
        Ok(())
    }

    /// Puts a directory, or changes the owner and mode of the one that is there.
    pub fn put_directory(&mut self, path: &str, node: Node) -> Result<(), Obstacle> {
        match self.get(path) {
            Some(old) if *old == node => Ok(()),
            Some(old) if old.is_directory() || self.replace => self.put(path, node),
            Some(_) => Err(Obstacle::NotADirectory(path.to_owned())),
            None => self.put(path, node),
        }
    }

    /// Puts something that is no directory, in place of anything but a directory.
    pub fn put_file(&mut self, path: &str, node: Node) -> Result<(), Obstacle> {
        match self.get(path) {
            Some(old) if old.is_directory() && !self.replace => Err(Obstacle::IsDirectory(path.to_owned())),
            Some(_) | None => self.put(path, node),
        }
    }

    /// Removes what is at a path, and all below it; nothing where nothing is.
    pub fn remove(&mut self, path: &str) {
        self.layer.entries.remove(path);
        self.layer.remove_below(path);
        if !self.layer.hides(path) && self.below.get(path).is_some() {
            self.layer.whiteouts.retain(|hidden| !is_below(hidden, path));
            self.layer.whiteouts.insert(path.into());
        }
    }

    /// Says whether a path is a directory that nothing is in.
    pub fn is_empty_directory(&self, path: &str) -> bool {
        self.get(path).is_some_and(Node::is_directory)
            && self.layer.below(path).next().is_none()
            && (self.layer.hides(path) || self.below.below(path).keys().all(|inside| self.layer.hides(inside)))
    }

    /// Puts anything in place of anything.
    pub fn put(&mut self, path: &str, node: Node) -> Result<(), Obstacle> {
        if name_of(path).starts_with(".wh.") {
            return Err(Obstacle::Whiteout(path.to_owned()));
        }
        let is_directory = node.is_directory();
        if self.layer.whiteouts.remove(path) && is_directory && self.below.get(path).is_some_and(Node::is_directory) {
            // What is in the directory below was removed, and is hidden name by name.
            let inside = self.below.below(path);
            let direct = inside.keys().filter(|p| parent_of(p) == path && !self.layer.entries.contains_key(*p));
            self.layer.whiteouts.extend(direct.cloned());
        }
        let old = self.layer.entries.insert(path.into(), node);
        if !is_directory && old.is_some_and(|old| old.is_directory()) {
            self.layer.remove_below(path);
        }
        Ok(())
    }
}

fn resolve<'a>(get: impl Fn(&str) -> Option<&'a Node>, path: &str) -> Result<String, Obstacle> {
    let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done = String::new();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let here = join(&done, &name);
        if let Some(Node { kind: Kind::Symlink(target), .. }) = get(&here) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Obstacle::Links(path.trim_matches('/').to_owned()));
            }
            if target.starts_with('/') {
                done.clear();
            }
            todo.extend(target.split('/').rev().map(str::to_owned));
        } else {
            done = here;
        }
    }
    Ok(done)
}

/// Joins two paths, of which each may be empty.
pub fn join(directory: &str, name: &str) -> String {
    match (directory.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => directory.to_owned(),
        (false, false) => format!("{directory}/{name}"),
    }
}

/// Cleans a path lexically; `..` stops at the root.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Returns the last component.
pub fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns all but the last component.
pub fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Returns the directories above a path, without the root.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(move |(i, _)| path.get(..i))
}

fn is_below(path: &str, directory: &str) -> bool {
    !path.is_empty() && (directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
}

fn range_below<'a>(
    map: &'a BTreeMap<Box<str>, Node>,
    directory: &str,
) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
    let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    let start = std::ops::Bound::Excluded(prefix.as_str());
    map.range::<str, _>((start, std::ops::Bound::Unbounded))
        .map(|(path, node)| (&**path, node))
        .take_while(move |(path, _)| path.starts_with(&prefix))
}

fn remove_below(map: &mut BTreeMap<Box<str>, Node>, directory: &str) {
    let paths: Vec<Box<str>> = range_below(map, directory).map(|(path, _)| path.into()).collect();
    for path in paths {
        map.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, Node)], whiteouts: &[&str]) -> Arc<Layer> {
        let entries = entries.iter().map(|(p, n)| ((*p).into(), n.clone())).collect();
        Arc::new(Layer { entries, whiteouts: whiteouts.iter().map(|p| (*p).into()).collect(), ..Layer::default() })
    }

    fn file(text: &str) -> Node {
        Node::file(Content::Text(text.as_bytes().into()))
    }

    #[test]
    fn upper_layers_hide_what_they_replace_or_remove() {
        let dir = Node::directory;
        let low = layer(&[("a", dir()), ("a/x", file("1")), ("a/y", file("2")), ("b", dir()), ("b/z", file("3"))], &[]);
        let view = View(vec![low, layer(&[("b", file("4"))], &["a/x"])]);
        assert_eq!(view.get("a/x"), None);
        assert_eq!(view.get("a/y"), Some(&file("2")));
        assert_eq!(view.get("b/z"), None);
        assert_eq!(view.below("").keys().map(|k| &**k).collect::<Vec<_>>(), ["a", "a/y", "b"]);
        let view = View([view.0, vec![layer(&[("a", dir()), ("a/n", file("5"))], &["a"])]].concat());
        assert_eq!(view.get("a/y"), None);
        assert_eq!(view.below("a").keys().map(|k| &**k).collect::<Vec<_>>(), ["a/n"]);
    }

    #[test]
    fn links_are_followed_inside_the_root() {
        let view = View(vec![layer(
            &[
                ("usr", Node::directory()),
                ("lib", Node::symlink("usr/lib")),
                ("up", Node::symlink("../../usr")),
                ("loop", Node::symlink("/loop")),
            ],
            &[],
        )]);
        assert_eq!(view.resolve("/lib/x/../y").unwrap(), "usr/lib/y");
        assert_eq!(view.resolve("up/new").unwrap(), "usr/new");
        assert_eq!(view.resolve("../..").unwrap(), "");
        assert_eq!(view.resolve("loop"), Err(Obstacle::Links("loop".into())));
    }

    #[test]
    fn a_draft_holds_only_what_changed() {
        let mut draft = Draft::over(View(vec![layer(&[("a", Node::directory()), ("f", file("1"))], &[])]));
        draft.make_directories("a/b/c", &NewDirectory::default()).unwrap();
        draft.put_directory("a", Node::directory()).unwrap();
        draft.put_file("a/b/f", file("2")).unwrap();
        assert_eq!(draft.layer.entries.keys().map(|k| &**k).collect::<Vec<_>>(), ["a/b", "a/b/c", "a/b/f"]);
        assert_eq!(draft.put_file("a", file("x")), Err(Obstacle::IsDirectory("a".into())));
        assert_eq!(draft.make_directories("f/x", &NewDirectory::default()), Err(Obstacle::NotADirectory("f".into())));
        assert_eq!(draft.put("a/.wh.x", file("x")), Err(Obstacle::Whiteout("a/.wh.x".into())));
        draft.put("a/b", file("3")).unwrap();
        assert_eq!(draft.layer.entries.keys().map(|k| &**k).collect::<Vec<_>>(), ["a/b"]);
    }

    #[test]
    fn new_directories_inherit_the_group_of_a_set_group_directory() {
        let shared = Node { mode: 0o2775, gid: 29, ..Node::directory() };
        let mut draft = Draft::over(View(vec![layer(&[("a", shared)], &[])]));
        draft.make_directories("a/b/c", &NewDirectory::default()).unwrap();
        draft.make_directories("a/d", &NewDirectory { uid: Some(1), gid: Some(2) }).unwrap();
        let made = |path: &str| draft.get(path).map(|node| (node.mode, node.uid, node.gid));
        assert_eq!(made("a/b/c"), Some((0o2755, 0, 29)));
        assert_eq!(made("a/d"), Some((0o2755, 1, 2)));
    }
}
