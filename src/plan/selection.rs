//! Which stored build of a stage may be used.
//!
//! The one idea: a stage that holds files of git mappings may hold older ones, since the stages above it bring them up
//! to date. What such a build was made from decides: files that are ours, or a commit that is behind ours.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::signature::{ANNOTATION_COMMIT, ANNOTATION_UNCOMMITTED, ChangedFile, Origin, compare_trees, mapped_files};
use crate::source::{FilesError, History, ObjectId, Objects};
use crate::stage::TreeSource;

/// What makes a stored build of a stage suitable that holds files of git mappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageSelection {
    /// Either of the others.
    #[default]
    Either,
    /// It was built from this commit or one behind it.
    Ancestry,
    /// It holds the very files of this commit; the history is not asked.
    Content,
}

/// How the builds of a stage are chosen whose digest does not tell the files of git mappings that it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// The rule.
    pub selection: StageSelection,
    /// The files of this commit, one for each mapping.
    #[schemars(with = "Value")]
    pub files: Vec<TreeSource>,
}

/// Why a stored build of a stage is not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Unsuitable {
    /// It holds other files, and its commit is not behind ours.
    NotAnAncestor {
        /// Its commit.
        commit: String,
    },
    /// It holds other files, and its commit is not in this clone.
    UnknownCommit {
        /// Its commit.
        commit: String,
    },
    /// It holds other files, and only the same ones count.
    OtherFiles,
    /// It holds files that no commit of this clone holds: those of uncommitted changes, or of another repository.
    FilesGone,
    /// It does not say which files it holds.
    NotRecorded,
}

impl std::fmt::Display for Unsuitable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |commit: &str| commit.get(..7).unwrap_or(commit).to_owned();
        match self {
            Self::NotAnAncestor { commit } => {
                write!(f, "built from commit {}, which is not behind this one", short(commit))
            }
            Self::UnknownCommit { commit } => {
                write!(f, "built from commit {}, which is not in this clone", short(commit))
            }
            Self::OtherFiles => f.write_str("built from other files"),
            Self::FilesGone => f.write_str("built from files that no commit of this clone holds"),
            Self::NotRecorded => f.write_str("it does not say what it was built from"),
        }
    }
}

/// Says whether a stored build may be used, and returns the files of git mappings that it holds.
///
/// # Errors
/// It is not suitable.
pub fn judge(
    binding: &Binding,
    annotations: &BTreeMap<String, String>,
    history: &dyn History,
    objects: &dyn Objects,
) -> Result<Vec<TreeSource>, Unsuitable> {
    let held = mapped_files(annotations, &binding.files).ok_or(Unsuitable::NotRecorded)?;
    let is_equal = |(held, ours): (&TreeSource, &TreeSource)| (held.id, held.mode) == (ours.id, ours.mode);
    let equal = held.iter().zip(&binding.files).all(is_equal);
    if equal && binding.selection != StageSelection::Ancestry {
        return Ok(held);
    }
    if binding.selection == StageSelection::Content {
        return Err(Unsuitable::OtherFiles);
    }
    if annotations.contains_key(ANNOTATION_UNCOMMITTED) {
        return Err(Unsuitable::FilesGone);
    }
    let commit = annotations.get(ANNOTATION_COMMIT).ok_or(Unsuitable::NotRecorded)?;
    match history.is_ancestor(commit) {
        Some(true) if held.iter().all(|files| objects.tree(files.root).is_ok()) => Ok(held),
        Some(true) => Err(Unsuitable::FilesGone),
        Some(false) => Err(Unsuitable::NotAnAncestor { commit: commit.clone() }),
        None => Err(Unsuitable::UnknownCommit { commit: commit.clone() }),
    }
}

/// Returns the size of the files that differ, as they are now.
///
/// # Errors
/// An object is not in the repository.
pub fn changed_bytes(held: &[TreeSource], now: &[TreeSource], objects: &dyn Objects) -> Result<u64, FilesError> {
    let mut bytes = 0;
    for (held, now) in held.iter().zip(now) {
        if (held.id, held.mode) == (now.id, now.mode) {
            continue;
        }
        let changed: Vec<ChangedFile> = compare_trees(objects, &origin(held), &origin(now))?;
        let newer = changed.into_iter().filter_map(|(_, _, new)| new);
        for id in newer.map(|(_, id)| id).collect::<std::collections::BTreeSet<ObjectId>>() {
            bytes += objects.size(id)?;
        }
    }
    Ok(bytes)
}

fn origin(tree: &TreeSource) -> Origin {
    Origin {
        root: tree.root,
        prefix: String::new(),
        path: tree.path.clone(),
        filter: tree.filter.clone(),
        mode: tree.mode,
    }
}
