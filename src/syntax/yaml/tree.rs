//! The tree of a parsed document: nodes with spans.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::source::Span;

/// A tree without positions, for rooms that only want the data: object keys keep their order.
pub type Plain = serde_json::Value;

/// How a node was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A scalar without quotes; also an absent value.
    Plain,
    /// `'text'`.
    SingleQuoted,
    /// `"text"`.
    DoubleQuoted,
    /// `|` block.
    Literal,
    /// `>` block.
    Folded,
    /// A sequence or mapping by indentation.
    Block,
    /// A sequence or mapping in brackets.
    Flow,
}

/// What a node resolves to.
#[derive(Clone, Debug)]
pub enum Data {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean; `yes`, `on`, `n` … included.
    Bool(bool),
    /// An integer that fits 64 signed bits.
    Int(i64),
    /// A larger integer that fits 64 unsigned bits.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// Text, timestamps included.
    String(Arc<str>),
    /// A list.
    Sequence(Arc<[Node]>),
    /// A mapping; merge keys are already applied.
    Mapping(Arc<Mapping>),
}

/// A value with its place. Cloning is cheap: sequences and mappings are shared.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands; for an alias, where the alias stands (its parts keep the places of the anchored value).
    pub span: Span,
    /// What it resolves to.
    pub data: Data,
    /// How it was written.
    pub style: Style,
    /// The text of a scalar whose `data` is not that text: `1.10` of a float, `yes` of a boolean.
    pub literal: Option<Arc<str>>,
}

impl Node {
    /// Makes the null node of a place where nothing is written.
    pub fn null(span: Span) -> Self {
        Self { span, data: Data::Null, style: Style::Plain, literal: None }
    }

    /// Returns the source text of a scalar, escapes and folding resolved; `""` for an absent value.
    pub fn scalar_text(&self) -> Option<&str> {
        match &self.data {
            Data::Sequence(_) | Data::Mapping(_) => None,
            Data::String(text) => Some(self.literal.as_deref().unwrap_or(text)),
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Uint(_) | Data::Float(_) => {
                Some(self.literal.as_deref().unwrap_or(""))
            }
        }
    }

    /// Says whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    /// Returns the text of a string node.
    pub fn as_str(&self) -> Option<&str> {
        if let Data::String(text) = &self.data { Some(text) } else { None }
    }

    /// Returns the value of a boolean node.
    pub fn as_bool(&self) -> Option<bool> {
        if let Data::Bool(value) = self.data { Some(value) } else { None }
    }

    /// Returns the value of an integer node that fits 64 signed bits; a float without fraction counts.
    pub fn as_i64(&self) -> Option<i64> {
        match self.data {
            Data::Int(value) => Some(value),
            Data::Float(value) if value.fract() == 0.0 && value.abs() < 9.2e18 => Some(value as i64),
            Data::Null
            | Data::Bool(_)
            | Data::Uint(_)
            | Data::Float(_)
            | Data::String(_)
            | Data::Sequence(_)
            | Data::Mapping(_) => None,
        }
    }

    /// Returns the items of a sequence node.
    pub fn as_sequence(&self) -> Option<&[Node]> {
        if let Data::Sequence(items) = &self.data { Some(items) } else { None }
    }

    /// Returns the mapping of a mapping node.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        if let Data::Mapping(mapping) = &self.data { Some(mapping) } else { None }
    }

    /// Returns the value under a key of a mapping node.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    /// Returns the value at a path of mapping keys.
    pub fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Names the kind of the value as messages do: `null`, `boolean`, `number`, `string`, `list` or `mapping`.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "null",
            Data::Bool(_) => "boolean",
            Data::Int(_) | Data::Uint(_) | Data::Float(_) => "number",
            Data::String(_) => "string",
            Data::Sequence(_) => "list",
            Data::Mapping(_) => "mapping",
        }
    }

    /// Returns the data without places. A float that JSON cannot hold becomes null.
    pub fn to_plain(&self) -> Plain {
        match &self.data {
            Data::Null => Plain::Null,
            Data::Bool(value) => Plain::Bool(*value),
            Data::Int(value) => Plain::from(*value),
            Data::Uint(value) => Plain::from(*value),
            Data::Float(value) => Plain::from(*value),
            Data::String(text) => Plain::String(text.to_string()),
            Data::Sequence(items) => Plain::Array(items.iter().map(Self::to_plain).collect()),
            Data::Mapping(mapping) => {
                Plain::Object(mapping.iter().map(|e| (e.name.to_string(), e.value.to_plain())).collect())
            }
        }
    }
}

/// One key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key as text; see [`super::Keys`] for how a key that is no string becomes one.
    pub name: Arc<str>,
    /// The key as written.
    pub key: Node,
    /// The value.
    pub value: Node,
}

/// From this many entries on a mapping keeps a hash index.
const INDEXED: usize = 9;

/// Keys and values in source order; names are unique.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    entries: Vec<Entry>,
    index: FxHashMap<Arc<str>, u32>,
}

impl Mapping {
    /// Returns an empty mapping.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value under a key.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|e| &e.value)
    }

    /// Returns key and value under a key.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.position(name).and_then(|i| self.entries.get(i))
    }

    fn position(&self, name: &str) -> Option<usize> {
        if self.entries.len() < INDEXED {
            return self.entries.iter().position(|e| &*e.name == name);
        }
        self.index.get(name).map(|i| *i as usize)
    }

    /// Adds an entry; one of the same name is replaced in its place and returned.
    pub fn insert(&mut self, entry: Entry) -> Option<Entry> {
        if let Some(old) = self.position(&entry.name).and_then(|i| self.entries.get_mut(i)) {
            return Some(std::mem::replace(old, entry));
        }
        let number = |i: usize| u32::try_from(i).unwrap_or(u32::MAX);
        if self.entries.len() + 1 == INDEXED {
            self.index = self.entries.iter().enumerate().map(|(i, e)| (e.name.clone(), number(i))).collect();
        }
        if self.entries.len() + 1 >= INDEXED {
            self.index.insert(entry.name.clone(), number(self.entries.len()));
        }
        // Most mappings are small: an entry is large enough to grow by doubling from one.
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(self.entries.len().max(1));
        }
        self.entries.push(entry);
        None
    }

    /// Returns the entries in source order.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl IntoIterator for Mapping {
    type Item = Entry;
    type IntoIter = std::vec::IntoIter<Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Mapping {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
