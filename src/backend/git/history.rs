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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Asked, LastChange, last_change};

    /// Commits a tree of one file in a folder among others; the second line of the file is the number.
    fn commit(repo: &git2::Repository, number: usize, parents: &[git2::Oid], text: &str) -> git2::Oid {
        let blob = repo.blob(text.as_bytes()).unwrap();
        let other = repo.blob(number.to_string().as_bytes()).unwrap();
        let mut folder = repo.treebuilder(None).unwrap();
        folder.insert("main.go", blob, 0o100_644).unwrap();
        let mut root = repo.treebuilder(None).unwrap();
        root.insert("app", folder.write().unwrap(), 0o040_000).unwrap();
        root.insert("other", other, 0o100_644).unwrap();
        let tree = repo.find_tree(root.write().unwrap()).unwrap();
        let time = git2::Time::new(1_767_323_045 + i64::try_from(number).unwrap(), 60);
        let author = git2::Signature::new(&format!("author {number}"), "a@example.org", &time).unwrap();
        let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        repo.commit(None, &author, &author, &format!("change {number}\n\nmore"), &tree, &parents).unwrap()
    }

    #[test]
    fn commit_author_date_and_subject_are_told_from_a_repository() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let first = commit(&repo, 1, &[], "1");
        let second = commit(&repo, 2, &[first], "2");
        let side = commit(&repo, 3, &[first], "1");
        let head = commit(&repo, 4, &[second, side], "2");
        let repository = Arc::new(Repository::discover(dir.path()).unwrap());
        let head = repository.commit(&head.to_string()).unwrap();
        let history = repository.history(&head);
        let files = repository.files(&head);
        let since = first.to_string();
        let asked = Asked { files: &files, path: "app/main.go", lines: None, since: Some(&since) };
        let LastChange::Commit(note) = last_change(&history, &asked) else { panic!("a commit is known") };
        assert_eq!((note.author.as_str(), note.subject.as_str()), ("author 2", "change 2"));
        assert_eq!((note.hash, note.date), (second.to_string(), "2026-01-02T04:04:07+01:00".to_owned()));
        assert_eq!(history.is_ancestor(&side.to_string()), Some(true));
        assert_eq!(history.is_ancestor(&head.hash), Some(true));
        let stray = commit(&repo, 5, &[first], "5");
        assert_eq!(history.is_ancestor(&stray.to_string()), Some(false));
        assert_eq!(history.is_ancestor(&"1".repeat(40)), None);
        assert_eq!(history.is_ancestor(""), None);
    }

    #[test]
    fn the_border_of_a_shallow_clone_changed_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let repo = git2::Repository::init(dir.path()).unwrap();
        let first = commit(&repo, 1, &[], "1");
        let second = commit(&repo, 2, &[first], "1");
        let third = commit(&repo, 3, &[second], "1");
        std::fs::write(dir.path().join(".git/shallow"), format!("{second}\n")).unwrap();
        let hex = first.to_string();
        std::fs::remove_file(dir.path().join(".git/objects").join(&hex[..2]).join(&hex[2..])).unwrap();
        let repository = Arc::new(Repository::discover(dir.path()).unwrap());
        let head = repository.commit(&third.to_string()).unwrap();
        let (history, files) = (repository.history(&head), repository.files(&head));
        let asked = Asked { files: &files, path: "app/main.go", lines: None, since: Some(&hex) };
        assert_eq!(last_change(&history, &asked), LastChange::Missing);
        let asked = Asked { path: "other", ..asked };
        assert!(matches!(last_change(&history, &asked), LastChange::Commit(note) if note.author == "author 3"));
        assert_eq!(history.is_ancestor(&hex), None);
    }
}
