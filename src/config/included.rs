//! The files that includes bring, as one tree, and how they lie below the project's own. Source: werf 2.x.
//!
//! The one idea: each included file remembers where it comes from, and its object stays in the other repository.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diag::{Diagnostic, Diagnostics, rules};
use crate::source::glob::PathMatcher;
use crate::source::{Entry, Files, FilesError, JoinedObjects, MemoryObjects, Mode, Objects};

use super::includes::{INCLUDES_FILE, INCLUDES_LOCK, Include};

/// Files of other repositories, by their path in the project. Empty where there are none.
#[derive(Clone, Debug, Default)]
pub struct Included {
    files: Arc<BTreeMap<String, IncludedFile>>,
}

/// One included file.
#[derive(Clone, Debug)]
pub struct IncludedFile {
    /// What it is.
    pub entry: Entry,
    /// Where it comes from: `URL@REFERENCE:PATH`.
    pub shown: String,
    /// The repository as written, without user and password.
    pub repository: String,
    source: Files,
}

impl IncludedFile {
    /// Returns the content.
    ///
    /// # Errors
    /// The other repository cannot be read.
    pub fn read(&self) -> Result<Arc<[u8]>, FilesError> {
        self.source.objects().blob(self.entry.id)
    }
}

impl Included {
    /// Puts the files of all includes together: of those with one path, the file of the later include counts.
    ///
    /// `shown` is the address of a repository as it may be shown. `None` when an include brings nothing or cannot be
    /// read, which is reported.
    pub fn new(
        d: &mut Diagnostics,
        includes: &[(Include, Files)],
        giterminism_path: &str,
        shown: &dyn Fn(&str) -> String,
    ) -> Option<Self> {
        let mut files = BTreeMap::new();
        let mut failed = false;
        for (include, source) in includes.iter().rev() {
            let repository = shown(&include.git.value);
            let taken = match take(include, source) {
                Ok(taken) => taken,
                Err(error) => {
                    d.push(Diagnostic::at(&rules::REMOTE_REPOSITORY, include.git.span, error.to_string()));
                    failed = true;
                    continue;
                }
            };
            if taken.is_empty() {
                let message = format!("the include takes no file of {repository}");
                let found = Diagnostic::at(&rules::INCLUDE_EMPTY, include.add.span, message);
                d.push(found.hint("mend `add`, which starts at the root of that repository, or the patterns"));
                failed = true;
            }
            for (path, origin, entry) in taken {
                let is_own = [INCLUDES_FILE, INCLUDES_LOCK, giterminism_path].contains(&path.as_str());
                if !is_own && !is_occupied(&files, &path) {
                    let shown = format!("{repository}@{}:{origin}", include.reference_text());
                    let file = IncludedFile { entry, shown, repository: repository.clone(), source: source.clone() };
                    files.insert(path, file);
                }
            }
        }
        (!failed).then(|| Self { files: Arc::new(files) })
    }

    /// Says whether nothing is included.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the file at a path of the project.
    pub fn get(&self, path: &str) -> Option<&IncludedFile> {
        self.files.get(path)
    }

    /// Returns all files with their paths, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &IncludedFile)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Returns the paths below `base` that match, sorted.
    pub fn glob<'a>(&'a self, base: &'a str, matcher: &'a PathMatcher) -> impl Iterator<Item = &'a str> {
        self.files.keys().filter_map(move |path| {
            let below = match path.strip_prefix(base)? {
                below if base.is_empty() || below.is_empty() => below,
                below => below.strip_prefix('/')?,
            };
            matcher.matches(below).then_some(path.as_str())
        })
    }

    /// Returns the files with those below that they do not have themselves.
    ///
    /// # Errors
    /// The object store failed.
    pub fn below(&self, files: &Files) -> Result<Files, FilesError> {
        let mut added = BTreeMap::new();
        let mut stores: Vec<&Arc<dyn Objects>> = Vec::new();
        for (path, file) in self.files.iter() {
            if has(files, path)? {
                continue;
            }
            added.insert(path.clone(), Some(file.entry));
            let store = file.source.objects();
            if stores.iter().all(|known| !Arc::ptr_eq(known, store)) {
                stores.push(store);
            }
        }
        if added.is_empty() {
            return Ok(files.clone());
        }
        let joined = JoinedObjects::new(files.objects().clone(), stores.into_iter().cloned());
        let overlay = MemoryObjects::over(Arc::new(joined));
        let root = overlay.with_entries(Some(files.root()), &added)?;
        Ok(Files::new(Arc::new(overlay), root))
    }

    /// Returns how files that come from elsewhere are shown, by their path.
    ///
    /// # Errors
    /// The object store failed.
    pub fn names(&self, files: &Files) -> Result<BTreeMap<String, String>, FilesError> {
        let mut names = BTreeMap::new();
        for (path, file) in self.files.iter() {
            if !has(files, path)? {
                names.insert(path.clone(), file.shown.clone());
            }
        }
        Ok(names)
    }
}

/// Says whether the files have something where the path is, or a file where it needs a folder.
fn has(files: &Files, path: &str) -> Result<bool, FilesError> {
    if files.entry(path)?.is_some() {
        return Ok(true);
    }
    for above in folders(path) {
        if files.entry(above)?.is_some_and(|entry| entry.mode != Mode::Directory) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn folders(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

/// Says whether a path is taken, or has a file where a folder would have to be, or the other way round.
fn is_occupied(files: &BTreeMap<String, IncludedFile>, path: &str) -> bool {
    let inside = format!("{path}/");
    files.contains_key(path)
        || folders(path).any(|above| files.contains_key(above))
        || files.range(inside.clone()..).next().is_some_and(|(next, _)| next.starts_with(&inside))
}

/// Returns path in the project, path in the repository and entry of each file that is taken.
fn take(include: &Include, source: &Files) -> Result<Vec<(String, String, Entry)>, FilesError> {
    let add = include.add.value.as_str();
    let mut taken = Vec::new();
    for (origin, entry) in source.walk(add)? {
        let below = origin.strip_prefix(add).unwrap_or(&origin).trim_start_matches('/');
        if !include.matcher.matches(below) {
            continue;
        }
        // A link is what it leads to, which may lie outside of what is taken.
        let entry = match entry.mode {
            Mode::Symlink => match source.resolve(&origin) {
                Ok(Some((_, target))) if matches!(target.mode, Mode::File | Mode::Executable) => target,
                Ok(_) | Err(FilesError::Link { .. }) => continue,
                Err(error) => return Err(error),
            },
            Mode::File | Mode::Executable => entry,
            Mode::Submodule | Mode::Directory => continue,
        };
        let path = [include.to.value.as_str(), below].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>();
        let path = path.join("/");
        if !path.is_empty() {
            taken.push((path, origin, entry));
        }
    }
    Ok(taken)
}
