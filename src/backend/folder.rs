//! A plain folder as files: for what lies in no repository.

#![expect(clippy::disallowed_methods, reason = "this is where the disk is read")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::source::{Files, FilesError, MemoryObjects, Mode};

/// How deep folders may nest; links are followed, so a circle of them ends here.
const MAX_DEPTH: usize = 64;

/// Reads a folder, links followed, `.git` left out; it stands at `mount` in the result, which may be empty.
///
/// # Errors
/// A file cannot be read, or folders nest too deep.
pub fn read_folder(dir: &Path, mount: &str) -> io::Result<Files> {
    let mut found = BTreeMap::new();
    read_into(dir, mount.trim_matches('/'), 0, &mut found)?;
    let objects = MemoryObjects::new();
    let root = objects.with_changes(None, &found).map_err(|e: FilesError| io::Error::other(e))?;
    Ok(Files::new(Arc::new(objects), root))
}

type Found = BTreeMap<String, Option<(Mode, Vec<u8>)>>;

fn read_into(dir: &Path, path: &str, depth: usize, found: &mut Found) -> io::Result<()> {
    let named = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("{}: folders nest too deep", dir.display())));
    }
    for entry in fs::read_dir(dir).map_err(|e| named(dir, e))? {
        let entry = entry.map_err(|e| named(dir, e))?;
        // A name that is not Unicode cannot be named by any chart or configuration.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        let place = entry.path();
        let meta = fs::metadata(&place).map_err(|e| named(&place, e))?;
        if meta.is_dir() && name != ".git" {
            read_into(&place, &below, depth + 1, found)?;
        } else if meta.is_file() {
            let mode = if meta.permissions().mode() & 0o100 == 0 { Mode::File } else { Mode::Executable };
            found.insert(below, Some((mode, fs::read(&place).map_err(|e| named(&place, e))?)));
        }
    }
    Ok(())
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
