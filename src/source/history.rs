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
    let found = match trail.lines {
        // Lines that did not change since then: the file did.
        Some(_) => walk(history, head, trail, since).or_else(|| walk(history, head, whole, since)),
        None => walk(history, head, whole, since),
    };
    let tell = |commit: ObjectId| history.note(commit).map_or(LastChange::Missing, LastChange::Commit);
    let Some(since) = since else { return found.map_or(LastChange::Missing, tell) };
    match found {
        Some(found) if !history.descends(since, found) => tell(found),
        Some(_) | None if history.descends(head, since) => {
            dropped(history, head, since, asked.path).map_or(LastChange::Missing, tell)
        }
        Some(_) | None => {
            let there = walk(history, since, Trail { path: asked.path.to_owned(), lines: None }, None);
            let there = there.filter(|there| !history.descends(head, *there)).and_then(|there| history.note(there));
            there.map_or(LastChange::Missing, LastChange::NotHere)
        }
    }
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

/// Walks back to the commit that changed what is followed; `None` at `until`, and where commits are missing.
fn walk(history: &dyn History, from: ObjectId, mut trail: Trail, until: Option<ObjectId>) -> Option<ObjectId> {
    let mut at = from;
    let mut node = history.node(at)?;
    let mut here = history.entry(node.tree, &trail.path);
    for _ in 0..LONGEST_WALK {
        if Some(at) == until {
            return None;
        }
        let mut known = Vec::with_capacity(node.parents.len());
        for parent in &node.parents {
            let parent_node = history.node(*parent)?;
            let there = history.entry(parent_node.tree, &trail.path);
            known.push((*parent, parent_node, there));
        }
        if known.is_empty() {
            return here.is_some().then_some(at);
        }
        let same = known.iter().position(|(_, _, there)| *there == here);
        let step = match same {
            Some(same) => same,
            None => {
                let followed = known.iter().enumerate().find_map(|(i, (_, parent, there))| {
                    Some((i, follow(history, &node, here?, parent, *there, &trail)?))
                });
                let Some((step, (older, entry))) = followed else { return Some(at) };
                trail = older;
                if let Some((.., there)) = known.get_mut(step) {
                    *there = Some(entry);
                }
                step
            }
        };
        (at, node, here) = known.into_iter().nth(step)?;
    }
    None
}

/// Follows lines that a commit did not touch into its parent; `None` when it touched them.
fn follow(
    history: &dyn History,
    node: &CommitNode,
    here: Entry,
    parent: &CommitNode,
    there: Option<Entry>,
    trail: &Trail,
) -> Option<(Trail, Entry)> {
    let lines = trail.lines?;
    let objects = history.objects();
    let Some(there) = there else {
        let path = renamed_from(&*objects, parent.tree, node.tree, here.id)?;
        let entry = history.entry(parent.tree, &path)?;
        return Some((Trail { path, lines: Some(lines) }, entry));
    };
    let lines = if there.id == here.id {
        lines
    } else {
        moved(&objects.blob(there.id).ok()?, &objects.blob(here.id).ok()?, lines)?
    };
    Some((Trail { path: trail.path.clone(), lines: Some(lines) }, there))
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
