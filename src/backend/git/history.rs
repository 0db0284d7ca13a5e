//! The commits behind the one that is checked out.
//!
//! The one idea: a commit is read once a run, and trees are read by path through libgit2's own bounded cache: a walk over
//! ten thousand commits holds no tree of them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

use super::{Commit, Repository, object_id, oid};
use crate::source::{CommitNode, CommitNote, Entry, History, Mode, ObjectId, Objects};

/// The commits that lead to one commit of a repository.
#[derive(Debug)]
pub struct GitHistory {
    repository: Arc<Repository>,
    head: ObjectId,
    nodes: Mutex<FxHashMap<ObjectId, Option<CommitNode>>>,
    ancestors: Mutex<FxHashMap<String, Option<bool>>>,
}

impl Repository {
    /// Returns the commits that lead to `head`.
    pub fn history(self: &Arc<Self>, head: &Commit) -> GitHistory {
        let head = ObjectId::from_hex(&head.hash).expect("a commit's name has 40 hexadecimal digits");
        GitHistory { repository: self.clone(), head, nodes: Mutex::default(), ancestors: Mutex::default() }
    }
}

impl History for GitHistory {
    fn head(&self) -> Option<ObjectId> {
        Some(self.head)
    }

    fn node(&self, commit: ObjectId) -> Option<CommitNode> {
        if let Some(node) = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(&commit) {
            return node.clone();
        }
        let node = self.repository.with(|repo| {
            let found = repo.find_commit(oid(commit).ok()?).ok()?;
            Some(CommitNode { tree: object_id(found.tree_id()), parents: found.parent_ids().map(object_id).collect() })
        });
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(commit, node.clone());
        node
    }

    fn note(&self, commit: ObjectId) -> Option<CommitNote> {
        self.repository.with(|repo| {
            let found = repo.find_commit(oid(commit).ok()?).ok()?;
            let author = found.author();
            let time = author.when();
            Some(CommitNote {
                hash: commit.to_string(),
                author: String::from_utf8_lossy(author.name_bytes()).into_owned(),
                date: CommitNote::date_of(time.seconds(), time.offset_minutes()),
                subject: String::from_utf8_lossy(found.summary_bytes().unwrap_or_default()).into_owned(),
            })
        })
    }

    fn objects(&self) -> Arc<dyn Objects> {
        self.repository.clone()
    }

    fn entry(&self, tree: ObjectId, path: &str) -> Option<Entry> {
        if path.is_empty() {
            return Some(Entry { mode: Mode::Directory, id: tree });
        }
        self.repository.with(|repo| {
            let tree = repo.find_tree(oid(tree).ok()?).ok()?;
            let entry = tree.get_path(Path::new(path)).ok()?;
            Some(Entry { mode: super::mode(entry.filemode_raw()), id: object_id(entry.id()) })
        })
    }

    fn descends(&self, later: ObjectId, earlier: ObjectId) -> bool {
        let (Ok(to), Ok(from)) = (oid(later), oid(earlier)) else { return false };
        later == earlier || self.repository.with(|repo| repo.graph_descendant_of(to, from).unwrap_or(false))
    }

    fn is_cut(&self) -> bool {
        self.repository.with(git2::Repository::is_shallow)
    }

    fn is_ancestor(&self, commit: &str) -> Option<bool> {
        if let Some(known) = self.ancestors.lock().unwrap_or_else(PoisonError::into_inner).get(commit) {
            return *known;
        }
        let known = ObjectId::from_hex(commit).filter(|id| self.node(*id).is_some()).and_then(|id| {
            // Behind the border of a shallow clone there may be a way from the one to the other.
            let found = self.descends(self.head, id);
            (found || !self.is_cut()).then_some(found)
        });
        self.ancestors.lock().unwrap_or_else(PoisonError::into_inner).insert(commit.to_owned(), known);
        known
    }
}
