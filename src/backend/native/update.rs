//! Bringing the files of git mappings in an image to those of another commit.
//!
//! The one idea: the difference of two git trees is the layer. What the commit does not have any more is removed; a
//! directory that this leaves empty goes, too; what else commands put beside the files stays.

use std::sync::Arc;

use super::copy::CopyJob;
use super::files::{Draft, Node, ancestors, clean, join, name_of};
use super::owner::{Stamp, resolve_owner};
use crate::ports::{BuildContext, BuildError};
use crate::source::{MemoryObjects, Mode, ObjectId, Objects as _};
use crate::stage::{CopySource, CopyStep, MappedFiles, TreeSource, take};

/// The line of history of such a layer.
pub const CREATED_BY: &str = "git: changed files";

/// Makes the layer of changed and removed files; it is empty where nothing differs.
pub fn update(
    context: &BuildContext<'_>,
    objects: &Arc<MemoryObjects>,
    mappings: &[MappedFiles],
    draft: &mut Draft,
) -> Result<(), BuildError> {
    for files in mappings {
        let Some(older) = files.older() else { continue };
        let step = CopyStep {
            sources: vec![CopySource::Tree(files.now.clone())],
            to: files.to.clone(),
            owner: files.owner.clone(),
            mode: None,
            extract: false,
            parents: false,
            link: false,
            created_by: CREATED_BY.to_owned(),
        };
        let job = CopyJob { context, objects, step: &step, working_dir: "/" };
        let older = taken(objects, older).map_err(|why| job.refuse(&why))?;
        let newer = taken(objects, &files.now).map_err(|why| job.refuse(&why))?;
        let top = job.check(draft.resolve(&clean(&files.to)))?;
        let stamp = resolve_owner(context, draft, &files.owner).map_err(|e| e.into_build_error(CREATED_BY))?;
        let change = Update { job: &job, stamp };
        match (older.0 == Mode::Directory, newer.0 == Mode::Directory) {
            (true, true) => change.directory(draft, older.1, newer.1, &top)?,
            (false, false) => {
                // Where the first copy put it.
                let is_inside = files.to.ends_with('/') || top.is_empty() || is_directory(draft, &top);
                let path = if is_inside { join(&top, name_of(&files.now.path)) } else { top };
                change.put(draft, newer, path)?;
            }
            // The stage digest tells the one from the other.
            (true, false) | (false, true) => {
                return Err(job.refuse(&"a directory became a file, or a file a directory"));
            }
        }
    }
    Ok(())
}

fn is_directory(draft: &Draft, path: &str) -> bool {
    draft.get(path).is_some_and(Node::is_directory)
}

/// Finds what a mapping takes of a tree, which must be what was planned.
fn taken(objects: &Arc<MemoryObjects>, tree: &TreeSource) -> Result<(Mode, ObjectId), String> {
    let found = take(objects, tree.root, &tree.path, &tree.filter).map_err(|e| e.to_string())?;
    match found {
        Some(found) if found == (tree.mode, tree.id) => Ok(found),
        Some((_, found)) => Err(format!("`{}` should give {}, but gives {found}; plan again", tree.path, tree.id)),
        None => Err(format!("`{}` should give {}, but gives nothing; plan again", tree.path, tree.id)),
    }
}

struct Update<'a> {
    job: &'a CopyJob<'a>,
    stamp: Stamp,
}

impl Update<'_> {
    fn directory(&self, draft: &mut Draft, older: ObjectId, newer: ObjectId, top: &str) -> Result<(), BuildError> {
        let mut todo = vec![(older, newer, top.to_owned())];
        while let Some((older, newer, directory)) = todo.pop() {
            let (older, newer) = (self.job.objects.tree(older)?, self.job.objects.tree(newer)?);
            for gone in older.entries().iter().filter(|old| newer.get(&old.name).is_none()) {
                self.remove(draft, (gone.mode, gone.id), &join(&directory, &gone.name))?;
            }
            for entry in newer.entries() {
                let path = join(&directory, &entry.name);
                match older.get(&entry.name) {
                    Some(old) if (old.mode, old.id) == (entry.mode, entry.id) => {}
                    Some(old) if old.mode == Mode::Directory && entry.mode == Mode::Directory => {
                        todo.push((old.id, entry.id, path));
                    }
                    Some(old) => {
                        self.remove(draft, (old.mode, old.id), &path)?;
                        self.put(draft, (entry.mode, entry.id), path)?;
                    }
                    None => self.put(draft, (entry.mode, entry.id), path)?,
                }
            }
        }
        Ok(())
    }

    /// Puts a file, or a directory with all that is in it, in place of anything that commands put there. Links to
    /// directories are followed, as a copy does.
    fn put(&self, draft: &mut Draft, (mode, id): (Mode, ObjectId), path: String) -> Result<(), BuildError> {
        let mut todo = vec![(mode, id, path)];
        while let Some((mode, id, path)) = todo.pop() {
            let path = self.job.check(draft.resolve_parent(&path))?;
            for above in ancestors(&path) {
                if !is_directory(draft, above) {
                    self.job.check(draft.put(above, self.stamp.on(Node::directory())))?;
                }
            }
            if mode != Mode::Directory || !is_directory(draft, &path) {
                let node = self.stamp.on(self.job.git_node(mode, id, &path)?);
                self.job.check(draft.put(&path, node))?;
            }
            if mode == Mode::Directory {
                let tree = self.job.objects.tree(id)?;
                todo.extend(tree.entries().iter().map(|entry| (entry.mode, entry.id, join(&path, &entry.name))));
            }
        }
        Ok(())
    }

    /// Removes what came from git, and directories that are empty then.
    fn remove(&self, draft: &mut Draft, (mode, id): (Mode, ObjectId), path: &str) -> Result<(), BuildError> {
        // Directories are looked at after what is in them.
        let mut todo = vec![(mode, id, path.to_owned())];
        let mut directories = Vec::new();
        while let Some((mode, id, path)) = todo.pop() {
            let path = self.job.check(draft.resolve_parent(&path))?;
            if mode == Mode::Directory {
                let tree = self.job.objects.tree(id)?;
                todo.extend(tree.entries().iter().map(|entry| (entry.mode, entry.id, join(&path, &entry.name))));
                directories.push(path);
            } else if !is_directory(draft, &path) {
                draft.remove(&path);
            }
        }
        for directory in directories.iter().rev().filter(|d| !d.is_empty()) {
            if draft.is_empty_directory(directory) {
                draft.remove(directory);
            }
        }
        Ok(())
    }
}
