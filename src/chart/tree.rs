//! The plain tree that chart values live in: data as YAML or JSON has it, each node with the place it comes from.
//!
//! Merging keeps the places, so the winner of every layer can still be asked where it was written. The one
//! idea: values are laid over each other here, once, as plain data; the evaluator gets them only at the end.

use std::sync::Arc;

use crate::source::Span;
use crate::syntax::yaml;

pub use super::tree_map::TreeMap;

/// A value and where it was written.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The value.
    pub data: Data,
    /// The place; `None` for what no file says (service values, tables created by merging).
    pub span: Option<Span>,
    /// The place of its key, where it is an entry of a table in a file.
    pub key: Option<Span>,
}

/// The data of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Data {
    /// Null.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer; only `--set` makes them.
    Int(i64),
    /// A number; every number of a file is one.
    Float(f64),
    /// A text.
    String(Arc<str>),
    /// A list; copies share it.
    List(Arc<Vec<Tree>>),
    /// A table.
    Map(TreeMap),
}

/// Equality of values: places do not count.
impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl Tree {
    /// Makes a node with a place.
    pub fn at(data: Data, span: Span) -> Self {
        Self { data, span: Some(span), key: None }
    }

    /// Makes an empty table without a place.
    pub fn empty_map() -> Self {
        Self::from(Data::Map(TreeMap::new()))
    }

    /// Returns the table, if it is one.
    pub fn as_map(&self) -> Option<&TreeMap> {
        if let Data::Map(map) = &self.data { Some(map) } else { None }
    }

    /// Returns the table for changing, if it is one.
    pub fn as_map_mut(&mut self) -> Option<&mut TreeMap> {
        if let Data::Map(map) = &mut self.data { Some(map) } else { None }
    }

    /// Returns the table, if it is one.
    pub fn into_map(self) -> Option<TreeMap> {
        if let Data::Map(map) = self.data { Some(map) } else { None }
    }

    /// Says whether this is null.
    pub fn is_null(&self) -> bool {
        self.data == Data::Null
    }

    /// Returns the text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Data::String(text) = &self.data { Some(text) } else { None }
    }

    /// Finds the node at a path of keys; list elements are named by their index.
    pub fn get<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> Option<&Self> {
        path.into_iter().try_fold(self, |at, key| match &at.data {
            Data::Map(map) => map.get(key),
            Data::List(list) => list.get(key.parse::<usize>().ok()?),
            Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::String(_) => None,
        })
    }

    /// Returns what kind of value this is, with its article.
    pub fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "null",
            Data::Bool(_) => "a boolean",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::String(_) => "a string",
            Data::List(_) => "a list",
            Data::Map(_) => "a table",
        }
    }

    /// Converts to JSON: whole numbers below 2^53 become integers.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.data {
            Data::Null => serde_json::Value::Null,
            Data::Bool(b) => (*b).into(),
            Data::Int(i) => (*i).into(),
            Data::Float(f) if f.fract() == 0.0 && f.abs() < 9_007_199_254_740_992.0 => (*f as i64).into(),
            Data::Float(f) => (*f).into(),
            Data::String(s) => (**s).into(),
            Data::List(list) => list.iter().map(Self::to_json).collect(),
            Data::Map(map) => map.iter().map(|(k, v)| (k.to_string(), v.to_json())).collect(),
        }
    }

    /// Converts a YAML node as Helm reads values: every number is a float, every string is shared.
    pub fn from_node(node: yaml::Node) -> Self {
        let data = match node.data {
            yaml::Data::Null => Data::Null,
            yaml::Data::Bool(b) => Data::Bool(b),
            yaml::Data::Int(n) => Data::Float(n as f64),
            yaml::Data::Uint(n) => Data::Float(n as f64),
            yaml::Data::Float(n) => Data::Float(n),
            yaml::Data::String(text) => Data::String(text),
            yaml::Data::Sequence(items) => Data::List(Arc::new(items.iter().cloned().map(Self::from_node).collect())),
            yaml::Data::Mapping(mapping) => Data::Map(Self::map_of(mapping)),
        };
        Self { data, span: Some(node.span), key: None }
    }

    /// Converts the entries of a YAML mapping, which are freed on the way unless somebody shares them.
    pub fn map_of(mapping: Arc<yaml::Mapping>) -> TreeMap {
        let entry = |e: yaml::Entry| (e.name, Self { key: Some(e.key.span), ..Self::from_node(e.value) });
        Arc::unwrap_or_clone(mapping).into_iter().map(entry).collect()
    }

    /// Converts from JSON, every number a float as Helm has it; every node gets the same place.
    pub fn from_json(json: &serde_json::Value, span: Option<Span>) -> Self {
        let data = match json {
            serde_json::Value::Null => Data::Null,
            serde_json::Value::Bool(b) => Data::Bool(*b),
            serde_json::Value::Number(n) => Data::Float(n.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(s) => Data::String(s.as_str().into()),
            serde_json::Value::Array(list) => {
                Data::List(Arc::new(list.iter().map(|v| Self::from_json(v, span)).collect()))
            }
            serde_json::Value::Object(map) => {
                Data::Map(map.iter().map(|(k, v)| (k.as_str().into(), Self::from_json(v, span))).collect())
            }
        };
        Self { data, span, key: None }
    }
}

impl From<Data> for Tree {
    fn from(data: Data) -> Self {
        Self { data, span: None, key: None }
    }
}

impl From<TreeMap> for Data {
    fn from(map: TreeMap) -> Self {
        Self::Map(map)
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::from(Data::String(text.into()))
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::from(Data::String(text.into()))
    }
}

impl From<bool> for Tree {
    fn from(flag: bool) -> Self {
        Self::from(Data::Bool(flag))
    }
}

impl From<TreeMap> for Tree {
    fn from(map: TreeMap) -> Self {
        Self::from(Data::Map(map))
    }
}

impl<const N: usize> From<[(&str, Tree); N]> for Tree {
    fn from(entries: [(&str, Tree); N]) -> Self {
        Self::from(entries.into_iter().map(|(k, v)| (k.into(), v)).collect::<TreeMap>())
    }
}
