//! The Kubernetes API as a table: kinds, their releases, and the fields of their types.
//!
//! What lives here: reading `grammar/kubernetes/api.txt`. What does not: comparing manifests with it (`fields`).
//!
//! The one idea: the text is sorted and kept as it is; a type is found by bisection and read only when it is needed.

use std::cell::RefCell;
use std::rc::Rc;

use rustc_hash::FxHashMap;

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/grammar/kubernetes/api.txt"));

/// The oldest and the newest minor release that the table knows.
pub const RELEASES: (u32, u32) = (20, 36);

/// A kind of a version of a group. Unit of releases: the minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Name of its type in the table.
    pub type_name: &'static str,
    /// The release that brought it; 0 when it was there before all known ones.
    pub first: u32,
    /// The release that deprecates it; 0 when none does.
    pub deprecated: u32,
    /// The first release without it; 0 when none is planned.
    pub removed: u32,
    /// `GROUP/VERSION/KIND` to use instead.
    pub replacement: Option<&'static str>,
}

/// A field of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether the API wants it.
    pub required: bool,
    /// Its type in the words of the table.
    pub type_text: &'static str,
    /// The release that brought it; 0 when it was there before.
    pub first: u32,
    /// The last release that has it; `u32::MAX` when the newest has.
    pub last: u32,
}

/// A type of the table.
#[derive(Debug)]
pub enum Type {
    /// A mapping with these fields, sorted by name.
    Fields(Vec<Field>),
    /// One of these texts; with none, any.
    Values(Vec<&'static str>),
}

impl Type {
    /// Returns a field by its name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        match self {
            Self::Fields(fields) => fields.binary_search_by(|f| f.name.cmp(name)).ok().and_then(|i| fields.get(i)),
            Self::Values(_) => None,
        }
    }
}

/// The part of the table that was read so far.
pub struct Api {
    kinds: FxHashMap<(&'static str, &'static str), Kind>,
    types: RefCell<FxHashMap<&'static str, Rc<Type>>>,
    /// Where the sorted lines of types begin.
    start: usize,
}

impl Default for Api {
    fn default() -> Self {
        Self::new()
    }
}

impl Api {
    /// Reads the kinds.
    pub fn new() -> Self {
        let mut kinds = FxHashMap::default();
        let mut start = 0;
        for line in TABLE.split_inclusive('\n') {
            if line.starts_with('k') {
                kinds.extend(read_kind(line));
            } else if !line.starts_with('#') {
                break;
            }
            start += line.len();
        }
        Self { kinds, types: RefCell::default(), start }
    }

    /// Returns a kind by `apiVersion` and `kind`.
    pub fn kind<'k>(&'k self, api_version: &'k str, kind: &'k str) -> Option<Kind> {
        let kinds: &FxHashMap<(&'k str, &'k str), Kind> = &self.kinds;
        kinds.get(&(api_version, kind)).copied()
    }

    /// Says whether Kubernetes itself has a group; `""` is the core group.
    pub fn has_group(&self, group: &str) -> bool {
        self.kinds().any(|(version, _, _)| group_of(version) == group)
    }

    /// Returns `apiVersion`, `kind` and what is known, in no order.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, &'static str, &Kind)> {
        self.kinds.iter().map(|((version, kind), known)| (*version, *kind, known))
    }

    /// Returns a type by its name.
    pub fn type_named(&self, name: &str) -> Option<Rc<Type>> {
        if let Some(known) = self.types.borrow().get(name) {
            return Some(Rc::clone(known));
        }
        let line = find_line(TABLE.get(self.start..)?, name)?;
        let mut words = line.split_ascii_whitespace();
        let (sort, name) = (words.next()?, words.next()?);
        let read = match sort {
            "e" => Type::Values(words.collect()),
            _ => Type::Fields(words.filter_map(read_field).collect()),
        };
        let read = Rc::new(read);
        self.types.borrow_mut().insert(name, Rc::clone(&read));
        Some(read)
    }
}

/// Returns the group of an `apiVersion`.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

fn read_kind(line: &'static str) -> Option<((&'static str, &'static str), Kind)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (kind, version, type_name) = (words.next()?, words.next()?, words.next()?);
    let mut numbers = words.by_ref().skip(1).take(3).map(|w| w.parse().unwrap_or(0));
    let (first, deprecated, removed) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let replacement = line.split_ascii_whitespace().last().filter(|w| *w != "-");
    Some(((version, kind), Kind { type_name, first, deprecated, removed, replacement }))
}

/// Reads `NAME[!]:TYPE[@FIRST][~LAST]`.
fn read_field(word: &'static str) -> Option<Field> {
    let (name, rest) = word.split_once(':')?;
    let (rest, last) = match rest.split_once('~') {
        Some((rest, last)) => (rest, last.parse().ok()?),
        None => (rest, u32::MAX),
    };
    let (type_text, first) = match rest.split_once('@') {
        Some((text, first)) => (text, first.parse().ok()?),
        None => (rest, 0),
    };
    let required = name.ends_with('!');
    Some(Field { name: name.trim_end_matches('!'), required, type_text, first, last })
}

/// Finds the line of a type among sorted lines.
fn find_line(mut text: &'static str, name: &str) -> Option<&'static str> {
    while !text.is_empty() {
        // every character of the table is one byte
        let middle = text.len() / 2;
        let from = text.get(..middle)?.rfind('\n').map_or(0, |n| n + 1);
        let line = text.get(from..)?.split('\n').next()?;
        let found = line.get(2..)?.split(' ').next()?;
        match found.cmp(name) {
            std::cmp::Ordering::Equal => return Some(line),
            std::cmp::Ordering::Less => text = text.get(from + line.len() + 1..)?,
            std::cmp::Ordering::Greater => text = text.get(..from)?,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_table_is_found_and_every_reference_leads_to_one() {
        assert!(TABLE.is_ascii());
        let api = Api::new();
        let lines = TABLE.lines().filter(|l| l.starts_with("t ") || l.starts_with("e "));
        let mut count = 0;
        for line in lines {
            let name = line.split(' ').nth(1).unwrap();
            let found = api.type_named(name).unwrap_or_else(|| panic!("{name} is not found"));
            count += 1;
            let Type::Fields(fields) = &*found else { continue };
            assert!(fields.windows(2).all(|w| w[0].name < w[1].name), "{name}");
            for field in fields {
                let inner = super::super::fields::innermost(field.type_text);
                if let Some(wanted) = super::super::fields::reference(name, inner) {
                    assert!(api.type_named(&wanted).is_some(), "{name}.{}: {wanted}", field.name);
                }
            }
        }
        assert!(count > 900);
        assert!(api.kinds().all(|(_, _, kind)| api.type_named(kind.type_name).is_some()));
    }

    #[test]
    fn a_kind_tells_its_releases_and_what_replaces_it() {
        let api = Api::new();
        let cron = api.kind("batch/v1beta1", "CronJob").unwrap();
        assert_eq!((cron.first, cron.deprecated, cron.removed), (8, 21, 25));
        assert_eq!(cron.replacement, Some("batch/v1/CronJob"));
        let job = api.kind("batch/v1", "Job").unwrap();
        assert_eq!((job.removed, job.replacement), (0, None));
        assert!(api.has_group("") && api.has_group("apps") && !api.has_group("cert-manager.io"));
    }
}
