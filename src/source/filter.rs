//! Filtering a tree: the id of a tree of which only some files are taken.

use rayon::prelude::*;

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
pub trait PathFilter: Sync {
    /// Says whether `path` (relative to the filtered root) is taken.
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict;

    /// Says whether a directory stays, as an empty one, when nothing below it is taken. Never, unless a filter says so.
    fn keeps_directory(&self, _path: &str) -> bool {
        false
    }
}

impl<F: Fn(&str, bool) -> Verdict + Sync> PathFilter for F {
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
        self(path, is_directory)
    }
}

/// Why a tree could not be filtered.
pub type FilterError = FilesError;

/// Returns the id that git would give to the tree of the taken files; `None` when nothing is taken. A directory that the
/// filter keeps stands there as the empty tree, which git itself never writes.
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
    filter_directory(store, root, &mut String::new(), filter)
}

/// From how many directories on they are looked into on all cores.
const MANY: usize = 16;

fn filter_directory(
    store: &MemoryObjects,
    id: ObjectId,
    path: &mut String,
    filter: &dyn PathFilter,
) -> Result<Option<ObjectId>, FilterError> {
    let tree: std::sync::Arc<Tree> = store.tree(id)?;
    let length = path.len();
    let mut verdicts = Vec::with_capacity(tree.entries().len());
    for entry in tree.entries() {
        enter(path, &entry.name);
        verdicts.push(filter.verdict(path, entry.mode == Mode::Directory));
        path.truncate(length);
    }
    let open = |(entry, verdict): (&TreeEntry, &Verdict)| entry.mode == Mode::Directory && *verdict == Verdict::Descend;
    let opened: Vec<&TreeEntry> =
        tree.entries().iter().zip(&verdicts).filter(|pair| open(*pair)).map(|(entry, _)| entry).collect();
    let look = |path: &mut String, entry: &TreeEntry| {
        enter(path, &entry.name);
        let found = filter_directory(store, entry.id, path, filter);
        path.truncate(length);
        found
    };
    let found: Vec<_> = if opened.len() < MANY {
        opened.into_iter().map(|entry| look(path, entry)).collect()
    } else {
        let path: &str = path;
        opened.into_par_iter().map_init(|| path.to_owned(), |path, entry| look(path, entry)).collect()
    };
    let mut found = found.into_iter();
    // Nothing is copied as long as all is taken as it is.
    let mut taken: Option<Vec<TreeEntry>> = None;
    for (at, (entry, verdict)) in tree.entries().iter().zip(&verdicts).enumerate() {
        let now = match verdict {
            Verdict::None => None,
            Verdict::Descend if entry.mode == Mode::Directory => found.next().transpose()?.flatten(),
            Verdict::All | Verdict::Descend => Some(entry.id),
        };
        if now != Some(entry.id) && taken.is_none() {
            taken = Some(tree.entries().iter().take(at).cloned().collect());
        }
        if let (Some(taken), Some(id)) = (&mut taken, now) {
            taken.push(TreeEntry { id, ..entry.clone() });
        }
    }
    Ok(match taken {
        None if !tree.entries().is_empty() => Some(id),
        Some(taken) if !taken.is_empty() => Some(store.insert_tree(taken)),
        None | Some(_) => filter.keeps_directory(path).then(|| store.insert_tree(Vec::new())),
    })
}

/// Appends a name to a path.
fn enter(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('/');
    }
    path.push_str(name);
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
    fn an_emptied_directory_stays_where_the_filter_keeps_it() {
        struct NoFiles;
        impl PathFilter for NoFiles {
            fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
                if is_directory || path == "f" { Verdict::Descend } else { Verdict::None }
            }
            fn keeps_directory(&self, path: &str) -> bool {
                path != "gone"
            }
        }
        let files = MemoryObjects::files([("a/b/x", "1"), ("gone/x", "2"), ("f", "3")]);
        let store = MemoryObjects::over(files.objects().clone());
        let root = filter_tree(&store, files.root(), &NoFiles).unwrap().unwrap();
        let names = |id| store.tree(id).unwrap().entries().iter().map(|e| e.name.to_string()).collect::<Vec<_>>();
        let inside = |id, name: &str| store.tree(id).unwrap().get(name).unwrap().id;
        assert_eq!(names(root), ["a", "f"]);
        let empty = inside(inside(root, "a"), "b");
        assert_eq!(empty.to_string(), "4b825dc642cb6eb9a060e54bf8d69288fbee4904");
        assert!(names(empty).is_empty());
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
