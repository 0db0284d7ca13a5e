//! What a command changed, read off the folder that overlayfs wrote its changes to.
//!
//! The one idea: the folder is the layer. What it says in the file system's words (devices 0/0, opaque directories) is
//! said again in ours, with plain removals only: the layer can be read by everything that knows `.wh.`.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use super::files::{Attributes, Content, HostTree, Kind, Layer, Node, View, ancestors, join, parent_of};
use super::plain::Before;
use super::unpack::{OWNER, belongs_to_images, is_opaque, parse_owner};

/// Reads the changes in a folder that lay over `below`; or, with `before`, in a copy of it.
pub fn changes(tree: &Arc<HostTree>, below: &View, before: Option<&Before>) -> io::Result<Layer> {
    let mut walk = Walk { tree, below, before, layer: Layer::default(), links: BTreeMap::new(), opaque: Vec::new() };
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
    walk.compare_with_before()?;
    // What hides what was there is itself there.
    let Layer { entries, whiteouts, .. } = &mut walk.layer;
    whiteouts.retain(|path| !entries.contains_key(path));
    Ok(walk.layer)
}

struct Walk<'a> {
    tree: &'a Arc<HostTree>,
    below: &'a View,
    before: Option<&'a Before>,
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
        if self.before.is_some_and(|before| before.is_untouched(path, &meta)) {
            return Ok(false);
        }
        if kind.is_char_device() && meta.rdev() == 0 {
            if self.before.is_none() && self.below.get(path).is_some() {
                self.layer.whiteouts.insert(path.into());
            }
            return Ok(false);
        }
        // Sockets are no files that an image could hold.
        if kind.is_socket() {
            return Ok(false);
        }
        let node = self.node(path, place, &meta)?;
        let old = self.below.get(path).or_else(|| self.before?.node(path));
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

    fn node(&mut self, path: &str, place: &Path, meta: &Metadata) -> io::Result<Node> {
        let (xattrs, owner) = attributes(place)?;
        let (uid, gid) = owner.unwrap_or((u64::from(meta.uid()), u64::from(meta.gid())));
        Ok(Node { kind: self.kind(path, place, meta)?, mode: meta.mode() & 0o7777, uid, gid, xattrs })
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

    /// A copy does not say what is gone, and directories that were made for it are new once something is in them.
    fn compare_with_before(&mut self) -> io::Result<()> {
        let Some(before) = self.before else { return Ok(()) };
        let replaced = |layer: &Layer, path: &str| {
            ancestors(path).any(|above| layer.entries.get(above).is_some_and(|node| !node.is_directory()))
        };
        for path in before.gone(&self.tree.path("")) {
            if self.below.get(path).is_some() && !replaced(&self.layer, path) {
                self.layer.whiteouts.insert(path.into());
            }
        }
        let missing: BTreeSet<String> = self
            .layer
            .entries
            .keys()
            .flat_map(|path| ancestors(path))
            .filter(|above| !self.layer.entries.contains_key(*above) && self.below.get(above).is_none())
            .map(str::to_owned)
            .collect();
        for path in missing {
            let place = self.tree.path(&path);
            let node = self.node(&path, &place, &place.symlink_metadata()?)?;
            self.layer.entries.insert(path.into(), node);
        }
        Ok(())
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

/// The attributes of a file, and the owner that stands in one of them.
type Found = (Option<Attributes>, Option<(u64, u64)>);

/// Reads the attributes that belong to images, and the owner that could not be set.
fn attributes(path: &Path) -> io::Result<Found> {
    let mut names = vec![0; rustix::fs::llistxattr_query(path).unwrap_or(0)];
    if names.is_empty() {
        return Ok((None, None));
    }
    let mut owner = None;
    let count = rustix::fs::llistxattr(path, &mut *names)?;
    let mut found = BTreeMap::new();
    for name in names.get(..count).unwrap_or_default().split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let wanted = |n: &&str| *n == OWNER || belongs_to_images(n);
        let Some(text) = std::str::from_utf8(name).ok().filter(wanted) else { continue };
        let mut value = vec![0; rustix::fs::lgetxattr_query(path, text)?];
        let count = rustix::fs::lgetxattr(path, text, &mut *value)?;
        value.truncate(count);
        if text == OWNER {
            owner = parse_owner(&value);
        } else {
            found.insert(text.to_owned(), value);
        }
    }
    Ok(((!found.is_empty()).then(|| Arc::new(found)), owner))
}
