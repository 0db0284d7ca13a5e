//! Filtering a tree: the id of a tree of which only some files are taken.

use super::objects::{Mode, ObjectId, Objects, Tree, TreeEntry};
use super::{FilesError, MemoryObjects};

/// What a filter says of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The file is taken; of a directory, everything below is taken and need not be asked for.
    All,
    /// The file is not taken; of a directory, nothing below is.
    None,
    /// A directory of which every name must be asked for.
    Descend,
}

/// Decides which files of a tree are taken. A pure function of the path.
pub trait PathFilter {
    /// Says whether `path` (relative to the filtered root) is taken.
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict;
}

impl<F: Fn(&str, bool) -> Verdict> PathFilter for F {
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
        self(path, is_directory)
    }
}

/// Why a tree could not be filtered.
pub type FilterError = FilesError;

/// Returns the id that git would give to the tree of the taken files; `None` when nothing is taken.
///
/// The id depends on nothing but the taken names, modes and contents: a directory of which all is taken
/// keeps its own id, and its content is not read. New trees are stored in `store`.
///
/// # Errors
/// The object store failed.
pub fn filter_tree(
    store: &MemoryObjects,
    root: ObjectId,
    filter: &dyn PathFilter,
) -> Result<Option<ObjectId>, FilterError> {
    filter_directory(store, root, "", filter)
}

fn filter_directory(
    store: &MemoryObjects,
    id: ObjectId,
    path: &str,
    filter: &dyn PathFilter,
) -> Result<Option<ObjectId>, FilterError> {
    let tree: std::sync::Arc<Tree> = store.tree(id)?;
    let mut taken: Vec<TreeEntry> = Vec::new();
    for entry in tree.entries() {
        let below = if path.is_empty() { entry.name.to_string() } else { format!("{path}/{}", entry.name) };
        let is_directory = entry.mode == Mode::Directory;
        match (filter.verdict(&below, is_directory), is_directory) {
            (Verdict::None, _) => {}
            (Verdict::All, _) | (Verdict::Descend, false) => taken.push(entry.clone()),
            (Verdict::Descend, true) => {
                if let Some(id) = filter_directory(store, entry.id, &below, filter)? {
                    taken.push(TreeEntry { id, ..entry.clone() });
                }
            }
        }
    }
    if taken.is_empty() {
        return Ok(None);
    }
    if taken == tree.entries() {
        return Ok(Some(id));
    }
    Ok(Some(store.insert_tree(taken)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_excludes_nothing_keeps_the_id() {
        let files = MemoryObjects::files([("a/x", "1"), ("b", "2")]);
        let store = MemoryObjects::over(files.objects().clone());
        let all = |_: &str, _: bool| Verdict::Descend;
        assert_eq!(filter_tree(&store, files.root(), &all).unwrap(), Some(files.root()));
    }

    #[test]
    fn the_id_depends_on_the_taken_files_alone() {
        let skip = |p: &str, _: bool| if p.ends_with("skip") { Verdict::None } else { Verdict::Descend };
        let id = |texts: &[(&'static str, &'static str)]| {
            let files = MemoryObjects::files(texts.iter().copied());
            filter_tree(&MemoryObjects::over(files.objects().clone()), files.root(), &skip).unwrap()
        };
        assert_eq!(id(&[("a/x", "1"), ("a/skip", "2")]), id(&[("a/x", "1"), ("c/skip", "3")]));
        assert_ne!(id(&[("a/x", "1")]), id(&[("a/x", "2")]));
    }
}
