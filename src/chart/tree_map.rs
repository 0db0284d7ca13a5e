//! The tables of values: sorted entries that copies share until one of them changes.
//!
//! The one idea: laying values over each other copies whole tables many times and changes few of them, so a copy costs
//! a counter, and a change copies one level. Entries are in the order of their keys' bytes, as everything that is
//! hashed, compared or shown.

use std::sync::Arc;

use super::tree::Tree;

type Entry = (Arc<str>, Tree);

/// A table of values, ordered by key bytes; cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TreeMap(Arc<Vec<Entry>>);

impl TreeMap {
    /// Returns an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        // Entries that come in order are put at the end, without a search.
        match self.0.last() {
            Some((last, _)) if **last < *key => Err(self.0.len()),
            Some(_) => self.0.binary_search_by(|(k, _)| (**k).cmp(key)),
            None => Err(0),
        }
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        self.find(key).ok().and_then(|at| self.0.get(at)).map(|(_, value)| value)
    }

    /// Returns the value of a key for changing.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Tree> {
        let at = self.find(key).ok()?;
        Arc::make_mut(&mut self.0).get_mut(at).map(|(_, value)| value)
    }

    /// Says whether there is such a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Sets a key and returns the value it had.
    pub fn insert(&mut self, key: Arc<str>, value: Tree) -> Option<Tree> {
        let place = self.find(&key);
        let entries = Arc::make_mut(&mut self.0);
        match place {
            Ok(at) => entries.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => {
                entries.insert(at, (key, value));
                None
            }
        }
    }

    /// Returns the value of a key for changing; the value that `make` gives is set first where there is none.
    pub fn get_or_insert_with(&mut self, key: &str, make: impl FnOnce() -> Tree) -> &mut Tree {
        let place = self.find(key);
        let entries = Arc::make_mut(&mut self.0);
        let at = place.unwrap_or_else(|at| {
            entries.insert(at, (key.into(), make()));
            at
        });
        &mut entries.get_mut(at).expect("the entry was found or put there").1
    }

    /// Takes a key away and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Tree> {
        let at = self.find(key).ok()?;
        Some(Arc::make_mut(&mut self.0).remove(at).1)
    }

    /// Returns the entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.0.iter()
    }

    /// Returns the keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Says whether both are the same table, not only equal ones.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromIterator<Entry> for TreeMap {
    /// Of equal keys the last one stays.
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let mut list: Vec<Entry> = entries.into_iter().collect();
        if !list.is_sorted_by(|a, b| a.0 < b.0) {
            list.reverse();
            list.sort_by(|a, b| a.0.cmp(&b.0));
            list.dedup_by(|later, first| later.0 == first.0);
        }
        Self(Arc::new(list))
    }
}

impl Extend<Entry> for TreeMap {
    fn extend<I: IntoIterator<Item = Entry>>(&mut self, entries: I) {
        let mut more = entries.into_iter().peekable();
        if more.peek().is_some() {
            *self = std::mem::take(self).into_iter().chain(more).collect();
        }
    }
}

impl<const N: usize> From<[Entry; N]> for TreeMap {
    fn from(entries: [Entry; N]) -> Self {
        entries.into_iter().collect()
    }
}

impl IntoIterator for TreeMap {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}

impl<'a> IntoIterator for &'a TreeMap {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(keys: &[&str]) -> TreeMap {
        keys.iter().enumerate().map(|(n, key)| (Arc::from(*key), Tree::from(n.to_string()))).collect()
    }

    #[test]
    fn of_equal_keys_the_last_one_stays() {
        let map = map(&["b", "a", "b"]);
        let shown: Vec<(&str, &str)> = map.iter().map(|(k, v)| (&**k, v.as_str().unwrap())).collect();
        assert_eq!(shown, [("a", "1"), ("b", "2")]);
    }

    #[test]
    fn a_change_of_a_copy_leaves_the_original() {
        let old = map(&["a", "b"]);
        let mut new = old.clone();
        assert!(new.same(&old));
        new.insert("c".into(), Tree::default());
        new.remove("a");
        *new.get_mut("b").unwrap() = Tree::from("x");
        assert_eq!(old, map(&["a", "b"]));
        assert_eq!(new.keys().map(|k| &**k).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn what_is_added_wins() {
        let mut all = map(&["a", "c"]);
        all.extend([(Arc::from("b"), Tree::from("new")), (Arc::from("c"), Tree::from("new"))]);
        let shown: Vec<&str> = all.iter().map(|(_, v)| v.as_str().unwrap()).collect();
        assert_eq!(shown, ["0", "new", "new"]);
        assert!(all.get_or_insert_with("0", Tree::empty_map).as_map().is_some());
        assert_eq!(all.len(), 4);
    }
}
