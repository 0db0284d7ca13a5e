//! Commits as values: which one changed a file or some of its lines last, and whether one is behind another.
//!
//! What lives here: the trait [`History`], the walk [`last_change`] over it, and [`MemoryHistory`]. What does not: reading
//! a repository (`backend`), and what a change means for an image (`plan`).
//!
//! The one idea: only the entry of one path is compared between a commit and its parents, never whole trees; where a
//! parent has the same entry, the walk goes on there and forgets the other parents.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::objects::{Entry, Files, MemoryObjects, Mode, ObjectId, Objects};

/// A walk ends after this many commits: then the answer is not known.
const LONGEST_WALK: usize = 100_000;
/// Texts longer than this are taken as a whole. Unit: bytes.
const LONGEST_TEXT: usize = 1 << 20;
/// A file that came with a commit is looked for under this many names that went with it.
const NAMES_COMPARED: usize = 10_000;

/// Who made a commit, when and what for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct CommitNote {
    /// 40 hexadecimal digits.
    pub hash: String,
    /// The author's name.
    pub author: String,
    /// The author's date. Unit: RFC 3339, with the author's offset.
    pub date: String,
    /// The first line of the message.
    pub subject: String,
}

impl CommitNote {
    /// Writes a time as RFC 3339. Unit: seconds since the Unix epoch; minutes from UTC.
    pub fn date_of(seconds: i64, offset_minutes: i32) -> String {
        let offset = offset_minutes.checked_mul(60).and_then(|s| jiff::tz::Offset::from_seconds(s).ok());
        let time = jiff::Timestamp::from_second(seconds).ok();
        let written = time.zip(offset).map(|(time, offset)| time.display_with_offset(offset).to_string());
        written.unwrap_or_default()
    }

    /// Returns the hash as people name it.
    pub fn short(&self) -> &str {
        self.hash.get(..7).unwrap_or(&self.hash)
    }
}

/// A commit's place among the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitNode {
    /// Its tree.
    pub tree: ObjectId,
    /// The commits that it was made from.
    pub parents: Vec<ObjectId>,
}

/// The commits that lead to the one that is read.
pub trait History: Send + Sync + fmt::Debug {
    /// Returns the commit that is read; `None` when there are no commits.
    fn head(&self) -> Option<ObjectId>;

    /// Returns a commit's tree and parents; `None` when it is not here, as in a shallow clone.
    fn node(&self, commit: ObjectId) -> Option<CommitNode>;

    /// Returns who made a commit; `None` when it is not here.
    fn note(&self, commit: ObjectId) -> Option<CommitNote>;

    /// Returns the objects of its trees.
    fn objects(&self) -> Arc<dyn Objects>;

    /// Returns what a tree has at a path; `None` for nothing.
    fn entry(&self, tree: ObjectId, path: &str) -> Option<Entry> {
        Files::new(self.objects(), tree).entry(path).ok().flatten()
    }

    /// Says whether `earlier` is `later` or behind it.
    fn descends(&self, later: ObjectId, earlier: ObjectId) -> bool {
        let mut seen = FxHashSet::default();
        let mut waiting = vec![later];
        while let Some(commit) = waiting.pop() {
            if commit == earlier {
                return true;
            }
            if seen.len() < LONGEST_WALK && seen.insert(commit) {
                waiting.extend(self.node(commit).into_iter().flat_map(|node| node.parents));
            }
        }
        false
    }

    /// Says whether some commits are known to be missing, as in a shallow clone.
    fn is_cut(&self) -> bool {
        false
    }

    /// Says whether a commit is the one that is read or behind it; `None` when that cannot be known here.
    fn is_ancestor(&self, commit: &str) -> Option<bool> {
        let commit = ObjectId::from_hex(commit)?;
        let head = self.head()?;
        self.node(commit)?;
        if self.descends(head, commit) {
            return Some(true);
        }
        (!self.is_cut()).then_some(false)
    }
}

