//! A plain folder as files: for what lies in no repository.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is read")]

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source::{Files, FilesError, Mode, ObjectId, Objects, Tree, TreeEntry};

/// How deep folders may nest; links are followed, so a circle of them ends here.
const MAX_DEPTH: usize = 64;

/// How many folders there may be; links make more of them than there are.
const MAX_FOLDERS: usize = 20_000;
/// The largest file that is read. Unit: bytes.
const MAX_FILE: u64 = 64 << 20;

/// Lists a folder, `.git` left out; it stands at `mount` in the result, which may be empty.
///
/// Links are followed within the folder, and within the git work tree that holds it: what comes from anywhere must not
/// read the rest of the disk. Others stay links, which lead to nothing.
///
/// Files are read when they are asked for, and none is marked as executable. The ids of the result count its objects and say nothing of their content.
///
/// # Errors
/// A folder cannot be listed, or folders nest too deep.
pub fn read_folder(dir: &Path, mount: &str) -> io::Result<Files> {
    let root = fs::canonicalize(dir)?;
    let work_tree = root.ancestors().skip(1).find(|above| above.join(".git").exists()).map(Path::to_owned);
    let within = work_tree.unwrap_or(root);
    let mut folder = Folder { blobs: Vec::new(), trees: Vec::new(), within };
    let mut root = folder.list(dir, 0)?;
    for name in mount.split('/').rev().filter(|name| !name.is_empty()) {
        root = folder.add(vec![TreeEntry { name: name.into(), mode: Mode::Directory, id: root }]);
    }
    Ok(Files::new(Arc::new(folder), root))
}

/// A folder as it was listed.
struct Folder {
    blobs: Vec<Blob>,
    trees: Vec<Arc<Tree>>,
    /// Where links may lead.
    within: PathBuf,
}

enum Blob {
    File(PathBuf),
    /// A link that is not followed.
    Link(Arc<[u8]>),
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
        if self.trees.len() >= MAX_FOLDERS {
            return Err(io::Error::other(format!("{}: there are too many folders", dir.display())));
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
                match fs::canonicalize(&place) {
                    Ok(target) if target.starts_with(&self.within) => {
                        kind = fs::metadata(&target).map_err(|e| named(&place, e))?.file_type();
                    }
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(named(&place, e)),
                    Ok(_) | Err(_) => {
                        let target = fs::read_link(&place).map_err(|e| named(&place, e))?;
                        let target = target.to_string_lossy().into_owned().into_bytes();
                        let id = numbered(self.blobs.len());
                        entries.push(TreeEntry { name: name.into(), mode: Mode::Symlink, id });
                        self.blobs.push(Blob::Link(target.into()));
                        continue;
                    }
                }
            }
            if kind.is_dir() && name != ".git" {
                let id = self.list(&place, depth + 1)?;
                if self.trees.get(number(id)).is_some_and(|tree| !tree.entries().is_empty()) {
                    entries.push(TreeEntry { name: name.into(), mode: Mode::Directory, id });
                }
            } else if kind.is_file() {
                entries.push(TreeEntry { name: name.into(), mode: Mode::File, id: numbered(self.blobs.len()) });
                self.blobs.push(Blob::File(place));
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
        let path = match self.blobs.get(number(id)) {
            Some(Blob::File(path)) => path.as_path(),
            Some(Blob::Link(target)) => return Ok(target.clone()),
            None => Path::new(""),
        };
        let failed = |e: io::Error| FilesError::Object { id, cause: format!("{}: {e}", path.display()) };
        // One read of the length that the system tells, without another to find the end.
        let read = || {
            let mut file = fs::File::open(path)?;
            let length = file.metadata()?.len();
            if length > MAX_FILE {
                return Err(io::Error::other(format!("the file is larger than {MAX_FILE} bytes")));
            }
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
            file.read_exact(Arc::get_mut(&mut bytes).expect("nobody else knows it yet"))?;
            Ok(bytes)
        };
        read().map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, path: &str, text: &str) {
        fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs::write(dir.join(path), text).unwrap();
    }

    fn names(files: &Files) -> Vec<String> {
        files.walk("").unwrap().into_iter().map(|(p, _)| p).collect()
    }

    #[test]
    fn a_folder_is_read_with_its_links_and_without_its_repository() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "chart/Chart.yaml", "name: web");
        put(dir.path(), "chart/shared/_helpers.tpl", "x");
        put(dir.path(), "chart/.git/HEAD", "ref");
        std::os::unix::fs::symlink("shared", dir.path().join("chart/templates")).unwrap();
        let files = read_folder(&dir.path().join("chart"), "charts/web").unwrap();
        let expected = ["Chart.yaml", "shared/_helpers.tpl", "templates/_helpers.tpl"];
        assert_eq!(names(&files), expected.map(|name| format!("charts/web/{name}")));
        assert_eq!(&*files.read("charts/web/Chart.yaml").unwrap(), b"name: web");
    }

    #[test]
    fn links_lead_out_only_within_the_work_tree_that_holds_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "repo/chart/Chart.yaml", "name: web");
        put(dir.path(), "repo/crds/a.yaml", "crd");
        put(dir.path(), "secret", "hunter2");
        let chart = dir.path().join("repo/chart");
        std::os::unix::fs::symlink("../crds", chart.join("crds")).unwrap();
        std::os::unix::fs::symlink("../../secret", chart.join("values.yaml")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", chart.join("name")).unwrap();
        let files = read_folder(&chart, "").unwrap();
        assert!(
            files.read("crds/a.yaml").is_err() && files.read("values.yaml").is_err() && files.read("name").is_err()
        );
        put(dir.path(), "repo/.git/HEAD", "ref");
        let files = read_folder(&chart, "").unwrap();
        assert_eq!(&*files.read("crds/a.yaml").unwrap(), b"crd");
        assert!(files.read("values.yaml").is_err() && files.read("name").is_err());
    }

    #[test]
    fn circles_floods_of_links_and_huge_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(".", dir.path().join("again")).unwrap();
        assert!(read_folder(dir.path(), "").is_err());
        let dir = tempfile::tempdir().unwrap();
        for n in 0..30 {
            let folder = dir.path().join(format!("d{n}"));
            fs::create_dir(&folder).unwrap();
            for link in ["x", "y"] {
                std::os::unix::fs::symlink(format!("../d{}", n + 1), folder.join(link)).unwrap();
            }
        }
        fs::create_dir(dir.path().join("d30")).unwrap();
        assert!(read_folder(dir.path(), "").is_err());
        let dir = tempfile::tempdir().unwrap();
        fs::File::create(dir.path().join("huge")).unwrap().set_len(60 << 30).unwrap();
        assert!(read_folder(dir.path(), "").unwrap().read("huge").unwrap_err().to_string().contains("larger than"));
    }
}
