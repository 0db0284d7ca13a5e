//! The difference of two signatures: what came, went or changed.

use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::ingredient::{Ingredient, IngredientKind, Origin};
use super::record::Record;
use crate::source::{FilesError, Mode, ObjectId, Objects, Tree};
use crate::stage::Filter;

/// One ingredient that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Before; `None` when it is new.
    pub before: Option<Ingredient>,
    /// Now; `None` when it is gone.
    pub after: Option<Ingredient>,
}

/// Compares the recorded ingredients of a stored build with those of now.
///
/// Ingredients of one kind and key are matched in order; what is equal is left out.
pub fn compare(before: &Record, after: &Record) -> Vec<Difference> {
    let (old, new) = (before.entries(), after.entries());
    let identity = |i: &Ingredient| (i.kind, i.key.clone(), i.value.clone(), i.detail.clone());
    let old_keys: Vec<_> = old.iter().map(identity).collect();
    let new_keys: Vec<_> = new.iter().map(identity).collect();
    let mut differences = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, &old_keys, &new_keys) {
        if op.tag() == DiffTag::Equal {
            continue;
        }
        let removed = old.get(op.old_range()).unwrap_or_default();
        let added = new.get(op.new_range()).unwrap_or_default();
        pair(removed, added, &mut differences);
    }
    differences
}

/// Pairs removed with added ingredients of the same kind and key, in order.
fn pair(removed: &[Ingredient], added: &[Ingredient], differences: &mut Vec<Difference>) {
    let mut left: Vec<Option<&Ingredient>> = removed.iter().map(Some).collect();
    for new in added {
        let matching = |old: &&mut Option<&Ingredient>| {
            old.is_some_and(|o| o.kind == new.kind && (o.key == new.key || new.kind == IngredientKind::Base))
        };
        let before = left.iter_mut().find(matching).and_then(Option::take).cloned();
        differences.push(Difference { before, after: Some(new.clone()) });
    }
    differences.extend(left.into_iter().flatten().map(|o| Difference { before: Some(o.clone()), after: None }));
}

/// A file that differs: its path, and what it was and is; `None` where it is not there.
pub type ChangedFile = (String, Option<(Mode, ObjectId)>, Option<(Mode, ObjectId)>);

/// Compares the files behind two content ingredients; paths are those of the repository, sorted.
///
/// A file that is on one side only has `None` on the other. Directories with equal ids are not opened.
///
/// # Errors
/// An object is not in the repository (a shallow clone, or a build of uncommitted files).
pub fn compare_trees(objects: &dyn Objects, before: &Origin, after: &Origin) -> Result<Vec<ChangedFile>, FilesError> {
    let mut found = Vec::new();
    let old = locate(objects, before)?;
    let new = locate(objects, after)?;
    let filter = |origin: &Origin| Filter::new(&origin.filter, &origin.path).unwrap_or(Filter::All);
    let (filters, same) = ((filter(before), filter(after)), before.filter == after.filter);
    let walk = Walk { objects, before: filters.0, after: filters.1, same_filters: same, prefix: &after.prefix };
    walk.entry(&after.path, old, new, &mut found)?;
    Ok(found)
}

type Found = Option<(Mode, ObjectId)>;

/// Finds the entry that an origin names, before filtering.
fn locate(objects: &dyn Objects, origin: &Origin) -> Result<Found, FilesError> {
    let mut at = (Mode::Directory, origin.root);
    for name in origin.path.split('/').filter(|n| !n.is_empty()) {
        match objects.tree(at.1)?.get(name) {
            Some(entry) => at = (entry.mode, entry.id),
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

struct Walk<'a> {
    objects: &'a dyn Objects,
    before: Filter,
    after: Filter,
    same_filters: bool,
    prefix: &'a str,
}

impl Walk<'_> {
    fn entry(
        &self,
        path: &str,
        old: Found,
        new: Found,
        found: &mut Vec<(String, Found, Found)>,
    ) -> Result<(), FilesError> {
        if old == new && self.same_filters {
            return Ok(());
        }
        let directory = |f: Found| f.filter(|(mode, _)| *mode == Mode::Directory).map(|(_, id)| id);
        let file = |f: Found, filter: &Filter| f.filter(|(mode, _)| *mode != Mode::Directory && filter.takes(path));
        let (old_file, new_file) = (file(old, &self.before), file(new, &self.after));
        if old_file != new_file {
            let prefix = self.prefix;
            let full = if prefix.is_empty() { path.to_owned() } else { format!("{prefix}/{path}") };
            found.push((full, old_file, new_file));
        }
        let old_tree = self.tree(directory(old))?;
        let new_tree = self.tree(directory(new))?;
        let mut names: Vec<&str> = old_tree.entries().iter().chain(new_tree.entries()).map(|e| &*e.name).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            let get = |tree: &Tree| tree.get(name).map(|e| (e.mode, e.id));
            self.entry(&below, get(&old_tree), get(&new_tree), found)?;
        }
        Ok(())
    }

    fn tree(&self, id: Option<ObjectId>) -> Result<std::sync::Arc<Tree>, FilesError> {
        id.map_or_else(|| Ok(std::sync::Arc::default()), |id| self.objects.tree(id))
    }
}