/// What [`last_change`] is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The files that are read: those of the commit, or of the work tree.
    pub files: &'a Files,
    /// The path in them; of a file that is gone, where it was.
    pub path: &'a str,
    /// The lines, both inclusive; the whole file without. Unit: from 1.
    pub lines: Option<(u32, u32)>,
    /// The commit that is compared with.
    pub since: Option<&'a str>,
}

/// Which commit changed a file last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LastChange {
    /// This one.
    Commit(CommitNote),
    /// It is not committed yet.
    NotCommitted,
    /// It did not change on this branch: the commit that is compared with has this change, which is not here.
    NotHere(CommitNote),
    /// It is as it was: what changed is not in the file.
    Unchanged,
    /// The commits that could tell are not in this clone.
    Missing,
}

/// Returns the last commit that changed a file, or lines of it, up to the commit that is read.
///
/// A file is followed under the same name; lines also through a commit that only renames. Source: `git log -1 -- PATH`,
/// `git blame -L`.
pub fn last_change(history: &dyn History, asked: &Asked<'_>) -> LastChange {
    let Some((head, node)) = history.head().and_then(|head| Some((head, history.node(head)?))) else {
        return LastChange::Missing;
    };
    let since = asked.since.and_then(ObjectId::from_hex).filter(|since| history.node(*since).is_some());
    let committed = history.entry(node.tree, asked.path);
    let now = asked.files.entry(asked.path).ok().flatten();
    let mut trail = Trail { path: asked.path.to_owned(), lines: asked.lines.and_then(zero_based) };
    if committed != now {
        match (trail.lines, now, committed) {
            (Some(lines), Some(now), Some(committed)) => {
                let read = |objects: &dyn Objects, id| objects.blob(id).ok();
                let (new, old) = (read(&**asked.files.objects(), now.id), read(&*history.objects(), committed.id));
                trail.lines = new.zip(old).and_then(|(new, old)| moved(&old, &new, lines));
                if trail.lines.is_none() {
                    return LastChange::NotCommitted;
                }
            }
            _ => return LastChange::NotCommitted,
        }
    }
    let whole = Trail { path: asked.path.to_owned(), lines: None };
    let found = match walk(history, head, trail.clone(), since) {
        // Lines that did not change since then: the file did.
        End::Until if trail.lines.is_some() => walk(history, head, whole.clone(), since),
        found @ (End::At(_) | End::Until | End::Missing) => found,
    };
    let tell = |commit: ObjectId| history.note(commit).map_or(LastChange::Missing, LastChange::Commit);
    let since = match (found, since) {
        (End::At(found), None) => return tell(found),
        (End::At(found), Some(since)) if !history.descends(since, found) => return tell(found),
        (End::Missing, _) | (End::Until, None) => return LastChange::Missing,
        (End::At(_) | End::Until, Some(since)) => since,
    };
    if history.descends(head, since) {
        return dropped(history, head, since, asked.path).map_or(LastChange::Unchanged, tell);
    }
    match walk(history, since, whole, None) {
        End::At(there) if history.descends(head, there) => LastChange::Unchanged,
        End::At(there) => history.note(there).map_or(LastChange::Missing, LastChange::NotHere),
        End::Until | End::Missing => LastChange::Missing,
    }
}

/// Where a walk ended.
#[derive(Clone, Copy)]
enum End {
    /// At the commit that made the change.
    At(ObjectId),
    /// At the commit that it was not to pass.
    Until,
    /// Where commits are missing, or the walk grew too long.
    Missing,
}

/// What is followed: a path, and lines from 0, the last one not included.
#[derive(Clone)]
struct Trail {
    path: String,
    lines: Option<(usize, usize)>,
}

fn zero_based((first, last): (u32, u32)) -> Option<(usize, usize)> {
    let first = usize::try_from(first).ok()?.checked_sub(1)?;
    let end = usize::try_from(last).ok()?;
    (first < end).then_some((first, end))
}

