//! Roots without overlayfs: a plain copy of an image, and what differs from it afterwards.
//!
//! The one idea: the kernel notes in each file when it was last touched, and nobody can set that. So a look at all
//! files before and after tells what a command did to them, without reading any.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Build;
use super::files::{Kind, Layer, Node, View, ancestors, join};
use super::run::attempt;
use super::sandbox::spec::Root;
use super::unpack::unpack;
use crate::ports::BuildError;

/// Longer than a tick of the clock of files.
const TICK: Duration = Duration::from_millis(20);

/// All files of a copy before a command ran.
pub struct Before {
    /// By path.
    touched: BTreeMap<Box<str>, Touched>,
    /// What was put there.
    nodes: BTreeMap<Box<str>, Node>,
}

/// When a file was last touched, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Touched {
    seconds: i64,
    nanoseconds: i64,
    device: u64,
    inode: u64,
}

impl Touched {
    fn of(meta: &Metadata) -> Self {
        Self { seconds: meta.ctime(), nanoseconds: meta.ctime_nsec(), device: meta.dev(), inode: meta.ino() }
    }
}

impl Before {
    /// Looks at all files of a folder.
    fn of(folder: &Path, nodes: BTreeMap<Box<str>, Node>) -> io::Result<Self> {
        let mut touched = BTreeMap::new();
        let mut todo = vec![(folder.to_owned(), String::new())];
        while let Some((place, path)) = todo.pop() {
            for entry in std::fs::read_dir(&place)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = join(&path, &name);
                let meta = entry.path().symlink_metadata()?;
                if meta.is_dir() {
                    todo.push((entry.path(), path.clone()));
                }
                touched.insert(path.into(), Touched::of(&meta));
            }
        }
        Ok(Self { touched, nodes })
    }

    /// Says whether something other than a directory is as it was.
    pub fn is_untouched(&self, path: &str, meta: &Metadata) -> bool {
        !meta.is_dir() && self.touched.get(path) == Some(&Touched::of(meta))
    }

    /// Returns what was put at a path.
    pub fn node(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Returns what is no longer in a folder; nothing of what is below it.
    pub fn gone(&self, folder: &Path) -> BTreeSet<&str> {
        let mut gone = BTreeSet::new();
        for path in self.touched.keys() {
            let is_gone = || folder.join(&**path).symlink_metadata().is_err();
            if !ancestors(path).any(|above| gone.contains(above)) && is_gone() {
                gone.insert(&**path);
            }
        }
        gone
    }
}

impl Build<'_> {
    /// Copies an image into a folder that is the root of a command; `stubs` are put where it has nothing.
    pub(super) fn plain_root(&self, view: &View, stubs: &Layer) -> Result<(Root, PathBuf, Before), BuildError> {
        let roots = self.roots()?;
        let name = roots.next("copy");
        let folder = roots.scratch.make(&name).map_err(attempt("make a scratch folder"))?;
        let mut nodes = BTreeMap::new();
        for (path, node) in view.below("") {
            let is_link = matches!(node.kind, Kind::Hardlink(_));
            match view.content_of(&node).filter(|_| is_link) {
                Some(content) => {
                    let kind = Kind::File { content: content.clone(), linked: false };
                    nodes.insert(path, Node { kind, ..node });
                }
                None if is_link => {}
                None => {
                    nodes.insert(path, node);
                }
            }
        }
        for (path, node) in &stubs.entries {
            nodes.entry(path.clone()).or_insert_with(|| node.clone());
        }
        let layer = Layer { entries: nodes, ..Layer::default() };
        unpack(self.context, &layer, &folder)?;
        let before = Before::of(&folder, layer.entries).map_err(attempt("look at the files of the image"))?;
        std::thread::sleep(TICK);
        let root = Root { lowers: Vec::new(), upper: None, at: roots.scratch.name(&name) };
        Ok((root, folder, before))
    }
}
