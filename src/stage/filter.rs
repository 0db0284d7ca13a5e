//! What a [`FilterSpec`] takes of a tree.

use std::borrow::Cow;
use std::sync::Arc;

use super::build::FilterSpec;
use crate::source::glob::{BadPattern, DockerIgnore, PathMatcher};
use crate::source::{FilesError, MemoryObjects, Mode, ObjectId, Objects, PathFilter, Verdict, filter_tree};

/// Why files could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// A pattern is malformed.
    #[error(transparent)]
    Pattern(#[from] BadPattern),
    /// The repository failed.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// A compiled [`FilterSpec`] for the source at one path of a tree.
pub enum Filter {
    /// Everything.
    All,
    /// `.dockerignore` over the tree, further exclusions below the source.
    Docker {
        /// Relative to the tree.
        ignore: DockerIgnore,
        /// Relative to the source.
        exclude: Option<DockerIgnore>,
        /// The source.
        path: String,
    },
    /// werf's lists, relative to the source.
    Paths {
        /// Include and exclude.
        matcher: PathMatcher,
        /// The source.
        path: String,
    },
}

impl Filter {
    /// Compiles a filter for the source at `path`.
    ///
    /// # Errors
    /// A pattern is malformed.
    pub fn new(spec: &FilterSpec, path: &str) -> Result<Self, BadPattern> {
        Ok(match spec {
            FilterSpec::All => Self::All,
            FilterSpec::Dockerignore { patterns, exclude } => Self::Docker {
                ignore: DockerIgnore::new(patterns.iter().map(String::as_str))?,
                exclude: match exclude.as_slice() {
                    [] => None,
                    list => Some(DockerIgnore::new(list.iter().map(String::as_str))?),
                },
                path: path.to_owned(),
            },
            FilterSpec::Paths { include, exclude } => Self::Paths {
                matcher: PathMatcher::new(include.iter().map(String::as_str), exclude.iter().map(String::as_str))?,
                path: path.to_owned(),
            },
        })
    }

    /// Says whether a file of the tree is taken.
    pub fn takes(&self, path: &str) -> bool {
        self.verdict(path, false) != Verdict::None
    }
}

/// Returns `path` relative to `base`; empty for `base` itself.
fn below<'a>(path: &'a str, base: &str) -> &'a str {
    if base.is_empty() {
        return path;
    }
    path.strip_prefix(base).map_or(path, |rest| rest.trim_start_matches('/'))
}

impl PathFilter for Filter {
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
        match self {
            Self::All => Verdict::All,
            Self::Docker { ignore, exclude, path: source } => {
                let first = ignore.verdict(path, is_directory);
                let second = exclude.as_ref().map_or(Verdict::All, |e| e.verdict(below(path, source), is_directory));
                match (first, second) {
                    (Verdict::None, _) | (_, Verdict::None) => Verdict::None,
                    (Verdict::All, Verdict::All) => Verdict::All,
                    (Verdict::Descend, _) | (_, Verdict::Descend) => Verdict::Descend,
                }
            }
            Self::Paths { matcher, path: source } => matcher.verdict(below(path, source), is_directory),
        }
    }

    /// Docker makes the directories that it does not ignore, werf those in which it finds something.
    fn keeps_directory(&self, path: &str) -> bool {
        match self {
            Self::Docker { ignore, exclude, path: source } => {
                !ignore.ignores(path) && !exclude.as_ref().is_some_and(|e| e.ignores(below(path, source)))
            }
            Self::All | Self::Paths { .. } => false,
        }
    }
}

/// A filter for what is below a path, asked with paths relative to it.
struct Below<'a> {
    filter: &'a Filter,
    path: &'a str,
}

impl Below<'_> {
    fn whole<'p>(&self, inner: &'p str) -> Cow<'p, str> {
        match (self.path, inner) {
            ("", _) => Cow::Borrowed(inner),
            (path, "") => Cow::Owned(path.to_owned()),
            (path, _) => Cow::Owned(format!("{path}/{inner}")),
        }
    }
}

impl PathFilter for Below<'_> {
    fn verdict(&self, path: &str, is_directory: bool) -> Verdict {
        self.filter.verdict(&self.whole(path), is_directory)
    }

    fn keeps_directory(&self, path: &str) -> bool {
        self.filter.keeps_directory(&self.whole(path))
    }
}

/// Finds what `spec` takes of the file or directory at `path` of the tree `root`; `None` when that is nothing.
///
/// The id of a filtered directory is that of a tree with the taken files alone; such trees are stored in `store`.
///
/// # Errors
/// A pattern is malformed, or the repository failed.
pub fn take(
    store: &Arc<MemoryObjects>,
    root: ObjectId,
    path: &str,
    spec: &FilterSpec,
) -> Result<Option<(Mode, ObjectId)>, TakeError> {
    let mut at = (Mode::Directory, root);
    for name in path.split('/').filter(|n| !n.is_empty()) {
        let entry = match at.0 {
            Mode::Directory => store.tree(at.1)?.get(name).map(|e| (e.mode, e.id)),
            Mode::File | Mode::Executable | Mode::Symlink | Mode::Submodule => None,
        };
        let Some(entry) = entry else { return Ok(None) };
        at = entry;
    }
    let filter = Filter::new(spec, path)?;
    let (mode, id) = at;
    if mode != Mode::Directory {
        return Ok(filter.takes(path).then_some(at));
    }
    if matches!(filter, Filter::All) {
        return Ok(Some(at));
    }
    Ok(filter_tree(store, id, &Below { filter: &filter, path })?.map(|id| (mode, id)))
}