/// Walks back to the commit that changed what is followed.
fn walk(history: &dyn History, from: ObjectId, mut trail: Trail, until: Option<ObjectId>) -> End {
    let Some(node) = history.node(from) else { return End::Missing };
    let here = history.entry(node.tree, &trail.path);
    let mut at = Step { commit: from, node, entry: here };
    for _ in 0..LONGEST_WALK {
        if Some(at.commit) == until {
            return End::Until;
        }
        let parent = |commit: &ObjectId| {
            let node = history.node(*commit)?;
            let entry = history.entry(node.tree, &trail.path);
            Some(Step { commit: *commit, node, entry })
        };
        let Some(parents) = at.node.parents.iter().map(parent).collect::<Option<Vec<Step>>>() else {
            return End::Missing;
        };
        if parents.is_empty() {
            // The border of a shallow clone looks like a first commit.
            return if at.entry.is_some() && !history.is_cut() { End::At(at.commit) } else { End::Missing };
        }
        if let Some(same) = parents.iter().find(|parent| parent.entry == at.entry) {
            at = same.clone();
            continue;
        }
        let followed = parents.iter().find_map(|parent| follow(history, &at, parent, &trail));
        let Some((older, step)) = followed else { return End::At(at.commit) };
        (trail, at) = (older, step);
    }
    End::Missing
}

/// A commit on a walk, and what it has at the path.
#[derive(Clone)]
struct Step {
    commit: ObjectId,
    node: CommitNode,
    entry: Option<Entry>,
}

/// Follows lines that a commit did not touch into its parent; `None` when it touched them.
fn follow(history: &dyn History, at: &Step, parent: &Step, trail: &Trail) -> Option<(Trail, Step)> {
    let (lines, here) = (trail.lines?, at.entry?);
    let objects = history.objects();
    let Some(there) = parent.entry else {
        let path = renamed_from(&*objects, parent.node.tree, at.node.tree, here.id)?;
        let entry = history.entry(parent.node.tree, &path);
        return Some((Trail { path, lines: Some(lines) }, Step { entry, ..parent.clone() }));
    };
    let lines = if there.id == here.id {
        lines
    } else {
        moved(&objects.blob(there.id).ok()?, &objects.blob(here.id).ok()?, lines)?
    };
    Some((Trail { path: trail.path.clone(), lines: Some(lines) }, parent.clone()))
}

/// Returns where lines of the newer text stand in the older one; `None` when any of them is new or changed, or one between
/// them went.
fn moved(old: &[u8], new: &[u8], (first, end): (usize, usize)) -> Option<(usize, usize)> {
    if old.len().max(new.len()) > LONGEST_TEXT {
        return None;
    }
    let (old, new): (Vec<&[u8]>, Vec<&[u8]>) =
        (old.split(|b| *b == b'\n').collect(), new.split(|b| *b == b'\n').collect());
    let within = |op: &DiffOp| match op {
        DiffOp::Equal { old_index, new_index, len } => {
            (*new_index <= first && end <= new_index + len).then(|| (first + old_index) - new_index)
        }
        DiffOp::Delete { .. } | DiffOp::Insert { .. } | DiffOp::Replace { .. } => None,
    };
    let start = capture_diff_slices(Algorithm::Myers, &old, &new).iter().find_map(within)?;
    Some((start, start + (end - first)))
}

/// Returns the path that the older tree has and the newer has not, with just this content.
fn renamed_from(objects: &dyn Objects, old: ObjectId, new: ObjectId, content: ObjectId) -> Option<String> {
    let mut waiting = vec![(String::new(), old, Some(new))];
    let mut compared = 0;
    while let Some((folder, old, new)) = waiting.pop() {
        let new = new.and_then(|new| objects.tree(new).ok());
        for entry in objects.tree(old).ok()?.entries() {
            compared += 1;
            let other = new.as_ref().and_then(|new| new.get(&entry.name));
            if compared > NAMES_COMPARED || other.is_some_and(|other| other.id == entry.id) {
                continue;
            }
            let path = if folder.is_empty() { entry.name.to_string() } else { format!("{folder}/{}", entry.name) };
            match entry.mode {
                Mode::Directory => {
                    let other = other.filter(|other| other.mode == Mode::Directory).map(|other| other.id);
                    waiting.push((path, entry.id, other));
                }
                Mode::File | Mode::Executable if entry.id == content && other.is_none() => return Some(path),
                Mode::File | Mode::Executable | Mode::Symlink | Mode::Submodule => {}
            }
        }
    }
    None
}

