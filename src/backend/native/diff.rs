//! What a command changed, read off the folder that overlayfs wrote its changes to.
//!
//! The one idea: the folder is the layer. What it says in the file system's words (devices 0/0, opaque directories) is
//! said again in ours, with plain removals only: the layer can be read by everything that knows `.wh.`.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is read")]

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use super::files::{Attributes, Content, HostTree, Kind, Layer, Node, View, join, parent_of};
use super::unpack::{belongs_to_images, is_opaque};

/// Reads the changes in a folder that lay over `below`.
pub fn changes(tree: &Arc<HostTree>, below: &View) -> io::Result<Layer> {
    let mut walk = Walk { tree, below, layer: Layer::default(), links: BTreeMap::new(), opaque: Vec::new() };
    let mut todo = vec![String::new()];
    while let Some(directory) = todo.pop() {
        let mut names: Vec<fs::DirEntry> = fs::read_dir(tree.path(&directory))?.collect::<io::Result<Vec<_>>>()?;
        names.sort_by_key(fs::DirEntry::file_name);
        for entry in names {
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                let shown = entry.path().display().to_string();
                return Err(io::Error::other(format!(
                    "the name of `{shown}` is not valid UTF-8, which is not supported yet"
                )));
            };
            let path = join(&directory, &name);
            if walk.entry(&path, &entry.path())? {
                todo.push(path);
            }
        }
    }
    walk.expand_opaque();
    // What hides what was there is itself there.
    let Layer { entries, whiteouts, .. } = &mut walk.layer;
    whiteouts.retain(|path| !entries.contains_key(path));
    Ok(walk.layer)
}

struct Walk<'a> {
    tree: &'a Arc<HostTree>,
    below: &'a View,
    layer: Layer,
    /// First names of files that have several, by device and inode.
    links: BTreeMap<(u64, u64), Box<str>>,
    opaque: Vec<String>,
}

impl Walk<'_> {
    /// Takes one entry; says whether it is a directory.
    fn entry(&mut self, path: &str, place: &Path) -> io::Result<bool> {
        let meta = place.symlink_metadata()?;
        let kind = meta.file_type();
        if kind.is_char_device() && meta.rdev() == 0 {
            if self.below.get(path).is_some() {
                self.layer.whiteouts.insert(path.into());
            }
            return Ok(false);
        }
        // Sockets are no files that an image could hold.
        if kind.is_socket() {
            return Ok(false);
        }
        let node = Node {
            kind: self.kind(path, place, &meta)?,
            mode: meta.mode() & 0o7777,
            uid: u64::from(meta.uid()),
            gid: u64::from(meta.gid()),
            xattrs: attributes(place)?,
        };
        let old = self.below.get(path);
        if node.is_directory() && is_opaque(place) {
            self.opaque.push(path.to_owned());
        }
        // A directory that is only there because something in it changed says nothing.
        let is_directory = node.is_directory();
        if !(is_directory && old == Some(&node)) {
            self.layer.entries.insert(path.into(), node);
        }
        Ok(is_directory)
    }

    fn kind(&mut self, path: &str, place: &Path, meta: &Metadata) -> io::Result<Kind> {
        let kind = meta.file_type();
        let device = || (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        Ok(if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(place)?;
            Kind::Symlink(target.to_str().ok_or_else(|| not_text(&target))?.into())
        } else if kind.is_char_device() {
            Kind::Special(b'3', device().0, device().1)
        } else if kind.is_block_device() {
            Kind::Special(b'4', device().0, device().1)
        } else if kind.is_fifo() {
            Kind::Special(b'6', 0, 0)
        } else {
            let linked = meta.nlink() > 1;
            let first = if linked {
                self.links.entry((meta.dev(), meta.ino())).or_insert_with(|| path.into()).clone()
            } else {
                path.into()
            };
            Kind::File { content: Content::Host(self.tree.clone(), first), linked }
        })
    }

    /// Says of each file below an opaque directory that it is gone.
    fn expand_opaque(&mut self) {
        for directory in std::mem::take(&mut self.opaque) {
            let there = self.below.below(&directory);
            let kept = |path: &str| self.tree.path(path).symlink_metadata().is_ok_and(|m| m.is_dir());
            for path in there.keys() {
                let parent = parent_of(path);
                if !self.layer.entries.contains_key(path) && kept(parent) && !kept(path) {
                    self.layer.whiteouts.insert(path.clone());
                }
            }
        }
    }
}

fn not_text(path: &Path) -> io::Error {
    io::Error::other(format!("the link to `{}` is not valid UTF-8, which is not supported yet", path.display()))
}

/// Reads the attributes that belong to images.
fn attributes(path: &Path) -> io::Result<Option<Attributes>> {
    let mut names = vec![0; rustix::fs::llistxattr_query(path).unwrap_or(0)];
    if names.is_empty() {
        return Ok(None);
    }
    let count = rustix::fs::llistxattr(path, &mut *names)?;
    let mut found = BTreeMap::new();
    for name in names.get(..count).unwrap_or_default().split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Some(text) = std::str::from_utf8(name).ok().filter(|n| belongs_to_images(n)) else { continue };
        let mut value = vec![0; rustix::fs::lgetxattr_query(path, text)?];
        let count = rustix::fs::lgetxattr(path, text, &mut *value)?;
        value.truncate(count);
        found.insert(text.to_owned(), value);
    }
    Ok((!found.is_empty()).then(|| Arc::new(found)))
}
