//! What a repository cannot give, or not as its commit says: files of submodules, content that Git LFS keeps elsewhere.

/// A path whose content cannot be taken from the commit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// Path from the root of the repository.
    pub path: String,
    /// Why.
    pub kind: GapKind,
}

/// Why content cannot be taken from the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GapKind {
    /// The submodule is not checked out, or lacks the recorded commit.
    SubmoduleAbsent,
    /// The submodule is new and not committed.
    SubmoduleAdded,
    /// The submodule is removed, and the removal is not committed.
    SubmoduleDeleted,
    /// The submodule has files that its repository does not know.
    SubmoduleUntracked,
    /// The submodule has changes that are not committed in its repository.
    SubmoduleUncommitted,
    /// Another commit of the submodule is checked out than the one that is recorded.
    SubmoduleCommit,
    /// The file is a pointer of Git LFS, and what it points to is not here.
    LfsPointer,
}

impl Gap {
    /// Says whether the path is a directory with files of another repository.
    pub fn is_submodule(&self) -> bool {
        self.kind != GapKind::LfsPointer
    }

    /// Says whether a path is this one, or lies below it.
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Tells what is wrong.
    pub fn message(&self) -> String {
        let path = &self.path;
        match self.kind {
            GapKind::SubmoduleAbsent => format!("the submodule `{path}` is not checked out at its recorded commit"),
            GapKind::SubmoduleAdded => format!("the submodule `{path}` is new and not committed"),
            GapKind::SubmoduleDeleted => format!("the submodule `{path}` is removed, and that is not committed"),
            GapKind::SubmoduleUntracked => format!("the submodule `{path}` has files that are not committed"),
            GapKind::SubmoduleUncommitted => format!("the submodule `{path}` has changes that are not committed"),
            GapKind::SubmoduleCommit => {
                format!("another commit of the submodule `{path}` is checked out than recorded")
            }
            GapKind::LfsPointer => format!("the content of `{path}` is kept by Git LFS and is not here"),
        }
    }

    /// Tells what to do.
    pub fn hint(&self) -> String {
        let path = &self.path;
        match self.kind {
            GapKind::SubmoduleAbsent => format!("run `git submodule update --init {path}`"),
            GapKind::SubmoduleAdded | GapKind::SubmoduleDeleted => "commit that, or use `--dev`".to_owned(),
            GapKind::SubmoduleUntracked | GapKind::SubmoduleUncommitted => {
                "commit them in the submodule and then here; or remove them".to_owned()
            }
            GapKind::SubmoduleCommit => {
                format!("commit `{path}` here to record that commit, or run `git submodule update {path}`")
            }
            GapKind::LfsPointer => format!("run `git lfs pull --include {path}`"),
        }
    }
}
