//! The target in memory: the twin that tests and examples run on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::target::{Over, Target, TargetError, TargetSession};
use super::tracker::{Closer, Lines, LogSource, Sight, Tracker};
use crate::observed::ReleaseFact;

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    releases: BTreeMap<String, (u64, serde_json::Value)>,
    /// What is seen of resources, look by look.
    sights: BTreeMap<String, VecDeque<Sight>>,
    /// The hooks that have run: release, revision and event.
    hooks: BTreeSet<(String, u64, String)>,
}

/// A target in memory.
#[derive(Default)]
pub struct MemoryTarget(Mutex<State>);

impl MemoryTarget {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a resource behind the back of the release; `None` removes it.
    pub fn tamper(&self, path: &str, content: Option<&str>) {
        match content {
            Some(content) => self.state().files.insert(path.to_owned(), content.as_bytes().to_vec()),
            None => self.state().files.remove(path),
        };
    }

    /// Says what is seen of a resource: one sight after the other, the last again and again.
    pub fn show(&self, path: &str, sights: impl IntoIterator<Item = Sight>) {
        self.state().sights.insert(path.to_owned(), sights.into_iter().collect());
    }
}

impl Tracker for MemoryTarget {
    fn look(&self, paths: &[&str]) -> Vec<Result<Sight, TargetError>> {
        let mut state = self.state();
        let mut next = |path: &&str| {
            let Some(sights) = state.sights.get_mut(*path) else { return Ok(Sight::default()) };
            let sight = if sights.len() > 1 { sights.pop_front() } else { sights.front().cloned() };
            Ok(sight.unwrap_or_default())
        };
        paths.iter().map(&mut next).collect()
    }

    fn look_closely(&self, objects: &[Closer<'_>]) -> Vec<Sight> {
        objects.iter().map(|closer| Sight { object: Some(closer.object.clone()), ..Sight::default() }).collect()
    }

    fn lines(&self, _: &LogSource, _: usize) -> Vec<String> {
        Vec::new()
    }

    fn lines_since(&self, sources: &[(LogSource, Option<String>)]) -> Vec<Option<Lines>> {
        sources.iter().map(|(_, mark)| Some(Lines { lines: Vec::new(), mark: mark.clone() })).collect()
    }
}

impl Target for MemoryTarget {
    fn observe(&self, release: &str) -> Result<ReleaseFact, TargetError> {
        let state = self.state();
        let prefix = format!("{release}/");
        let inside = state.files.iter().filter(|(path, _)| path.starts_with(&prefix));
        Ok(ReleaseFact {
            record: state.releases.get(release).map(|(_, record)| record.clone()),
            resources: inside.map(|(p, c)| (p.clone(), String::from_utf8_lossy(c).into_owned())).collect(),
            foreign: BTreeSet::new(),
            history: Vec::new(),
            last_revision: 0,
        })
    }

    fn content(&self, path: &str) -> Result<Option<Vec<u8>>, TargetError> {
        Ok(self.state().files.get(path).cloned())
    }

    fn revision(&self, release: &str) -> Result<Option<u64>, TargetError> {
        Ok(self.state().releases.get(release).map(|(revision, _)| *revision))
    }

    fn have_hooks_run(&self, release: &str, revision: u64, event: &str) -> Result<bool, TargetError> {
        Ok(self.state().hooks.contains(&(release.to_owned(), revision, event.to_owned())))
    }

    fn tracker(&self) -> Option<&dyn Tracker> {
        Some(self)
    }

    fn begin(&self) -> Result<Box<dyn TargetSession + '_>, TargetError> {
        Ok(Box::new(MemorySession { target: self, changes: Mutex::default() }))
    }
}

struct MemorySession<'a> {
    target: &'a MemoryTarget,
    changes: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl MemorySession<'_> {
    fn changes(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TargetSession for MemorySession<'_> {
    fn write(&self, path: &str, content: &[u8], _: &Over) -> Result<(), TargetError> {
        self.changes().insert(path.into(), Some(content.to_vec()));
        Ok(())
    }

    fn delete(&self, path: &str, _: &Over) -> Result<(), TargetError> {
        self.changes().insert(path.into(), None);
        Ok(())
    }

    fn record_hooks(&self, release: &str, revision: u64, event: &str) -> Result<(), TargetError> {
        self.target.state().hooks.insert((release.to_owned(), revision, event.to_owned()));
        Ok(())
    }

    fn commit(&self, release: &str, revision: u64, record: &serde_json::Value) -> Result<(), TargetError> {
        let mut state = self.target.state();
        for (path, content) in std::mem::take(&mut *self.changes()) {
            match content {
                Some(content) => state.files.insert(path, content),
                None => state.files.remove(&path),
            };
        }
        state.releases.insert(release.into(), (revision, record.clone()));
        Ok(())
    }
}