/// Returns the last commit between two whose entry differs from that of a parent on the way: a merge that dropped what
/// the older one has changes no file of its other parent.
fn dropped(history: &dyn History, head: ObjectId, since: ObjectId, path: &str) -> Option<ObjectId> {
    let between = between(history, head, since)?;
    let mut at = head;
    for _ in 0..LONGEST_WALK {
        if at == since {
            return None;
        }
        let node = history.node(at)?;
        let here = history.entry(node.tree, path);
        let on_the_way: Vec<ObjectId> = node.parents.into_iter().filter(|parent| between.contains(parent)).collect();
        let same =
            |parent: &&ObjectId| history.node(**parent).is_some_and(|parent| history.entry(parent.tree, path) == here);
        match on_the_way.iter().find(same) {
            Some(parent) => at = *parent,
            None => return Some(at),
        }
    }
    None
}

/// Returns the commits from `since` to `head`, both included, that descend from the one and lead to the other.
fn between(history: &dyn History, head: ObjectId, since: ObjectId) -> Option<FxHashSet<ObjectId>> {
    let mut parents: FxHashMap<ObjectId, Vec<ObjectId>> = FxHashMap::default();
    let mut found = FxHashSet::from_iter([since]);
    // A commit is left when all of its parents were.
    let mut waiting = vec![(head, false)];
    while let Some((commit, entered)) = waiting.pop() {
        if entered {
            let leads = parents.get(&commit).is_some_and(|all| all.iter().any(|parent| found.contains(parent)));
            if leads {
                found.insert(commit);
            }
        } else if commit != since && !parents.contains_key(&commit) {
            if parents.len() >= LONGEST_WALK {
                return None;
            }
            let all = history.node(commit).map(|node| node.parents).unwrap_or_default();
            waiting.push((commit, true));
            waiting.extend(all.iter().map(|parent| (*parent, false)));
            parents.insert(commit, all);
        }
    }
    Some(found)
}

/// Commits in memory.
#[derive(Clone, Default)]
pub struct MemoryHistory {
    objects: Arc<MemoryObjects>,
    commits: BTreeMap<ObjectId, (CommitNode, CommitNote)>,
    head: Option<ObjectId>,
    cut: bool,
}

impl MemoryHistory {
    /// Returns a history without commits, over objects.
    pub fn over(objects: Arc<MemoryObjects>) -> Self {
        Self { objects, ..Self::default() }
    }

    /// Adds a commit and makes it the one that is read. Its name is that of its note.
    ///
    /// # Panics
    /// The note's hash has not 40 hexadecimal digits.
    pub fn commit(&mut self, tree: ObjectId, parents: &[ObjectId], note: CommitNote) -> ObjectId {
        let id = ObjectId::from_hex(&note.hash).expect("a commit's name has 40 hexadecimal digits");
        self.commits.insert(id, (CommitNode { tree, parents: parents.to_vec() }, note));
        self.head = Some(id);
        id
    }

    /// Forgets a commit, as a shallow clone does.
    pub fn forget(&mut self, commit: ObjectId) {
        self.commits.remove(&commit);
        self.cut = true;
    }
}

impl fmt::Debug for MemoryHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryHistory({} commits, at {:?})", self.commits.len(), self.head)
    }
}

impl History for MemoryHistory {
    fn head(&self) -> Option<ObjectId> {
        self.head
    }

    fn node(&self, commit: ObjectId) -> Option<CommitNode> {
        self.commits.get(&commit).map(|(node, _)| node.clone())
    }

    fn note(&self, commit: ObjectId) -> Option<CommitNote> {
        self.commits.get(&commit).map(|(_, note)| note.clone())
    }

    fn objects(&self) -> Arc<dyn Objects> {
        self.objects.clone()
    }

