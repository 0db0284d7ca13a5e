//! A plain folder as files: for what lies in no repository.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is read")]

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::{Files, FilesError, Mode, ObjectId, Objects, Tree, TreeEntry};

/// How deep folders may nest; links are followed, so a circle of them ends here.
const MAX_DEPTH: usize = 64;

/// Lists a folder, links followed, `.git` left out; it stands at `mount` in the result, which may be empty.
///
/// Files are read when they are asked for, and none is marked as executable. The ids of the result count its objects and say nothing of their content.
///
/// # Errors
/// A folder cannot be listed, or folders nest too deep.
pub fn read_folder(dir: &Path, mount: &str) -> io::Result<Files> {
    let mut folder = Folder { blobs: Vec::new(), trees: Vec::new() };
    let mut root = folder.list(dir, 0)?;
    for name in mount.split('/').rev().filter(|name| !name.is_empty()) {
        root = folder.add(vec![TreeEntry { name: name.into(), mode: Mode::Directory, id: root }]);
    }
    Ok(Files::new(Arc::new(folder), root))
}

/// A folder as it was listed.
struct Folder {
    blobs: Vec<PathBuf>,
    trees: Vec<Arc<Tree>>,
}

/// Makes the id of the object that stands at `index`.
fn numbered(index: usize) -> ObjectId {
    let mut id = [0; 20];
    id.iter_mut().zip(index.to_be_bytes()).for_each(|(to, from)| *to = from);
    ObjectId(id)
}

fn number(id: ObjectId) -> usize {
    id.0.first_chunk().map_or(usize::MAX, |bytes| usize::from_be_bytes(*bytes))
}

impl Folder {
    fn add(&mut self, entries: Vec<TreeEntry>) -> ObjectId {
        self.trees.push(Arc::new(Tree::new(entries)));
        numbered(self.trees.len() - 1)
    }

    fn list(&mut self, dir: &Path, depth: usize) -> io::Result<ObjectId> {
        let named = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("{}: folders nest too deep", dir.display())));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(|e| named(dir, e))? {
            let entry = entry.map_err(|e| named(dir, e))?;
            // A name that is not Unicode cannot be named by any chart or configuration.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let place = entry.path();
            // The listing tells the kind; only a link is followed, by another question to the system.
            let mut kind = entry.file_type().map_err(|e| named(&place, e))?;
            if kind.is_symlink() {
                kind = fs::metadata(&place).map_err(|e| named(&place, e))?.file_type();
            }
            if kind.is_dir() && name != ".git" {
                let id = self.list(&place, depth + 1)?;
                if self.trees.get(number(id)).is_some_and(|tree| !tree.entries().is_empty()) {
                    entries.push(TreeEntry { name: name.into(), mode: Mode::Directory, id });
                }
            } else if kind.is_file() {
                entries.push(TreeEntry { name: name.into(), mode: Mode::File, id: numbered(self.blobs.len()) });
                self.blobs.push(place);
            }
        }
        Ok(self.add(entries))
    }
}

impl Objects for Folder {
    fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, FilesError> {
        let none = || FilesError::Object { id, cause: "no such folder".into() };
        self.trees.get(number(id)).cloned().ok_or_else(none)
    }

    fn blob(&self, id: ObjectId) -> Result<Arc<[u8]>, FilesError> {
        let path = self.blobs.get(number(id)).map_or(Path::new(""), PathBuf::as_path);
        let failed = |e: io::Error| FilesError::Object { id, cause: format!("{}: {e}", path.display()) };
        // One read of the length that the system tells, without another to find the end.
        let read = || {
            let mut file = fs::File::open(path)?;
            let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_exact(&mut bytes)?;
            Ok(Arc::from(bytes))
        };
        read().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_read_with_its_links_and_without_its_repository() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), text).unwrap();
        };
        put("chart/Chart.yaml", "name: web");
        put("shared/_helpers.tpl", "x");
        put("chart/.git/HEAD", "ref");
        std::os::unix::fs::symlink("../shared", dir.path().join("chart/templates")).unwrap();
        let files = read_folder(&dir.path().join("chart"), "charts/web").unwrap();
        let names: Vec<String> = files.walk("").unwrap().into_iter().map(|(p, _)| p).collect();
        assert_eq!(names, ["charts/web/Chart.yaml", "charts/web/templates/_helpers.tpl"]);
        assert_eq!(&*files.read("charts/web/Chart.yaml").unwrap(), b"name: web");
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("again")).unwrap();
        assert!(read_folder(dir.path(), "").is_err());
    }
}
