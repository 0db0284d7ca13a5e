//! Reading project files by the rules of giterminism: from the commit, unless a rule allows the disk.
//!
//! The one idea: commit and disk are two trees of the same objects, so a file is changed where the two ids differ.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::diag::{Rule, rules};
use crate::source::glob::PathMatcher;
use crate::source::{Entry, Files, FilesError, Gap, Mode, ObjectId, PathFilter, Verdict, normalize_path};

use super::giterminism::Setting;
use super::{Giterminism, Included};

/// The files of the project: paths are relative to its directory, and may lead out of it, but not of the repository.
#[derive(Clone, Debug)]
pub(super) struct ProjectFiles {
    /// The repository as it is built.
    pub committed: Files,
    /// The repository as it lies on the disk, ignored files aside; `None` when it is of no account.
    pub disk: Option<Files>,
    /// The disk counts, whatever was committed.
    pub loose: bool,
    /// The project directory, relative to the repository.
    pub project_dir: String,
    /// Files of other repositories, which are read where there are none of the project.
    pub included: Option<Included>,
    /// What the repository cannot give.
    pub gaps: Arc<[Gap]>,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadFault {
    /// It is nowhere.
    #[error("the file `{path}` does not exist")]
    NotFound {
        /// The file.
        path: String,
    },
    /// It is on the disk alone.
    #[error("the file `{path}` is not committed")]
    Untracked {
        /// The file.
        path: String,
    },
    /// Disk and commit differ.
    #[error("the file `{path}` has changes that are not committed")]
    Uncommitted {
        /// The file.
        path: String,
    },
    /// It is in a submodule that is not as the commit says, or Git LFS keeps its content elsewhere.
    #[error("the file `{path}` cannot be read: {}", .gap.message())]
    Gap {
        /// The file.
        path: String,
        /// What is missing.
        gap: Gap,
    },
    /// A link that may come from the disk leads to a file that may not.
    #[error("the link `{path}` leads to `{target}`, which may not be read from the disk")]
    Link {
        /// The link.
        path: String,
        /// Where it leads.
        target: String,
    },
    /// Too many directories are linked to each other.
    #[error("`{path}` has more than {MAX_DIRECTORIES} directories, links followed")]
    TooMany {
        /// The directory.
        path: String,
    },
    /// It leads out, is no file, or the store failed.
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl ReadFault {
    /// Returns the rule that a finding about it has.
    pub fn rule(&self) -> &'static Rule {
        match self {
            Self::Untracked { .. } | Self::Uncommitted { .. } | Self::Link { .. } => &rules::UNCOMMITTED_FILE,
            Self::Gap { gap, .. } if gap.is_submodule() => &rules::SUBMODULE_STATE,
            Self::Gap { .. } => &rules::LFS_POINTER,
            Self::NotFound { .. } | Self::TooMany { .. } | Self::Files(_) => &rules::FILE_NOT_FOUND,
        }
    }

    /// Returns what to do.
    pub fn hints(&self, giterminism: &Giterminism, setting: Setting) -> Vec<String> {
        let (action, path) = match self {
            Self::Untracked { path } => ("commit it, or use `--dev`", path),
            Self::Uncommitted { path } => ("commit them, or use `--dev`", path),
            Self::Link { target, .. } => ("commit it, or use `--dev`", target),
            Self::Gap { gap, .. } => return vec![gap.hint()],
            Self::NotFound { .. } | Self::TooMany { .. } | Self::Files(_) => return Vec::new(),
        };
        let rule = giterminism.disk_rule_to_add(setting, path);
        [action.to_owned()].into_iter().chain(rule).collect()
    }
}

impl ProjectFiles {
    /// Returns a path from the root of the repository; `None` when it leads out.
    pub fn place(&self, path: &str) -> Option<String> {
        normalize_path(&format!("{}/{path}", self.project_dir)).filter(|_| !path.starts_with('/'))
    }

    /// Returns a path of the repository as one of the project.
    fn of_project(&self, path: &str) -> String {
        match path.strip_prefix(self.project_dir.as_str()) {
            Some(rest) if self.project_dir.is_empty() || rest.starts_with('/') => {
                rest.trim_start_matches('/').to_owned()
            }
            Some(_) | None => format!("{}{path}", "../".repeat(self.project_dir.split('/').count())),
        }
    }

    /// Reads a file; `allowed` says whether a rule lets a path come from the disk. Of a link that comes from there, all
    /// that it leads to must be allowed. Where the project has no such file, an included one is read.
    pub fn read(&self, path: &str, allowed: &dyn Fn(&str) -> bool) -> Result<Arc<[u8]>, ReadFault> {
        let own = self.read_own(path, allowed);
        let (Err(ReadFault::NotFound { .. }), Some(included)) = (&own, &self.included) else { return own };
        let place = self.place(path).map(|place| self.of_project(&place));
        match place.and_then(|path| included.get(&path)) {
            Some(file) => Ok(file.read()?),
            None => own,
        }
    }