    fn is_cut(&self) -> bool {
        self.cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits that are told one after another.
    #[derive(Default)]
    struct Story {
        history: MemoryHistory,
        told: usize,
    }

    impl Story {
        /// Commits changes over the first parent's tree; no text removes a file.
        fn commit(&mut self, parents: &[ObjectId], changes: &[(&str, Option<&str>)]) -> ObjectId {
            self.told += 1;
            let before = parents.first().map(|parent| self.history.node(*parent).unwrap().tree);
            let changes = changes
                .iter()
                .map(|(path, text)| ((*path).to_owned(), text.map(|t| (Mode::File, t.as_bytes().to_vec()))))
                .collect();
            let tree = self.history.objects.with_changes(before, &changes).unwrap();
            let note = CommitNote {
                hash: format!("{:040x}", self.told),
                author: format!("author {}", self.told),
                ..CommitNote::default()
            };
            self.history.commit(tree, parents, note)
        }

        fn files(&self) -> Files {
            let head = self.history.head().unwrap();
            Files::new(self.history.objects(), self.history.node(head).unwrap().tree)
        }

        /// Tells which commit changed a file of the newest commit: its number, or another state.
        fn last(&self, path: &str, lines: Option<(u32, u32)>, since: ObjectId) -> String {
            self.last_in(&self.files(), path, lines, since)
        }

        fn last_in(&self, files: &Files, path: &str, lines: Option<(u32, u32)>, since: ObjectId) -> String {
            let since = since.to_string();
            match last_change(&self.history, &Asked { files, path, lines, since: Some(&since) }) {
                LastChange::Commit(note) => note.author,
                LastChange::NotHere(note) => format!("not here: {}", note.author),
                LastChange::NotCommitted => "not committed".to_owned(),
                LastChange::Unchanged => "unchanged".to_owned(),
                LastChange::Missing => "missing".to_owned(),
            }
        }
    }

    const TEXT: &str = "one\ntwo\nthree\nfour\n";

    #[test]
    fn the_last_commit_that_changed_a_file_is_found_behind_others() {
        let mut story = Story::default();
        let first = story.commit(&[], &[("a/b", Some("1")), ("gone", Some("x"))]);
        let second = story.commit(&[first], &[("a/b", Some("2"))]);
        let third = story.commit(&[second], &[("gone", None), ("new", Some("n"))]);
        story.commit(&[third], &[("other", Some("x"))]);
        assert_eq!(story.last("a/b", None, first), "author 2");
        assert_eq!(story.last("gone", None, first), "author 3");
        assert_eq!(story.last("new", None, first), "author 3");
        assert_eq!(story.last("a/b", None, second), "unchanged");
        assert_eq!(story.last("a", None, first), "author 2", "a folder");
    }

    #[test]
    fn lines_are_blamed_on_the_commit_that_touched_them_and_not_on_a_later_one() {
        let mut story = Story::default();
        let first = story.commit(&[], &[("f", Some(TEXT))]);
        let second = story.commit(&[first], &[("f", Some("one\n2\nthree\nfour\n"))]);
        let third = story.commit(&[second], &[("f", Some("zero\none\n2\nthree\n4\n"))]);
        story.commit(&[third], &[("f", Some("zero\none\n2\n4\n"))]);
        assert_eq!(story.last("f", Some((3, 3)), first), "author 2");
        assert_eq!(story.last("f", Some((1, 2)), first), "author 3");
        assert_eq!(story.last("f", Some((3, 4)), first), "author 4", "a line between them went");
        assert_eq!(story.last("f", Some((2, 2)), first), "author 4", "the line did not change, so the file is told");
    }

    #[test]
    fn lines_are_followed_through_a_commit_that_only_renames() {
        let mut story = Story::default();
        let first = story.commit(&[], &[("old/Dockerfile", Some(TEXT)), ("x", Some("x"))]);
        let second = story.commit(&[first], &[("old/Dockerfile", Some("one\n2\nthree\nfour\n"))]);
        story.commit(&[second], &[("old/Dockerfile", None), ("new/Prod", Some("one\n2\nthree\nfour\n"))]);
        assert_eq!(story.last("new/Prod", Some((2, 2)), first), "author 2");
        assert_eq!(story.last("new/Prod", None, first), "author 3", "the file came with the rename");
        assert_eq!(story.last("old/Dockerfile", None, first), "author 3");
    }

    #[test]
    fn a_merge_is_named_only_where_it_made_the_change() {
        let mut story = Story::default();
        let base = story.commit(&[], &[("f", Some(TEXT)), ("g", Some("g"))]);
        let left = story.commit(&[base], &[("f", Some("1\ntwo\nthree\nfour\n"))]);
        let right = story.commit(&[base], &[("f", Some("one\ntwo\nthree\n4\n")), ("g", Some("G"))]);
        let merge = story.commit(&[left, right], &[("f", Some("1\ntwo\nthree\n4\n")), ("g", Some("G"))]);
        assert_eq!(story.last("g", None, base), "author 3");
        assert_eq!(story.last("f", Some((1, 1)), base), "author 2");
        assert_eq!(story.last("f", Some((4, 4)), base), "author 3");
        assert_eq!(story.last("f", None, base), "author 4", "neither side has the file as it is");
        assert_eq!(story.last("g", None, left), "author 3", "the branch came in later than what is compared with");
        // This one forgets what the right side did.
        let right = story.commit(&[merge], &[("g", Some("GG"))]);
        let left = story.commit(&[merge], &[("h", Some("h"))]);
        story.commit(&[left, right], &[]);
        assert_eq!(story.last("g", None, right), "author 7", "the merge dropped it");
    }

    #[test]
    fn a_change_of_another_branch_is_told_as_one_that_is_not_here() {
        let mut story = Story::default();
        let base = story.commit(&[], &[("f", Some("1")), ("g", Some("1"))]);
        let there = story.commit(&[base], &[("f", Some("2"))]);
        story.commit(&[base], &[("g", Some("2"))]);
        assert_eq!(story.last("f", None, there), "not here: author 2");
        assert_eq!(story.last("g", None, there), "author 3");
        assert_eq!(story.history.is_ancestor(&there.to_string()), Some(false));
        assert_eq!(story.history.is_ancestor(&base.to_string()), Some(true));
    }

    #[test]
    fn what_is_not_committed_is_told_for_the_lines_that_are_not() {
        let mut story = Story::default();
        let first = story.commit(&[], &[("f", Some(TEXT))]);
        let second = story.commit(&[first], &[("f", Some("one\n2\nthree\nfour\n"))]);
        let text = b"zero\none\n2\nthree\nfour\n".to_vec();
        let tree = story.history.node(second).unwrap().tree;
        let changes = [("f".to_owned(), Some((Mode::File, text)))].into();
        let tree = story.history.objects.with_changes(Some(tree), &changes).unwrap();
        let work = Files::new(story.history.objects(), tree);
        assert_eq!(story.last_in(&work, "f", Some((1, 1)), first), "not committed");
        assert_eq!(story.last_in(&work, "f", None, first), "not committed");
        assert_eq!(story.last_in(&work, "f", Some((3, 3)), first), "author 2");
    }

    #[test]
    fn a_shallow_clone_says_that_commits_are_missing() {
        let mut story = Story::default();
        let first = story.commit(&[], &[("f", Some("1")), ("g", Some("1"))]);
        let second = story.commit(&[first], &[("f", Some("2"))]);
        story.commit(&[second], &[("g", Some("2"))]);
        story.history.forget(first);
        assert_eq!(story.last("g", None, first), "author 3");
        assert_eq!(story.last("f", None, first), "missing");
        assert_eq!(story.history.is_ancestor(&first.to_string()), None);
        assert_eq!(story.history.is_ancestor(&second.to_string()), Some(true));
        assert_eq!(story.history.is_ancestor("main"), None);
        assert_eq!(MemoryHistory::default().is_ancestor(&first.to_string()), None);
    }

    #[test]
    fn dates_are_written_with_the_offset_of_the_author() {
        assert_eq!(CommitNote::date_of(1_767_323_045, 120), "2026-01-02T05:04:05+02:00");
        assert_eq!(CommitNote::date_of(i64::MAX, 0), "");
    }
}