    fn read_own(&self, path: &str, allowed: &dyn Fn(&str) -> bool) -> Result<Arc<[u8]>, ReadFault> {
        let not_found = || ReadFault::NotFound { path: path.to_owned() };
        let place = self.place(path).ok_or_else(not_found)?;
        let path = self.of_project(&place);
        if let Some(disk) = self.disk.as_ref().filter(|_| self.loose || allowed(&path)) {
            let (target, _) = disk.resolve(&place)?.ok_or_else(not_found)?;
            let target = self.of_project(&target);
            if !self.loose && target != path && !allowed(&target) {
                return Err(ReadFault::Link { path, target });
            }
            return Ok(disk.read(&place)?);
        }
        if let Some(gap) = self.gaps.iter().find(|gap| gap.covers(&place)) {
            return Err(ReadFault::Gap { path, gap: gap.clone() });
        }
        match self.state(&place)? {
            State::Clean(_) => Ok(self.committed.read(&place)?),
            State::Absent => Err(not_found()),
            State::Untracked => Err(ReadFault::Untracked { path }),
            State::Changed => Err(ReadFault::Uncommitted { path }),
        }
    }

    /// Returns what the project itself has at a path, links followed; a changed file or a directory with changes is not there.
    pub fn entry(&self, path: &str) -> Result<Option<Entry>, ReadFault> {
        let Some(path) = self.place(path) else { return Ok(None) };
        if let Some(disk) = self.disk.as_ref().filter(|_| self.loose) {
            return Ok(disk.resolve(&path)?.map(|(_, entry)| entry));
        }
        match self.state(&path)? {
            State::Clean(entry) => Ok(Some(entry)),
            State::Absent | State::Untracked | State::Changed => Ok(None),
        }
    }

    fn state(&self, path: &str) -> Result<State, ReadFault> {
        let committed = self.committed.resolve(path)?;
        let Some(disk) = &self.disk else { return Ok(committed.map_or(State::Absent, |(_, c)| State::Clean(c))) };
        let disk = disk.resolve(path)?;
        Ok(match (committed, disk) {
            // A link that leads elsewhere now is a change, whatever is there.
            (Some(committed), Some(disk)) if committed == disk => State::Clean(committed.1),
            (Some(_), _) => State::Changed,
            (None, Some(_)) => State::Untracked,
            (None, None) => State::Absent,
        })
    }

    /// Returns the paths of the files below `base` that match, from commit and disk, sorted.
    pub fn glob(&self, base: &str, matcher: &PathMatcher) -> Result<Vec<String>, ReadFault> {
        let place = self.place(base).ok_or_else(|| ReadFault::NotFound { path: base.to_owned() })?;
        let mut found = BTreeSet::new();
        let committed = Some(&self.committed).filter(|_| !self.loose || self.disk.is_none());
        for files in committed.into_iter().chain(&self.disk) {
            let Some((_, entry)) = files.resolve(&place)? else { continue };
            if entry.mode == Mode::Directory {
                let open = Vec::new();
                Walk { files, place: &place, base, matcher, found: &mut found, open, directories: 0 }.directory("")?;
            } else if matcher.matches("") {
                found.insert(base.to_owned());
            }
        }
        let included = self.included.iter().flat_map(|included| included.glob(base, matcher));
        found.extend(included.map(str::to_owned));
        Ok(found.into_iter().collect())
    }
}

enum State {
    Clean(Entry),
    Changed,
    Untracked,
    Absent,
}

/// A walk with links followed ends after so many directories.
const MAX_DIRECTORIES: usize = 100_000;

/// Collects the files below a directory; linked directories are followed, but not into themselves.
struct Walk<'w> {
    files: &'w Files,
    /// The directory that is walked, from the root of the repository.
    place: &'w str,
    /// The same, from the project.
    base: &'w str,
    matcher: &'w PathMatcher,
    found: &'w mut BTreeSet<String>,
    /// The directories around the one that is read.
    open: Vec<ObjectId>,
    directories: usize,
}

impl Walk<'_> {
    fn directory(&mut self, below: &str) -> Result<(), ReadFault> {
        let join = |a: &str, b: &str| if a.is_empty() || b.is_empty() { format!("{a}{b}") } else { format!("{a}/{b}") };
        let Some((_, here)) = self.files.resolve(&join(self.place, below))? else { return Ok(()) };
        if here.mode != Mode::Directory || self.open.contains(&here.id) {
            return Ok(());
        }
        self.directories += 1;
        if self.directories > MAX_DIRECTORIES {
            return Err(ReadFault::TooMany { path: self.base.to_owned() });
        }
        self.open.push(here.id);
        for entry in self.files.objects().tree(here.id)?.entries() {
            let path = join(below, &entry.name);
            let mode = match entry.mode {
                // A link that leads nowhere is not there.
                Mode::Symlink => {
                    let target = self.files.resolve(&join(self.place, &path)).ok().flatten();
                    target.map_or(Mode::Submodule, |(_, target)| target.mode)
                }
                Mode::File | Mode::Executable | Mode::Directory | Mode::Submodule => entry.mode,
            };
            match mode {
                Mode::Directory => {
                    if self.matcher.verdict(&path, true) != Verdict::None {
                        self.directory(&path)?;
                    }
                }
                Mode::File | Mode::Executable | Mode::Symlink => {
                    if self.matcher.matches(&path) {
                        self.found.insert(join(self.base, &path));
                    }
                }
                Mode::Submodule => {}
            }
        }
        self.open.pop();
        Ok(())
    }
}
